package wal

// What a log promises when nothing fails.

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// TestModel compares a log with the model through random steps and restarts.
func TestModel(t *testing.T) {
	t.Parallel() // a sweep: it works, and shares nothing
	rapid.Check(t, func(t *rapid.T) {
		fs, inline := vfs.NewMem(), rapid.Bool().Draw(t, "inline")
		open := func() *Log {
			l, err := Open(fs, "/log", Options{SegmentBytes: 8 << 10, LogID: testLogID, Inline: inline})
			require.NoError(t, err)
			return l
		}
		l := open()
		defer func() { require.NoError(t, l.Close()) }()
		m := model{}
		s := script{rng: seeded(rapid.Uint64().Draw(t, "seed")), most: rapid.SampledFrom([]int{20, 300, 3000}).Draw(t, "most")}
		group := rapid.Map(rapid.Uint8Range(0, 2), func(g uint8) GroupID { return GroupID(g) })
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				var batches []Batch
				for range rapid.IntRange(1, 4).Draw(t, "batches") {
					b := s.batch(m, group.Draw(t, "group"))
					batches, m = append(batches, b), m.with(b)
				}
				require.NoError(t, l.Append(batches...))
			},
			"compact": func(t *rapid.T) {
				id := group.Draw(t, "group")
				if g := m[id]; len(g.log) > 0 {
					b := s.base(&g)
					require.NoError(t, l.Compact(id, *b))
					m = m.with(Batch{Group: id, Base: b})
				}
			},
			"reopen": func(t *rapid.T) {
				require.NoError(t, l.Close())
				l = open()
			},
			"": func(t *rapid.T) { m.check(t, l) },
		})
	})
}

func TestRealDisk(t *testing.T) {
	dir := t.TempDir() + "/not/there/yet"
	open := func() *Log {
		l, err := Open(vfs.Default, dir, Options{SegmentBytes: 16 << 10})
		require.NoError(t, err)
		return l
	}
	l := open()
	for d := dir; d != filepath.Dir(filepath.Dir(filepath.Dir(dir))); d = filepath.Dir(d) {
		made, err := os.Stat(d)
		require.NoError(t, err)
		require.Equal(t, os.ModeDir|0o700, made.Mode(), "of this user alone (Q13): %s", d)
	}
	for i := rpc.Index(1); i < 1000; i += 3 {
		require.NoError(t, l.Append(Batch{Group: 7, HardState: &rpc.HardState{Term: 2, Vote: "n1"}, Entries: entries(2, i, i+3)}))
	}
	require.NoError(t, l.Close())
	l = open()
	got, err := l.Entries(7, 1, 2000, 1<<20)
	require.NoError(t, err)
	require.Equal(t, entries(2, 1, 1000), got)
	require.NoError(t, l.Compact(7, Base{ID: rpc.EntryID{Term: 2, Index: 900}}))
	require.Less(t, l.Stats().Segments, 4)
	require.NoError(t, l.Close())
}

// TestK22AppendABA: an entry that was replaced is never seen again, neither while running nor after a restart (K22).
func TestK22AppendABA(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	m := model{}
	for term := rpc.Term(1); term < 60; term++ {
		b := Batch{Entries: entries(term, 3, 9)}
		if term == 1 {
			b.Entries = entries(1, 1, 9)
		}
		require.NoError(t, l.Append(b))
		m = m.with(b)
		m.check(t, l)
	}
	require.Greater(t, l.Stats().Segments, 2)
	require.NoError(t, l.Close())
	l = openTest(t, fs)
	m.check(t, l)
	require.NoError(t, l.Close())
}

