package wal

// Disks that fail or fill, at every operation: nothing acknowledged is lost, nothing refused is kept, and nothing is
// synced again after a sync failed.

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// fault is a way for the n-th changing operation to fail.
type fault struct {
	name    string
	lasting bool // all later writes and creates fail as well, until the disk is mended
	err     func(op waltest.Op) error
}

var faults = []fault{
	{"EIO once", false, func(waltest.Op) error { return syscall.EIO }},
	{"lost pages", false, func(op waltest.Op) error {
		if op.Kind == waltest.Sync {
			return waltest.ErrPagesLost
		}
		return syscall.EIO
	}},
	{"short write", false, func(op waltest.Op) error { return &waltest.Short{Bytes: op.Bytes / 2, Err: syscall.EIO} }},
	{"silent short write", false, func(op waltest.Op) error {
		if op.Kind == waltest.Write {
			return &waltest.Short{Bytes: op.Bytes / 2}
		}
		return io.ErrShortWrite
	}},
	{"ENOSPC once", false, func(waltest.Op) error { return syscall.ENOSPC }},
	{"ENOSPC from here on", true, func(op waltest.Op) error { return &waltest.Short{Bytes: op.Bytes / 3, Err: syscall.ENOSPC} }},
}

// breaker lets the n-th changing operation fail, and notes syncs of a segment that failed before.
type breaker struct {
	fault
	reads   bool // it is the n-th reading operation
	mu      sync.Mutex
	left    int
	broken  map[string]bool // segments of which a write or sync failed
	retried string
}

func (b *breaker) hook(op waltest.Op) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if op.Kind.Changes() == b.reads {
		return nil
	}
	if op.Kind == waltest.Sync && b.broken[op.Name] {
		b.retried = op.Name
	}
	if b.left--; b.left > 0 || b.left < 0 && !b.lasting || b.lasting && b.left < 0 && op.Kind != waltest.Write && op.Kind != waltest.Create {
		return nil
	}
	if strings.HasSuffix(op.Name, segmentSuffix) {
		b.broken[op.Name] = true
	}
	return b.err(op)
}

// TestFaultAtEveryOperation: F20, F21, D5, K53.
func TestFaultAtEveryOperation(t *testing.T) {
	t.Parallel() // a sweep: it works, and shares nothing
	runs := 0
	for _, f := range faults {
		reached := true
		for n := 1; reached; n += stride(1) {
			b := &breaker{fault: f, left: n, broken: map[string]bool{}}
			oneFault(t, b, fmt.Sprintf("%s at operation %d", f.name, n))
			reached = b.left <= 0
			runs++
		}
	}
	t.Logf("%d runs", runs)
	require.Greater(t, runs, map[bool]int{false: 800, true: 100}[raceDetector])
}

func oneFault(t *testing.T, b *breaker, what string) {
	fs := waltest.New()
	fs.Hook(b.hook)
	j := &journal{acked: model{}}
	l, err := Open(fs, "/log", Options{SegmentBytes: 8 << 10, LogID: testLogID})
	if err == nil {
		_ = j.work(l, &script{rng: seeded(3), most: 900}, 40)
		require.Empty(t, j.differs(l), what)
		require.NoError(t, l.Close(), what)
	}
	require.Zero(t, fs.OpenFiles(), what)
	require.Empty(t, b.retried, "%s: a sync was tried again", what)
	fs.Hook(nil)
	disk := fs.Crash(waltest.KeepNothing, nil)
	j.survivor(t, fs, what+", after a restart of the process")
	j.survivor(t, disk, what+", after a power loss")
}

// fullDisk lets creating and writing new segments fail for want of space, as long as it is set.
type fullDisk struct {
	mu   sync.Mutex
	full bool
	by   error // what full disks say; nil: ENOSPC
}

func (d *fullDisk) set(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

func (d *fullDisk) hook(op waltest.Op) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full && op.Kind == waltest.Write && strings.HasSuffix(op.Name, tempSuffix) {
		return &waltest.Short{Bytes: 100, Err: cmp.Or(d.by, error(syscall.ENOSPC))}
	}
	return nil
}

// quota lets creating files fail for want of space while there are so many in the folder.
type quota struct {
	fs    *waltest.FS
	files int
}

