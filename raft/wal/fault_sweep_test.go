package wal

// Faults at every operation of a log that is opened again, and writes that stop at every byte (F20, F21).

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// readFaults are ways for the n-th operation to fail that changes nothing.
var readFaults = []fault{
	{"EIO on read", false, func(waltest.Op) error { return syscall.EIO }},
	{"short read", false, func(op waltest.Op) error { return &waltest.Short{Bytes: op.Bytes / 2, Err: syscall.EIO} }},
	{"silent short read", false, func(op waltest.Op) error {
		if op.Kind == waltest.Read {
			return &waltest.Short{Bytes: op.Bytes / 2}
		}
		return syscall.EIO
	}},
}

// scene is a disk that a log is to be opened on, and what that log must hold.
type scene struct {
	name    string
	disk    *waltest.FS
	journal *journal
	damaged bool
}

// scenes are logs as they were shut down, with a segment ready and one half made, or as a crash left them: with a torn batch of several sectors, or in the middle of
// a compaction; and one with damaged entries.
func scenes(t *testing.T) []scene {
	var all []scene
	fs := waltest.New()
	l := openInline(t, fs)
	j := &journal{acked: model{}}
	s := &script{rng: seeded(21), most: 900}
	require.NoError(t, j.work(l, s, 20))
	require.NoError(t, l.Room(), "makes the segment after the active one")
	keep := func(name string, disk *waltest.FS) {
		all = append(all, scene{name: name, disk: disk, journal: &journal{acked: j.acked, underway: j.underway}})
	}
	keep("shut down", fs.Crash(waltest.KeepAll, seeded(0)))
	f, err := all[0].disk.Create("/log/"+segmentName(99)+tempSuffix, diskCategory)
	require.NoError(t, err)
	require.NoError(t, errors.Join(f.Close(), folder{all[0].disk, "/log"}.sync()))
	syncs, compacting := 0, false
	fs.Hook(func(op waltest.Op) error {
		switch {
		case op.Kind == waltest.Remove && len(all) == 1:
			keep("compacting", fs.Crash(waltest.KeepNothing, nil))
		case op.Kind == waltest.Sync && !compacting && syncs == 0:
			syncs++
			keep("torn", fs.Crash(waltest.KeepSectors, seeded(5)))
		}
		return nil
	})
	last := j.acked[0].log[len(j.acked[0].log)-1].ID()
	compacting = true
	for g := range GroupID(4) {
		log := j.acked[g].log
		base := Base{ID: log[len(log)-1].ID()}
		j.begin(j.acked.with(Batch{Group: g, Base: &base}))
		require.NoError(t, l.Compact(g, base))
		j.end(nil)
	}
	compacting = false
	big := Batch{Entries: entries(last.Term, last.Index+1, last.Index+50)}
	j.begin(j.acked.with(big))
	require.NoError(t, l.Append(big))
	require.NoError(t, l.Close())
	fs.Hook(nil)
	require.Len(t, all, 3)
	damaged, m, _ := damagedLog(t)
	return append(all, scene{name: "damaged", disk: damaged, journal: &journal{acked: m}, damaged: true})
}

// use opens the log, reads it, and works on it a little, as far as faults let it. It reports what it acknowledged.
func (s *scene) use(t *testing.T, fs *waltest.FS, what string) *journal {
	j := &journal{acked: s.journal.acked, underway: s.journal.underway}
	l, err := Open(fs, "/log", Options{SegmentBytes: 8 << 10, LogID: testLogID, Inline: true, ReportDamaged: s.damaged})
	if err != nil {
		require.NotErrorAs(t, err, new(*CorruptError), "%s: a fault is no damage", what)
		require.Nil(t, l)
		require.Zero(t, fs.OpenFiles(), "%s: files left open", what)
		return j
	}
	if s.damaged {
		s.repair(t, l, what)
	} else if j.acked.differs(l) != "" && j.underway != nil && j.underway.differs(l) == "" {
		j.acked, j.underway = j.underway, nil
	}
	if s.damaged && damagedIn(l) > 0 {
		require.NoError(t, l.Close(), what)
		return j
	}
	_ = j.work(l, &script{rng: seeded(9), most: 900}, 3)
	require.NoError(t, l.Close(), what)
	require.Zero(t, fs.OpenFiles(), "%s: files left open", what)
	return j
}

