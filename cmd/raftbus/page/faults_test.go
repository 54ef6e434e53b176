package page_test

// What the page and raftbus top show of nodes that are ill and not gone: paused, without one of their connections to NATS, with a slow or a
// full disk.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/cmd/raftbus/top"
)

// wire is a nats.CustomDialer whose connections can be cut, or held: then they stay, and nothing passes, as when the process is paused.
type wire struct {
	mu    sync.Mutex
	down  bool          // no connection can be made
	held  chan struct{} // closed at the end of a hold; nil: all passes
	conns []*wireConn
}

type wireConn struct {
	net.Conn
	wire *wire
	once sync.Once
	gone chan struct{}
}

var errDown = errors.New("the wire is down")

// Dial implements nats.CustomDialer.
func (w *wire) Dial(network, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, errDown
	}
	conn, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return nil, err
	}
	c := &wireConn{Conn: conn, wire: w, gone: make(chan struct{})}
	w.conns = append(w.conns, c)
	return c, nil
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	w.closeAll()
}

func (w *wire) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down, w.held = true, make(chan struct{})
}

// heal has connections made again. Those that were held are gone: a stream with a hole in it is none.
func (w *wire) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down = false; w.held != nil {
		w.closeAll()
		close(w.held)
		w.held = nil
	}
}

func (w *wire) closeAll() {
	for _, c := range w.conns {
		c.once.Do(func() { close(c.gone) })
		_ = c.Conn.Close()
	}
	w.conns = nil
}

func (w *wire) holding() chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held
}

func (c *wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if held := c.wire.holding(); held != nil {
		select {
		case <-held:
		case <-c.gone:
		}
		return 0, io.EOF
	}
	return n, err
}

func (c *wireConn) Write(p []byte) (int, error) {
	if c.wire.holding() != nil {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// Close closes the connection. NATS does not hear of it during a hold: a process that is paused closes nothing.
func (c *wireConn) Close() error {
	c.once.Do(func() { close(c.gone) })
	if c.wire.holding() != nil {
		return nil
	}
	return c.Conn.Close()
}

// ward is a cluster whose nodes can be made ill.
type ward struct {
	*cluster
	patients []*patient
	watch    watch
	handler  http.Handler
}

// patient is a node's network and disk.
type patient struct {
	peers, clients, leaf wire
	slow, full           atomic.Bool
}

// slowness is how long a sync of a slow disk takes: as long as has it called slow, and less than an election timeout.
const slowness = observe.SlowSync + 50*time.Millisecond

func (p *patient) wires() []*wire { return []*wire{&p.peers, &p.clients, &p.leaf} }

func (p *patient) change(o *replica.Options) {
	o.NATS.Peers = append(o.NATS.Peers, nats.SetCustomDialer(&p.peers))
	o.NATS.Clients = append(o.NATS.Clients, nats.SetCustomDialer(&p.clients))
	o.NATS.Leaf = append(o.NATS.Leaf, nats.SetCustomDialer(&p.leaf))
	o.FS = disk{p, errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
		if sync && p.slow.Load() && strings.Contains(op.Path, "wal") {
			time.Sleep(slowness)
		}
		return nil
	}))}
}

// disk is full when its patient's is.
type disk struct {
	p *patient
	vfs.FS
}

func (d disk) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	usage, err := d.FS.GetDiskUsage(path)
	if d.p.full.Load() {
		usage.AvailBytes = 1 << 20
	}
	return usage, err
}

func startWard(t *testing.T, members ...string) *ward {
	t.Helper()
	w := &ward{}
	for range members {
		w.patients = append(w.patients, &patient{})
	}
	w.cluster = startWith(t, members, func(i int, o *replica.Options) { w.patients[i].change(o) })
	t.Cleanup(w.heal) // before the nodes are stopped
	w.watch.nc, w.handler = w.nc, w.nodes[shown].Page()
	return w
}

func (w *ward) heal() {
	for _, p := range w.patients {
		p.slow.Store(false)
		p.full.Store(false)
		for _, wire := range p.wires() {
			wire.heal()
		}
	}
}

