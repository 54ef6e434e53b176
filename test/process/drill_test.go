package process

// Drills for the worst day: a backup under writes that is restored elsewhere, and a quorum that is lost for good. What is brought back is held,
// entry by entry, against a book of all that was acknowledged.

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/test/linear"
)

var drillKeys = flag.Int("drill-keys", 2000, "how many keys TestBackupUnderWrites backs up; 1000000 for the figures")

// record is one write that was acknowledged.
type record struct {
	key, value string
	op         command.Op
	sequence   uint64 // the bucket's
}

// book is all that was acknowledged in the bucket app, by cluster revision.
type book struct {
	mu     sync.Mutex
	writes map[uint64]record
	failed []string
	last   atomic.Uint64 // the highest revision
	count  atomic.Int64
}

func newBook() *book { return &book{writes: map[uint64]record{}} }

func (b *book) note(w record, r reply, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil || r.Error != nil {
		b.failed = append(b.failed, fmt.Sprintf("%s: %v %+v", w.key, err, r.Error))
		return
	}
	w.sequence = r.Revision
	b.writes[r.ClusterRevision] = w
	b.last.Store(max(b.last.Load(), r.ClusterRevision))
	b.count.Add(1)
}

// at is what a bucket that keeps so many entries per key holds at a revision, by sequence.
func (b *book) at(revision uint64, history int) map[uint64]record {
	b.mu.Lock()
	defer b.mu.Unlock()
	keys := map[string][]record{}
	for at, w := range b.writes {
		if at <= revision {
			keys[w.key] = append(keys[w.key], w)
		}
	}
	all := map[uint64]record{}
	for _, list := range keys {
		slices.SortFunc(list, func(x, y record) int { return int(int64(x.sequence) - int64(y.sequence)) })
		for _, w := range list[max(0, len(list)-history):] {
			all[w.sequence] = w
		}
	}
	return all
}

// write writes until stop says so: each writer the keys of its own, so that a value is known by its key and a number.
func (c *cluster) write(b *book, writers, keys int, patience time.Duration, stop func(n int64) bool) (wait func()) {
	var group sync.WaitGroup
	nc := c.connect()
	var next atomic.Int64
	for id := range writers {
		group.Go(func() {
			random := rand.New(rand.NewPCG(*seed, uint64(id)))
			for n := next.Add(1); !stop(n); n = next.Add(1) {
				w := record{key: fmt.Sprintf("k.%d.%d", id, random.IntN(keys)), value: fmt.Sprintf("%d of %d", n, id)}
				r, err := requestSurely(nc, patience, "raftbus.kv.put.app."+w.key, w.value)
				b.note(w, r, err)
			}
		})
	}
	return group.Wait
}

// load writes so many keys, each once.
func (c *cluster) load(b *book, count int) {
	const clients = 128
	var group sync.WaitGroup
	nc := c.connect()
	var next atomic.Int64
	began := time.Now()
	for range clients {
		group.Go(func() {
			for n := next.Add(1); n <= int64(count); n = next.Add(1) {
				w := record{key: fmt.Sprintf("loaded.%d", n), value: fmt.Sprintf("value %d", n)}
				r, err := requestSurely(nc, 10*time.Second, "raftbus.kv.put.app."+w.key, w.value)
				b.note(w, r, err)
				if n%100_000 == 0 {
					c.t.Logf("%d of %d keys written in %v", n, count, rounded(time.Since(began)))
				}
			}
		})
	}
	group.Wait()
	c.t.Logf("%d keys written in %v", count, rounded(time.Since(began)))
}

// entries are all that a stopped node's bucket app holds, by sequence, and the moment of its state.
func entriesOf(t *testing.T, dir string) (map[uint64]store.Entry, store.Moment) {
	s, err := store.Open(store.Options{FS: vfs.Default, Dir: filepath.Join(dir, "kv")})
	require.NoError(t, err)
	defer s.Close()
	found := map[uint64]store.Entry{}
	for p := (store.EntryPage{}); !p.Done; {
		p, err = s.Page(store.Query{Bucket: "app", From: p.Next, Max: 1000, MaxBytes: 1 << 20})
		require.NoError(t, err)
		for _, e := range p.Entries {
			found[e.Sequence] = e
		}
	}
	return found, s.Moment()
}

// same requires that what was brought back is what the book says, and nothing else.
func same(t *testing.T, want map[uint64]record, got map[uint64]store.Entry) {
	for sequence, w := range want {
		e, there := got[sequence]
		require.True(t, there, "entry %d of key %s, which was acknowledged, is not there", sequence, w.key)
		require.Equal(t, w, record{e.Key, string(e.Value), e.Op, e.Sequence}, "entry %d", sequence)
	}
	require.Len(t, got, len(want), "entries that nobody has written")
}

