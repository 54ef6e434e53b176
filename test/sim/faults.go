package sim

// The faults. Each kind comes again and again while there is chaos; each single fault has dice of its own, drawn from the seed,
// its kind and its number, so that one fault less changes nothing of what the others are.

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// kind is a kind of fault.
type kind int

const (
	kindCrash    kind = iota // kill or power loss, at any moment (F15, F17)
	kindTorn                 // power loss in the middle of an append
	kindPause                // F16
	kindIsolate              // a node is cut from all others, both ways (F2)
	kindCut                  // one link, one way (F2, F3)
	kindSplit                // the cluster in two (F2)
	kindClog                 // a link delivers nothing for a while, then all at once (F1, F2)
	kindBusDown              // a node's connections are lost for a while, or for a moment only (F5, F9)
	kindSlowDisk             // F22
	kindHungDisk             // F22
	kindClock                // steps, drift, suspend (F24)
	kindClients              // clients do not reach a node, though others do
	kindFlush                // the state machine makes durable what it has
	kindError                // one operation of a disk fails (F20)
	kindFull                 // a disk has no room for a while (F21)
	kindRot                  // bytes at rest change (F18)
	kindWipe                 // a data folder is gone, and its node starts anew (F23)
	kindBackup               // an old copy of a data folder is put back (F23)
	kindMembers              // a change of the membership (F27)
	kindTransfer             // leadership is handed over
	kindStop                 // a planned stop and start
	kindAmbush               // some of these as soon as a leader has logged a change of the members
	kinds
)

var kindNames = [kinds]string{
	"crash", "torn", "pause", "isolate", "cut", "split", "clog", "busdown", "slowdisk", "hungdisk", "clock", "clients", "flush",
	"error", "full", "rot", "wipe", "backup",
	"members", "transfer", "stop", "ambush",
}

func (k kind) String() string { return kindNames[k] }

type faults struct {
	world *world
	over  bool
	only  map[int]bool // the faults that happen; nil: all
	done  [kinds]int
	fired []int              // the numbers of those that happened
	lurks func(leader *node) // what waits for a change of the members; nil: nothing does
}

func newFaults(w *world) *faults { return &faults{world: w} }

// begin puts the first fault of each kind on the agenda.
func (f *faults) begin() {
	for k := range kinds {
		if every := f.world.plan.every[k]; every > 0 {
			f.next(k, 0, rand.New(rand.NewPCG(f.world.seed, streamFaults<<32|uint64(k)<<16)))
		}
	}
}

// next has the n-th fault of a kind come after a while.
func (f *faults) next(k kind, n int, r *rand.Rand) {
	f.world.after(exponential(r, f.world.plan.every[k]), func() {
		if f.over || f.world.now > f.world.plan.chaos {
			return
		}
		f.strike(k, n)
		f.next(k, n+1, r)
	})
}

// strike has a fault happen.
func (f *faults) strike(k kind, n int) {
	number := n*int(kinds) + int(k)
	if f.only != nil && !f.only[number] {
		return
	}
	f.done[k]++
	f.fired = append(f.fired, number)
	r := rand.New(rand.NewPCG(f.world.seed^uint64(n)<<20, streamFaults<<40|uint64(k)))
	what := f.happen(k, r)
	if f.world.trace.reads() {
		f.world.trace.line(f.world.now, "", "---- fault %d: %v: %s", number, k, what)
	}
}

// lasting draws how long a fault lasts: mostly about an election timeout, sometimes much longer.
func (f *faults) lasting(r *rand.Rand) time.Duration {
	e := f.world.plan.timing.ElectionMax
	return exponential(r, pick(r, e/10, e, e, 4*e))
}

func (f *faults) any(r *rand.Rand) *node { return f.world.list[r.IntN(len(f.world.list))] }

func (f *faults) happen(k kind, r *rand.Rand) string { return f.befall(k, f.any(r), r) }

