package delivery

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/busclient/leaf"
	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/bell"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/raft/leaktest"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const patience = 10 * time.Second

// solo is a node that is a cluster by itself: what is proposed is applied at once.
type solo struct {
	node.Proposer
	t     *testing.T
	store *store.Store
	mu    sync.Mutex
	lead  func(bool)
	down  bool // refuses what is proposed
}

func newSolo(t *testing.T) *solo { return soloOn(t, memengine.New()) }

func soloOn(t *testing.T, e engine.Engine) *solo {
	s, err := store.Open(store.Options{Engine: e, ManualFlush: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return &solo{t: t, store: s}
}

func (n *solo) Leadership(changed func(bool)) { n.lead = changed }

func (n *solo) Propose(data []byte, done func(any, rpc.EntryID)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return node.ErrNotLeader
	}
	at := n.store.Applied()
	results, err := n.store.Apply([]rpc.Entry{{Index: at.Index + 1, Term: 1, Kind: rpc.EntryCommand, Time: int64(at.Index+1) * int64(time.Second), Data: data}})
	require.NoError(n.t, err)
	done(results[0], n.store.Applied())
	return nil
}

func (n *solo) do(c command.Command) (result store.Result) {
	n.t.Helper()
	require.NoError(n.t, n.Propose(c.Encode(), func(r any, _ rpc.EntryID) { result = r.(store.Result) }))
	require.Equal(n.t, store.Done, result.Code)
	return result
}

func (n *solo) bucket(name string) {
	n.do(command.Command{AddBucket: &command.AddBucket{Name: name, Settings: command.Settings{History: 64}}})
}

func (n *solo) put(bucket, key, value string) {
	n.do(command.Command{Write: &command.Write{Bucket: bucket, Key: key, Value: []byte(value)}})
}

// consumer makes a consumer that the node's life 7 serves.
func (n *solo) consumer(bucket, name string) {
	n.consumerOf(bucket, name, `{"deliver_policy":"all","idle_heartbeat":5000000000,"flow_control":true,"inactive_threshold":300000000}`)
}

func (n *solo) consumerOf(bucket, name, config string) {
	n.do(command.Command{AddConsumer: &command.AddConsumer{
		Bucket: bucket, Name: name, Host: "n1", Boot: 7, Deliver: "deliver." + name, Answer: "answer." + name, Config: []byte(config),
	}})
}

// line is a leaf connection that keeps what is published.
type line struct {
	calls Callbacks
	mu    sync.Mutex
	heard map[string]bool // who is listened to
	watch map[string]int  // who is watched, by how many
	sent  map[string][]string
	told  bell.Bell // rings when something is published
	space int       // room; below 0: plenty
	most  int       // that a message may have; 0: it is not known
	ended bool
}

func newLine() *line {
	return &line{heard: map[string]bool{}, watch: map[string]int{}, sent: map[string][]string{}, told: bell.New(), space: -1}
}

func (l *line) Publish(subject, reply string, header, data []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.most > 0 && len(header)+len(data) > l.most {
		return leaf.ErrTooLarge
	}
	size := len(subject) + len(reply) + len(header) + len(data) + 64
	if l.space >= 0 && size > l.space {
		return leaf.ErrFull
	}
	text := string(data)
	if reply != "" {
		text = strings.Split(reply, ".")[5] + " " + text
	} else if len(header) > 0 {
		text = strings.ReplaceAll(string(header), "\r\n", "|")
	}
	l.sent[subject] = append(l.sent[subject], text)
	if l.space >= 0 {
		l.space -= size
	}
	l.told.Ring()
	return nil
}

func (l *line) Room() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.space < 0 {
		return 1 << 20
	}
	return l.space
}

func (l *line) AwaitRoom() bool { return true }

func (l *line) LastError() string { return "no route" }

func (l *line) MaxPayload() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.most
}

func (l *line) Watch(subject string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch[subject]++
	return l.heard[subject]
}

func (l *line) Unwatch(subject string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watch[subject]--; l.watch[subject] == 0 {
		delete(l.watch, subject)
	}
}

// watched is how many subjects are watched.
func (l *line) watched() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.watch)
}

func (l *line) Close() { l.ended = true }

func (l *line) listen(subject string) {
	l.mu.Lock()
	l.heard[subject] = true
	l.mu.Unlock()
	l.calls.Interest(subject, true)
}

func (l *line) setRoom(bytes int) {
	l.mu.Lock()
	l.space = bytes
	l.mu.Unlock()
	l.calls.Room()
}

func (l *line) got(subject string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.sent[subject]...)
}

// await waits until so much was sent to a subject, and returns it.
func (l *line) await(t *testing.T, subject string, n int) []string {
	t.Helper()
	deadline := time.After(patience)
	for {
		if list := l.got(subject); len(list) >= n {
			return list
		}
		select {
		case <-l.told:
		case <-deadline:
			require.Fail(t, "not sent", "%d of %d to %s: %v", len(l.got(subject)), n, subject, l.got(subject))
		}
	}
}

// rig is a service on a solo and a line.
type rig struct {
	*Service
	solo *solo
	line *line
	nc   *nats.Conn
	lost atomic.Bool // the node does not know who leads
	far  atomic.Bool // n2 leads
	deaf atomic.Bool // clients are not heard
	held sync.Mutex  // who asks whether they are waits for it
}

func (r *rig) hearsClients() bool {
	r.held.Lock()
	defer r.held.Unlock()
	return !r.deaf.Load()
}

func (r *rig) leads() rpc.NodeID {
	switch {
	case r.lost.Load():
		return ""
	case r.far.Load():
		return "n2"
	}
	return "n1"
}

func newRig(t *testing.T, without ...bool) *rig { return rigOn(t, memengine.New(), without...) }

func rigOn(t *testing.T, e engine.Engine, without ...bool) *rig {
	server := natstest.Run(t, embedded.Options{})
	nc := natstest.Connect(t, server)
	r := &rig{solo: soloOn(t, e), line: newLine(), nc: nc}
	o := Options{Node: "n1", Boot: 7, Prefix: "raftbus", Conn: nc, Proposer: r.solo, Store: r.solo.store, Leader: r.leads, Listens: r.hearsClients}
	o.Dial = func(calls Callbacks) (Leaf, error) { r.line.calls = calls; return r.line, nil }
	var err error
	r.Service, err = New(o)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	if len(without) == 0 {
		r.line.calls.Status(true)
		require.Eventually(t, func() bool { return !r.waits() }, patience, time.Millisecond)
	}
	return r
}
