package wal

// Compaction: what it may free and what it must keep, the horizon that a policy goes by, snapshots that were installed, and
// crashes, full disks and appends meanwhile (F21, F30, K27, K29).

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// used is how many bytes of batches the log's segments hold, and how many segments there are.
func (l *Log) used() (bytes int64, segments int) {
	for _, s := range l.segments {
		bytes += s.end
	}
	return bytes, len(l.segments)
}

// What Around says is below an entry is what Compact frees, and what is above it is no less than those entries take.
func TestAround(t *testing.T) {
	fs := vfs.NewMem()
	l, s := openInline(t, fs), &script{rng: seeded(1), most: 1200}
	below, above := l.Around(0, 0)
	require.Zero(t, below+above)
	m := model{}
	for l.Stats().Segments < 6 {
		b := Batch{Entries: s.entries(&modelGroup{log: m[0].log})}
		require.NoError(t, l.Append(b))
		m = m.with(b)
	}
	d, freed := readDisk(t, fs), int64(0)
	for i := range m[0].log {
		at, least := rpc.Index(i+1), 0
		for _, e := range m[0].log[i+1:] {
			least += len(e.Data)
		}
		below, above = l.Around(0, at)
		require.GreaterOrEqual(t, above, int64(least))
		require.LessOrEqual(t, above, int64(2*least+64<<10), "the places of entries are known about")
		c := openInline(t, d.files(t))
		before := c.Stats().SegmentBytes
		require.NoError(t, c.Compact(0, Base{ID: m[0].log[i].ID()}))
		require.Equal(t, before-c.Stats().SegmentBytes, below, "%d", at)
		require.NoError(t, c.Close())
		freed = max(freed, below)
	}
	require.NotZero(t, freed)
	require.Zero(t, above, "nothing is above the last")

	large, err := Open(vfs.NewMem(), "/log", Options{Inline: true})
	require.NoError(t, err)
	require.NoError(t, large.Append(Batch{Entries: entries(1, 1, 4)}))
	_, above = large.Around(0, 1)
	require.Less(t, above, int64(1<<10), "a place for entries is none that they take")
	require.NoError(t, large.Close())
}

// TestHorizon holds the horizon against what compaction at every single index does to a copy of the log.
func TestHorizon(t *testing.T) {
	for seed := range uint64(4) {
		fs := vfs.NewMem()
		l, s := openInline(t, fs), &script{rng: seeded(seed), most: 1200}
		m := model{}
		for l.Stats().Segments < 6 {
			b := Batch{Entries: s.entries(&modelGroup{log: m[0].log})}
			require.NoError(t, l.Append(b))
			m = m.with(b)
		}
		last := l.State(0).Last.Index
		d := readDisk(t, fs)
		type outcome struct {
			bytes    int64
			segments int
		}
		after := map[rpc.Index]outcome{} // by index of the base
		for i := rpc.Index(1); i <= last; i++ {
			c := openInline(t, d.files(t))
			require.NoError(t, c.Compact(0, Base{ID: m[0].log[i-1].ID()}))
			m.with(Batch{Base: &Base{ID: m[0].log[i-1].ID()}}).check(t, c)
			o := outcome{}
			o.bytes, o.segments = c.used()
			o.bytes -= sectorBytes // the base, itself
			after[i] = o
			require.NoError(t, c.Close())
		}
		all, segments := l.used()
		after[0] = outcome{all, segments}
		for _, limit := range []rpc.Index{0, 1, last / 3, last / 2, last - 1, last, last + 9} {
			keeps := []int64{0, all, all + 1}
			for _, o := range after {
				keeps = append(keeps, o.bytes, o.bytes+1)
			}
			for _, keep := range keeps {
				want := rpc.Index(0) // the lowest index that frees as many segments as may be freed
				for i := rpc.Index(1); i <= min(limit, last); i++ {
					if after[i].bytes >= keep && after[i].segments < after[want].segments {
						want = i
					}
				}
				require.Equal(t, after[want].segments, after[l.Horizon(0, limit, keep)].segments, "limit %d, keep %d", limit, keep)
				require.LessOrEqual(t, l.Horizon(0, limit, keep), limit)
				require.Equal(t, want, l.Horizon(0, limit, keep), "limit %d, keep %d", limit, keep)
			}
		}
		require.NoError(t, l.Close())
		require.Zero(t, l.Horizon(0, last, 0), "a closed log")
	}
}

