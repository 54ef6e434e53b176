package busclient

// The link to one peer: is it connected or broken? A step machine: an event in, effects out. It has no clock, no goroutine,
// no lock and no randomness but the seeded source it is given, so that a simulator steps the very code that runs.
// What a state does about an event is in connected.go and broken.go.

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/raftbus/raftbus/raft/model"
	"github.com/raftbus/raftbus/raft/rpc"
)

// What happens to a link.
const (
	evEntered model.EventKind = iota // the state was just entered; err: why
	evWoke                           // time passed
	evPassed                         // a ping came back good
	evFailed                         // a ping failed
	evGone                           // NATS said about a call: no responders
	evHeard                          // a valid message came from the peer
	evDoubted                        // a message came that says of itself to be from a later start of the peer
	evAsked                          // the owner wants a ping now
	evBusUp                          // this node's connections to NATS both stand
	evBusDown                        // one of them was lost
	evLeft                           // the peer left or was replaced; err: which
)

// linkEvent is one event, and when it happened.
type linkEvent struct {
	kind  model.EventKind
	now   time.Time
	path  path          // of a ping
	visit uint64        // of a ping: the stay in a state that it was sent in
	rtt   time.Duration // of a ping that passed
	err   error         // of evFailed, evLeft and evEntered
}

func (e linkEvent) Kind() model.EventKind { return e.kind }

// linkFields is all that a link remembers. Hooks made by Writes change it, hooks made by Reads act on it.
type linkFields struct {
	visit  uint64    // counts the stays in a state: a ping sent in an earlier one decides nothing any more
	since  time.Time // of this visit
	wake   time.Time // when time matters next; zero: it does not
	bus    bool
	send   bool        // this event makes a ping go out on both paths
	probes int         // broken: how many since the last hope
	probed time.Time   // when the last one left; connected: the last that a doubt had leave
	good   [paths]bool // broken: the last word of each path
	rtt    time.Duration
	reason error // broken: why
}

// linkState is one of the two states.
type linkState int32

const (
	broken linkState = iota
	connected
)

func (s linkState) String() string { return [...]string{"broken", "connected"}[s] }

// iClientState is a state of a link: what becomes of calls in it, and what it does about events.
type iClientState interface {
	rpc.IRaftRPC
	// raise handles an event. Only the goroutine that steps the link calls it.
	raise(linkEvent)
}

// iStateContext is what a client is to its states: they act on it, and on nothing else.
type iStateContext interface {
	// Peer is the id of the node that the client talks to.
	Peer() rpc.NodeID
	// Connected reports whether the link is connected now. Safe for use by several goroutines.
	Connected() bool

	ping(p path, visit uint64)
	become(next linkState, reason error)
}

// linkEffect is what the shell must do after a step, in order.
type linkEffect struct {
	ping   bool // send one on path, and bring its outcome back with this visit
	path   path
	visit  uint64
	change bool // the link is now in state, because of reason (nil: pings passed)
	state  linkState
	reason error
}

// link is the machine. Only Connected, Peer and state may be called by others than the goroutine that steps it.
type link struct {
	peer    rpc.NodeID
	fields  linkFields
	states  [2]iClientState // both exist from the beginning: no call ever meets none
	current atomic.Int32
	next    *transition
	effects []linkEffect
}

type transition struct {
	to     linkState
	reason error
}

// newLink makes a link that is broken and waits for evBusUp. Calls in the connected state go to wire.
func newLink(peer rpc.NodeID, wire rpc.IRaftRPC, random *rand.Rand) *link {
	l := &link{peer: peer}
	l.fields.reason = ErrBusDown
	l.states[connected] = newConnectedState(l, wire, &l.fields)
	l.states[broken] = newBrokenState(l, &l.fields, random)
	return l
}

// step handles an event and returns what is to be done about it. The result is valid until the next step.
func (l *link) step(e linkEvent) []linkEffect {
	l.effects = l.effects[:0]
	l.state().raise(e)
	if l.next != nil {
		t := *l.next
		l.next = nil
		l.current.Store(int32(t.to))
		l.effects = append(l.effects, linkEffect{change: true, state: t.to, reason: t.reason})
		l.state().raise(linkEvent{kind: evEntered, now: e.now, err: t.reason})
	}
	return l.effects
}

// wake is when step must be called with evWoke, if nothing else happens before; zero: no need.
func (l *link) wake() time.Time { return l.fields.wake }

func (l *link) state() iClientState { return l.states[l.current.Load()] }

func (l *link) Peer() rpc.NodeID { return l.peer }

func (l *link) Connected() bool { return linkState(l.current.Load()) == connected }

func (l *link) ping(p path, visit uint64) {
	l.effects = append(l.effects, linkEffect{ping: true, path: p, visit: visit})
}

func (l *link) become(next linkState, reason error) { l.next = &transition{next, reason} }

// pingBoth is what both states do when an event's writers decided that pings leave.
func pingBoth(ctx iStateContext) func(linkFields, linkEvent) {
	return func(f linkFields, _ linkEvent) {
		if f.send {
			ctx.ping(control, f.visit)
			ctx.ping(bulk, f.visit)
		}
	}
}
