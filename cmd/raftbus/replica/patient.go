package replica

// A start on a disk that something else has filled, or while too many files are open. Each start writes a little, were it only that there was one; to end for
// want of that would leave it to whoever starts nodes to try for as long as that lasts, and they give up soon.

import (
	"context"
	"errors"
	"time"

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
			if lacks == "" {
				return err
			}
			if wait == patientRetry {
				r.logger.Error("the start waits: "+lacks, "err", err)
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

// lack is what a step lacks that may come, with the remedy; empty: nothing.
func lack(err error) string {
	switch {
	case wal.TooManyFiles(err):
		return "too many files are open: raise the limit (LimitNOFILE=, ulimit -n, fs.file-max), or close what holds them. It goes on by itself"
	case wal.IsFull(err):
		return "the disk has no space left: free some, or make the volume larger. It goes on by itself"
	}
	return ""
}
