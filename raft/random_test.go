package raft

// Cores on a bad bus, bad disks and bad power, all from one seed: first anything goes and every promise is checked at every
// step; then the faults end and progress is demanded (L8). It is not the simulator of the whole house: only the core's own.

import (
	"flag"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
)

const (
	chaosMs      = 8_000
	progressMs   = 10 * 300 // L8: ten election timeouts
	convergedMs  = 9_000
	seedsReplay  = 5
	troubleMinMs = 20
	troubleMaxMs = 600
)

var (
	firstSeed = flag.Uint64("seed", 0, "first seed of the random histories")
	seeds     = flag.Int("seeds", 300, "how many random histories to run")
)

// roughWorld has short timeouts, so that much happens, and narrow bounds, so that all of them are met.
func roughWorld(t testing.TB, seed uint64, trace io.Writer) *world {
	r := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t, r, drawTable(r))
	w.trace = trace
	w.ticks = Ticks{Heartbeat: 3, ElectionMin: 15, ElectionMax: 30, Ping: 2, QuickMin: 2, QuickMax: 6}
	w.limits = Limits{
		AppendBytesMax: 300, FlyingMax: 4, FlyingBytesMax: 1000, CacheBytesMax: 1000, ApplyBytesMax: 400,
		ProposedBytesMax: 4000, ReadsMax: 20,
	}
	return w
}

// drawTable is three or five voters, sometimes with a learner, sometimes in the middle of a joint change.
func drawTable(r *rand.Rand) rpc.Configuration {
	switch r.IntN(8) {
	case 0:
		return table("n1", "n2", "n3", "n4", "n5")
	case 1:
		return rpc.Configuration{Voters: members("n1", "n2", "n3"), Learners: members("n4")}
	case 2:
		return rpc.Configuration{Voters: members("n1", "n2", "n3"), Outgoing: members("n2", "n3", "n4")}
	case 3:
		return table("n1", "n2")
	}
	return table("n1", "n2", "n3")
}

// trouble makes one thing worse or better, again and again while there is chaos.
func (w *world) trouble() {
	if w.now >= chaosMs {
		return
	}
	m, peer := w.any(), w.any()
	switch w.r.IntN(12) {
	case 0:
		w.isolate(m)
	case 1, 2:
		w.cut[pair{m.id, peer.id}] = !w.cut[pair{m.id, peer.id}]
	case 3, 10, 11:
		clear(w.cut)
		w.loss, w.repeat = 0, 0
	case 4, 5:
		w.power(m)
	case 6:
		w.stall[m.id] = w.now + w.between(50, 1_500)
	case 7:
		w.loss, w.repeat = w.r.Float64()*0.3, w.r.Float64()*0.5
	case 8:
		w.post(m, Resign{})
	case 9:
		w.flap(m, peer)
	}
	w.after(w.between(troubleMinMs, troubleMaxMs), w.trouble)
}

func (w *world) isolate(m *member) {
	for _, peer := range w.list {
		w.cut[pair{m.id, peer.id}], w.cut[pair{peer.id, m.id}] = true, true
	}
}

// power takes a node down, or brings it up with a log that may have been compacted below what all state machines kept.
func (w *world) power(m *member) {
	if m.core != nil {
		w.crash(m, w.r.IntN(len(m.disk.queue)+1))
		return
	}
	least := m.kept
	for _, other := range w.list {
		least = min(least, other.kept)
	}
	m.disk.forget(rpc.Index(w.r.IntN(int(least) + 1)))
	w.boot(m)
}

// flap lets a node believe for a while that its link, or the bus itself, is gone.
func (w *world) flap(m, peer *member) {
	down, up := []Event{BusChanged{}}, []Event{BusChanged{Up: true}}
	if peer != m {
		down, up = []Event{LinkChanged{peer.id, false}}, []Event{LinkChanged{peer.id, true}}
	}
	w.post(m, down...)
	w.later(m, w.between(10, 500), func() { w.post(m, up...) })
}

// heal ends all faults.
func (w *world) heal() {
	clear(w.cut)
	clear(w.stall)
	w.loss, w.repeat = 0, 0
	for _, m := range w.list {
		if m.core == nil {
			w.power(m)
		}
	}
}

// simulate runs one seed. It returns what went wrong, nil if nothing did.
func simulate(t testing.TB, seed uint64, trace io.Writer) (wrong any, w *world) {
	defer func() {
		switch wrong = recover(); wrong.(type) {
		case nil, broken, *InvariantError:
		default:
			panic(wrong)
		}
	}()
	w = roughWorld(t, seed, trace)
	w.bootAll()
	w.request()
	w.trouble()
	w.runUntil(chaosMs, func() bool { return false })
	w.heal()
	w.watch.must(w.runUntil(w.now+progressMs, w.committedSince(w.ticket)), "L8", "nothing committed within %d ms of healing", progressMs)
	w.watch.must(w.runUntil(w.now+convergedMs, w.converged(len(w.watch.committed))), "L8", "not all applied within %d ms", convergedMs)
	return nil, w
}

// committedSince reports whether a proposal made after that ticket is committed.
func (w *world) committedSince(mark uint64) func() bool {
	return func() bool {
		for ticket := mark + 1; ticket <= w.ticket; ticket++ {
			p, ok := w.watch.proposed[ticket]
			if ok && p.Refusal == RefusedNot && p.ID.Index <= rpc.Index(len(w.watch.committed)) && w.watch.committed[p.ID.Index-1] == p.ID {
				return true
			}
		}
		return false
	}
}

// converged reports whether all nodes have applied so many entries.
func (w *world) converged(goal int) func() bool {
	return func() bool {
		return !slices.ContainsFunc(w.list, func(m *member) bool { return m.applied < rpc.Index(goal) })
	}
}

func TestRandomHistoriesKeepEveryPromise(t *testing.T) {
	reads, entries, leaders := 0, 0, 0
	for seed := *firstSeed; seed < *firstSeed+uint64(*seeds); seed++ {
		wrong, w := simulate(t, seed, nil)
		if wrong != nil {
			t.Fatalf("seed %d: %v (again: go test ./raft -run Random -seeds 1 -seed %d)", seed, wrong, seed)
		}
		reads, entries, leaders = reads+w.watch.served, entries+len(w.watch.committed), leaders+len(w.watch.leaders)
	}
	t.Logf("%d seeds: %d entries committed, %d reads served, %d leaders", *seeds, entries, reads, leaders)
}

func TestSeedReplaysTheSameHistory(t *testing.T) {
	for seed := range uint64(seedsReplay) {
		first, again := fnv.New64(), fnv.New64()
		simulate(t, seed, first)
		simulate(t, seed, again)
		if first.Sum64() != again.Sum64() {
			t.Fatalf("seed %d: two runs, two histories", seed)
		}
	}
}
