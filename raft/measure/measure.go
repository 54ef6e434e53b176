// Package measure counts how long things take, so cheaply that it may stand where every request passes: two atomic additions, no
// lock, no allocation. It knows nothing of what it measures.
package measure

import (
	"slices"
	"sync/atomic"
	"time"
)

// Bounds are the upper ends of a histogram's buckets; the last bucket is for what takes longer than all of them. They are the same
// everywhere, so that figures of nodes and of builds can be added up.
var Bounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 200 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
}

// Histogram counts durations. The zero value is ready; any number of goroutines may use it.
type Histogram struct {
	counts [len(Bounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

// Observe counts one duration. Below zero, as after a step of the clock, counts as zero.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	i := 0
	for i < len(Bounds) && d > Bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Read returns what was counted. What is counted meanwhile may be in it in part.
func (h *Histogram) Read() (d Durations) {
	for i := range h.counts {
		d.Counts[i] = h.counts[i].Load()
	}
	d.Sum = time.Duration(h.sum.Load())
	return d
}

// Durations are what a histogram had counted at one moment: per bucket, not added up.
type Durations struct {
	Counts [len(Bounds) + 1]uint64
	Sum    time.Duration
}

// Count is how many were counted.
func (d Durations) Count() (n uint64) {
	for _, c := range d.Counts {
		n += c
	}
	return n
}

// And is what two histograms have counted.
func (d Durations) And(other Durations) Durations {
	for i := range d.Counts {
		d.Counts[i] += other.Counts[i]
	}
	d.Sum += other.Sum
	return d
}

// Since is what was counted after an earlier moment of the same histogram. If that is none of its moments, as after a restart, it
// is all.
func (d Durations) Since(earlier Durations) Durations {
	for i := range d.Counts {
		if earlier.Counts[i] > d.Counts[i] {
			return d
		}
	}
	for i := range d.Counts {
		d.Counts[i] -= earlier.Counts[i]
	}
	d.Sum -= earlier.Sum
	return d
}

// Quantile is the duration that a share q of those counted did not exceed, taken to lie evenly within their bucket; 0 if none was
// counted. What lies beyond the last bound is told as that.
func (d Durations) Quantile(q float64) time.Duration {
	rank := q * float64(d.Count())
	below, from := 0.0, time.Duration(0)
	for i, to := range Bounds {
		n := float64(d.Counts[i])
		if n > 0 && below+n >= rank {
			return from + time.Duration(float64(to-from)*(rank-below)/n)
		}
		below, from = below+n, to
	}
	if d.Count() == 0 {
		return 0
	}
	return slices.Max(Bounds[:])
}
