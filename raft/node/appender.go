package node

import (
	"errors"
	"sync"
	"time"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// The appender makes writes durable, in order: all that wait in one append with one sync (group commit), so that load turns
// into bigger batches. Messages leave after the write they attest, never before (I10).

// job is one turn's write, and the messages that wait for it and all before it.
type job struct {
	write raft.Write
	then  []rpc.Message
}

// fullRetry is how often an append is tried again while the disk is full.
const fullRetry = 100 * time.Millisecond

type appender struct {
	log   *wal.Log
	group wal.GroupID
	send  func(rpc.Message)
	inbox *inbox

	mu      sync.Mutex
	waiting []job
	wake    chan struct{}

	jobs    []job // of the step under way; reused
	batches []wal.Batch
}

// jobsMax bounds what waits for a disk that hangs.
const jobsMax = 8192

// submit queues a job. Writes are bounded by what the core lets wait: proposals on a leader, a window of AppendLogs on a
// follower. Messages alone are not, so beyond the bound they are dropped, as the bus might: whoever asked asks again.
func (a *appender) submit(j job) {
	a.mu.Lock()
	if j.write.Seq > 0 || len(a.waiting) < jobsMax {
		a.waiting = append(a.waiting, j)
	}
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// step appends all that waits. It reports whether there was anything. If the disk is full nothing was written, and all
// of it waits again.
func (a *appender) step() (bool, error) {
	a.mu.Lock()
	a.jobs, a.waiting = a.waiting, a.jobs[:0]
	a.mu.Unlock()
	if len(a.jobs) == 0 {
		return false, nil
	}
	if err := a.append(); err != nil {
		a.putBack()
		return true, err
	}
	seq := uint64(0)
	for i := range a.jobs {
		for _, m := range a.jobs[i].then {
			a.send(m)
		}
		seq = max(seq, a.jobs[i].write.Seq)
	}
	clear(a.jobs)
	if seq > 0 {
		a.inbox.completed(raft.DiskDone{Seq: seq})
	}
	return true, nil
}

func (a *appender) append() error {
	a.batches = a.batches[:0]
	for i := range a.jobs {
		if w := &a.jobs[i].write; w.Seq > 0 {
			a.batches = append(a.batches, wal.Batch{Group: a.group, HardState: w.HardState, Entries: w.Entries})
		}
	}
	if len(a.batches) == 0 {
		return nil
	}
	defer clear(a.batches)
	return a.log.Append(a.batches...)
}

func (a *appender) putBack() {
	a.mu.Lock()
	a.waiting = append(a.jobs, a.waiting...)
	a.jobs = nil
	a.mu.Unlock()
}

// run is the appender's goroutine. It ends when stop is closed and nothing waits, or at the first error, which is fatal
// (D5). A full disk is none: the same append is tried again until there is room.
func (a *appender) run(stop <-chan struct{}) error {
	for {
		worked, err := a.step()
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
	wake, retry := a.wake, (<-chan time.Time)(nil)
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
