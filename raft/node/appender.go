package node

// The appender makes writes durable, in order: all that wait in one append with one sync (group commit), so that load turns
// into bigger batches. Messages leave after the write they attest, never before (I10).

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// job is one turn's write, and the messages that wait for it and all before it.
type job struct {
	write raft.Write
	then  []rpc.Message
}

// fullRetry is how often an append is tried again while the disk is full.
const fullRetry = 100 * time.Millisecond

type appender struct {
	log   *wal.Log
	marks *milestones // nil: nobody wants them
	send  func(rpc.Message)
	// report brings an event to the loop; more: this goroutine has more to do. It reports whether the spot is to act after the step.
	report func(e raft.Event, more bool) bool
	// release is called when a new base is durable.
	release func()

	mu      sync.Mutex
	waiting []job

	spot *spot

	unmet atomic.Pointer[error] // the ErrFull that the last append ended with; nil: it did not

	jobs    []job // of the step under way; reused
	batches []wal.Batch
}

// jobsMax bounds what waits for a disk that hangs.
const jobsMax = 8192

// submit queues a job, and has it done by the goroutine unless who submits it sees to that. Writes are bounded by what the core lets
// wait: proposals on a leader, and on a follower as much as raft.Limits say may be unwritten. Messages alone are not, so beyond the bound they are dropped, as the
// bus might: whoever asked asks again.
func (a *appender) submit(j job, ring bool) {
	a.mu.Lock()
	if j.write.Seq > 0 || len(a.waiting) < jobsMax {
		a.waiting = append(a.waiting, j)
	}
	a.mu.Unlock()
	if ring {
		a.spot.ring()
	}
}

// onSpot does a step on the caller's goroutine if it can be done now and is little, and else leaves it to the appender's.
func (a *appender) onSpot() error { return a.spot.attempt(a.littleStep) }

func (a *appender) littleStep() (bool, error) {
	if !a.little() {
		a.spot.ring()
		return false, nil
	}
	return a.step()
}

// little reports whether all that waits is. What is repaired is synced piece by piece.
func (a *appender) little() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	bytes := 0
	for i := range a.waiting {
		w := &a.waiting[i].write
		if w.Base != nil || len(w.Repairs) > 0 {
			return false
		}
		bytes += a.waiting[i].bytes()
	}
	return bytes <= spotBytesMax
}

// appendBytesMax bounds the entries of one append, but for what one turn has written: a disk that was slow must not be asked for
// more at once than the log takes.
const appendBytesMax = 8 << 20

// step appends all that waits, or as much as goes in one append. It reports whether there was anything. If the disk is full, what
// still waits does so in its order.
func (a *appender) step() (bool, error) {
	if !a.take() {
		return false, nil
	}
	err := a.append()
	if errors.Is(err, wal.ErrFull) {
		err = a.squeeze()
	}
	if err != nil {
		a.note(err)
		a.putBack()
		return true, err
	}
	a.unmet.Store(nil)
	a.finish()
	return true, nil
}

// note remembers a full disk.
func (a *appender) note(err error) {
	if errors.Is(err, wal.ErrFull) {
		a.unmet.Store(&err)
	}
}

// room is nil if the log takes more. It does not while it has no place for what waits, though it may have one for less: an entry may be larger than the
// segment that is ready, and nothing is written before it (F21).
func (a *appender) room() error {
	err := a.log.Room()
	if unmet := a.unmet.Load(); err == nil && unmet != nil {
		return *unmet
	}
	return err
}

// walled reports whether it is so that what waits has no place.
func (a *appender) walled() bool { return a.unmet.Load() != nil }

// take takes the jobs of one append.
func (a *appender) take() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, bytes := 0, 0
	for n < len(a.waiting) && (n == 0 || bytes+a.waiting[n].bytes() <= appendBytesMax) {
		bytes += a.waiting[n].bytes()
		n++
	}
	a.jobs = append(a.jobs[:0], a.waiting[:n]...)
	left := copy(a.waiting, a.waiting[n:])
	clear(a.waiting[left:])
	a.waiting = a.waiting[:left]
	return n > 0
}

func (j *job) bytes() int {
	n := 0
	for i := range j.write.Entries {
		n += j.write.Entries[i].Size()
	}
	for i := range j.write.Repairs {
		n += j.write.Repairs[i].Size()
	}
	return n
}

