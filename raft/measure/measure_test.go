package measure

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEachDurationIsInOneBucket(t *testing.T) {
	var h Histogram
	sum := time.Duration(0)
	for i, bound := range Bounds {
		h.Observe(bound) // the last one of its bucket
		h.Observe(bound + 1)
		sum += 2*bound + 1
		got := h.Read()
		require.EqualValues(t, 2*(i+1), got.Count())
		require.EqualValues(t, 1, got.Counts[i+1])
	}
	require.Equal(t, sum, h.Read().Sum)
	require.True(t, slices.IsSorted(Bounds[:]))
	h.Observe(-time.Second)
	require.Equal(t, sum, h.Read().Sum)
}

func TestCountedByManyAtOnce(t *testing.T) {
	var h Histogram
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				h.Observe(3 * time.Millisecond)
			}
		})
	}
	all.Wait()
	got := h.Read()
	require.EqualValues(t, 8000, got.Count())
	require.Equal(t, 24*time.Second, got.Sum)
}

// A quantile is off by a bucket at most.
func TestQuantiles(t *testing.T) {
	require.Zero(t, Durations{}.Quantile(0.5))
	random := rand.New(rand.NewPCG(1, 2))
	var h Histogram
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(random.ExpFloat64() * float64(3*time.Millisecond))
		h.Observe(d)
		all = append(all, d)
	}
	slices.Sort(all)
	got := h.Read()
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999} {
		exact := all[int(q*float64(len(all)))]
		require.InEpsilon(t, float64(exact), float64(got.Quantile(q)), 0.5, "%v of %v", got.Quantile(q), q)
	}
	h.Observe(time.Hour)
	got = h.Read()
	require.Equal(t, Bounds[len(Bounds)-1], got.Quantile(1))
}

func TestAnd(t *testing.T) {
	var a, b Histogram
	a.Observe(time.Millisecond)
	b.Observe(time.Millisecond)
	b.Observe(time.Minute)
	both := a.Read().And(b.Read())
	require.EqualValues(t, 3, both.Count())
	require.Equal(t, time.Minute+2*time.Millisecond, both.Sum)
	require.EqualValues(t, 1, a.Read().Count(), "it is unchanged")
}

func TestSince(t *testing.T) {
	var h Histogram
	h.Observe(time.Millisecond)
	before := h.Read()
	h.Observe(time.Second)
	after := h.Read()
	part := after.Since(before)
	require.EqualValues(t, 1, part.Count())
	require.Equal(t, time.Second, part.Sum)
	require.Equal(t, before, before.Since(after), "a restart begins at zero")
}

func TestObserveAllocatesNothing(t *testing.T) {
	var h Histogram
	require.Zero(t, testing.AllocsPerRun(100, func() { h.Observe(time.Millisecond) }))
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	for b.Loop() {
		h.Observe(3 * time.Millisecond)
	}
}
