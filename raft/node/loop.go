package node

// A turn takes all that waits, steps the core, and carries out what follows. Whoever takes a turn is the only writer of consensus
// state meanwhile: what is said here to be the loop's, is theirs (turns.go).

import (
	"time"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

// loop is the goroutine that takes the turns nobody else takes.
func (n *Node) loop(stop <-chan struct{}) error {
	defer n.end()
	for {
		alarmed := false
		select {
		case <-stop:
			return nil
		case <-n.inbox.bell:
		case <-n.rest.alarm.C:
			alarmed = true
		}
		if err := n.loopTurn(alarmed); err != nil {
			return err
		}
	}
}

// takeTurn takes all that waits, and one turn with it.
func (n *Node) takeTurn(since elapsed) error {
	taken := n.inbox.take(n.spent)
	if err := n.turn(&taken, since); err != nil {
		return err
	}
	n.rest.noteCalm(&taken, since.ticks())
	n.rest.plan(n.quiet())
	clearBatch(&taken)
	n.spent = taken
	n.hold()
	return nil
}

// turn is one turn of the loop.
func (n *Node) turn(b *batch, since elapsed) error {
	n.tick(since.slept)
	for i := range b.pings {
		n.takePing(&b.pings[i])
	}
	for _, l := range b.learned {
		if err := n.hearConfiguration(l); err != nil {
			return err
		}
	}
	if n.core == nil {
		n.noteStates(b.events)
		if err := n.boot(b); err != nil || n.core == nil {
			return err
		}
		b.events = messages(b.events)
	}
	n.stepAll(b, since)
	e := n.core.Effects()
	n.carryOut(e, b)
	n.refreshView(since.ticks())
	n.publish()
	n.admin.hear(e.Facts, n.id()) // last: whoever is told asks the status for more
	return nil
}

// stepAll steps the core with all that waited: completions first, since they free what the rest may use, and what came
// before the time that passed, so that a busy node does not take a leader for silent whose heartbeat waits in its inbox.
func (n *Node) stepAll(b *batch, since elapsed) {
	for _, e := range b.completions {
		if _, ok := e.(raft.SnapshotStored); ok {
			n.offered = true
		}
		n.core.Step(e)
	}
	for _, e := range b.events {
		if bus, ok := e.(raft.BusChanged); ok && !bus.Up {
			clear(n.answered)
		}
		if failed, ok := e.(raft.Failed); ok && failed.Method == rpc.MethodInstallSnapshot {
			n.streams.failed(failed.Peer)
		}
		n.core.Step(e)
	}
	for _, call := range b.calls {
		call()
	}
	n.tick(since.due)
	n.admin.tick(since.ticks())
	n.watchRoom(since.ticks())
	n.inbox.takeRequests(b, held{writes: n.patience(), reads: n.core.Confirming()})
	if len(b.proposals)+len(b.reads) > 0 {
		n.streams.pace.asked()
	}
	n.stepProposals(b.proposals)
	for i := range b.reads {
		n.core.Step(raft.ReadIndex{Ticket: n.readers.ticket(b.reads[i])})
	}
}

func (n *Node) tick(ticks int) {
	for range ticks {
		now := n.clock.now()
		at := n.clusterTime(now)
		n.zero.Store(at - int64(n.clock.steady(now)))
		n.core.Step(raft.Tick{Clock: at})
		n.streams.tick()
		n.compact.tick(n.compactTo)
	}
}

// clusterTime is what time it is for the cluster.
func (n *Node) clusterTime(now time.Time) int64 {
	n.clock.follow(n.core.LogTime(), now)
	return n.clock.reading(now)
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
	n.core.Step(raft.Propose{Clock: n.clusterTime(n.clock.now()), Proposals: n.steps})
	clear(n.steps)
	if n.inline {
		n.delay.proposed(time.Now(), len(list))
	}
}

// carryOut hands out the effects. Whoever waits for an entry is remembered before the entry can be applied, and after a new
// office has displaced those who waited for its place; messages that may leave now leave before this node's own write, so
// that peers write at the same time.
func (n *Node) carryOut(e *raft.Effects, b *batch) {
	n.admin.reconfigured(e.Reconfigured)
	for _, f := range e.Facts {
		n.tell(f)
	}
	n.rememberProposals(e.Proposed, b.proposals)
	n.turnSender.send(e.Send)
	if e.Write.Seq > 0 || len(e.SendAfterSync) > 0 {
		n.left.write = n.leavesWrite(e)
		n.appender.submit(job{write: e.Write, then: e.SendAfterSync}, !n.left.write)
	}
	if n.marks != nil {
		n.marks.committed(n.core.Status().Commit)
	}
	if e.Apply.To > 0 {
		n.left.apply = n.leavesApply(e.Apply) // before what is installed after it
		n.applier.submit(applyWork{run: e.Apply}, !n.left.apply)
	}
	n.carrySnapshots(e)
	for i := range e.Loads {
		n.load(e.Loads[i])
	}
	n.readers.answer(e.Reads)
	for _, peer := range e.Pings {
		n.send.ping(peer)
	}
}

// carrySnapshots hands out what concerns snapshots: streams to peers, what is received, and what becomes the state.
func (n *Node) carrySnapshots(e *raft.Effects) {
	for _, s := range e.Snapshots {
		n.streams.begin(s.Peer, s.Term)
	}
	if len(e.Snapshots) > 0 {
		n.keepStreams() // what was begun in the same turn that ended the office, or the peer's part in it
	}
	for _, m := range e.Chunks {
		switch {
		case m.Body.IsReturn():
			n.streams.returned(m)
		default:
			n.receiver.submit(m)
		}
	}
	switch {
	case e.Install.Snapshot.Index > 0:
		n.applier.submit(applyWork{install: e.Install}, true)
	case n.offered:
		n.receiver.release() // the core holds as much already
	}
	n.offered = false
	if e.Compact.ID.Index > 0 {
		n.compact.compact(e.Compact)
	}
}

// compactTo asks the core to forget the log's beginning, but for what a peer needs after the snapshot that it is being sent, or has just got (L7). On
// a full disk writes come first: such a peer needs another snapshot (F21).
func (n *Node) compactTo(to rpc.Index) {
	if n.core == nil || n.over || n.streams.opening() {
		return
	}
	if !diskFull(n.lookForRoom()) {
		to = n.core.Needed(n.streams.floor(to))
	}
	n.core.Step(raft.Compact{To: to})
	n.streams.passed(n.core.Status().Base)
}

func (n *Node) load(l raft.Load) {
	if !n.loader.submit(l) {
		n.inbox.completed(raft.Loaded{Load: l})
	}
}

func (n *Node) rememberProposals(answers []raft.Proposed, list []proposal) {
	for _, a := range answers {
		p := &list[a.Ticket]
		size := len(p.data) + rpc.EntryOverheadBytes
		switch a.Refusal {
		case raft.Accepted:
			n.waiters.add(a.ID, size, p.done)
			continue
		case raft.RefusedBusy: // as while leadership is being handed over
			if p.done != nil {
				p.done(ErrBusy, rpc.EntryID{})
			}
		default: // deposed since it was accepted: silence (design section 4)
		}
		n.waiters.release(size)
	}
}

// tell brings a fact to the log and to those who follow leadership.
func (n *Node) tell(f raft.Fact) {
	n.noticeFact(f)
	switch f := f.(type) {
	case raft.RoleChanged:
		n.logger.Info("role changed", "role", f.Role.String(), "term", f.Term, "reason", f.Reason)
		if f.Role == raft.Leader {
			n.waiters.displace(n.core.Status().Last) // the entry its term begins with; later ones displace by themselves
		}
		n.lead(f.Role == raft.Leader)
		n.keepStreams()
	case raft.LeaderChanged:
		n.logger.Info("leader changed", "leader", f.Leader, "term", f.Term, "reason", f.Reason)
	case raft.ConfigurationChanged:
		n.logger.Info("configuration in force", "index", f.Configuration.Index, "committed", f.Committed, "members", describe(&f.Configuration))
		n.noteMembers()
		n.keepStarts()
		n.keepStreams()
	case raft.RosterChanged:
		n.admit(f.Members)
	case raft.TransferEnded:
		n.logger.Warn("leadership was not handed over", "to", f.To, "reason", f.Reason)
	case raft.SnapshotInstalled:
		n.logger.Info("state replaced by the leader's snapshot", "snapshot", f.Snapshot.String())
	case raft.LogRepaired:
		n.logger.Info("the leader has given again all that the log had lost: this node counts again once it is written")
	case raft.PeerStuck:
		n.logger.Info("peer needs entries that the log no longer holds: it gets a snapshot", "peer", f.Peer, "next", f.Next)
	case raft.AcknowledgedLost:
		n.logger.Error("a peer has lost what it acknowledged: its data folder is an old copy, or its disk lies about syncs: stop it, empty the folder, start it with --join, and raftbus member replace "+string(f.Peer), "peer", f.Peer, "acknowledged", f.Match)
	}
}

// keepStreams ends the streams of snapshots that are this leader's no more.
func (n *Node) keepStreams() {
	s, m := n.core.Status(), n.core.Membership()
	n.streams.keep(s.Role == raft.Leader, s.Term, &m.Configuration)
}

func (n *Node) lead(leading bool) {
	if n.leading == leading {
		return
	}
	n.leading, n.delay = leading, commitDelay{}
	n.watchCrowd()
	n.leads.Store(leading)
	for _, changed := range n.observers {
		changed(leading)
	}
}

// noteStates keeps what a core to come must know, and what a first boot may learn.
func (n *Node) noteStates(events []raft.Event) {
	for _, e := range events {
		switch e := e.(type) {
		case raft.LinkChanged:
			n.links[e.Peer] = e.Connected
		case raft.BusChanged:
			n.busUp = e.Up
		case raft.Received:
			if n.sealing != nil {
				n.sealing.receive(&e.Message)
			}
		}
	}
}

// takePing takes the outcome of a ping: for the clock, for the first boot, for the core.
func (n *Node) takePing(p *busclient.Pinged) {
	if p.Err == nil && p.Refusal == "" {
		n.clock.hear(p.Peer, p.Clock, p.At)
		n.answered[p.Peer] = true
	}
	switch {
	case n.core != nil:
	case n.gathering != nil:
		n.hearGathering(*p)
		return
	case n.sealing != nil:
		n.hearSealing(*p)
		return
	default: // it waits to be added
		return
	}
	n.hearOutdated(p)
	n.core.Step(raft.Pinged{Peer: p.Peer, Outcome: pingOutcome(p, n.answered[p.Peer]), Leader: p.Leader, Term: p.Term, Lacks: p.Lacks, NoRoom: p.NoRoom})
	n.watchCrowd()
}

// hearOutdated takes it from a peer that this node's data folder is an old copy, put back: peers that know it take nothing from this node, and
// it is not to have a part with those that do not (F23, D3).
func (n *Node) hearOutdated(p *busclient.Pinged) {
	if !p.Outdated || n.outdated {
		return
	}
	n.outdated = true
	n.logger.Error("the data folder is an old copy: a peer knows of a later start of it. It has forgotten what was voted and acknowledged since, so this node neither votes nor leads: stop it, empty the folder and replace the member", "peer", p.Peer)
	n.core.Step(raft.Outdated{})
}

// end answers what still waits, when the loop ends.
func (n *Node) end() {
	n.turning.Lock()
	defer n.turning.Unlock()
	n.over = true
	if n.inline {
		n.delayTimer.Stop()
		n.rest.alarm.Stop()
	}
	left := n.inbox.close()
	for _, call := range left.calls {
		call()
	}
	for _, done := range left.reads {
		done(ErrStopped)
	}
	n.lead(false)
	n.readers.end()
	n.admin.end()
	n.disown()
}

// disown has the node say from now on that it follows nobody and leads nobody: a disk that hangs may keep its process, which answers pings, from ending.
func (n *Node) disown() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status.Role, n.status.Leader, n.status.Serving = raft.Follower, "", false
}

func clearBatch(b *batch) {
	clear(b.completions)
	clear(b.events)
	clear(b.pings)
	clear(b.learned)
	clear(b.proposals)
	clear(b.reads)
	clear(b.calls)
}
