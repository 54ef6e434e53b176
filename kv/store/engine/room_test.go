package engine_test

// What becomes of a Pebble database on a disk that is full, for compactions or for all (F21).

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/raft/logtest"
)

// narrow is a file system whose compactions fail as it is told.
type narrow struct {
	vfs.FS
	refuse  atomic.Pointer[error] // what a compaction's file is not made for
	tried   atomic.Int32          // files of compactions
	made    atomic.Int32
	written atomic.Int64
	onMade  func()
}

func newNarrow(refuse error) (*narrow, *vfs.MemFS) {
	mem := vfs.NewMem()
	n := &narrow{FS: mem, onMade: func() {}}
	n.refuse.Store(&refuse)
	return n, mem
}

func (n *narrow) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if category != "pebble-compaction" {
		return n.FS.Create(name, category)
	}
	n.tried.Add(1)
	if err := *n.refuse.Load(); err != nil {
		return nil, err
	}
	n.made.Add(1)
	n.onMade()
	f, err := n.FS.Create(name, category)
	return counted{f, &n.written}, err
}

// heal lets compactions go on.
func (n *narrow) heal() { n.refuse.Store(new(error)) }

type counted struct {
	vfs.File
	written *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	c.written.Add(int64(len(p)))
	return c.File.Write(p)
}

func openOn(t *testing.T, fs vfs.FS) (engine.DB, *logtest.Buffer) {
	said := &logtest.Buffer{}
	db, err := engine.NewPebble(fs, "node/store", slog.New(slog.NewTextHandler(said, nil)), func() {}, nil).Open()
	require.NoError(t, err)
	return db, said
}

// pile flushes so many times, each on top of those before.
func pile(t *testing.T, db engine.DB, flushes, bytes int) {
	for i := range flushes {
		require.NoError(t, write1(db, i, bytes))
		require.NoError(t, db.Flush())
	}
}

func write1(db engine.DB, i, bytes int) error {
	value := make([]byte, bytes)
	for at := range value { // nothing to be compressed
		value[at] = byte(rand.Uint32())
	}
	b := db.NewBatch()
	defer b.Close()
	b.Set([]byte("a"), []byte(fmt.Sprint(i)))
	b.Set(fmt.Append(nil, "k", i), value)
	b.Set([]byte("z"), nil)
	return b.Commit()
}

func eventually(t *testing.T, what func() bool) {
	t.Helper()
	require.Eventually(t, what, 20*time.Second, time.Millisecond)
}

// deep is so many flushes that some of them are merged.
const deep = 8

// A compaction that has no room ends nothing: flushes and reads go on, it is tried again after pauses that grow, is told of once, and is done
// when there is room.
func TestACompactionWithoutRoomEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, _ := newNarrow(syscall.EDQUOT)
		db, said := openOn(t, fs)
		pile(t, db, deep, 10)
		eventually(t, func() bool { return fs.tried.Load() > 0 })
		first := time.Now()
		eventually(t, func() bool { return fs.tried.Load() > 2 })
		require.GreaterOrEqual(t, time.Since(first), 100*time.Millisecond, "it is tried without a pause, on and on")
		pile(t, db, 2, 10)
		require.NoError(t, db.Err())
		value, err := db.Get([]byte("a"))
		require.NoError(t, err)
		require.Equal(t, "1", string(value))
		require.Equal(t, 1, strings.Count(said.String(), "no room for the store's compactions"))
		require.NoError(t, db.Close())

		db, _ = openOn(t, fs) // which begins with the same compaction
		tried := fs.tried.Load()
		eventually(t, func() bool { return fs.tried.Load() > tried })
		require.NoError(t, db.Err())
		require.Zero(t, fs.made.Load())
		fs.heal()
		eventually(t, func() bool { return fs.made.Load() > 0 })
		require.NoError(t, db.Close())
		require.NoError(t, db.Err())
	})
}

// A database that is closed does not wait for a pause to end.
func TestACompactionThatPausesEndsWithTheDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, _ := newNarrow(syscall.ENOSPC)
		db, _ := openOn(t, fs)
		pile(t, db, deep, 10)
		eventually(t, func() bool { return fs.tried.Load() > 3 }) // the next pause takes 400 ms
		began := time.Now()
		require.NoError(t, db.Close())
		require.Less(t, time.Since(began), 300*time.Millisecond)
	})
}

// Any other error of a compaction is the end, as it is of a flush.
func TestACompactionOnAFailingDiskIsTheEnd(t *testing.T) {
	fs, _ := newNarrow(syscall.EIO)
	db, _ := openOn(t, fs)
	for i := range deep {
		require.NoError(t, write1(db, i, 10))
		if db.Flush() != nil {
			break
		}
	}
	eventually(t, func() bool { return db.Err() != nil })
	require.ErrorIs(t, db.Err(), syscall.EIO)
	require.NoError(t, db.Close())
}

// free has the disk say that so much is free.
func free(mem *vfs.MemFS, bytes uint64) {
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: bytes, TotalBytes: 1 << 40})
}

