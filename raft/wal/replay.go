package wal

// Replaying a batch: what its records do to the groups. Append publishes with it and Open recovers with it, so that a
// restart can not see anything but what readers saw before.

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/raftbus/raftbus/raft/rpc"
)

// replayer takes in the batches of one segment. Whoever uses it holds Log.mu for writing, or is Open.
type replayer struct {
	log     *Log
	segment *segment
	// adopt is set until something else than checkpoints and seals was read: the log's first checkpoint is believed, all
	// others are compared.
	adopt bool
	// damaged are the payloads of the batch taken in last that are not what was written.
	damaged []span
}

// span is a part of a segment.
type span struct{ start, end int64 }

// errReplay: a record with intact checksums says what no append would have written there.
var errReplay = errors.New("a checkpoint contradicts the log before it")

const payloadDamaged = "the payload's checksum is wrong"

// batch takes in one batch that starts at offset. It is a visitor.
func (r *replayer) batch(offset int64, h batchHeader, body []byte, intact bool) error {
	r.damaged = r.damaged[:0]
	return r.segment.records(offset, h, body, intact, func(rec header, payload []byte, place int64, damaged bool) error {
		if damaged {
			r.damaged = append(r.damaged, span{place + headerBytes, place + rec.bytes()})
		}
		return r.record(rec, payload, place, damaged)
	})
}

// recordVisitor takes in a record whose header is at place. Only an entry's payload may be damaged.
type recordVisitor func(h header, payload []byte, place int64, damaged bool) error

// records gives the records of the batch at offset to visit. Those of a batch that is not intact are checked one by one.
func (s *segment) records(offset int64, h batchHeader, body []byte, intact bool, visit recordVisitor) error {
	at, records, bad := 0, uint64(0), 0
	for final := false; !final; records++ {
		if len(body)-at < headerBytes {
			return s.corrupt(offset, at, header{}, "the batch ends without its last record")
		}
		place := offset + headerBytes + int64(at)
		rec, ok := parseHeader(body[at:], s.salt(place))
		end := at + headerBytes + int(rec.length)
		if !ok || end > len(body) {
			return s.corrupt(offset, at, header{}, "a record header is damaged")
		}
		payload := body[at+headerBytes : end]
		damaged := !intact && checksum(payload) != rec.payloadCRC
		if damaged && rec.kind != kindEntry {
			return s.corrupt(offset, at, rec, payloadDamaged)
		}
		if damaged {
			bad++
		}
		if err := visit(rec, payload, place, damaged); err != nil {
			return s.corrupt(offset, at, rec, err.Error())
		}
		at, final = end, rec.flags&flagFinal != 0
	}
	if records != h.records {
		return s.corrupt(offset, at, header{}, fmt.Sprintf("the batch has %d records and should have %d", records, h.records))
	}
	if !intact && (bad == 0 || !isZero(body[at:])) {
		return s.corrupt(offset, at, header{}, "the batch's checksum is wrong")
	}
	return nil
}

// isZero reports whether b is what fills a batch up.
func isZero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// corrupt is about the record at position at of the body of the batch at offset.
func (s *segment) corrupt(offset int64, at int, h header, reason string) error {
	e := &CorruptError{Segment: s.name, Offset: offset + headerBytes + int64(at), Group: h.group, Reason: reason}
	if h.kind == kindEntry {
		e.Entry = h.id
	}
	return e
}

func (r *replayer) record(h header, payload []byte, place int64, damaged bool) error {
	if h.kind == kindSeal {
		return nil
	}
	if len(r.log.groups) >= GroupsMax && r.log.groups[h.group] == nil {
		return fmt.Errorf("group %d is one more than %d", h.group, GroupsMax)
	}
	g := r.log.group(h.group)
	if h.flags&flagCheckpoint != 0 {
		return r.checkpoint(&g.durable, h, payload)
	}
	r.adopt = false
	switch h.kind {
	case kindEntry:
		if err := g.durable.append(h.id, h.entryKind); err != nil {
			return err
		}
		g.index.add(h.id.Index, r.segment, place)
		g.forgetDamagedFrom(h.id.Index)
		if damaged && len(g.damaged) == DamagedMax {
			return fmt.Errorf("more than %d entries are damaged", DamagedMax)
		} else if damaged {
			g.damaged = append(g.damaged, damagedEntry{h.id, r.segment.name, place})
			r.log.stats.Damaged++
		}
		return nil
	case kindHardState:
		return g.durable.setHardState(hardState(h, payload))
	case kindBase:
		return g.setBase(Base{ID: h.id, Configuration: bytes.Clone(payload)}, h.flags&flagReset != 0)
	default:
		return fmt.Errorf("a record of kind %d, which this build does not know: use the build that wrote it", h.kind)
	}
}

func hardState(h header, payload []byte) rpc.HardState {
	return rpc.HardState{Term: h.id.Term, Vote: rpc.NodeID(payload)}
}

// setBase takes in a base and forgets where entries were that are gone with it.
func (g *group) setBase(b Base, reset bool) error {
	if err := g.durable.setBase(b, reset); err != nil {
		return err
	}
	if reset {
		g.index.clear()
		g.damaged = nil
	}
	g.forgetDamagedTo(b.ID.Index)
	g.index.forget(b.ID.Index + 1)
	return nil
}

// checkpoint believes a checkpoint's record at the start of the log, and elsewhere compares it with what the segments
// before it said.
func (r *replayer) checkpoint(m *ledger, h header, payload []byte) error {
	if h.id.Index > indexMax {
		return errReplay
	}
	switch h.kind {
	case kindBase:
		if r.adopt {
			m.base, m.hasBase = Base{ID: h.id, Configuration: bytes.Clone(payload)}, true
		} else if m.base.ID != h.id || !bytes.Equal(m.base.Configuration, payload) {
			return errReplay
		}
	case kindHardState:
		if r.adopt {
			m.hard = hardState(h, payload)
		} else if m.hard != hardState(h, payload) {
			return errReplay
		}
	case kindLast:
		if r.adopt {
			m.last, m.missing = h.id, h.id.Index
		} else if m.last != h.id {
			return errReplay
		}
	default:
		return errReplay
	}
	return nil
}