// befall has a fault happen to a node, if it is one of nodes.
func (f *faults) befall(k kind, n *node, r *rand.Rand) string {
	w, d := f.world, f.lasting(r)
	switch k {
	case kindCrash:
		return f.crash(n, d, r)
	case kindTorn:
		if n.process == nil {
			return "nobody"
		}
		n.disk.cutIn = 1 + r.IntN(4)
		n.tornBy, n.downFor = pick(r, loseAll, loseSome, loseSome), d
		return fmt.Sprintf("%s at its disk's %d-th change", n.id, n.disk.cutIn)
	case kindPause:
		return f.pause(n, d, r)
	case kindIsolate:
		return f.split([]*node{n}, d, r)
	case kindSplit:
		return f.split(f.part(r), d, r)
	case kindCut:
		return f.cutOne(n, f.any(r), d, r)
	case kindClog:
		l := w.bus.link(n.id, f.any(r).id, connPath(r.IntN(int(connPaths))))
		l.clogged = w.now + d
		return fmt.Sprintf("one of %s's links for %v", n.id, d)
	case kindBusDown:
		return f.busDown(n, d, r)
	case kindSlowDisk:
		n.slow = between(r, 10*time.Millisecond, pick(r, 50*time.Millisecond, time.Second, 5*time.Second))
		w.after(d, func() { n.slow = w.plan.diskMean })
		return fmt.Sprintf("%s takes %v for %v", n.id, n.slow, d)
	case kindHungDisk:
		n.hungUntil = w.now + d
		return fmt.Sprintf("%s for %v", n.id, d)
	case kindClock:
		return f.clock(n, d, r)
	case kindClients:
		w.trade.cut[n.id] = true
		w.after(d, func() { delete(w.trade.cut, n.id) })
		return fmt.Sprintf("%s for %v", n.id, d)
	case kindError:
		n.disk.failIn = 1 + r.IntN(20)
		n.downFor = d
		return fmt.Sprintf("%s at its %d-th operation", n.id, n.disk.failIn)
	case kindFull:
		n.disk.full = true
		n.downFor = d
		w.after(d, func() { n.disk.full = false })
		return fmt.Sprintf("%s for %v", n.id, d)
	case kindRot, kindWipe, kindBackup:
		return f.ruin(k, n, d, r)
	case kindMembers:
		return f.members(r)
	case kindTransfer:
		return f.transfer(n, r)
	case kindStop:
		return f.stop(n, d)
	case kindAmbush:
		return f.lurk(r)
	case kindFlush:
		if n.process != nil {
			_ = n.process.store.Flush()
		}
		return string(n.id)
	}
	return "nothing"
}

// lurking are the faults that wait for a change: those that may keep it from coming to its end.
var lurking = []kind{
	kindCrash, kindCrash, kindTorn, kindPause, kindIsolate, kindSplit, kindBusDown, kindHungDisk, kindHungDisk, kindWipe, kindWipe, kindRot, kindTransfer, kindTransfer, kindStop,
}

// lurk has one or two faults wait until a leader logs a change of the members: they befall that leader, or anybody, before the change is through.
func (f *faults) lurk(r *rand.Rand) string {
	if f.lurks != nil {
		return "nothing more"
	}
	var list []kind
	for range 1 + r.IntN(2) {
		list = append(list, pick(r, lurking...))
	}
	f.lurks = func(leader *node) {
		for _, k := range list {
			n := pick(r, leader, f.any(r))
			f.world.after(between(r, 0, f.world.plan.diskMean), func() {
				if f.over { // a quorum is well from here on (L8)
					return
				}
				if what := f.befall(k, n, r); f.world.trace.reads() {
					f.world.trace.line(f.world.now, "", "---- %v: %s", k, what)
				}
			})
		}
	}
	return fmt.Sprint(list)
}

// changes springs what waits for that.
func (f *faults) changes(leader *node) {
	if spring := f.lurks; spring != nil && !f.over {
		f.lurks = nil
		spring(leader)
	}
}

