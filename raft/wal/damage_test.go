package wal

// Damaged entries in the life of a log: found by reading, gone with what takes their place, cut off when nobody holds them.

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// TestDamageFoundByReading: it is listed from then on, reads below it end there, and it is gone with its repair.
func TestDamageFoundByReading(t *testing.T) {
	fs := vfs.NewMem()
	l := openInline(t, fs)
	b := Batch{Group: 2, Entries: entries(1, 1, 40)}
	require.NoError(t, l.Append(b))
	m := model{}.with(b)
	damage(t, l, fs, 2, 20)
	damage(t, l, fs, 2, 30)
	require.Empty(t, l.State(2).Damaged)
	got, err := l.Entries(2, 25, 40, 1<<20)
	var bad *CorruptError
	require.ErrorAs(t, err, &bad)
	require.Len(t, got, 5)
	require.Equal(t, []rpc.EntryID{{Term: 1, Index: 30}}, l.State(2).Damaged)
	_, err = l.Entries(2, 20, 21, 1<<20)
	require.ErrorAs(t, err, &bad)
	require.Equal(t, []rpc.EntryID{{Term: 1, Index: 20}, {Term: 1, Index: 30}}, l.State(2).Damaged)
	again := *bad
	damage(t, l, fs, 2, 20) // the bit flips back
	_, err = l.Entries(2, 20, 21, 1<<20)
	require.ErrorAs(t, err, &bad)
	require.Equal(t, again, *bad, "what was wrong once is not believed before it was repaired")
	for _, c := range []struct{ lo, hi, n rpc.Index }{{1, 40, 19}, {1, 20, 19}, {1, 21, 19}, {20, 20, 0}, {21, 40, 9}, {31, 40, 9}, {21, 25, 4}} {
		got, err := l.Entries(2, c.lo, c.hi, 1<<20)
		require.NoError(t, err)
		require.Len(t, got, int(c.n), "%+v", c)
	}
	m.checkReads(t, l, "")
	require.EqualValues(t, 2, l.Stats().Damaged)
	m.repairAll(t, l, "")
	m.check(t, l)
	require.NoError(t, l.Close())
}

// TestDamageIsBounded: so many entries are listed, whether the start finds them or a read; with more the start refuses the disk.
func TestDamageIsBounded(t *testing.T) {
	fs := vfs.NewMem()
	open := func() (*Log, error) {
		return Open(fs, "/log", Options{SegmentBytes: 1 << 20, LogID: testLogID, Inline: true, ReportDamaged: true})
	}
	l, err := open()
	require.NoError(t, err)
	require.NoError(t, l.Append(Batch{Entries: entries(1, 1, DamagedMax+2)}))
	require.NoError(t, l.Close())
	name := "/log/" + segmentName(1)
	spans := payloads(1, readFile(t, fs, name))
	for _, s := range spans[:DamagedMax] {
		flipBit(t, fs, name, s.start*8)
	}
	l, err = open()
	require.NoError(t, err)
	require.Len(t, l.State(0).Damaged, DamagedMax)
	flipBit(t, fs, name, spans[DamagedMax].start*8)
	_, err = l.Entries(0, DamagedMax+1, DamagedMax+2, 1)
	require.ErrorAs(t, err, new(*CorruptError))
	require.Len(t, l.State(0).Damaged, DamagedMax)
	require.NoError(t, l.Close())
	_, err = open()
	require.ErrorAs(t, err, new(*CorruptError))
	require.ErrorContains(t, err, "more than 1024 entries are damaged")
}

// TestDamageThatIsGoneWhileItIsRead: what is replaced or compacted between the look-up and the read is not listed: nobody could repair it.
func TestDamageThatIsGoneWhileItIsRead(t *testing.T) {
	for name, meanwhile := range map[string]Batch{
		"replaced":        {Entries: entries(2, 20, 22)},
		"cut off":         {Entries: entries(2, 9, 11)},
		"compacted":       {Base: &Base{ID: rpc.EntryID{Term: 1, Index: 20}}},
		"compacted above": {Base: &Base{ID: rpc.EntryID{Term: 1, Index: 21}}},
	} {
		fs := waltest.New()
		l := openInline(t, fs)
		require.NoError(t, l.Append(Batch{Entries: entries(1, 1, 30)}))
		damage(t, l, fs, 0, 20)
		fs.Hook(func(op waltest.Op) error {
			if op.Kind == waltest.Read {
				fs.Hook(nil)
				require.NoError(t, l.Append(meanwhile))
			}
			return nil
		})
		_, err := l.Entries(0, 20, 21, 1)
		require.ErrorAs(t, err, new(*CorruptError), name)
		require.Empty(t, l.State(0).Damaged, name)
		require.Zero(t, l.Stats().Damaged, name)
		require.NoError(t, l.Close())
	}
}

// TestDamageThatIsGone: what was replaced, compacted or reset needs no repair, before a restart and after.
func TestDamageThatIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		b    Batch
		left []rpc.Index
	}{
		"replaced":          {Batch{Entries: entries(2, 20, 22)}, []rpc.Index{10}},
		"replaced at":       {Batch{Entries: entries(2, 25, 90)}, []rpc.Index{10, 20}},
		"replaced by equal": {Batch{Entries: entries(1, 20, 22)}, []rpc.Index{10}},
		"replaced all":      {Batch{Entries: entries(2, 2, 50)}, nil},
		"compacted":         {Batch{Base: &Base{ID: rpc.EntryID{Term: 1, Index: 20}}}, []rpc.Index{25}},
		"compacted below":   {Batch{Base: &Base{ID: rpc.EntryID{Term: 1, Index: 19}}}, []rpc.Index{20, 25}},
		"reset":             {Batch{Base: &Base{ID: rpc.EntryID{Term: 2, Index: 9}}}, nil},
		"reset beyond":      {Batch{Base: &Base{ID: rpc.EntryID{Term: 2, Index: 900}}}, nil},
		"nothing":           {Batch{HardState: &rpc.HardState{Term: 3}}, []rpc.Index{10, 20, 25}},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			l := openInline(t, fs)
			all := []Batch{{Entries: entries(1, 1, 18)}, {Entries: entries(1, 18, 30)}, c.b}
			require.NoError(t, l.Append(all[0]))
			require.NoError(t, l.Append(all[1]))
			for _, i := range []rpc.Index{10, 20, 25} {
				damage(t, l, fs, 0, i)
				_, err := l.Entries(0, i, i+1, 0)
				require.Error(t, err)
			}
			require.NoError(t, l.Append(c.b))
			var left []rpc.EntryID
			for _, i := range c.left {
				left = append(left, rpc.EntryID{Term: 1, Index: i})
			}
			m := model{}.with(all...)
			for range 2 {
				require.Equal(t, left, l.State(0).Damaged)
				m.checkReads(t, l, name)
				require.NoError(t, l.Close())
				reopened, err := openReporting(fs)
				require.NoError(t, err)
				l = reopened
			}
			m.repairAll(t, l, name) // next to the payloads that need none
			m.check(t, l)
			require.NoError(t, l.Close())
		})
	}
}
