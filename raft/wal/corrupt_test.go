package wal

// Damage at rest: every flipped bit, every cut, every lost, swapped or stale sector, every missing file is either noticed
// or did not matter. An acknowledged log is never shorter or other than it was (D1, D2, F18, F23).

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// disk is the files of a log's folder.
type disk map[string][]byte

func readDisk(t require.TestingT, fs vfs.FS) disk {
	names, err := fs.List("/log")
	require.NoError(t, err)
	d := disk{}
	for _, name := range names {
		d[name] = slices.Clone(readFile(t, fs, "/log/"+name))
	}
	return d
}

// with returns the disk with one file changed; nil removes it.
func (d disk) with(name string, b []byte) disk {
	c := maps.Clone(d)
	if c[name] = b; b == nil {
		delete(c, name)
	}
	return c
}

func (d disk) names() []string { return slices.Sorted(maps.Keys(d)) }

// files makes a file system of it. Files share no memory with the disk.
func (d disk) files(t require.TestingT) vfs.FS {
	fs := vfs.NewMem()
	require.NoError(t, fs.MkdirAll("/log", 0o700))
	for name, b := range d {
		f, err := fs.Create("/log/"+name, diskCategory)
		require.NoError(t, err)
		_, err = f.Write(slices.Clone(b)) // Write may change what it is given
		require.NoError(t, errors.Join(err, f.Close()))
	}
	return fs
}

// noticed opens the disk: it must be refused as corrupt, with nothing changed, or, if allowed, be as the model says.
func (d disk) noticed(t *testing.T, m model, harmless bool, what string) {
	fs := d.files(t)
	l, err := Open(fs, "/log", Options{SegmentBytes: 8 << 10, Inline: true})
	if d.refused(t, fs, err, what) {
		return
	}
	require.NoError(t, err, what)
	require.True(t, harmless, "%s: not noticed", what)
	require.Empty(t, m.differs(l), what)
	require.NoError(t, l.Close())
}

// refused reports whether err is that of a damaged log, of which nothing was changed then.
func (d disk) refused(t *testing.T, fs vfs.FS, err error, what string) bool {
	var bad *CorruptError
	if !errors.As(err, &bad) {
		return false
	}
	require.NotEmpty(t, bad.Segment, what)
	for name, b := range d {
		require.True(t, bytes.Equal(b, readFile(t, fs, "/log/"+name)), "%s: suspect file %s was changed (D4)", what, name)
	}
	return true
}

// smallLog is a log of two groups in several segments, as its files, with all of it acknowledged.
func smallLog(t *testing.T) (disk, model) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	j, s := &journal{acked: model{}}, &script{rng: seeded(5), most: 700}
	for l.Stats().Segments < 3 {
		require.NoError(t, j.work(l, s, 1))
	}
	require.NoError(t, j.work(l, s, 2))
	require.Greater(t, l.active.end, int64(3*sectorBytes))
	require.Eventually(t, l.prep.hasReady, 10*time.Second, time.Millisecond, "the segment after the active one")
	require.NoError(t, l.Close())
	return readDisk(t, fs), j.acked
}

// stride is the step of a sweep: 1 in the whole long run, quick else. The race detector, which finds nothing in sweeps of one
// goroutine and makes them slow, sees fewer.
func stride(quick int) int {
	switch {
	case raceDetector:
		return 8*quick - 1
	case share > 0:
		return min(share, quick)
	default:
		return quick
	}
}

