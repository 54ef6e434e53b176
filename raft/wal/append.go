package wal

// Append: check, choose the place, encode, one write, one sync, publish. Until the sync is done nothing that readers see
// changes; if anything is refused before the write, nothing has changed at all.

import (
	"errors"
	"slices"
	"time"
)

// bufferKeepBytes bounds the write buffer that is kept between two appends.
const bufferKeepBytes = 4 << 20

// planned is a batch that was checked, and what checking found out.
type planned struct {
	*Batch
	group *group
	reset bool // its base does not continue the log
}

// Append makes batches durable with one write and one sync, all of them or, if the process dies meanwhile, none. It
// returns when they are. An entry at or below a group's last index replaces the log from there on.
//
// ErrInvalid: a batch contradicts the log; nothing was written. ErrFull: there is no disk space for them; nothing was
// written. ErrFailed: the log is dead, and the batches durable or not.
func (l *Log) Append(batches ...Batch) error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	return l.append(batches)
}

// append is Append for a caller who holds appendMu.
func (l *Log) append(batches []Batch) error {
	if err := l.alive(); err != nil {
		return err
	}
	defer l.unstage()
	bytes, err := l.stage(batches)
	if err != nil || len(l.plan) == 0 {
		return err
	}
	if err := l.makeRoom(bytes); err != nil {
		return err
	}
	first := l.active.end == sectorBytes
	records := l.encode(l.active, l.sequence, first)
	if err := l.writeSync(l.active); err != nil {
		return l.fail(err)
	}
	if err := l.publish(records); err != nil {
		return l.fail(err)
	}
	if first {
		l.askNext()
	}
	return nil
}

// stage checks the batches against the log, and returns the size of their records in bytes.
func (l *Log) stage(batches []Batch) (int64, error) {
	bytes := int64(0)
	for i := range batches {
		p, err := l.stageOne(&batches[i])
		if err != nil {
			return 0, err
		}
		if p.group != nil {
			l.plan = append(l.plan, p)
			bytes += p.size()
		}
	}
	if bytes > BatchBytesMax {
		return 0, invalid("%d bytes at once: at most %d", bytes, BatchBytesMax)
	}
	return bytes, nil
}

func (l *Log) stageOne(b *Batch) (planned, error) {
	if b.Base == nil && b.HardState == nil && len(b.Entries) == 0 {
		return planned{}, nil
	}
	g, err := l.touch(b.Group)
	if err != nil {
		return planned{}, err
	}
	p := planned{Batch: b, group: g}
	if b.Base != nil {
		p.reset = g.staged.resets(b.Base.ID)
		err = g.staged.setBase(*b.Base, p.reset)
	}
	if err == nil && b.HardState != nil {
		err = g.staged.setHardState(*b.HardState)
	}
	for i := 0; err == nil && i < len(b.Entries); i++ {
		err = g.staged.append(b.Entries[i].ID(), b.Entries[i].Kind)
	}
	return p, err
}

// touch returns the group to stage changes in.
func (l *Log) touch(id GroupID) (*group, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.groups[id] == nil && len(l.groups) >= GroupsMax {
		return nil, invalid("group %d would be one more than %d", id, GroupsMax)
	}
	g := l.group(id)
	if !slices.Contains(l.touched, g) {
		l.touched = append(l.touched, g)
		g.staged.copyFrom(&g.durable)
	}
	return g, nil
}

// unstage forgets what is staged, whatever came of the append.
func (l *Log) unstage() {
	clear(l.touched)
	clear(l.plan)
	l.touched, l.plan = l.touched[:0], l.plan[:0]
	if cap(l.buffer) > bufferKeepBytes {
		l.buffer = nil
	}
}

func (p *planned) size() int64 {
	n := int64(0)
	if p.Base != nil {
		n += headerBytes + int64(len(p.Base.Configuration))
	}
	if p.HardState != nil {
		n += headerBytes + int64(len(p.HardState.Vote))
	}
	for i := range p.Entries {
		n += headerBytes + int64(len(p.Entries[i].Data))
	}
	return n
}

// writeSync writes the buffer at the segment's end and makes it durable. After an error the log must fail: whether the
// bytes are on the disk can no longer be found out, not even by another sync (K53).
func (l *Log) writeSync(s *segment) error {
	start := l.now()
	if !l.options.Inline {
		l.syncBegan.Store(&start)
		defer l.syncBegan.Store(nil)
	}
	if err := s.writeAt(l.buffer, s.end); err != nil {
		return err
	}
	if err := s.file.SyncData(); err != nil {
		return err
	}
	took := l.now().Sub(start)
	l.syncTimes.Observe(took)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Syncs++
	l.stats.Bytes += uint64(len(l.buffer))
	l.stats.SyncLast, l.stats.SyncMax = took, max(took, l.stats.SyncMax)
	return nil
}

// now is for figures only: nothing is decided by it. A log without a goroutine reads no clock at all.
func (l *Log) now() time.Time {
	if l.options.Inline {
		return time.Time{}
	}
	return time.Now()
}

// publish shows what was just made durable to readers, by reading the written bytes as recovery would.
func (l *Log) publish(records uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.active
	r := replayer{log: l, segment: s}
	if err := r.batch(s.end, batchHeader{records: records}, l.buffer[headerBytes:], true); err != nil {
		return err
	}
	l.advance(s)
	l.stats.Appends++
	for i := range l.plan {
		l.stats.Entries += uint64(len(l.plan[i].Entries))
	}
	return nil
}

// advance moves the segment's end over the buffer just written. The caller holds mu for writing.
func (l *Log) advance(s *segment) {
	s.end += int64(len(l.buffer))
	l.sequence++
}

// makeRoom makes the active segment one that records of so many bytes fit in.
func (l *Log) makeRoom(bytes int64) error {
	if l.fits(l.active, bytes) {
		return nil
	}
	want := l.nextRequest(bytes)
	next, err := l.prep.take(want)
	switch {
	case errors.Is(err, ErrFull):
		if usual := l.nextRequest(0); want.size > usual.size {
			l.prep.ask(usual) // one of the usual size may find room where a big one does not
		}
		return err
	case err != nil:
		return l.fail(err)
	}
	if err := l.roll(next); err != nil {
		return errors.Join(err, next.file.Close())
	}
	return nil
}
