package wal

// Damage that is confined to payloads of entries: listed, never read, repaired to the very bytes that were written and to
// nothing else, whatever fails meanwhile. What else is damaged is refused (D1 to D4, F18, F19, K50 to K52).

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

func openReporting(fs vfs.FS) (*Log, error) {
	return Open(fs, "/log", Options{SegmentBytes: 8 << 10, LogID: testLogID, Inline: true, ReportDamaged: true})
}

// damagedIn counts the entries that the log says are damaged.
func damagedIn(l *Log) (n int) {
	for id := range l.groups {
		n += len(l.State(id).Damaged)
	}
	return n
}

// checkReads reads all of the log: each entry is the model's, or refused by name.
func (m model) checkReads(t require.TestingT, l *Log, what string) {
	for id, g := range m {
		s := l.State(id)
		require.Equal(t, g.last(), s.Last, what)
		require.Equal(t, g.hard, s.HardState, what)
		for lo := g.base.ID.Index + 1; lo <= s.Last.Index; lo++ {
			got, err := l.Entries(id, lo, s.Last.Index+1, 3000)
			want := g.log[lo-g.base.ID.Index-1:]
			var bad *CorruptError
			if errors.As(err, &bad) {
				require.Equal(t, want[0].ID(), bad.Entry, what)
				require.Equal(t, id, bad.Group, what)
				require.Contains(t, s.Damaged, bad.Entry, what)
				require.Empty(t, got, what)
				continue
			}
			require.NoError(t, err, what)
			require.NotEmpty(t, got, what)
			require.Equal(t, want[:len(got)], got, what)
			require.NotContains(t, s.Damaged, want[0].ID(), what)
		}
	}
}

// repairAll repairs what is damaged, from the model, and tries wrong entries before.
func (m model) repairAll(t require.TestingT, l *Log, what string) {
	for id, g := range m {
		for _, d := range l.State(id).Damaged {
			e := g.log[d.Index-g.base.ID.Index-1]
			require.Equal(t, e.ID(), d, what)
			for name, change := range map[string]func(*rpc.Entry){
				"kind":   func(e *rpc.Entry) { e.Kind++ },
				"time":   func(e *rpc.Entry) { e.Time++ },
				"data":   func(e *rpc.Entry) { e.Data = slices.Clone(e.Data); e.Data[0] ^= 4 },
				"longer": func(e *rpc.Entry) { e.Data = append(slices.Clone(e.Data), 0) },
				"none":   func(e *rpc.Entry) { e.Data = nil },
				"forged": func(e *rpc.Entry) { e.Data = forge(e.Data) },
			} {
				wrong := e
				change(&wrong)
				require.ErrorIs(t, l.Repair(id, wrong), ErrInvalid, "%s: %s", what, name)
			}
			other := e
			other.Term++
			require.NoError(t, l.Repair(id, other), "an entry that the log does not hold")
			require.Contains(t, l.State(id).Damaged, d, what)
			require.NoError(t, l.Repair(id, e), what)
			require.NotContains(t, l.State(id).Damaged, d, what)
			require.NoError(t, l.Repair(id, e), "once more")
		}
	}
}

// forge returns other data, four bytes longer, with the same checksum. A checksum is linear, so that each bit of those bytes
// changes a fixed set of its bits: which ones to set follows by elimination.
func forge(data []byte) []byte {
	longer := append(slices.Clone(data), 0, 0, 0, 0)
	tail, zero := longer[len(data):], checksum(longer)
	var change, chosen [32]uint32 // by highest bit of change: what setting the bits chosen does
	for bit := range 32 {
		binary.LittleEndian.PutUint32(tail, 1<<bit)
		c, b := checksum(longer)^zero, uint32(1)<<bit
		for c != 0 && change[bits.Len32(c)-1] != 0 {
			top := bits.Len32(c) - 1
			c, b = c^change[top], b^chosen[top]
		}
		change[bits.Len32(c)-1], chosen[bits.Len32(c)-1] = c, b
	}
	set := uint32(0)
	for want := checksum(data) ^ zero; want != 0; {
		top := bits.Len32(want) - 1
		want, set = want^change[top], set^chosen[top]
	}
	binary.LittleEndian.PutUint32(tail, set)
	return longer
}

