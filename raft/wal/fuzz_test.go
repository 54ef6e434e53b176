package wal

// Decoders against hostile bytes. FuzzSegment gives raw bytes in the place of the log's files; FuzzReplay gives records whose
// checksums are right, since otherwise no mutation ever gets past them; FuzzDamage writes over a good log.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// openTwice opens a log that may be nonsense. What opens must read without trouble, take an entry, and open again the same.
func openTwice(t *testing.T, d disk) {
	d.requireBounded(t, 2)
	fs, o := d.files(t), Options{SegmentBytes: 8 << 10, Inline: true}
	l, err := Open(fs, "/log", o)
	if err != nil {
		return
	}
	readAll(t, l)
	last := l.State(0).Last
	err = l.Append(Batch{Entries: []rpc.Entry{{Index: last.Index + 1, Term: max(last.Term, 1), Kind: rpc.EntryNoop}}})
	if !errors.Is(err, ErrInvalid) {
		require.NoError(t, err)
	}
	want := map[GroupID]State{}
	for id := range l.groups {
		want[id] = l.State(id)
	}
	require.NoError(t, l.Close())
	l, err = Open(fs, "/log", o)
	require.NoError(t, err)
	for id, s := range want {
		require.Equal(t, s, l.State(id))
	}
	require.NoError(t, l.Close())
}

// requireBounded fails if opening the disk allocates more than factor times what is read, and 64 KiB. The least of some
// runs counts, since the test runner allocates beside it.
func (d disk) requireBounded(t *testing.T, factor int) {
	bytes, least := 0, ^uint64(0)
	for _, b := range d {
		bytes += len(b)
	}
	for range 3 {
		fs := d.files(t)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		l, err := Open(fs, "/log", Options{SegmentBytes: 8 << 10, Inline: true, ReportDamaged: true})
		runtime.ReadMemStats(&after)
		if err == nil {
			require.NoError(t, l.Close())
		}
		if least = min(least, after.TotalAlloc-before.TotalAlloc); least <= uint64(factor*bytes+64<<10) {
			return
		}
	}
	require.Fail(t, "out of proportion", "%d bytes allocated for %d", least, bytes)
}

// TestOpenAllocatesInProportion: whatever a segment holds, memory for it is bounded by its size.
func TestOpenAllocatesInProportion(t *testing.T) {
	const size = 1 << 20
	p := place{testLogID, 1}
	for name, record := range map[string]func(i int) (header, []byte){
		"terms": func(i int) (header, []byte) {
			return header{kind: kindEntry, id: rpc.EntryID{Term: rpc.Term(i), Index: rpc.Index(i)}}, nil
		},
		"groups": func(i int) (header, []byte) {
			return header{kind: kindHardState, group: GroupID(i), id: rpc.EntryID{Term: 1}}, nil
		},
		"configurations": func(i int) (header, []byte) {
			return header{kind: kindEntry, entryKind: rpc.EntryConfiguration, id: rpc.EntryID{Term: 1, Index: rpc.Index(i)}}, nil
		},
		"bases": func(i int) (header, []byte) {
			return header{kind: kindBase, flags: flagReset, id: rpc.EntryID{Term: 1, Index: rpc.Index(i)}}, []byte("c")
		},
		"damaged": func(i int) (header, []byte) {
			return header{kind: kindEntry, id: rpc.EntryID{Term: 1, Index: rpc.Index(i)}}, []byte("x")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := make([]byte, size)
			p.fillPattern(s, 0)
			putSegmentHeader(s, p, size)
			e := encoder{place: p, buf: make([]byte, headerBytes, size), base: sectorBytes}
			for i := 1; len(e.buf) < size-3*sectorBytes; i++ {
				h, data := record(i)
				if e.record(h, data); name == "damaged" {
					e.buf[len(e.buf)-1] = 'y'
				}
			}
			body := e.finish(1)
			if name == "damaged" {
				h := batchHeader{length: uint32(len(body) - headerBytes), sequence: 1, records: e.records}
				h.put(body, p.salt(sectorBytes))
			}
			copy(s[sectorBytes:], body)
			factor := 2
			if name == "terms" {
				factor = 3 // 16 bytes for each record of 48, in a slice that doubles: no cluster writes a log of nothing but new terms
			}
			disk{segmentName(1): s}.requireBounded(t, factor)
			_, err := openReporting(disk{segmentName(1): s}.files(t))
			if refused := name == "groups" || name == "damaged"; refused {
				require.ErrorAs(t, err, new(*CorruptError), "more than there may be")
			} else {
				require.NoError(t, err)
			}
		})
	}
}

func readAll(t *testing.T, l *Log) {
	for id := range l.groups {
		s := l.State(id)
		for lo := s.Base.ID.Index + 1; lo <= s.Last.Index; {
			es, err := l.Entries(id, lo, s.Last.Index+1, 10000)
			require.NoError(t, err)
			require.NotEmpty(t, es)
			lo += rpc.Index(len(es))
		}
	}
}

