package sim

// The world is a cluster and everything around it, in simulated time.

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft/rpc"
)

type world struct {
	seed     uint64
	plan     *plan
	now      time.Duration
	agenda   agenda
	trace    trace
	r        *rand.Rand // of the pace at which things are done
	bus      *bus
	nodes    map[rpc.NodeID]*node
	list     []*node // in order of id
	watch    *watcher
	trade    *trade
	watchers *watchers
	faults   *faults
	keeper   *node      // a first member that keeps its folder for good; nil: none does
	begun    int        // how often a first boot was begun again
	dark     []*node    // whose power was cut in the task under way
	requests []*pending // changes of the members, not answered yet
	reach    reach
}

// Streams of randomness: each concern has its own, so that one fault less leaves the others' dice as they are.
const (
	streamPlan = iota + 1
	streamPace
	streamBus
	streamNodes
	streamClients
	streamFaults
	streamWatches
	streamMoves
)

func newWorld(seed uint64, p *plan) *world {
	w := &world{seed: seed, plan: p, r: rand.New(rand.NewPCG(seed, streamPace)), nodes: map[rpc.NodeID]*node{}}
	w.bus = &bus{world: w, r: rand.New(rand.NewPCG(seed, streamBus)), plan: &p.bus, links: map[linkKey]*link{}}
	w.watch = newWatcher(w)
	for i := range p.nodes + p.spares {
		n := newNode(w, rpc.NodeID(fmt.Sprintf("n%d", i+1)), uint64(i))
		w.nodes[n.id] = n
		w.list = append(w.list, n)
	}
	w.watchers = newWatchers(w)
	w.trade = newTrade(w)
	w.faults = newFaults(w)
	return w
}

// violation is a promise that was broken. It ends the run.
type violation struct {
	promise string
	what    string
}

func (v *violation) Error() string { return v.promise + ": " + v.what }

// must ends the run unless holds.
func (w *world) must(holds bool, promise, format string, args ...any) {
	if !holds {
		w.fail(promise, format, args...)
	}
}

func (w *world) fail(promise, format string, args ...any) {
	panic(&violation{promise, fmt.Sprintf(format, args...)})
}

// at puts something on the agenda that is nobody's.
func (w *world) at(at time.Duration, do func()) { w.agenda.put(at, nil, do) }

func (w *world) after(d time.Duration, do func()) { w.agenda.put(w.now+d, nil, do) }

// eventsMax bounds how much may happen in a seed: a hundred times of what mostly does.
const eventsMax = 3_000_000

// run lets time pass up to a moment, or until done, of which it reports whether it came.
func (w *world) run(until time.Duration, done func() bool) bool {
	for !w.agenda.empty() && w.agenda.next() <= until {
		t := w.agenda.take()
		w.now = t.at
		switch {
		case t.of != nil && t.of.gone:
			continue
		case t.of != nil && t.of.pausedUntil > w.now:
			t.of.frozen = append(t.of.frozen, t.do)
			continue
		}
		w.trace.events++
		w.must(w.trace.events < eventsMax, "L9", "%d things have happened: nothing comes to an end", w.trace.events)
		w.trace.mix(uint64(w.now))
		t.do()
		for ; len(w.dark) > 0; w.dark = w.dark[1:] {
			w.dark[0].blackout()
		}
		if done != nil && done() {
			return true
		}
	}
	w.now = until
	return false
}

// deliver hands a message of the bus to a node's process, once it is not paused.
func (w *world) deliver(n *node, handle func(busclient.Delivery), d busclient.Delivery) {
	p := n.process
	if p == nil {
		return
	}
	take := func() {
		w.trace.mixBytes(d.Data)
		if w.trace.reads() {
			w.trace.line(w.now, n.id, "<- %s", describe(d))
		}
		handle(d)
		p.touched = true
		p.wake()
	}
	if p.pausedUntil > w.now {
		p.frozen = append(p.frozen, take)
		return
	}
	take()
}

// exponential draws a time whose mean is given.
func exponential(r *rand.Rand, mean time.Duration) time.Duration {
	return time.Duration(r.ExpFloat64() * float64(mean))
}

// between draws from [low, high).
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(r.Int64N(int64(high-low)))
}

func chance(r *rand.Rand, p float64) bool { return p > 0 && r.Float64() < p }