// TestHorizonOfSharedSegments: a group that writes little does not hold up the one that fills the segments, nor the other
// way round; and a group that is past its horizon has none.
func TestHorizonOfSharedSegments(t *testing.T) {
	l := openInline(t, vfs.NewMem())
	require.Zero(t, l.Horizon(7, 100, 0), "an unknown group")
	require.NoError(t, l.Append(Batch{Group: 1, Entries: entries(1, 1, 4)}))
	require.Zero(t, l.Horizon(1, 100, 0), "one segment")
	busy := rpc.Index(0)
	for l.Stats().Segments < 10 {
		busy++
		require.NoError(t, l.Append(Batch{Entries: entries(1, busy, busy+1)}))
	}
	const keep = 20 << 10 // three segments
	require.EqualValues(t, 3, l.Horizon(1, 100, keep), "all of its log is older")
	h := l.Horizon(0, busy, keep)
	require.NotZero(t, h)
	require.NoError(t, l.Compact(0, Base{ID: rpc.EntryID{Term: 1, Index: h}}))
	require.Equal(t, 10, l.Stats().Segments, "group 1 still needs the first")
	require.Zero(t, l.Horizon(0, busy, keep), "it did its part")
	require.EqualValues(t, 3, l.Horizon(1, 100, keep))
	require.NoError(t, l.Compact(1, Base{ID: rpc.EntryID{Term: 1, Index: 3}}))
	bytes, segments := l.used()
	require.GreaterOrEqual(t, bytes, int64(keep))
	require.LessOrEqual(t, segments, 5)
	require.Zero(t, l.Horizon(1, 100, 0), "it has no entries")
	require.NoError(t, l.Close())
}

// snapshot is a batch as the driver writes it when it installed one: a base and a hard state, in one write.
func snapshot(id rpc.EntryID) Batch {
	return Batch{
		Base:      &Base{ID: id, Configuration: fmt.Appendf(nil, "members as of %v", id)},
		HardState: &rpc.HardState{Term: id.Term + 3, Vote: "n2"},
	}
}

// TestK27ConflictingTailKept: a snapshot leaves the entries above it if the log holds the entry it ends with, and none at
// all otherwise, whether the log is too short, or holds another entry there, or ends just there; in one write, and
// with a crash at each of its operations and those of the deletions.
func TestK27ConflictingTailKept(t *testing.T) {
	t.Parallel() // a sweep: it works, and shares nothing
	for name, c := range map[string]struct {
		base rpc.EntryID
		last rpc.Index // that the log then has
	}{
		"within":               {rpc.EntryID{Term: 2, Index: 60}, 90},
		"at the end":           {rpc.EntryID{Term: 2, Index: 90}, 90},
		"conflicting":          {rpc.EntryID{Term: 3, Index: 60}, 60},
		"conflicting at first": {rpc.EntryID{Term: 2, Index: 1}, 1},
		"conflicting, of old":  {rpc.EntryID{Term: 1, Index: 60}, 60},
		"conflicting at last":  {rpc.EntryID{Term: 3, Index: 90}, 90},
		"next to the end":      {rpc.EntryID{Term: 2, Index: 91}, 91},
		"beyond":               {rpc.EntryID{Term: 4, Index: 700}, 700},
	} {
		t.Run(name, func(t *testing.T) {
			fs := waltest.New()
			l := openInline(t, fs)
			bs := []Batch{{Entries: entries(1, 1, 30)}, {Group: 1, Entries: entries(5, 1, 3)}, {Entries: entries(2, 30, 91)}}
			for _, b := range bs {
				require.NoError(t, l.Append(b))
			}
			b := snapshot(c.base)
			j := &journal{acked: model{}.with(bs...), underway: model{}.with(append(bs, b)...)}
			fs.Hook(func(op waltest.Op) error {
				for _, mode := range waltest.Modes {
					for seed := range seeds(2, 100) {
						j.survivor(t, fs.Crash(mode, seeded(seed)), fmt.Sprintf("before %+v", op))
					}
				}
				return nil
			})
			require.NoError(t, l.Append(b))
			require.Equal(t, c.last, l.State(0).Last.Index)
			j.end(nil)
			j.acked.check(t, l)
			require.NoError(t, l.Compact(0, *b.Base))
			j.acked.check(t, l)
			more := Batch{Entries: entries(6, c.last+1, c.last+5)}
			j.begin(j.acked.with(more))
			require.NoError(t, l.Append(more))
			j.end(nil)
			j.acked.check(t, l)
			fs.Hook(nil)
			require.NoError(t, l.Close())
		})
	}
}

