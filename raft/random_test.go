package raft

// Cores on a bad bus, bad disks and bad power, all from one seed: first anything goes and every promise is checked at every
// step; then the faults end and progress is demanded (L8). It is not the simulator of the whole house: only the core's own.

import (
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

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
	w.trace, w.thrifty, w.multicast, w.rough, w.frail = trace, seed%2 == 0, seed%4 == 1, true, seed%3 == 0
	w.ticks = Ticks{Heartbeat: 3, ElectionMin: 15, ElectionMax: 30, Ping: 2, QuickMin: 2, QuickMax: 6}
	w.limits = Limits{
		AppendBytesMax: 300, FlyingMax: 4, FlyingBytesMax: 1000, CacheBytesMax: 1000, ApplyBytesMax: 400,
		ProposedBytesMax: 4000, ReadsMax: 20,
	}
	return w
}

// drawTable is one to five voters, sometimes with a learner, sometimes in the middle of a joint change.
func drawTable(r *rand.Rand) rpc.Configuration {
	switch r.IntN(12) {
	case 0, 1:
		return table("n1", "n2", "n3", "n4", "n5")
	case 2:
		return rpc.Configuration{Voters: members("n1", "n2", "n3"), Learners: members("n4")}
	case 3:
		return rpc.Configuration{Voters: members("n1", "n2", "n3"), Outgoing: members("n2", "n3", "n4")}
	case 4:
		return rpc.Configuration{Voters: members("n1", "n4", "n5"), Outgoing: members("n1", "n2", "n3")}
	case 5:
		return table("n1", "n2")
	case 6:
		return table("n1")
	case 7:
		return table("n1", "n2", "n3", "n4")
	}
	return table("n1", "n2", "n3")
}

// trouble makes one thing worse or better, again and again while there is chaos.
func (w *world) trouble() {
	if w.now >= chaosMs {
		return
	}
	m, peer := w.any(), w.any()
	switch w.r.IntN(20) {
	case 19:
		w.spoil(m)
	case 12:
		w.reconfigure()
	case 13:
		w.wipe(m)
	case 14:
		w.replace()
	case 15:
		to := []rpc.NodeID{"", peer.id}
		w.post(m, Transfer{To: to[w.r.IntN(2)]})
	case 16:
		w.post(m, Compact{m.kept})
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
	case 18:
		w.strand()
	case 17:
		w.hang[m.id] = w.now + w.between(50, 2_500)
	case 7:
		w.loss, w.repeat = w.r.Float64()*0.3, w.r.Float64()*0.5
	case 8:
		w.post(m, Resign{})
	case 9:
		w.flap(m, peer)
	}
	w.after(w.between(troubleMinMs, troubleMaxMs), w.trouble)
}

// strand cuts off who leads, with what he has logged, until those that go on without him have forgotten what he lacks.
func (w *world) strand() {
	for _, m := range w.list {
		if m.core != nil && m.core.role == Leader {
			w.isolate(m)
		}
	}
	w.after(w.between(250, 800), func() {
		for _, m := range w.list {
			m.kept = m.applied
			w.post(m, Compact{m.kept})
		}
		clear(w.cut)
	})
}

// waylay has something befall who leads just when a change of the members is asked for, or while it is under way.
func (w *world) waylay(m *member) {
	if w.now >= chaosMs {
		return
	}
	switch w.r.IntN(6) {
	case 0:
		w.isolate(m)
	case 1:
		w.post(m, Transfer{})
	case 2:
		w.inChaos(w.between(1, 15), func() { w.power(m) })
	case 3:
		w.inChaos(w.between(1, 400), func() { w.isolate(m) }) // a learner may be about to be promoted
	case 4, 5:
		w.inChaos(w.between(2, 40), func() { w.wipe(w.any()) })
	}
}

// inChaos does something after a while, unless the faults are over by then.
func (w *world) inChaos(ms int, do func()) {
	w.after(ms, func() {
		if w.now < chaosMs {
			do()
		}
	})
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
	if !m.joins {
		w.boot(m)
	}
}

// reconfigure asks a leader for some change: somebody new, somebody less, several at once.
func (w *world) reconfigure() {
	var change Change
	leave, come := w.r.Float64()/2, w.r.Float64()
	for _, m := range w.list {
		member := rpc.Member{ID: m.id, Instance: m.instance}
		switch {
		case m.joins && w.chance(come):
			change.Add = append(change.Add, member)
		case !m.joins && w.chance(leave):
			change.Remove = append(change.Remove, m.id)
		}
	}
	if known := w.any(); known.core != nil && w.chance(0.5) {
		change.If = new(known.core.Committed().Index) // an administrator decides by what that one shows, perhaps long ago
		w.after(w.between(1, 500), func() { w.demand(change) })
		return
	}
	w.demand(change)
}

