package integration

// Power that fails for all nodes at once just as a log is cut, a state is flushed, or a snapshot is received, kept or installed (C2, F17, F29, F30, K27,
// K31-K34): what is deleted then is still named on the disk or not, what took its place is there or not.

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/stalltest"
	"github.com/raftbus/raftbus/test/cluster"
)

// touch is one operation that changes a disk.
type touch struct{ node, op, name string } // the name in the data folder

// watched is a disk of a node that tells of what is done to it, before it is done.
type watched struct {
	powered
	node string
	told func(touch)
}

func (d watched) tell(op, name string) { d.told(touch{d.node, op, name}) }

func (d watched) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	d.tell("create", name)
	f, err := d.powered.Create(name, c)
	return watchedFile{f, d, name}, err
}

func (d watched) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.powered.OpenReadWrite(name, c, o...)
	return watchedFile{f, d, name}, err
}

func (d watched) OpenDir(name string) (vfs.File, error) {
	f, err := d.powered.OpenDir(name)
	return watchedFile{f, d, name}, err
}

func (d watched) Remove(name string) error {
	d.tell("remove", name)
	return d.powered.Remove(name)
}

func (d watched) Rename(from, to string) error {
	d.tell("rename", to)
	return d.powered.Rename(from, to)
}

type watchedFile struct {
	vfs.File
	disk watched
	name string
}

func (f watchedFile) Write(p []byte) (int, error) {
	f.disk.tell("write", f.name)
	return f.File.Write(p)
}

func (f watchedFile) WriteAt(p []byte, at int64) (int, error) {
	f.disk.tell("write", f.name)
	return f.File.WriteAt(p, at)
}

func (f watchedFile) Sync() error {
	f.disk.tell("sync", f.name)
	return f.File.Sync()
}

var everyMoment = flag.Bool("moments", false, "have TestPowerIsLostWhileLogsAreCutAndSnapshotsReceived lose power at all of its moments")

// moment is when power fails: before some operation of a kind, and as many others on that node as are let pass.
type moment struct {
	always bool // without the flag too
	name   string
	behind bool // a node was away, and gets a snapshot
	is     func(touch) bool
	passes int
}

func removesSegment(o touch) bool { return o.op == "remove" && filepath.Ext(o.name) == ".wal" }
func flushes(o touch) bool {
	return o.op == "create" && filepath.Ext(o.name) == ".sst"
}
func receives(o touch) bool { return o.op == "write" && filepath.Base(o.name) == "incoming" }
func keeps(o touch) bool    { return o.op == "rename" && filepath.Base(o.name) == "complete" }
func lets(o touch) bool     { return o.op == "remove" && filepath.Base(o.name) == "complete" }

var moments = []moment{
	{false, "a log is cut", false, removesSegment, 0},
	{true, "a log was cut", false, removesSegment, 1},
	{false, "a state is flushed", false, flushes, 0},
	{false, "a snapshot is received", true, receives, 5},
	{true, "a snapshot is whole", true, keeps, 0},
	{false, "a snapshot has its name", true, keeps, 1},
	{true, "a snapshot is installed", true, keeps, 8},
	{false, "a snapshot was installed", true, lets, 0},
}

// outage has the power fail once, at its moment.
type outage struct {
	mu     sync.Mutex
	at     *moment // nil: not now
	struck string  // the node whose operation it was
	passed int
	fails  func()
	failed chan struct{}
}

func (o *outage) arm(m *moment) (failed chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.at, o.struck, o.passed, o.failed = m, "", 0, make(chan struct{})
	return o.failed
}

func (o *outage) told(what touch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.at == nil:
		return
	case o.struck == "" && o.at.is(what):
		o.struck = what.node
	case o.struck == what.node:
		o.passed++
	}
	if o.struck != "" && o.passed >= o.at.passes {
		o.at = nil
		o.fails()
		close(o.failed)
	}
}

// mains is a cluster on disks that lose their power together.
type mains struct {
	*cluster.Cluster
	t     *testing.T
	disks map[string]*vfs.MemFS
	left  map[string]*vfs.MemFS // what an outage has left of them
	acked []string              // before it
	out   outage
}

func newMains(t *testing.T, l func() *load, random *rand.Rand) *mains {
	m := &mains{t: t, disks: map[string]*vfs.MemFS{}}
	m.Cluster = cluster.New(t, 3, func(o *replica.Options) {
		o.FS, o.KeepLogBytes = watched{powered{m.disks[o.ID]}, o.ID, m.out.told}, -1
	})
	m.out.fails = func() {
		for _, w := range m.Wires { // nothing is acknowledged from here on
			w.Cut()
		}
		m.acked, m.left = l().ackedSoFar(), map[string]*vfs.MemFS{}
		for id, disk := range m.disks {
			m.left[id] = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[random.IntN(3)], RNG: random})
		}
	}
	for _, id := range m.Members {
		m.disks[id] = vfs.NewCrashableMem()
		m.Start(id)
	}
	m.Leader()
	return m
}