// TestAppendedBaseFreesSpace: segments that a base made useless which came with an Append are deleted by the next Compact,
// which writes no second base; also after a crash between the two.
func TestAppendedBaseFreesSpace(t *testing.T) {
	fs := waltest.New()
	l := openInline(t, fs)
	m, last := model{}, rpc.Index(0)
	for l.Stats().Segments < 5 {
		last++
		b := Batch{Entries: entries(1, last, last+1)}
		require.NoError(t, l.Append(b))
		m = m.with(b)
	}
	b := snapshot(rpc.EntryID{Term: 9, Index: last + 100})
	require.NoError(t, l.Append(b))
	m = m.with(b)
	require.Equal(t, 5, l.Stats().Segments)
	crashed := fs.Crash(waltest.KeepNothing, nil)
	for _, l := range []*Log{l, openInline(t, crashed)} {
		appends := l.Stats().Appends
		older := Base{ID: rpc.EntryID{Term: 1, Index: 4}}
		require.NoError(t, l.Compact(0, older))
		require.Equal(t, 1, l.Stats().Segments)
		require.Equal(t, appends, l.Stats().Appends)
		m.check(t, l)
		require.NoError(t, l.Close())
	}
}

// TestK29MembershipLost: the configuration of a base outlives the segments it was written in, two compactions in a row, and
// restarts; so do the configuration entries above it.
func TestK29MembershipLost(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	m := model{}.with(Batch{Base: &Base{Configuration: []byte("the table")}})
	require.NoError(t, l.Append(Batch{Base: &Base{Configuration: []byte("the table")}}))
	next := rpc.Index(1)
	fill := func(configuration rpc.Index) {
		for segments := l.Stats().Segments; l.Stats().Segments < segments+3; next++ {
			b := Batch{Entries: entries(1, next, next+1)}
			if next == configuration {
				b.Entries[0].Kind = rpc.EntryConfiguration
			}
			require.NoError(t, l.Append(b))
			m = m.with(b)
		}
	}
	compact := func(i rpc.Index, configuration string) {
		b := Base{ID: rpc.EntryID{Term: 1, Index: i}, Configuration: []byte(configuration)}
		require.NoError(t, l.Compact(0, b))
		m = m.with(Batch{Base: &b})
		for range 2 {
			m.check(t, l)
			require.Equal(t, configuration, string(l.State(0).Base.Configuration))
			require.NoError(t, l.Close())
			l = openTest(t, fs)
		}
	}
	fill(5)
	compact(next-2, "as of entry 5")
	compact(next-1, "as of entry 5")
	require.Equal(t, 1, l.Stats().Segments)
	changed := next + 7
	fill(changed)
	compact(changed-1, "as of entry 5")
	require.Equal(t, []rpc.Index{changed}, l.State(0).Configurations)
	compact(changed, "as of entry 7")
	fill(0)
	compact(next-1, "as of entry 7")
	require.Empty(t, l.State(0).Configurations)
	require.NoError(t, l.Close())
}

