package store

// What a crash or a failing disk leaves of a store on Pebble.

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
)

func crashed(fs *vfs.MemFS, keptPercent int, seed uint64) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keptPercent, RNG: rand.New(rand.NewPCG(seed, 0))})
}

// every is a file system that shows itself before each operation that changes it.
func every(fs vfs.FS, seen func(errorfs.Op) error) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsRead {
			return nil
		}
		return seen(op)
	}))
}

func sumOf(t *testing.T, s *Store) string {
	t.Helper()
	at, sum, err := s.StateHash()
	require.NoError(t, err)
	return fmt.Sprintf("%v %x", at, sum)
}

// Pebble's own flushes and ours run while entries are applied and the power fails: what is left is always the state of one
// prefix of the log. This is the claim that Durable rests on, with its write-ahead log off.
func TestCrashWhileFlushingKeepsAWholePrefix(t *testing.T) {
	const batches, images = 700, 60
	fs := vfs.NewCrashableMem()
	f := open(t, pebbleDisk{fs})
	f.apply(addBucket("app", command.Settings{}))
	type image struct {
		fs               *vfs.MemFS
		durable, applied rpc.Index
	}
	var taken []image
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() { // a crash may come at any moment of Apply
		for i := range images {
			durable := f.store.Durable()
			clone := crashed(fs, []int{0, 30, 100}[i%3], uint64(i))
			taken = append(taken, image{clone, durable, f.store.Applied().Index})
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	value := strings.Repeat("v", 100<<10)
	for i := range batches { // 70 MB: beyond what the flusher and a memtable hold
		f.apply(put("app", fmt.Sprintf("k%d", i%50), fmt.Sprint(i)), put("app", "big", value), put("app", "last", fmt.Sprint(i)))
	}
	close(stop)
	wg.Wait()
	require.Eventually(t, func() bool { return f.store.Durable() > 0 }, time.Minute, time.Millisecond, "nothing was flushed meanwhile")
	f.close()
	for _, im := range taken {
		g := open(t, pebbleDisk{im.fs})
		at := g.store.Applied().Index
		require.GreaterOrEqual(t, at, im.durable)
		require.LessOrEqual(t, at, im.applied+3)
		if batch := (int(at) - 1) / 3; at > 1 {
			require.Zero(t, (int(at)-1)%3, "a batch is whole")
			last, err := g.store.Get("app", "last")
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(batch-1), string(last.Value))
			counted, err := g.store.Get("app", fmt.Sprintf("k%d", (batch-1)%50))
			require.NoError(t, err)
			require.Equal(t, last.Value, counted.Value)
			info, err := g.store.Bucket("app")
			require.NoError(t, err)
			require.EqualValues(t, at-1, info.Sequence)
		}
		g.close()
	}
}

// A crash at each operation of the first start leaves a folder that opens, empty.
func TestCrashAtEachStepOfTheFirstOpen(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	var images []*vfs.MemFS
	var mu sync.Mutex
	fs := every(mem, func(errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		for i, kept := range []int{0, 50, 100} {
			images = append(images, crashed(mem, kept, uint64(len(images)+i)))
		}
		return nil
	})
	f := open(t, pebbleDisk{fs})
	f.close()
	require.Greater(t, len(images), 30)
	for _, image := range images {
		g := open(t, pebbleDisk{image})
		require.Zero(t, g.store.Applied())
		g.one(addBucket("app", command.Settings{}))
		g.close()
		g = open(t, pebbleDisk{image})
		require.EqualValues(t, 1, g.store.Applied().Index)
		g.close()
	}
}

// A crash at each operation of Restore leaves the old state or the new one, whole, and a folder that takes another Restore.
func TestCrashAtEachStepOfRestore(t *testing.T) {
	t.Parallel()
	source := open(t, newPebble())
	source.one(addBucket("new", command.Settings{History: 2}))
	for i := range 10 {
		source.one(put("new", fmt.Sprint(i), "v"))
	}
	stream := streamOf(t, source.store)
	after := sumOf(t, source.store)
	source.close()

	mem := vfs.NewCrashableMem()
	var record atomic.Bool
	var mu sync.Mutex
	var images []*vfs.MemFS
	f := open(t, pebbleDisk{every(mem, func(errorfs.Op) error {
		if record.Load() {
			mu.Lock()
			defer mu.Unlock()
			for _, kept := range []int{0, 50, 100} {
				images = append(images, crashed(mem, kept, uint64(len(images))))
			}
		}
		return nil
	})})
	f.one(addBucket("old", command.Settings{}))
	require.NoError(t, f.store.Flush())
	before := sumOf(t, f.store)
	record.Store(true)
	require.NoError(t, f.store.Restore(bytes.NewReader(stream)))
	record.Store(false)
	images = append(images, crashed(mem, 0, 0)) // after Restore returned
	f.close()

	require.Greater(t, len(images), 30)
	found := map[string]int{}
	for i, image := range images {
		g := open(t, pebbleDisk{image})
		sum := sumOf(t, g.store)
		found[sum]++
		require.Contains(t, []string{before, after}, sum)
		if i == len(images)-1 {
			require.Equal(t, after, sum, "what Restore returned is durable")
		}
		require.NoError(t, g.store.Restore(bytes.NewReader(stream)))
		require.Equal(t, after, sumOf(t, g.store))
		g.close()
	}
	require.Len(t, found, 2, "both outcomes must have been met")
}

func streamOf(t *testing.T, s *Store) []byte {
	t.Helper()
	snap, err := s.Snapshot()
	require.NoError(t, err)
	var b bytes.Buffer
	_, err = snap.WriteTo(&b)
	require.NoError(t, err)
	require.NoError(t, snap.Close())
	return b.Bytes()
}

// A disk that fails or fills ends the store: nothing more is applied, Close says why, and a restart with the disk well again
// finds what was durable (F20, F21).
func TestFailingDiskStopsTheStore(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		for _, kind := range []errorfs.OpKind{errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileSyncData} {
			mem := vfs.NewCrashableMem()
			var broken atomic.Bool
			f := open(t, pebbleDisk{every(mem, func(op errorfs.Op) error {
				if broken.Load() && op.Kind == kind && strings.HasSuffix(op.Path, ".sst") {
					return cause
				}
				return nil
			})})
			f.one(addBucket("app", command.Settings{}))
			require.NoError(t, f.store.Flush())
			f.one(put("app", "k", "v"))
			broken.Store(true)
			require.NoError(t, f.store.Failure())
			f.store.flusher.wrote(flushBytes) // as much as makes it flush by itself
			<-f.store.Failed()
			require.ErrorIs(t, f.store.Failure(), cause)
			require.EqualValues(t, 1, f.store.Durable())
			_, err := f.store.Apply([]rpc.Entry{{Index: 3, Term: 1, Kind: rpc.EntryNoop}})
			require.ErrorIs(t, err, cause)
			require.ErrorIs(t, f.store.Restore(bytes.NewReader(nil)), cause)
			require.ErrorIs(t, f.store.Close(), cause)

			g := open(t, pebbleDisk{mem})
			require.EqualValues(t, 1, g.store.Applied().Index)
			g.one(put("app", "k", "v"))
			g.close()
		}
	}
}