// demand asks for a change if no disk is lost: who takes an intact voter away as well leaves no quorum, beyond the fault model.
func (w *world) demand(ch Change) {
	if !w.mourns() {
		w.ask(ch)
	}
}

// mourns reports whether a voter of a configuration that may be in force has lost its disk.
func (w *world) mourns() bool {
	return slices.ContainsFunc(w.configurations(), func(c rpc.Configuration) bool {
		return slices.ContainsFunc(c.Voters, func(v rpc.Member) bool { return !w.sound(v) })
	})
}

// ask puts a change to whoever takes himself for the leader.
func (w *world) ask(change Change) {
	for _, m := range w.list {
		if m.core != nil && m.core.role == Leader {
			w.ticket++
			w.post(m, Reconfigure{Ticket: w.ticket, Clock: int64(w.now), Change: change})
			w.waylay(m)
		}
	}
}

// wipe destroys the disk of a node that counts, if the cluster can bear it (fault model section 1: up to f of 2f+1).
func (w *world) wipe(m *member) {
	list := w.configurations()
	counts := slices.ContainsFunc(list, func(c rpc.Configuration) bool {
		return slices.Contains(c.Members(), rpc.Member{ID: m.id, Instance: m.instance})
	})
	if m.joins || !counts || !w.spares(m, list) || w.asked() {
		return
	}
	w.watch.reach.note(diskLostInJoint, slices.ContainsFunc(list, func(c rpc.Configuration) bool { return c.Joint() }))
	w.watch.reach.note(diskLostBesideLearner, slices.ContainsFunc(list, func(c rpc.Configuration) bool { return len(c.Learners) > 0 }))
	w.lose(m)
}

// configurations are those that may be in force somewhere, now or after a crash: the latest that is known to be committed, and all later ones in logs.
func (w *world) configurations() (list []rpc.Configuration) {
	var committed rpc.Index
	for _, m := range w.list {
		if m.joins {
			continue
		}
		list = append(list, m.disk.configurations()...)
		for _, j := range m.disk.queue {
			for _, e := range j.write.Entries {
				if configures(e) {
					list = append(list, decoded(e))
				}
			}
		}
		if m.core != nil {
			for _, p := range m.core.members.history {
				list = append(list, p.conf)
			}
			committed = max(committed, m.core.Committed().Index)
		}
	}
	return slices.DeleteFunc(list, func(c rpc.Configuration) bool { return c.Index < committed })
}

// sound reports whether a member has the disk that it is known by, and all that is on it.
func (w *world) sound(v rpc.Member) bool {
	m := w.node(v.ID)
	return m.instance == v.Instance && len(m.disk.bad) == 0
}

// spares reports whether each of some configurations has a majority left, of each set of voters, if a node's disk is lost too.
func (w *world) spares(m *member, list []rpc.Configuration) bool {
	return !slices.ContainsFunc(list, func(c rpc.Configuration) bool {
		return !w.enough(c.Voters, c.Learners, m) || c.Joint() && !w.enough(c.Outgoing, c.Learners, m)
	})
}

// enough reports whether the sound ones among some voters are a majority, also when learners become voters: the unsound ones first.
func (w *world) enough(voters, learners []rpc.Member, lost *member) bool {
	all, sound := len(voters), 0
	for _, v := range voters {
		if v.ID != lost.id && w.sound(v) {
			sound++
		}
	}
	for _, l := range learners {
		if l.ID == lost.id || !w.sound(l) {
			all++
		}
	}
	return 2*sound > all
}

// asked reports whether a change waits for some node's next turn.
func (w *world) asked() bool {
	for _, m := range w.list {
		if slices.ContainsFunc(w.inbox[m.id], func(e Event) bool { _, is := e.(Reconfigure); return is }) {
			return true
		}
	}
	return false
}

// lose takes a node's disk away. It comes back as another instance, which waits to be let in.
func (w *world) lose(m *member) {
	w.crash(m, 0)
	w.life[m.id]++
	gone := m.disk
	w.watch.lost[rpc.Member{ID: m.id, Instance: m.instance}] = &gone
	m.disk, m.applied, m.kept, m.staged, m.joins = disk{}, 0, 0, nil, true
	m.instance[0]++
	w.wiped, w.wipedAt = w.wiped+1, w.now
}

