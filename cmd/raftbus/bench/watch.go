package bench

// The watch workload: some write, and many watch.

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// drainTime bounds how long watchers may go on hearing of what was written.
const drainTime = 10 * time.Second

// WatchReport is what watch adds to a report.
type WatchReport struct {
	Written   uint64 `json:"written"`   // changes, by all writers, with those of the warm-up
	Delivered uint64 `json:"delivered"` // of them, to all watchers
	Skipped   uint64 `json:"skipped"`   // that a watcher was not told of, until some seconds after the last: overwritten before, or late
}

// watch has all clients' connections watch while the writers write.
func (r *run) watch(ctx context.Context) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	r.headline = opEvent
	if err := r.beginWatches(watching); err != nil {
		return err
	}
	r.loopsFrom(ctx, time.Now())
	r.drain(ctx)
	return nil
}

// beginWatches returns when all watchers hear of changes.
func (r *run) beginWatches(ctx context.Context) error {
	failed := make(chan error, r.Conns)
	var group sync.WaitGroup
	for i, store := range r.stores {
		group.Go(func() {
			for n := i; n < r.Clients; n += r.Conns {
				if err := store.Watch(ctx, r.event); err != nil {
					failed <- fmt.Errorf("watcher %d: %w", n, err)
					return
				}
			}
		})
	}
	group.Wait()
	close(failed)
	return <-failed
}

// event is called with each value that a watcher is told of.
func (r *run) event(value []byte) {
	now := time.Now()
	if len(value) < stampBytes {
		return // somebody else's
	}
	r.delivered.Add(1)
	r.record(opEvent, r.base.Add(time.Duration(binary.LittleEndian.Uint64(value))), now, nil)
}

// drain waits until all was delivered, or nothing is any more.
func (r *run) drain(ctx context.Context) {
	alarm := newAlarm()
	defer alarm.stop()
	want, before := r.done(opPut)*uint64(r.Clients), uint64(0)
	for end := time.Now().Add(drainTime); time.Now().Before(end); {
		now := r.delivered.Load()
		if now >= want || now == before || !alarm.wait(ctx, time.Now().Add(time.Second)) {
			return
		}
		before = now
	}
}

func (r *run) watchReport() *WatchReport {
	w := &WatchReport{Written: r.done(opPut), Delivered: r.delivered.Load()}
	if all := w.Written * uint64(r.Clients); all > w.Delivered {
		w.Skipped = all - w.Delivered
	}
	return w
}
