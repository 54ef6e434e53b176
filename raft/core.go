package raft

// The core: what happened goes in, what must be done comes out, and what is common to all roles is here.

import (
	"slices"

	"github.com/raftbus/raftbus/raft/rpc"
)

// Core is one node's part in consensus. It is owned by one goroutine. Step it with all that waits, then take Effects.
type Core struct {
	id      rpc.NodeID
	self    rpc.Member // it, by the instance that it is
	members membership
	conf    rpc.Configuration // in force
	quorum  quorum
	peers   []rpc.Member // all others of it, in order of id
	ticks   Ticks
	limits  Limits
	random  Random

	multicast, thrifty bool // see Config

	hard      rpc.HardState
	hardDirty bool   // not yet given to the disk
	hardSeq   uint64 // the last write that carries it, a new base or repairs
	baseSeq   uint64 // the last write that carries a new base

	log      raftLog
	commit   rpc.Index
	applying rpc.Index // handed to the state machine up to here
	handed   uint64    // and when the last run was
	applied  rpc.Index

	role      Role
	leader    rpc.NodeID
	now       uint64 // ticks since the start
	clock     int64  // the cluster's time, for entries
	busUp     bool
	matched   rpc.Index // follower: known equal to the log of this term's leader, up to here
	install   installing
	damage    damage
	outdated  bool        // what is stored is an old copy (F23)
	repairs   []rpc.Entry // to be given to the disk
	baseDirty bool        // the log begins elsewhere, and the disk was not told yet

	lacks    map[rpc.NodeID]bool // peers whose disks have no room, or that no client reaches, or that lag, as they said last: none of them is to lead next
	noRoom   map[rpc.NodeID]bool // peers whose disks have no room, as they said last, and this node while its log has none for what waits: see Crowding
	election election
	office   office
	reads    reads

	out Effects
}

// New makes the core of a node that starts, from what its disk remembers. It begins as a follower that knows no leader.
func New(c Config) *Core {
	core := &Core{
		id: c.ID, self: rpc.Member{ID: c.ID, Instance: c.Instance},
		ticks: c.Ticks, limits: c.Limits, random: c.Random, multicast: c.Multicast, thrifty: c.Thrifty,
		hard: c.HardState, commit: c.Applied, applying: c.Applied, applied: c.Applied,
	}
	core.log = raftLog{
		base: c.Base, baseTime: c.BaseTime, runs: slices.Clone(c.Terms), last: c.Last.Index, time: c.LastTime,
		submitted: c.Last.Index, synced: c.Last.Index,
	}
	core.damage.entries = slices.Clone(c.Damaged)
	core.must(len(c.Damaged) == 0 || c.Damaged[0].Index > c.Applied, "damaged %v is applied: compact the log", c.Damaged)
	core.must(core.log.base.Index <= c.Applied && c.Applied <= c.Last.Index,
		"the state machine has applied %d, the log holds (%d, %d]", c.Applied, c.Base.Index, c.Last.Index)
	core.must(c.Last.Term <= c.HardState.Term, "the log's last entry %v is of a later term than %d", c.Last, c.HardState.Term)
	core.lacks, core.noRoom = map[rpc.NodeID]bool{}, map[rpc.NodeID]bool{}
	core.election.links = map[rpc.NodeID]bool{}
	core.election.leaderless = map[rpc.NodeID]uint64{}
	core.loadConfigurations(c.Configurations)
	core.restartTimer()
	return core
}