// squeeze appends the oldest job alone, in pieces, into what room there is: the place that is left for one batch may do for a
// part of it. What goes before entries goes alone, into the reserve that the log keeps for it, or where it was if it is repaired, and the core is told,
// as it is of each piece: a leader applies what others have committed. What is durable is cut off the job;
// its messages wait for the rest.
func (a *appender) squeeze() error {
	a.mu.Lock()
	a.waiting = append(slices.Clone(a.jobs[1:]), a.waiting...)
	a.mu.Unlock()
	clear(a.jobs[1:])
	a.jobs = a.jobs[:1]
	w := &a.jobs[0].write
	rest := w.Entries
	if w.Base != nil || w.HardState != nil || len(w.Repairs) > 0 {
		w.Entries = nil
		if err := a.append(); err != nil {
			w.Entries = rest
			return err
		}
		a.based(w.Base)
		w.Base, w.HardState, w.Repairs = nil, nil, nil
		a.report(raft.PartDone{Seq: w.Seq}, true)
	}
	for len(rest) > 0 {
		n := 0
		for bytes := 0; n < len(rest) && (n == 0 || bytes < squeezeBytes); n++ {
			bytes += rest[n].Size()
		}
		w.Entries = rest[:n]
		if err := a.append(); err != nil {
			w.Entries = rest
			return err
		}
		a.report(raft.PartDone{Seq: w.Seq, Last: rest[n-1].Index}, true)
		rest = rest[n:]
	}
	w.Entries = nil
	return nil
}

// squeezeBytes is about how much is appended at a time when room is short.
const squeezeBytes = 64 << 10

// finish lets the messages go of what is durable now, and tells the loop.
func (a *appender) finish() {
	seq := uint64(0)
	for i := range a.jobs {
		for _, m := range a.jobs[i].then {
			a.send(m)
		}
		seq = max(seq, a.jobs[i].write.Seq)
		a.based(a.jobs[i].write.Base)
	}
	clear(a.jobs)
	if seq > 0 {
		a.spot.acts = a.report(raft.DiskDone{Seq: seq}, a.waits())
	}
}

// based lets go of the snapshot that a new base, durable now, stands for.
func (a *appender) based(b *raft.Base) {
	if b != nil {
		a.release()
	}
}

// waits reports whether a step has something to do.
func (a *appender) waits() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.waiting) > 0
}

func (a *appender) append() error {
	a.batches = a.batches[:0]
	for i := range a.jobs {
		if w := &a.jobs[i].write; w.Seq > 0 {
			b := wal.Batch{Group: onlyGroup, HardState: w.HardState, Entries: w.Entries}
			if w.Base != nil {
				base, err := folder.LogBase(a.log, *w.Base)
				if err != nil {
					return fmt.Errorf("the time of entry %v: %w", w.Base.ID, err)
				}
				b.Base = base
			}
			a.batches = append(a.batches, b)
		}
	}
	if len(a.batches) == 0 {
		return nil
	}
	defer clear(a.batches)
	if err := a.repair(); err != nil {
		return err
	}
	began := time.Now()
	err := a.log.Append(a.batches...)
	if err != nil {
		a.spot.slow()
	} else {
		a.spot.took(time.Since(began), spotSyncMax)
		a.marks.synced(lastOf(a.batches), began)
	}
	return err
}

// lastOf is the last entry of batches; 0: they have none.
func lastOf(batches []wal.Batch) (last rpc.Index) {
	for i := range batches {
		if n := len(batches[i].Entries); n > 0 {
			last = batches[i].Entries[n-1].Index
		}
	}
	return last
}

// repair puts back what the disk had lost, each entry in its own place and durable when this returns. What it repairs was in the
// log when the node started, so the writes that wait with it change nothing about it; and what is repaired twice was whole.
func (a *appender) repair() error {
	for i := range a.jobs {
		for _, e := range a.jobs[i].write.Repairs {
			err := a.log.Repair(onlyGroup, e)
			if errors.Is(err, wal.ErrInvalid) {
				return fmt.Errorf("repair entry %v: the leader's entry is not the one that was written here, so the two logs do not belong together and nothing was changed: keep this folder, and put a new one in its place with raftbus member replace: %w", e.ID(), err)
			}
			if err != nil {
				return fmt.Errorf("repair entry %v: %w", e.ID(), err)
			}
		}
	}
	return nil
}

func (a *appender) putBack() {
	a.mu.Lock()
	a.waiting = append(slices.Clone(a.jobs), a.waiting...)
	clear(a.jobs)
	a.jobs = a.jobs[:0]
	a.mu.Unlock()
}

// run is the appender's goroutine. It ends when stop is closed and nothing waits, or at the first error, which is fatal
// (D5). A full disk is none: the same append is tried again until there is room.
func (a *appender) run(stop <-chan struct{}) error {
	defer a.spot.end()
	for {
		if !a.spot.begin() {
			return nil // after an error on the spot, which was told
		}
		worked, err := a.spot.run(a.step)
		full := errors.Is(err, wal.ErrFull)
		switch {
		case err != nil && !full:
			return err
		case worked && !full:
			continue
		case closed(stop):
			return nil
		}
		a.pause(stop, full)
	}
}

// pause waits for work, or while the disk is full for a moment.
func (a *appender) pause(stop <-chan struct{}, full bool) {
	wake, retry := a.spot.bell, (<-chan time.Time)(nil)
	if full {
		wake, retry = nil, time.After(fullRetry)
	}
	select {
	case <-wake:
	case <-retry:
	case <-stop:
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
