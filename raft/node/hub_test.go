package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/stalltest"
	"github.com/raftbus/raftbus/raft/wal"
)

// hub is a message bus in memory for the tests of this package. A node that is down hears and says nothing.
type hub struct {
	mu    sync.Mutex
	nodes map[rpc.NodeID]*Node
	down  map[rpc.NodeID]bool
	open  map[uint64]func(rpc.Message)
	// cut, if set, says between whom nothing passes.
	cut   func(a, b rpc.NodeID) bool
	round uint64
	// mangle, if set, is given every command and says what arrives in its place.
	mangle func(rpc.Message) []rpc.Message
	plain  bool // a node is told of each message, as over TLS, and not of all that came
	narrow bool // all comes on the control connection
	fresh  bool // connections to the bus are new: it may not know yet who listens
	lanes  map[rpc.NodeID]*lanes
}

func newHub() *hub {
	return &hub{nodes: map[rpc.NodeID]*Node{}, down: map[rpc.NodeID]bool{}, open: map[uint64]func(rpc.Message){}, lanes: map[rpc.NodeID]*lanes{}}
}

// lanes are what reads a node's connections: a goroutine for each, on which the node is told that something was handed out.
type lanes struct {
	control, bulk chan struct{}
	group         sync.WaitGroup
}

func (l *lanes) read(handed chan struct{}, told func()) {
	l.group.Go(func() {
		for range handed {
			told()
		}
	})
}

func (p port) OnDelivered(control, bulk func(whole bool)) {
	l := &lanes{control: make(chan struct{}, 1), bulk: make(chan struct{}, 1)}
	l.read(l.control, func() { control(!p.hub.plain) })
	l.read(l.bulk, func() { bulk(!p.hub.plain) })
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	p.hub.lanes[p.self] = l
}

// handed has a node told that a message was handed to it. h.mu is held.
func (h *hub) handed(to rpc.NodeID, method rpc.Method) {
	l := h.lanes[to]
	if l == nil {
		return
	}
	lane := l.control
	if !h.narrow && (method == rpc.MethodAppendLog || method == rpc.MethodInstallSnapshot) {
		lane = l.bulk
	}
	select {
	case lane <- struct{}{}:
	default:
	}
}

// leave ends a node's lanes.
func (h *hub) leave(id rpc.NodeID) {
	h.mu.Lock()
	l := h.lanes[id]
	delete(h.lanes, id)
	h.mu.Unlock()
	if l != nil {
		close(l.control)
		close(l.bulk)
		l.group.Wait()
	}
}

// passes reports whether what one node says reaches another.
func (h *hub) passes(a, b rpc.NodeID) bool {
	return h.nodes[b] != nil && !h.down[a] && !h.down[b] && (h.cut == nil || !h.cut(a, b) && !h.cut(b, a))
}

// port is one node's Bus on a hub.
type port struct {
	hub  *hub
	self rpc.NodeID
}

func (p port) Using(peer rpc.NodeID, action func(busclient.IRaftClient)) error {
	action(client{port: p, peer: peer})
	return nil
}

func (p port) Admit(rpc.ClusterID, []rpc.Member) {}
func (p port) Links() []busclient.LinkStatus     { return nil }
func (p port) Corked(send func())                { send() }

func (p port) MulticastAppendLog(to []rpc.NodeID, _ rpc.Term, _ *rpc.AppendLogCommand, _ rpc.Done[*rpc.AppendLogReturn]) []rpc.NodeID {
	return to
}

func (p port) MulticastCommitLog(to []rpc.NodeID, _ rpc.Term, _ *rpc.CommitLogCommand) []rpc.NodeID {
	return to
}

func (p port) Answer(m rpc.Message) error {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if done := p.hub.open[m.Call.Round]; done != nil && p.hub.passes(p.self, m.To) {
		delete(p.hub.open, m.Call.Round)
		done(m)
		p.hub.handed(m.To, m.Body.Method())
	}
	return nil
}

// client is a peer on the hub.
type client struct {
	busclient.IRaftClient
	port port
	peer rpc.NodeID
}

func (c client) Ping() error {
	h := c.port.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	asking, asked := h.nodes[c.port.self], h.nodes[c.peer]
	if !h.passes(c.port.self, c.peer) {
		asking.Pinged(busclient.Pinged{Peer: c.peer, Err: busclient.ErrNoResponders, Steady: !h.fresh})
		return nil
	}
	asking.Pinged(said(asked))
	content := asked.PingContent()
	conf := content.Configuration
	if content.Term == 0 {
		asked.Pinged(said(asking)) // a link that is broken, as one to a peer without a table is, is probed when the peer is heard
	}
	if known := asking.PingContent().Configuration; known != nil && (conf == nil || conf.Index < known.Index) {
		asked.Learned(known.ClusterID(), *known)
	}
	return nil
}

