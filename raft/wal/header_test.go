package wal

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// TestHeader: what a record's header says is there for each entry that the log holds, damaged or not, before a restart and after.
func TestHeader(t *testing.T) {
	fs := vfs.NewMem()
	l := openInline(t, fs)
	b := Batch{Group: 2, Base: &Base{ID: rpc.EntryID{Term: 1, Index: 3}}, Entries: entries(1, 4, 40)}
	require.NoError(t, l.Append(b))
	damage(t, l, fs, 2, 20)
	for range 2 {
		for _, e := range b.Entries {
			e.Data = nil
			got, err := l.Header(2, e.Index)
			require.NoError(t, err)
			require.Equal(t, e, got)
		}
		_, err := l.Header(2, 3)
		require.ErrorIs(t, err, ErrCompacted)
		for _, none := range []func() (rpc.Entry, error){
			func() (rpc.Entry, error) { return l.Header(2, b.Entries[len(b.Entries)-1].Index+1) },
			func() (rpc.Entry, error) { return l.Header(7, 1) },
		} {
			got, err := none()
			require.NoError(t, err)
			require.Zero(t, got)
		}
		require.NoError(t, l.Close())
		_, err = l.Header(2, 4)
		require.ErrorIs(t, err, ErrClosed)
		l, err = Open(fs, "/log", Options{SegmentBytes: 8 << 10, LogID: testLogID, Inline: true, ReportDamaged: true})
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
}
