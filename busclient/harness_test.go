package busclient

import (
	"context"
	"flag"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/leaktest"
	"github.com/raftbus/raftbus/raft/rpc"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // those that may run together mostly wait; -parallel says otherwise
	leaktest.Main(m)
}

// soon is how long tests wait for what must happen, tick how often they look.
const (
	soon = 30 * time.Second
	tick = 2 * time.Millisecond
)

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, soon, tick, what)
}

// startNATS runs a server for the length of the test.
func startNATS(t testing.TB, change ...func(*embedded.Options)) *embedded.Server {
	o := embedded.Options{}
	for _, c := range change {
		c(&o)
	}
	s, err := embedded.StartAgain(o)
	require.NoError(t, err)
	t.Cleanup(s.Shutdown)
	return s
}

// restart starts a server anew on the port of one that was shut down.
func restart(t testing.TB, s *embedded.Server, change ...func(*embedded.Options)) *embedded.Server {
	return startNATS(t, append(change, func(o *embedded.Options) { o.Port = s.Port() })...)
}

// recorder is an Owner that keeps what it is told, and answers commands as its test wants.
type recorder struct {
	mu       sync.Mutex
	received []rpc.Message
	pinged   []Pinged
	links    []linkChange
	bus      []bool
	learned  []learnedConf
	booted   []Identity
	onCall   func(rpc.Message)
	onLearn  func(rpc.ClusterID, rpc.Configuration)
}

type learnedConf struct {
	cluster rpc.ClusterID
	conf    rpc.Configuration
}

type linkChange struct {
	peer      rpc.NodeID
	connected bool
	reason    error
}

func (r *recorder) Receive(m rpc.Message) {
	r.mu.Lock()
	r.received = append(r.received, m)
	onCall := r.onCall
	r.mu.Unlock()
	if onCall != nil {
		onCall(m)
	}
}

func (r *recorder) Pinged(p Pinged) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pinged = append(r.pinged, p)
}

func (r *recorder) Link(peer rpc.NodeID, connected bool, reason error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.links = append(r.links, linkChange{peer, connected, reason})
}

func (r *recorder) Bus(up bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bus = append(r.bus, up)
}

func (r *recorder) Learned(cluster rpc.ClusterID, conf rpc.Configuration) {
	r.mu.Lock()
	r.learned = append(r.learned, learnedConf{cluster, conf})
	onLearn := r.onLearn
	r.mu.Unlock()
	if onLearn != nil {
		onLearn(cluster, conf)
	}
}

func (r *recorder) Booted(who Identity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.booted = append(r.booted, who)
}

func (r *recorder) proven() []Identity {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Identity{}, r.booted...)
}

func (r *recorder) answer(f func(rpc.Message)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onCall = f
}

func (r *recorder) messages() []rpc.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]rpc.Message{}, r.received...)
}

func (r *recorder) pings() []Pinged {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Pinged{}, r.pinged...)
}

func (r *recorder) changes() []linkChange {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]linkChange{}, r.links...)
}

func (r *recorder) learnt() []learnedConf {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]learnedConf{}, r.learned...)
}

func (r *recorder) busChanges() []bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]bool{}, r.bus...)
}

// peer is one node of a test: a service on two connections, and its owner.
type peer struct {
	*Service
	*recorder
	t             testing.TB
	control, bulk *Conn
	members       []rpc.NodeID
	clock         *clock
}

// clock is a service's, which a test may stop: on a machine with too much to do an answer would be late, a link would break, and rightly end calls.
type clock struct{ stopped atomic.Pointer[time.Time] }

func (c *clock) now() time.Time {
	if at := c.stopped.Load(); at != nil {
		return *at
	}
	return time.Now()
}

// stopClocks stops the clocks of peers, until goOn is called.
func stopClocks(peers ...*peer) (goOn func()) {
	for _, p := range peers {
		now := time.Now()
		p.clock.stopped.Store(&now)
	}
	return func() {
		for _, p := range peers {
			p.clock.stopped.Store(nil)
		}
	}
}