// Step takes one event. What follows from it is in the next Effects.
func (c *Core) Step(e Event) {
	switch e := e.(type) {
	case Received:
		c.receive(e.Message)
	case Tick:
		c.now++
		c.clock = e.Clock
		c.tick()
	case Propose:
		c.clock = max(c.clock, e.Clock)
		c.propose(e.Proposals)
	case ReadIndex:
		c.readIndex(e.Ticket)
	case DiskDone:
		c.diskDone(e.Seq, e.Seq, 0)
	case PartDone:
		c.diskDone(e.Seq-1, e.Seq, e.Last)
	case ApplyDone:
		c.applyDone(e.Index)
	case Failed:
		c.failed(e)
	case LinkChanged:
		c.linkChanged(e)
	case BusChanged:
		c.busChanged(e.Up)
	case Pinged:
		c.pinged(e)
	case Loaded:
		c.loaded(e)
	case Resign:
		if c.role == Leader {
			c.follow(c.hard.Term, "", "asked to step down")
		}
	default:
		c.stepSeldom(e)
	}
}

// stepSeldom takes what concerns members, snapshots and transfers.
func (c *Core) stepSeldom(e Event) {
	switch e := e.(type) {
	case Reconfigure:
		c.clock = max(c.clock, e.Clock)
		c.reconfigure(e)
	case Outdated:
		c.outdated = true
		if c.role != Follower { // also a campaign under way: it may have voted otherwise in that very term
			c.follow(c.hard.Term, "", "its data folder is an old copy")
		}
	case WriteWaits:
		c.writeWaits(e.ForRoom)
	case Learned:
		c.learn(e.Configuration)
	case Transfer:
		c.transfer(e.To)
	case SnapshotStored:
		c.snapshotStored(e)
	case Restored:
		c.restored(e)
	case SnapshotEnded:
		c.snapshotEnded(e)
	case Compact:
		c.compact(e.To)
	}
}

// Effects ends a turn: it adds what depends on all events of the turn together (what to replicate, write and apply) and
// hands everything out. The result is valid until the next call.
func (c *Core) Effects() *Effects {
	if c.role == Leader {
		c.goOn()
	}
	if c.role == Leader { // it may have ceased
		c.startReadRound()
		c.handOver() // before the commit index is told: who hears first that this leader is removed may not hear it any more
		c.replicate()
	}
	c.out.Write = c.log.submit(c.dirtyBase(), c.dirtyHardState(), c.takeRepairs(), c.now)
	if c.out.Write.HardState != nil || c.out.Write.Base != nil || c.out.Write.Repairs != nil {
		c.hardSeq = c.out.Write.Seq
	}
	if c.out.Write.Base != nil {
		c.baseSeq = c.out.Write.Seq
	}
	if c.out.Write.Repairs != nil {
		c.damage.mended = c.out.Write.Seq
	}
	c.apply()
	c.releaseReads()
	c.log.evict(c.limits.CacheBytesMax)
	c.check()
	out := c.out
	c.out = Effects{}
	return &out
}

func (c *Core) takeRepairs() []rpc.Entry {
	list := c.repairs
	c.repairs = nil
	return list
}

func (c *Core) dirtyBase() *Base {
	if !c.baseDirty {
		return nil
	}
	c.baseDirty = false
	return c.logBase()
}

func (c *Core) dirtyHardState() *rpc.HardState {
	if !c.hardDirty {
		return nil
	}
	c.hardDirty = false
	hs := c.hard
	return &hs
}

// receive sorts a message by term (thesis 3.3), before it is looked at by kind.
func (c *Core) receive(m rpc.Message) {
	if !c.listens(&m) {
		return
	}
	switch body := m.Body.(type) {
	case *rpc.RequestVoteCommand:
		c.requestVote(m, body)
	case *rpc.RequestVoteReturn:
		c.voteReturned(m, body)
	case *rpc.AppendLogCommand, *rpc.HeartbeatCommand, *rpc.CommitLogCommand,
		*rpc.AppendLogReturn, *rpc.HeartbeatReturn, *rpc.CommitLogReturn,
		*rpc.InstallSnapshotCommand, *rpc.InstallSnapshotReturn, *rpc.TimeoutNowCommand, *rpc.TimeoutNowReturn:
		c.receiveInTerm(m)
	}
	// Anything else is no business of consensus: above all a ping, which changes no term and no timer.
}