// TestK37TruncatedChangeStays: the log knows which entries change the membership: no one that was replaced, none at or below
// the base, and after a restart the same (K10: the last one counts, however old, and not only what a batch brought).
func TestK37TruncatedChangeStays(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	step := func(want []rpc.Index, b Batch, kinds ...rpc.Index) {
		for i := range b.Entries {
			if slices.Contains(kinds, b.Entries[i].Index) {
				b.Entries[i].Kind = rpc.EntryConfiguration
			}
		}
		require.NoError(t, l.Append(b))
		for range 2 {
			require.Equal(t, want, l.State(3).Configurations)
			require.NoError(t, l.Close())
			l = openTest(t, fs)
		}
	}
	base := func(id rpc.EntryID) Batch { return Batch{Group: 3, Base: &Base{ID: id}} }
	step([]rpc.Index{2, 5}, Batch{Group: 3, Entries: entries(1, 1, 6)}, 2, 5)
	step([]rpc.Index{2, 5}, Batch{Group: 3, Entries: entries(1, 6, 90)})
	step([]rpc.Index{2, 5, 50}, Batch{Group: 3, Entries: entries(2, 50, 60)}, 50)
	step([]rpc.Index{2, 5}, Batch{Group: 3, Entries: entries(3, 50, 52)})
	step([]rpc.Index{2, 51}, Batch{Group: 3, Entries: entries(4, 4, 200)}, 51)
	step([]rpc.Index{2, 51}, base(rpc.EntryID{Term: 1, Index: 1}))
	step([]rpc.Index{51}, base(rpc.EntryID{Term: 1, Index: 2}))
	step([]rpc.Index{51}, base(rpc.EntryID{Term: 4, Index: 50}))
	step(nil, base(rpc.EntryID{Term: 5, Index: 60}))
	require.NoError(t, l.Close())
}

func TestRefusals(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	first := []Batch{
		{Group: 1, Base: &Base{ID: rpc.EntryID{Term: 3, Index: 10}, Configuration: []byte("c")}, HardState: &rpc.HardState{Term: 5, Vote: "n1"}, Entries: entries(4, 11, 15)},
		{Group: 2, Entries: entries(1, 1, 3)},
		{Group: 4, Base: &Base{ID: rpc.EntryID{Term: 1, Index: indexMax}}},
	}
	require.NoError(t, l.Append(first...))
	m := model{}.with(first...)
	before := l.Stats()
	for name, b := range map[string]Batch{
		"gap":                   {Group: 1, Entries: entries(4, 16, 17)},
		"gap within":            {Group: 1, Entries: append(entries(4, 15, 16), entries(4, 17, 18)...)},
		"at the base":           {Group: 1, Entries: entries(4, 10, 11)},
		"below the base":        {Group: 1, Entries: entries(4, 9, 10)},
		"term goes back":        {Group: 1, Entries: entries(3, 15, 16)},
		"replaced by an older":  {Group: 1, Entries: entries(2, 12, 13)},
		"older than the base":   {Group: 1, Entries: entries(2, 11, 12)},
		"no term":               {Group: 3, Entries: entries(0, 1, 2)},
		"first entry of none":   {Group: 3, Entries: entries(1, 2, 3)},
		"base goes back":        {Group: 1, Base: &Base{ID: rpc.EntryID{Term: 3, Index: 9}}},
		"base of another term":  {Group: 1, Base: &Base{ID: rpc.EntryID{Term: 4, Index: 10}}},
		"K5 hard state back":    {Group: 1, HardState: &rpc.HardState{Term: 4}},
		"K2 vote cleared":       {Group: 1, HardState: &rpc.HardState{Term: 5}},
		"I7 second vote":        {Group: 1, HardState: &rpc.HardState{Term: 5, Vote: "n2"}},
		"vote too long":         {Group: 1, HardState: &rpc.HardState{Term: 6, Vote: rpc.NodeID(make([]byte, VoteBytesMax+1))}},
		"entry after the last":  {Group: 4, Entries: entries(1, indexMax+1, indexMax+2)},
		"base after the last":   {Group: 4, Base: &Base{ID: rpc.EntryID{Term: 1, Index: indexMax + 1}}},
		"configuration too big": {Group: 1, Base: &Base{ID: rpc.EntryID{Term: 4, Index: 11}, Configuration: make([]byte, ConfigurationBytesMax+1)}},
	} {
		t.Run(name, func(t *testing.T) {
			good := Batch{Group: 2, Entries: entries(1, 3, 4)}
			require.ErrorIs(t, l.Append(good, b), ErrInvalid)
			require.Equal(t, before, l.Stats())
			m.check(t, l)
		})
	}
	require.NoError(t, l.Append(), "nothing to append")
	require.NoError(t, l.Append(Batch{Group: 9}), "nothing to append")
	require.Equal(t, before, l.Stats())
	_, err := l.Entries(1, 10, 12, 100)
	require.ErrorIs(t, err, ErrCompacted)
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Append(first...), ErrClosed)
	require.ErrorIs(t, l.Room(), ErrClosed)
	_, err = l.Entries(1, 11, 12, 100)
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, l.Close(), "a second time")
}

