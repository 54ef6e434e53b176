package wal

// Reading entries back. Where to read is looked up under the lock, reading happens without it, and every entry's
// checksums are checked again: a disk may forget what it once knew (F18).

import (
	"errors"
	"fmt"

	"github.com/raftbus/raftbus/raft/rpc"
)

const (
	// windowBytesMin and windowBytesMax bound one read of the disk; an entry larger than that has a read of its own.
	windowBytesMin = 16 << 10
	windowBytesMax = 1 << 20
)

// Entries returns entries of group g from lo up to, not including, hi, as far as they are durable: at least one if there
// is one, otherwise no more than maxBytes by Entry.Size. Their Data shares memory with that of their neighbours.
//
// ErrCompacted: lo is at or below the base. *CorruptError: an entry is not what was written. Safe while Append runs: the
// result is what the log held at one moment.
func (l *Log) Entries(g GroupID, lo, hi rpc.Index, maxBytes int) ([]rpc.Entry, error) {
	maxBytes = max(maxBytes, 0)
	stretches, err := l.lookUp(g, lo, hi, maxBytes)
	defer l.release(stretches)
	if err != nil {
		return nil, err
	}
	r := reader{group: g, left: maxBytes, window: max(min(maxBytes, windowBytesMax)+strideBytes, windowBytesMin)}
	for _, s := range stretches {
		if more, err := r.stretch(s); err != nil || !more {
			return r.entries, err
		}
	}
	return r.entries, nil
}

// stretch is a run of entries that one point of the index leads to.
type stretch struct {
	point
	lo, hi rpc.Index // the entries wanted of it
	limit  int64     // the segment's durable end
}

// lookUp finds where the entries are, and keeps their segments open until release.
func (l *Log) lookUp(id GroupID, lo, hi rpc.Index, maxBytes int) ([]stretch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.groups[id]
	switch {
	case errors.Is(l.failure, ErrClosed):
		return nil, ErrClosed
	case g == nil:
		return nil, nil
	case lo <= g.durable.base.ID.Index:
		return nil, ErrCompacted
	}
	var found []stretch
	// Two points are at least a stride apart or in different segments, so this many lead to maxBytes.
	most := maxBytes/strideBytes + 2
	for hi = min(hi, g.durable.last.Index+1); lo < hi && len(found) < most; {
		s := g.index.stretch(lo, hi)
		s.limit = s.segment.end
		s.segment.readers++
		found = append(found, s)
		lo = s.hi
	}
	return found, nil
}

// stretch is where the entries from lo on are, up to the next point or hi.
func (x *index) stretch(lo, hi rpc.Index) stretch {
	n := x.before(lo)
	s := stretch{point: x.points[n], lo: lo, hi: hi}
	if n+1 < len(x.points) {
		s.hi = min(hi, x.points[n+1].first)
	}
	return s
}

// release lets go of the segments, and closes those that were removed meanwhile.
func (l *Log) release(stretches []stretch) {
	if len(stretches) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range stretches {
		if s.segment.readers--; s.segment.readers == 0 && s.segment.retired {
			_ = s.segment.file.Close() // it was only read from, and is removed: no error matters any more
		}
	}
}

// reader collects entries.
type reader struct {
	group   GroupID
	left    int // bytes that may still be returned
	window  int
	entries []rpc.Entry

	segment *segment
	bytes   []byte // of segment, from offset on
	offset  int64
}

// stretch reads the entries of s, and reports whether there is room for more.
func (r *reader) stretch(s stretch) (bool, error) {
	at := s.offset
	for next := s.first; next < s.hi; {
		h, err := r.header(s, at)
		if err != nil {
			return false, err
		}
		if h.kind == kindEntry && h.group == r.group {
			if h.id.Index != next {
				return false, r.corrupt(s, at, h, fmt.Sprintf("entry %d should be here", next))
			}
			if next++; h.id.Index >= s.lo {
				if more, err := r.entry(s, at, h); err != nil || !more {
					return false, err
				}
			}
		}
		if at = h.after(at); h.flags&flagFinal != 0 {
			at = sectorsUp(at)
		}
	}
	return true, nil
}

// after is the offset of the record after h's. A batch header is followed by the batch's first record.
func (h *header) after(at int64) int64 {
	if h.kind == kindBatch {
		return at + headerBytes
	}
	return at + headerBytes + int64(h.length)
}

func (r *reader) header(s stretch, at int64) (header, error) {
	b, err := r.read(s, at, headerBytes)
	if err != nil {
		return header{}, err
	}
	h, ok := parseHeader(b, s.segment.salt(at))
	if !ok {
		return h, r.corrupt(s, at, header{}, "a record header is damaged")
	}
	return h, nil
}

// entry takes in one entry, and reports whether it was within what may be returned.
func (r *reader) entry(s stretch, at int64, h header) (bool, error) {
	e := rpc.Entry{Index: h.id.Index, Term: h.id.Term, Kind: h.entryKind, Time: h.time}
	if r.left -= int(h.length) + rpc.EntryOverheadBytes; r.left < 0 && len(r.entries) > 0 {
		return false, nil
	}
	data, err := r.read(s, at+headerBytes, int(h.length))
	if err != nil {
		return false, err
	}
	if checksum(data) != h.payloadCRC {
		return false, r.corrupt(s, at, h, "the payload's checksum is wrong")
	}
	if len(data) > 0 {
		e.Data = data[:len(data):len(data)]
	}
	r.entries = append(r.entries, e)
	return true, nil
}

// read returns n bytes at offset at, from memory or from the disk.
func (r *reader) read(s stretch, at int64, n int) ([]byte, error) {
	if from := at - r.offset; r.segment == s.segment && from >= 0 && from+int64(n) <= int64(len(r.bytes)) {
		return r.bytes[from : from+int64(n)], nil
	}
	if at+int64(n) > s.limit {
		return nil, r.corrupt(s, at, header{}, "a record reaches beyond the end of the log")
	}
	b := make([]byte, min(int64(max(n, r.window)), s.limit-at))
	if got, err := s.segment.file.ReadAt(b, at); got != len(b) {
		return nil, fmt.Errorf("wal: read segment %s at offset %d: %w", s.segment.name, at, shortRead(err))
	}
	r.segment, r.bytes, r.offset = s.segment, b, at
	return b[:n], nil
}

func (r *reader) corrupt(s stretch, at int64, h header, reason string) error {
	e := &CorruptError{Segment: s.segment.name, Offset: at, Reason: reason}
	if h.kind == kindEntry {
		e.Group, e.Entry = h.group, h.id
	}
	return e
}
