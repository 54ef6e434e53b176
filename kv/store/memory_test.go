package store

// What the simulator rests on: a store whose flushes are the caller's, on an engine in memory.

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/raft/rpc"
)

func TestManualFlushIsTheOnlyOne(t *testing.T) {
	before := goleak.IgnoreCurrent()
	m := memengine.New()
	flushes := 0
	m.At = func(memengine.Point) error { flushes++; return nil }
	f := open(t, memoryDisk{m})
	value := string(make([]byte, 1<<20))
	f.one(addBucket("app", command.Settings{}))
	for range flushBytes>>20 + 2 {
		f.one(put("app", "k", value))
	}
	require.Zero(t, flushes)
	require.Zero(t, f.store.Durable())
	require.NoError(t, f.store.Flush())
	require.NoError(t, f.store.Flush(), "nothing new")
	require.Equal(t, 2, flushes, "before and after the one")
	require.Equal(t, f.store.Applied().Index, f.store.Durable())
	goleak.VerifyNone(t, before) // though it is not closed
}

// What is applied is durable a few seconds later, however little that is: a restart does not replay what was written in hours.
func TestWhatIsAppliedIsFlushedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(Options{Engine: memengine.New()})
		require.NoError(t, err)
		f := feeder{t, s}
		for range 3 {
			f.one(addBucket(name(int(s.Applied().Index)), command.Settings{}))
			require.Less(t, s.Durable(), s.Applied().Index)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			require.Equal(t, s.Applied().Index, s.Durable())
		}
		f.close()
	})
}

// Nor does it replay much: what is applied is durable at once when it is enough.
func TestMuchThatIsAppliedIsFlushedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(Options{Engine: memengine.New()})
		require.NoError(t, err)
		f, value := feeder{t, s}, string(make([]byte, 1<<20))
		defer f.close()
		f.one(addBucket("app", command.Settings{}))
		for range flushBytes>>20 - 1 {
			f.one(put("app", "k", value))
		}
		synctest.Wait()
		require.Zero(t, s.Durable())
		f.one(put("app", "k", value))
		synctest.Wait()
		require.Equal(t, s.Applied().Index, s.Durable())
	})
}

func TestACloseThatNobodyElseCanEndDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		f := open(t, newMemory())
		f.one(addBucket("app", command.Settings{}))
		snap, err := f.store.Snapshot()
		require.NoError(t, err)
		require.ErrorContains(t, f.store.Close(), "close snapshots first")
		_, err = snap.WriteTo(io.Discard)
		require.NoError(t, err)
		require.NoError(t, snap.Close())
		require.Equal(t, began, time.Now())
	})
}

func TestAFlushThatFailsEndsTheStore(t *testing.T) { // D5
	for failing, left := range map[memengine.Point]rpc.Index{memengine.BeforeFlush: 1, memengine.AfterFlush: 2} {
		m := memengine.New()
		f := open(t, memoryDisk{m})
		f.one(addBucket("app", command.Settings{}))
		require.NoError(t, f.store.Flush())
		f.one(put("app", "k", "v"))
		m.At = func(p memengine.Point) error {
			if p == failing {
				return syscall.EIO
			}
			return nil
		}
		require.ErrorIs(t, f.store.Flush(), syscall.EIO)
		m.At = nil
		<-f.store.Failed()
		require.ErrorIs(t, f.store.Failure(), syscall.EIO)
		require.ErrorIs(t, f.store.Flush(), syscall.EIO)
		require.EqualValues(t, 1, f.store.Durable(), "what is not known to be durable is not")
		_, err := f.store.Apply([]rpc.Entry{{Index: 3, Term: 1, Kind: rpc.EntryNoop}})
		require.ErrorIs(t, err, syscall.EIO)
		_, err = f.store.Get("app", "k")
		require.NoError(t, err, "reads go on")
		require.ErrorIs(t, f.store.Restore(bytes.NewReader(nil)), syscall.EIO)
		require.ErrorIs(t, f.store.Close(), syscall.EIO)
		g := open(t, memoryDisk{m})
		require.Equal(t, left, g.store.Applied().Index)
		g.close()
	}
}

