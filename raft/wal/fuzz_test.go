package wal

// Decoders against hostile bytes. FuzzSegment gives raw bytes in the place of the log's files; FuzzReplay gives records whose checksums are
// right, since otherwise no mutation ever gets past them.

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// openTwice opens a log that may be nonsense. What opens must read without trouble, take an entry, and open again the same.
func openTwice(t *testing.T, d disk) {
	fs := d.files(t)
	l, err := Open(fs, "/log", Options{SegmentBytes: 8 << 10})
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
	l, err = Open(fs, "/log", Options{SegmentBytes: 8 << 10})
	require.NoError(t, err)
	for id, s := range want {
		require.Equal(t, s, l.State(id))
	}
	require.NoError(t, l.Close())
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
	f.Fuzz(func(t *testing.T, b []byte) {
		openTwice(t, disk{segmentName(1): b})
		openTwice(t, disk{segmentName(7): b})
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
