package busclient

// The client of one peer: its link, its open rounds, its subjects. Calls go to the link's state; in the connected state
// they end here, in request, as one message and one open round: no goroutine and no timer per call.

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/raftbus/raftbus/raft/model"
	"github.com/raftbus/raftbus/raft/rpc"
)

// callTimeout is how long a return may take: as long as the longest election timeout, after which it matters no more.
const callTimeout = 2 * time.Second

// IRaftClient is one peer as this node can talk to it. Its calls return at once; what they may answer is said at
// rpc.IRaftRPC and at the errors of this package. Safe for use by several goroutines.
type IRaftClient interface {
	rpc.IRaftRPC
	iStateContext
	// Ping has a ping leave on the control connection now, in whatever state the link is. Its outcome goes to
	// Owner.Pinged. Pings asked for while one is about to leave are one ping. The only error is ErrClosed.
	Ping() error
}

type client struct {
	*link
	service  *Service
	routes   routes
	rounds   *rounds
	appends  assembly // of the AppendLog subscription's goroutine
	chunks   assembly // of the InstallSnapshot subscription's
	status   atomic.Pointer[LinkStatus]
	retired  atomic.Bool   // no member any more, another instance now, or the service is closed
	listens  atomic.Bool   // to messages to several, as it last said
	commands atomic.Uint64 // the newest version that it applies, as it last said; 0 once another start of it was heard: that may be of another release (F28)
	step     step          // whether it is in step with those that get them

	// Each is set while such an event waits for the next turn: so the queue of events is bounded.
	heardWaits, doubtedWaits, goneWaits, askedWaits atomic.Bool
}

func newClient(s *Service, peer rpc.NodeID) *client {
	c := &client{
		service: s,
		routes:  newRoutes(s.prefix, s.self.ID, peer, s.nonces),
		rounds:  newRounds(brokenError(peer, ErrBusDown)),
	}
	c.link = newLink(peer, wire{c}, rand.New(rand.NewPCG(s.seed, seedOf(peer))))
	c.note(s.now())
	return c
}

// seedOf makes each link of a node have its own sequence.
func seedOf(peer rpc.NodeID) (seed uint64) {
	for _, b := range []byte(peer) {
		seed = seed*31 + uint64(b)
	}
	return seed
}

func (c *client) Heartbeat(t rpc.Term, cmd *rpc.HeartbeatCommand, done rpc.Done[*rpc.HeartbeatReturn]) error {
	return c.state().Heartbeat(t, cmd, done)
}

func (c *client) AppendLog(t rpc.Term, cmd *rpc.AppendLogCommand, done rpc.Done[*rpc.AppendLogReturn]) error {
	return c.state().AppendLog(t, cmd, done)
}

func (c *client) CommitLog(t rpc.Term, cmd *rpc.CommitLogCommand, done rpc.Done[*rpc.CommitLogReturn]) error {
	return c.state().CommitLog(t, cmd, done)
}

func (c *client) RequestVote(t rpc.Term, cmd *rpc.RequestVoteCommand, done rpc.Done[*rpc.RequestVoteReturn]) error {
	return c.state().RequestVote(t, cmd, done)
}

func (c *client) InstallSnapshot(t rpc.Term, cmd *rpc.InstallSnapshotCommand, done rpc.Done[*rpc.InstallSnapshotReturn]) error {
	return c.state().InstallSnapshot(t, cmd, done)
}

func (c *client) TimeoutNow(t rpc.Term, cmd *rpc.TimeoutNowCommand, done rpc.Done[*rpc.TimeoutNowReturn]) error {
	return c.state().TimeoutNow(t, cmd, done)
}

func (c *client) Ping() error {
	if c.retired.Load() {
		return ErrClosed
	}
	c.postOnce(&c.askedWaits, evAsked)
	return nil
}

// postOnce has an event handled at the next turn, unless one of its kind waits already.
func (c *client) postOnce(waits *atomic.Bool, kind model.EventKind) {
	if waits.CompareAndSwap(false, true) {
		c.service.post(happening{client: c, waits: waits, event: linkEvent{kind: kind}})
	}
}

// heardPingsMax is with how many open pings a message of the peer causes no more: on a path that is silent they stay open for long, and would leave no
// room for those of the other. It is more than probes of their own have open.
const heardPingsMax = inFlightPingsMax / 2