// A log takes as many groups as it can begin a segment with, and not one more.
func TestGroupsAreBounded(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	for g := range GroupID(GroupsMax) {
		require.NoError(t, l.Append(Batch{Group: g, HardState: &rpc.HardState{Term: 1}}))
	}
	require.ErrorIs(t, l.Append(Batch{Group: GroupsMax, HardState: &rpc.HardState{Term: 1}}), ErrInvalid)
	require.NoError(t, l.Append(Batch{Group: 7, HardState: &rpc.HardState{Term: 2}}), "those that are there go on")
	require.NoError(t, l.Close())
	l = openTest(t, fs)
	require.Equal(t, rpc.Term(1), l.State(GroupsMax-1).HardState.Term)
	require.Equal(t, rpc.Term(2), l.State(7).HardState.Term)
	require.ErrorIs(t, l.Append(Batch{Group: GroupsMax, HardState: &rpc.HardState{Term: 1}}), ErrInvalid)
	require.NoError(t, l.Close())
}

func TestEntriesBounds(t *testing.T) {
	l := openTest(t, vfs.NewMem())
	defer func() { require.NoError(t, l.Close()) }()
	big := entries(1, 1, 30)
	for i := range big {
		big[i].Data = make([]byte, 1000)
	}
	require.NoError(t, l.Append(Batch{Entries: big[:5]}, Batch{Group: 1, Entries: big[:20]}, Batch{Entries: big[5:]}))
	for _, c := range []struct {
		lo, hi rpc.Index
		most   int
		want   int
	}{
		{1, 30, -1, 1}, {1, 30, 0, 1}, {1, 30, 1, 1}, {1, 30, 2*1048 - 1, 1}, {1, 30, 2 * 1048, 2}, {3, 9, 1 << 40, 6},
		{1, 30, 1 << 62, 29}, {29, 30, 1, 1}, {29, 1000, 1 << 20, 1}, {30, 31, 100, 0}, {5, 5, 100, 0}, {6, 5, 100, 0}, {1000, 2000, 100, 0},
	} {
		got, err := l.Entries(0, c.lo, c.hi, c.most)
		require.NoError(t, err)
		require.Len(t, got, c.want, "%+v", c)
		for i, e := range got {
			require.Equal(t, big[int(c.lo)-1+i], e)
		}
	}
	got, err := l.Entries(5, 1, 9, 100)
	require.NoError(t, err)
	require.Empty(t, got, "an unknown group")
}

// TestLargeBatch: a batch never spans segments; one that is larger than a segment has one of its own size.
func TestLargeBatch(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	m := model{}
	for i := rpc.Index(1); i < 20; i++ {
		e := entries(1, i, i+1)
		e[0].Data = make([]byte, 100+int(i%4)*20000)
		b := Batch{Entries: e}
		require.NoError(t, l.Append(b))
		m = m.with(b)
	}
	m.check(t, l)
	require.NoError(t, l.Close())
	l = openTest(t, fs)
	m.check(t, l)
	require.NoError(t, l.Compact(0, Base{ID: rpc.EntryID{Term: 1, Index: 19}}))
	require.Equal(t, 1, l.Stats().Segments)
	require.NoError(t, l.Append(Batch{Entries: []rpc.Entry{{Index: 20, Term: 1, Data: make([]byte, bufferKeepBytes)}}}))
	require.LessOrEqual(t, cap(l.buffer), bufferKeepBytes, "the memory that the largest took is not kept")
	require.NoError(t, l.Close())
}

// The pause before a full disk is tried again grows, and has a bound: writes come back within seconds of there being room (F21).
func TestAFullDiskIsTriedAgainWithinABound(t *testing.T) {
	pause := prepareRetryMin
	for range 20 {
		longer := longerPause(pause)
		require.GreaterOrEqual(t, longer, pause)
		pause = longer
	}
	require.Equal(t, prepareRetryMax, pause)
}