// TestEveryBitFlip flips each bit of a log of 64 KiB, hard states and all: no entry is ever read otherwise than it was written,
// the log is never shorter, and what is repaired is again what it was, to the byte. In a payload each flip is repaired,
// elsewhere it is refused, or of no matter.
func TestEveryBitFlip(t *testing.T) {
	t.Parallel() // a sweep: it works, and shares nothing
	d, m := livingLog(t)
	var images, repaired, refused atomic.Int64
	t.Run("files", func(t *testing.T) {
		for i, name := range d.names() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				spans := payloads(uint64(i+1), d[name])
				for bit := i + start; bit < len(d[name])*8; bit += stride(203) {
					b, what := slices.Clone(d[name]), fmt.Sprintf("bit %d of %s", bit, name)
					b[bit/8] ^= 1 << (bit % 8)
					flipped := d.with(name, b)
					flipped.noticed(t, m, !within(spans, int64(bit/8)), what)
					n := flipped.repaired(t, m, d, what)
					require.Equal(t, within(spans, int64(bit/8)), n == 1, what)
					images.Add(1)
					repaired.Add(int64(max(n, 0)))
					refused.Add(int64(-min(n, 0)))
				}
			})
		}
	})
	t.Logf("%d images from %d on, %d repaired, %d refused", images.Load(), start, repaired.Load(), refused.Load())
	require.Greater(t, images.Load(), int64(map[bool]int{false: 2500, true: 250}[raceDetector]))
	require.Greater(t, repaired.Load(), images.Load()/4)
	require.Greater(t, refused.Load(), images.Load()/20)
}

// TestEveryCut cuts a file of a log of 64 KiB at each byte; and at some, all that comes after it is gone as well.
func TestEveryCut(t *testing.T) {
	t.Parallel() // a sweep: it works, and shares nothing
	d, m := livingLog(t)
	for i, name := range d.names() {
		for n := start; n < len(d[name]); n += stride(61) {
			cut := d.with(name, d[name][:n:n])
			cut.noticed(t, m, false, fmt.Sprintf("%s cut to %d bytes", name, n))
			if n%7 > 0 {
				continue
			}
			require.Equal(t, -1, cut.repaired(t, m, d, "cut"), "%s cut to %d bytes, reporting", name, n)
			for _, later := range d.names()[i+1:] {
				cut = cut.with(later, nil)
			}
			cut.noticed(t, m, false, fmt.Sprintf("%s cut to %d bytes, and nothing after it", name, n))
		}
		d.with(name, append(slices.Clip(d[name]), 0)).noticed(t, m, false, name+" one byte longer")
		d.with(name, append(slices.Clip(d[name]), make([]byte, sectorBytes)...)).noticed(t, m, false, name+" one sector longer")
	}
}

// TestEverySector replaces each sector by zeros, by ones, and by a few others of the log.
func TestEverySector(t *testing.T) {
	t.Parallel() // a sweep: it works, and shares nothing
	d, m := smallLog(t)
	rng := seeded(1)
	for _, name := range d.names() {
		for at := 0; at < len(d[name]); at += sectorBytes {
			put := func(with []byte, what string) {
				b := slices.Clone(d[name])
				if copy(b[at:at+sectorBytes], with); string(b) == string(d[name]) {
					return
				}
				d.with(name, b).noticed(t, m, true, fmt.Sprintf("%s: sector at %d: %s", name, at, what))
			}
			put(make([]byte, sectorBytes), "zeros")
			put([]byte(strings.Repeat("\xff", sectorBytes)), "ones")
			for range 2 * 40 / stride(10) {
				from := d.names()[rng.IntN(len(d))]
				i := rng.IntN(len(d[from])/sectorBytes) * sectorBytes
				put(d[from][i:i+sectorBytes], fmt.Sprintf("that of %s at %d", from, i))
			}
		}
	}
}

// TestK57MissingFile: no file of a log can go missing unnoticed, above all not the one at its end.
func TestK57MissingFile(t *testing.T) {
	d, m := smallLog(t)
	names := d.names()
	spare := names[len(names)-1]
	require.True(t, image{place: place{testLogID, uint64(len(names))}}.unused(d[spare]))
	disk{spare: d[spare]}.noticed(t, m, false, "all but the unused one removed")
	for i, name := range names {
		d.with(name, nil).noticed(t, m, name == spare, name+" removed")
		for _, other := range names[i+1:] {
			d.with(name, nil).with(other, nil).noticed(t, m, false, name+" and "+other+" removed")
			d.with(name, d[other]).noticed(t, m, false, other+" in place of "+name)
		}
	}
}

func (im image) unused(b []byte) bool {
	im.data = b
	return im.patternFrom(sectorBytes) == sectorBytes
}

