package wal

// Crashes: the disk as a power loss could leave it, at every file operation, in every mode; what the log makes of it; and
// a second crash while it does.

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// share asks for the sweeps of a release instead of those of every `go test`: RAFTBUS_LONG=1 for the whole of them, RAFTBUS_LONG=7 for
// every seventh image, from a start that is drawn anew each time. 0: neither. No multiple of 2, so that each bit of a byte has its turn.
var share = func() int {
	given := os.Getenv("RAFTBUS_LONG")
	n, err := strconv.Atoi(cmp.Or(given, "0"))
	if err != nil || n < 0 || given != "" && n%2 == 0 {
		panic("RAFTBUS_LONG: give 1 for all, or an odd n for every nth image")
	}
	return n
}()

// start is where a sweep begins that sees but a share.
var start = rand.IntN(max(share, 1))

// seeds are those of a sweep: the first few, or in a long run the share of all.
func seeds(quick, all int) iter.Seq[uint64] {
	step := share
	if share == 0 {
		step, all = 1, quick
	}
	return func(yield func(uint64) bool) {
		for seed := start; seed < all && yield(uint64(seed)); seed += step {
		}
	}
}

// journal is what a test knows while a log is at work: what was acknowledged, and what is under way.
type journal struct {
	mu       sync.Mutex
	acked    model
	underway model // nil when nothing is
}

func (j *journal) begin(m model) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.underway = m
}

// end takes in what came of the step under way. After ErrFailed it stays under way for ever: nobody knows.
func (j *journal) end(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case err == nil:
		j.acked, j.underway = j.underway, nil
	case !errors.Is(err, ErrFailed):
		j.underway = nil
	}
}

// differs says how l is neither what was acknowledged nor that and the whole of what was under way.
func (j *journal) differs(l *Log) string {
	first := j.acked.differs(l)
	if first == "" || j.underway == nil {
		return first
	}
	if second := j.underway.differs(l); second != "" {
		return fmt.Sprintf("neither acknowledged (%s) nor under way (%s)", first, second)
	}
	return ""
}

// work runs steps on a log until one fails fatally, writing them to the journal. It returns the last error.
func (j *journal) work(l *Log, s *script, steps int) error {
	var err error
	for range steps {
		m := j.acked
		id := GroupID(s.rng.IntN(2))
		if g := m[id]; len(g.log) > 12 && s.rng.IntN(3) == 0 {
			b := *s.base(&g)
			j.begin(m.with(Batch{Group: id, Base: &b}))
			err = l.Compact(id, b)
		} else {
			batches := []Batch{s.batch(m, id), s.batch(m, 2+id)}
			j.begin(m.with(batches...))
			err = l.Append(batches...)
		}
		if j.end(err); errors.Is(err, ErrFailed) {
			return err
		}
	}
	return err
}

// survivor opens a crashed disk and fails the test unless it holds what it must, now and after more work on it.
func (j *journal) survivor(t *testing.T, fs *waltest.FS, what string) {
	l, next := j.goesOn(t, fs, what)
	require.NoError(t, l.Close())
	l = openTest(t, fs)
	require.Empty(t, next.differs(l), what)
	require.NoError(t, l.Close())
}

// goesOn opens what a process left, checks that it holds what it must, and works on it.
func (j *journal) goesOn(t *testing.T, fs *waltest.FS, what string) (*Log, *journal) {
	l, err := Open(fs, "/log", Options{SegmentBytes: 8 << 10, LogID: testLogID})
	require.NoError(t, err, what)
	require.Empty(t, j.differs(l), what)
	next := &journal{acked: j.acked}
	if j.acked.differs(l) != "" {
		next.acked = j.underway
	}
	require.NoError(t, next.work(l, &script{rng: seeded(9), most: 900}, 2), what)
	return l, next
}

