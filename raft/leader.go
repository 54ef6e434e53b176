package raft

// What a leader does: replicate, commit entries of its own term by counting (thesis 3.6.2), tell followers, and step
// down when it makes no progress.

import (
	"math"

	"github.com/raftbus/raftbus/raft/rpc"
)

// office is what a node keeps while it leads.
type office struct {
	peers     map[rpc.NodeID]*progress
	began     uint64    // tick
	beat      uint64    // tick of the last heartbeat
	moved     uint64    // last tick at which the commit index moved, or nothing waited for it
	first     rpc.Index // the entry this term began with
	transfer  transfer
	proposals []proposed
	bytes     int // of the proposals logged and not yet applied
	noted     noted
	streamed  uint64       // tick at which a peer last took in more of a snapshot
	order     []rpc.NodeID // the voters but this one, the nearest first, as it was last
	batches   []rpc.Index  // what each batch of proposals that is not known to be committed ends with; see Patience
}

type proposed struct {
	index rpc.Index
	bytes int
}

// takeOffice begins a term: with an entry of its own, because entries of earlier terms commit only behind one (K14).
func (c *Core) takeOffice() {
	c.office = office{peers: map[rpc.NodeID]*progress{}, began: c.now, beat: c.now, moved: c.now, first: c.log.last + 1}
	c.meetPeers()
	c.setRole(Leader, "a majority voted for it")
	c.setLeader(c.id, "elected")
	c.election.lost, c.election.tries = false, 0
	c.logEntry(rpc.EntryNoop, nil)
	c.heartbeat()
}

// meetPeers begins with members of which this leader knows nothing yet.
func (c *Core) meetPeers() {
	for _, m := range c.peers {
		if c.office.peers[m.ID] == nil {
			c.office.peers[m.ID] = &progress{
				next: c.log.last + 1, connected: c.election.links[m.ID], heard: c.now, acked: c.now, goalAt: c.now,
			}
		}
	}
	c.orderVoters()
}

// leaveOffice ends a term of office. What was proposed may still commit; what waits to be read cannot be confirmed.
func (c *Core) leaveOffice() {
	c.office = office{}
	c.refuseReads()
	c.somebodyLed()
}

// logEntry appends to a leader's own log. Nothing in it is ever rewritten by this leader (I2).
func (c *Core) logEntry(kind rpc.EntryKind, data []byte) rpc.EntryID {
	e := c.nextEntry(0, kind, data)
	c.extend([]rpc.Entry{e})
	return e.ID()
}

// nextEntry is the entry that comes next in a leader's log, after so many others.
func (c *Core) nextEntry(after int, kind rpc.EntryKind, data []byte) rpc.Entry {
	return rpc.Entry{Index: c.log.last + 1 + rpc.Index(after), Term: c.hard.Term, Kind: kind, Time: max(c.clock, c.log.time), Data: data}
}

// propose logs commands, or refuses them. A proposal of an earlier office is never carried into this one: the driver
// hands over only what it got since (K25).
func (c *Core) propose(list []Proposal) {
	entries := make([]rpc.Entry, 0, len(list))
	for _, p := range list {
		refusal, id := c.refuses(&p), rpc.EntryID{}
		if refusal == Accepted {
			e := c.nextEntry(len(entries), rpc.EntryCommand, p.Data)
			entries, id = append(entries, e), e.ID()
			c.office.hold(&e)
		}
		c.out.Proposed = append(c.out.Proposed, Proposed{Ticket: p.Ticket, ID: id, Refusal: refusal})
	}
	if len(entries) > 0 {
		c.extend(entries)
	}
	if c.role == Leader {
		c.office.batches = append(c.office.batches, c.log.last)
	}
}

// refuses says why a proposal is not taken, if it is not.
func (c *Core) refuses(p *Proposal) Refusal {
	switch {
	case c.role != Leader:
		return RefusedNotLeader
	case c.office.bytes+len(p.Data)+rpc.EntryOverheadBytes > c.limits.ProposedBytesMax, c.office.transfer.active():
		return RefusedBusy
	}
	return Accepted
}

// hold counts a proposal that is logged.
func (o *office) hold(e *rpc.Entry) {
	o.bytes += e.Size()
	o.proposals = append(o.proposals, proposed{e.Index, e.Size()})
}

