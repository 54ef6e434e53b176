package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// requireMS compares as exactly as a histogram of three digits can.
func requireMS(t *testing.T, want, have float64) {
	t.Helper()
	require.InEpsilon(t, want, have, 0.002)
}

func TestAClosedLoopIsAsFastAsTheStore(t *testing.T) {
	for _, name := range []string{"put", "get", "cas", "mixed"} {
		bubble(t, name, func(_ *fake, o *Options) { o.Clients, o.Conns, o.Keys = 4, 2, 8 }, func(r Report, err error, f *fake) {
			require.NoError(t, err)
			require.Equal(t, 2, f.conns)
			require.EqualValues(t, 4*100*10, r.Count, name)
			require.EqualValues(t, 400, r.PerSecond)
			require.EqualValues(t, 10, r.Seconds)
			require.Zero(t, r.Failed, "%v", r.Failures)
			var all uint64
			for _, l := range r.Latency {
				all += l.Count
				requireMS(t, 10, l.P50)
				requireMS(t, 10, l.Max)
			}
			require.EqualValues(t, r.Count, all)
		})
	}
}

// A store that stalls once, for half a second: what was due in it waited, though one client had only one operation under way.
func TestAnOpenLoopOmitsNothing(t *testing.T) {
	stall := func(f *fake, o *Options) {
		o.Clients, o.Warmup, o.Duration = 1, 0, time.Second
		f.takes = 100 * time.Microsecond
		f.stall = func(now time.Duration) time.Duration {
			if now < 500*time.Millisecond {
				return 500 * time.Millisecond
			}
			return 0
		}
	}
	bubble(t, "put", func(f *fake, o *Options) { stall(f, o); o.Rate = 100 }, func(r Report, err error, _ *fake) {
		require.NoError(t, err)
		require.EqualValues(t, 100, r.Count)
		require.Zero(t, r.Unsent)
		l := r.Latency[0] // 50 took up to 5 ms, and the others 14, 24, ... 500 ms
		for want, have := range map[float64]float64{500: l.Max, 490: l.P99, 401: l.P90, 5: l.P50} {
			require.InDelta(t, want, have, 2)
		}
	})
	bubble(t, "put", stall, func(r Report, err error, _ *fake) {
		require.NoError(t, err)
		require.Less(t, r.Latency[0].P99, 1.0, "what a closed loop says of the same store")
	})
}

// The store takes 10 ms, so one client gives it 100 a second: of 200 a second half is never sent, and waited all the same.
func TestWhatIsNeverSentCounts(t *testing.T) {
	bubble(t, "put", func(_ *fake, o *Options) { o.Clients, o.Rate, o.Warmup, o.Duration = 1, 200, 0, time.Second }, func(r Report, err error, _ *fake) {
		require.NoError(t, err)
		require.EqualValues(t, 100, r.Unsent)
		require.EqualValues(t, 200, r.Latency[0].Count)
		requireMS(t, 505, r.Latency[0].Max)
	})
}

func TestTheScheduleDoesNotDrift(t *testing.T) {
	s := &schedule{begin: time.Unix(0, 0), rate: 3}
	require.Equal(t, time.Unix(0, 0), s.due(0))
	require.Equal(t, time.Unix(1_000_000, 0), s.due(3_000_000))
	require.Equal(t, s.due(0), s.take())
	require.Equal(t, s.due(1), s.take())
	var rest []time.Time
	s.rest(time.Unix(2, 0), func(due time.Time) { rest = append(rest, due) })
	require.Equal(t, []time.Time{s.due(2), s.due(3), s.due(4), s.due(5)}, rest)
}

func TestFailuresAreCountedByKind(t *testing.T) {
	var n atomic.Int64
	bubble(t, "put", func(f *fake, o *Options) {
		o.Clients = 1
		f.fails = func(time.Duration) error {
			if i := n.Add(1); i%2 == 0 {
				return fmt.Errorf("number %d", i)
			}
			return nil
		}
	}, func(r Report, err error, _ *fake) {
		require.NoError(t, err)
		require.NotZero(t, r.Count)
		require.Len(t, r.Failures, failureKindsMax+1)
		require.Greater(t, r.Failures["others"], uint64(100))
		require.InDelta(t, r.Count, r.Failed, 1)
	})
}

