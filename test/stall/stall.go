// Package stall measures how long the machine keeps a test waiting: what is tested beside it may have been kept waiting as long, and a bound on time
// is a promise of that beside what the machine takes.
package stall

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// Meter has the longest time that this process was kept waiting, and all such times together.
type Meter struct{ longest, all atomic.Int64 }

// period is how often it wants to run. What it is late by less than that is how things are on any machine.
const period = 5 * time.Millisecond

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
	for tick := time.NewTicker(period); ; {
		asked := time.Now()
		select {
		case <-tick.C:
			m.note(time.Since(asked) - period)
		case <-stop:
			tick.Stop()
			return
		}
	}
}

func (m *Meter) note(late time.Duration) {
	m.longest.Store(max(m.longest.Load(), int64(late)))
	if late > period {
		m.all.Add(int64(late))
	}
}

// Lost is how much time it was kept from running so far: what takes many steps, one after the other, was kept from each of them.
func (m *Meter) Lost() time.Duration { return time.Duration(m.all.Load()) }

func (m *Meter) String() string {
	rounded := func(n *atomic.Int64) time.Duration { return time.Duration(n.Load()).Round(time.Millisecond) }
	return fmt.Sprintf("the machine kept this process waiting for %v at most, for %v in all", rounded(&m.longest), rounded(&m.all))
}
