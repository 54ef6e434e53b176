package wal

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// bookFor fills a log of several segments.
func bookFor(t *testing.T, fs vfs.FS) *Log {
	l := openInline(t, fs)
	require.NoError(t, l.Append(Batch{Base: &Base{Configuration: []byte("table")}, HardState: &rpc.HardState{Term: 1, Vote: "n2"}}))
	for i := rpc.Index(1); i < 200; i += 10 {
		require.NoError(t, l.Append(Batch{Entries: entries(1, i, i+10)}))
	}
	require.NoError(t, l.Append(Batch{HardState: &rpc.HardState{Term: 3}, Entries: entries(3, 195, 203)}))
	return l
}

// What is read is what Open finds, and nothing is changed, also where Open would mend something.
func TestInspectReadsAndWritesNothing(t *testing.T) {
	fs := waltest.New()
	l := bookFor(t, fs)
	want := l.State(0)
	require.NoError(t, l.Close())
	changes := 0
	fs.Hook(func(op waltest.Op) error {
		if op.Kind.Changes() {
			changes++
		}
		return nil
	})
	kinds, indexes := map[string]int{}, []rpc.Index{}
	in, err := Inspect(fs, "/log", func(r *Record) error {
		kinds[r.Kind]++
		if r.Kind == "entry" {
			indexes = append(indexes, r.ID.Index)
			require.Equal(t, rpc.EntryCommand, r.EntryKind)
			require.Equal(t, int64(r.ID.Index), r.Time)
			require.Equal(t, len(fmt.Sprintf("entry %d of term %d", r.ID.Index, r.ID.Term)), r.Bytes)
		}
		return nil
	})
	require.NoError(t, err)
	require.Zero(t, changes)
	require.Zero(t, fs.OpenFiles())
	require.Equal(t, want, in.Groups[0])
	require.Greater(t, len(in.Segments), 2)
	require.Len(t, indexes, 208)
	require.Equal(t, rpc.Index(202), indexes[len(indexes)-1])
	require.Equal(t, len(in.Segments)-1, kinds["seal"])
	last := in.Segments[len(in.Segments)-1]
	require.False(t, last.Sealed)
	require.Zero(t, last.Torn)

	stop := fmt.Errorf("enough")
	_, err = Inspect(fs, "/log", func(*Record) error { return stop })
	require.ErrorIs(t, err, stop)
	_, err = Inspect(fs, "/", nil)
	require.ErrorContains(t, err, "no segment")
}

// A damaged payload is told with its place, and the reading goes on; other damage ends it, with segment and offset.
func TestInspectTellsDamage(t *testing.T) {
	fs := vfs.NewMem()
	l := bookFor(t, fs)
	damage(t, l, fs, 0, 42)
	require.NoError(t, l.Close())
	var bad []Record
	in, err := Inspect(fs, "/log", func(r *Record) error {
		if r.Damaged {
			bad = append(bad, *r)
		}
		return nil
	})
	require.NoError(t, err)
	require.Len(t, bad, 1)
	require.Equal(t, rpc.Index(42), bad[0].ID.Index)
	require.Equal(t, []rpc.EntryID{{Term: 1, Index: 42}}, in.Groups[0].Damaged)

	flipBit(t, fs, "/log/"+bad[0].Segment, bad[0].Offset*8+70) // in the record's header
	read := 0
	in, err = Inspect(fs, "/log", func(*Record) error { read++; return nil })
	var corrupt *CorruptError
	require.ErrorAs(t, err, &corrupt)
	require.Equal(t, bad[0].Segment, corrupt.Segment)
	require.Equal(t, bad[0].Offset, corrupt.Offset)
	require.Positive(t, read)
	require.Equal(t, rpc.Index(41), in.Groups[0].Last.Index)
}
