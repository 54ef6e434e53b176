package raft

// A cluster in time: a bus that delays (and, if told to, loses, repeats and cuts), disks and state machines that take their
// time, clients that ask. One seed decides all of it. It is quiet by itself: what goes wrong is up to the test.

import (
	"container/heap"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
)

const (
	msPerTick = 10
	callMs    = 100 // after which a call without an answer has failed
	clientsMs = 30  // between two requests, on average
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
	r       *rand.Rand
	now     int
	seq     int
	todo    agenda
	inbox   map[rpc.NodeID][]Event
	awake   map[rpc.NodeID]bool
	life    map[rpc.NodeID]int // counts starts: what was due in an earlier life is forgotten
	cut     map[pair]bool
	stall   map[rpc.NodeID]int // until when its disk hangs
	hang    map[rpc.NodeID]int // until when its state machine hangs
	loss    float64
	repeat  float64
	mute    bool       // a cut link never says 'no responders'
	idle    bool       // clients ask nothing
	rough   bool       // disks are full now and then
	frail   bool       // and lose some of what they held
	fatal   testing.TB // fails by itself; nil: whoever runs the world catches what is broken
	ticket  uint64
	wiped   int // disks
	wipedAt int
	trace   io.Writer
}

// newWorld is a quiet world of nodes that are down.
func newWorld(t testing.TB, r *rand.Rand, conf rpc.Configuration) *world {
	w := &world{
		cluster: newCluster(conf), r: r, inbox: map[rpc.NodeID][]Event{}, awake: map[rpc.NodeID]bool{},
		life: map[rpc.NodeID]int{}, cut: map[pair]bool{}, stall: map[rpc.NodeID]int{}, hang: map[rpc.NodeID]int{},
	}
	w.watch = newWatcher(t, w.cluster)
	w.leave = w.carry
	w.dice = func(rpc.NodeID) Random { return r }
	return w
}

func (w *world) bootAll() {
	for _, m := range w.list {
		w.boot(m)
	}
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
	if w.fatal != nil {
		defer failOnBroken(w.fatal)
	}
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
		w.later(m, max(w.between(0, 8), w.hang[m.id]-w.now), func() { w.post(m, w.apply(m)...); w.keep(m); w.restoreSoon(m) })
	} else if m.busy.To == 0 {
		w.restoreSoon(m)
	}
	w.streams(m)
	w.meet(m)
	if len(m.loads) > 0 {
		w.later(m, w.between(1, 10), func() { w.post(m, w.load(m)...) })
	}
	for _, id := range m.pings {
		w.pinged(m, w.node(id))
	}
	m.pings = nil
}

// meet brings up the links to those who are new among whom a node listens to.
func (w *world) meet(m *member) {
	for _, f := range m.out.Facts {
		roster, ok := f.(RosterChanged)
		for i := 0; ok && i < len(roster.Members); i++ {
			if peer := roster.Members[i]; !slices.Contains(m.known, peer) {
				w.later(m, w.between(1, 100), func() { w.post(m, LinkChanged{peer.ID, true}) })
			}
		}
		if ok {
			m.known = roster.Members
		}
	}
}

// restoreSoon carries out an installation, once nothing else is being applied.
func (w *world) restoreSoon(m *member) {
	if m.install.Snapshot.Index > 0 {
		w.later(m, w.between(1, 20), func() { w.post(m, w.restore(m)...) })
	}
}

// streams plays the driver's part in snapshots: a stream is one chunk, which may get lost, and then ends in vain.
func (w *world) streams(m *member) {
	for _, order := range m.out.Snapshots {
		at := rpc.EntryID{Index: max(m.kept, m.core.log.base.Index)}
		if at.Index == 0 || w.chance(0.1) {
			w.later(m, w.between(1, 50), func() { w.post(m, SnapshotEnded{Peer: order.Peer, Term: order.Term}) })
			continue
		}
		at.Term, _ = m.core.log.term(at.Index)
		conf := m.core.ConfigurationAt(at.Index)
		w.part(m, rpc.Message{From: m.id, To: order.Peer, Term: order.Term, Body: &rpc.InstallSnapshotCommand{
			Snapshot: at, Transfer: w.r.Uint64() | 1, Final: true, Configuration: &conf,
		}})
		w.later(m, 2*callMs, func() { w.post(m, SnapshotEnded{Peer: order.Peer, Term: order.Term}) }) // too late if it worked
	}
	for _, msg := range m.out.Chunks {
		if cmd, ok := msg.Body.(*rpc.InstallSnapshotCommand); ok {
			stored := SnapshotStored{From: msg.From, Call: msg.Call, Transfer: cmd.Transfer, Snapshot: cmd.Snapshot, Configuration: *cmd.Configuration}
			w.later(m, w.between(1, 30), func() {
				if m.install.Snapshot.Index == 0 && !m.core.install.active {
					m.staged = &stored
					w.post(m, stored)
				}
			})
		}
	}
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
		var done []Event
		if w.rough && w.chance(0.7) {
			done = w.squeeze(m, w.between(0, 4))
		}
		if len(done) == 0 {
			done = w.sync(m, w.between(1, len(m.disk.queue)+1))
		}
		w.later(m, w.r.IntN(3), func() { w.post(m, done...) })
		w.spin(m)
	})
}