// A backup is taken while clients write, by the command, and restored into another cluster on another NATS: every entry, histories too, is as it
// was acknowledged up to the backup's revision, nothing else is there, and what was acknowledged before the backup began is in it. Revisions
// go on above all that the old cluster ever gave.
func TestBackupUnderWrites(t *testing.T) {
	t.Parallel() // it mostly waits
	const history, skip = 3, 1_000_000
	c := newCluster(t, layout{nodes: 3})
	c.startAll()
	c.leader()
	nc := c.connect()
	r, err := requestSurely(nc, 10*time.Second, "raftbus.bucket.add.app", fmt.Sprintf(`{"history":%d}`, history))
	require.NoError(t, err)
	require.Nil(t, r.Error)
	b := newBook()
	c.load(b, *drillKeys)

	var over atomic.Bool
	wait := c.write(b, 4, 50, 10*time.Second, func(int64) bool { return over.Load() })
	defer wait()
	defer over.Store(true)
	before := b.count.Load()
	require.Eventually(t, func() bool { return b.count.Load() > before+200 }, 10*time.Second, time.Millisecond)
	file := filepath.Join(t.TempDir(), "backup")
	least := b.last.Load()
	var sum struct{ Revision, Bytes uint64 }
	require.NoError(t, json.Unmarshal([]byte(c.command("backup", file, "--json")), &sum))
	require.GreaterOrEqual(t, sum.Revision, least, "a write that was acknowledged before the backup began")
	require.Eventually(t, func() bool { return b.last.Load() > sum.Revision+200 }, 10*time.Second, time.Millisecond)
	over.Store(true)
	wait()
	require.Empty(t, b.failed)
	given := b.last.Load()

	other := newCluster(t, layout{nodes: 3})
	var read struct{ Revision, Bytes uint64 }
	require.NoError(t, json.Unmarshal([]byte(local(t, "backup", "verify", file, "--json")), &read))
	require.Equal(t, sum, read)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.EqualValues(t, sum.Bytes, info.Size())
	t.Log(local(t, "restore", file, "--dir", other.dirs["n1"], "--id", "n1", "--skip", fmt.Sprint(skip)))
	got, at := entriesOf(t, other.dirs["n1"])
	require.Equal(t, sum.Revision+skip, at.Revision)
	same(t, b.at(sum.Revision, history), got)

	began := time.Now()
	other.members = []string{"n1"}
	other.start("n1")
	other.leader()
	other.grow("n2", "n3")
	t.Logf("three nodes hold it %v later", rounded(time.Since(began)))
	nc = other.connect()
	for _, w := range b.at(sum.Revision, 1) {
		r, err := requestSurely(nc, 10*time.Second, "raftbus.kv.get.app."+w.key, "")
		require.NoError(t, err)
		require.Equal(t, w.value, r.Value)
		break
	}
	r, err = requestSurely(nc, 10*time.Second, "raftbus.kv.put.app.new", "after the worst day")
	require.NoError(t, err)
	require.Nil(t, r.Error)
	require.Greater(t, r.ClusterRevision, given)
	require.Greater(t, r.Revision, uint64(len(b.writes)))
	other.checkStates()
}

