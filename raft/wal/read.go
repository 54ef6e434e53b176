package wal

// Reading entries back. Where to read is looked up under the lock, reading happens without it, and every entry's
// checksums are checked again: a disk may forget what it once knew (F18).

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

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
// ErrCompacted: lo is at or below the base. *CorruptError: an entry is not what was written; it is in State.Damaged from
// then on, and an Entries that begins below it ends there. Safe while Append runs: the result is what the log held at one
// moment.
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
			l.noteDamage(r.damaged)
			return r.entries, err
		}
	}
	return r.entries, nil
}

// Header returns what an entry's record header says: all but Data, which is nil. It is there also when the payload is damaged.
// An entry that the log does not hold is a zero Entry. ErrCompacted as in Entries; *CorruptError: the header is damaged too.
func (l *Log) Header(g GroupID, i rpc.Index) (e rpc.Entry, err error) {
	stretches, err := l.lookUpHeader(g, i)
	defer l.release(stretches)
	if len(stretches) == 0 {
		return e, err
	}
	r := reader{group: g, window: windowBytesMin}
	_, err = r.walk(stretches[0], func(_ int64, h header) (bool, error) {
		e = rpc.Entry{Index: h.id.Index, Term: h.id.Term, Kind: h.entryKind, Time: h.time}
		return false, nil
	})
	return e, err
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
	g, err := l.above(id, lo)
	if g == nil {
		return nil, err
	}
	hi, err = g.untilDamaged(id, lo, min(hi, g.durable.last.Index+1))
	return g.stretches(lo, hi, maxBytes), err
}

// lookUpHeader finds where entry i is, damaged or not.
func (l *Log) lookUpHeader(id GroupID, i rpc.Index) ([]stretch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g, err := l.above(id, i)
	if g == nil {
		return nil, err
	}
	return g.stretches(i, min(i, g.durable.last.Index)+1, 0), nil
}

// above returns the group, if it has entries from lo on or may have. The caller holds mu.
func (l *Log) above(id GroupID, lo rpc.Index) (*group, error) {
	g := l.groups[id]
	switch {
	case errors.Is(l.failure, ErrClosed):
		return nil, ErrClosed
	case g != nil && lo <= g.durable.base.ID.Index:
		return nil, ErrCompacted
	}
	return g, nil
}

// stretches finds where the entries are, all of which the group has. The caller holds mu for writing.
func (g *group) stretches(lo, hi rpc.Index, maxBytes int) []stretch {
	var found []stretch
	// Two points are at least a stride apart or in different segments, so this many lead to maxBytes.
	most := maxBytes/strideBytes + 2
	for lo < hi && len(found) < most {
		s := g.index.stretch(lo, hi)
		s.limit = s.segment.end
		s.segment.readers++
		found = append(found, s)
		lo = s.hi
	}
	return found
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

// release lets go of the segments, and closes those that were removed meanwhile: without the lock, since a disk frees their space only now (F22).
func (l *Log) release(stretches []stretch) {
	if len(stretches) > 0 {
		_ = closeAll(l.unread(stretches)) // they were only read from, and are removed: no error matters any more
	}
}

// unread counts readers out, and returns the files that nobody needs then.
func (l *Log) unread(stretches []stretch) (idle []vfs.File) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range stretches {
		if s.segment.readers--; s.segment.readers == 0 && s.segment.retired {
			idle = append(idle, s.segment.file)
		}
	}
	return idle
}

// reader collects entries.
type reader struct {
	group   GroupID
	left    int // bytes that may still be returned
	window  int
	entries []rpc.Entry
	damaged *CorruptError // an entry whose payload is not what was written

	segment *segment
	bytes   []byte // of segment, from offset on
	offset  int64
}

// stretch reads the entries of s, and reports whether there is room for more.
func (r *reader) stretch(s stretch) (bool, error) {
	return r.walk(s, func(at int64, h header) (bool, error) { return r.entry(s, at, h) })
}

// walk gives the records of the entries of s to visit, until that says that it wants no more.
func (r *reader) walk(s stretch, visit func(at int64, h header) (bool, error)) (bool, error) {
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
				if more, err := visit(at, h); err != nil || !more {
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
	return at + h.bytes()
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
		r.damaged = r.corrupt(s, at, h, payloadDamaged)
		return false, r.damaged
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
	if err := s.segment.read(b, at); err != nil {
		return nil, err
	}
	r.segment, r.bytes, r.offset = s.segment, b, at
	return b[:n], nil
}

func (r *reader) corrupt(s stretch, at int64, h header, reason string) *CorruptError {
	e := &CorruptError{Segment: s.segment.name, Offset: at, Reason: reason}
	if h.kind == kindEntry {
		e.Group, e.Entry = h.group, h.id
	}
	return e
}
