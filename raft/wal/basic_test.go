package wal

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

func entries(term rpc.Term, lo, hi rpc.Index) []rpc.Entry {
	var es []rpc.Entry
	for i := lo; i < hi; i++ {
		es = append(es, rpc.Entry{Index: i, Term: term, Kind: rpc.EntryCommand, Time: int64(i), Data: fmt.Appendf(nil, "entry %d of term %d", i, term)})
	}
	return es
}

func TestReopen(t *testing.T) {
	for _, fs := range []vfs.FS{vfs.NewMem(), vfs.Default} {
		dir := t.TempDir()
		l, err := Open(fs, dir+"/a/b", Options{SegmentBytes: 16 << 10})
		require.NoError(t, err)
		for i := rpc.Index(1); i < 1000; i += 3 {
			require.NoError(t, l.Append(Batch{Group: 7, HardState: &rpc.HardState{Term: 2, Vote: "n1"}, Entries: entries(2, i, i+3)}))
		}
		check := func() {
			got, err := l.Entries(7, 1, 2000, 1<<20)
			require.NoError(t, err)
			require.Equal(t, entries(2, 1, 1000), got)
			require.Equal(t, rpc.EntryID{Term: 2, Index: 999}, l.State(7).Last)
			require.NoError(t, l.Room())
		}
		check()
		require.NoError(t, l.Close())
		l, err = Open(fs, dir+"/a/b", Options{SegmentBytes: 16 << 10})
		require.NoError(t, err)
		check()
		require.NoError(t, l.Compact(7, Base{ID: rpc.EntryID{Term: 2, Index: 900}}))
		require.Less(t, l.Stats().Segments, 4)
		require.NoError(t, l.Close())
	}
}
