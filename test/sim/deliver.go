package sim

// Watches in the simulator: what package kv/delivery is to a real node, stepped from the agenda. The hub and the placer under it are the product's;
// what is made here may neither decide for them nor look into them.

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/delivery"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// deliverer serves watchers in one life of a node: it does as package kv/delivery does, without goroutines, and its leaf connection is an
// ordered channel that loses what is under way when it is cut.
type deliverer struct {
	process *process
	hub     *watch.Hub
	placer  *watch.Placer
	leaf    leaf

	astray   bool // it does not follow the log
	stale    bool // the consumers are to be taken from the store
	waiting  []watch.Event
	learned  []watch.Event // what the leaf knew of subjects that began to be watched: it goes before all else
	stepping bool          // it is on the agenda
	wakes    time.Duration // for when it is on the agenda too; 0: it is not
	wantRoom bool
	announce time.Duration // when it next tells the others of itself, by the node's clock
}

// leaf is a connection that deliveries go over.
type leaf struct {
	up      bool
	life    int             // counts the times it was cut
	arrives time.Duration   // when what was sent last does
	ends    time.Duration   // what arrives later, of the life before, is lost
	flying  int             // bytes
	known   map[string]bool // whether somebody listens to the subjects that are watched
}

func newDeliverer(p *process) *deliverer {
	w := p.world
	if w.plan.watchers == 0 {
		return nil
	}
	d := &deliverer{process: p, stale: true, placer: watch.NewPlacer(string(p.node.id)), leaf: leaf{known: map[string]bool{}}}
	d.hub = watch.New(string(p.node.id), uint64(p.folder.Boot), w.plan.hub)
	p.store.Follow(d.applied)
	p.raft.Leadership(d.placer.Lead)
	return d
}

// now is the time of the step machines, by the clock that goes on.
func (d *deliverer) now() int64 { return int64(d.process.node.clock.read()) + 1 }

// applied takes what the store has applied. A node that serves nobody needs to hear of consumers only.
func (d *deliverer) applied(b store.Batch) {
	if b.Reset || d.process.world.watchers.forgets() {
		d.stale = true
		d.waiting = slices.DeleteFunc(d.waiting, func(e watch.Event) bool { _, is := e.(watch.Applied); return is })
	}
	if d.stale {
		d.soon()
		return
	}
	if d.hub.Serving() == 0 && len(d.waiting) == 0 && !slices.ContainsFunc(b.Events, func(e store.Event) bool { return e.Kind >= store.BucketRemoved }) {
		return
	}
	d.add(watch.Applied{Index: uint64(b.At), Changes: delivery.Changes(&b, silent)})
}

var silent = slog.New(slog.DiscardHandler)

func (d *deliverer) add(e watch.Event) {
	d.waiting = append(d.waiting, e)
	d.soon()
}

// soon has the hub stepped, with all that waits by then.
func (d *deliverer) soon() {
	if !d.stepping {
		d.stepping = true
		d.process.after(between(d.process.world.watchers.r, 0, d.process.world.plan.wakeMax), d.step)
	}
}

func (d *deliverer) step() {
	d.stepping = false
	events := d.take()
	room := 0
	if d.leaf.up {
		room = max(0, d.process.world.plan.leafBytes-d.leaf.flying)
	}
	out := d.hub.Step(d.now(), room, events...)
	for _, s := range out.Send {
		d.send(s)
	}
	for _, w := range out.Watch {
		d.follow(w)
	}
	for _, r := range out.Reads {
		d.read(r)
	}
	d.wantRoom = out.WantRoom
	if out.Again || len(d.learned) > 0 {
		d.soon()
	}
	d.wake(out.Wake)
}

// take is what has happened since the last step.
func (d *deliverer) take() []watch.Event {
	list := d.learned
	d.learned = nil
	if d.stale {
		reset, err := delivery.Load(d.process.store, string(d.process.node.id), d.process.folder.Boot, silent)
		d.process.world.must(err == nil, "W2", "%v: its consumers cannot be read: %v", d.process, err)
		d.stale = false
		d.placer.Reset(reset.Records)
		list = append(list, reset)
	}
	for _, e := range d.waiting {
		if applied, is := e.(watch.Applied); is {
			d.placer.Apply(applied.Changes)
		}
		list = append(list, e)
	}
	d.waiting = nil
	return append(list, watch.Applied{Index: uint64(d.process.store.Applied().Index)})
}

