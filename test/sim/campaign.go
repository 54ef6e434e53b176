package sim

// A campaign runs many seeds, on all cores: each seed is a world of its own, on one goroutine.

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

type campaign struct {
	from  uint64
	first []result // of the first seeds, in order: run again, they are the same
	total stats
	seeds int
	took  time.Duration
	wrong []result // in order of seed
}

// wrongMax is how many failures a campaign waits for before it ends early.
const wrongMax = 5

// againMax is how many seeds' results a campaign keeps, so that they can be run again.
const againMax = 20

// seedTimeMax is how long a seed may run, in real time: mostly it takes a tenth of a second. One that hangs hangs in a step of the
// production code, and cannot be ended but with the process.
const seedTimeMax = 3 * time.Minute

// runCampaign runs seeds from a first one on, until so many have failed. Seeds are begun in order and all that were begun are
// finished, so that the first failure is the same whatever the number of cores.
func runCampaign(from uint64, seeds, wrongMax int, v variant) *campaign {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // worlds are small and short-lived
	c, began := &campaign{from: from, first: make([]result, min(seeds, againMax))}, time.Now()
	results := make(chan result)
	var next, failed atomic.Int64
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for failed.Load() < int64(wrongMax) {
				i := next.Add(1) - 1
				if i >= int64(seeds) {
					return
				}
				r := runInTime(from+uint64(i), v)
				if r.wrong != nil {
					failed.Add(1)
				}
				results <- r
			}
		})
	}
	go func() { group.Wait(); close(results) }()
	for r := range results {
		c.take(r)
	}
	slices.SortFunc(c.wrong, func(a, b result) int { return cmp.Compare(a.seed, b.seed) })
	c.took = time.Since(began)
	return c
}

// runInTime runs a seed that ends, or ends all.
func runInTime(seed uint64, v variant) result {
	late := time.AfterFunc(seedTimeMax, func() { panic(fmt.Sprintf("seed %d has run for %v: it hangs", seed, seedTimeMax)) })
	defer late.Stop()
	return runSeed(seed, options{variant: v})
}

func (c *campaign) take(r result) {
	if i := r.seed - c.from; i < uint64(len(c.first)) {
		c.first[i] = r
	}
	c.seeds++
	c.total.add(&r.stats)
	if r.wrong != nil {
		c.wrong = append(c.wrong, r)
	}
}

func (s *stats) add(o *stats) {
	s.simulated += o.simulated
	s.events += o.events
	s.messages += o.messages
	s.shared += o.shared
	s.operations += o.operations
	s.unknown += o.unknown
	s.entries += o.entries
	s.leaders += o.leaders
	s.starts += o.starts
	s.retries += o.retries
	s.expired += o.expired
	s.watched += o.watched
	for k := range kinds {
		s.faults[k] += o.faults[k]
	}
	s.reach.add(&o.reach)
}

func (c *campaign) String() string {
	t, faults := &c.total, 0
	list := ""
	for k := range kinds {
		faults += t.faults[k]
		list += fmt.Sprintf(" %v %d", k, t.faults[k])
	}
	return fmt.Sprintf("%d seeds in %v (%.1f per second): %v simulated, %d events, %d messages (%d to several), %d operations (%d unknown, %d retries), %d entries (%d expired, %d watched), %d leaders, %d starts, %d faults:%s; in so many seeds%s",
		c.seeds, c.took.Round(time.Millisecond), float64(c.seeds)/c.took.Seconds(), t.simulated.Round(time.Second), t.events, t.messages, t.shared,
		t.operations, t.unknown, t.retries, t.entries, t.expired, t.watched, t.leaders, t.starts, faults, list, t.reach.String())
}