// repair repairs what the faults let it: they are errors, and never a wrong entry.
func (s *scene) repair(t *testing.T, l *Log, what string) {
	g, listed := s.journal.acked[0], l.State(0).Damaged
	for i := range g.log {
		got, err := l.Entries(0, rpc.Index(i+1), rpc.Index(i+2), 0)
		var bad *CorruptError
		if err == nil {
			require.Equal(t, g.log[i:i+1], got, what)
		} else if errors.As(err, &bad) {
			require.Contains(t, listed, bad.Entry, "%s: a fault is no damage", what)
		}
	}
	for _, d := range l.State(0).Damaged {
		require.NotErrorAs(t, l.Repair(0, g.log[d.Index-1]), new(*CorruptError), what)
	}
}

// TestFaultWhileOpening: each operation of an Open, of reads, repairs and some work after it fails once, in each way. The log
// says so and stops, or goes on; nothing is lost, no file stays open, and no sync is tried again.
func TestFaultWhileOpening(t *testing.T) {
	t.Parallel() // a sweep: it works, and shares nothing
	runs := 0
	for _, s := range scenes(t) {
		for _, f := range append(slices.Clone(faults), readFaults...) {
			reads := slices.ContainsFunc(readFaults, func(r fault) bool { return r.name == f.name })
			reached := true
			for n := 1; reached; n += stride(1) {
				b := &breaker{fault: f, left: n, broken: map[string]bool{}, reads: reads}
				what := fmt.Sprintf("%s: %s at operation %d", s.name, f.name, n)
				fs := s.disk.Crash(waltest.KeepAll, seeded(1))
				fs.Hook(b.hook)
				after := &scene{name: s.name, disk: fs, journal: s.use(t, fs, what), damaged: s.damaged}
				require.Empty(t, b.retried, "%s: a sync was tried again", what)
				fs.Hook(nil)
				for _, fs := range []*waltest.FS{fs, fs.Crash(waltest.KeepNothing, nil)} {
					if after.mended(t, fs, what); !s.damaged {
						after.journal.survivor(t, fs, what)
					}
				}
				reached = b.left <= 0
				runs++
			}
		}
	}
	t.Logf("%d runs", runs)
	require.Greater(t, runs, map[bool]int{false: 1000, true: 100}[raceDetector])
}

// mended opens a damaged log without faults, repairs the rest of it, and finds it whole.
func (s *scene) mended(t *testing.T, fs *waltest.FS, what string) {
	if !s.damaged {
		return
	}
	l, err := openReporting(fs)
	require.NoError(t, err, what)
	s.repair(t, l, what)
	require.Zero(t, damagedIn(l), what)
	require.Empty(t, s.journal.differs(l), what)
	require.NoError(t, l.Close())
}

// TestK53CutNotSynced: the sync of a torn batch's removal fails, the next process works on, and power is lost. What was torn
// may show again, and is never taken for what was written.
func TestK53CutNotSynced(t *testing.T) {
	refused := 0
	for seed := range uint64(40) {
		fs := waltest.New()
		l := openInline(t, fs)
		j := &journal{acked: model{}}
		add := func(b Batch) error {
			j.begin(j.acked.with(b))
			err := l.Append(b)
			j.end(err)
			return err
		}
		require.NoError(t, add(Batch{Entries: entries(1, 1, 3)}))
		var torn *waltest.FS
		fs.Hook(func(op waltest.Op) error {
			if op.Kind == waltest.Sync {
				torn = fs.Crash(waltest.KeepSectors, seeded(seed))
			}
			return nil
		})
		require.NoError(t, l.Append(Batch{Entries: entries(1, 3, 50)}))
		require.NoError(t, l.Close())
		syncs := 0
		torn.Hook(func(op waltest.Op) error {
			if op.Kind == waltest.Sync && op.Name == "/log/"+segmentName(1) {
				if syncs++; syncs == 2 {
					return waltest.ErrPagesLost
				}
			}
			return nil
		})
		if _, err := Open(torn, "/log", Options{Inline: true}); err == nil {
			continue // nothing was left of it, or all
		}
		torn.Hook(nil)
		l = openInline(t, torn)
		require.NoError(t, add(Batch{HardState: &rpc.HardState{Term: 3, Vote: "n2"}}))
		after := torn.Crash(waltest.KeepNothing, nil)
		require.NoError(t, l.Close())
		l, err := Open(after, "/log", Options{Inline: true})
		if err != nil {
			require.ErrorAs(t, err, new(*CorruptError))
			refused++
			continue
		}
		j.acked.check(t, l)
		require.NoError(t, l.Close())
	}
	require.NotZero(t, refused, "or DESIGN.md, section 7, is wrong")
	require.Less(t, refused, 40)
}

