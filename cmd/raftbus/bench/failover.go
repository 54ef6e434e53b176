package bench

// The failover workload: for how long no write is acknowledged when a leader dies.

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// gapMin is the shortest time without an acknowledged write that is called a gap; at least some writes are due in it.
const (
	gapMin    = 50 * time.Millisecond
	gapWrites = 10
)

// FailoverReport is what failover adds to a report. With kills there is one gap for each: the longest that was not over before it.
type FailoverReport struct {
	Kills    int     `json:"kills"`
	Gaps     []Gap   `json:"gaps"`
	MedianMS float64 `json:"median_ms"`
	WorstMS  float64 `json:"worst_ms"`
}

// Gap is a time without an acknowledged write.
type Gap struct {
	At float64 `json:"at_seconds"` // since the measure began: the kill, or the last write before it
	MS float64 `json:"ms"`
}

// failover writes on while leaders are killed.
func (r *run) failover(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	r.gaps.least = gapMin
	if r.Rate > 0 {
		r.gaps.least = max(gapMin, time.Duration(gapWrites/r.Rate*float64(time.Second)))
	}
	begin := time.Now() // one for kills and load: on a busy machine a kill would be before its time by the other's
	var killer sync.WaitGroup
	if r.Kill != nil {
		killer.Go(func() {
			if err := r.killAll(ctx, begin.Add(r.Warmup)); err != nil {
				cancel(fmt.Errorf("killing the leader: %w", err))
			}
		})
	}
	r.loopsFrom(ctx, begin)
	killer.Wait()
	r.gaps.done(r.end)
	return context.Cause(ctx)
}

// killAll kills as often as the time allows, first a moment after the begin.
func (r *run) killAll(ctx context.Context, begin time.Time) error {
	alarm := newAlarm()
	defer alarm.stop()
	first := begin.Add(min(time.Second, r.KillEvery/2))
	for i := range int(r.Duration / r.KillEvery) {
		if !alarm.wait(ctx, first.Add(time.Duration(i)*r.KillEvery)) {
			return nil
		}
		r.kills = append(r.kills, time.Now())
		if err := r.killOne(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (r *run) killOne(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.KillEvery)
	defer cancel()
	return r.Kill(ctx)
}

func (r *run) failoverReport() *FailoverReport {
	report := &FailoverReport{Kills: len(r.kills), Gaps: []Gap{}}
	add := func(from time.Time, length time.Duration) {
		report.Gaps = append(report.Gaps, Gap{At: from.Sub(r.begin).Seconds(), MS: milliseconds(length)})
	}
	for i, kill := range r.kills {
		next := r.end
		if i+1 < len(r.kills) {
			next = r.kills[i+1]
		}
		add(kill, r.gaps.longest(kill, next))
	}
	if r.Kill == nil {
		for _, g := range r.gaps.list {
			add(g.from, g.length())
		}
	}
	report.MedianMS, report.WorstMS = medianAndWorst(report.Gaps)
	return report
}

func medianAndWorst(gaps []Gap) (median, worst float64) {
	if len(gaps) == 0 {
		return 0, 0
	}
	all := make([]float64, len(gaps))
	for i, g := range gaps {
		all[i] = g.MS
	}
	slices.Sort(all)
	return Median(all), all[len(all)-1]
}

// Median is the middle of numbers in order, or of the two in the middle.
func Median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
