package replica

// A start on a disk that something else has filled, or while too many files are open. Each start writes a little, were it only that there was one; to end for
// want of that would leave it to whoever starts nodes to try for as long as that lasts, and they give up soon.

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/wal"
)

// A step of a start that lacks room is tried again after a second, and then each time after twice as long, up to a bound: a try may leave a file.
const (
	patientRetry = time.Second
	patientMax   = 10 * time.Second
)

// patient has a step of a start wait while it lacks room, until ctx ends. It must leave no lock behind where it fails.
func (r *Replica) patient(step func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for wait := patientRetry; ; wait = min(2*wait, patientMax) {
			err := step(ctx)
			lacks := lack(err)
			if r.o.Waiting != nil {
				r.o.Waiting(r.o.ID, lacks)
			}
			if lacks == "" {
				return err
			}
			if wait == patientRetry {
				r.logger.Error("the start waits: "+lacks+". It goes on by itself", "err", err)
			}
			if r.o.Reading != nil {
				r.o.Reading()
			}
			if ended := pause(ctx, wait); ended != nil {
				return errors.Join(err, ended)
			}
		}
	}
}

// flushWait is how long a start waits for room to flush at most. What was written over and what is compressed take less on the disk than in the log, so a
// node that is held back may have room enough, and after a power loss all may be. One that has not ends, but seldom enough to be started again.
const flushWait = time.Minute

// atMost has a step that fails for so long be passed over.
func (r *Replica) atMost(longest time.Duration, step func(context.Context) error) func(context.Context) error {
	var began time.Time
	return func(ctx context.Context) error {
		if began.IsZero() {
			began = time.Now()
		}
		err := step(ctx)
		if err == nil || time.Since(began) < longest {
			return err
		}
		r.logger.Warn("the start goes on without what it seems to lack: what is to be flushed may be less than is in the log", "err", err)
		return nil
	}
}

// roomToFlush fails while the disk has no room for what the state has to flush again, with what the log can free of it, and the
// start itself: a received snapshot goes where it lacks room. Such a node would apply all that, fail to flush it some seconds later, and end: each time that
// it is started, until nobody starts it any more (F21).
func (r *Replica) roomToFlush(context.Context) error {
	usage, err := r.o.FS.GetDiskUsage(r.folder.Path("kv"))
	if err != nil {
		return nil // a file system that can not tell is believed to have it
	}
	spare, unflushed := r.log.Around(0, r.store.Durable())
	spare += r.folder.Received()
	if need := min(unflushed, store.Reserve(0)); int64(usage.AvailBytes)+spare < need {
		return fmt.Errorf("%d KiB are free, and the state is to flush up to %d KiB, which is tried after %v all the same: %w", usage.AvailBytes>>10, need>>10, flushWait, syscall.ENOSPC)
	}
	return nil
}

// lack is what a step lacks that may come, with the remedy; empty: nothing.
func lack(err error) string {
	switch {
	case wal.TooManyFiles(err):
		return "too many files are open: raise the limit (LimitNOFILE=, ulimit -n, fs.file-max), or close what holds them"
	case wal.IsFull(err):
		return "the disk has no space left: free some, or make the volume larger"
	}
	return ""
}