func (f *faults) crash(n *node, d time.Duration, r *rand.Rand) string {
	how, unnoticed := loss(r.IntN(int(losses))), time.Duration(0)
	if how != loseNone {
		unnoticed = f.lasting(r) // a machine without power does not close its connections
	}
	if n.process == nil {
		return "nobody"
	}
	n.crash(how, unnoticed)
	f.world.after(d, n.restart)
	return fmt.Sprintf("%s for %v, losing %d, unnoticed for %v", n.id, d, how, unnoticed)
}

func (f *faults) pause(n *node, d time.Duration, r *rand.Rand) string {
	if n.process == nil {
		return "nobody"
	}
	n.process.pause(d)
	suspended := r.IntN(3) == 0
	if suspended {
		n.clock.suspend() // until the process goes on, or ends
	}
	return fmt.Sprintf("%s for %v, suspended: %v", n.id, d, suspended)
}

// part is some of the nodes, not all.
func (f *faults) part(r *rand.Rand) []*node {
	list := slices.Clone(f.world.list)
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:r.IntN(len(list))]
}

// split cuts a part of the cluster from the rest.
func (f *faults) split(part []*node, d time.Duration, r *rand.Rand) string {
	mute := r.IntN(2) == 0
	for _, a := range part {
		for _, b := range f.world.list {
			if !slices.Contains(part, b) {
				f.cutLinks(a, b, d, mute)
				f.cutLinks(b, a, d, mute)
			}
		}
	}
	return fmt.Sprintf("%d of %d for %v", len(part), len(f.world.list), d)
}

func (f *faults) cutOne(a, b *node, d time.Duration, r *rand.Rand) string {
	f.cutLinks(a, b, d, r.IntN(2) == 0)
	return fmt.Sprintf("%s to %s for %v", a.id, b.id, d)
}

// cutLinks cuts the links from one node to another, on both connections.
func (f *faults) cutLinks(a, b *node, d time.Duration, mute bool) {
	for p := range connPaths {
		l := f.world.bus.link(a.id, b.id, p)
		l.cut, l.mute = true, mute
		l.cuts++
		mine := l.cuts
		f.world.after(d, func() {
			if l.cuts == mine {
				l.cut = false
			}
		})
	}
}

func (f *faults) busDown(n *node, d time.Duration, r *rand.Rand) string {
	if r.IntN(3) == 0 { // a slow consumer, cut and back at once: what was on its way is lost
		d = 0
	}
	if n.busDown || n.process == nil {
		return "nobody"
	}
	n.busDown = true
	n.disconnect()
	f.world.after(d, func() {
		n.busDown = false
		if n.process != nil {
			n.connect()
		}
	})
	return fmt.Sprintf("%s for %v", n.id, d)
}

func (f *faults) clock(n *node, d time.Duration, r *rand.Rand) string {
	switch r.IntN(3) {
	case 0:
		n.clock.wall += between(r, -time.Hour, time.Hour)
		return fmt.Sprintf("%s is off by %v", n.id, n.clock.wall)
	default:
		n.clock.drift(0.95 + 0.1*r.Float64())
		return fmt.Sprintf("%s runs at %.3f", n.id, n.clock.rate)
	}
}

// heal ends all faults for some nodes, and among them.
func (f *faults) heal(list []*node) {
	f.over = true
	w := f.world
	for _, a := range list {
		for _, b := range list {
			for p := range connPaths {
				l := w.bus.link(a.id, b.id, p)
				l.cut, l.clogged = false, min(l.clogged, w.now)
				l.last = min(l.last, w.now)
			}
		}
		a.heal()
	}
}

func (n *node) heal() {
	n.disk.failIn, n.disk.full = 0, false
	n.hungUntil, n.slow, n.disk.cutIn = 0, n.world.plan.diskMean, 0
	n.clock.drift(1)
	delete(n.world.trade.cut, n.id)
	if p := n.process; p != nil {
		p.resume()
	}
	if n.busDown {
		n.busDown = false
		if n.process != nil {
			n.connect()
		}
	}
	n.restart()
}
