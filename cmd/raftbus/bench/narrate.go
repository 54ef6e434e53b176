package bench

// Telling how far a run is.

import (
	"context"
	"sync"
	"time"
)

const tellEvery = time.Second

// stage is a phase to be told of: it lasts until a time, or until the run says that it is over.
type stage struct {
	name  string
	until time.Time
	total uint64
}

// narrate tells that each stage begins, and once a second how far it is; after the last one that it has ended. The func that it returns
// ends it and waits for it.
func (r *run) narrate(ctx context.Context, stages ...stage) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() {
		for _, s := range stages {
			r.narrateOne(ctx, s)
		}
		r.tell(Progress{Phase: Ended, Begins: true})
	})
	return func() {
		cancel()
		group.Wait()
	}
}

func (r *run) narrateOne(ctx context.Context, s stage) {
	began := time.Now()
	if !s.until.IsZero() && !began.Before(s.until) || ctx.Err() != nil {
		return
	}
	done, failed := r.counts()
	now := Progress{Phase: s.name, Begins: true, Total: s.total}
	if !s.until.IsZero() {
		now.Takes = s.until.Sub(began)
	}
	r.tell(now)
	now.Begins = false
	alarm := newAlarm()
	defer alarm.stop()
	for next := began.Add(tellEvery); ; next = next.Add(tellEvery) {
		last := !s.until.IsZero() && !next.Before(s.until)
		if last {
			next = s.until
		}
		if !alarm.wait(ctx, next) || last {
			return
		}
		all, bad := r.counts()
		now.Done, now.Failed, now.Elapsed = all-done, bad-failed, time.Since(began)
		r.tell(now)
	}
}

func (r *run) tell(p Progress) {
	if r.Progress != nil {
		r.Progress(p)
	}
}
