package busclient

// The open rounds of one peer: what was asked and not yet answered. Each round ends once, by its return, by an error, or
// by its deadline, whichever is first; whoever takes it out of the table calls its done. Nothing here sends or reads a
// clock.

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/raftbus/raftbus/raft/rpc"
)

// What may be open at once to one peer. A peer that answers slowly thus never makes NATS hold more for it than this, and
// NATS cuts a slow consumer only far beyond (F9).
const (
	inFlightCallsMax = 1024    // per connection, so that many entries on their way keep no heartbeat back
	inFlightBytesMax = 8 << 20 // per connection; one message alone may be larger
	inFlightPingsMax = 64
)

// outcome is how a round ended: the peer's return, or an error alone.
type outcome struct {
	header *rpc.Header
	body   rpc.Body
	err    error
}

// round is a command sent, whose return is awaited.
type round struct {
	id       uint64
	method   rpc.Method
	path     path
	ping     bool // pings go out whether or not calls may
	shared   bool // other peers got the same message, each with a round of this number
	bytes    int
	deadline time.Time
	another  *outcome      // what another than the peer answered, if one did: why, should the peer itself not answer in time
	done     func(outcome) // called without any lock held, once
}

// rounds is the table of one peer. Safe for use by several goroutines.
type rounds struct {
	mu      sync.Mutex
	open    map[uint64]round
	pings   int
	calls   [paths]int
	bytes   [paths]int
	refusal error // what calls are refused with, nil while they are taken
	closed  error // what everything is refused with
}

func newRounds(refusal error) *rounds {
	return &rounds{open: map[uint64]round{}, refusal: refusal}
}

// begin opens a round, or says why not: the link is broken, or too much is in flight.
func (t *rounds) begin(r round) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.admit(r); err != nil {
		return err
	}
	t.open[r.id] = r
	t.account(r, 1)
	return nil
}

func (t *rounds) admit(r round) error {
	switch {
	case t.closed != nil:
		return t.closed
	case r.ping && t.pings >= inFlightPingsMax:
		return ErrTooManyInFlight
	case r.ping:
		return nil
	case t.refusal != nil:
		return t.refusal
	case t.calls[r.path] >= inFlightCallsMax, t.bytes[r.path] > 0 && t.bytes[r.path]+r.bytes > inFlightBytesMax:
		return ErrTooManyInFlight
	}
	return nil
}

func (t *rounds) account(r round, n int) {
	if r.ping {
		t.pings += n
		return
	}
	t.calls[r.path] += n
	t.bytes[r.path] += n * r.bytes
}

func (t *rounds) openPings() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pings
}

// end takes a round out of the table if it is open and fits.
func (t *rounds) end(id uint64, fits func(round) bool) (round, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, open := t.open[id]
	if !open || !fits(r) {
		return round{}, false
	}
	t.remove(r)
	return r, true
}

// suspect notes what another than the peer answered, if the round is open and fits. The round goes on.
func (t *rounds) suspect(id uint64, fits func(round) bool, another outcome) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, open := t.open[id]
	if !open || !fits(r) {
		return false
	}
	r.another = &another
	t.open[id] = r
	return true
}

// withdraw takes a round out of the table without calling its done, and reports whether it was still open.
func (t *rounds) withdraw(id uint64) bool {
	_, open := t.end(id, func(round) bool { return true })
	return open
}

func (t *rounds) remove(r round) {
	delete(t.open, r.id)
	t.account(r, -1)
}

// accept takes calls from now on.
func (t *rounds) accept() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refusal = nil
}

// refuse takes no calls from now on, and ends those that are open; pings go on.
func (t *rounds) refuse(reason error) {
	t.mu.Lock()
	t.refusal = reason
	ended := t.take(func(r round) bool { return !r.ping })
	t.mu.Unlock()
	finish(ended, reason)
}

// fail ends all that is open.
func (t *rounds) fail(reason error) {
	t.mu.Lock()
	ended := t.take(func(round) bool { return true })
	t.mu.Unlock()
	finish(ended, reason)
}

// close ends all that is open, and takes nothing any more.
func (t *rounds) close(reason error) {
	t.mu.Lock()
	t.closed = reason
	t.mu.Unlock()
	t.fail(reason)
}

// expire ends the rounds whose deadline has come, and reports whether others are open.
func (t *rounds) expire(now time.Time) (open bool) {
	t.mu.Lock()
	ended := t.take(func(r round) bool { return !now.Before(r.deadline) })
	open = len(t.open) > 0
	t.mu.Unlock()
	for _, r := range ended {
		r.done(r.overdue())
	}
	return open
}

// overdue is how a round ends at its deadline.
func (r round) overdue() outcome {
	if r.another != nil {
		return *r.another
	}
	return outcome{err: ErrTimeout}
}

// take removes the rounds it is asked for, the oldest first: a simulated run must not depend on the order of a map.
func (t *rounds) take(which func(round) bool) []round {
	var taken []round
	for _, r := range t.open {
		if which(r) {
			taken = append(taken, r)
			t.remove(r)
		}
	}
	slices.SortFunc(taken, func(a, b round) int { return cmp.Compare(a.id, b.id) })
	return taken
}

func finish(ended []round, reason error) {
	for _, r := range ended {
		r.done(outcome{err: reason})
	}
}