// TestCrashAtEveryOperation takes images of the disk before every operation that changes it.
func TestCrashAtEveryOperation(t *testing.T) {
	t.Parallel() // a sweep: it works, and shares nothing
	images := 0
	for seed := range seeds(2, 120) {
		inline := seed%2 == 1
		fs, rng := waltest.New(), seeded(seed)
		j := &journal{acked: model{}}
		var checks []func() // run later, on the test's own goroutine
		crash := func(op waltest.Op) {
			now := &journal{acked: j.acked, underway: j.underway}
			for _, mode := range waltest.Modes {
				disk, what := fs.Crash(mode, rng), fmt.Sprintf("seed %d, mode %v, before %+v", seed, mode, op)
				checks = append(checks, func() { now.survivor(t, disk, what) })
			}
			if op.Kind == waltest.Sync {
				disk := fs.Crash(waltest.KeepSectors, rng)
				checks = append(checks, func() { crashTwice(t, now, disk, rng) })
			}
		}
		fs.Hook(func(op waltest.Op) error {
			j.mu.Lock()
			defer j.mu.Unlock()
			if op.Kind.Changes() {
				crash(op)
			}
			return nil
		})
		l, err := Open(fs, "/log", Options{SegmentBytes: 8 << 10, LogID: testLogID, Inline: inline})
		require.NoError(t, err)
		require.NoError(t, j.work(l, &script{rng: seeded(seed), most: 900}, 25))
		require.NoError(t, l.Close())
		fs.Hook(nil)
		for _, check := range checks {
			check()
		}
		images += len(checks)
	}
	t.Logf("%d images, seeds from %d on", images, start)
	require.Greater(t, images, 500)
}

var errKilled = errors.New("killed")

// TestKilledThenPowerLost: a process is killed at every operation that changes the disk; what it wrote is there for the next one, but
// not all of it would survive a power loss. What that one builds on it, and acknowledges, does (K54).
func TestKilledThenPowerLost(t *testing.T) {
	t.Parallel() // a sweep: it works, and shares nothing
	for seed := range seeds(2, 60) {
		for at, killed := 1, true; killed; at++ {
			fs, j := waltest.New(), &journal{acked: model{}}
			var ops atomic.Int64
			fs.Hook(func(op waltest.Op) error {
				if op.Kind.Changes() && ops.Add(1) >= int64(at) {
					return errKilled
				}
				return nil
			})
			if l, err := Open(fs, "/log", Options{SegmentBytes: 8 << 10, LogID: testLogID, Inline: true}); err == nil {
				_ = j.work(l, &script{rng: seeded(seed), most: 900}, 12) // until it is killed
				_ = l.Close()
			}
			killed = ops.Load() >= int64(at)
			fs.Hook(nil)
			what := fmt.Sprintf("seed %d, killed at operation %d", seed, at)
			l, next := j.goesOn(t, fs, what)
			disk := fs.Crash(waltest.KeepNothing, nil)
			require.NoError(t, l.Close())
			next.survivor(t, disk, what+", then power lost")
		}
	}
}

// TestCrashWhileALargerSegmentIsMade: power is lost while a segment that is ready is replaced by a larger one, which has room or has
// not. The next start finds the one or the other, and no half of either.
func TestCrashWhileALargerSegmentIsMade(t *testing.T) {
	t.Parallel() // a sweep: it works, and shares nothing
	for _, full := range []bool{false, true} {
		l, fs, m, big := withReady(t, true)
		j := &journal{acked: m, underway: m.with(big)}
		images, sizes := 0, map[int]bool{}
		fs.Hook(func(op waltest.Op) error {
			if !op.Kind.Changes() {
				return nil
			}
			for _, mode := range waltest.Modes {
				for seed := range uint64(8) {
					disk, what := fs.Crash(mode, seeded(seed)), fmt.Sprintf("full %v, mode %v, seed %d, before %+v", full, mode, seed, op)
					sizes[len(readFile(t, disk, "/log/"+segmentName(2)))] = true
					j.survivor(t, disk, what)
					names, err := disk.List("/log")
					require.NoError(t, err)
					require.NotContains(t, strings.Join(names, " "), tempSuffix, what)
					images++
				}
			}
			if full && op.Kind == waltest.Rename {
				return syscall.ENOSPC
			}
			return nil
		})
		if err := l.Append(big); full {
			require.ErrorIs(t, err, ErrFull)
			require.Len(t, sizes, 1)
			fs.Hook(nil)
			m = fillsReady(t, l, m, "")
		} else {
			require.NoError(t, err)
			require.Len(t, sizes, 2, "the ready one, and the larger one")
			m = j.underway
			fs.Hook(nil)
		}
		require.GreaterOrEqual(t, images, 6*32)
		endsAs(t, l, fs, m, "")
	}
}

// crashTwice crashes again at every operation of the recovery from a first crash.
func crashTwice(t *testing.T, j *journal, fs *waltest.FS, rng *rand.Rand) {
	var again []*waltest.FS
	fs.Hook(func(op waltest.Op) error {
		if op.Kind.Changes() && !strings.HasSuffix(op.Name, tempSuffix) {
			again = append(again, fs.Crash(waltest.KeepSectors, rng), fs.Crash(waltest.KeepNothing, rng))
		}
		return nil
	})
	l, err := Open(fs, "/log", Options{SegmentBytes: 8 << 10, LogID: testLogID})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	for _, fs := range again {
		j.survivor(t, fs, "after a second crash")
	}
}