// local runs a raftbus command that asks nobody, and must succeed.
func local(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(binary, args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	require.NoError(t, err, "%v: %s", args, said.String())
	t.Log(said.String())
	return string(out)
}

// n1 dies first; the others go on, and are lost for good. The command brings n1 back, and says the truth: what it says it has is there to the
// last write that was acknowledged, and no later one is. The same where n1 led: then
// what it may have logged at its end in vain is in the place of what others have done since.
func TestRecoverTellsTheTruth(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, led := range []bool{false, true} {
		if led && !*memberTests {
			break // -members
		}
		t.Run(map[bool]string{false: "follower", true: "leader"}[led], func(t *testing.T) { recoverAfter(t, led) })
	}
}

func recoverAfter(t *testing.T, led bool) {
	const skip = 10_000
	c := newCluster(t, layout{nodes: 3})
	c.startAll()
	c.addBucket("app")
	if leads := c.leader() == "n1"; led != leads {
		c.command("leader", "transfer", "--to", map[bool]string{false: "n2", true: "n1"}[led])
	}
	b := newBook()
	var over atomic.Bool
	wait := c.write(b, 8, 100, time.Second, func(int64) bool { return over.Load() })
	defer wait()
	defer over.Store(true)
	require.Eventually(t, func() bool { return b.count.Load() > 500 }, 15*time.Second, time.Millisecond)
	confirmed := b.last.Load()
	c.kill("n1")
	died := b.count.Load()
	require.Eventually(t, func() bool { return b.count.Load() > died+300 }, 15*time.Second, time.Millisecond)
	over.Store(true)
	wait()
	c.wipe("n2")
	c.wipe("n3")

	var done struct {
		Certain  uint64 `json:"certain_revision"`
		Revision uint64
	}
	var foreseen struct{ Revision uint64 }
	require.NoError(t, json.Unmarshal([]byte(local(t, "recover", "--dir", c.dirs["n1"], "--id", "n1", "--dry-run", "--json")), &foreseen))
	out := local(t, "recover", "--dir", c.dirs["n1"], "--id", "n1", "--yes", "--json", "--skip", fmt.Sprint(skip))
	require.NoError(t, json.Unmarshal([]byte(out), &done))
	t.Logf("acknowledged up to revision %d; recovered %d, certain are %d", b.last.Load(), done.Revision, done.Certain)
	require.Equal(t, foreseen.Revision, done.Revision)
	require.Less(t, done.Revision, b.last.Load(), "the test lost nothing")
	got, at := entriesOf(t, c.dirs["n1"])
	require.Equal(t, done.Revision+skip, at.Revision)
	told := done.Revision
	if led {
		told = max(done.Certain, confirmed) // n1 itself has acknowledged those
	}
	for _, w := range b.at(told, 1) { // a later write that was acknowledged, or not, may have taken its place
		newest := newestOf(got, w.key)
		require.GreaterOrEqual(t, newest.Sequence, w.sequence, "%s, which was acknowledged", w.key)
		if newest.Sequence == w.sequence {
			require.Equal(t, w.value, string(newest.Value))
		}
	}
	for _, e := range got {
		require.LessOrEqual(t, e.Revision, done.Revision)
		if w, acked := b.writes[e.Revision]; acked && !led {
			require.Equal(t, w, record{e.Key, string(e.Value), e.Op, e.Sequence})
		}
	}

	c.members = []string{"n1"}
	c.start("n1")
	c.leader()
	c.grow("n2", "n3")
	r, err := requestSurely(c.connect(), 10*time.Second, "raftbus.kv.put.app.new", "after the worst day")
	require.NoError(t, err)
	require.Nil(t, r.Error)
	require.Greater(t, r.ClusterRevision, b.last.Load())
	c.checkStates()
}

func newestOf(all map[uint64]store.Entry, key string) (newest store.Entry) {
	for _, e := range all {
		if e.Key == key && e.Sequence > newest.Sequence {
			newest = e
		}
	}
	return newest
}

// The old members come back after all, with a majority of the old cluster: they refuse to start beside the new one, and what was given by it
// stays (F14, F23, D3). Watchers that were there before see what is written after; one that goes on from a revision that is lost, or may be, is told
// to begin anew (W3).
func TestRecoveredClusterKeepsOutTheOld(t *testing.T) {
	t.Parallel() // it mostly waits
	c := started(t, layout{nodes: 3})
	nc := c.connect()
	c.awaitHosts(3)
	w := c.witnesses(1)[0]
	kv := c.keyValue()
	_, err := kv.PutString(t.Context(), "color", "red")
	require.NoError(t, err)
	require.Eventually(t, func() bool { count, _, _ := w.state(); return count == 1 }, 10*time.Second, time.Millisecond)
	c.caughtUp("n1") // one that nobody waits for has the last write a tick later
	for _, id := range c.members {
		c.kill(id)
	}
	local(t, "recover", "--dir", c.dirs["n1"], "--id", "n1", "--yes")
	c.members = []string{"n1"}
	c.start("n1")
	c.leader()
	c.awaitHosts(1)
	r, err := requestSurely(nc, 10*time.Second, "raftbus.kv.watch.w", `{"deliver":"my.events","from":2}`)
	require.NoError(t, err)
	require.NotNil(t, r.Error)
	require.Equal(t, linear.CodeCompacted, r.Error.ErrCode)
	again, err := kv.PutString(t.Context(), "color", "blue")
	require.NoError(t, err)
	require.EqualValues(t, 1_000_000_002, again)
	require.Eventually(t, func() bool { count, _, _ := w.state(); return count == 2 }, 15*time.Second, time.Millisecond)
	_, _, disorder := w.state()
	require.Empty(t, disorder)
	r, err = requestSurely(nc, 10*time.Second, "raftbus.kv.put.app.color", "new")
	require.NoError(t, err)
	require.Nil(t, r.Error)
	for _, id := range []string{"n2", "n3"} {
		c.launch(id, nil, "--members", "n1,n2,n3")
	}
	for _, id := range []string{"n2", "n3"} {
		c.nodes[id].logged(t, 10*time.Second, "stop n1 and the others of its cluster if that is to go")
		require.Eventually(t, c.nodes[id].ended, 10*time.Second, 5*time.Millisecond)
	}
	require.Equal(t, "n1", c.leader())
	r, err = requestSurely(nc, 10*time.Second, "raftbus.kv.get.app.color", "")
	require.NoError(t, err)
	require.Equal(t, "new", r.Value)
	_, err = os.Stat(filepath.Join(c.dirs["n2"], "wal"))
	require.NoError(t, err)
}
