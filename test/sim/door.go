package sim

// What simulated clients reach: the rules by which package kv answers, retold without NATS. It may say 'done' of what was applied only, and refuse only what
// was certainly not done.

import (
	"errors"

	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft"
	raftnode "github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// door is what clients reach of a node: it does as package kv does, without NATS. It listens from the node's election until it
// steps down; 'done' is always said, a refusal only by a node that has led since the request came (design section 4).
type door struct {
	process *process
	epoch   uint64 // counts the changes of leadership; odd while the node leads
	closed  bool
	expiry  expiry
}

func newDoor(p *process) *door {
	d := &door{process: p}
	p.raft.Leadership(func(leading bool) {
		if leading != d.listening() {
			d.epoch++
		}
	})
	return d
}

func (d *door) listening() bool { return d.epoch%2 == 1 }

func (d *door) close() { d.closed = true }

// request is a copy of an operation that has come to a door.
type request struct {
	op    *op
	epoch uint64
}

func (d *door) leadsSince(r request) bool { return d.listening() && d.epoch == r.epoch }

// handle takes a request.
func (d *door) handle(o *op) {
	r := request{o, d.epoch}
	if o.reads() {
		d.read(r)
	} else {
		d.write(r)
	}
	d.process.wake()
}

func (d *door) write(r request) {
	w := d.process.world
	err := d.process.raft.Propose(r.op.encoded, func(result any, at rpc.EntryID) {
		if result == raftnode.ErrBusy {
			d.refuse(r)
			return
		}
		w.must(at.Index <= w.watch.last() && w.watch.at(at.Index).term == at.Term, "I10", "%v answers a client for %v, which is not committed", d.process, at)
		outcome := result.(store.Result)
		if outcome.Code == store.Done || d.leadsSince(r) {
			d.answer(answer{op: r.op, outcome: answered, result: outcome, at: at})
		}
	})
	switch {
	case errors.Is(err, raftnode.ErrBusy), errors.Is(err, raftnode.ErrFull):
		d.refuse(r)
	case errors.Is(err, raftnode.ErrTooLarge):
		w.fail("C5", "%v: a command of %d bytes is too large", d.process, len(r.op.encoded))
	}
}

// refuse tells a client that nothing was done, once it is shown that this node led when the request came.
func (d *door) refuse(r request) {
	_ = d.process.raft.ReadIndex(func(err error) {
		if err == nil && d.leadsSince(r) {
			d.answer(answer{op: r.op, outcome: notDone})
		}
	})
}

func (d *door) read(r request) {
	p, w := d.process, d.process.world
	asked, office, then := w.watch.last(), p.status, w.watch.witnesses()
	err := p.raft.ReadIndex(func(err error) {
		if err != nil {
			return
		}
		w.watch.served(p, p.store.Applied().Index, asked)
		if office.Role == raft.Leader {
			p.confirmed = append(p.confirmed, confirmedRead{office.Term, then})
		}
		p.after(exponential(w.r, w.plan.applyMean), func() { d.serve(r) })
	})
	if errors.Is(err, raftnode.ErrBusy) {
		d.refuse(r)
	}
}

// serve does a read that was confirmed.
func (d *door) serve(r request) {
	entry, err := d.process.store.Get(r.op.bucket, r.op.key)
	a := answer{op: r.op, outcome: answered, entry: entry}
	var code store.Code
	switch {
	case err == nil:
		a.found = true
	case errors.As(err, &code):
		a.result.Code = code
	default:
		return
	}
	d.answer(a)
}

// answer sends an answer on its way, unless the process is gone.
func (d *door) answer(a answer) {
	if !d.closed {
		d.process.world.trade.reply(d.process.node, a)
	}
}