func (q *quota) hook(op waltest.Op) error {
	if op.Kind != waltest.Create || !strings.HasSuffix(op.Name, tempSuffix) {
		return nil
	}
	if names, err := q.fs.FS.List("/log"); err != nil || len(names) >= q.files {
		return errors.Join(err, syscall.ENOSPC)
	}
	return nil
}

// Waiting for the preparer to try again: how long at most, and how often to look.
const (
	retryWithin = 10 * time.Second
	retryEvery  = time.Millisecond
)

// TestFullDisk: entries are refused once they fit nowhere, hard states and bases still get through, reads go on, and
// writes resume when there is space again (F21).
func TestFullDisk(t *testing.T) {
	for _, by := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		t.Run(by.Error(), func(t *testing.T) { fullFor(t, by) })
	}
}

func fullFor(t *testing.T, by error) {
	fs, disk := waltest.New(), &fullDisk{by: by}
	l := openTest(t, fs)
	m := model{}
	append1 := func(b Batch) error {
		err := l.Append(b)
		if err == nil {
			m = m.with(b)
		}
		m.check(t, l)
		return err
	}
	require.NoError(t, append1(Batch{Entries: entries(1, 1, 3)}))
	fs.Hook(disk.hook)
	disk.set(true)
	var err error
	last := rpc.Index(3)
	for ; err == nil; last++ {
		err = append1(Batch{Entries: entries(1, last, last+1)})
	}
	last--
	require.ErrorIs(t, err, ErrFull)
	require.ErrorIs(t, l.Room(), ErrFull)
	require.NoError(t, append1(Batch{HardState: &rpc.HardState{Term: 2, Vote: "n1"}}), "the reserve")
	require.ErrorIs(t, append1(Batch{Entries: entries(2, last, last+1)}), ErrFull)
	big := entries(2, last, last+1)
	big[0].Data = make([]byte, 30<<10)
	require.ErrorIs(t, append1(Batch{Entries: big}), ErrFull)
	for term := rpc.Term(3); err == nil || term == 3; term++ {
		err = append1(Batch{HardState: &rpc.HardState{Term: term}})
	}
	require.ErrorIs(t, err, ErrFull, "even the reserve ends")

	crashed := fs.Crash(waltest.KeepNothing, nil)
	disk.set(false)
	require.Eventually(t, func() bool { return l.Room() == nil }, 10*time.Second, time.Millisecond)
	require.NoError(t, append1(Batch{Entries: entries(2, last, last+1)}))
	require.NoError(t, append1(Batch{Entries: []rpc.Entry{{Index: last + 1, Term: 9, Data: make([]byte, 30<<10)}}}))
	require.NoError(t, l.Close())
	before := m
	l = openTest(t, fs)
	before.check(t, l)
	require.NoError(t, l.Close())
	l = openTest(t, crashed)
	require.Equal(t, last-1, l.State(0).Last.Index)
	require.NoError(t, l.Close())
}

// TestCompactionOnFullDisk: compaction goes on with a full disk.
func TestCompactionOnFullDisk(t *testing.T) {
	fs, disk := waltest.New(), &fullDisk{}
	l := openTest(t, fs)
	last := fill(t, l, 4) + 1
	fs.Hook(disk.hook)
	disk.set(true)
	for err := error(nil); !errors.Is(err, ErrFull); last++ {
		err = l.Append(Batch{Entries: entries(1, last, last+1)})
	}
	require.NoError(t, l.Compact(0, Base{ID: rpc.EntryID{Term: 1, Index: last - 3}}))
	require.LessOrEqual(t, l.Stats().Segments, 2)
	disk.set(false)
	require.NoError(t, l.Close())
}

// TestPreparerFailure: EIO while the next segment is made ends the log when it is noticed, and no sooner than that.
func TestPreparerFailure(t *testing.T) {
	fs := waltest.New()
	l := openTest(t, fs)
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Write && strings.HasSuffix(op.Name, tempSuffix) {
			return syscall.EIO
		}
		return nil
	})
	var err error
	for i := rpc.Index(1); err == nil; i++ {
		err = l.Append(Batch{Entries: entries(1, i, i+1)})
	}
	require.ErrorIs(t, err, ErrFailed)
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorIs(t, l.Room(), ErrFailed)
	require.NoError(t, l.Close())
}