// heard is called for each valid message of the peer: it is there, so a broken link is probed at once.
func (c *client) heard() {
	if !c.Connected() && c.rounds.openPings() < heardPingsMax {
		c.postOnce(&c.heardWaits, evHeard)
	}
}

// doubted is called for each message that says to be from a later start of the peer than was proven: the process that is there
// now is asked at once.
func (c *client) doubted() {
	c.commands.Store(0)
	c.postOnce(&c.doubtedWaits, evDoubted)
}

// parts is where the parts of a method's messages are joined; nil: it has none, since its messages are small.
func (c *client) parts(method rpc.Method) *assembly {
	switch method {
	case rpc.MethodAppendLog:
		return &c.appends
	case rpc.MethodInstallSnapshot:
		return &c.chunks
	}
	return nil
}

// leave has the owner told, at the next turn, that the link is no more. Nothing else that has happened to it counts then.
func (c *client) leave(reason error) {
	c.retired.Store(true)
	c.service.post(happening{client: c, event: linkEvent{kind: evLeft, err: reason}})
}

// wire is the IRaftRPC of a connected link.
type wire struct{ c *client }

func (w wire) Heartbeat(t rpc.Term, cmd *rpc.HeartbeatCommand, done rpc.Done[*rpc.HeartbeatReturn]) error {
	return call(w.c, t, cmd, done)
}

func (w wire) AppendLog(t rpc.Term, cmd *rpc.AppendLogCommand, done rpc.Done[*rpc.AppendLogReturn]) error {
	return call(w.c, t, cmd, done)
}

func (w wire) CommitLog(t rpc.Term, cmd *rpc.CommitLogCommand, done rpc.Done[*rpc.CommitLogReturn]) error {
	return call(w.c, t, cmd, done)
}

func (w wire) RequestVote(t rpc.Term, cmd *rpc.RequestVoteCommand, done rpc.Done[*rpc.RequestVoteReturn]) error {
	return call(w.c, t, cmd, done)
}

func (w wire) InstallSnapshot(t rpc.Term, cmd *rpc.InstallSnapshotCommand, done rpc.Done[*rpc.InstallSnapshotReturn]) error {
	return call(w.c, t, cmd, done)
}

func (w wire) TimeoutNow(t rpc.Term, cmd *rpc.TimeoutNowCommand, done rpc.Done[*rpc.TimeoutNowReturn]) error {
	return call(w.c, t, cmd, done)
}

// call sends a command and has done called with its return, or with an error, once.
func call[R rpc.Body](c *client, term rpc.Term, cmd rpc.Body, done rpc.Done[R]) error {
	if c.service.roster.Load() == nil {
		return ErrNotAdmitted
	}
	return c.request(roundOf(c, cmd, done), cmd.Method(), term, cmd)
}

// roundOf is a round, still without a number, that has done called.
func roundOf[R rpc.Body](c *client, cmd rpc.Body, done rpc.Done[R]) round {
	r := round{method: cmd.Method(), path: pathOf(cmd.Method()), deadline: c.service.now().Add(callTimeout)}
	r.done = func(o outcome) {
		if o.err != nil {
			done(rpc.Reply[R]{From: c.peer, Err: o.err})
			return
		}
		done(rpc.Reply[R]{From: c.peer, Instance: o.header.Instance, Term: o.header.Term, Return: o.body.(R)}) // fits saw to the type
	}
	return r
}

// request opens the round and sends its command. It either returns an error, or the round's done will be called.
func (c *client) request(r round, method rpc.Method, term rpc.Term, cmd rpc.Body) error {
	if r.bytes = rpc.Size(cmd); r.bytes > MessageBytesMax {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, r.bytes, MessageBytesMax)
	}
	r.id = c.service.lastRound.Add(1)
	if err := c.rounds.begin(r); err != nil {
		return err
	}
	h := c.service.header(c.peer, term, r.id)
	err := c.service.publish(r.path, c.routes.requests[method], c.routes.reply(r.path, r.id), &h, cmd)
	if err != nil && !c.rounds.withdraw(r.id) {
		return nil // the link broke meanwhile, and done was told
	}
	return err
}

// fits reports whether a return is one that the round awaits: each method has one type of return.
func (r round) fits(p path, b rpc.Body) bool {
	return r.path == p && b.IsReturn() && r.method == b.Method()
}