// endCalls ends the calls to a peer that are open by their deadline, and no ping: the clock, which stands still, is put forward.
func (p *peer) endCalls(to rpc.NodeID) {
	c, err := p.client(to)
	require.NoError(p.t, err)
	pings := len(p.pings())
	require.NoError(p.t, c.Ping())
	eventually(p.t, "pings that were due are answered", func() bool { return len(p.pings()) > pings })
	eventually(p.t, "no ping is open", func() bool {
		c.rounds.mu.Lock()
		defer c.rounds.mu.Unlock()
		return c.rounds.pings == 0
	})
	later := p.clock.now().Add(callTimeout)
	p.clock.stopped.Store(&later)
}

// instanceOf makes ids that differ.
func instanceOf(id rpc.NodeID) (i rpc.InstanceID) {
	copy(i[:], "instance of "+string(id))
	return i
}

func epoch(count uint32, nonce uint32) rpc.BootEpoch {
	return rpc.BootEpoch(uint64(count)<<32 | uint64(nonce))
}

func tableOf(ids ...rpc.NodeID) []rpc.Member {
	var table []rpc.Member
	for _, id := range ids {
		table = append(table, rpc.Member{ID: id, Instance: instanceOf(id)})
	}
	return table
}

// members of most tests.
var members = []rpc.NodeID{"n1", "n2", "n3"}

type peerOptions struct {
	service  *Options
	nats     []nats.Option
	key      []byte
	several  bool // it has multicast
	shutLane bool
	regain   time.Duration // after which what was refused is asked for anew; 0: the product's
	members  []rpc.NodeID  // nil: those of most tests
}

func configOf(t testing.TB, id rpc.NodeID, key []byte) config.IRaftConfig {
	return validConfig(t, config.Config{NodeID: id, MemberIDs: members, Key: key})
}

func validConfig(t testing.TB, c config.Config) config.IRaftConfig {
	cfg, err := config.Validate(c)
	require.NoError(t, err)
	return cfg
}

func dial(t testing.TB, url string, id rpc.NodeID, role Role, o ...nats.Option) *Conn {
	return dialWith(t, ConnOptions{URLs: []string{url}, Node: string(id), Role: role, Options: o})
}

func dialShut(t testing.TB, url string, id rpc.NodeID, role Role) *Conn {
	return dialWith(t, ConnOptions{URLs: []string{url}, Node: string(id), Role: role, shutLane: true})
}