// TestReadFault: a failed or damaged read is an error of that read, and says where.
func TestReadFault(t *testing.T) {
	fs := waltest.New()
	l := openTest(t, fs)
	require.NoError(t, l.Append(Batch{Group: 3, Entries: entries(1, 1, 40)}))
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Read {
			return syscall.EIO
		}
		return nil
	})
	_, err := l.Entries(3, 1, 40, 1000)
	require.ErrorIs(t, err, syscall.EIO)
	fs.Hook(nil)
	got, err := l.Entries(3, 1, 40, 10000)
	require.NoError(t, err)
	require.Len(t, got, 39)

	data := readFile(t, fs, "/log/"+l.active.name)
	at := strings.Index(string(data), "entry 20 of")
	flipBit(t, fs, "/log/"+l.active.name, int64(at)*8+3)
	got, err = l.Entries(3, 1, 40, 10000)
	var bad *CorruptError
	require.ErrorAs(t, err, &bad)
	require.Len(t, got, 19)
	require.Equal(t, CorruptError{Segment: l.active.name, Offset: int64(at - headerBytes), Group: 3, Entry: rpc.EntryID{Term: 1, Index: 20}, Reason: bad.Reason}, *bad)
	require.NoError(t, l.Close())
}

// TestUnreadableLog: who starts a node whose log the disk does not give to its end reads where that is, and what to do about it; the log is left as it
// is, and opens once the disk gives it (F20).
func TestUnreadableLog(t *testing.T) {
	fs := waltest.New()
	l := openTest(t, fs)
	require.NoError(t, l.Append(Batch{Group: 3, Entries: entries(1, 1, 40)}))
	require.NoError(t, l.Close())
	before := readFile(t, fs, "/log/"+l.active.name)
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Read {
			return &waltest.Short{Bytes: 3 * sectorBytes, Err: syscall.EIO}
		}
		return nil
	})
	_, err := Open(fs, "/log", Options{ReportDamaged: true})
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorContains(t, err, "segment "+l.active.name+" cannot be read at offset 1536")
	require.ErrorContains(t, err, "raftbus member replace")
	fs.Hook(nil)
	require.Equal(t, before, readFile(t, fs, "/log/"+l.active.name))
	l = openTest(t, fs)
	require.Equal(t, rpc.Index(39), l.State(3).Last.Index)
	require.NoError(t, l.Close())
}

// TestCompactionDuringRead: a segment that is deleted while it is read stays open until the reader is done.
func TestCompactionDuringRead(t *testing.T) {
	fs := waltest.New()
	l := openTest(t, fs)
	for i := rpc.Index(1); i < 200; i++ {
		require.NoError(t, l.Append(Batch{Entries: entries(1, i, i+1)}))
	}
	var once sync.Once
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Read {
			once.Do(func() {
				require.NoError(t, l.Compact(0, Base{ID: rpc.EntryID{Term: 1, Index: 199}}))
				require.Equal(t, 1, l.Stats().Segments)
			})
		}
		return nil
	})
	got, err := l.Entries(0, 1, 200, 10000)
	require.NoError(t, err)
	require.NotEmpty(t, got)
	require.Equal(t, entries(1, 1, rpc.Index(len(got)+1)), got)
	require.LessOrEqual(t, fs.OpenFiles(), 2, "the active segment and the next: what was removed is closed when it was read")
	require.NoError(t, l.Close())
}

func readFile(t require.TestingT, fs vfs.FS, path string) []byte {
	f, err := fs.Open(path)
	require.NoError(t, err)
	b, err := io.ReadAll(f)
	require.NoError(t, errors.Join(err, f.Close()))
	return b
}

func flipBit(t require.TestingT, fs vfs.FS, path string, bit int64) {
	f, err := fs.OpenReadWrite(path, diskCategory)
	require.NoError(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, bit/8)
	require.NoError(t, err)
	b[0] ^= 1 << (bit % 8)
	_, err = f.WriteAt(b, bit/8)
	require.NoError(t, errors.Join(err, f.Close()))
}