// Compactions leave what flushes need: none begins with less, and none goes on.
func TestCompactionsLeaveRoomForFlushes(t *testing.T) {
	fs, mem := newNarrow(nil)
	free(mem, engine.FlushRoomBytes-1)
	db, said := openOn(t, fs)
	pile(t, db, deep, 400<<10)
	eventually(t, func() bool { return strings.Count(said.String(), "no room for the store's compactions") > 0 })
	require.Zero(t, fs.tried.Load())
	fs.onMade = func() { free(mem, engine.FlushRoomBytes-1) } // somebody takes it
	free(mem, engine.FlushRoomBytes)
	eventually(t, func() bool { return fs.tried.Load() > 0 })
	pile(t, db, 1, 10)
	require.NoError(t, db.Close()) // which waits for what goes on
	require.NoError(t, db.Err())
	require.Less(t, fs.written.Load(), int64(1<<20), "it went on into what flushes need")
}

// Where compactions never have room, nobody waits for that, however many flushes lie above each other: writes and reads go on, and compactions do once
// there is room.
func TestNobodyWaitsForRoomForCompactions(t *testing.T) {
	fs, _ := newNarrow(syscall.ENOSPC)
	db, err := engine.NewGather(engine.NewPebble(fs, "node/store", slog.New(slog.DiscardHandler), func() {}, nil), 1<<20).Open()
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- pileAndRead(db) }()
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		require.Fail(t, "writes or reads wait for compactions")
	}
	require.Zero(t, fs.made.Load())
	fs.heal()
	eventually(t, func() bool { return fs.made.Load() > 0 })
	require.NoError(t, db.Err())
	require.NoError(t, db.Close())
}

func pileAndRead(db engine.DB) error {
	for i := range 8 * deep {
		if err := errors.Join(write1(db, i, 10), db.Flush()); err != nil {
			return err
		}
	}
	b := db.NewBatch()
	defer b.Close()
	b.DeleteRange([]byte("k1"), []byte("k2"))
	if err := errors.Join(b.Commit(), write1(db, 1000, 10)); err != nil {
		return err
	}
	view, found := db.NewView(), 0
	count := func(_, _ []byte) (bool, error) { found++; return true, nil }
	_, err := db.Get([]byte("k11"))
	if err = errors.Join(err, db.Scan(nil, nil, count), view.Scan(nil, nil, count), view.Close()); err == nil && found != 2*(8*deep-11+1+2) {
		err = fmt.Errorf("%d keys are found", found)
	}
	return err
}

// A flush without room is the end (D5).
func TestAFlushWithoutRoomIsTheEnd(t *testing.T) {
	var full atomic.Bool
	db, _ := openOn(t, errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") {
			return syscall.EDQUOT
		}
		return nil
	})))
	full.Store(true)
	require.NoError(t, write1(db, 0, 10))
	flushed := make(chan error, 1)
	go func() { flushed <- db.Flush() }()
	select {
	case err := <-flushed:
		require.ErrorIs(t, err, syscall.EDQUOT)
	case <-time.After(time.Minute):
		require.Fail(t, "it is tried again without end")
	}
	full.Store(false)
	require.NoError(t, db.Close())
}

// That too many files are open, in this process or in all, ends nothing: flushes and compactions are tried again after pauses, and go on once some are
// closed.
func TestTooManyOpenFilesEndNothing(t *testing.T) {
	t.Parallel()
	for _, fault := range []error{syscall.EMFILE, syscall.ENFILE} {
		tooManyOpenFilesEndNothing(t, fault)
	}
}

func tooManyOpenFilesEndNothing(t *testing.T, fault error) {
	synctest.Test(t, func(t *testing.T) {
		var many atomic.Bool
		var tried atomic.Int32
		db, said := openOn(t, errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if many.Load() && op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") && tried.Add(1) < 10_000 { // who never pauses would go on for ever: no time passes
				return fault
			}
			return nil
		})))
		defer func() {
			many.Store(false)
			require.NoError(t, db.Close())
		}()
		pile(t, db, deep-1, 10)
		many.Store(true)
		require.NoError(t, write1(db, deep, 10))
		flushed := make(chan error, 1)
		go func() { flushed <- db.Flush() }()
		time.Sleep(30 * time.Second)
		require.Empty(t, flushed)
		require.Less(t, tried.Load(), int32(100), "it is tried without a pause, on and on")
		many.Store(false)
		require.NoError(t, <-flushed)
		many.Store(true) // for the compaction that comes now, it may be
		time.Sleep(time.Hour)
		require.NoError(t, db.Err())
		require.Equal(t, 1, strings.Count(said.String(), "what is written is not flushed"))
		many.Store(false)
		pile(t, db, 1, 10)

		many.Store(true)
		require.NoError(t, write1(db, deep, 10))
		began := time.Now()
		require.ErrorIs(t, db.Flush(), fault, "it lasts")
		require.GreaterOrEqual(t, time.Since(began), time.Minute, "what was before is over")
		require.Less(t, time.Since(began), 2*time.Minute, "who commits waits meanwhile")
	})
}

// That a file system cannot tell what is free is no reason to end.
func TestADiskThatDoesNotTellWhatIsFreeEndsNothing(t *testing.T) {
	var asked atomic.Int32
	db, _ := openOn(t, errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpGetDiskUsage {
			asked.Add(1)
			return syscall.EIO
		}
		return nil
	})))
	pile(t, db, deep, 10)
	require.Positive(t, asked.Load())
	require.NoError(t, db.Close())
	require.NoError(t, db.Err())
}
