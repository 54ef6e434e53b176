package wal

// From one segment to the next: where a batch fits, when a segment is full, and how it is sealed.

import "github.com/raftbus/raftbus/raft/rpc"

// reserveBytes is the part at the end of a segment that batches with entries leave free, the seal's sector not counted.
func reserveBytes(size int64) int64 { return min(reserveBytesMax, size/8) &^ (sectorBytes - 1) }

// baseReserveBytes is the part of the reserve that hard states leave to bases: however many terms pass while the disk is
// full, the log can still be compacted, which is what frees space (F21).
func baseReserveBytes(size int64) int64 { return sectorsUp(reserveBytes(size) / 8) }

// leave is how much of a segment's end the plan may not use.
func (l *Log) leave(size int64) int64 {
	hasBase := false
	for i := range l.plan {
		if len(l.plan[i].Entries) > 0 {
			return reserveBytes(size)
		}
		hasBase = hasBase || l.plan[i].Base != nil
	}
	if hasBase {
		return 0
	}
	return baseReserveBytes(size)
}

// fits reports whether the plan, whose records have so many bytes, fits in what is left of s.
func (l *Log) fits(s *segment, bytes int64) bool {
	limit := s.size - sectorBytes - l.leave(s.size) // a sector for the seal
	if s.end == sectorBytes {
		bytes += l.checkpointBytes()
	}
	return s.end+sectorsUp(headerBytes+bytes) <= limit
}

// nextRequest asks for the segment after the active one, in which records of so many bytes fit.
func (l *Log) nextRequest(bytes int64) request {
	size := min(l.options.SegmentBytes, max(2*l.active.size, firstSegmentBytes))
	need := 2*sectorBytes + reserveBytes(size) + sectorsUp(headerBytes+bytes+l.checkpointBytes())
	if bytes > 0 && need > size {
		size = need + reserveBytesMax
	}
	return request{place: place{l.logID, l.active.segment + 1}, size: size}
}

// askNext has the preparer make a segment of the usual size after the active one.
func (l *Log) askNext() { l.prep.ask(l.nextRequest(0)) }

// roll seals the active segment and makes next the active one. The seal is durable before anything is written to next, so
// that a log which does not end in its last segment, or whose last segment is gone, is seen to be damaged (K57).
func (l *Log) roll(next *segment) error {
	s := l.active
	l.buffer = grow(l.buffer[:0], sectorBytes)
	l.putSeal(s)
	if err := l.writeSync(s); err != nil {
		return l.fail(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance(s)
	l.active = next
	l.segments = append(l.segments, next)
	return nil
}

func (l *Log) putSeal(s *segment) {
	e := encoder{place: s.place, buf: l.buffer[:headerBytes], base: s.end}
	e.record(header{kind: kindSeal, id: rpc.EntryID{Index: rpc.Index(s.segment + 1)}}, nil)
	l.buffer = e.finish(l.sequence)
}