// TestCompactionBeforeFirstBatch: while the first batch of a new segment is under way, the newest checkpoint is in a segment
// before. That must not be deleted, or a crash would take the hard state of every group with it (K56, D3). Nor is it in the
// segment just before, when a crash left that one empty and it is too small for what is to come.
func TestCompactionBeforeFirstBatch(t *testing.T) {
	fs := waltest.New()
	l := openInline(t, fs)
	j, next := &journal{acked: model{}}, rpc.Index(0)
	step := func(configurationBytes int) error {
		next += 10
		b := snapshot(rpc.EntryID{Term: rpc.Term(next), Index: next})
		b.Base.Configuration = make([]byte, configurationBytes)
		j.begin(j.acked.with(b))
		err := l.Append(b)
		if j.end(err); err != nil {
			j.underway = nil
			next -= 10
		}
		return err
	}
	firstWriteOf := func(number uint64, do func() error) {
		fs.Hook(func(op waltest.Op) error {
			if op.Kind == waltest.Write && op.Offset == sectorBytes && op.Name == "/log/"+segmentName(number) {
				return do()
			}
			return nil
		})
	}
	compact := func() error {
		require.NoError(t, l.Compact(0, j.acked[0].base)) // as another goroutine might just now
		for _, mode := range waltest.Modes {
			j.survivor(t, fs.Crash(mode, seeded(1)), "the newest checkpoint is gone")
		}
		return nil
	}
	require.NoError(t, step(400))
	firstWriteOf(2, compact)
	for l.Stats().Segments == 1 {
		require.NoError(t, step(400))
	}
	firstWriteOf(3, func() error { return syscall.EIO })
	err := error(nil)
	for err == nil {
		err = step(400)
	}
	require.ErrorIs(t, err, ErrFailed)
	require.NoError(t, l.Close())
	l = openInline(t, fs)
	require.Equal(t, 3, l.Stats().Segments)
	firstWriteOf(4, compact)
	require.NoError(t, step(7000))
	require.Equal(t, 3, l.Stats().Segments, "the first is gone, the third is sealed and empty")
	fs.Hook(nil)
	require.NoError(t, l.Compact(0, j.acked[0].base))
	require.Equal(t, 1, l.Stats().Segments)
	j.acked.check(t, l)
	require.NoError(t, l.Close())
}

// TestNoCheckpointLeft: a log of which nothing is left but a seal and an unused segment was not new: it lost its votes (D3).
func TestNoCheckpointLeft(t *testing.T) {
	seal := func(number uint64) []byte {
		p, b := place{testLogID, number}, make([]byte, 8<<10)
		p.fillPattern(b, 0)
		putSegmentHeader(b, p, int64(len(b)))
		e := &encoder{place: p, buf: make([]byte, headerBytes, len(b)), base: sectorBytes}
		e.record(header{kind: kindSeal, id: rpc.EntryID{Index: rpc.Index(number + 1)}}, nil)
		copy(b[sectorBytes:], e.finish(7))
		return b
	}
	empty := func(number uint64) []byte {
		p, b := place{testLogID, number}, make([]byte, 8<<10)
		p.fillPattern(b, 0)
		putSegmentHeader(b, p, int64(len(b)))
		return b
	}
	d := disk{segmentName(4): seal(4), segmentName(5): empty(5)}
	d.noticed(t, model{}, false, "two segments")
	d.with(segmentName(5), seal(5)).with(segmentName(6), empty(6)).noticed(t, model{}, false, "three segments")
	disk{segmentName(4): empty(4)}.noticed(t, model{}, false, "one segment")
}