func TestForge(t *testing.T) {
	forged := forge([]byte("some data"))
	require.Len(t, forged, 13)
	require.Equal(t, checksum([]byte("some data")), checksum(forged))
}

// repaired opens the disk, which was damaged: it must be refused, with nothing changed, or become again what it was. It
// reports how many entries had to be repaired, or -1 if the disk was refused.
func (d disk) repaired(t *testing.T, m model, sound disk, what string) int {
	fs := d.files(t)
	l, err := openReporting(fs)
	if d.refused(t, fs, err, what) {
		return -1
	}
	require.NoError(t, err, what)
	n := damagedIn(l)
	if m.checkReads(t, l, what); n > 0 {
		m.repairAll(t, l, what)
		for name, b := range sound {
			require.True(t, bytes.Equal(b, readFile(t, fs, "/log/"+name)), "%s: %s", what, name)
		}
		require.Empty(t, m.differs(l), what)
	}
	require.NoError(t, l.Close())
	return n
}

// payloads returns where payloads of entries are in a segment.
func payloads(number uint64, b []byte) (spans []span) {
	s := &segment{place: place{testLogID, number}, size: int64(len(b))}
	im := image{place: s.place, data: b}
	sequence := uint64(0)
	_, _ = im.scan(&sequence, func(offset int64, h batchHeader, body []byte, _ bool) error {
		return s.records(offset, h, body, true, func(h header, payload []byte, at int64, _ bool) error {
			if h.kind == kindEntry && len(payload) > 0 {
				spans = append(spans, span{at + headerBytes, at + h.bytes()})
			}
			return nil
		})
	})
	return spans
}

func within(spans []span, at int64) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return at >= s.start && at < s.end })
}

// livingLog is a log of 64 KiB of two groups, without entries that were replaced or compacted, so that each damaged payload
// counts.
func livingLog(t testing.TB) (disk, model) {
	fs := vfs.NewMem()
	l, s, m := openInline(t, fs), &script{rng: seeded(8), most: 900}, model{}
	for i := 0; l.Stats().Segments < 7 || l.active.end < 3000; i++ {
		id := GroupID(i % 2)
		g := m[id]
		b := Batch{Group: id, HardState: s.hardState(g.hard), Entries: s.entries(&modelGroup{base: Base{ID: g.last()}})}
		require.NoError(t, l.Append(b))
		m = m.with(b)
	}
	require.NoError(t, l.Room(), "makes the segment after the active one")
	m.check(t, l)
	require.NoError(t, l.Close())
	return readDisk(t, fs), m
}

// TestRepairEverySector loses sectors, in all the ways that disks do: within a large payload they are repaired.
func TestRepairEverySector(t *testing.T) {
	t.Parallel() // a sweep: it works, and shares nothing
	fs := vfs.NewMem()
	l, m := openInline(t, fs), model{}
	for i := rpc.Index(1); i < 9; i++ {
		b := Batch{Entries: entries(1, i, i+1)}
		b.Entries[0].Data = bytes.Repeat(fmt.Appendf(nil, "%8d", i), 300)
		require.NoError(t, l.Append(b))
		m = m.with(b)
	}
	require.NoError(t, l.Close())
	d := readDisk(t, fs)
	require.Greater(t, len(d), 3)
	repaired := 0
	for i, name := range d.names() {
		p, spans := place{testLogID, uint64(i + 1)}, payloads(uint64(i+1), d[name])
		for at := int64(0); at < int64(len(d[name])); at += sectorBytes {
			pattern := make([]byte, sectorBytes)
			p.fillPattern(pattern, at)
			for what, with := range map[string][]byte{
				"zeros": make([]byte, sectorBytes), "ones": bytes.Repeat([]byte{0xff}, sectorBytes),
				"another": d[segmentName(1)][2*sectorBytes : 3*sectorBytes], "never written": pattern,
			} {
				b := slices.Clone(d[name])
				if copy(b[at:], with); bytes.Equal(b, d[name]) {
					continue
				}
				what := fmt.Sprintf("%s: sector at %d: %s", name, at, what)
				last := i == len(d)-1 && at >= d.lastBatch(i)
				if last && bytes.Equal(with, pattern) {
					continue // a torn batch, as far as anybody can tell (DESIGN.md, section 7)
				}
				n := d.with(name, b).repaired(t, m, d, what)
				if changedWithin(spans, d[name], b) {
					require.Equal(t, 1, n, what)
					repaired++
				} else {
					require.LessOrEqual(t, n, 0, what)
				}
			}
		}
	}
	require.Greater(t, repaired, 50)
}