// TestIndexIsSparse: memory for the index grows with bytes, not with entries.
func TestIndexIsSparse(t *testing.T) {
	l, err := Open(vfs.NewMem(), "/log", Options{})
	require.NoError(t, err)
	require.NoError(t, l.Append(Batch{Entries: entries(1, 1, 5000)}))
	require.Less(t, len(l.groups[0].index.points), 5000*80/strideBytes+2)
	require.NoError(t, l.Close())
}

// TestReadWhileAppending reads from several goroutines while entries are appended, replaced and compacted.
func TestReadWhileAppending(t *testing.T) {
	l := openTest(t, vfs.NewMem())
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				s := l.State(0)
				got, err := l.Entries(0, s.Base.ID.Index+1, s.Last.Index+1, 5000)
				if err != nil {
					assert.ErrorIs(t, err, ErrCompacted)
				}
				for i := 1; i < len(got); i++ {
					assert.Equal(t, got[i-1].Index+1, got[i].Index)
					assert.LessOrEqual(t, got[i-1].Term, got[i].Term, "entries of two moments")
				}
			}
		})
	}
	m, s := model{}, script{rng: seeded(1), most: 200}
	for range 400 {
		b := s.batch(m, 0)
		m = m.with(b)
		require.NoError(t, l.Append(b))
		if g := m[0]; len(g.log) > 20 {
			b := Base{ID: g.log[10].ID()}
			require.NoError(t, l.Compact(0, b))
			m = m.with(Batch{Base: &b})
		}
	}
	close(stop)
	readers.Wait()
	m.check(t, l)
	require.NoError(t, l.Close())
}

// TestLargeCheckpoint: what every segment begins with counts, even when it takes most of a segment.
func TestLargeCheckpoint(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	m := model{}
	for g := range GroupID(4) {
		b := Batch{Group: g, Base: &Base{Configuration: make([]byte, 1500+1000*g)}}
		require.NoError(t, l.Append(b))
		m = m.with(b)
	}
	for i := rpc.Index(1); i < 60; i++ {
		e := entries(1, i, i+1)
		e[0].Data = make([]byte, 100*i%1700)
		b := Batch{Group: GroupID(i % 2), Entries: e}
		b.Entries[0].Index = rpc.Index(len(m[b.Group].log) + 1)
		if len(e[0].Data) == 0 {
			e[0].Data = nil
		}
		require.NoError(t, l.Append(b))
		m = m.with(b)
		if i%7 == 0 {
			require.NoError(t, l.Close())
			l = openTest(t, fs)
		}
		m.check(t, l)
	}
	require.NoError(t, l.Close())
}

// TestFirstBatchTooLarge: a new log whose first segment is sealed with nothing in it, compacted and crashed on.
func TestFirstBatchTooLarge(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	b := Batch{Entries: []rpc.Entry{{Index: 1, Term: 1, Data: make([]byte, 20<<10)}, {Index: 2, Term: 1, Data: []byte("x")}}}
	require.NoError(t, l.Append(b))
	m := model{}.with(b)
	require.NoError(t, l.Close())
	l = openTest(t, fs)
	m.check(t, l)
	require.NoError(t, l.Close())
}

// TestResetWithin: a base that conflicts with the log, within it, as the only thing left after compaction.
func TestResetWithin(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	var bs []Batch
	for i := rpc.Index(1); i < 200; i++ {
		bs = append(bs, Batch{Entries: entries(1, i, i+1)})
		require.NoError(t, l.Append(bs[i-1]))
	}
	base := Base{ID: rpc.EntryID{Term: 2, Index: 100}}
	require.NoError(t, l.Compact(0, base))
	require.Equal(t, 1, l.Stats().Segments)
	m := model{}.with(bs...).with(Batch{Base: &base})
	for range 2 {
		m.check(t, l)
		require.NoError(t, l.Close())
		l = openTest(t, fs)
	}
	require.NoError(t, l.Close())
}

