package store

// A disk that is slower than who writes, and then fails (F21, L9): Pebble tries a flush that fails again without end.

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
)

// jam is a disk on which flushes stand still until they all fail.
type jam struct {
	fails chan struct{} // closed: now
	cause error
	tries atomic.Int32 // that failed
}

// hopeless is how often a flush may fail until nobody is believed to notice. Then the disk is well again, so that the test ends.
const hopeless = 5

func (j *jam) disk() disk {
	return pebbleDisk{every(vfs.NewMem(), func(op errorfs.Op) error {
		if op.Kind != errorfs.OpFileWrite || !strings.HasSuffix(op.Path, ".sst") {
			return nil
		}
		<-j.fails
		n := j.tries.Add(1)
		if n > hopeless {
			return nil
		}
		if n > 1 {
			time.Sleep(time.Second) // which passes only once all others wait: who was to hear of the first has
		}
		return j.cause
	})}
}

// fail has who waits for the jam hear of it.
func (j *jam) fail(t *testing.T, ended <-chan error) {
	synctest.Wait()
	require.Empty(t, ended, "it waits for no flush")
	close(j.fails)
	require.ErrorIs(t, <-ended, j.cause)
	require.Less(t, j.tries.Load(), int32(hopeless), "it waits for a flush that fails and fails")
}

// A restore fills what may wait in memory, and waits: it hears that the disk is full.
func TestARestoreThatWaitsForAFullDiskEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &jam{fails: make(chan struct{}), cause: syscall.ENOSPC}
		f := open(t, j.disk())
		stream, w := io.Pipe()
		go func() { _ = w.CloseWithError(pour(w)) }()
		ended := make(chan error, 1)
		go func() { ended <- f.store.Restore(stream) }()
		j.fail(t, ended)
		require.NoError(t, stream.Close())
		require.NoError(t, f.store.Failure(), "the old state is well")
		j.tries.Store(hopeless)
		f.close()
	})
}

// pour writes a large snapshot.
func pour(to io.Writer) error {
	id := rpc.EntryID{Term: 1, Index: 9}
	w, err := newFrameWriter(to, id)
	if err == nil {
		err = w.record(stateKey, (&state{applied: id}).encode())
	}
	value := make([]byte, 1<<20)
	for i := 0; i < 136 && err == nil; i++ {
		err = w.record(fmt.Appendf(nil, "\x05%03d", i), value)
	}
	return errors.Join(err, w.end())
}

// Who applies faster than the disk flushes waits: he hears that it fails, and so does the node.
func TestAnApplyThatWaitsForAFailingDiskEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &jam{fails: make(chan struct{}), cause: syscall.EIO}
		f := open(t, j.disk())
		f.one(addBucket("app", command.Settings{}))
		value := strings.Repeat("v", 1<<20)
		for i := range flushBytes>>20 + 1 {
			f.one(put("app", fmt.Sprint("k", i), value))
		}
		synctest.Wait() // the flusher waits for its flush
		ended := make(chan error, 1)
		go func() {
			for i := range 120 {
				at := rpc.Index(flushBytes>>20 + 3 + i)
				if _, err := f.store.Apply([]rpc.Entry{{Index: at, Term: 1, Kind: rpc.EntryCommand, Data: put("app", fmt.Sprint("l", i), value).Encode()}}); err != nil {
					ended <- err
					return
				}
			}
			ended <- nil
		}()
		j.fail(t, ended)
		<-f.store.Failed()
		require.ErrorIs(t, f.store.Failure(), j.cause)
		require.ErrorIs(t, f.store.Close(), j.cause)
	})
}

// What has made it flush counts no more: it does not flush for each batch that follows.
func TestTheFlusherCountsAnew(t *testing.T) {
	f := newFlusher()
	f.wrote(flushBytes)
	<-f.now
	f.wrote(1)
	require.Empty(t, f.now)
}
