package node

import "sync"

// worker does pieces of work off the loop, one at a time, in the order in which they were asked for. Who asks has a bound on what
// waits.
type worker struct {
	bell
	mu    sync.Mutex
	queue []func() error
}

func newWorker() worker { return worker{bell: newBell()} }

// do queues a piece of work.
func (w *worker) do(f func() error) {
	w.mu.Lock()
	w.queue = append(w.queue, f)
	w.mu.Unlock()
	w.ring()
}

// waiting is how many pieces of work are queued.
func (w *worker) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue)
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
func (w *worker) run(stop <-chan struct{}) error { return w.attend(stop, w.step) }