// TestMissingAfterCompaction: nor the first file of a log that was compacted.
func TestMissingAfterCompaction(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	var bs []Batch
	for i := rpc.Index(1); i < 300; i++ {
		bs = append(bs, Batch{Entries: entries(1, i, i+1)})
		require.NoError(t, l.Append(bs[i-1]))
	}
	base := Base{ID: rpc.EntryID{Term: 1, Index: 100}}
	require.NoError(t, l.Compact(0, base))
	m := model{}.with(bs...).with(Batch{Base: &base})
	require.NoError(t, l.Close())
	d := readDisk(t, fs)
	require.Greater(t, len(d), 4)
	require.NotContains(t, d, segmentName(1))
	d.noticed(t, m, true, "complete")
	for _, name := range d.names()[:len(d)-1] {
		d.with(name, nil).noticed(t, m, false, name+" removed")
	}
}

// TestK52CutInMidLog: what is damaged before synced batches is never cut, whether its length, its header, its body or its
// first sector went; the same damage by a crash, at the end of the log, is.
func TestK52CutInMidLog(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	big := Batch{Entries: entries(1, 1, 20)}
	next, after := Batch{Entries: entries(1, 20, 40)}, Batch{HardState: &rpc.HardState{Term: 1}}
	require.NoError(t, l.Append(big))
	start := l.active.end
	require.NoError(t, l.Append(next))
	end := l.active.end
	short := disk{segmentName(1): slices.Clone(readFile(t, fs, "/log/"+segmentName(1)))} // all that counts: the next one is being made meanwhile
	require.NoError(t, l.Append(after))
	require.NoError(t, l.Close())
	full, name := readDisk(t, fs), segmentName(1)
	p := place{testLogID, 1}
	pattern := func(b []byte, from, to int64) []byte {
		b = slices.Clone(b)
		p.fillPattern(b[from:to], from)
		return b
	}
	kept, all := model{}.with(big), model{}.with(big, next, after)
	for at := start; at < end; at += sectorBytes {
		what := fmt.Sprintf("sector at %d never written", at)
		full.with(name, pattern(full[name], at, at+sectorBytes)).noticed(t, all, false, what)
		torn := short.with(name, pattern(short[name], at, at+sectorBytes)).files(t)
		l := openTest(t, torn)
		require.Empty(t, kept.differs(l), what)
		require.NoError(t, l.Append(next), "the place is used again")
		require.NoError(t, l.Close())
		l = openTest(t, torn)
		require.Empty(t, kept.with(next).differs(l), what)
		require.NoError(t, l.Close())
	}
	full.with(name, pattern(full[name], start, end)).noticed(t, all, false, "the whole batch")
	for i := int64(0); i < headerBytes; i++ {
		b := slices.Clone(full[name])
		b[start+i] ^= 0x10
		full.with(name, b).noticed(t, all, false, "batch header")
	}
}

// TestLostWrite: a sector of a sealed segment that was never written, whatever the disk said.
func TestLostWrite(t *testing.T) {
	d, m := smallLog(t)
	for number := uint64(1); number <= 2; number++ {
		name, p := segmentName(number), place{testLogID, number}
		for at := int64(sectorBytes); at < int64(len(d[name])); at += sectorBytes {
			b := slices.Clone(d[name])
			unused := p.isPattern(b[at:at+sectorBytes], at)
			p.fillPattern(b[at:at+sectorBytes], at)
			d.with(name, b).noticed(t, m, unused, fmt.Sprintf("%s: sector at %d", name, at))
			spare := segmentName(uint64(len(d)))
			d.with(name, b).with(spare, nil).noticed(t, m, unused, fmt.Sprintf("%s: sector at %d, and no spare", name, at))
		}
	}
}

// TestForgedHeader: a client can not write a value that looks like a batch, and so have a torn tail taken for damage.
func TestForgedHeader(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	first := Batch{Entries: entries(1, 1, 2)}
	require.NoError(t, l.Append(first))
	start := l.active.end
	forged := make([]byte, 3*sectorBytes)
	for at := sectorBytes - 2*headerBytes; at < len(forged)-headerBytes; at += sectorBytes {
		h := batchHeader{length: sectorBytes - headerBytes, sequence: 3, records: 1}
		h.put(forged[at:], 0)
	}
	require.NoError(t, l.Append(Batch{Entries: []rpc.Entry{{Index: 2, Term: 1, Data: forged}}}))
	require.NoError(t, l.Close())
	d := readDisk(t, fs)
	b := d[segmentName(1)]
	place{testLogID, 1}.fillPattern(b[start:start+sectorBytes], start)
	l = openTest(t, d.files(t))
	model{}.with(first).check(t, l)
	require.NoError(t, l.Close())
}