func (w *world) boot(m *member) {
	w.cluster.start(m)
	m.known = nil
	w.life[m.id]++
	w.inbox[m.id], w.awake[m.id] = nil, false
	w.post(m, BusChanged{Up: true})
	w.linkUp(m)
	w.later(m, w.r.IntN(msPerTick), func() { w.beat(m) })
}

// linkUp lets a node find the links to all others connected.
func (w *world) linkUp(m *member) {
	for _, peer := range w.list {
		if peer != m {
			w.post(m, LinkChanged{peer.id, true})
		}
	}
}

// show lets a node tell those whom it listens to of the latest committed configuration it knows, as pings do.
func (w *world) show(m *member) {
	conf := m.core.Committed()
	for _, to := range m.core.members.roster {
		peer := w.node(to.ID)
		me, listed := conf.Member(peer.id)
		if w.cut[pair{m.id, peer.id}] || !listed || me.Instance != peer.instance {
			continue
		}
		w.after(w.between(1, 5), func() {
			if peer.joins && conf.Learner(peer.id) && me.Instance == peer.instance {
				peer.joins = false
				peer.disk.conf = conf
				w.boot(peer)
			}
			w.post(peer, Learned{conf})
		})
	}
}

// beat is the tick of a node, whose clock is a little off.
func (w *world) beat(m *member) {
	w.post(m, Tick{Clock: int64(w.now)})
	if w.chance(0.05) {
		w.show(m)
	}
	w.later(m, msPerTick+w.between(0, 20)/19, func() { w.beat(m) })
}

// carry is the bus: it loses, repeats, delays and so reorders. A lost call ends as Failed: which entries it carried its answer knows by the call's number.
func (w *world) carry(m rpc.Message) {
	if cmd, ok := m.Body.(*rpc.AppendLogCommand); ok {
		m.Call.Round = uint64(cmd.Last())
	}
	if w.cut[pair{m.From, m.To}] || w.chance(w.loss) {
		caller, failed := w.node(m.From), Failed{m.To, m.Body.Method(), rpc.Index(m.Call.Round)}
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
		sent := w.now
		w.after(delay, func() {
			if sent > w.wipedAt || !removes(m) {
				w.post(w.node(m.To), Received{m})
			}
		})
		if !w.chance(w.repeat) {
			return
		}
	}
}

// removes reports whether a message carries a configuration. One of before a disk was lost is lost too: it could take an intact
// voter away from those that are left, beyond the fault model.
func removes(m rpc.Message) bool {
	cmd, ok := m.Body.(*rpc.AppendLogCommand)
	return ok && slices.ContainsFunc(cmd.Entries, configures)
}

// pinged carries a ping. 'No responders' may be said of a live peer too.
func (w *world) pinged(m, peer *member) {
	w.after(w.between(1, 5), func() {
		p := w.ping(peer)
		if w.cut[pair{m.id, peer.id}] || w.cut[pair{peer.id, m.id}] || w.chance(w.loss) {
			p = Pinged{Peer: peer.id, Outcome: PingUnclear}
			if !w.mute && w.chance(0.5) {
				p.Outcome = PingNobody
			}
		}
		w.post(m, p)
	})
}

// request is what clients do: proposals and reads, to whoever takes himself for the leader, sometimes to another.
func (w *world) request() {
	for _, m := range w.list {
		if w.idle || m.core == nil || m.core.role != Leader && !w.chance(0.02) {
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