// TestCompactionRacesAppends: appends, compactions by horizon and reads at once, and a crash at any moment: the log goes from
// an acknowledged base to an acknowledged entry at least, and holds all between.
func TestCompactionRacesAppends(t *testing.T) {
	fs := waltest.New()
	l := openTest(t, fs)
	var last, base atomic.Uint64 // acknowledged
	var images sync.WaitGroup
	var operations atomic.Uint64
	check := func(l *Log, last, base uint64) {
		s := l.State(0)
		assert.GreaterOrEqual(t, uint64(s.Last.Index), last)
		assert.GreaterOrEqual(t, uint64(s.Base.ID.Index), base)
		got, err := l.Entries(0, s.Base.ID.Index+1, s.Last.Index+1, 1<<20)
		if !errors.Is(err, ErrCompacted) {
			assert.NoError(t, err)
			assert.Equal(t, entries(1, s.Base.ID.Index+1, s.Last.Index+1), got)
		}
	}
	fs.Hook(func(op waltest.Op) error {
		n := operations.Add(1)
		if !op.Kind.Changes() || n%16 != 0 {
			return nil
		}
		last, base := last.Load(), base.Load()
		crashed := fs.Crash(waltest.Modes[n/16%4], seeded(n))
		images.Go(func() {
			l, err := Open(crashed, "/log", Options{SegmentBytes: 8 << 10, LogID: testLogID})
			if assert.NoError(t, err, "before %+v", op) {
				check(l, last, base)
				assert.NoError(t, l.Close())
			}
		})
		return nil
	})
	const most = 600
	var work sync.WaitGroup
	work.Go(func() {
		for i := rpc.Index(1); i <= most; i++ {
			assert.NoError(t, l.Append(Batch{Entries: entries(1, i, i+1)}))
			last.Store(uint64(i))
		}
	})
	work.Go(func() {
		for last.Load() < most {
			h := l.Horizon(0, rpc.Index(last.Load()), 16<<10)
			if h == 0 {
				continue
			}
			assert.Greater(t, uint64(h), base.Load())
			assert.NoError(t, l.Compact(0, Base{ID: rpc.EntryID{Term: 1, Index: h}, Configuration: []byte("c")}))
			base.Store(uint64(h))
		}
	})
	work.Go(func() {
		for last.Load() < most {
			s := l.State(0)
			got, err := l.Entries(0, s.Base.ID.Index+1, s.Last.Index+1, 1<<20)
			if err == nil {
				assert.Equal(t, entries(1, s.Base.ID.Index+1, s.Last.Index+1), got)
			} else {
				assert.ErrorIs(t, err, ErrCompacted)
			}
		}
	})
	work.Wait()
	fs.Hook(nil)
	images.Wait()
	require.NotZero(t, base.Load())
	require.NoError(t, l.Close())
	l = openTest(t, fs)
	check(l, most, base.Load())
	require.NoError(t, l.Close())
}

// TestCompactionRacesInstalledSnapshots: an older base than the one that an Append brings at the same moment changes nothing, whichever
// is first, and is no error.
func TestCompactionRacesInstalledSnapshots(t *testing.T) {
	l := openTest(t, waltest.New())
	for i := rpc.Index(1); i <= 2000; i++ {
		installed := Base{ID: rpc.EntryID{Term: 1, Index: 2*i + 1}}
		var work sync.WaitGroup
		work.Go(func() { assert.NoError(t, l.Append(Batch{Base: &installed})) })
		work.Go(func() { assert.NoError(t, l.Compact(0, Base{ID: rpc.EntryID{Term: 1, Index: 2 * i}})) })
		work.Wait()
		require.Equal(t, installed.ID, l.State(0).Base.ID)
	}
	require.NoError(t, l.Close())
}

// TestCompactionRecoversFullDisk: on a full disk compaction frees whole segments, in their place the next one is made, and
// appends go on; even when elections have used up what is kept free for them (F21).
func TestCompactionRecoversFullDisk(t *testing.T) {
	for _, inline := range []bool{false, true} {
		t.Run(fmt.Sprintf("inline=%v", inline), func(t *testing.T) {
			fs := waltest.New()
			small := &quota{fs: fs, files: 5}
			fs.Hook(small.hook)
			o := Options{SegmentBytes: 16 << 10, LogID: testLogID, Inline: inline}
			l, err := Open(fs, "/log", o)
			require.NoError(t, err)
			m, next, term := model{}, rpc.Index(1), rpc.Term(1)
			add := func(b Batch) error {
				err := l.Append(b)
				if err == nil {
					m = m.with(b)
				}
				return err
			}
			for range 3 {
				for err = nil; err == nil; next++ {
					err = add(Batch{Entries: entries(1, next, next+1)})
				}
				next--
				require.ErrorIs(t, err, ErrFull)
				for err = nil; err == nil; term++ {
					err = add(Batch{HardState: &rpc.HardState{Term: term}})
				}
				term--
				require.ErrorIs(t, err, ErrFull)
				h := l.Horizon(0, next-1, 0)
				require.NotZero(t, h)
				b := Base{ID: rpc.EntryID{Term: 1, Index: h}, Configuration: make([]byte, 300)}
				require.NoError(t, l.Compact(0, b))
				m = m.with(Batch{Base: &b})
				m.check(t, l)
				require.Eventually(t, func() bool { return l.Room() == nil }, retryWithin, retryEvery)
				require.NoError(t, add(Batch{HardState: &rpc.HardState{Term: term}}))
			}
			require.NoError(t, l.Close())
			l, err = Open(fs, "/log", o)
			require.NoError(t, err)
			m.check(t, l)
			require.NoError(t, l.Close())
		})
	}
}