// batchesMax is how many batches of proposals are under way, not committed yet, when more had better wait and go together. Two keep the disks and
// the bus busy at once; with more, under load, batches are only smaller, and each costs what one costs.
const batchesMax = 2

// BatchEnough is how many proposals are worth a batch of their own beside any other: what a batch costs is little for each of them.
const BatchEnough = 256

// Patience is how many proposals had better wait for a batch that is under way, for more to go with them: fewer than it has itself, so that
// each of the two costs about as little; all, when there are two.
func (c *Core) Patience() int {
	if c.role != Leader {
		return 0
	}
	switch o := &c.office; o.underWay(c.commit) {
	case 0:
		return 0
	case batchesMax:
		return math.MaxInt
	default:
		return min(int(o.batches[0]-c.commit), BatchEnough) - 1
	}
}

// Idle reports whether this node leads and no batch of proposals is under way.
func (c *Core) Idle() bool { return c.role == Leader && c.office.underWay(c.commit) == 0 }

// underWay is how many batches are not committed.
func (o *office) underWay(commit rpc.Index) int {
	n := 0
	for n < len(o.batches) && o.batches[n] <= commit {
		n++
	}
	o.batches = append(o.batches[:0], o.batches[n:]...)
	return min(len(o.batches), batchesMax)
}

// settle forgets proposals that were applied.
func (o *office) settle(applied rpc.Index) {
	n := 0
	for n < len(o.proposals) && o.proposals[n].index <= applied {
		o.bytes -= o.proposals[n].bytes
		n++
	}
	o.proposals = o.proposals[n:]
}

// replicate ends a leader's turn: to each peer what is new, in as few messages as fit, or else the commit index. Some wait for a tick (thrift.go).
func (c *Core) replicate() {
	nearest := c.nearestForEntries()
	for _, peer := range c.peers {
		id, p := peer.ID, c.office.peers[peer.ID]
		if c.spares(id, p, nearest) {
			continue
		}
		for p.ready(&c.limits) && (p.next <= c.log.last || !p.replicating) {
			if !c.sendAppend(id, p) {
				break
			}
		}
		c.tellCommit(id, p)
	}
}

// sendAppend sends one AppendLog, with as many entries as fit. It reports whether it did: entries that are no longer in
// memory are asked of the disk first.
func (c *Core) sendAppend(id rpc.NodeID, p *progress) bool {
	prevTerm, ok := c.log.term(p.next - 1)
	if !ok {
		c.strand(id, p)
		return false
	}
	most := p.window.message(&c.limits)
	entries := c.log.cached(p.next, c.log.last+1, most)
	if entries == nil && p.next <= c.log.last {
		p.loading = true
		to := min(c.log.last+1, p.next+maxEntriesPerMessage) // of small ones more fit in the bytes than a message may have (K26)
		c.out.Loads = append(c.out.Loads, Load{Peer: id, Term: c.hard.Term, From: p.next, To: to, MaxBytes: most})
		return false
	}
	c.sendEntries(id, p, rpc.EntryID{Term: prevTerm, Index: p.next - 1}, entries)
	return true
}

func (c *Core) sendEntries(id rpc.NodeID, p *progress, prev rpc.EntryID, entries []rpc.Entry) {
	cmd := &rpc.AppendLogCommand{Prev: prev, Commit: c.commit, Entries: entries}
	last := cmd.Last()
	c.send(id, cmd)
	p.note(c.now, len(entries))
	if !p.replicating {
		p.waiting = true
		p.attempt(c.now, len(entries))
		return
	}
	bytes := sizeOf(entries)
	p.flying = append(p.flying, flight{last: last, bytes: bytes, at: c.now})
	p.flyingBytes += bytes
	p.next = last + 1
	p.told = max(p.told, min(c.commit, last))
}

// tellCommit sends CommitLog when the commit index moved and no AppendLog said so (design section 3). It names no more than the
// peer is known to match; or than it was sent, so that peers that answer sooner and later get the same. A peer advances over what it
// matched itself, in any case (K17). In a stream of AppendLogs the next one says it, or else one of the next ticks does (stream.go).
func (c *Core) tellCommit(id rpc.NodeID, p *progress) {
	if to := c.tellable(p); to > p.told && p.connected && p.replicating && !p.goesOn(c.now) {
		p.told = to
		c.send(id, &rpc.CommitLogCommand{Commit: to})
	}
}