// TestPadding: what fills up a batch matters to nobody. Wherever it is damaged the log opens, and puts it right in the last
// batch, which it writes again anyway.
func TestPadding(t *testing.T) {
	fs := waltest.New()
	l := openInline(t, fs)
	bs := []Batch{{Entries: entries(1, 1, 3)}, {HardState: &rpc.HardState{Term: 2, Vote: "n1"}}, {Entries: entries(2, 3, 5)}}
	var ends []int64
	for _, b := range bs {
		require.NoError(t, l.Append(b))
		ends = append(ends, l.active.end)
	}
	require.NoError(t, l.Close())
	name := "/log/" + segmentName(1)
	sound := slices.Clone(readFile(t, fs, name))
	for i, end := range ends {
		for _, at := range []int64{end - 1, end - 8, end - 30} {
			flipBit(t, fs, name, at*8+5)
			flipped := slices.Clone(readFile(t, fs, name))
			l = openInline(t, fs)
			model{}.with(bs...).check(t, l)
			require.NoError(t, l.Close())
			if i == len(ends)-1 {
				require.Equal(t, sound, readFile(t, fs, name))
				continue
			}
			require.Equal(t, flipped, readFile(t, fs, name))
			flipBit(t, fs, name, at*8+5)
		}
	}
}

// TestRefusedLeavesNothingOpen: a log that is damaged, whatever it is that is, leaves no file open.
func TestRefusedLeavesNothingOpen(t *testing.T) {
	d, _ := smallLog(t)
	last := len(d)
	written := slices.Clone(d[segmentName(uint64(last))])
	written[len(written)-1]++
	second := make([]byte, 8<<10)
	p := place{testLogID, uint64(last + 1)}
	p.fillPattern(second, 0)
	putSegmentHeader(second, p, int64(len(second)))
	for name, d := range map[string]disk{
		"spare written to": d.with(segmentName(uint64(last)), written),
		"a second spare":   d.with(segmentName(p.segment), second),
		"no header":        d.with(segmentName(2), make([]byte, 8<<10)),
		"cut":              d.with(segmentName(1), d[segmentName(1)][:600]),
		"gap":              d.with(segmentName(2), nil),
	} {
		fs := waltest.New()
		require.NoError(t, fs.MkdirAll("/log", 0o700))
		for name, b := range d {
			f, err := fs.Create("/log/"+name, diskCategory)
			require.NoError(t, err)
			_, err = f.Write(slices.Clone(b))
			require.NoError(t, errors.Join(err, f.Close()))
		}
		_, err := Open(fs, "/log", Options{Inline: true})
		require.ErrorAs(t, err, new(*CorruptError), name)
		require.Zero(t, fs.OpenFiles(), name)
	}
}

// stops are where a write of so many bytes is cut short.
func stops(bytes int) (at []int) {
	for k := 0; k < bytes; k++ {
		if k%sectorBytes < 60 || k%sectorBytes > sectorBytes-12 || k > bytes-12 || k%stride(23) == 0 {
			at = append(at, k)
		}
	}
	return at
}