func dialWith(t testing.TB, o ConnOptions) *Conn {
	o.Prefix, o.Logger = "raftbus", testLog(t)
	conn, err := Dial(context.Background(), o)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return conn
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// newPeer makes a node that is not started.
func newPeer(t testing.TB, url string, id rpc.NodeID, change ...func(*peerOptions)) *peer {
	p := &peer{t: t, recorder: &recorder{}, clock: &clock{}}
	o := peerOptions{service: &Options{
		Identity: Identity{ID: id, Instance: instanceOf(id), Boot: epoch(1, 7)}, Owner: p.recorder, Logger: testLog(t), Now: p.clock.now,
	}}
	o.members = members
	for _, c := range change {
		c(&o)
	}
	p.members = o.members
	conn := ConnOptions{URLs: []string{url}, Node: string(id), Options: o.nats, shutLane: o.shutLane, regainAfter: o.regain, Role: RoleControl}
	p.control = dialWith(t, conn)
	conn.Role = RoleBulk
	p.bulk = dialWith(t, conn)
	o.service.Config = validConfig(t, config.Config{NodeID: id, MemberIDs: o.members, Key: o.key, Multicast: o.several})
	o.service.Control, o.service.Bulk = p.control, p.bulk
	s, err := NewService(*o.service)
	require.NoError(t, err)
	p.Service = s
	t.Cleanup(s.Close)
	return p
}

// startPeer makes a node that is started and has the table of all members.
func startPeer(t testing.TB, url string, id rpc.NodeID, change ...func(*peerOptions)) *peer {
	p := newPeer(t, url, id, change...)
	startAdmitted(p)
	return p
}

// startAdmitted starts nodes, and gives them the table of all members.
func startAdmitted(peers ...*peer) {
	startAll(peers...)
	for _, p := range peers {
		p.admit()
	}
}

// startAll starts nodes at once: each looks for a while for others of its name.
func startAll(peers ...*peer) {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	outcomes := make(chan error, len(peers))
	for _, p := range peers {
		go func() { outcomes <- p.Start(ctx) }()
	}
	for _, p := range peers {
		require.NoError(p.t, <-outcomes)
	}
}

func (p *peer) start() { startAll(p) }

func (p *peer) admit() {
	table := tableOf(p.members...)
	p.Admit(rpc.ClusterIDOf(table), table)
}

func (p *peer) to(id rpc.NodeID) IRaftClient {
	var client IRaftClient
	require.NoError(p.t, p.Using(id, func(c IRaftClient) { client = c }))
	return client
}

// awaitEachOther awaits the links of two nodes: then each hears the other, since the other's start is proven.
func awaitEachOther(n1, n2 *peer) {
	n1.t.Helper()
	n1.awaitLink(n2.self.ID, "connected")
	n2.awaitLink(n1.self.ID, "connected")
}

func (p *peer) awaitLink(id rpc.NodeID, state string) {
	p.t.Helper()
	eventually(p.t, string(p.self.ID)+": link to "+string(id)+" becomes "+state, func() bool { return p.link(id).State == state })
}

func (p *peer) link(id rpc.NodeID) LinkStatus {
	for _, l := range p.Links() {
		if l.Peer == id {
			return l
		}
	}
	return LinkStatus{}
}

// echo answers each command as a peer would that agrees to everything.
func (p *peer) echo() {
	p.answer(func(m rpc.Message) { require.NoError(p.t, p.Answer(returnFor(m))) })
}

func returnFor(m rpc.Message) rpc.Message {
	back := rpc.Message{From: m.To, To: m.From, Term: m.Term, Call: m.Call}
	switch cmd := m.Body.(type) {
	case *rpc.HeartbeatCommand:
		back.Body = &rpc.HeartbeatReturn{Read: cmd.Read}
	case *rpc.AppendLogCommand:
		back.Body = &rpc.AppendLogReturn{Prev: cmd.Prev.Index, Accepted: true, Match: cmd.Prev.Index + rpc.Index(len(cmd.Entries))}
	case *rpc.CommitLogCommand:
		back.Body = &rpc.CommitLogReturn{Commit: cmd.Commit}
	case *rpc.RequestVoteCommand:
		back.Body = &rpc.RequestVoteReturn{Granted: true, PreVote: cmd.PreVote}
	case *rpc.InstallSnapshotCommand:
		back.Body = &rpc.InstallSnapshotReturn{Snapshot: cmd.Snapshot, Transfer: cmd.Transfer, Next: cmd.Offset + uint64(len(cmd.Data)), Installed: cmd.Final}
	case *rpc.TimeoutNowCommand:
		back.Body = &rpc.TimeoutNowReturn{}
	}
	return back
}

// pair starts n1 and n2, connected.
func pair(t testing.TB, url string, change ...func(*peerOptions)) (n1, n2 *peer) {
	n1, n2 = newPeer(t, url, "n1", change...), newPeer(t, url, "n2", change...)
	startAdmitted(n1, n2)
	awaitEachOther(n1, n2)
	return n1, n2
}

// heartbeat calls and returns the channel that the reply goes to.
func heartbeat(t testing.TB, c IRaftClient, read uint64) <-chan rpc.Reply[*rpc.HeartbeatReturn] {
	replies := make(chan rpc.Reply[*rpc.HeartbeatReturn], 2)
	require.NoError(t, c.Heartbeat(3, &rpc.HeartbeatCommand{Read: read}, func(r rpc.Reply[*rpc.HeartbeatReturn]) { replies <- r }))
	return replies
}

func await[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(soon):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}
