package sim

// One life of a simulated node, from start to crash or stop: it puts the product's parts together, on a disk and a bus that are the world's, and steps
// them. What outlives it belongs to the machine (node.go); what it may not lose is checked by the watcher and not here.

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/folder"
	raftnode "github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// group is the one Raft group of a node.
const group wal.GroupID = 0

// gatherBytes is little, so that the engine below the gathering one hears of much on the way.
const gatherBytes = 8 << 10

// process is one life of a node: the production code, stepped at the pace that the world's dice say.
type process struct {
	world     *world
	node      *node
	folder    *folder.Folder
	log       *wal.Log
	store     *store.Store
	raft      *raftnode.Node
	steps     *raftnode.Steps
	bus       *busclient.Service
	spy       spy
	door      *door
	deliverer *deliverer // nil: nobody watches

	gone        bool
	pausedUntil time.Duration
	frozen      []func() // what was due while it was paused
	awake       bool     // work is on the agenda
	touched     bool     // something happened to the bus's side
	workers     []*worker

	busDue    time.Duration // when the links want their turn
	busPut    time.Duration // for when that is on the agenda; 0: it is not
	lastTick  time.Duration // by the node's clock
	passed    int           // ticks since the last turn: the node sleeps through them
	tickEvery time.Duration
	status    raftnode.Status
	confirmed []confirmedRead // in the turn that is being done
	handing   int             // transfers that it was asked for and has not answered
}

// boot starts a process as package replica does: folder, log, store, bus, node.
func boot(n *node) (p *process, err error) {
	w := n.world
	p = &process{world: w, node: n}
	if p.folder, err = folder.OpenFrom(n.disk, "data", n.id, n.random); err != nil {
		return p, err
	}
	o := wal.Options{Inline: true, LogID: n.r.Uint64() | 1, SegmentBytes: w.plan.segmentBytes, KeepFreeBytes: func() int64 { return 2 * diskFullBytes }, ReportDamaged: true}
	if p.log, err = p.folder.OpenLog(o); err != nil {
		return p, err
	}
	if p.store, err = store.Open(store.Options{Engine: engine.NewGather(n.memory, gatherBytes), ManualFlush: true}); err != nil {
		return p, err
	}
	return p, p.join()
}

// join makes the node and its bus, and starts both.
func (p *process) join() error {
	n := p.node
	conf, err := config.Validate(config.Config{NodeID: n.id, MemberIDs: n.members, Join: n.join, Periods: p.world.plan.timing, Eager: p.world.plan.eager, Multicast: p.world.plan.multicast})
	if err != nil {
		return err
	}
	p.tickEvery = conf.Timing().Tick
	p.raft = raftnode.New(raftnode.Options{
		Config: conf, Folder: p.folder, Log: p.log, Machine: newMachine(p),
		Logger: p.logger(), KeepLogBytes: pick(n.r, p.world.plan.keepLog...), Tune: p.world.plan.tune(n.r), Seed: n.r.Uint64() | 1, Now: n.clock.now, ChunkBytes: p.world.plan.chunks(),
	})
	p.bus, err = busclient.NewService(busclient.Options{
		Config: conf, Identity: busclient.Identity{ID: n.id, Instance: p.folder.Instance, Boot: p.folder.Boot},
		Control: n.conns[control], Bulk: n.conns[bulk], Owner: p.raft, PingContent: p.raft.PingContent, Starts: p.raft.KnownStarts(), Earlier: p.folder.Earlier,
		Now: n.clock.now, Seed: n.r.Uint64() | 1, Nonce: func() string { return fmt.Sprintf("%x", n.r.Uint64()) },
	})
	if err != nil {
		return err
	}
	p.spy = spy{process: p}
	p.workers = newWorkers(p)
	p.door = newDoor(p)
	p.deliverer = newDeliverer(p)
	if p.steps, err = p.raft.StartSteps(&p.spy); err != nil {
		return err
	}
	return p.bus.Listen()
}

