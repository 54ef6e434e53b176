package wal

// A log that meets too many open files (F21).

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// That too many files are open passes: wherever the next segment meets it, the log goes on when some were closed, as after a full disk.
func TestTooManyOpenFiles(t *testing.T) {
	for _, c := range []struct {
		kind   waltest.Kind
		suffix string
		by     error
	}{{waltest.Create, tempSuffix, syscall.EMFILE}, {waltest.Open, "/log", syscall.ENFILE}, {waltest.Open, segmentSuffix, syscall.EMFILE}} {
		fs := waltest.New()
		l := openTest(t, fs)
		var many, told atomic.Bool
		var tried, untrue atomic.Int32
		many.Store(true)
		fs.Hook(func(op waltest.Op) error {
			if !many.Load() || op.Kind != c.kind || !strings.HasSuffix(op.Name, c.suffix) {
				return nil
			}
			if told.Load() {
				if l.Room() == nil {
					untrue.Add(1)
				}
				tried.Add(1)
			}
			return c.by
		})
		last, err := rpc.Index(0), error(nil)
		for ; err == nil; last++ {
			err = l.Append(Batch{Entries: entries(1, last+1, last+2)})
		}
		require.ErrorIs(t, err, ErrFull)
		require.ErrorIs(t, err, c.by)
		require.ErrorIs(t, l.Room(), c.by)
		told.Store(true)
		require.Eventually(t, func() bool { return tried.Load() > 1 }, retryWithin, retryEvery)
		require.Zero(t, untrue.Load(), "there is room once the segment is there, and not before")
		many.Store(false)
		require.Eventually(t, func() bool { return l.Room() == nil }, retryWithin, retryEvery)
		require.NoError(t, l.Append(Batch{Entries: entries(1, last, last+100)}))
		require.NoError(t, l.Close())
		l = openTest(t, fs)
		require.Equal(t, last+99, l.State(0).Last.Index)
		require.NoError(t, l.Close())
	}
}

// Who needs a segment that is about to get its name waits for that, also where there was none before.
func TestASegmentThatIsAboutToBeThereIsWaitedFor(t *testing.T) {
	fs := waltest.New()
	l := openTest(t, fs)
	var many, held atomic.Bool
	many.Store(true)
	begun, goOn := make(chan struct{}), make(chan struct{})
	fs.Hook(func(op waltest.Op) error {
		if op.Kind != waltest.Open || !strings.HasSuffix(op.Name, segmentSuffix) {
			return nil
		}
		if many.Load() {
			return syscall.EMFILE
		}
		if held.CompareAndSwap(false, true) {
			close(begun)
			<-goOn
		}
		return nil
	})
	last, err := rpc.Index(0), error(nil)
	for ; err == nil; last++ {
		err = l.Append(Batch{Entries: entries(1, last+1, last+2)})
	}
	require.ErrorIs(t, err, ErrFull)
	many.Store(false)
	<-begun
	appended := make(chan error, 1)
	go func() { appended <- l.Append(Batch{Entries: entries(1, last, last+100)}) }()
	require.Eventually(t, func() bool { return len(l.prep.requests) > 0 || len(appended) > 0 }, retryWithin, retryEvery)
	close(goOn)
	require.NoError(t, <-appended)
	require.NoError(t, l.Close())
}