// said is what a node answers to a ping.
func said(n *Node) busclient.Pinged {
	content := n.PingContent()
	conf := content.Configuration
	p := busclient.Pinged{Peer: n.id(), Leader: content.Leader, Term: content.Term, Configuration: conf, Lacks: content.Lacks, NoRoom: content.NoRoom, Instance: n.instance()}
	if conf != nil {
		p.Cluster = conf.ClusterID()
	}
	return p
}

func ask[R rpc.Body](c client, term rpc.Term, cmd rpc.Body, done rpc.Done[R]) error {
	h := c.port.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.passes(c.port.self, c.peer) {
		return busclient.ErrConnectionBroken
	}
	h.round++
	h.open[h.round] = func(m rpc.Message) {
		done(rpc.Reply[R]{From: m.From, Instance: h.nodes[m.From].instance(), Term: m.Term, Return: m.Body.(R)})
	}
	list := []rpc.Message{{From: c.port.self, Instance: h.nodes[c.port.self].instance(), To: c.peer, Term: term, Call: rpc.Call{Round: h.round}, Body: cmd}}
	if h.mangle != nil {
		list = h.mangle(list[0])
	}
	for _, m := range list {
		h.nodes[m.To].Receive(m)
		h.handed(m.To, m.Body.Method())
	}
	return nil
}

func (c client) Heartbeat(t rpc.Term, cmd *rpc.HeartbeatCommand, done rpc.Done[*rpc.HeartbeatReturn]) error {
	return ask(c, t, cmd, done)
}

func (c client) AppendLog(t rpc.Term, cmd *rpc.AppendLogCommand, done rpc.Done[*rpc.AppendLogReturn]) error {
	return ask(c, t, cmd, done)
}

func (c client) CommitLog(t rpc.Term, cmd *rpc.CommitLogCommand, done rpc.Done[*rpc.CommitLogReturn]) error {
	return ask(c, t, cmd, done)
}

func (c client) RequestVote(t rpc.Term, cmd *rpc.RequestVoteCommand, done rpc.Done[*rpc.RequestVoteReturn]) error {
	return ask(c, t, cmd, done)
}

func (c client) InstallSnapshot(t rpc.Term, cmd *rpc.InstallSnapshotCommand, done rpc.Done[*rpc.InstallSnapshotReturn]) error {
	return ask(c, t, cmd, done)
}

func (c client) TimeoutNow(t rpc.Term, cmd *rpc.TimeoutNowCommand, done rpc.Done[*rpc.TimeoutNowReturn]) error {
	return ask(c, t, cmd, done)
}

// sum is a state machine that adds numbers up. It keeps nothing on disk, so a restart replays the log.
type sum struct {
	mu      sync.Mutex
	total   uint64
	applied rpc.EntryID
}

func (s *sum) Apply(entries []rpc.Entry) ([]any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	results := make([]any, len(entries))
	for i, e := range entries {
		if e.Kind == rpc.EntryCommand {
			s.total += binary.BigEndian.Uint64(e.Data)
		}
		results[i], s.applied = s.total, e.ID()
	}
	return results, nil
}

func (s *sum) Applied() rpc.EntryID        { s.mu.Lock(); defer s.mu.Unlock(); return s.applied }
func (s *sum) Durable() rpc.Index          { return 0 }
func (s *sum) Snapshot() (Snapshot, error) { return nil, io.EOF }
func (s *sum) Restore(io.Reader) error     { return io.EOF }
func (s *sum) Close() error                { return nil }

func (s *sum) value() uint64 { s.mu.Lock(); defer s.mu.Unlock(); return s.total }

// group is nodes on a hub, each with a disk that forgets what was not synced when its power fails.
type group struct {
	t        *testing.T
	hub      *hub
	ids      []rpc.NodeID
	disks    map[rpc.NodeID]*vfs.MemFS
	logs     map[rpc.NodeID]*wal.Log
	machines map[rpc.NodeID]*sum
	limits   raft.Limits
	onDisk   func(id rpc.NodeID, disk vfs.FS) vfs.FS // wraps what the log is on; nil: nothing does
}

func newGroup(t *testing.T, ids ...rpc.NodeID) *group { return limitedGroup(t, coreLimits(), ids...) }

// limitedGroup is a group whose cores have these bounds.
func limitedGroup(t *testing.T, limits raft.Limits, ids ...rpc.NodeID) *group {
	g := emptyGroup(t, ids...)
	g.limits = limits
	return g.begin()
}

// emptyGroup is a group that begin starts.
func emptyGroup(t *testing.T, ids ...rpc.NodeID) *group {
	return &group{t: t, hub: newHub(), ids: ids, limits: coreLimits(), disks: map[rpc.NodeID]*vfs.MemFS{}, logs: map[rpc.NodeID]*wal.Log{}, machines: map[rpc.NodeID]*sum{}}
}