func (c *Core) receiveInTerm(m rpc.Message) {
	switch {
	case m.Term > c.hard.Term && m.Body.IsReturn():
		c.follow(m.Term, "", "a peer is in a later term")
		return
	case m.Term > c.hard.Term:
		c.follow(m.Term, m.From, "a leader of a later term spoke")
	case m.Term < c.hard.Term && m.Body.IsReturn():
		return // an answer of an earlier term counts for nothing (I6, K18)
	case m.Term < c.hard.Term:
		c.refuseOldLeader(m)
		return
	}
	if m.Body.IsReturn() {
		c.returned(m)
		return
	}
	c.hearLeader(m.From)
	c.obey(m)
}

// obey carries out a command of the leader of this term.
func (c *Core) obey(m rpc.Message) {
	switch body := m.Body.(type) {
	case *rpc.AppendLogCommand:
		c.appendLog(m, body)
	case *rpc.HeartbeatCommand:
		c.learnCommit(body.Commit)
		// Last is what this leader's log is known to match, not the last entry: a follower that restarted, or holds entries
		// of an old leader, must be probed even if nothing is written any more, or it never learns the commit index.
		c.answer(m, &rpc.HeartbeatReturn{Read: body.Read, Last: c.matched}, 0)
	case *rpc.CommitLogCommand:
		c.learnCommit(body.Commit)
		c.answer(m, &rpc.CommitLogReturn{Commit: c.commit}, 0)
	case *rpc.InstallSnapshotCommand:
		c.chunk(m, body)
	case *rpc.TimeoutNowCommand:
		c.campaignNow(m, body)
	}
}

// refuseOldLeader answers a command of an earlier term, so that whoever sent it learns of the later one.
func (c *Core) refuseOldLeader(m rpc.Message) {
	switch body := m.Body.(type) {
	case *rpc.AppendLogCommand:
		c.answer(m, &rpc.AppendLogReturn{Prev: body.Prev.Index, Hint: c.log.base}, 0)
	case *rpc.HeartbeatCommand:
		c.answer(m, &rpc.HeartbeatReturn{}, 0)
	case *rpc.CommitLogCommand:
		c.answer(m, &rpc.CommitLogReturn{}, 0)
	case *rpc.InstallSnapshotCommand:
		c.answer(m, &rpc.InstallSnapshotReturn{Snapshot: body.Snapshot, Transfer: body.Transfer}, 0)
	case *rpc.TimeoutNowCommand:
		c.answer(m, &rpc.TimeoutNowReturn{}, 0)
	}
}

// answer sends a return in the current term. It attests the term, the vote and the log up to 'attests': it leaves at
// once only if all of that is durable (I10, K1, K49).
func (c *Core) answer(command rpc.Message, body rpc.Body, attests rpc.Index) {
	m := rpc.Message{From: c.id, To: command.From, Term: c.hard.Term, Call: command.Call, Body: body}
	if attests <= c.log.synced && c.hardDurable() {
		c.out.Send = append(c.out.Send, m)
		return
	}
	c.out.SendAfterSync = append(c.out.SendAfterSync, m)
}

// hardDurable: term and vote, where the log begins, and what was repaired of it.
func (c *Core) hardDurable() bool {
	return !c.hardDirty && !c.baseDirty && len(c.repairs) == 0 && c.hardSeq <= c.log.heads
}

func (c *Core) send(to rpc.NodeID, body rpc.Body) {
	c.out.Send = append(c.out.Send, rpc.Message{From: c.id, To: to, Term: c.hard.Term, Body: body})
}

func (c *Core) fact(f Fact) { c.out.Facts = append(c.out.Facts, f) }

// setTerm moves to a later term, with no vote in it yet, or votes in the current one. Neither is ever taken back (I7, K2, K5).
func (c *Core) setTerm(term rpc.Term, vote rpc.NodeID) {
	c.must(term >= c.hard.Term, "term %d after %d", term, c.hard.Term)
	c.must(term > c.hard.Term || c.hard.Vote == "" || c.hard.Vote == vote, "vote for %q after %q in term %d", vote, c.hard.Vote, term)
	if c.hard != (rpc.HardState{Term: term, Vote: vote}) {
		c.hard = rpc.HardState{Term: term, Vote: vote}
		c.hardDirty = true
	}
}

