package stalltest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatTheMachineTakes(t *testing.T) {
	now := time.Now()
	m := begin(now)
	ran := func(late time.Duration) {
		now = now.Add(period + late)
		m.ran(now, now.Add(period))
	}
	requireKept := func(at time.Time, wantLongest, wantAll time.Duration) {
		t.Helper()
		longest, all := m.kept(at)
		require.Equal(t, wantLongest, longest)
		require.Equal(t, wantAll, all)
	}
	ran(idle) // as ever
	requireKept(now, 0, 0)
	for range 100 {
		ran(4 * time.Millisecond) // no stall, but what takes 100 steps is late by as many of them
	}
	requireKept(now, 0, 400*time.Millisecond)
	m.all = 0
	ran(300 * time.Millisecond)
	ran(200 * time.Millisecond)
	requireKept(now, 300*time.Millisecond, 500*time.Millisecond)
	requireKept(now.Add(period+400*time.Millisecond), 400*time.Millisecond, 900*time.Millisecond) // it is late, and could not say so
	ran(400 * time.Millisecond)
	requireKept(now, 400*time.Millisecond, 900*time.Millisecond)
	m.ran(now, time.Time{})
	requireKept(now.Add(time.Hour), 400*time.Millisecond, 900*time.Millisecond) // it has ended
}

func TestWhatTheMachineTookIsNotCounted(t *testing.T) {
	now := time.Now()
	m := Meter{began: now.Add(-10 * time.Second), due: now.Add(-4 * time.Second)}
	require.Equal(t, 6*time.Second, m.Took())
	require.GreaterOrEqual(t, m.Longest(), 4*time.Second)
	require.GreaterOrEqual(t, m.Lost(), 4*time.Second)
	m.ran(now, time.Time{})
	require.Contains(t, m.String(), "4s at most, for 4s in all")
}

func TestAMeterRunsUntilItIsStopped(t *testing.T) {
	stop := make(chan struct{})
	m := Until(stop)
	due := func() time.Time {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.due
	}
	first := m.began.Add(period)
	require.Eventually(t, func() bool { return due().After(first) }, 30*time.Second, time.Millisecond, "nobody measures")
	close(stop)
	require.Eventually(t, func() bool { return due().IsZero() }, 30*time.Second, time.Millisecond, "it goes on")
}
