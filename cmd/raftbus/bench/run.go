package bench

// A run, from the first connection to the report.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// run is the state of one run.
type run struct {
	Options
	recorder
	workload  workload
	base      time.Time // what the stamps of watch count from
	stores    []Store
	clients   []*client
	noise     []byte          // values are cut from it
	revisions []atomic.Uint64 // by key, of cas; 0: unknown
	filled    atomic.Int64    // keys that were taken to be written

	begun     time.Time
	kills     []time.Time   // of failover
	delivered atomic.Uint64 // of watch
}

const (
	noiseBytes = 64 << 10 // in which values begin somewhere
	fillersMin = 64       // clients that write the keys which a workload needs
)

// Run puts a target under load. When ctx ends it returns what was measured so far, and the error of ctx. The target exists.
func Run(ctx context.Context, target Target, o Options) (Report, error) {
	if err := o.Check(); err != nil {
		return Report{}, err
	}
	r := &run{Options: o, workload: workloads[o.Workload], base: time.Now(), noise: make([]byte, noiseBytes+o.Size), begun: time.Now()}
	r.tallies, r.failures = map[op]*tally{}, map[string]uint64{}
	_, _ = rand.Read(r.noise) // never fails
	if o.Workload == "cas" {
		r.revisions = make([]atomic.Uint64, o.Keys)
	}
	defer r.close()
	if err := r.open(ctx, target); err != nil {
		return r.report(), err
	}
	err := r.measure(ctx)
	report := r.report()
	if err == nil && ctx.Err() == nil && report.Count == 0 {
		err = r.nothing()
	}
	report.Interrupted = ctx.Err() != nil
	return report, errors.Join(err, ctx.Err())
}

// nothing says why nothing was measured.
func (r *run) nothing() error {
	if r.first == nil {
		return fmt.Errorf("no operation ended in %v: measure for longer, by --duration", r.Duration)
	}
	return fmt.Errorf("no operation was done, %d failed: %w", r.failed, r.first)
}

func (r *run) open(ctx context.Context, target Target) error {
	for range r.Conns {
		store, err := target.Open(ctx)
		if err != nil {
			return err
		}
		r.stores = append(r.stores, store)
	}
	count := r.Clients
	if r.Workload == "watch" {
		count = r.Writers
	}
	r.clients = r.newClients(count)
	return nil
}

func (r *run) newClients(n int) (all []*client) {
	for i := range n {
		all = append(all, &client{run: r, id: i, store: r.stores[i%r.Conns], rand: mathrand.New(mathrand.NewPCG(uint64(i), 1))})
	}
	return all
}

func (r *run) close() {
	for _, store := range r.stores {
		store.Close()
	}
}

func (r *run) measure(ctx context.Context) error {
	if r.workload.fills && (!r.Filled || r.Workload == "cas") { // cas has to know the revisions
		// Nobody wants to wait until one client has written all keys.
		if err := r.fill(ctx, Filling, r.newClients(max(r.Clients, fillersMin))); err != nil {
			return err
		}
	}
	return r.workload.run(r, ctx)
}

// nextKey is the next one to be written.
func (r *run) nextKey() int { return int(r.filled.Add(1)) - 1 }

// fill has all keys written. If one cannot be, the other clients need not go on.
func (r *run) fill(ctx context.Context, phase string, clients []*client) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer r.narrate(ctx, stage{name: phase, total: uint64(r.Keys)})()
	each(clients, func(c *client) {
		if err := c.fill(ctx); err != nil {
			cancel(err)
		}
	})
	return context.Cause(ctx)
}

// each runs clients, and returns when all have ended.
func each(clients []*client, does func(*client)) {
	var group sync.WaitGroup
	for _, c := range clients {
		group.Go(func() { does(c) })
	}
	group.Wait()
}

// bulk is a fill that is measured: it lasts until all keys are there.
func (r *run) bulk(ctx context.Context) error {
	r.begin, r.end = time.Now(), time.Now().Add(durationMax*365)
	err := r.fill(ctx, Measuring, r.clients)
	r.end = time.Now()
	return err
}

// loops has all clients do operations, from now until the end.
func (r *run) loops(ctx context.Context) error {
	r.loopsFrom(ctx, time.Now())
	return nil
}

func (r *run) loopsFrom(ctx context.Context, begin time.Time) {
	r.begin = begin.Add(r.Warmup)
	r.end = r.begin.Add(r.Duration)
	r.gaps.last = r.begin
	defer r.narrate(ctx, stage{name: Warming, until: r.begin}, stage{name: Measuring, until: r.end})()
	var s *schedule
	if r.Rate > 0 {
		s = &schedule{begin: begin, rate: r.Rate}
	}
	each(r.clients, func(c *client) { c.loop(ctx, s) })
	r.await(ctx, r.end) // in an open loop the last operation may be over before
	if s != nil {
		s.rest(r.end, func(due time.Time) { r.skip(r.workload.pick(r.clients[0]), due) })
	}
}

// await waits until the end; if the run is broken off before, that is the end.
func (r *run) await(ctx context.Context, end time.Time) {
	alarm := newAlarm()
	defer alarm.stop()
	if !alarm.wait(ctx, end) && time.Now().Before(end) {
		r.finish(time.Now())
	}
}