func FuzzSegment(f *testing.F) {
	fs := vfs.NewMem()
	l := openTest(f, fs)
	require.NoError(f, l.Append(Batch{HardState: &rpc.HardState{Term: 1, Vote: "n1"}, Entries: entries(1, 1, 4)}))
	require.NoError(f, l.Append(Batch{Base: &Base{ID: rpc.EntryID{Term: 1, Index: 2}, Configuration: []byte("c")}}))
	require.NoError(f, l.Close())
	b := readFile(f, fs, "/log/"+segmentName(1))
	f.Add(b)
	f.Add(b[:3*sectorBytes])
	f.Add([]byte(segmentMagic))
	d, _ := livingLog(f)
	f.Add(d[segmentName(1)]) // sealed
	f.Add(d[segmentName(7)]) // begins with a checkpoint
	f.Add(d[segmentName(8)]) // unused
	torn := slices.Clone(b)
	place{testLogID, 1}.fillPattern(torn[2*sectorBytes:3*sectorBytes], 2*sectorBytes)
	f.Add(torn)
	f.Fuzz(func(t *testing.T, b []byte) {
		openTwice(t, disk{segmentName(1): b})
		openTwice(t, disk{segmentName(7): b})
	})
}

// FuzzDamage writes bytes over a good log of 64 KiB. It is refused with nothing changed, or repaired to what it was, or as it
// was all the time.
func FuzzDamage(f *testing.F) {
	d, m := livingLog(f)
	f.Add(uint16(100), []byte("x"))
	f.Add(uint16(700), bytes.Repeat([]byte{0}, 400))
	f.Add(uint16(8<<10+600), d[segmentName(2)][512:1100])
	f.Add(uint16(60<<10), []byte("unused space"))
	f.Fuzz(func(t *testing.T, at uint16, over []byte) {
		name := segmentName(uint64(at)/(8<<10) + 1)
		b := slices.Clone(d[name])
		copy(b[at%(8<<10):], over)
		damaged := d.with(name, b)
		damaged.noticed(t, m, true, "damage")
		damaged.repaired(t, m, d, "damage")
		damaged.requireBounded(t, 2)
	})
}

// fuzzRecordBytes is how many bytes of fuzz input make one record: kind, flags, group, index, term, length.
const fuzzRecordBytes = 6

func FuzzReplay(f *testing.F) {
	e, h, b := byte(kindEntry), byte(kindHardState), byte(kindBase)
	f.Add([]byte{e, 0, 0, 1, 1, 9, e, 0, 0, 2, 1, 200, h, 0, 0, 0, 1, 2, b, 0, 0, 1, 1, 3})
	f.Add([]byte{b, 4, 0, 9, 1, 3, h, 4, 0, 0, 1, 0, byte(kindLast), 4, 0, 12, 1, 0, b, 2, 0, 30, 2, 0, e, 0, 0, 31, 2, 1})
	f.Add([]byte{e, 0, 0, 1, 1, 1, e, 0, 0, 2, 1, 1, 255, 0, 0, 0, 0, 0, e, 0, 0, 2, 2, 1, byte(kindSeal), 0, 0, 2, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p := place{testLogID, 1}
		for _, p.segment = range []uint64{1, 3} {
			openTwice(t, disk{segmentName(p.segment): checksummed(p, b)})
		}
	})
}

// checksummed makes a segment of the records that b stands for; kind 255 begins another batch.
func checksummed(p place, b []byte) []byte {
	const size = 64 << 10
	s := make([]byte, size)
	p.fillPattern(s, 0)
	putSegmentHeader(s, p, size)
	end, sequence := int64(sectorBytes), uint64(1)
	e := encoder{place: p, buf: make([]byte, headerBytes, size), base: end}
	flush := func() {
		if e.records == 0 {
			return
		}
		end += int64(copy(s[end:], e.finish(sequence)))
		sequence++
		e = encoder{place: p, buf: make([]byte, headerBytes, size), base: end}
	}
	for ; len(b) >= fuzzRecordBytes && end+int64(len(e.buf)) < size-2*sectorBytes; b = b[fuzzRecordBytes:] {
		if b[0] == 255 {
			flush()
			continue
		}
		h := header{kind: recordKind(b[0]), flags: b[1] &^ flagFinal, group: GroupID(b[2] % 3), id: rpc.EntryID{Index: rpc.Index(b[3]), Term: rpc.Term(b[4])}}
		if b[3] == 255 {
			h.id.Index = rpc.Index(binary.LittleEndian.Uint32(b))<<32 + 1
		}
		e.record(h, make([]byte, b[5]))
	}
	flush()
	return s
}
