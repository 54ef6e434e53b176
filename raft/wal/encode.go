package wal

// Encoding a batch: header, at the start of a segment the checkpoint, the records, padding. Each byte is copied once, into
// a buffer that is used again and again.

import (
	"slices"

	"github.com/raftbus/raftbus/raft/rpc"
)

// encoder appends the records of one batch to buf.
type encoder struct {
	place
	buf     []byte // begins with space for the batch header
	base    int64  // the offset of buf in the segment
	last    int    // where the last record starts
	header  header // the last record's
	records uint64
}

// record appends one record; data is copied. h's length and payload checksum are filled in.
func (e *encoder) record(h header, data []byte) {
	e.last = len(e.buf)
	h.length, h.payloadCRC = uint32(len(data)), checksum(data)
	e.buf = e.buf[:e.last+headerBytes]
	h.put(e.buf[e.last:], e.salt(e.base+int64(e.last)))
	e.buf = append(e.buf, data...)
	e.header = h
	e.records++
}

// finish marks the last record, pads to whole sectors, and writes the batch header.
func (e *encoder) finish(sequence uint64) []byte {
	e.header.flags |= flagFinal
	e.header.put(e.buf[e.last:], e.salt(e.base+int64(e.last)))
	n := len(e.buf)
	e.buf = e.buf[:sectorsUp(int64(n))]
	clear(e.buf[n:])
	body := e.buf[headerBytes:]
	h := batchHeader{bodyCRC: checksum(body), length: uint32(len(body)), sequence: sequence, records: e.records}
	h.put(e.buf, e.salt(e.base))
	return e.buf
}

// grow returns b with room for n bytes beyond its length.
func grow(b []byte, n int64) []byte { return slices.Grow(b, int(n)) }

// encode puts the plan into the buffer, as it is to stand at the end of s, and returns the number of records.
func (l *Log) encode(s *segment, sequence uint64, checkpoint bool) uint64 {
	bytes := int64(headerBytes)
	if checkpoint {
		bytes += l.checkpointBytes()
	}
	for i := range l.plan {
		bytes += l.plan[i].size()
	}
	l.buffer = grow(l.buffer[:0], sectorsUp(bytes))
	e := encoder{place: s.place, buf: l.buffer[:headerBytes], base: s.end}
	if checkpoint {
		l.encodeCheckpoint(&e)
	}
	for i := range l.plan {
		e.batch(&l.plan[i])
	}
	l.buffer = e.finish(sequence)
	return e.records
}

func (e *encoder) batch(p *planned) {
	if p.Base != nil {
		flags := uint8(0)
		if p.reset {
			flags = flagReset
		}
		e.state(p.Group, kindBase, flags, p.Base.ID, p.Base.Configuration)
	}
	if h := p.HardState; h != nil {
		e.state(p.Group, kindHardState, 0, rpc.EntryID{Term: h.Term}, []byte(h.Vote))
	}
	for i := range p.Entries {
		en := &p.Entries[i]
		e.record(header{kind: kindEntry, entryKind: en.Kind, group: p.Group, id: en.ID(), time: en.Time}, en.Data)
	}
}

func (e *encoder) state(g GroupID, k recordKind, flags uint8, id rpc.EntryID, data []byte) {
	e.record(header{kind: k, flags: flags, group: g, id: id}, data)
}

// encodeCheckpoint repeats what is durable of every group but its entries, so that earlier segments are needed for
// entries only. Last is there so that a segment which went missing is noticed.
func (l *Log) encodeCheckpoint(e *encoder) {
	for _, id := range l.order {
		m := &l.groups[id].durable
		if m.hasBase {
			e.state(id, kindBase, flagCheckpoint, m.base.ID, m.base.Configuration)
		}
		e.state(id, kindHardState, flagCheckpoint, rpc.EntryID{Term: m.hard.Term}, []byte(m.hard.Vote))
		e.state(id, kindLast, flagCheckpoint, m.last, nil)
	}
}

// checkpointBytes is the size of what encodeCheckpoint writes, or a little more.
func (l *Log) checkpointBytes() int64 {
	n := int64(0)
	for _, id := range l.order {
		m := &l.groups[id].durable
		n += 3*headerBytes + int64(len(m.base.Configuration)+len(m.hard.Vote))
	}
	return n
}
