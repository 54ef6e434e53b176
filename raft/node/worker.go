package node

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// worker does pieces of work off the loop, one at a time, in the order in which they were asked for. Who asks has a bound on what
// waits.
type worker struct {
	mu    sync.Mutex
	queue []func() error
	wake  chan struct{}
}

func newWorker() worker { return worker{wake: make(chan struct{}, 1)} }

// do queues a piece of work.
func (w *worker) do(f func() error) {
	w.mu.Lock()
	w.queue = append(w.queue, f)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker) waits() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue) > 0
}

// step does the piece of work that waits longest. It reports whether there was one. An error is fatal.
func (w *worker) step() (bool, error) {
	w.mu.Lock()
	if len(w.queue) == 0 {
		w.mu.Unlock()
		return false, nil
	}
	f := w.queue[0]
	w.queue = w.queue[1:]
	w.mu.Unlock()
	return true, f()
}

// run is the worker's goroutine.
func (w *worker) run(stop <-chan struct{}) error {
	for {
		worked, err := w.step()
		switch {
		case err != nil || closed(stop):
			return err
		case worked:
			continue
		}
		select {
		case <-stop:
			return nil
		case <-w.wake:
		}
	}
}

// cutter reads the state for the streams: one view at a time is opened, cut or closed. It owns the sources.
type cutter struct {
	worker
	sources []*source
}

// open takes a view of the state. A log that is found damaged meanwhile ends the node.
func (c *cutter) open(machine StateMachine, size int, timeOf func(rpc.EntryID) (int64, error), then func(*source, error)) {
	c.do(func() error {
		source, err := openSource(machine, size, timeOf)
		if err == nil {
			c.sources = append(c.sources, source)
		}
		then(source, err)
		if bad := (*wal.CorruptError)(nil); errors.As(err, &bad) {
			return fmt.Errorf("open a snapshot: %w", withRemedy(err))
		}
		return nil
	})
}

func (c *cutter) cut(s *source, then func(data, digest []byte, err error)) {
	c.do(func() error { then(s.cut()); return nil })
}

func (c *cutter) close(s *source) {
	c.do(func() error {
		c.sources = slices.DeleteFunc(c.sources, func(o *source) bool { return o == s })
		_ = s.close() // it was only read from
		return nil
	})
}

// run is the cutter's goroutine.
func (c *cutter) run(stop <-chan struct{}) error { return errors.Join(c.worker.run(stop), c.end()) }

// end lets go of all views.
func (c *cutter) end() error {
	var errs []error
	for _, s := range c.sources {
		errs = append(errs, s.close())
	}
	c.sources = nil
	return errors.Join(errs...)
}
