package wal

// A log that has failed, or is closed.

import (
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// It deletes nothing any more, not even segments that its base has made useless (D4, D5).
func TestADeadLogDeletesNothing(t *testing.T) {
	fs := waltest.New()
	l := openTest(t, fs)
	last := rpc.Index(1)
	for ; l.Stats().Segments < 3; last++ {
		require.NoError(t, l.Append(Batch{Entries: entries(1, last, last+1)}))
	}
	base := Base{ID: rpc.EntryID{Term: 1, Index: last - 1}}
	require.NoError(t, l.Append(Batch{Base: &base}))
	require.Eventually(t, l.prep.hasReady, retryWithin, retryEvery)
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Sync && strings.HasSuffix(op.Name, segmentSuffix) {
			return syscall.EIO
		}
		return nil
	})
	require.ErrorIs(t, l.Append(Batch{Entries: entries(1, last, last+1)}), ErrFailed)
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