// follower is a node that does not lead, and is none of those.
func (w *ward) follower(not ...int) int {
	for i := range w.nodes {
		if i != w.leader() && !slices.Contains(not, i) {
			return i
		}
	}
	return -1
}

type fault struct {
	name   string
	harm   func(p *patient)
	shown  string // of the node, on the page and by raftbus top
	breaks bool   // links to it, as the others see them
}

var faults = []fault{
	{"paused", (*patient).pause, "no answer since", true},
	{"cut off from its peers", func(p *patient) { p.peers.cut() }, "connection to NATS is down", true},
	{"without its leaf connection", func(p *patient) { p.leaf.cut() }, "no leaf connection: this node serves no watches", false},
	{"with a full disk", func(p *patient) { p.full.Store(true) }, "the disk is full", false},
	{"with a slow disk", func(p *patient) { p.slow.Store(true) }, "the disk is slow", false},
}

func (p *patient) pause() {
	for _, w := range p.wires() {
		w.hold()
	}
}

// Each fault of a node is shown with its cause, while the others serve, and no more once it is healed.
func TestFaultsAreShown(t *testing.T) {
	if !*ill && *chromium == "" {
		t.Skip("waits for five faults to be seen and healed: give -ill, or -chromium")
	}
	w := startWard(t, "n1", "n2", "n3", "n4", "n5")
	w.request(t, "raftbus.bucket.add.app", "")
	var b *tab // nil: the page is seen by what it is drawn from only
	if *chromium != "" {
		b = open(t, w.handler)
	}
	for _, f := range faults {
		w.sound(t)
		i := w.follower(shown)
		id := fmt.Sprintf("n%d", i+1)
		f.harm(w.patients[i])
		w.until(t, id+" "+f.name, func(text string) bool {
			return says(text, id, f.shown) && (!f.breaks || strings.Contains(text, "the link to "+id+" is broken"))
		})
		if b != nil {
			b.until(t, fmt.Sprintf(has, "nodes", f.shown)+" || "+fmt.Sprintf(has, "problems", f.shown))
		}
		require.NotContains(t, w.request(t, "raftbus.kv.put.app.k", "v"), "error", "%s %s: the others serve", id, f.name)
		w.heal()
	}
	w.sound(t)
}

// shown is the node whose page it is.
const shown = 0

// sound waits until nothing is wrong.
func (w *ward) sound(t *testing.T) {
	t.Helper()
	w.until(t, "all are well", func(text string) bool {
		return strings.Contains(text, " leads in term") && strings.Contains(text, "5 of 5 nodes answer") &&
			!slices.ContainsFunc(faults, func(f fault) bool { return strings.Contains(text, f.shown) }) && !strings.Contains(text, "broken")
	})
}

// until waits until both raftbus top and the page show something.
func (w *ward) until(t *testing.T, what string, shows func(text string) bool) {
	t.Helper()
	var top, page string
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, _ = w.nc.Request("raftbus.kv.put.app.k", []byte("v"), time.Second) // a disk is slow for who writes
		if top, page = w.top(t), w.page(t); shows(top) && shows(page) {
			return
		}
		require.True(t, time.Now().Before(end), "%s:\n%s\n%s", what, top, page)
	}
}

// says reports whether a line about a node has those words.
func says(text, id, words string) bool {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, id+" ") || strings.HasPrefix(line, id+": ") {
			if strings.Contains(line, words) {
				return true
			}
		}
	}
	return false
}

// top is what raftbus top shows now.
func (w *ward) top(t *testing.T) string {
	t.Helper()
	before := w.watch.last
	return top.Compare(before, w.watch.look(t)).Text(top.Options{})
}

// page is what the page is drawn from, in the words of top.
func (w *ward) page(t *testing.T) string {
	t.Helper()
	code, body, _ := ask(t, w.handler, "/api/cluster")
	require.Equal(t, http.StatusOK, code)
	var v top.View
	require.NoError(t, json.Unmarshal([]byte(body), &v))
	return v.Text(top.Options{})
}
