package bench

// What is written down of each operation.

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// What the histograms tell apart: from a microsecond to twenty minutes, to a thousandth of it.
const (
	latencyMin    = time.Microsecond
	latencyMax    = 20 * time.Minute
	latencyDigits = 3
)

// Bounds of what is remembered of failures and gaps.
const (
	failureKindsMax = 20
	failureTextMax  = 100
	gapsMax         = 10_000
)

// recorder takes the measures of all clients. A mutex is enough: what it holds is small beside an operation.
type recorder struct {
	begin, end time.Time // what counts is due in this time; nothing does while they are zero
	headline   op        // whose number is the throughput; empty: that of all together

	mu       sync.Mutex
	tallies  map[op]*tally
	failures map[string]uint64
	failed   uint64
	first    error // of those that count
	unsent   uint64
	allBad   uint64 // failures, whether they count or not
	gaps     gaps
}

// tally is what is known of one kind of operation.
type tally struct {
	latency *hdrhistogram.Histogram
	all     uint64 // done, whether they count or not
	inTime  uint64 // done between begin and end, which makes the throughput
}

// record takes an operation that was due, and done or failed.
func (r *recorder) record(o op, due, done time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := !due.Before(r.begin) && due.Before(r.end)
	if err != nil {
		r.allBad++
		if counts {
			r.fail(err)
		}
		return
	}
	r.gaps.done(done)
	t := r.tally(o)
	t.all++
	if !done.Before(r.begin) && done.Before(r.end) {
		t.inTime++
	}
	if counts {
		t.add(done.Sub(due))
	}
}

// skip takes an operation that was due and never sent. Its client would have waited for longer than until the end.
func (r *recorder) skip(o op, due time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !due.Before(r.begin) {
		r.unsent++
		r.tally(o).add(r.end.Sub(due))
	}
}

// finish has nothing count that is due from now on.
func (r *recorder) finish(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end = now
}

func (r *recorder) tally(o op) *tally {
	t := r.tallies[o]
	if t == nil {
		t = &tally{latency: hdrhistogram.New(int64(latencyMin), int64(latencyMax), latencyDigits)}
		r.tallies[o] = t
	}
	return t
}

func (t *tally) add(latency time.Duration) {
	_ = t.latency.RecordValue(int64(min(max(latency, latencyMin), latencyMax))) // fails only out of its range
}

func (r *recorder) fail(err error) {
	r.failed++
	if r.first == nil {
		r.first = err
	}
	kind := failureKind(err)
	if _, known := r.failures[kind]; !known && len(r.failures) >= failureKindsMax {
		kind = "others"
	}
	r.failures[kind]++
}

// failureKind is one text for all failures of a kind.
func failureKind(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, ErrConflict):
		return ErrConflict.Error()
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text[:min(len(text), failureTextMax)]
}

// counts is how much was done and failed so far, in all.
func (r *recorder) counts() (done, failed uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sum(func(t *tally) uint64 { return t.all }), r.allBad
}

// done is how often one kind of operation was done so far.
func (r *recorder) done(o op) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tally(o).all
}

// sum adds up what makes the throughput. The mutex is held.
func (r *recorder) sum(of func(*tally) uint64) (sum uint64) {
	for o, t := range r.tallies {
		if r.headline == "" || o == r.headline {
			sum += of(t)
		}
	}
	return sum
}

// gaps are the times in which nothing was done.
type gaps struct {
	least time.Duration // that is one; zero: none are looked for
	last  time.Time
	list  []gap
}

type gap struct{ from, to time.Time }

func (g gap) length() time.Duration { return g.to.Sub(g.from) }

// done takes when something was done.
func (g *gaps) done(at time.Time) {
	if g.least == 0 || at.Before(g.last) {
		return
	}
	if at.Sub(g.last) >= g.least && len(g.list) < gapsMax {
		g.list = append(g.list, gap{g.last, at})
	}
	g.last = at
}

// longest is how long the longest gap lasted that was not over at a time; what of it is after until is somebody else's.
func (g *gaps) longest(from, until time.Time) (longest time.Duration) {
	for _, one := range g.list {
		if one.to.After(from) && one.to.Before(until) {
			longest = max(longest, one.length())
		} else if one.to.After(from) {
			longest = max(longest, until.Sub(one.from))
		}
	}
	return longest
}