func TestNothingDoneIsAnError(t *testing.T) {
	down := errors.New("down")
	bubble(t, "put", func(f *fake, o *Options) { f.fails = func(time.Duration) error { return down } }, func(r Report, err error, _ *fake) {
		require.ErrorIs(t, err, down)
		require.Zero(t, r.Count)
	})
	bubble(t, "get", func(f *fake, o *Options) { f.fails = func(time.Duration) error { return down } }, func(_ Report, err error, f *fake) {
		require.ErrorIs(t, err, down, "filling")
		require.Less(t, time.Since(f.base), 10*time.Second, "a store that is down is not tried for ever")
	})
	bubble(t, "put", func(f *fake, _ *Options) { f.takes = time.Minute }, func(r Report, err error, _ *fake) {
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, map[string]uint64{"timeout": 128}, r.Failures)
	})
}

func TestABrokenOffRunReportsWhatItHas(t *testing.T) {
	for _, rate := range []float64{0, 100} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			o, _ := Defaults("put")
			o.Clients, o.Rate = 1, rate
			r, err := Run(ctx, newFake(10*time.Millisecond), o)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.True(t, r.Interrupted)
			require.EqualValues(t, 2, r.Seconds)
			require.InDelta(t, 200, r.Count, 1)
			require.EqualValues(t, 100, r.PerSecond)
			require.Zero(t, r.Failed, "what was broken off did not fail")
		})
	}
}

func TestCASConflictsOnlyOnSharedKeys(t *testing.T) {
	bubble(t, "cas", func(_ *fake, o *Options) { o.Clients, o.Keys = 4, 1 }, func(r Report, err error, _ *fake) {
		require.NoError(t, err)
		require.NotZero(t, r.Failures["conflict"])
		require.NotZero(t, r.Count)
	})
}

func TestBulkWritesEveryKeyOnce(t *testing.T) {
	bubble(t, "bulk", func(_ *fake, o *Options) { o.Clients, o.Keys = 10, 1000 }, func(r Report, err error, f *fake) {
		require.NoError(t, err)
		require.Len(t, f.keys, 1000)
		require.Equal(t, 1000, f.count)
		require.EqualValues(t, 1000, r.Count)
		require.EqualValues(t, 1, r.Seconds)
		require.EqualValues(t, 1000, r.PerSecond)
	})
}

func TestWatchMeasuresEvents(t *testing.T) {
	bubble(t, "watch", func(_ *fake, o *Options) { o.Clients, o.Writers = 5, 2 }, func(r Report, err error, _ *fake) {
		require.NoError(t, err)
		require.EqualValues(t, 5*2*100, r.PerSecond)
		require.Equal(t, &WatchReport{Written: 2400, Delivered: 12000}, r.Watch)
		require.Equal(t, "event", r.Latency[0].Op)
		requireMS(t, 10, r.Latency[0].P99)
	})
}

// Kills keep the store from answering for 300 ms, and then for longer and longer: each gap is that of its own kill, though the last write
// before it was acknowledged before it.
func TestFailoverMeasuresTheGapOfEachKill(t *testing.T) {
	var killed, kills atomic.Int64
	bubble(t, "failover", func(f *fake, o *Options) {
		f.takes = time.Millisecond
		f.fails = func(now time.Duration) error {
			if at := time.Duration(killed.Load()); at > 0 && now >= at && now < at+time.Duration(kills.Load())*300*time.Millisecond {
				return errors.New("no leader")
			}
			return nil
		}
		o.Kill = func(context.Context) error {
			kills.Add(1)
			killed.Store(int64(time.Since(f.base)))
			return nil
		}
	}, func(r Report, err error, _ *fake) {
		require.NoError(t, err)
		require.Equal(t, 5, r.Failover.Kills)
		require.Len(t, r.Failover.Gaps, 5)
		for i, gap := range r.Failover.Gaps {
			require.InDelta(t, 300*(i+1), gap.MS, 10)
			require.Equal(t, float64(1+6*i), gap.At)
		}
		require.InDelta(t, 900, r.Failover.MedianMS, 10)
		require.InDelta(t, 1500, r.Failover.WorstMS, 10)
		require.NotZero(t, r.Failed)
	})
}

func TestAGapOverTwoKillsIsOfBoth(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	g := gaps{list: []gap{{at(1), at(2)}, {at(5), at(14)}}}
	require.Equal(t, time.Second, g.longest(at(1), at(4)))
	require.Equal(t, 5*time.Second, g.longest(at(3), at(10)), "up to the next kill")
	require.Equal(t, 9*time.Second, g.longest(at(10), at(20)), "all of it, since nothing was acknowledged in between")
	require.Zero(t, g.longest(at(14), at(20)))
}