// changedWithin reports whether a and b differ in the spans only.
func changedWithin(spans []span, a, b []byte) bool {
	for i := range a {
		if a[i] != b[i] && !within(spans, int64(i)) {
			return false
		}
	}
	return true
}

// lastBatch is the offset of the last batch of segment number i+1.
func (d disk) lastBatch(i int) int64 {
	im := image{place: place{testLogID, uint64(i + 1)}, data: d[segmentName(uint64(i+1))]}
	sequence := uint64(0)
	t, _ := im.scan(&sequence, func(int64, batchHeader, []byte, bool) error { return nil })
	return t.last
}

// damage flips a bit in the middle of the payload of entry i, and returns the sectors that payload is in.
func damage(t require.TestingT, l *Log, fs vfs.FS, g GroupID, i rpc.Index) span {
	l.mu.Lock()
	s := l.groups[g].stretches(i, i+1, 0)
	l.mu.Unlock()
	defer l.release(s)
	var at span
	r := reader{group: g, window: windowBytesMin}
	_, err := r.walk(s[0], func(offset int64, h header) (bool, error) {
		at = span{offset + headerBytes, offset + h.bytes()}
		return false, nil
	})
	require.NoError(t, err)
	require.Less(t, at.start, at.end)
	flipBit(t, fs, "/log/"+s[0].segment.name, (at.start+at.end)/2*8+3)
	return span{sectorsDown(at.start), sectorsUp(at.end)}
}

// damagedLog is a log in several segments with damaged entries in the middle, next to each other, in one sector, and in the
// last batch; the files it is in; and what it should hold.
func damagedLog(t *testing.T) (fs *waltest.FS, m model, sectors map[string][]span) {
	fs, m, sectors = waltest.New(), model{}, map[string][]span{}
	l := openInline(t, fs)
	add := func(b Batch) {
		require.NoError(t, l.Append(b))
		m = m.with(b)
	}
	add(Batch{Base: &Base{Configuration: []byte("table")}, HardState: &rpc.HardState{Term: 1, Vote: "n1"}, Entries: entries(1, 1, 30)})
	for i := rpc.Index(30); l.Stats().Segments < 3; i += 4 {
		b := Batch{Entries: entries(1, i, i+4)}
		for n := range b.Entries {
			b.Entries[n].Data = bytes.Repeat(b.Entries[n].Data, 20)
		}
		add(b)
	}
	add(Batch{HardState: &rpc.HardState{Term: 2, Vote: "n3"}, Entries: entries(1, l.State(0).Last.Index+1, l.State(0).Last.Index+9)})
	last := l.State(0).Last.Index
	for _, i := range []rpc.Index{2, 9, 10, 11, 31, 32, 40, last - 6, last} {
		l.mu.Lock()
		name := l.groups[0].stretches(i, i+1, 0)[0].segment.name
		l.mu.Unlock()
		sectors[name] = append(sectors[name], damage(t, l, fs, 0, i))
	}
	require.Len(t, sectors, 3)
	for name := range sectors { // the damage is on the disk
		f, err := fs.OpenReadWrite("/log/"+name, diskCategory)
		require.NoError(t, err)
		require.NoError(t, errors.Join(f.Sync(), f.Close()))
	}
	require.NoError(t, l.Close())
	return fs, m, sectors
}