// An engine that flushes by itself and fails is noticed by the next Apply.
func TestAnEngineThatFailsByItselfEndsTheStore(t *testing.T) {
	m := memengine.New()
	f := open(t, memoryDisk{m})
	f.one(addBucket("app", command.Settings{}))
	m.At = func(memengine.Point) error { return syscall.ENOSPC }
	require.ErrorIs(t, m.Flush(), syscall.ENOSPC)
	_, err := f.store.Apply([]rpc.Entry{{Index: 2, Term: 1, Kind: rpc.EntryNoop}})
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorIs(t, f.store.Close(), syscall.ENOSPC)
}

// restoring is a store of one durable entry and one that is not, about to be given a newer state.
func restoring(t *testing.T) (f feeder, m *memengine.Memory, stream []byte, after string) {
	source := open(t, newMemory())
	source.apply(addBucket("new", command.Settings{}), put("new", "k", "v"), put("new", "l", string(make([]byte, 2*frameBytes))))
	stream, after = streamOf(t, source.store), sumOf(t, source.store)
	source.close()
	m = memengine.New()
	f = open(t, memoryDisk{m})
	f.one(addBucket("old", command.Settings{}))
	require.NoError(t, f.store.Flush())
	f.one(put("old", "k", "v"))
	return f, m, stream, after
}

// A crash at each step of Restore, while the stream is read too, leaves the old state as far as it was durable, or the new.
func TestCrashAtEachStepOfRestoreInMemory(t *testing.T) {
	f, m, stream, after := restoring(t)
	var left []*memengine.Memory
	m.At = func(p memengine.Point) error { left = append(left, m.Crash()); return nil }
	read := writerFunc(func(b []byte) { left = append(left, m.Crash()) })
	require.NoError(t, f.store.Restore(io.TeeReader(iotest.HalfReader(bytes.NewReader(stream)), read)))
	left = append(left, m.Crash())
	m.At = nil
	f.close()
	require.Greater(t, len(left), 10)
	switched := 0
	for i, image := range left {
		g := open(t, memoryDisk{image})
		if sumOf(t, g.store) == after {
			switched++
		} else {
			require.Zero(t, switched, "never back")
			require.EqualValues(t, 1, g.store.Applied().Index)
			require.NoError(t, g.store.Restore(bytes.NewReader(stream)), i)
			require.Equal(t, after, sumOf(t, g.store))
		}
		g.close()
	}
	require.Equal(t, 2, switched, "right after the switch, and after Restore")
}

type writerFunc func(b []byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }

// A disk that fails before the switch leaves the old state in use; at the switch nobody knows, and the store ends, with an error that nobody takes for
// that of a disk which has no room, and a state that is as it was (F21).
func TestADiskThatFailsDuringRestoreInMemory(t *testing.T) {
	for _, c := range []struct {
		failing memengine.Point
		ends    bool
		left    rpc.Index
	}{
		{memengine.BeforeFlush, false, 1}, {memengine.AfterFlush, false, 1}, {memengine.BeforeSwitch, true, 1}, {memengine.AfterSwitch, true, 3},
	} {
		f, m, stream, _ := restoring(t)
		before := sumOf(t, f.store)
		m.At = func(p memengine.Point) error {
			if p == c.failing {
				return syscall.ENOSPC
			}
			return nil
		}
		err := f.store.Restore(bytes.NewReader(stream))
		require.ErrorContains(t, err, syscall.ENOSPC.Error())
		require.Equal(t, !c.ends, errors.Is(err, syscall.ENOSPC))
		m.At = nil
		require.Equal(t, before, sumOf(t, f.store))
		require.EqualValues(t, 1, f.store.Durable())
		g := open(t, memoryDisk{m.Crash()})
		require.Equal(t, c.left, g.store.Applied().Index)
		g.close()
		if c.ends {
			require.Equal(t, err, f.store.Failure())
			require.ErrorIs(t, f.store.Restore(bytes.NewReader(stream)), err)
			require.ErrorIs(t, f.store.Close(), err)
		} else {
			require.NoError(t, f.store.Failure())
			require.NoError(t, f.store.Restore(bytes.NewReader(stream)))
			f.close()
		}
	}
}
