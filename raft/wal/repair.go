package wal

// Damaged payloads: an entry of which the record header is intact is known by index, term, kind, time, length and checksum,
// so that a peer can give back exactly the bytes that are lost and nothing else can take their place (D2, F18, F19). What
// else is damaged is not repaired here: Open refuses it.

import (
	"cmp"
	"slices"

	"github.com/raftbus/raftbus/raft/rpc"
)

// damagedEntry is an entry whose payload is not what was written, and where its record is.
type damagedEntry struct {
	id      rpc.EntryID
	segment string
	offset  int64
}

// forgetDamagedFrom is called when entries from i on are replaced.
func (g *group) forgetDamagedFrom(i rpc.Index) {
	n, _ := slices.BinarySearchFunc(g.damaged, i, compareDamaged)
	g.damaged = g.damaged[:n]
}

// forgetDamagedTo is called when entries up to i are covered by a base.
func (g *group) forgetDamagedTo(i rpc.Index) {
	n, _ := slices.BinarySearchFunc(g.damaged, i+1, compareDamaged)
	g.damaged = slices.Delete(g.damaged, 0, n)
}

// untilDamaged is hi, or the first damaged entry above lo. If lo itself is damaged, that is the error.
func (g *group) untilDamaged(id GroupID, lo, hi rpc.Index) (rpc.Index, error) {
	for _, d := range g.damaged {
		if d.id.Index == lo && lo < hi {
			return lo, &CorruptError{Segment: d.segment, Offset: d.offset, Group: id, Entry: d.id, Reason: payloadDamaged}
		}
		if d.id.Index > lo {
			return min(hi, d.id.Index), nil
		}
	}
	return hi, nil
}

// noteDamage lists the entry that a read found damaged, unless it was replaced or compacted meanwhile.
func (l *Log) noteDamage(bad *CorruptError) {
	if bad == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.groups[bad.Group]
	if term, ok := g.durable.termAt(bad.Entry.Index); !ok || term != bad.Entry.Term || bad.Entry.Index == g.durable.base.ID.Index {
		return
	}
	n, found := slices.BinarySearchFunc(g.damaged, bad.Entry.Index, compareDamaged)
	if !found && len(g.damaged) < DamagedMax {
		g.damaged = slices.Insert(g.damaged, n, damagedEntry{bad.Entry, bad.Segment, bad.Offset})
		l.stats.Damaged++
	}
}

func compareDamaged(d damagedEntry, i rpc.Index) int { return cmp.Compare(d.id.Index, i) }

// Repair puts back the payload of a damaged entry, as a peer holds it, and returns when that is durable. An entry that is
// not damaged is left alone.
//
// The bytes are written where they belong. Of the sectors that a crash leaves half-written each holds what it held before or
// what belongs there, so that the next Open finds the entry damaged still, or whole. ErrInvalid: e is not what was written
// here, by kind, time, length or checksum; ask another peer. *CorruptError: more than payloads is damaged in its batch.
// Nothing was written then. ErrFailed as in Append.
func (l *Log) Repair(id GroupID, e rpc.Entry) error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.alive(); err != nil {
		return err
	}
	stretches := l.findDamaged(id, e.ID())
	defer l.release(stretches)
	if len(stretches) == 0 {
		return nil
	}
	at, err := locate(id, stretches[0], &e)
	if err != nil {
		return err
	}
	s := stretches[0].segment
	b, offset, err := s.batchAround(at)
	if err != nil {
		return err
	}
	start, end := at+headerBytes, at+headerBytes+int64(len(e.Data))
	from, to := sectorsDown(start), sectorsUp(end)
	was := slices.Clone(b[from-offset : to-offset])
	copy(b[start-offset:end-offset], e.Data)
	if err := s.checkMended(b, offset); err != nil {
		return err
	}
	if err := s.replace(was, b[from-offset:to-offset], from); err != nil {
		return l.fail(err)
	}
	l.mended(id, e.Index)
	return nil
}

// replace writes b in the place of what was there, or if that fails writes the latter again: the next start must not find whole, in the page cache,
// what may never have reached the disk (K53).
func (s *segment) replace(was, b []byte, offset int64) error {
	err := rewrite(s, b, offset)
	if err != nil {
		_ = s.writeAt(was, offset) // the log ends in any case
	}
	return err
}

// findDamaged finds where the entry is, if it is damaged; the segment stays open until release.
func (l *Log) findDamaged(id GroupID, e rpc.EntryID) []stretch {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.groups[id]
	if g == nil || !slices.ContainsFunc(g.damaged, func(d damagedEntry) bool { return d.id == e }) {
		return nil
	}
	return g.stretches(e.Index, e.Index+1, 0)
}

// mended takes the entry from the list. Nobody replaced or compacted it meanwhile: that takes appendMu.
func (l *Log) mended(id GroupID, i rpc.Index) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.groups[id]
	g.damaged = slices.DeleteFunc(g.damaged, func(d damagedEntry) bool { return d.id.Index == i })
	l.stats.Repaired++
}

// locate finds the entry's record, and holds its header against e.
func locate(id GroupID, s stretch, e *rpc.Entry) (int64, error) {
	var at int64
	var h header
	r := reader{group: id, window: windowBytesMin}
	_, err := r.walk(s, func(offset int64, found header) (bool, error) {
		at, h = offset, found
		return false, nil
	})
	if err != nil {
		return 0, err
	}
	if h.id != e.ID() || h.entryKind != e.Kind || h.time != e.Time || int(h.length) != len(e.Data) || h.payloadCRC != checksum(e.Data) {
		return 0, invalid("entry %v is not the one that was written", e.ID())
	}
	return at, nil
}

// batchAround reads the batch that the record at offset at is in, and says where it starts.
func (s *segment) batchAround(at int64) (b []byte, offset int64, err error) {
	for offset = sectorBytes; ; {
		var head [headerBytes]byte
		if err := s.read(head[:], offset); err != nil {
			return nil, 0, err
		}
		h, ok := parseBatchHeader(head[:], s.salt(offset))
		end := offset + headerBytes + int64(h.length)
		if !ok || end > s.size {
			return nil, 0, &CorruptError{Segment: s.name, Offset: offset, Reason: "a batch header is damaged"}
		}
		if at < end {
			b = make([]byte, end-offset)
			return b, offset, s.read(b, offset)
		}
		offset = end
	}
}

// checkMended checks the batch as it would be after a repair: all is intact, or all but payloads of other entries.
func (s *segment) checkMended(b []byte, offset int64) error {
	h, _ := parseBatchHeader(b, s.salt(offset))
	body := b[headerBytes:]
	if checksum(body) == h.bodyCRC {
		return nil
	}
	return s.records(offset, h, body, false, func(header, []byte, int64, bool) error { return nil })
}