// TestCrashWhileRepairing: at every operation of the start of a damaged log and of its repairs. What was repaired stays so,
// the rest is found damaged again or is whole, and until it is repaired the start writes over none of it (D4).
func TestCrashWhileRepairing(t *testing.T) {
	t.Parallel() // a sweep: it works, and shares nothing
	fs, m, sectors := damagedLog(t)
	images, opening := 0, true
	rng := seeded(uint64(4 + start))
	var left []rpc.EntryID // damaged
	fs.Hook(func(op waltest.Op) error {
		if !op.Kind.Changes() {
			return nil
		}
		for _, s := range sectors[strings.TrimPrefix(op.Name, "/log/")] {
			if opening && op.Kind == waltest.Write {
				require.False(t, op.Offset < s.end && op.Offset+int64(op.Bytes) > s.start, "%+v writes over %v", op, s)
			}
		}
		for _, mode := range waltest.Modes {
			for range seeds(3, 100) {
				images++
				crashed, what := fs.Crash(mode, rng), fmt.Sprintf("mode %v, before %+v", mode, op)
				l, err := openReporting(crashed)
				require.NoError(t, err, what)
				require.Subset(t, left, l.State(0).Damaged, what)
				m.checkReads(t, l, what)
				m.repairAll(t, l, what)
				require.NoError(t, l.Close())
				l = openTest(t, crashed.Crash(waltest.KeepNothing, nil))
				require.Empty(t, m.differs(l), what)
				require.NoError(t, l.Close())
			}
		}
		return nil
	})
	last := rpc.Index(len(m[0].log))
	for _, i := range []rpc.Index{2, 9, 10, 11, 31, 32, 40, last - 6, last} {
		left = append(left, rpc.EntryID{Term: 1, Index: i})
	}
	l, err := openReporting(fs)
	require.NoError(t, err)
	require.Equal(t, left, l.State(0).Damaged)
	require.EqualValues(t, len(left), l.Stats().Damaged)
	opening = false
	for n := len(left); n > 0; n = len(left) {
		d := left[n*5/8]
		require.NoError(t, l.Repair(0, m[0].log[d.Index-1]))
		left = slices.DeleteFunc(left, func(id rpc.EntryID) bool { return id == d })
		require.Equal(t, append([]rpc.EntryID(nil), left...), l.State(0).Damaged)
	}
	require.EqualValues(t, 9, l.Stats().Repaired)
	fs.Hook(nil)
	require.NoError(t, l.Close())
	t.Logf("%d images", images)
	require.Greater(t, images, 200)
}

// TestFaultWhileRepairing: a write or sync of a repair that fails ends the log, and is never tried again; a restart finds the
// entry damaged or whole (F20, K53). What it finds whole is so after a power loss too: by that it votes and acknowledges (D3).
func TestFaultWhileRepairing(t *testing.T) {
	t.Parallel() // a sweep: it works, and shares nothing
	for _, f := range faults {
		for n := 1; n <= 2; n++ {
			fs, m, _ := damagedLog(t)
			l, err := openReporting(fs)
			require.NoError(t, err)
			b := &breaker{fault: f, left: n, broken: map[string]bool{}}
			fs.Hook(b.hook)
			d := l.State(0).Damaged[4]
			require.ErrorIs(t, l.Repair(0, m[0].log[d.Index-1]), ErrFailed, "%s at operation %d", f.name, n)
			require.ErrorIs(t, l.Repair(0, m[0].log[d.Index-1]), ErrFailed)
			require.ErrorIs(t, l.Append(Batch{HardState: &rpc.HardState{Term: 77}}), ErrFailed)
			require.Contains(t, l.State(0).Damaged, d)
			require.NoError(t, l.Close())
			require.Empty(t, b.retried)
			fs.Hook(nil)
			for _, fs := range []*waltest.FS{fs, fs.Crash(waltest.KeepNothing, nil)} {
				l, err = openReporting(fs)
				require.NoError(t, err)
				shown, after := l.State(0).Damaged, fs.Crash(waltest.KeepNothing, nil)
				m.checkReads(t, l, f.name)
				m.repairAll(t, l, f.name)
				m.check(t, l)
				require.NoError(t, l.Close())
				l, err = openReporting(after)
				require.NoError(t, err)
				require.Equal(t, shown, l.State(0).Damaged, "%s at operation %d: what a start shows as whole is", f.name, n)
				require.NoError(t, l.Close())
			}
		}
	}
}