// TestContradictions: what has all its checksums and yet is not what an append would have written there.
func TestContradictions(t *testing.T) {
	const size = 8 << 10
	p := place{testLogID, 1}
	segment := func(p place, write ...func(e *encoder) uint64) []byte {
		b := make([]byte, size)
		p.fillPattern(b, 0)
		putSegmentHeader(b, p, size)
		end := int64(sectorBytes)
		for _, w := range write {
			e := &encoder{place: p, buf: make([]byte, headerBytes, size), base: end}
			sequence := w(e)
			end += int64(copy(b[end:], e.finish(sequence)))
		}
		return b
	}
	entry := func(i rpc.Index, sequence uint64) func(e *encoder) uint64 {
		return func(e *encoder) uint64 {
			e.record(header{kind: kindEntry, id: rpc.EntryID{Index: i, Term: 1}}, []byte("x"))
			return sequence
		}
	}
	seal := func(e *encoder) uint64 {
		e.record(header{kind: kindSeal, id: rpc.EntryID{Index: 2}}, nil)
		return 2
	}
	second := func(k recordKind, id rpc.EntryID, data string) []byte {
		return segment(place{testLogID, 2}, func(e *encoder) uint64 {
			e.state(0, k, flagCheckpoint, id, []byte(data))
			return entry(2, 3)(e)
		})
	}
	one := rpc.EntryID{Index: 1, Term: 1}
	m := model{}.with(Batch{Entries: []rpc.Entry{{Index: 1, Term: 1, Data: []byte("x")}, {Index: 2, Term: 1, Data: []byte("x")}}})
	good := disk{segmentName(1): segment(p, entry(1, 1), entry(2, 2))}
	good.noticed(t, m, true, "good")
	sealed := disk{segmentName(1): segment(p, entry(1, 1), seal)}
	fs := sealed.with(segmentName(2), second(kindLast, one, "")).files(t)
	l := openTest(t, fs)
	m.check(t, l)
	require.NoError(t, l.Close())
	for what, d := range map[string]disk{
		"starts with batch 2":   {segmentName(1): segment(p, entry(1, 2))},
		"sequence jumps":        {segmentName(1): segment(p, entry(1, 1), entry(2, 3))},
		"sequence repeats":      {segmentName(1): segment(p, entry(1, 1), entry(2, 1))},
		"gap":                   {segmentName(1): segment(p, entry(1, 1), entry(3, 2))},
		"one record more":       {segmentName(1): segment(p, func(e *encoder) uint64 { entry(1, 1)(e); e.records++; return 1 })},
		"unknown kind":          {segmentName(1): segment(p, func(e *encoder) uint64 { e.state(0, 99, 0, one, nil); return 1 })},
		"unknown flag":          {segmentName(1): segment(p, func(e *encoder) uint64 { e.state(0, kindHardState, 1<<5, rpc.EntryID{Term: 1}, nil); return 1 })},
		"checkpoint last":       sealed.with(segmentName(2), second(kindLast, rpc.EntryID{Index: 1, Term: 2}, "")),
		"checkpoint hard state": sealed.with(segmentName(2), second(kindHardState, rpc.EntryID{Term: 1}, "")),
		"checkpoint base":       sealed.with(segmentName(2), second(kindBase, rpc.EntryID{}, "c")),
		"sequence across":       sealed.with(segmentName(2), segment(place{testLogID, 2}, entry(2, 4))),
	} {
		d.noticed(t, m, false, what)
	}
}