// The disk fails during Restore: the old state stays, in use and on disk, and a later Restore works.
func TestFailingDiskDuringRestoreKeepsTheOldState(t *testing.T) {
	source := open(t, newPebble())
	source.one(addBucket("new", command.Settings{}))
	source.one(addBucket("newer", command.Settings{}))
	stream := streamOf(t, source.store)
	source.close()
	mem := vfs.NewCrashableMem()
	var broken atomic.Bool
	f := open(t, pebbleDisk{every(mem, func(op errorfs.Op) error {
		if broken.Load() && op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst") {
			return syscall.ENOSPC
		}
		return nil
	})})
	f.one(addBucket("old", command.Settings{}))
	before := sumOf(t, f.store)
	broken.Store(true)
	require.ErrorIs(t, f.store.Restore(bytes.NewReader(stream)), syscall.ENOSPC)
	broken.Store(false)
	require.Equal(t, before, sumOf(t, f.store))
	require.Equal(t, []string{"state-1"}, states(t, mem), "the attempt is cleaned up")
	require.NoError(t, f.store.Restore(bytes.NewReader(stream)))
	f.close()
}

func TestFolderThatIsNotWholeIsNotTouched(t *testing.T) {
	mem := vfs.NewCrashableMem()
	f := open(t, pebbleDisk{mem})
	f.one(addBucket("app", command.Settings{}))
	f.close()
	require.NoError(t, mem.Remove("node/store/state-1/complete"))
	_, err := Open(Options{FS: mem, Dir: "node/store"})
	require.ErrorContains(t, err, "put that file back, or give the node an empty data folder", "without its state a node does not start once its log is compacted")
	files, err := mem.List("node/store/state-1")
	require.NoError(t, err)
	require.NotEmpty(t, files)
}

// states lists the states in the store's folder.
func states(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	names, err := fs.List("node/store")
	require.NoError(t, err)
	slices.Sort(names)
	return names
}

func TestTheOldStateGoesWithItsLastReader(t *testing.T) {
	mem := vfs.NewCrashableMem()
	f := open(t, pebbleDisk{mem})
	f.one(addBucket("app", command.Settings{}))
	snap, err := f.store.Snapshot()
	require.NoError(t, err)
	require.NoError(t, f.store.Restore(bytes.NewReader(streamOf(t, f.store))))
	require.Equal(t, []string{"state-1", "state-2"}, states(t, mem))
	require.NoError(t, snap.Close())
	require.Equal(t, []string{"state-2"}, states(t, mem))
	f.close()
}

func TestLeftoversGoWhenTheStateIsOpen(t *testing.T) {
	mem := vfs.NewCrashableMem()
	f := open(t, pebbleDisk{mem})
	f.one(addBucket("app", command.Settings{}))
	require.NoError(t, f.store.Restore(bytes.NewReader(streamOf(t, f.store)))) // now state-2
	f.close()
	for _, left := range []string{"state-1", "state-3"} { // superseded, and unfinished
		require.NoError(t, mem.MkdirAll("node/store/"+left+"/x", 0o700))
	}
	f = open(t, pebbleDisk{mem})
	require.EqualValues(t, 1, f.store.Applied().Index)
	require.Equal(t, []string{"state-2"}, states(t, mem))
	f.close()
}
