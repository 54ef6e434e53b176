package node

import (
	"time"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// The loop is the only writer of consensus state. A turn takes all that waits, steps the core, and carries out what follows.

// loop is the goroutine that owns the core.
func (n *Node) loop(stop <-chan struct{}) error {
	tick := time.NewTicker(n.o.Config.Timing().Tick)
	defer tick.Stop()
	defer n.end()
	beat := metronome{period: n.o.Config.Timing().Tick, last: time.Now()}
	var spent batch
	for {
		select {
		case <-stop:
			return nil
		case <-n.inbox.wake:
		case <-tick.C:
		}
		taken := n.inbox.take(spent)
		if err := n.turn(&taken, beat.ticks(time.Now())); err != nil {
			return err
		}
		clearBatch(&taken)
		spent = taken
	}
}

// turn is one turn of the loop.
func (n *Node) turn(b *batch, ticks int) error {
	for i := range b.pings {
		n.takePing(&b.pings[i])
	}
	if n.core == nil {
		n.noteStates(b.events)
		if err := n.gather(b); err != nil || n.core == nil {
			return err
		}
		b.events = nil
	}
	n.stepAll(b, ticks)
	n.carryOut(n.core.Effects(), b)
	n.publish()
	return nil
}

// stepAll steps the core with all that waited: completions first, since they free what the rest may use, and what came
// before the time that passed, so that a busy node does not take a leader for silent whose heartbeat waits in its inbox.
func (n *Node) stepAll(b *batch, ticks int) {
	for _, e := range b.completions {
		n.core.Step(e)
	}
	for _, e := range b.events {
		if bus, ok := e.(raft.BusChanged); ok && !bus.Up {
			clear(n.answered)
		}
		n.core.Step(e)
	}
	for _, call := range b.calls {
		call()
	}
	for range ticks {
		n.core.Step(raft.Tick{Clock: n.clock.median()})
	}
	n.stepProposals(b.proposals)
	for i := range b.reads {
		n.core.Step(raft.ReadIndex{Ticket: n.readTicket(b.reads[i])})
	}
}

// stepProposals proposes all commands that waited, together. A ticket is the place in the batch: the core answers in the
// same turn.
func (n *Node) stepProposals(list []proposal) {
	if len(list) == 0 {
		return
	}
	n.steps = n.steps[:0]
	for i := range list {
		n.steps = append(n.steps, raft.Proposal{Ticket: uint64(i), Data: list[i].data})
	}
	n.core.Step(raft.Propose{Clock: n.clock.median(), Proposals: n.steps})
	clear(n.steps)
}

// carryOut hands out the effects. Whoever waits for an entry is remembered before the entry can be applied, and after a new
// office has displaced those who waited for its place; messages that may leave now leave before this node's own write, so
// that peers write at the same time.
func (n *Node) carryOut(e *raft.Effects, b *batch) {
	for _, f := range e.Facts {
		n.tell(f)
	}
	n.rememberProposals(e.Proposed, b.proposals)
	for i := range e.Send {
		n.send.send(e.Send[i])
	}
	if e.Write.Seq > 0 || len(e.SendAfterSync) > 0 {
		n.appender.submit(job{write: e.Write, then: e.SendAfterSync})
	}
	if e.Apply.To > 0 {
		n.applier.work <- e.Apply // never blocks: the core hands out one at a time
	}
	for i := range e.Loads {
		n.load(e.Loads[i])
	}
	n.answerReads(e.Reads)
	for _, peer := range e.Pings {
		n.send.ping(peer)
	}
}

func (n *Node) load(l raft.Load) {
	select {
	case n.loader.work <- l:
	default: // as many wait as there may be peers: reads of earlier terms are among them
		n.inbox.completed(raft.Loaded{Load: l})
	}
}

func (n *Node) rememberProposals(answers []raft.Proposed, list []proposal) {
	for _, a := range answers {
		p := &list[a.Ticket]
		size := len(p.data) + rpc.EntryOverheadBytes
		if a.Refusal != raft.RefusedNot {
			n.waiters.release(size) // deposed since it was accepted: silence (design section 4)
			continue
		}
		n.waiters.add(a.ID, size, p.done)
	}
}

// tell brings a fact to the log and to those who follow leadership.
func (n *Node) tell(f raft.Fact) {
	switch f := f.(type) {
	case raft.RoleChanged:
		n.logger.Info("role changed", "role", f.Role.String(), "term", f.Term, "reason", f.Reason)
		if f.Role == raft.Leader {
			n.waiters.displace(n.core.Status().Last) // the entry its term begins with; later ones displace by themselves
		}
		n.lead(f.Role == raft.Leader)
	case raft.LeaderChanged:
		n.logger.Info("leader changed", "leader", f.Leader, "term", f.Term, "reason", f.Reason)
	case raft.PeerStuck:
		n.logger.Error("peer needs entries that the log no longer holds", "peer", f.Peer, "next", f.Next)
	}
}

func (n *Node) lead(leading bool) {
	if n.leading == leading {
		return
	}
	n.leading = leading
	n.leads.Store(leading)
	for _, changed := range n.observers {
		changed(leading)
	}
}

// noteStates keeps what a core to come must know.
func (n *Node) noteStates(events []raft.Event) {
	for _, e := range events {
		switch e := e.(type) {
		case raft.LinkChanged:
			n.links[e.Peer] = e.Connected
		case raft.BusChanged:
			n.busUp = e.Up
		}
	}
}

// gather is a turn of a node that has no table yet.
func (n *Node) gather(b *batch) error {
	for _, call := range b.calls {
		call()
	}
	for _, p := range b.proposals {
		n.waiters.release(len(p.data) + rpc.EntryOverheadBytes)
	}
	for _, done := range b.reads {
		n.reads.Add(-1)
		done(ErrNotLeader)
	}
	b.calls, b.proposals, b.reads = nil, nil, nil
	defer n.publish()
	return n.tryTable()
}

// tryTable makes the table durable once it is complete, and starts consensus. This one write of a node's life is done on
// the loop: there is nothing else to do before it.
func (n *Node) tryTable() error {
	table, complete := n.gathering.table()
	if !complete {
		return nil
	}
	conf := rpc.AppendConfiguration(nil, &rpc.Configuration{Voters: table})
	if err := n.o.Log.Append(wal.Batch{Group: n.o.Group, Base: &wal.Base{Configuration: conf}}); err != nil {
		return err
	}
	n.logger.Info("first boot: all members heard from", "members", join(n.gathering.members))
	return n.makeCore(n.o.Log.State(n.o.Group))
}

// takePing takes the outcome of a ping: for the clock, for the first boot, for the core.
func (n *Node) takePing(p *ping) {
	if p.err == nil && p.refusal == "" {
		n.clock.hear(p.peer, p.offset)
		n.answered[p.peer] = true
	}
	if n.core == nil {
		n.hearGathering(*p)
		return
	}
	n.core.Step(raft.Pinged{Peer: p.peer, Outcome: p.outcome(n.answered[p.peer]), Leader: p.leader, Term: p.term})
}

// waitingText is what the operator of a first boot reads.
const waitingText = "first boot: waiting for members, nobody votes before all were heard from"

// hearGathering takes a ping during the first boot, and tells the operator what is awaited, whenever that changes.
func (n *Node) hearGathering(p ping) {
	g := n.gathering
	before, refused := join(g.waitingFor()), g.refused[p.peer]
	g.hear(p)
	if now := join(g.waitingFor()); now != before && now != "" {
		n.logger.Info(waitingText, "waiting_for", now)
	}
	if now := g.refused[p.peer]; now != "" && now != refused {
		n.logger.Error("refused by a member", "peer", p.peer, "reason", now)
	}
}

// end answers what still waits, when the loop ends.
func (n *Node) end() {
	left := n.inbox.close()
	for _, done := range left.reads {
		done(ErrStopped)
	}
	n.lead(false)
	n.endReads()
}

func clearBatch(b *batch) {
	clear(b.completions)
	clear(b.events)
	clear(b.pings)
	clear(b.proposals)
	clear(b.reads)
	clear(b.calls)
}
