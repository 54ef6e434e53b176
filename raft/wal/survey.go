package wal

// The survey of a log's segments at Open: which one is active, whether all are there, what they say of each group.

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
)

// survey reads all segments in order.
type survey struct {
	log    *Log
	image  image    // of the segment being read; its memory is used again
	adopt  bool     // nothing was read yet but checkpoints and seals
	active *segment // the first that is not sealed
	tail   tail     // the active segment's
	spare  *segment // the one prepared after it, if any

	lastBatch batchPlace

	// For Inspect; nil at Open.
	watch func(seg *segment, offset int64, h batchHeader, body []byte, intact bool) error // each batch that was taken in
	ended func(seg *segment, t tail)                                                      // each segment that was read
}

// batchPlace is where the log's last intact batch is, and its bytes.
type batchPlace struct {
	segment *segment
	offset  int64
	bytes   []byte // shares the image's memory until that is used again
	damaged []span
}

func (s *survey) read(numbers []uint64) error {
	s.log.sequence = 0
	if numbers[0] == 1 {
		s.log.sequence = 1
	}
	for i, number := range numbers {
		if i > 0 && number != numbers[i-1]+1 {
			return missing(numbers[i-1]+1, "there is %s but not the segment before it", segmentName(number))
		}
		if err := s.segment(number, i == 0); err != nil {
			return err
		}
	}
	last := numbers[len(numbers)-1]
	if s.active == nil {
		return missing(last+1, "segment %s is sealed, and the log goes on in one that is not there", segmentName(last))
	}
	return s.complete(numbers[0])
}

func missing(number uint64, format string, args ...any) error {
	return &CorruptError{Segment: segmentName(number), Reason: "the file is missing: " + fmt.Sprintf(format, args...)}
}

// complete checks that nothing is needed that was in a segment before the first one: a checkpoint, or an entry above a base.
func (s *survey) complete(first uint64) error {
	if s.adopt && first != 1 {
		return missing(first-1, "it or one before it held the state of all groups, and segment %s has no checkpoint", segmentName(first))
	}
	for _, id := range s.log.order {
		if m := &s.log.groups[id].durable; m.incomplete() {
			err := &CorruptError{Segment: segmentName(first - 1), Group: id, Reason: fmt.Sprintf(
				"the file is missing: entries %d to %d of group %d were in it or before", m.base.ID.Index+1, m.missing, id)}
			return err
		}
	}
	return nil
}

// segment reads one segment.
func (s *survey) segment(number uint64, first bool) error {
	seg, err := s.load(number, first)
	if err != nil {
		return err
	}
	if s.active != nil {
		return s.keepSpare(seg)
	}
	s.log.segments = append(s.log.segments, seg)
	r := replayer{log: s.log, segment: seg, adopt: s.adopt}
	t, err := s.image.scan(&s.log.sequence, s.watched(&r))
	if err != nil {
		return err
	}
	if s.ended != nil {
		s.ended(seg, t)
	}
	s.adopt = r.adopt
	if t.last != 0 {
		s.lastBatch = batchPlace{seg, t.last, s.image.data[t.last:t.end], r.damaged}
	} else if first && number != 1 {
		return s.image.corrupt(sectorBytes, "the log's first segment is empty, and the ones before it are gone")
	}
	seg.end = t.end
	if !t.sealed {
		s.active, s.tail = seg, t
	}
	return nil
}

// watched is the visitor of a segment.
func (s *survey) watched(r *replayer) visitor {
	if s.watch == nil {
		return r.batch
	}
	return func(offset int64, h batchHeader, body []byte, intact bool) error {
		if err := r.batch(offset, h, body, intact); err != nil {
			return err
		}
		return s.watch(r.segment, offset, h, body, intact)
	}
}

func (s *survey) closeSpare() error {
	if s.spare == nil {
		return nil
	}
	return s.spare.file.Close()
}

// keepSpare checks that a segment after the active one was never written to.
func (s *survey) keepSpare(seg *segment) error {
	if s.spare != nil {
		return errors.Join(s.image.corrupt(0, "a second unused segment"), seg.file.Close())
	}
	if dirty := s.image.patternFrom(sectorBytes); dirty != sectorBytes {
		err := s.image.corrupt(dirty-sectorBytes, "this segment was written to, but segment %s before it was not sealed", s.active.name)
		return errors.Join(err, seg.file.Close())
	}
	s.spare = seg
	return nil
}