// logger writes to the trace, if somebody reads it.
func (p *process) logger() *slog.Logger {
	if !p.world.trace.reads() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(lineWriter{p}, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

type lineWriter struct{ p *process }

func (l lineWriter) Write(b []byte) (int, error) {
	l.p.world.trace.line(l.p.world.now, l.p.node.id, "log: %s", b[:len(b)-1])
	return len(b), nil
}

// after puts something of this life on the agenda.
func (p *process) after(d time.Duration, do func()) { p.world.agenda.put(p.world.now+d, p, do) }

// begin sets the process going.
func (p *process) begin() {
	p.lastTick = p.node.clock.read()
	p.status = p.raft.Status()
	p.touched = true
	p.wake()
	p.after(between(p.node.r, 0, p.tickEvery), p.tick)
}

// pause stops the process for a while (F16). What comes meanwhile waits.
func (p *process) pause(d time.Duration) {
	p.pausedUntil = max(p.pausedUntil, p.world.now+d)
	p.world.at(p.pausedUntil, p.thaw)
}

// thaw goes on with what was due, unless another pause has begun.
func (p *process) thaw() {
	if p.pausedUntil > p.world.now || p.gone {
		return
	}
	p.node.clock.wake()
	for _, do := range p.frozen {
		p.after(0, do)
	}
	p.frozen = nil
}

// end is the end of this life, without another word.
func (p *process) end() {
	p.gone = true
	p.deliverer.cut()
	p.node.clock.wake()
	if p.door != nil {
		p.door.close()
	}
	if p.steps != nil {
		p.steps.Abandon()
	}
}

// wake has the process work soon, with all that waits by then.
func (p *process) wake() {
	if p.awake || p.gone {
		return
	}
	p.awake = true
	p.after(between(p.world.r, 0, p.world.plan.wakeMax), p.awoken)
}

func (p *process) awoken() {
	p.awake = false
	p.work()
}

// tick counts the ticks that have passed, as the loop's metronome does.
func (p *process) tick() {
	const atOnceMax = 10
	now := p.node.clock.read()
	ticks := int((now - p.lastTick) / p.tickEvery)
	if p.lastTick += time.Duration(ticks) * p.tickEvery; ticks > atOnceMax {
		p.lastTick, ticks = now, atOnceMax
	}
	left := p.lastTick + p.tickEvery - now
	p.after(time.Duration(float64(left)/p.node.clock.rate)+1, p.tick)
	p.door.expire()
	p.deliverer.tick()
	if p.passed += ticks; p.passed > p.steps.Quiet() {
		p.work()
	}
}

// work has the links and the loop take their turns.
func (p *process) work() {
	if p.touched || p.bus.Pending() || p.busDue <= p.world.now {
		p.turnLinks()
	}
	if p.passed > p.steps.Quiet() || p.steps.Waiting().Turn {
		_, err := p.steps.Turn(p.passed)
		p.passed = 0
		if !p.turned(err) {
			return
		}
	}
	p.look()
	if p.touched || p.bus.Pending() {
		p.wake()
	}
}

func (p *process) turnLinks() {
	p.touched = false
	wake := p.bus.Turn(p.node.clock.now())
	if p.busDue = neverTime; !wake.IsZero() {
		p.busDue = p.node.clock.when(wake)
	}
	if p.busDue != neverTime && (p.busPut == 0 || p.busDue < p.busPut) {
		p.busPut = p.busDue
		p.world.agenda.put(p.busDue, p, p.linksDue)
	}
}

const neverTime = time.Duration(1<<63 - 1)

func (p *process) linksDue() {
	p.busPut = 0
	p.touched = true
	p.work()
}

// turned looks at what a step has done to the node. It reports whether the process still runs.
func (p *process) turned(err error) bool {
	before := p.status
	p.status = p.raft.Status()
	p.world.watch.turned(p, &before, &p.status)
	for _, one := range p.confirmed {
		p.world.watch.confirmed(p, one, &before.Configuration, &p.status.Configuration)
	}
	p.confirmed = p.confirmed[:0]
	if err != nil {
		p.node.stopped(p, err)
		return false
	}
	return true
}

func (p *process) String() string { return fmt.Sprintf("%s (start %d)", p.node.id, p.node.starts) }

// member is this life as a configuration would name it.
func (p *process) member() rpc.Member { return rpc.Member{ID: p.node.id, Instance: p.folder.Instance} }