// TestKeepFree: Room says so when the store's reserve is not free, and when it is again.
func TestKeepFree(t *testing.T) {
	fs := vfs.NewMem()
	free := func(n uint64) { fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: n, TotalBytes: 1 << 30}) }
	free(1 << 20)
	l, err := Open(fs, "/log", Options{SegmentBytes: 8 << 10, KeepFreeBytes: func() int64 { return 1 << 20 }})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return errors.Is(l.Room(), ErrFull) }, 10*time.Second, time.Millisecond, "another segment would use the reserve")
	require.NoError(t, l.Append(Batch{Entries: entries(1, 1, 2)}))
	free(2 << 20)
	require.Eventually(t, func() bool { return l.Room() == nil }, 10*time.Second, time.Millisecond)
	require.Eventually(t, l.prep.hasReady, 10*time.Second, time.Millisecond)
	free(1<<20 - 1)
	require.Eventually(t, func() bool { return errors.Is(l.Room(), ErrFull) }, 10*time.Second, time.Millisecond, "the store itself used it")
	require.NoError(t, l.Append(Batch{Entries: entries(1, 2, 3)}))
	free(1 << 20)
	require.Eventually(t, func() bool { return l.Room() == nil }, 10*time.Second, time.Millisecond)
	require.NoError(t, l.Close())
}

// TestFullForOneLargeBatch: no space for a segment of a large batch's size is no reason to go without one of the usual size.
func TestFullForOneLargeBatch(t *testing.T) {
	fs := waltest.New()
	l := openTest(t, fs)
	b := Batch{Entries: entries(1, 1, 3)}
	require.NoError(t, l.Append(b))
	require.Eventually(t, l.prep.hasReady, 10*time.Second, time.Millisecond)
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Write && op.Bytes > 8<<10 {
			return syscall.ENOSPC
		}
		return nil
	})
	big := Batch{Entries: []rpc.Entry{{Index: 3, Term: 1, Data: make([]byte, 60<<10)}}}
	require.ErrorIs(t, l.Append(big), ErrFull)
	require.Eventually(t, func() bool { return l.Room() == nil }, 10*time.Second, time.Millisecond)
	m := model{}.with(b)
	for i := rpc.Index(3); l.Stats().Segments < 4; i++ {
		b := Batch{Entries: entries(1, i, i+1)}
		require.NoError(t, l.Append(b))
		m = m.with(b)
	}
	m.check(t, l)
	require.NoError(t, l.Close())
	l = openTest(t, fs)
	m.check(t, l)
	require.NoError(t, l.Close())
}

// withReady is a log with some entries, whose next segment is ready; and one batch that needs a larger segment than that.
func withReady(t *testing.T, inline bool) (l *Log, fs *waltest.FS, m model, big Batch) {
	fs = waltest.New()
	l, err := Open(fs, "/log", Options{SegmentBytes: 8 << 10, LogID: testLogID, Inline: inline})
	require.NoError(t, err)
	b := Batch{Entries: entries(1, 1, 3)}
	require.NoError(t, l.Append(b))
	require.NoError(t, l.Room())
	require.Eventually(t, l.prep.hasReady, retryWithin, retryEvery)
	return l, fs, model{}.with(b), Batch{Entries: []rpc.Entry{{Index: 3, Term: 1, Data: make([]byte, 60<<10)}}}
}

// fillsReady appends entries until the segment that was ready is in use, and checks that they are there to stay.
func fillsReady(t *testing.T, l *Log, m model, what string) model {
	for i := rpc.Index(len(m[0].log) + 1); l.Stats().Segments < 2; i++ {
		b := Batch{Entries: entries(1, i, i+1)}
		require.NoError(t, l.Append(b), "%s, entry %d", what, i)
		m = m.with(b)
	}
	m.check(t, l)
	return m
}

// endsAs closes a log, which leaves neither a file open nor a temporary one behind, and finds it again as it was.
func endsAs(t *testing.T, l *Log, fs *waltest.FS, m model, what string) {
	require.NoError(t, l.Close(), what)
	require.Zero(t, fs.OpenFiles(), "%s: files left open", what)
	names, err := fs.List("/log")
	require.NoError(t, err)
	require.NotContains(t, strings.Join(names, " "), tempSuffix, what)
	fs.Hook(nil)
	for _, fs := range []*waltest.FS{fs.Crash(waltest.KeepNothing, nil), fs} {
		l = openTest(t, fs)
		m.check(t, l)
		require.NoError(t, l.Close())
	}
}

