package raft

// Cores on a bad bus, bad disks and bad power, all from one seed: first anything goes and every promise is checked at every
// step; then the faults end and progress is demanded (L8). It is not the simulator of the whole house: only the core's own.

import (
	"container/heap"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
)

const (
	msPerTick    = 10
	chaosMs      = 8_000
	progressMs   = 10 * 300 // L8: ten election timeouts
	convergedMs  = 9_000
	callMs       = 100 // after which a call without an answer has failed
	seedsReplay  = 5
	clientsMs    = 30 // between two requests
	troubleMinMs = 20
	troubleMaxMs = 600
)

var (
	firstSeed = flag.Uint64("seed", 0, "first seed of the random histories")
	seeds     = flag.Int("seeds", 300, "how many random histories to run")
)

// task is something due at a time; seq keeps the order of equals.
type task struct {
	at, seq int
	do      func()
}

type agenda []task

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].seq < a[j].seq
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(task)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

type pair struct{ from, to rpc.NodeID }

// world is a cluster and everything that may go wrong around it.
type world struct {
	*cluster
	r      *rand.Rand
	now    int
	seq    int
	todo   agenda
	inbox  map[rpc.NodeID][]Event
	awake  map[rpc.NodeID]bool
	life   map[rpc.NodeID]int // counts starts: what was due in an earlier life is forgotten
	cut    map[pair]bool
	stall  map[rpc.NodeID]int // until when its disk hangs
	loss   float64
	repeat float64
	ticket uint64
	trace  io.Writer
}