// TestTornNeverSynced: whatever subset of the last batch's sectors arrives, the log is as before it or as after it.
func TestTornNeverSynced(t *testing.T) {
	fs := waltest.New()
	l := openTest(t, fs)
	first, last := Batch{Entries: entries(1, 1, 10)}, Batch{Entries: entries(1, 10, 40)}
	require.NoError(t, l.Append(first))
	start := l.active.end
	require.NoError(t, l.Append(last))
	end := l.active.end
	require.NoError(t, l.Close())
	d, name, p := readDisk(t, fs), segmentName(1), place{testLogID, 1}
	sectors := int((end - start) / sectorBytes)
	require.LessOrEqual(t, sectors, 8)
	for subset := range 1 << sectors {
		b := slices.Clone(d[name])
		for i := range sectors {
			if at := start + int64(i)*sectorBytes; subset&(1<<i) == 0 {
				p.fillPattern(b[at:at+sectorBytes], at)
			}
		}
		m := model{}.with(first)
		if subset == 1<<sectors-1 {
			m = m.with(last)
		}
		fs := d.with(name, b).files(t)
		l := openTest(t, fs)
		require.Empty(t, m.differs(l), "sectors %b", subset)
		require.NoError(t, l.Close())
		im := image{place: p, data: readFile(t, fs, "/log/"+name)}
		require.Equal(t, l.active.end, im.patternFrom(l.active.end), "the rest is unused space again")
	}
}

// TestDamagedEntryIsNamed: as long as its header is intact, the error says which entry was damaged.
func TestDamagedEntryIsNamed(t *testing.T) {
	d, _ := smallLog(t)
	im := image{place: place{testLogID, 1}, data: d[segmentName(1)]}
	at := int64(sectorBytes)
	h, ok := parseBatchHeader(im.data[at:], im.salt(at))
	require.True(t, ok)
	require.NotZero(t, h.records)
	named := 0
	for rec := at + headerBytes; ; {
		h, ok := parseHeader(im.data[rec:], im.salt(rec))
		require.True(t, ok)
		if h.kind == kindEntry && h.length > 0 {
			b := slices.Clone(im.data)
			b[rec+headerBytes] ^= 1
			_, err := Open(d.with(segmentName(1), b).files(t), "/log", Options{})
			var bad *CorruptError
			require.ErrorAs(t, err, &bad)
			require.Equal(t, CorruptError{segmentName(1), rec, h.group, h.id, bad.Reason}, *bad)
			require.Contains(t, err.Error(), fmt.Sprintf("%s is damaged at offset %d (group %d, entry %v)", segmentName(1), rec, h.group, h.id))
			named++
		}
		if rec = h.after(rec); h.flags&flagFinal != 0 {
			break
		}
	}
	require.NotZero(t, named)
}

// TestForeignLog: segments of another log, or of another version, are refused.
func TestForeignLog(t *testing.T) {
	d, m := smallLog(t)
	fs := vfs.NewMem()
	l, err := Open(fs, "/log", Options{SegmentBytes: 8 << 10, LogID: testLogID + 1})
	require.NoError(t, err)
	for i := rpc.Index(1); i < 200; i++ {
		require.NoError(t, l.Append(Batch{Entries: entries(1, i, i+1)}))
	}
	require.NoError(t, l.Close())
	other := readDisk(t, fs)
	for _, name := range d.names() {
		d.with(name, other[name]).noticed(t, m, false, "foreign "+name)
	}
	twin := vfs.NewMem()
	l = openTest(t, twin)
	var bs []Batch
	for i := rpc.Index(1); i < 10; i++ {
		bs = append(bs, Batch{Entries: []rpc.Entry{{Index: i, Term: 1, Data: []byte("mine")}}})
		require.NoError(t, l.Append(bs[i-1]))
	}
	end := l.active.end
	require.NoError(t, l.Close())
	mine := readDisk(t, twin)
	for at := int64(sectorBytes); at < end; at += sectorBytes {
		b := slices.Clone(mine[segmentName(1)])
		copy(b[at:at+sectorBytes], other[segmentName(1)][at:])
		mine.with(segmentName(1), b).noticed(t, model{}.with(bs...), false, fmt.Sprintf("foreign sector at %d", at))
	}
	b := slices.Clone(d[segmentName(1)])
	putSegmentHeader(b, place{testLogID, 1}, int64(len(b)))
	b[8]++
	sealHeader(b)
	_, err = Open(d.with(segmentName(1), b).files(t), "/log", Options{})
	require.ErrorContains(t, err, "format version 2")
}

func (p *preparer) hasReady() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready != nil
}
