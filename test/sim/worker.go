package sim

// The workers are what stands for the goroutines of a node beside its loop: each does one piece of its work at a time, after as
// long as its disk or its state machine takes.

import (
	"time"

	raftnode "github.com/raftbus/raftbus/raft/node"
)

type worker struct {
	process *process
	waits   func(*raftnode.Waiting) bool
	step    func() (bool, error)
	disk    bool // the log's disk is what takes time
	busy    bool // it is on the agenda
}

func newWorkers(p *process) []*worker {
	s := func() *raftnode.Steps { return p.steps }
	return []*worker{
		{process: p, disk: true, waits: func(w *raftnode.Waiting) bool { return w.Append }, step: p.append},
		{process: p, waits: func(w *raftnode.Waiting) bool { return w.Apply }, step: func() (bool, error) { return s().Apply() }},
		{process: p, disk: true, waits: func(w *raftnode.Waiting) bool { return w.Load }, step: func() (bool, error) { return s().Load() }},
		{process: p, waits: func(w *raftnode.Waiting) bool { return w.Cut }, step: func() (bool, error) { return s().Cut() }},
		{process: p, disk: true, waits: func(w *raftnode.Waiting) bool { return w.Receive }, step: func() (bool, error) { return s().Receive() }},
		{process: p, disk: true, waits: func(w *raftnode.Waiting) bool { return w.Compact }, step: p.compact},
	}
}

// look puts work on the agenda that a step has made.
func (p *process) look() {
	w := p.steps.Waiting()
	for _, one := range p.workers {
		if !one.busy && one.waits(&w) {
			one.busy = true
			p.after(one.time(), one.work)
		}
	}
	if w.Turn {
		p.wake()
	}
}

func (one *worker) time() time.Duration {
	p := one.process
	if one.disk {
		return p.node.diskTime()
	}
	return exponential(p.world.r, p.world.plan.applyMean)
}

// diskTime is how long the disk takes for something.
func (n *node) diskTime() time.Duration {
	return max(exponential(n.r, n.slow), n.hungUntil-n.world.now)
}

// work does one piece, unless the disk hangs.
func (one *worker) work() {
	p := one.process
	if left := p.node.hungUntil - p.world.now; one.disk && left > 0 {
		p.after(left, one.work)
		return
	}
	one.busy = false
	if _, err := one.step(); err != nil {
		p.node.stopped(p, err)
		return
	}
	p.look()
}

// append has the log written, under the watcher's eyes.
func (p *process) append() (bool, error) {
	p.spy.writes, p.spy.synced = true, false
	defer func() { p.spy.writes = false }()
	worked, err := p.steps.Append()
	if err == nil {
		p.world.watch.wrote(p.node) // a full disk may have taken a part
	}
	return worked, err
}

// compact has the log's beginning forgotten.
func (p *process) compact() (bool, error) {
	worked, err := p.steps.Compact()
	if err == nil {
		p.world.watch.wrote(p.node)
	}
	return worked, err
}

// resume ends a pause, and has the disk do at its usual pace what it was to do late.
func (p *process) resume() {
	p.pausedUntil = min(p.pausedUntil, p.world.now)
	p.thaw()
	for _, one := range p.workers {
		if one.busy && one.disk {
			p.after(p.node.diskTime(), one.work)
		}
	}
}