func (im *image) size() int64 { return int64(len(im.data)) }

// load reads a segment into memory and checks its header and size. A segment had its whole size, synced, before it had its
// name: a shorter file was cut by something else than a crash.
func (s *survey) load(number uint64, first bool) (*segment, error) {
	l := s.log
	seg, err := l.folder.openSegment(place{l.logID, number}, 0)
	if errors.Is(err, syscall.EIO) { // of other errors, as too many open files, the disk is not the cause
		err = &ReadError{Segment: segmentName(number), Err: err}
	}
	if err != nil {
		return nil, err
	}
	if err = s.readImage(seg); err == nil {
		err = s.checkHeader(seg, first)
	}
	if err != nil {
		return nil, errors.Join(err, seg.file.Close())
	}
	return seg, nil
}

func (s *survey) readImage(seg *segment) error {
	info, err := seg.file.Stat()
	if err != nil {
		return err
	}
	s.lastBatch.bytes = slices.Clone(s.lastBatch.bytes)
	if int64(cap(s.image.data)) < info.Size() {
		s.image.data = make([]byte, info.Size())
	}
	s.image = image{place: seg.place, name: seg.name, data: s.image.data[:info.Size()], report: s.log.options.ReportDamaged}
	if len(s.image.data) < sectorBytes {
		return s.image.corrupt(0, "the file has %d bytes: it was cut", info.Size())
	}
	return seg.read(s.image.data, 0)
}

func (s *survey) checkHeader(seg *segment, first bool) error {
	h, damage := parseSegmentHeader(s.image.data)
	if first {
		s.log.logID = h.log
		seg.log, s.image.log = h.log, h.log
	}
	switch size := s.image.size(); {
	case damage != "":
		return s.image.corrupt(0, "%s", damage)
	case h.version != formatVersion:
		return fmt.Errorf("wal: segment %s has format version %d and this build reads version %d: use the build that wrote it", seg.name, h.version, formatVersion)
	case h.place != seg.place:
		return s.image.corrupt(0, "the header is that of segment %s of this or of another log", segmentName(h.segment))
	case h.size != size || size%sectorBytes != 0 || size < segmentBytesMin:
		return s.image.corrupt(min(h.size, size), "the file has %d bytes and should have %d", size, h.size)
	}
	seg.size = h.size
	return nil
}

// mend makes sure that what was read is what a power loss would leave. The process before this one may have died between
// write and sync, or have stopped because a sync failed, which leaves pages that look clean and never reached the disk
// (K53): so the last batch, the only one in doubt, is written again. What is torn is overwritten with the pattern, so that
// the next crash is told from this one. A crash in here leaves a log that reads the same. A repair may have been written
// into any segment, so the sealed ones are synced too.
func (s *survey) mend() error {
	l := s.log
	l.active = s.active
	for _, seg := range l.segments[:len(l.segments)-1] {
		if err := seg.file.SyncData(); err != nil {
			return err
		}
	}
	if last := s.lastBatch; last.segment != nil {
		if err := last.rewrite(); err != nil {
			return err
		}
	}
	if s.tail.dirty == s.tail.end {
		return nil
	}
	return s.active.unwrite(s.tail.end, s.tail.dirty)
}

// unwrite overwrites torn sectors with the pattern. The last word of the first sector comes before the batch header: so
// should a write stop anywhere (F20), there is some of the pattern in the sector of a header that is no longer intact.
func (s *segment) unwrite(from, to int64) error {
	b := make([]byte, to-from)
	s.fillPattern(b, from)
	if err := s.writeAt(b[sectorBytes-8:], from+sectorBytes-8); err != nil {
		return err
	}
	return rewrite(s, b[:sectorBytes-8], from)
}

// rewrite writes the batch again, all but the sectors with a damaged payload: what failed a check is not written over by
// what was read of it (D4). Repair writes them.
func (p *batchPlace) rewrite() error {
	from, end := p.offset, p.offset+int64(len(p.bytes))
	for _, d := range append(p.damaged, span{end, end}) {
		if to := sectorsDown(d.start); to > from {
			if err := p.segment.writeAt(p.bytes[from-p.offset:to-p.offset], from); err != nil {
				return err
			}
		}
		from = sectorsUp(d.end)
	}
	return p.segment.file.SyncData()
}

func rewrite(seg *segment, b []byte, offset int64) error {
	if err := seg.writeAt(b, offset); err != nil {
		return err
	}
	return seg.file.SyncData()
}