// TestUnsyncedBatchDamaged: a last batch of which nobody knows whether it was synced, and of which a payload is damaged: what
// the start shows of it stays, and once it is repaired all of it does (K53).
func TestUnsyncedBatchDamaged(t *testing.T) {
	fs := waltest.New()
	l := openInline(t, fs)
	b := Batch{HardState: &rpc.HardState{Term: 4, Vote: "n2"}, Entries: entries(1, 1, 40)}
	require.NoError(t, l.Append(Batch{Entries: entries(1, 1, 2)}))
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Sync {
			return waltest.ErrPagesLost
		}
		return nil
	})
	require.ErrorIs(t, l.Append(b), ErrFailed)
	require.NoError(t, l.Close())
	fs.Hook(nil)
	name := "/log/" + segmentName(1)
	flipBit(t, fs, name, int64(strings.Index(string(readFile(t, fs, name)), "entry 20 of"))*8)
	l, err := openReporting(fs)
	require.NoError(t, err)
	require.Equal(t, []rpc.EntryID{{Term: 1, Index: 20}}, l.State(0).Damaged)
	model{}.with(b).repairAll(t, l, "")
	after := fs.Crash(waltest.KeepNothing, nil)
	require.NoError(t, l.Close())
	l = openTest(t, after)
	model{}.with(b).check(t, l)
	require.NoError(t, l.Close())
}

// TestRepairRefusesOtherDamage: a repair writes nothing into a batch of which more is damaged than payloads.
func TestRepairRefusesOtherDamage(t *testing.T) {
	fs := waltest.New()
	l := openInline(t, fs)
	b := Batch{HardState: &rpc.HardState{Term: 1, Vote: "n1"}, Entries: entries(1, 1, 30)}
	require.NoError(t, l.Append(Batch{Group: 1, Entries: entries(1, 1, 9)}))
	start := l.active.end
	require.NoError(t, l.Append(b))
	end := l.active.end
	damage(t, l, fs, 0, 20)
	_, err := l.Entries(0, 20, 21, 0)
	require.Error(t, err)
	name := "/log/" + segmentName(1)
	for _, at := range []int64{start + 5, start + headerBytes + 3, start + 2*headerBytes + 1, start + 3*headerBytes, end - 1} {
		flipBit(t, fs, name, at*8)
		before := slices.Clone(readFile(t, fs, name))
		var bad *CorruptError
		require.ErrorAs(t, l.Repair(0, b.Entries[19]), &bad, "byte %d", at-start)
		require.Equal(t, before, readFile(t, fs, name))
		require.Len(t, l.State(0).Damaged, 1)
		flipBit(t, fs, name, at*8)
	}
	require.NoError(t, l.Repair(0, b.Entries[19]))
	model{}.with(b, Batch{Group: 1, Entries: entries(1, 1, 9)}).check(t, l)
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Repair(0, b.Entries[19]), ErrClosed)
}

// TestRepairWhileWorking: repairs, appends and reads at once.
func TestRepairWhileWorking(t *testing.T) {
	fs, m, _ := damagedLog(t)
	l, err := openReporting(fs)
	require.NoError(t, err)
	last := rpc.Index(len(m[0].log))
	more := Batch{Entries: entries(3, last+1, last+60)}
	var work sync.WaitGroup
	stop := make(chan struct{})
	work.Go(func() {
		for lo := rpc.Index(1); !closed(stop); lo = lo%last + 1 {
			got, err := l.Entries(0, lo, last+1, 2000)
			var bad *CorruptError
			if errors.As(err, &bad) {
				assert.Equal(t, lo, bad.Entry.Index)
			} else {
				assert.NoError(t, err)
				assert.Equal(t, m[0].log[lo-1:int(lo)-1+len(got)], got)
			}
		}
	})
	work.Go(func() {
		for i := range more.Entries {
			assert.NoError(t, l.Append(Batch{Entries: more.Entries[i : i+1]}))
		}
	})
	for _, d := range l.State(0).Damaged {
		require.NoError(t, l.Repair(0, m[0].log[d.Index-1]))
	}
	close(stop)
	work.Wait()
	m.with(more).check(t, l)
	require.NoError(t, l.Close())
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestUnreadableSector: EIO while the log is opened or repaired is an error of the disk and no damage to repair.
func TestUnreadableSector(t *testing.T) {
	fs, m, _ := damagedLog(t)
	l, err := openReporting(fs)
	require.NoError(t, err)
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Read {
			return syscall.EIO
		}
		return nil
	})
	require.ErrorIs(t, l.Repair(0, m[0].log[1]), syscall.EIO)
	require.Len(t, l.State(0).Damaged, 9)
	_, err = openReporting(fs)
	require.ErrorIs(t, err, syscall.EIO)
	fs.Hook(nil)
	m.repairAll(t, l, "after it")
	m.check(t, l)
	require.NoError(t, l.Close())
}