// follow makes this node a follower in a term, of a leader or of nobody yet.
func (c *Core) follow(term rpc.Term, leader rpc.NodeID, reason string) {
	if term > c.hard.Term {
		c.setTerm(term, "")
		c.matched = 0 // what matched an earlier leader says nothing of this one
	}
	wasFollower := c.role == Follower
	if c.role == Leader {
		c.leaveOffice()
	}
	c.setRole(Follower, reason)
	c.setLeader(leader, reason)
	if leader != "" || !wasFollower {
		c.restartTimer() // but not for a later term alone: a refused candidate must delay nobody (K7)
	}
}

func (c *Core) setRole(r Role, reason string) {
	if c.role == r {
		return
	}
	c.role = r
	c.fact(RoleChanged{Role: r, Term: c.hard.Term, Reason: reason})
}

func (c *Core) setLeader(id rpc.NodeID, reason string) {
	if c.leader == id {
		return
	}
	c.leader = id
	c.enroll()
	c.fact(LeaderChanged{Leader: id, Term: c.hard.Term, Reason: reason})
}

// diskDone: more of what this node holds is durable, the writes up to seq and the heads of those up to head.
func (c *Core) diskDone(seq, head uint64, part rpc.Index) {
	durable := c.hardDurable()
	c.log.complete(seq, head, part)
	if c.role == Candidate && !durable && c.hardDurable() {
		c.ownVoteDurable()
	}
	switch c.role {
	case Candidate:
		c.countVotes() // its own vote may count now
	case Leader:
		c.advanceCommit() // as may its own copy: also a leader's entry commits only where it is synced (K55)
	}
}

// apply hands the next run of committed entries to the state machine, one at a time, and only what is durable here: so
// the state never gets ahead of the log (design section 5).
func (c *Core) apply() {
	to := min(c.commit, c.log.synced)
	if whole, ok := c.undamaged(to); !ok {
		to = whole.Index
	}
	if c.applying > c.applied || to <= c.applied || c.install.active || c.mending() {
		return
	}
	from := c.applied + 1
	entries := c.log.cached(from, to+1, c.limits.ApplyBytesMax)
	if entries != nil {
		to = from + rpc.Index(len(entries)) - 1
	} else {
		to = min(to, from+maxEntriesPerMessage-1)
	}
	c.applying, c.handed = to, c.now
	c.out.Apply = Apply{From: from, To: to, Entries: entries}
}

func (c *Core) applyDone(i rpc.Index) {
	if i <= c.applied || i > c.applying {
		c.broken("applied %d, was handed (%d, %d]", i, c.applied, c.applying)
	}
	c.applied, c.applying = i, i
	c.office.settle(i)
}

// setCommit moves the commit index, never back (I8).
func (c *Core) setCommit(i rpc.Index) {
	if i < c.commit || i > c.log.last {
		c.broken("commit %d after %d, last entry %d", i, c.commit, c.log.last)
	}
	before := c.commit
	c.commit = i
	if c.members.inForce().at > before {
		c.noteCommitted(before)
	}
}

func (c *Core) busChanged(up bool) {
	c.busUp = up
	if up && c.role != Leader {
		c.restartTimer() // who was away gives the others time to be heard first (F5)
		c.somebodyLed()
	}
}

func (c *Core) linkChanged(e LinkChanged) {
	c.election.links[e.Peer] = e.Connected
	if p := c.office.peers[e.Peer]; c.role == Leader && p != nil {
		p.connected = e.Connected
		p.probe()
	}
}

func (c *Core) tick() {
	switch c.role {
	case Leader:
		c.leaderTick()
	default:
		c.electionTick()
	}
}
