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
}

// errReplay: a record with intact checksums says what no append would have written there.
var errReplay = errors.New("a checkpoint contradicts the log before it")

// batch takes in one batch that starts at offset.
func (r *replayer) batch(offset int64, h batchHeader, body []byte) error {
	at, records := 0, uint64(0)
	for final := false; !final; records++ {
		if len(body)-at < headerBytes {
			return r.corrupt(offset, at, header{}, "the batch ends without its last record")
		}
		place := offset + headerBytes + int64(at)
		rec, ok := parseHeader(body[at:], r.segment.salt(place))
		end := at + headerBytes + int(rec.length)
		if !ok || end > len(body) {
			return r.corrupt(offset, at, header{}, "a record header is damaged")
		}
		if err := r.record(rec, body[at+headerBytes:end], place); err != nil {
			return r.corrupt(offset, at, rec, err.Error())
		}
		at, final = end, rec.flags&flagFinal != 0
	}
	if records != h.records {
		return r.corrupt(offset, at, header{}, fmt.Sprintf("the batch has %d records and should have %d", records, h.records))
	}
	return nil
}

func (r *replayer) corrupt(offset int64, at int, h header, reason string) error {
	e := &CorruptError{Segment: r.segment.name, Offset: offset + headerBytes + int64(at), Group: h.group, Reason: reason}
	if h.kind == kindEntry {
		e.Entry = h.id
	}
	return e
}

func (r *replayer) record(h header, payload []byte, place int64) error {
	if h.kind == kindSeal {
		return nil
	}
	g := r.log.group(h.group)
	if h.flags&flagCheckpoint != 0 {
		return r.checkpoint(&g.durable, h, payload)
	}
	r.adopt = false
	switch h.kind {
	case kindEntry:
		if err := g.durable.append(h.id); err != nil {
			return err
		}
		g.index.add(h.id.Index, r.segment, place)
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
	}
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