// spoil takes a node down, whose disk loses some of what it held meanwhile (D3, F18): if the cluster can bear it, since until that is given again the
// node counts for as little as one whose disk is lost. What says who the members are it keeps; what is applied already it would compact.
func (w *world) spoil(m *member) {
	if !w.frail || m.joins || !w.spares(m, w.configurations()) || w.asked() {
		return
	}
	if m.core != nil {
		w.crash(m, w.r.IntN(len(m.disk.queue)+1))
	}
	for _, e := range m.disk.log {
		if e.Index > m.kept && !configures(e) && !slices.Contains(m.disk.bad, e.ID()) && w.chance(0.4) {
			m.disk.bad, w.wipedAt = append(m.disk.bad, e.ID()), w.now
		}
	}
	slices.SortFunc(m.disk.bad, func(a, b rpc.EntryID) int { return int(a.Index) - int(b.Index) })
	w.inChaos(w.between(1, 300), func() {
		if m.core == nil && !m.joins {
			w.boot(m)
		}
	})
}

// replace asks for every lost disk to be replaced.
func (w *world) replace() {
	for _, m := range w.list {
		for _, other := range w.list {
			if !m.joins || other.core == nil {
				continue
			}
			if known, ok := other.core.conf.Member(m.id); ok && known.Instance != m.instance {
				w.ask(Change{Add: []rpc.Member{{ID: m.id, Instance: m.instance}}})
				break
			}
		}
	}
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
	clear(w.hang)
	w.loss, w.repeat = 0, 0
	for _, m := range w.list {
		if m.core == nil {
			w.power(m)
		}
	}
	w.mend()
}

// mend has lost disks replaced, again and again until all are.
func (w *world) mend() {
	w.replace()
	w.after(300, w.mend)
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
	for range w.r.IntN(3) {
		w.list = append(w.list, &member{id: rpc.NodeID(fmt.Sprintf("x%d", len(w.list))), instance: rpc.InstanceID{9}, joins: true})
	}
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
			if ok && p.Refusal == Accepted && p.ID.Index <= rpc.Index(len(w.watch.committed)) && w.watch.committed[p.ID.Index-1] == p.ID {
				return true
			}
		}
		return false
	}
}

// converged reports whether all members are voters, on the disks that they have now, and have applied so many entries.
func (w *world) converged(goal int) func() bool {
	return func() bool {
		for _, leader := range w.list {
			if leader.core == nil || leader.core.role != Leader || leader.core.conf.Joint() || len(leader.core.conf.Learners) > 0 {
				continue
			}
			return !slices.ContainsFunc(leader.core.conf.Voters, func(v rpc.Member) bool {
				return w.node(v.ID).instance != v.Instance || w.node(v.ID).applied < rpc.Index(goal)
			})
		}
		return false
	}
}

func TestRandomHistoriesKeepEveryPromise(t *testing.T) {
	var all tally
	var next atomic.Uint64
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := next.Add(1) - 1; i < uint64(*seeds) && !t.Failed(); i = next.Add(1) - 1 {
				seed := *firstSeed + i
				wrong, w := simulate(t, seed, nil)
				if wrong != nil {
					t.Errorf("seed %d: %v (again: go test ./raft -run Random -seeds 1 -seed %d)", seed, wrong, seed)
					return
				}
				all.add(w)
			}
		})
	}
	group.Wait()
	for s, n := range all.reach {
		t.Logf("%5d histories: %s", n, known[s].name)
	}
	if !t.Failed() {
		require.Empty(t, all.reach.lacking(*seeds), "%d histories came into none of these situations: reach_test.go", *seeds)
	}
	t.Logf("%d seeds: %d entries committed, %d reads served, %d leaders, %d membership changes, %d disks lost, %d snapshots installed, %d turns at rest",
		*seeds, all.entries, all.reads, all.leaders, all.changes, all.disks, all.snapshots, all.rested)
}

// tally is what happened in all histories.
type tally struct {
	mu                                                         sync.Mutex
	entries, reads, leaders, changes, disks, snapshots, rested int
	reach                                                      reach
}

func (a *tally) add(w *world) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.entries, a.reads, a.leaders = a.entries+len(w.watch.committed), a.reads+w.watch.served, a.leaders+len(w.watch.leaders)
	a.reach.add(&w.watch.reach)
	a.changes, a.snapshots, a.disks, a.rested = a.changes+w.watch.changes, a.snapshots+w.watch.installed, a.disks+w.wiped, a.rested+w.watch.rested
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
