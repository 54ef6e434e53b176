// Package stalltest measures how long the machine kept a test waiting, so that bounds on time judge the product: what is tested may have been kept
// waiting as long.
package stalltest

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// Meter has for how long this process was kept waiting: how late a goroutine of it was that wants to run every few milliseconds.
type Meter struct {
	mu           sync.Mutex
	began        time.Time
	due          time.Time // when that goroutine wants to run next; zero: it has ended
	longest, all time.Duration
}

const (
	// period is how often it wants to run. That it is late by less is no stall.
	period = 5 * time.Millisecond
	// idle is how late it may be on a machine that has nothing else to do. What is more adds up: a busy machine is late by a few milliseconds each time.
	idle = time.Millisecond
)

// During measures from now until the test ends.
func During(t testing.TB) *Meter { return Until(t.Context().Done()) }

// Until measures from now until it is told to stop.
func Until(stop <-chan struct{}) *Meter {
	m := begin(time.Now())
	go func() {
		for {
			select {
			case <-time.After(period):
				now := time.Now()
				m.ran(now, now.Add(period))
			case <-stop:
				m.ran(time.Now(), time.Time{})
				return
			}
		}
	}()
	return m
}

func begin(now time.Time) *Meter { return &Meter{began: now, due: now.Add(period)} }

func (m *Meter) ran(now, due time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.longest, m.all = m.kept(now)
	m.due = due
}

// kept is what is known by a time. The goroutine may be late at that moment, and not have been able to say so.
func (m *Meter) kept(now time.Time) (longest, all time.Duration) {
	late := now.Sub(m.due)
	longest, all = m.longest, m.all
	if m.due.IsZero() {
		return longest, all
	}
	if late > idle {
		all += late
	}
	if late > period {
		longest = max(longest, late)
	}
	return longest, all
}

func (m *Meter) soFar() (longest, all, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	longest, all = m.kept(now)
	return longest, all, now.Sub(m.began) - all
}

// Lost is how much time it was kept from running so far: what takes many steps, one after the other, was kept from each of them.
func (m *Meter) Lost() time.Duration {
	_, all, _ := m.soFar()
	return all
}

// Longest is the longest time that it was kept from running.
func (m *Meter) Longest() time.Duration {
	longest, _, _ := m.soFar()
	return longest
}

// Took is how long it is since the measurement began, without what was lost.
func (m *Meter) Took() time.Duration {
	_, _, took := m.soFar()
	return took
}

func (m *Meter) String() string {
	longest, all, _ := m.soFar()
	return fmt.Sprintf("the machine kept this process waiting for %v at most, for %v in all", longest.Round(time.Millisecond), all.Round(time.Millisecond))
}