// TestReadySegmentIsKept: wherever the space ends while a segment of a large batch's size is made, down to its rename, the one that
// is ready stays ready. There is no room for another of the usual size beside it (F21).
func TestReadySegmentIsKept(t *testing.T) {
	for _, inline := range []bool{false, true} {
		for n := 1; n <= 5; n++ { // create, write, two syncs, rename
			what := fmt.Sprintf("inline %v, operation %d", inline, n)
			l, fs, m, big := withReady(t, inline)
			var left atomic.Int64
			left.Store(int64(n))
			fs.Hook(func(op waltest.Op) error {
				if op.Kind != waltest.Remove && op.Kind.Changes() && strings.HasSuffix(op.Name, tempSuffix) && left.Add(-1) <= 0 {
					return syscall.ENOSPC
				}
				return nil
			})
			require.ErrorIs(t, l.Append(big), ErrFull, what)
			require.LessOrEqual(t, left.Load(), int64(0), what)
			m = fillsReady(t, l, m, what)
			endsAs(t, l, fs, m, what)
		}
	}
}

// TestReadySegmentIsUsedOnAFullDisk: one that is ready is taken although a larger one was asked for last and has no place.
func TestReadySegmentIsUsedOnAFullDisk(t *testing.T) {
	l, fs, m, _ := withReady(t, false)
	fs.Hook((&quota{fs, 2}).hook)
	l.prep.ask(request{place{testLogID, 2}, 64 << 10})
	require.Eventually(t, func() bool { return errors.Is(l.Room(), ErrFull) }, retryWithin, retryEvery)
	m = fillsReady(t, l, m, "")
	endsAs(t, l, fs, m, "")
}

// TestSegmentInUseIsNotReplaced: one that was ready is taken while a larger one is written in its place, which then is given up.
func TestSegmentInUseIsNotReplaced(t *testing.T) {
	l, fs, m, _ := withReady(t, false)
	written, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Sync && op.Name == "/log/"+segmentName(2)+tempSuffix {
			once.Do(func() {
				close(written)
				<-gate
			})
		}
		return nil
	})
	l.prep.ask(request{place{testLogID, 2}, 64 << 10})
	<-written
	m = fillsReady(t, l, m, "")
	close(gate)
	require.Eventually(t, l.prep.hasReady, retryWithin, retryEvery, "the one after it")
	require.NoError(t, l.Room())
	require.EqualValues(t, 8<<10, len(readFile(t, fs, "/log/"+segmentName(2))))
	endsAs(t, l, fs, m, "")
}

// TestReadySegmentIsClosed: a log that ends while a larger segment is made, or because it can not be, leaves no file open.
func TestReadySegmentIsClosed(t *testing.T) {
	l, fs, m, _ := withReady(t, false)
	written, gate := make(chan struct{}), make(chan struct{})
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Create && strings.HasSuffix(op.Name, tempSuffix) {
			close(written)
			<-gate
		}
		return nil
	})
	l.prep.ask(request{place{testLogID, 2}, 64 << 10})
	<-written
	go func() {
		for !l.prep.stopped() {
			time.Sleep(retryEvery)
		}
		close(gate)
	}()
	endsAs(t, l, fs, m, "closed meanwhile")

	for n := 1; n <= 5; n++ {
		l, fs, m, big := withReady(t, true)
		left, what := n, fmt.Sprintf("EIO at operation %d", n)
		fs.Hook(func(op waltest.Op) error {
			if op.Kind.Changes() && strings.HasSuffix(op.Name, tempSuffix) {
				if left--; left == 0 {
					return syscall.EIO
				}
			}
			return nil
		})
		require.ErrorIs(t, l.Append(big), ErrFailed, what)
		require.ErrorIs(t, l.Append(Batch{Entries: entries(1, 3, 4)}), ErrFailed, what)
		endsAs(t, l, fs, m, what)
	}
}
