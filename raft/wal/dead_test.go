package wal

// A log that has failed, or is closed.

import (
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// It deletes nothing any more, not even segments that its base has made useless (D4, D5).
func TestADeadLogDeletesNothing(t *testing.T) {
	fs := waltest.New()
	l := openTest(t, fs)
	last := fill(t, l, 3)
	base := Base{ID: rpc.EntryID{Term: 1, Index: last}}
	require.NoError(t, l.Append(Batch{Base: &base}))
	require.Eventually(t, l.prep.hasReady, retryWithin, retryEvery)
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Sync && strings.HasSuffix(op.Name, segmentSuffix) {
			return syscall.EIO
		}
		return nil
	})
	require.ErrorIs(t, l.Append(Batch{Entries: entries(1, last+1, last+2)}), ErrFailed)
	fs.Hook(nil)
	before, err := fs.List("/log")
	require.NoError(t, err)
	require.ErrorIs(t, l.Compact(0, base), ErrFailed)
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Compact(0, base), ErrClosed)
	after, err := fs.List("/log")
	require.NoError(t, err)
	require.ElementsMatch(t, before, after)
	require.Contains(t, after, segmentName(1))
}

// Nor is it closed while a compaction goes on: what follows may open the same folder.
func TestCloseWaitsForACompaction(t *testing.T) {
	fs := waltest.New()
	l := openTest(t, fs)
	last := fill(t, l, 4)
	begun, gate := make(chan struct{}), make(chan struct{})
	hangs := sync.OnceFunc(func() { close(begun); <-gate })
	var removed atomic.Int32
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Remove {
			hangs()
			removed.Add(1)
		}
		return nil
	})
	compacted, closed := make(chan error, 1), make(chan error, 1)
	go func() { compacted <- l.Compact(0, Base{ID: rpc.EntryID{Term: 1, Index: last}}) }()
	<-begun
	go func() { closed <- l.Close() }()
	require.Never(t, func() bool { return len(closed) > 0 }, 50*time.Millisecond, time.Millisecond)
	close(gate)
	require.NoError(t, <-closed)
	require.EqualValues(t, 3, removed.Load())
	require.NoError(t, <-compacted)
}