// TestK49LazySyncAck: what Append returned nil for survives a power loss at that very moment.
func TestK49LazySyncAck(t *testing.T) {
	fs := waltest.New()
	l := openTest(t, fs)
	b := Batch{HardState: &rpc.HardState{Term: 1, Vote: "n1"}, Entries: entries(1, 1, 4)}
	require.NoError(t, l.Append(b))
	j := journal{acked: model{}.with(b)}
	j.survivor(t, fs.Crash(waltest.KeepNothing, nil), "the moment it is acknowledged")
	require.NoError(t, l.Close())
}

// TestK54DirectoryNotSynced: folder, segment and rolled segments are all there after a power loss.
func TestK54DirectoryNotSynced(t *testing.T) {
	fs := waltest.New()
	l, err := Open(fs, "/a/b/c", Options{SegmentBytes: 8 << 10})
	require.NoError(t, err)
	for i := rpc.Index(1); i < 400; i++ {
		require.NoError(t, l.Append(Batch{Entries: entries(1, i, i+1)}))
	}
	require.Greater(t, l.Stats().Segments, 10)
	after := fs.Crash(waltest.KeepNothing, nil)
	require.NoError(t, l.Close())
	l, err = Open(after, "/a/b/c", Options{SegmentBytes: 8 << 10})
	require.NoError(t, err)
	require.Equal(t, rpc.Index(399), l.State(0).Last.Index)
	require.NoError(t, l.Close())
}

// A folder that is there may lie in one that this user may pass and not read: others have made it. One that is made there is not durable.
func TestAFolderInWhatOnlyOthersRead(t *testing.T) {
	mem := vfs.NewMem()
	require.NoError(t, mem.MkdirAll("/srv/node", 0o700))
	closed := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpOpenDir && op.Path == "/srv" {
			return os.ErrPermission
		}
		return nil
	}))
	require.NoError(t, MakeDir(closed, "/srv/node"))
	require.NoError(t, MakeDir(closed, "/srv/node/wal"))
	require.ErrorIs(t, MakeDir(closed, "/srv/other"), os.ErrPermission)
	require.ErrorIs(t, MakeDir(closed, "/srv/another/wal"), os.ErrPermission)
}

// TestK56MarkBeforeData: a base is never durable before the entries and hard state of its batch, nor are segments deleted
// before it is.
func TestK56MarkBeforeData(t *testing.T) {
	t.Parallel() // a sweep: it works, and shares nothing
	fs := waltest.New()
	l := openInline(t, fs) // so that the crashes are where Compact is, and nowhere else
	var bs []Batch
	for i := rpc.Index(1); i < 200; i++ {
		bs = append(bs, Batch{Entries: entries(1, i, i+1)})
		require.NoError(t, l.Append(bs[i-1]))
	}
	m := model{}.with(bs...)
	base := Base{ID: rpc.EntryID{Term: 1, Index: 150}}
	j := &journal{acked: m, underway: m.with(Batch{Base: &base})}
	removed := 0
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Remove && strings.HasSuffix(op.Name, segmentSuffix) {
			removed++
			j.acked = j.underway // nothing may be deleted before this is so
		}
		for _, mode := range waltest.Modes {
			for seed := range uint64(8) {
				j.survivor(t, fs.Crash(mode, seeded(seed)), fmt.Sprintf("before %+v", op))
			}
		}
		return nil
	})
	require.NoError(t, l.Compact(0, base))
	fs.Hook(nil)
	require.Greater(t, removed, 2)
	require.NoError(t, l.Close())
}