// again starts all nodes with what the outage has left.
func (m *mains) again() {
	stopOfThePast(m.t, m.Cluster)
	m.disks = m.left
	for _, id := range m.Members {
		m.Wires[id].Heal()
		m.Start(id)
	}
	m.Leader()
}

// stopOfThePast stops all nodes: their disks are of the past, and so is what they say. None is left that runs beside the next of its name (F13).
func stopOfThePast(t *testing.T, c *cluster.Cluster) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_ = replica.StopAll(ctx, slices.Collect(maps.Values(c.Nodes)))
	require.NoError(t, ctx.Err(), "a node does not stop")
	clear(c.Nodes)
}

// bulkBytes is the size of a value of which some fill a segment, and some more are flushed.
const bulkBytes = 768 << 10

// fill writes for as long as it is asked to.
func (m *mains) fill(nc *nats.Conn, goesOn func() bool) {
	value := strings.Repeat("b", bulkBytes)
	for i := 0; goesOn(); i++ {
		_, _ = cluster.Ask(nc, time.Second, fmt.Sprintf("%sbulk%d", put, i%4), value)
	}
}

// leaveBehind stops a follower, and writes until nobody's log reaches down to where it is.
func (m *mains) leaveBehind(nc *nats.Conn) (id string) {
	id = follower(m.Cluster)
	m.Applied(id) // what it was behind before it has, and all of a snapshot with that
	last := m.Nodes[id].Status().LogLast
	m.Stop(id)
	stalls := stalltest.During(m.t)
	m.fill(nc, func() bool {
		require.Less(m.t, stalls.Took(), time.Minute, "the logs are never cut")
		for _, n := range m.Nodes {
			if n.Status().LogFirst <= last+1 {
				return true
			}
		}
		return false
	})
	return id
}

// await waits for the power to fail. For a log to be cut and a state to be flushed much must be written; the snapshot of who was left behind comes by itself.
func (m *mains) await(nc *nats.Conn, failed chan struct{}, at *moment) {
	stalls := stalltest.During(m.t)
	goesOn := func() bool {
		require.Less(m.t, stalls.Took(), time.Minute, "not reached: %s", at.name)
		select {
		case <-failed:
			return false
		default:
			return true
		}
	}
	if !at.behind {
		m.fill(nc, goesOn)
	}
	for goesOn() {
		time.Sleep(time.Millisecond)
	}
}

func TestPowerIsLostWhileLogsAreCutAndSnapshotsReceived(t *testing.T) {
	t.Parallel() // it mostly waits
	random := rand.New(rand.NewPCG(1, 3))
	var l *load
	m := newMains(t, func() *load { return l }, random)
	nc := m.Connect()
	m.Must(nc, add, "")
	l = startPatientLoad(m.Cluster, t, 3, 2, time.Minute) // all nodes are away while they are started
	for _, at := range moments {
		if !at.always && !*everyMoment {
			continue
		}
		away, seen := "", len(m.acked)
		if at.behind {
			away = m.leaveBehind(nc)
		}
		failed := m.out.arm(&at)
		if away != "" {
			m.Start(away)
		}
		began := time.Now()
		m.await(nc, failed, &at)
		t.Logf("%s, on %s: the power fails after %v", at.name, m.out.struck, time.Since(began).Round(time.Millisecond))
		m.again()
		for _, key := range m.acked[seen:] { // finish reads all
			require.Equal(t, key, m.Must(nc, get+key, "").Value, "an acknowledged write is lost: %s", at.name)
		}
	}
	l.finish(m.Cluster, nc)
	m.requireOneState()
}

// requireOneState stops the nodes, the leader last, and requires of those that have applied as much that they hold the same state (I5). All have, or all but
// the first that was stopped, if somebody was elected then.
func (m *mains) requireOneState() {
	for _, id := range m.Members {
		m.Applied(id)
	}
	leader := m.Leader()
	states := map[string]string{} // by what is applied
	for _, id := range append(slices.DeleteFunc(slices.Clone(m.Members), func(id string) bool { return id == leader }), leader) {
		m.Stop(id)
		s, err := store.Open(store.Options{FS: m.disks[id], Dir: filepath.Join(m.Dir(id), "kv")})
		require.NoError(m.t, err)
		view, err := s.Snapshot()
		require.NoError(m.t, err)
		sum := sha256.New()
		_, err = view.WriteTo(sum)
		require.NoError(m.t, err)
		at, state := view.ID().String(), fmt.Sprintf("%x", sum.Sum(nil))
		if other := states[at]; other != "" {
			require.Equal(m.t, other, state, "%s holds another state as of %s", id, at)
		}
		states[at] = state
		require.NoError(m.t, view.Close())
		require.NoError(m.t, s.Close())
	}
	require.Less(m.t, len(states), len(m.Members), "no two have applied as much")
}