// Segments that go while too many files are open go with a later compaction: in order, each durable before the next, and the log is well (F21).
func TestCompactionWhileTooManyFilesAreOpen(t *testing.T) {
	fs := waltest.New()
	l := openInline(t, fs)
	last := fill(t, l, 5)
	opens, changes := 0, []string{}
	fs.Hook(func(op waltest.Op) error {
		switch {
		case op.Kind == waltest.Open && op.Name == l.folder.dir:
			if opens++; opens == 2 {
				return syscall.EMFILE
			}
		case op.Kind == waltest.Remove, op.Kind == waltest.Sync && op.Name == l.folder.dir:
			changes = append(changes, string(op.Kind))
		}
		return nil
	})
	base := Base{ID: rpc.EntryID{Term: 1, Index: last}}
	require.NoError(t, l.Compact(0, base))
	require.Equal(t, []string{"remove", "sync"}, changes)
	require.NoError(t, l.Room())
	require.NoError(t, l.Append(Batch{Entries: entries(1, last+1, last+2)}))
	changes = nil
	require.NoError(t, l.Compact(0, base))
	require.Equal(t, slices.Repeat([]string{"remove", "sync"}, 3), changes)
	numbers, _, err := l.folder.list()
	require.NoError(t, err)
	require.Len(t, numbers, l.Stats().Segments+1, "and the one that is ready")
	require.NoError(t, l.Close())
}

// slowClose is a file system that takes its time to close segments, once it is slow: a disk frees the space of a removed one then.
type slowClose struct {
	*waltest.FS
	slow          atomic.Bool
	closing, goOn chan struct{}
}

func (f *slowClose) OpenReadWrite(name string, category vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, category, o...)
	return slowFile{file, f}, err
}

type slowFile struct {
	vfs.File
	fs *slowClose
}

func (f slowFile) Close() error {
	if f.fs.slow.Load() {
		f.fs.closing <- struct{}{}
		<-f.fs.goOn
	}
	return f.File.Close()
}

// Nobody waits while a removed segment is closed, by who compacts or by the last who read it: the loop asks the log for room (F22).
func TestNobodyWaitsForTheCloseOfARemovedSegment(t *testing.T) {
	fs := &slowClose{FS: waltest.New(), closing: make(chan struct{}), goOn: make(chan struct{})}
	l := openInline(t, fs)
	last := fill(t, l, 3)
	reading, readOn := make(chan struct{}), make(chan struct{})
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Read {
			reading <- struct{}{}
			<-readOn
		}
		return nil
	})
	read, compacted := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := l.Entries(0, 1, 2, 1)
		read <- err
	}()
	<-reading
	fs.slow.Store(true)
	go func() { compacted <- l.Compact(0, Base{ID: rpc.EntryID{Term: 1, Index: last}}) }()
	goesOn := func() {
		<-fs.closing
		room := make(chan error, 1)
		go func() { room <- l.Room() }()
		select {
		case err := <-room:
			require.NoError(t, err)
		case <-time.After(10 * time.Second):
			require.Fail(t, "the log stands still while a segment is closed")
		}
		fs.goOn <- struct{}{}
	}
	goesOn()
	require.NoError(t, <-compacted)
	require.Equal(t, 1, l.Stats().Segments)
	close(readOn)
	goesOn()
	require.NoError(t, <-read)
	fs.slow.Store(false)
	require.NoError(t, l.Close())
}