func TestAFailedKillEndsTheRun(t *testing.T) {
	bubble(t, "failover", func(_ *fake, o *Options) {
		o.Kill = func(context.Context) error { return errors.New("no such process") }
	}, func(r Report, err error, f *fake) {
		require.ErrorContains(t, err, "killing the leader: no such process")
		require.Less(t, time.Since(f.base), 5*time.Second)
	})
}

// Without kills the gaps are found, also one that has not ended.
func TestFailoverFindsGaps(t *testing.T) {
	bubble(t, "failover", func(f *fake, o *Options) {
		f.fails = func(now time.Duration) error {
			if now > 4*time.Second && now < 5*time.Second || now > 31*time.Second {
				return errors.New("no leader")
			}
			return nil
		}
	}, func(r Report, err error, _ *fake) {
		require.NoError(t, err)
		require.Len(t, r.Failover.Gaps, 2)
		require.InDelta(t, 1000, r.Failover.Gaps[0].MS, 15)
		require.InDelta(t, 1000, r.Failover.Gaps[1].MS, 15)
		require.Zero(t, r.Failover.Kills)
	})
}

func TestProgressTellsEachPhase(t *testing.T) {
	var told []string
	bubble(t, "cas", func(_ *fake, o *Options) {
		o.Clients, o.Duration = 1, 3*time.Second
		o.Progress = func(p Progress) {
			line := p.Phase
			if !p.Begins {
				line = fmt.Sprintf("%s %d/%d after %v of %v", p.Phase, p.Done, p.Total, p.Elapsed, p.Takes)
			}
			if len(told) == 0 || told[len(told)-1] != line {
				told = append(told, line)
			}
		}
		o.Keys = 150 * fillersMin
	}, func(_ Report, err error, _ *fake) {
		require.NoError(t, err)
		require.Len(t, told, 9, "%q", told)
		require.Equal(t, Filling, told[0])
		require.Regexp(t, "^filling [56][0-9]{3}/9600 after 1s of 0s", told[1])
		require.Equal(t, Ended, told[2])
		require.Equal(t, Warming, told[3])
		require.Regexp(t, "^warming up (99|100)/0 after 1s of 2s", told[4])
		require.Equal(t, Measuring, told[5])
		require.Regexp(t, "^measuring (99|100|101)/0 after 1s of 3s", told[6])
		require.Equal(t, Ended, told[8])
	})
}

func TestOptionsThatCannotBeAreRefusedAtOnce(t *testing.T) {
	_, err := Run(t.Context(), nil, Options{Workload: "delete"})
	require.ErrorContains(t, err, "use one of put, get")
	for _, c := range []struct {
		workload string
		change   func(*Options)
		want     string
	}{
		{"put", func(o *Options) { o.Clients = 0 }, "clients 0: use 1 to"},
		{"put", func(o *Options) { o.Conns = 65 }, "conns 65: use 1 to the number of clients, 64"},
		{"put", func(o *Options) { o.Rate = -1 }, "rate -1"},
		{"bulk", func(o *Options) { o.Rate = 1 }, "bulk has none"},
		{"get", func(o *Options) { o.Keys = 0 }, "keys 0"},
		{"put", func(o *Options) { o.Size = -1 }, "size -1"},
		{"watch", func(o *Options) { o.Size = 7 }, "carry their time"},
		{"watch", func(o *Options) { o.Writers = 0 }, "writers 0"},
		{"put", func(o *Options) { o.Duration = 0 }, "duration 0s"},
		{"put", func(o *Options) { o.Timeout = time.Hour }, "timeout 1h0m0s"},
		{"mixed", func(o *Options) { o.ReadPercent = 101 }, "reads 101"},
		{"put", func(o *Options) { o.Kill = func(context.Context) error { return nil } }, "--kill-cmd is failover's alone"},
		{"failover", func(o *Options) { o.Kill, o.KillEvery = func(context.Context) error { return nil }, time.Hour }, "--kill-every 1h0m0s"},
	} {
		o, _ := Defaults(c.workload)
		require.NoError(t, o.Check())
		o.Conns = 0
		c.change(&o)
		_, err := Run(t.Context(), nil, o)
		require.ErrorContains(t, err, c.want)
	}
}
