package kv

import (
	"flag"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/leaktest"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6") // those that may run together mostly wait; -parallel says otherwise
	leaktest.Main(m)
}

// solo is a node that is a cluster by itself: what is proposed is applied, at once or when the test says so.
type solo struct {
	store *store.Store

	mu        sync.Mutex
	observers []func(bool)
	leading   bool
	refusal   error // of Propose
	late      error // of Propose too, told to done
	readBusy  error // of ReadIndex
	hold      bool  // keep what comes, until release
	held      []func()
	heldMax   chan struct{} // gets one for each thing held
	settled   func()        // what a lane is told after each entry; nil: there is none
	confirmed func()        // and after each read
	behind    atomic.Int64  // the clock, what the log's entries get aside
}

func newSolo(s *store.Store) *solo { return &solo{store: s, heldMax: make(chan struct{}, 1000)} }

func (n *solo) Leadership(changed func(bool)) { n.observers = append(n.observers, changed) }
func (n *solo) MaxCommandBytes() int          { return 1 << 20 }

// Clock is the time that the next entry will have, unless the voters' clocks were put back.
func (n *solo) Clock() int64 {
	return int64(n.store.Applied().Index+1)*int64(time.Second) - n.behind.Load()
}

func (n *solo) lead(leading bool) {
	n.mu.Lock()
	n.leading = leading
	n.mu.Unlock()
	for _, changed := range n.observers {
		changed(leading)
	}
}

func (n *solo) set(change func(*solo)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

func (n *solo) Propose(data []byte, done func(any, rpc.EntryID)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case !n.leading:
		return node.ErrNotLeader
	case n.refusal != nil:
		return n.refusal
	case n.late != nil:
		late := n.late
		n.mu.Unlock()
		defer n.mu.Lock() // for the one above
		done(late, rpc.EntryID{})
		return nil
	}
	n.run(func() {
		at := n.store.Applied()
		entry := rpc.Entry{Index: at.Index + 1, Term: 1, Kind: rpc.EntryCommand, Time: int64(at.Index+1) * int64(time.Second), Data: data}
		results, err := n.store.Apply([]rpc.Entry{entry})
		if err != nil {
			panic(err)
		}
		done(results[0], entry.ID())
		if n.settled != nil {
			n.settled()
		}
	})
	return nil
}

func (n *solo) ReadIndex(done func(error)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.readBusy != nil {
		return n.readBusy
	}
	leading := n.leading
	n.run(func() {
		if leading {
			done(nil)
		} else {
			done(node.ErrNotLeader)
		}
		if n.confirmed != nil {
			n.confirmed()
		}
	})
	return nil
}

func (n *solo) run(step func()) {
	if !n.hold {
		step()
		return
	}
	n.held = append(n.held, step)
	n.heldMax <- struct{}{}
}

// release carries out what was held.
func (n *solo) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, step := range n.held {
		step()
	}
	n.held, n.hold = nil, false
}

// step carries out what was held, and holds what comes of it.
func (n *solo) step() {
	n.mu.Lock()
	defer n.mu.Unlock()
	held := n.held
	n.held = nil
	for _, step := range held {
		step()
	}
}

// rig is a service on a NATS server, with one client.
type rig struct {
	*testing.T
	node    *solo
	store   *store.Store
	service *Service
	bus     *server.Server
	client  *nats.Conn
}

func near() time.Duration { return 0 }

func newRig(t *testing.T, change func(*Options), serverChange ...func(*server.Options)) *rig {
	t.Helper()
	s, err := store.Open(store.Options{FS: vfs.NewCrashableMem(), Dir: "store"})
	require.NoError(t, err)
	bus := newBus(t, serverChange...)
	conn, err := nats.Connect(bus.ClientURL(), nats.SkipSubjectValidation())
	require.NoError(t, err)
	client, err := nats.Connect(bus.ClientURL())
	require.NoError(t, err)
	n := newSolo(s)
	o := Options{Conn: conn, Prefix: "raftbus", NodeID: "n1", Node: n, Store: s, RoundTrip: near, waits: waits{flushWait: time.Minute}}
	if change != nil {
		change(&o)
	}
	service, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		service.Close()
		client.Close()
		conn.Close()
		bus.Shutdown()
		bus.WaitForShutdown()
		require.NoError(t, s.Close())
	})
	return &rig{T: t, node: n, store: s, service: service, bus: bus, client: client}
}

func newBus(t *testing.T, serverChange ...func(*server.Options)) *server.Server {
	t.Helper()
	bus := startBus(t, busOptions(serverChange...))
	require.NotNil(t, bus, "it does not listen")
	return bus
}

func busOptions(changes ...func(*server.Options)) *server.Options {
	o := &server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true}
	for _, change := range changes {
		change(o)
	}
	return o
}

// startBus returns nil where the server does not come to listen.
func startBus(t *testing.T, opts *server.Options) *server.Server {
	bus, err := server.NewServer(opts)
	require.NoError(t, err)
	bus.Start()
	if !bus.ReadyForConnections(5 * time.Second) {
		bus.Shutdown()
		bus.WaitForShutdown()
		return nil
	}
	return bus
}

// lead makes the node leader and waits until its service listens.
func (r *rig) lead() {
	r.Helper()
	r.node.lead(true)
	r.awaitListening(true)
}

func (r *rig) stepDown() {
	r.Helper()
	r.node.lead(false)
	r.awaitListening(false)
}

func (r *rig) awaitListening(want bool) {
	r.Helper()
	require.Eventually(r, func() bool {
		r.service.listenMu.Lock()
		defer r.service.listenMu.Unlock()
		return want == (r.service.subs != nil)
	}, 5*time.Second, time.Millisecond)
	require.NoError(r, r.service.conn.Flush())
}

func (r *rig) request(subject, body string, headers ...string) (*nats.Msg, error) {
	msg := &nats.Msg{Subject: "raftbus." + subject, Data: []byte(body), Header: nats.Header{}}
	for i := 0; i < len(headers); i += 2 {
		msg.Header.Add(headers[i], headers[i+1])
	}
	return r.client.RequestMsg(msg, 5*time.Second)
}

func (r *rig) ask(subject, body string, headers ...string) *nats.Msg {
	r.Helper()
	reply, err := r.request(subject, body, headers...)
	require.NoError(r, err, subject)
	return reply
}

func (r *rig) expect(want, subject, body string, headers ...string) {
	r.Helper()
	require.Equal(r, want, string(r.ask(subject, body, headers...).Data), subject)
}

// expectError checks the code, and that body and headers say the same.
func (r *rig) expectError(want ErrorKind, subject, body string, headers ...string) {
	r.Helper()
	requireError(r, want, r.ask(subject, body, headers...))
}
