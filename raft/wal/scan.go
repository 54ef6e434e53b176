package wal

// Reading a segment from its start, and the one decision recovery is about: where a batch fails its checks, was it never
// synced (torn: it is cut), or was it synced and damaged later (corrupt: the log refuses to open)? DESIGN.md enumerates
// the cases.

import (
	"fmt"
	"hash/crc32"
)

// image is a segment's bytes in memory.
type image struct {
	place
	name   string
	data   []byte
	report bool // damaged payloads of entries do not end the walk (Options.ReportDamaged)
}

// tail says where a segment's intact batches end.
type tail struct {
	end    int64 // the offset after the last intact batch: the next one goes there
	dirty  int64 // all sectors from here on hold the pattern; end, if nothing is torn
	last   int64 // offset of the last intact batch; 0: the segment has none
	sealed bool
}

func (im *image) corrupt(offset int64, format string, args ...any) *CorruptError {
	return &CorruptError{Segment: im.name, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

// visitor takes in a batch. One that is not intact was not torn by a crash either: visit must check each record, and refuse
// the batch unless its damage is confined to payloads of entries.
type visitor func(offset int64, h batchHeader, body []byte, intact bool) error

// scan walks the batches, checks each, and gives them to visit, whose error ends the walk. *sequence is the number the
// first batch must have, or 0 for any; afterwards it is the number the next one will have.
func (im *image) scan(sequence *uint64, visit visitor) (tail, error) {
	t := tail{end: sectorBytes}
	for t.end < int64(len(im.data)) && !t.sealed {
		h, ok := parseBatchHeader(im.data[t.end:], im.salt(t.end))
		if !ok && im.hasPattern(im.sector(t.end), t.end) {
			return im.headless(t)
		}
		if err := im.checkHeader(t.end, h, ok, *sequence); err != nil {
			return t, err
		}
		start, end := t.end+headerBytes, t.end+headerBytes+int64(h.length)
		body := im.data[start:end]
		intact := checksum(body) == h.bodyCRC
		if !intact && im.torn(&t, end) {
			return t, nil
		}
		intact = intact || im.unpad(start, end, h.bodyCRC)
		if !intact && !im.report {
			return t, im.damagedRecord(start, end)
		}
		if err := visit(t.end, h, body, intact); err != nil {
			return t, err
		}
		*sequence = h.sequence + 1
		t.last, t.end, t.sealed = t.end, end, im.isSeal(start)
	}
	if t.dirty = t.end; !t.sealed {
		return t, im.corrupt(t.end, "the segment is full, and not sealed")
	}
	return t, nil
}

func (im *image) sector(offset int64) []byte { return im.data[offset : offset+sectorBytes] }

// checkHeader checks the batch header at offset. A crash leaves some of the pattern in a sector that it tears, so a header
// that is not intact, in a sector without any, is damage; and so is one whose number does not follow (D1: a stale block).
func (im *image) checkHeader(offset int64, h batchHeader, intact bool, sequence uint64) error {
	if !intact {
		return im.corrupt(offset, "a batch header is damaged")
	}
	if sequence != 0 && h.sequence != sequence {
		return im.corrupt(offset, "batch %d stands where batch %d belongs", h.sequence, sequence)
	}
	end := offset + headerBytes + int64(h.length)
	if end%sectorBytes != 0 || h.length < headerBytes || end > int64(len(im.data)) {
		return im.corrupt(offset, "batch %d has an impossible length of %d bytes", h.sequence, h.length)
	}
	return nil
}

func (im *image) isSeal(offset int64) bool {
	h, ok := parseHeader(im.data[offset:], im.salt(offset))
	return ok && h.kind == kindSeal
}

// headless decides about unused space at t.end: the end of the log, if nothing or only the rest of a batch whose header
// never arrived follows. An intact batch further on was written only after this place was synced (K52).
func (im *image) headless(t tail) (tail, error) {
	t.dirty = im.patternFrom(t.end)
	for at := t.end; at < t.dirty; at += sectorBytes {
		if h, ok := parseBatchHeader(im.data[at:], im.salt(at)); ok {
			return t, im.corrupt(t.end, "a batch is missing here, before batch %d at offset %d", h.sequence, at)
		}
	}
	return t, nil
}

// torn decides about the batch at t.end, which ends at end, with an intact header and a body that fails its checksum. It
// was never synced only if it is the last thing ever written here and some of it never was.
func (im *image) torn(t *tail, end int64) bool {
	if t.dirty = im.patternFrom(t.end); t.dirty > end {
		return false
	}
	for at := t.end; at < end; at += sectorBytes {
		if im.hasPattern(im.sector(at), at) {
			return true
		}
	}
	return false
}

// unpad reports whether nothing but padding of the batch body between start and end is not what was written, and if so puts
// that right in memory: a write that failed stopped in there, or the disk did this where it does not matter.
func (im *image) unpad(start, end int64, bodyCRC uint32) bool {
	at := start
	for final := false; !final; {
		if at+headerBytes > end {
			return false
		}
		h, ok := parseHeader(im.data[at:], im.salt(at))
		at, final = at+h.bytes(), h.flags&flagFinal != 0
		if !ok || at > end {
			return false
		}
	}
	padding := make([]byte, end-at)
	if crc32.Update(checksum(im.data[start:at]), castagnoli, padding) != bodyCRC {
		return false
	}
	copy(im.data[at:end], padding)
	return true
}

// patternFrom is the lowest offset, not below from, after which all sectors hold the pattern.
func (im *image) patternFrom(from int64) int64 {
	end := int64(len(im.data))
	for end > from && im.isPattern(im.sector(end-sectorBytes), end-sectorBytes) {
		end -= sectorBytes
	}
	return end
}

// damagedRecord finds which record of a failing batch is damaged, for whoever may repair it from a peer.
func (im *image) damagedRecord(start, end int64) error {
	for at := start; at+headerBytes <= end; {
		h, ok := parseHeader(im.data[at:], im.salt(at))
		next := at + h.bytes()
		if !ok || next > end {
			return im.corrupt(at, "a record header is damaged")
		}
		if checksum(im.data[at+headerBytes:next]) != h.payloadCRC {
			err := im.corrupt(at, payloadDamaged)
			err.Group = h.group
			if h.kind == kindEntry {
				err.Entry = h.id
			}
			return err
		}
		if at = next; h.flags&flagFinal != 0 {
			break
		}
	}
	return im.corrupt(start, "the batch's checksum is wrong")
}