func (c *Core) tellable(p *progress) rpc.Index {
	if c.multicast {
		return min(c.commit, p.next-1)
	}
	return min(c.commit, p.match)
}

// loaded sends entries that were read from the disk, if they are still what comes next in this term.
func (c *Core) loaded(l Loaded) {
	p := c.office.peers[l.Peer]
	if c.role != Leader || l.Term != c.hard.Term || p == nil || !p.loading || p.next != l.From {
		return
	}
	p.loading = false
	if l.Compacted {
		c.strand(l.Peer, p)
		return
	}
	if len(l.Entries) == 0 {
		p.probe()
		p.waiting = true // the log could not be read now: again when the next heartbeat is due, no busy loop
		return
	}
	prevTerm, ok := c.log.term(l.From - 1)
	if !ok || !c.log.has(l.Entries[len(l.Entries)-1].ID()) || !p.ready(&c.limits) {
		return
	}
	c.sendEntries(l.Peer, p, rpc.EntryID{Term: prevTerm, Index: l.From - 1}, l.Entries)
}

// returned takes an answer of this term, of a peer by the configuration in force.
func (c *Core) returned(m rpc.Message) {
	if c.role != Leader {
		return
	}
	p := c.office.peers[m.From]
	p.heard = c.now
	switch ret := m.Body.(type) {
	case *rpc.AppendLogReturn:
		c.appendReturned(m.From, p, ret)
	case *rpc.HeartbeatReturn:
		p.read = max(p.read, ret.Read)
		c.confirmReads()
		c.noticeLast(p, ret.Last)
	case *rpc.InstallSnapshotReturn:
		c.snapshotReturned(p, m, ret)
	case *rpc.TimeoutNowReturn:
		c.handedOver(m.From)
	}
}

func (c *Core) appendReturned(id rpc.NodeID, p *progress, ret *rpc.AppendLogReturn) {
	if ret.Accepted {
		if ret.Match > c.log.last {
			c.broken("a peer matches up to %d, the log ends at %d", ret.Match, c.log.last)
		}
		p.acked = c.now
		p.landed(ret.Match, c.now, &c.limits)
		p.after = p.after && p.match+1 < c.log.cacheFirst() && p.gains(c.log.last-p.match, c.now)
		c.advanceCommit()
		return
	}
	if ret.Damaged {
		p.match = min(p.match, ret.Hint.Index) // it held more, and its disk has lost it: it counts again when it is repaired (D3)
		p.probe()
		p.next = max(p.match, min(ret.Hint.Index, c.log.last)) + 1 // behind what it holds, which a leader that is new may not know
		return
	}
	if ret.Prev < p.match || !p.replicating && ret.Prev != p.next-1 {
		return // late: since then more was found to match, or another place is being probed
	}
	next := c.log.mayMatch(ret.Hint).Index + 1
	p.probe()
	p.next = max(p.match+1, min(next, ret.Prev))
	if ret.Prev == p.match && ret.Hint.Index < p.match && p.denies(c.now) {
		c.fact(AcknowledgedLost{Peer: id, Match: p.match})
	}
}

// noticeLast takes how far a peer's log is known to match, by itself: that attests nothing, but an AppendLog sent some time ago that is not
// in it was lost on the way, and one that is need not be sent again. While there is more in it each time, what is sent is still coming in.
func (c *Core) noticeLast(p *progress, last rpc.Index) {
	p.saw(last, c.now)
	switch {
	case p.replicating && last < p.next-1 && c.now-max(p.sent, p.seenAt) > p.window.patience(&c.ticks):
		p.probe()
	case !p.replicating && p.waiting && last >= p.next && last <= c.log.last:
		p.arrived(last)
	}
}

// failed: a call got no answer. A lost AppendLog means that what was sent after it will not fit either; but not where its answer alone was lost, and
// a later one attested what it carried. Such a call fails seconds later, and nothing is amiss then. An empty one, of what is attested already, failed
// at once perhaps: its place is probed again when the next heartbeat is due, as if no answer came.
func (c *Core) failed(f Failed) {
	p := c.office.peers[f.Peer]
	if c.role != Leader || p == nil || f.Method != rpc.MethodAppendLog || f.Last <= p.match {
		return
	}
	if p.replicating {
		p.probe()
	}
	p.waiting, p.tried = true, 0 // until the next heartbeat is due: no busy loop
}

