// Package stall measures how long the machine keeps a test waiting: what is tested beside it may have been kept waiting as long, and a bound on time
// is a promise of that beside what the machine takes.
package stall

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// Meter has the longest time that this process was kept waiting.
type Meter struct{ longest atomic.Int64 }

// During measures until the test ends.
func During(t testing.TB) *Meter {
	m, stop, done := &Meter{}, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		m.Watch(stop)
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
	})
	return m
}

// Watch measures until it is told to stop.
func (m *Meter) Watch(stop <-chan struct{}) {
	const period = 5 * time.Millisecond
	for tick := time.NewTicker(period); ; {
		asked := time.Now()
		select {
		case <-tick.C:
			m.longest.Store(max(m.longest.Load(), int64(time.Since(asked)-period)))
		case <-stop:
			tick.Stop()
			return
		}
	}
}

// Longest is the longest so far.
func (m *Meter) Longest() time.Duration { return time.Duration(m.longest.Load()) }

func (m *Meter) String() string {
	return fmt.Sprintf("the machine kept this process waiting for %v at most", m.Longest().Round(time.Millisecond))
}