func newWorld(t testing.TB, seed uint64, trace io.Writer) *world {
	r := rand.New(rand.NewPCG(seed, 1))
	w := &world{
		cluster: newCluster(drawTable(r)), r: r, inbox: map[rpc.NodeID][]Event{}, awake: map[rpc.NodeID]bool{},
		life: map[rpc.NodeID]int{}, cut: map[pair]bool{}, stall: map[rpc.NodeID]int{}, trace: trace,
	}
	w.ticks = Ticks{Heartbeat: 3, ElectionMin: 15, ElectionMax: 30, Ping: 2, QuickMin: 2, QuickMax: 6}
	w.limits = Limits{
		AppendBytesMax: 300, FlyingMax: 4, FlyingBytesMax: 1000, CacheBytesMax: 1000, ApplyBytesMax: 400,
		ProposedBytesMax: 4000, ReadsMax: 20,
	}
	w.watch = newWatcher(t, w.cluster)
	w.leave = w.carry
	w.dice = func(rpc.NodeID) Random { return r }
	for _, m := range w.list {
		w.boot(m)
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

func (w *world) between(low, high int) int { return low + w.r.IntN(high-low) }

func (w *world) chance(p float64) bool { return w.r.Float64() < p }

func (w *world) any() *member { return w.list[w.r.IntN(len(w.list))] }

func (w *world) after(ms int, do func()) {
	w.seq++
	heap.Push(&w.todo, task{w.now + ms, w.seq, do})
}

// later does something to a node unless it crashes first.
func (w *world) later(m *member, ms int, do func()) {
	life := w.life[m.id]
	w.after(ms, func() {
		if w.life[m.id] == life && m.core != nil {
			do()
		}
	})
}

// runUntil lets time pass up to a moment, or until done.
func (w *world) runUntil(ms int, done func() bool) bool {
	for w.todo.Len() > 0 && w.todo[0].at <= ms {
		next := heap.Pop(&w.todo).(task)
		w.now = next.at
		next.do()
		if done() {
			return true
		}
	}
	w.now = ms
	return false
}

// post puts events into a node's inbox. It takes all that waits a moment later, in one turn.
func (w *world) post(m *member, events ...Event) {
	if m.core == nil || len(events) == 0 {
		return
	}
	w.inbox[m.id] = append(w.inbox[m.id], events...)
	if !w.awake[m.id] {
		w.awake[m.id] = true
		w.later(m, w.r.IntN(2), func() { w.wake(m) })
	}
}

func (w *world) wake(m *member) {
	events := w.inbox[m.id]
	w.inbox[m.id], w.awake[m.id] = nil, false
	idle, free := len(m.disk.queue) == 0, m.busy.To == 0
	w.turn(m, events...)
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%d %s %d %+v\n", w.now, m.id, len(events), m.core.Status())
	}
	if idle {
		w.spin(m)
	}
	if free && m.busy.To > 0 {
		w.later(m, w.between(0, 8), func() { w.post(m, w.apply(m)...); w.keep(m) })
	}
	if len(m.loads) > 0 {
		w.later(m, w.between(1, 10), func() { w.post(m, w.load(m)...) })
	}
	for _, id := range m.pings {
		w.pinged(m, w.node(id))
	}
	m.pings = nil
}

// keep lets what was applied become durable in the state machine, sometimes.
func (w *world) keep(m *member) {
	if w.chance(0.2) {
		m.kept = m.applied
	}
}

// spin writes what waits, as long as something does: in one sync or in several.
func (w *world) spin(m *member) {
	if len(m.disk.queue) == 0 {
		return
	}
	w.later(m, max(w.between(1, 8), w.stall[m.id]-w.now), func() {
		done := w.sync(m, w.between(1, len(m.disk.queue)+1))
		w.later(m, w.r.IntN(3), func() { w.post(m, done...) })
		w.spin(m)
	})
}

func (w *world) boot(m *member) {
	w.cluster.start(m)
	w.life[m.id]++
	w.inbox[m.id], w.awake[m.id] = nil, false
	w.post(m, BusChanged{Up: true})
	for _, peer := range w.list {
		if peer != m {
			w.post(m, LinkChanged{peer.id, true})
		}
	}
	w.later(m, w.r.IntN(msPerTick), func() { w.beat(m) })
}

// beat is the tick of a node, whose clock is a little off.
func (w *world) beat(m *member) {
	w.post(m, Tick{Clock: int64(w.now)})
	w.later(m, msPerTick+w.between(0, 20)/19, func() { w.beat(m) })
}

// carry is the bus: it loses, repeats, delays and so reorders. A lost call ends as Failed.
func (w *world) carry(m rpc.Message) {
	if w.cut[pair{m.From, m.To}] || w.chance(w.loss) {
		caller, failed := w.node(m.From), Failed{Peer: m.To, Method: m.Body.Method()}
		if m.Body.IsReturn() {
			caller, failed.Peer = w.node(m.To), m.From
		}
		w.after(callMs, func() { w.post(caller, failed) })
		return
	}
	for {
		delay := 1 + w.r.IntN(4)
		switch {
		case w.chance(0.02):
			delay = w.between(10, 300)
		case w.chance(0.001):
			delay = w.between(500, 4_000) // F4
		}
		w.after(delay, func() { w.post(w.node(m.To), Received{m}) })
		if !w.chance(w.repeat) {
			return
		}
	}
}

// pinged carries a ping. 'No responders' may be said of a live peer too.
func (w *world) pinged(m, peer *member) {
	w.after(w.between(1, 5), func() {
		p := w.ping(peer)
		if w.cut[pair{m.id, peer.id}] || w.cut[pair{peer.id, m.id}] || w.chance(w.loss) {
			p = Pinged{Peer: peer.id, Outcome: []PingOutcome{PingUnclear, PingNobody}[w.r.IntN(2)]}
		}
		w.post(m, p)
	})
}

// request is what clients do: proposals and reads, to whoever takes himself for the leader, sometimes to another.
func (w *world) request() {
	for _, m := range w.list {
		if m.core == nil || m.core.role != Leader && !w.chance(0.02) {
			continue
		}
		w.ticket++
		if w.chance(0.3) {
			w.post(m, ReadIndex{w.ticket})
			continue
		}
		var list []Proposal
		for range w.between(1, 5) {
			w.ticket++
			list = append(list, Proposal{w.ticket, fmt.Appendf(nil, "%d%*s", w.ticket, w.r.IntN(60), "")})
		}
		w.post(m, Propose{Clock: int64(w.now), Proposals: list})
	}
	w.after(w.between(1, 2*clientsMs), w.request)
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
	w = newWorld(t, seed, trace)
	w.request()
	w.trouble()
	w.runUntil(chaosMs, func() bool { return false })
	w.heal()
	mark := w.ticket
	progress := func() bool {
		for ticket := mark + 1; ticket <= w.ticket; ticket++ {
			p, ok := w.watch.proposed[ticket]
			if ok && p.Refusal == RefusedNot && p.ID.Index <= rpc.Index(len(w.watch.committed)) && w.watch.committed[p.ID.Index-1] == p.ID {
				return true
			}
		}
		return false
	}
	w.watch.must(w.runUntil(w.now+progressMs, progress), "L8", "nothing committed within %d ms of healing", progressMs)
	goal := rpc.Index(len(w.watch.committed))
	converged := func() bool {
		for _, m := range w.list {
			if m.applied < goal {
				return false
			}
		}
		return true
	}
	w.watch.must(w.runUntil(w.now+convergedMs, converged), "L8", "not all applied %d within %d ms", goal, convergedMs)
	return nil, w
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