// TestShortWriteAtEveryByte: an append stops after any number of bytes, as a failing write may. A restart finds the log as it
// was, or with all of the batch; also when its own writes stop at any byte, and so on. Only one thing can not be told from
// damage: a batch of which nothing is missing but the last few bytes of an entry's data, right at the end of a sector. That
// entry is reported, as damage is.
func TestShortWriteAtEveryByte(t *testing.T) {
	t.Parallel() // a sweep: it works, and shares nothing
	first := Batch{HardState: &rpc.HardState{Term: 1, Vote: "n1"}, Entries: entries(1, 1, 3)}
	exact := Batch{Entries: entries(1, 3, 5)}
	exact.Entries[1].Data = make([]byte, 3*sectorBytes-3*headerBytes-len(exact.Entries[0].Data))
	for name, b := range map[string]Batch{
		"one sector":         {HardState: &rpc.HardState{Term: 2, Vote: "n2"}},
		"some sectors":       {HardState: &rpc.HardState{Term: 2, Vote: "n2"}, Entries: entries(1, 3, 25)},
		"no padding":         exact,
		"a conflict, a base": {Base: &Base{ID: rpc.EntryID{Term: 1, Index: 1}, Configuration: make([]byte, 700)}, Entries: entries(3, 2, 4)},
	} {
		t.Run(name, func(t *testing.T) {
			reported := 0
			j := &journal{acked: model{}.with(first), underway: model{}.with(first, b)}
			written := 0
			for k, reached := 0, true; reached; {
				fs := waltest.New()
				l := openInline(t, fs)
				require.NoError(t, l.Append(first))
				fs.Hook(func(op waltest.Op) error {
					if op.Kind != waltest.Write {
						return nil
					}
					written = op.Bytes
					return &waltest.Short{Bytes: k, Err: map[bool]error{true: syscall.EIO}[k%2 == 0]}
				})
				require.ErrorIs(t, l.Append(b), ErrFailed)
				require.NoError(t, l.Close())
				fs.Hook(nil)
				what := fmt.Sprintf("%d of %d bytes", k, written)
				j.survivor(t, fs.Crash(waltest.KeepNothing, nil), what)
				if _, err := Open(fs.Crash(waltest.KeepAll, seeded(1)), "/log", Options{Inline: true}); err != nil {
					require.Greater(t, k, written-8, what)
					j.reported(t, fs, b, what)
					reported++
				} else if k%stride(5) == 0 {
					j.stopsAgain(t, fs, what)
				}
				next := slices.IndexFunc(stops(written), func(s int) bool { return s > k })
				if reached = next >= 0; reached {
					k = stops(written)[next]
				}
			}
			require.Equal(t, map[bool]int{true: 7}[name == "no padding"], reported)
		})
	}
}

// reported repairs the last entry of b, on a copy of the disk.
func (j *journal) reported(t *testing.T, fs *waltest.FS, b Batch, what string) {
	last := b.Entries[len(b.Entries)-1]
	l, err := openReporting(fs.Crash(waltest.KeepAll, seeded(1)))
	require.NoError(t, err, what)
	require.Equal(t, []rpc.EntryID{last.ID()}, l.State(0).Damaged, what)
	require.NoError(t, l.Repair(0, last), what)
	j.underway.check(t, l)
	require.NoError(t, l.Close())
}

// stopsAgain opens the disk with each write of recovery cut short at many a byte, and once more after that.
func (j *journal) stopsAgain(t *testing.T, fs *waltest.FS, what string) {
	for n := 1; ; n++ {
		bytes := 0
		for k := 0; k <= bytes; k++ {
			again, left := fs.Crash(waltest.KeepAll, seeded(1)), n
			again.Hook(func(op waltest.Op) error {
				if op.Kind != waltest.Write {
					return nil
				}
				if left--; left != 0 {
					return nil
				}
				bytes = op.Bytes
				return &waltest.Short{Bytes: k, Err: syscall.EIO}
			})
			l, err := Open(again, "/log", Options{Inline: true})
			again.Hook(nil)
			if left > 0 {
				require.NoError(t, errors.Join(err, l.Close()), what)
				return
			}
			require.ErrorIs(t, err, syscall.EIO, what)
			l, err = Open(again, "/log", Options{Inline: true})
			require.NoError(t, err, "%s, then %d of %d bytes of write %d", what, k, bytes, n)
			require.Empty(t, j.differs(l), what)
			require.NoError(t, l.Close())
			if k > 16 && k < bytes-16 && k%sectorBytes > 16 && k%sectorBytes < sectorBytes-16 {
				k += stride(97)
			}
		}
	}
}