// TestK33TempFile: a half-made segment is never read, and is gone after the next start.
func TestK33TempFile(t *testing.T) {
	fs := waltest.New()
	l := openTest(t, fs)
	b := Batch{Entries: entries(1, 1, 9)}
	require.NoError(t, l.Append(b))
	require.NoError(t, l.Close())
	f, err := fs.Create("/log/0000000000000009.wal.tmp", diskCategory)
	require.NoError(t, err)
	_, err = f.Write([]byte(strings.Repeat("half a segment", 100)))
	require.NoError(t, err)
	require.NoError(t, errors.Join(f.Sync(), f.Close()))
	for _, other := range []string{"/log/notes.txt", "/log/1.wal", "/log/000000000000000X.wal"} {
		f, err := fs.Create(other, diskCategory)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	l = openTest(t, fs)
	model{}.with(b).check(t, l)
	require.NoError(t, l.Close())
	names, err := fs.List("/log")
	require.NoError(t, err)
	require.NotContains(t, names, "0000000000000009.wal.tmp")
	require.Contains(t, names, "notes.txt")
}

// TestK53FsyncRetried: a failed sync ends the log, is never tried again, and what a restart then finds is written anew
// before it counts, since the system may show bytes that never reached the disk.
func TestK53FsyncRetried(t *testing.T) {
	fs := waltest.New()
	l := openTest(t, fs)
	require.NoError(t, l.Append(Batch{Entries: entries(1, 1, 4)}))
	active, syncs := fs.PathJoin("/log", l.active.name), 0
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Sync && op.Name == active {
			syncs++
			return waltest.ErrPagesLost
		}
		return nil
	})
	b := Batch{Entries: entries(1, 4, 7)}
	require.ErrorIs(t, l.Append(b), ErrFailed)
	require.ErrorIs(t, l.Append(b), ErrFailed)
	require.ErrorIs(t, l.Compact(0, Base{ID: rpc.EntryID{Term: 1, Index: 2}}), ErrFailed)
	require.ErrorIs(t, l.Room(), ErrFailed)
	require.Equal(t, rpc.Index(3), l.State(0).Last.Index, "what may not be durable is not shown")
	got, err := l.Entries(0, 1, 10, 1000)
	require.NoError(t, err, "reads go on")
	require.Len(t, got, 3)
	require.NoError(t, l.Close())
	require.Equal(t, 1, syncs)
	fs.Hook(nil)

	l = openTest(t, fs)
	require.Equal(t, rpc.Index(6), l.State(0).Last.Index, "the page cache shows it")
	after := fs.Crash(waltest.KeepNothing, nil)
	require.NoError(t, l.Close())
	l = openTest(t, after)
	require.Equal(t, rpc.Index(6), l.State(0).Last.Index, "and having been shown once it stays")
	require.NoError(t, l.Close())
}

// TestUnsyncedAtRestart: what a killed process wrote and did not sync is made durable before a restart builds on it.
func TestUnsyncedAtRestart(t *testing.T) {
	fs := waltest.New()
	l := openTest(t, fs)
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Sync {
			return syscall.EIO
		}
		return nil
	})
	require.ErrorIs(t, l.Append(Batch{Entries: entries(1, 1, 4)}), ErrFailed)
	require.NoError(t, l.Close())
	fs.Hook(nil)
	l = openTest(t, fs)
	require.Equal(t, rpc.Index(3), l.State(0).Last.Index)
	after := fs.Crash(waltest.KeepNothing, nil)
	require.NoError(t, l.Close())
	l = openTest(t, after)
	require.Equal(t, rpc.Index(3), l.State(0).Last.Index)
	require.NoError(t, l.Close())
}

// TestSealOnlySegment: a segment that a crash left empty, and that turns out too small for the checkpoint and the next
// batch, is sealed with nothing in it. It may even become the log's first.
func TestSealOnlySegment(t *testing.T) {
	fs := waltest.New()
	l := openTest(t, fs)
	m := model{}
	add := func(b Batch) error {
		err := l.Append(b)
		if err == nil {
			m = m.with(b)
		}
		return err
	}
	require.NoError(t, add(Batch{Base: &Base{Configuration: make([]byte, 4000)}}))
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Write && op.Name == "/log/"+segmentName(2) {
			return syscall.EIO
		}
		return nil
	})
	var err error
	for i := rpc.Index(1); err == nil; i++ {
		err = add(Batch{Entries: entries(1, i, i+1)})
	}
	require.ErrorIs(t, err, ErrFailed)
	require.NoError(t, l.Close())
	fs.Hook(nil)

	l = openTest(t, fs)
	next := rpc.Index(len(m[0].log) + 1)
	require.NoError(t, add(Batch{Entries: []rpc.Entry{{Index: next, Term: 1, Data: make([]byte, 2500)}}}))
	require.Equal(t, 3, l.Stats().Segments)
	require.EqualValues(t, 2*sectorBytes, l.segments[1].end, "nothing but the seal")
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Remove && op.Name == "/log/"+segmentName(2) {
			return syscall.EIO
		}
		return nil
	})
	base := Base{ID: rpc.EntryID{Index: next, Term: 1}}
	require.ErrorIs(t, l.Compact(0, base), ErrFailed)
	m = m.with(Batch{Base: &base})
	require.NoError(t, l.Close())
	fs.Hook(nil)
	names, err := fs.List("/log")
	require.NoError(t, err)
	require.NotContains(t, names, segmentName(1))
	require.Contains(t, names, segmentName(2))
	l = openTest(t, fs)
	m.check(t, l)
	require.NoError(t, l.Close())
}