func (g *group) begin() *group {
	for _, id := range g.ids {
		g.disks[id] = vfs.NewCrashableMem()
		g.start(id)
	}
	g.t.Cleanup(func() {
		for _, id := range g.ids {
			g.stop(id)
		}
	})
	return g
}

func (g *group) start(id rpc.NodeID) {
	conf, err := config.Validate(config.Config{NodeID: id, MemberIDs: g.ids})
	require.NoError(g.t, err)
	var disk vfs.FS = g.disks[id]
	if g.onDisk != nil {
		disk = g.onDisk(id, disk)
	}
	g.logs[id], err = wal.Open(disk, "wal", wal.Options{})
	require.NoError(g.t, err)
	g.machines[id] = &sum{}
	n := New(Options{Config: conf, Folder: folderFor(g.t, id), Log: g.logs[id], Machine: g.machines[id], Logger: slog.New(slog.NewTextHandler(g.t.Output(), nil)).With("node", id)})
	n.limits = g.limits
	g.hub.mu.Lock()
	g.hub.nodes[id] = n
	delete(g.hub.down, id)
	g.hub.mu.Unlock()
	require.NoError(g.t, n.Start(port{g.hub, id}))
	g.greet()
}

// greet has all nodes see each other, as pings and links of a bus would.
func (g *group) greet() {
	for _, a := range g.ids {
		if g.hub.nodes[a] == nil {
			continue
		}
		g.hub.nodes[a].Bus(true)
		for _, b := range g.ids {
			if a != b && g.hub.nodes[b] != nil {
				g.hub.nodes[a].Link(b, true, nil)
				_ = client{port: port{g.hub, a}, peer: b}.Ping()
			}
		}
	}
}

func (g *group) stop(id rpc.NodeID) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	require.NoError(g.t, g.hub.nodes[id].Stop(ctx))
	g.hub.leave(id)
	require.NoError(g.t, g.logs[id].Close())
}

// crash takes a node's power away: what its disk had not synced is gone. The process that was there talks to nobody any more.
func (g *group) crash(id rpc.NodeID) {
	g.hub.mu.Lock()
	g.hub.down[id] = true
	clone := g.disks[id].CrashClone(vfs.CrashCloneCfg{})
	g.hub.mu.Unlock()
	g.stop(id)
	g.disks[id] = clone
}

// cutOff takes a node off the hub, or puts it back. It goes on with what it has.
func (g *group) cutOff(id rpc.NodeID, off bool) {
	g.hub.mu.Lock()
	defer g.hub.mu.Unlock()
	g.hub.down[id] = off
}

// resign has a leader step down, and waits until it has.
func (g *group) resign(n *Node) {
	n.resign(g.t.Context())
	require.Eventually(g.t, func() bool { return n.Status().Role != raft.Leader }, 5*time.Second, time.Millisecond)
}

// waiting is how many proposals count against the bound.
func (w *waiters) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// leader waits for a node that leads.
func (g *group) leader() *Node {
	var leader *Node
	g.await("no leader", func() bool {
		leader = g.leads()
		return leader != nil
	})
	return leader
}

// leads is who leads now; nil: nobody.
func (g *group) leads() *Node {
	g.hub.mu.Lock()
	defer g.hub.mu.Unlock()
	for id, n := range g.hub.nodes {
		if !g.hub.down[id] && n.Status().Serving {
			return n
		}
	}
	return nil
}

// await waits for something for 10 s beside what the machine takes, on the test's own goroutine: so nothing of it outlives the test.
func (g *group) await(otherwise string, is func() bool) {
	if is() {
		return
	}
	ended := make(chan struct{})
	defer close(ended)
	for stalls := stalltest.Until(ended); !is(); time.Sleep(time.Millisecond) {
		require.Less(g.t, stalls.Took(), 10*time.Second, "%s; %v", otherwise, stalls)
	}
}

// add proposes a number until it is acknowledged, and returns the sum it was told.
func (g *group) add(x uint64) (sum uint64) {
	answer := make(chan any, 1)
	data := binary.BigEndian.AppendUint64(nil, x)
	g.await("nobody takes a proposal", func() bool {
		return g.leader().Propose(data, func(r any, _ rpc.EntryID) { answer <- r }) == nil
	})
	select {
	case r := <-answer:
		return r.(uint64)
	case <-time.After(10 * time.Second):
	}
	g.await("a proposal was not answered", func() bool {
		select {
		case r := <-answer:
			sum = r.(uint64)
			return true
		default:
			return false
		}
	})
	return sum
}

// folderFor is a new data folder in memory, of the instance that tables of this package's tests have for a node.
func folderFor(t *testing.T, id rpc.NodeID) *folder.Folder {
	own := instance(id)
	f, err := folder.OpenFrom(vfs.NewMem(), "/d", id, io.MultiReader(bytes.NewReader(own[:]), rand.Reader))
	require.NoError(t, err)
	return f
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
