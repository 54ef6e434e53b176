package bench

// When operations are due.

import (
	"context"
	"sync/atomic"
	"time"
)

// schedule hands out the operations of an open loop to whichever client is free: operation i is due i/rate seconds after the begin,
// however late those before it were.
type schedule struct {
	begin time.Time
	rate  float64
	taken atomic.Uint64
}

func (s *schedule) due(i uint64) time.Time {
	return s.begin.Add(time.Duration(float64(i) / s.rate * float64(time.Second)))
}

// take is when the next operation is due.
func (s *schedule) take() time.Time { return s.due(s.taken.Add(1) - 1) }

// rest passes on when each operation was due that nobody took before the end: store or clients were too slow for it. By then no client
// takes any more.
func (s *schedule) rest(end time.Time, untaken func(due time.Time)) {
	for due := s.take(); due.Before(end); due = s.take() {
		untaken(due)
	}
}

// alarm is a timer that is set again and again.
type alarm struct{ timer *time.Timer }

func newAlarm() *alarm {
	return &alarm{time.NewTimer(time.Hour)}
}

func (a *alarm) stop() { a.timer.Stop() }

// wait returns at a time, or earlier when ctx ends: then false.
func (a *alarm) wait(ctx context.Context, until time.Time) bool {
	pause := time.Until(until)
	if pause <= 0 {
		return ctx.Err() == nil
	}
	a.timer.Reset(pause)
	select {
	case <-a.timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