// TestTheSameBaseAgain: a base that the log has, with another configuration, leaves what is after it.
func TestTheSameBaseAgain(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	bs := []Batch{
		{Base: &Base{ID: rpc.EntryID{Term: 3, Index: 10}, Configuration: []byte("a")}, Entries: entries(3, 11, 15)},
		{Base: &Base{ID: rpc.EntryID{Term: 3, Index: 10}, Configuration: []byte("b")}},
	}
	for _, b := range bs {
		require.NoError(t, l.Append(b))
	}
	for range 2 {
		model{}.with(bs...).check(t, l)
		require.NoError(t, l.Close())
		l = openTest(t, fs)
	}
	require.NoError(t, l.Close())
}

// Each sync is in the histogram, and one that hangs shows while it does.
func TestSyncsAreMeasured(t *testing.T) {
	var hangs atomic.Bool
	met, heal := make(chan struct{}), make(chan struct{})
	active := "/log/" + segmentName(1) // the next one is prepared beside it
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && op.Path == active && hangs.CompareAndSwap(true, false) {
			close(met)
			<-heal
		}
		return nil
	}))
	l, err := Open(fs, "/log", Options{LogID: testLogID})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	healed := sync.OnceFunc(func() { close(heal) })
	defer healed() // also when the test has failed: Close waits for what hangs
	put := func(i rpc.Index) error {
		return l.Append(Batch{Entries: []rpc.Entry{{Index: i, Term: 1}}})
	}
	require.NoError(t, put(1))
	s := l.Stats()
	require.EqualValues(t, s.Syncs, s.SyncTimes.Count())
	require.Zero(t, s.Syncing)
	hangs.Store(true)
	done := make(chan error, 1)
	go func() { done <- put(2) }()
	<-met
	const long = 20 * time.Millisecond // for a file in memory
	require.Eventually(t, func() bool { return l.Stats().Syncing >= long }, 30*time.Second, time.Millisecond)
	require.Equal(t, s.SyncTimes, l.Stats().SyncTimes)
	healed()
	require.NoError(t, <-done)
	hung := l.Stats()
	require.Zero(t, hung.Syncing)
	require.EqualValues(t, s.Syncs+1, hung.SyncTimes.Count())
	require.GreaterOrEqual(t, hung.SyncLast, long)
	require.NoError(t, put(3))
	require.GreaterOrEqual(t, l.Stats().SyncMax, hung.SyncMax, "the longest is remembered")
}

// Small entries are read many at a time.
func TestSmallEntriesShareReads(t *testing.T) {
	disk := waltest.New()
	l, err := Open(disk, "/log", Options{SegmentBytes: 1 << 20})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	require.NoError(t, l.Append(Batch{Group: 7, Entries: entries(1, 1, 1001)}))
	var reads atomic.Int64
	disk.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Read {
			reads.Add(1)
		}
		return nil
	})
	got, err := l.Entries(7, 1, 1001, 1<<20)
	require.NoError(t, err)
	require.Len(t, got, 1000)
	require.Less(t, reads.Load(), int64(20))
}

// What salts the checksums of a log no client can guess, since none has that of another: else who writes values could make one that reads as a record.
func TestEachLogHasASaltOfItsOwn(t *testing.T) {
	differ := [8]bool{}
	before := [8]byte{}
	for i := range 8 { // a byte of two is the same in one log of 256, of eight in none
		l, err := Open(vfs.NewMem(), "/log", Options{Inline: true})
		require.NoError(t, err)
		id := [8]byte{}
		binary.LittleEndian.PutUint64(id[:], l.logID)
		for k := range id {
			differ[k] = differ[k] || i > 0 && id[k] != before[k]
		}
		before = id
		require.NoError(t, l.Close())
	}
	require.NotContains(t, differ, false)
}

// What the defaults are, and why: none is changed unawares.
func TestDefaults(t *testing.T) {
	require.EqualValues(t, 64<<10, reserveBytesMax, "of 16 MiB little, and room for a hundred hard states while a disk is full")
	require.Equal(t, 2*time.Second, prepareRetryMax, "writes go on so soon once a full disk has room, as the errors promise, and it is not tried in vain all the time")
}