// send puts a message into the connection. What it brings arrives in order, unless it is cut before.
func (d *deliverer) send(s watch.Send) {
	w := d.process.world
	if !d.leaf.up {
		return
	}
	if s.State != nil {
		state := *s.State
		s.State = &state
	}
	bytes := len(s.Subject) + len(s.Reply) + len(s.Header) + len(s.Body) + 64
	d.leaf.flying += bytes
	d.leaf.arrives = max(d.leaf.arrives, w.now+w.bus.plan.delayMin+exponential(w.watchers.r, w.bus.plan.delayMean))
	if w.trace.reads() {
		w.trace.line(w.now, d.process.node.id, "-> %s, applied %d", s.Subject, d.process.store.Applied().Index)
	}
	life, at := d.leaf.life, d.leaf.arrives
	w.at(at, func() {
		if life == d.leaf.life {
			if d.leaf.flying -= bytes; d.wantRoom && !d.process.gone {
				d.soon()
			}
		} else if at > d.leaf.ends {
			return
		}
		w.watchers.arrive(&s)
	})
}

// follow has the connection watch a subject, or no longer.
func (d *deliverer) follow(w watch.Watch) {
	if w.Ended {
		delete(d.leaf.known, w.Subject)
		return
	}
	known, watched := d.leaf.known[w.Subject]
	if d.leaf.up || !watched {
		known = d.leaf.up && d.process.world.watchers.listens(w.Subject)
	}
	d.leaf.known[w.Subject] = known
	d.learned = append(d.learned, watch.Interest{Subject: w.Subject, Listened: known})
}

// interest is what the connection hears of a subject.
func (d *deliverer) interest(subject string, listened bool) {
	if known, watched := d.leaf.known[subject]; d.leaf.up && watched && known != listened {
		d.leaf.known[subject] = listened
		d.add(watch.Interest{Subject: subject, Listened: listened})
	}
}

// connected: what has changed meanwhile is told first.
func (d *deliverer) connected() {
	if d == nil || d.leaf.up {
		return
	}
	d.leaf.up = true
	for _, subject := range slices.Sorted(maps.Keys(d.leaf.known)) {
		d.interest(subject, d.process.world.watchers.listens(subject))
	}
	d.add(watch.LeafUp{})
}

// cut ends the connection. Of what is under way the first part arrives.
func (d *deliverer) cut() {
	if d == nil || !d.leaf.up {
		return
	}
	w := d.process.world
	d.leaf.up, d.leaf.flying = false, 0
	d.leaf.life++
	d.leaf.ends = w.now + between(w.watchers.r, 0, 2*w.bus.plan.delayMean+1)
	d.add(watch.LeafDown{})
}

func (d *deliverer) read(r watch.Read) {
	d.process.after(exponential(d.process.world.watchers.r, d.process.world.plan.applyMean), func() {
		page, _ := delivery.Page(d.process.store, &r, nil) // one that fails says so
		d.add(watch.PageRead{Read: r.ID, Page: page})
	})
}

// wake has the hub stepped when it says so.
func (d *deliverer) wake(at int64) {
	if at == 0 {
		return
	}
	p := d.process
	left := max(time.Duration(at-d.now()), time.Millisecond)
	due := p.world.now + time.Duration(float64(left)/p.node.clock.rate) + 1
	if d.wakes > 0 && d.wakes <= due {
		return
	}
	d.wakes = due
	p.world.agenda.put(due, p, func() {
		if d.wakes == due {
			d.wakes = 0
			d.soon()
		}
	})
}

// tick announces the node, and has logged what the placer proposes.
func (d *deliverer) tick() {
	if d == nil || d.process.node.clock.read() < d.announce {
		return
	}
	d.announce = d.process.node.clock.read() + watch.AnnounceEvery
	if astray := d.process.raft.Status().Leader == ""; astray != d.astray {
		d.astray = astray
		d.add(watch.Follows{Log: !astray})
	}
	a := watch.Announcement{
		Node: string(d.process.node.id), Instance: d.process.folder.Instance.String(), Boot: uint64(d.process.folder.Boot), Able: d.leaf.up,
		Applied: uint64(d.process.store.Applied().Index), Idle: d.hub.Idle(watch.IdleMax),
	}
	d.placer.Hear(d.now(), a)
	if d.placer.Tells(d.now(), &a) {
		d.process.world.watchers.announce(d.process.node, a)
	}
	for _, c := range delivery.Commands(d.placer.Tick(d.now()), d.process.store.Open()) {
		if d.process.raft.Propose(c.Encode(), func(any, rpc.EntryID) {}) != nil {
			for _, ref := range c.About {
				d.placer.Forget(ref)
			}
		}
		d.process.wake()
	}
}

// make has a consumer logged, on the host whose turn it is; without one nobody answers.
func (d *deliverer) make(c command.AddConsumer) {
	host, boot, ok := d.placer.Choose(d.now(), false)
	if c.Host, c.Boot = rpc.NodeID(host), rpc.BootEpoch(boot); ok {
		_ = d.process.raft.Propose(command.Command{AddConsumer: &c}.Encode(), func(any, rpc.EntryID) {})
	}
}