// advanceCommit commits what a majority holds durably, of this term only (I6, K14). Its own copy counts where synced.
func (c *Core) advanceCommit() {
	to := c.quorum.reached(func(id rpc.NodeID) rpc.Index {
		if id == c.id {
			return c.log.synced
		}
		if p := c.office.peers[id]; p != nil {
			return p.match
		}
		return 0
	})
	if t, ok := c.log.term(to); to > c.commit && ok && t == c.hard.Term {
		c.setCommit(to)
		c.office.moved = c.now
	}
}

// leaderTick keeps the office: heartbeats, repairs, and the tests of whether to stay.
func (c *Core) leaderTick() {
	if reason := c.unfit(); reason != "" {
		c.follow(c.hard.Term, "", reason)
		return
	}
	if c.now-c.office.beat >= uint64(c.ticks.Heartbeat) {
		c.heartbeat()
	}
	c.note()
	c.pursueReads()
	c.promote()
	c.watchTransfer()
}

// heartbeat speaks to every peer, with what it may commit and the read round under way, and lets probes go on.
func (c *Core) heartbeat() {
	c.office.beat = c.now
	for _, peer := range c.peers {
		p := c.office.peers[peer.ID]
		c.beatOne(peer.ID, p)
		stalled := len(p.flying) > 0 && c.now-max(p.acked, p.sent, p.seenAt) >= max(uint64(c.ticks.ElectionMin)/2, p.window.patience(&c.ticks))
		if stalled && !c.askAgain(peer.ID, p) {
			p.probe() // what was sent was lost: again, one message at a time
		}
		if p.unasked() && c.now-p.sent >= uint64(c.ticks.ElectionMin)/2 {
			c.askAgain(peer.ID, p)
		}
		if !p.replicating && c.now-p.sent >= p.again(&c.ticks) {
			p.waiting = false
		}
	}
}

// askAgain asks a peer that has all it was sent, as it said itself, for the answer: that is lost, or its disk is slow, and the way is neither.
func (c *Core) askAgain(id rpc.NodeID, p *progress) bool {
	last := p.next - 1
	term, ok := c.log.term(last)
	if !ok || p.seen < last {
		return false
	}
	c.sendEntries(id, p, rpc.EntryID{Term: term, Index: last}, nil)
	return true
}

func (c *Core) beatOne(id rpc.NodeID, p *progress) {
	c.send(id, &rpc.HeartbeatCommand{Commit: min(c.commit, p.match), Read: c.reads.round})
}

// unfit says why a leader must not stay: no quorum answers; or entries wait and no quorum acknowledges any; its own
// disk hangs, or its state machine (K47, K60, K63, L5). Heartbeat answers do not keep a leader that makes no progress.
func (c *Core) unfit() string {
	if c.log.last == c.commit {
		c.office.moved = c.now
	}
	slow := uint64(c.ticks.ElectionMax)
	switch {
	case !c.quorum.have(c.within(uint64(c.ticks.ElectionMin), func(p *progress) uint64 { return p.heard })):
		return "no quorum answers"
	case c.now-c.office.moved >= slow && !c.quorum.have(c.within(slow, c.office.progressed)) && !c.waitsForRoom():
		return "entries wait and no quorum acknowledges any"
	case c.diskStalled() && !c.walled():
		return "its own log write hangs"
	case c.stateHangs() && c.now-c.office.began >= c.hangMax() && c.Replaceable(): // one that is needed has the time to bring others' logs up to date
		return "its state machine hangs"
	}
	return ""
}

// progressed is when a peer last took in anything that lasts. One that waits for a snapshot takes in nothing while others are sent theirs: it
// makes progress as long as they do, since another leader would only begin with all of them anew (L8).
func (o *office) progressed(p *progress) uint64 {
	if p.stuck {
		return max(p.acked, o.streamed)
	}
	return p.acked
}

// within makes a test of who was active in the last so many ticks.
func (c *Core) within(ticks uint64, last func(*progress) uint64) func(rpc.NodeID) bool {
	return func(id rpc.NodeID) bool {
		p := c.office.peers[id]
		return id == c.id || p != nil && c.now-last(p) < ticks
	}
}
