package kv

import (
	"sync"
	"time"
)

// inflight holds the requests that are being carried out, oldest first, within bounds. A request is claimed once, by whoever
// answers it or gives it up, so that it gets one answer at most; it counts until it is freed, when that answer has been sent.
type inflight struct {
	countMax, bytesMax int

	mu          sync.Mutex
	count       int
	bytes       int
	first, last *request
	empty       chan struct{} // closed when count falls to zero; nil unless somebody waits
}

// add counts a request in; false if the bounds do not allow it. One request is always allowed, however large.
func (f *inflight) add(r *request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count >= f.countMax || f.count > 0 && f.bytes+r.weight > f.bytesMax {
		return false
	}
	f.count++
	f.bytes += r.weight
	r.waits = true
	if r.before = f.last; r.before == nil {
		f.first = r
	} else {
		r.before.after = r
	}
	f.last = r
	return true
}

// claim takes the right to answer a request; false if it was taken before.
func (f *inflight) claim(r *request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.take(r)
}

func (f *inflight) take(r *request) bool {
	if !r.waits {
		return false
	}
	r.waits = false
	if r.before == nil {
		f.first = r.after
	} else {
		r.before.after = r.after
	}
	if r.after == nil {
		f.last = r.before
	} else {
		r.after.before = r.before
	}
	r.before, r.after = nil, nil
	return true
}

// overdue claims the requests whose deadline has passed.
func (f *inflight) overdue(now time.Time) []*request {
	f.mu.Lock()
	defer f.mu.Unlock()
	var late []*request
	for f.first != nil && !now.Before(f.first.deadline) {
		late = append(late, f.first)
		f.take(f.first)
	}
	return late
}

// free counts a claimed request out.
func (f *inflight) free(r *request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count--
	f.bytes -= r.weight
	if f.count == 0 && f.empty != nil {
		close(f.empty)
		f.empty = nil
	}
}

// drained returns a channel that is closed when no request is being carried out.
func (f *inflight) drained() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.empty == nil {
		f.empty = make(chan struct{})
	}
	wait := f.empty
	if f.count == 0 {
		close(f.empty)
		f.empty = nil
	}
	return wait
}
