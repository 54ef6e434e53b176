package raft

// Elections: pre-vote, then vote (thesis 3.4, 9.6). Votes are durable before they are given, also a candidate's own; a
// voter that hears a leader gives none (thesis 4.2.3).

import "github.com/raftbus/raftbus/raft/rpc"

// election is what a node keeps while it does not lead.
type election struct {
	heard   uint64 // tick of the leader's last valid message, or of the last reason to wait as long
	timeout uint64 // ticks of silence after which to campaign
	quickAt uint64 // tick of a campaign because nobody leads; 0: none is due

	neededAt uint64 // tick from which on this node leads although it lags, if nobody leads until then

	early   bool // the campaign under way began because the leader is lost
	began   uint64
	patient uint64              // ticks after which the campaign under way is given up
	pledged uint64              // tick until which no pre-vote is given: a vote was, and its election may be under way
	votes   map[rpc.NodeID]bool // answers to it, one per peer (K4)

	misses     int    // pings of the silent leader that found nobody
	missedAt   uint64 // tick at which the last of them was sent
	pingedAt   uint64
	lost       bool                  // the last leader was lost, not followed by another yet
	tries      int                   // campaigns since then that were to be followed by another soon
	leaderless map[rpc.NodeID]uint64 // peers that said they know no leader, and when
	links      map[rpc.NodeID]bool
}

// triesMax bounds how often one campaign follows another soon; then the ordinary timeout rules.
const triesMax = 20

// restartTimer begins a full election timeout, newly drawn, and forgets signs that the leader might be gone.
func (c *Core) restartTimer() {
	e := &c.election
	e.heard = c.now
	e.timeout = uint64(c.dice(c.ticks.ElectionMin, c.ticks.ElectionMax))
	e.quickAt, e.misses = 0, 0
	if c.leader != "" {
		e.lost, e.tries = false, 0
	}
}

// dice draws from [from, to), or is from if that range is empty: with coarse ticks it may be.
func (c *Core) dice(from, to int) int { return from + c.random.IntN(max(to-from, 1)) }

func (c *Core) silence() uint64 { return c.now - c.election.heard }

// electionTick is a tick of a node that does not lead.
func (c *Core) electionTick() {
	e := &c.election
	if c.role != Follower && c.now-e.began >= e.patient && !c.writingOwnVote() {
		c.giveUp("no majority answered in time")
	}
	c.watchForLeader()
	due := c.silence() >= e.timeout || e.quickAt != 0 && c.now >= e.quickAt
	switch {
	case c.role != Follower || !due:
	case c.mayCampaign():
		c.campaign(e.lost && c.leader == "" && c.silence() < e.timeout)
	default:
		c.setLeader("", "no message in time") // it follows nobody, though it may not campaign
	}
}

// mayCampaign: a voter, on the bus (F5), whose disk is not stuck (K61) and has lost nothing (D3), and whose state machine keeps up, or that is needed.
func (c *Core) mayCampaign() bool {
	return c.busUp && c.members.mayLead(c.self, c.commit) && !c.diskStalled() && c.remembers() && !c.mending() && (!c.lags() || c.needed())
}

// remembers reports whether nothing that this node once knew is known to be lost: not an entry (F18), nor all since an old copy
// was taken (F23).
func (c *Core) remembers() bool { return !c.damage.any() && !c.outdated }

// diskStalled reports whether a write has waited for two election timeouts (L5, K60).
func (c *Core) diskStalled() bool {
	since, waits := c.log.stalledSince()
	return waits && c.now-since >= c.hangMax()
}

// campaign begins with a pre-vote, which changes nothing anywhere.
func (c *Core) campaign(early bool) {
	c.setRole(PreCandidate, "no leader is heard")
	c.setLeader("", "no message in time")
	c.startRound(early)
	if c.countVotes() {
		return
	}
	request := &rpc.RequestVoteCommand{Last: c.log.lastID(), PreVote: true, Early: early}
	for _, peer := range c.peers {
		m := rpc.Message{From: c.id, To: peer.ID, Term: c.hard.Term + 1, Body: request}
		c.out.Send = append(c.out.Send, m)
	}
}

// stand asks for real votes, in a new term. The requests wait for the sync of the candidate's own vote. One that its leader
// ordered to stand needs no pre-vote: nobody is disturbed who is to be kept.
func (c *Core) stand(ordered bool) {
	early := c.election.early && !ordered
	c.setTerm(c.hard.Term+1, c.id)
	c.matched = 0
	c.pledge()
	reason := "a majority would vote for it"
	if ordered {
		reason = "its leader hands over to it"
	}
	c.setRole(Candidate, reason)
	c.startRound(early)
	request := &rpc.RequestVoteCommand{Last: c.log.lastID(), Early: early, Transfer: ordered}
	for _, peer := range c.peers {
		m := rpc.Message{From: c.id, To: peer.ID, Term: c.hard.Term, Body: request}
		c.out.SendAfterSync = append(c.out.SendAfterSync, m)
	}
}

// pledge keeps a vote just given from being undone: a pre-vote given now to another would end the new leader's term as it
// begins (F5: terms rise by 2 at most when the bus comes back).
func (c *Core) pledge() { c.election.pledged = c.now + uint64(c.ticks.QuickMax) }

func (c *Core) startRound(early bool) {
	e := &c.election
	e.early, e.began, e.votes, e.quickAt = early, c.now, map[rpc.NodeID]bool{}, 0
	e.patient = uint64(c.dice(c.ticks.ElectionMin, c.ticks.ElectionMax))
	if early || c.role == Candidate {
		e.patient = min(e.patient, c.quickPatience())
		e.tries++
	}
}

// quickPatience is for how long a round that another is soon to follow waits for answers. It doubles with every fourth round: a vote takes what a disk
// takes that may be slow, or a long way, and one that comes when its round is over elects nobody (L8).
func (c *Core) quickPatience() uint64 {
	quick := c.ticks.QuickMax
	if !c.election.early {
		quick = c.dice(quick, 2*quick)
	}
	return uint64(quick) << (min(c.election.tries, triesMax) / 4)
}

// giveUp ends a campaign. The next one is soon if the leader is lost, or if a majority would have voted for this node and two
// split its votes; else after a full timeout.
func (c *Core) giveUp(reason string) {
	split := c.role == Candidate
	c.setRole(Follower, reason)
	early := c.election.early
	c.restartTimer()
	switch {
	case c.election.tries >= triesMax:
	case early:
		c.campaignSoon(1, c.ticks.QuickMin+1)
	case split:
		c.campaignSoon(c.ticks.QuickMin, 2*c.ticks.QuickMax)
	}
}

// writingOwnVote reports whether a candidate's vote is not on its disk yet, and so nobody was asked: to give up then would raise the term
// for nothing once more (F5). A disk that hangs leaves the next campaign to others.
func (c *Core) writingOwnVote() bool {
	return c.role == Candidate && !c.hardDurable() && c.now-c.election.began < c.hangMax()
}

// ownVoteDurable gives the others as much time to write their votes as this node took, and more: its disk may be no slower than theirs.
func (c *Core) ownVoteDurable() { c.election.patient += 3 * (c.now - c.election.began) }

// campaignSoon sets a campaign for a moment from now, unless one is due already.
func (c *Core) campaignSoon(from, to int) {
	if c.election.quickAt == 0 {
		c.election.quickAt = c.now + uint64(c.dice(from, to))
	}
}

// requestVote answers a candidate.
func (c *Core) requestVote(m rpc.Message, cmd *rpc.RequestVoteCommand) {
	if m.Term > c.hard.Term && !cmd.PreVote && !c.sticks(m.From, cmd) {
		c.follow(m.Term, "", "a candidate asked for a vote in a later term")
	}
	if !c.grants(m, cmd) {
		c.answer(m, &rpc.RequestVoteReturn{PreVote: cmd.PreVote}, 0)
		return
	}
	if cmd.PreVote {
		c.out.Send = append(c.out.Send, rpc.Message{
			From: c.id, To: m.From, Term: m.Term, Call: m.Call,
			Body: &rpc.RequestVoteReturn{PreVote: true, Granted: true},
		})
		return
	}
	c.setRole(Follower, "it votes for another")
	c.setTerm(m.Term, m.From)
	c.pledge()
	c.restartTimer()
	c.answer(m, &rpc.RequestVoteReturn{Granted: true}, 0)
}

// grants decides a vote: none while a leader is heard, none for a log behind its own (thesis 3.6.1; K8, K11), one per
// term (I7), the same one again for the same candidate (K3).
func (c *Core) grants(m rpc.Message, cmd *rpc.RequestVoteCommand) bool {
	if c.sticks(m.From, cmd) || cmd.Last.Less(c.log.lastID()) || !c.remembers() {
		return false
	}
	if cmd.PreVote {
		return m.Term > c.hard.Term && c.now >= c.election.pledged && !c.goesFirst(m.From, cmd) && !c.diskStalled()
	}
	return m.Term == c.hard.Term && (c.hard.Vote == "" || c.hard.Vote == m.From)
}

// goesFirst reports whether this node is to win a race of two that lost their leader at the same moment and know the same:
// the lower id. Without it both would win the pre-vote, split the vote, and raise the term for nothing. One that refused this node's own pre-vote is no rival
// any more, nor is one that asks when the round has lasted: whom this node does not reach may be all that keeps it waiting (L4). Let it try.
func (c *Core) goesFirst(other rpc.NodeID, cmd *rpc.RequestVoteCommand) bool {
	young := c.now-c.election.began < uint64(c.ticks.QuickMax)
	rivals := cmd.Early && c.role == PreCandidate && c.election.early && young && !c.votedNo(other)
	return rivals && c.id < other && !c.log.lastID().Less(cmd.Last)
}

// sticks reports whether this node stays with its leader: while it heard it within the election timeout, and for an
// early candidate until it has lost that leader itself (design section 4). One that the leader itself sent keeps it not.
func (c *Core) sticks(candidate rpc.NodeID, cmd *rpc.RequestVoteCommand) bool {
	if c.role == Leader { // it ceases to lead by itself once it has no quorum, or for whom it told to take over
		return !cmd.Transfer || c.office.transfer.to != candidate
	}
	if cmd.Transfer {
		return false
	}
	return c.leader != "" && (cmd.Early || c.silence() < uint64(c.ticks.ElectionMin))
}

// voteReturned counts an answer to the campaign under way, once per peer and only of its term and kind (K4, K6).
func (c *Core) voteReturned(m rpc.Message, ret *rpc.RequestVoteReturn) {
	asked := c.hard.Term
	if ret.PreVote && ret.Granted {
		asked++ // a pre-vote is given in the term it would be for
	} else if m.Term > c.hard.Term {
		c.follow(m.Term, "", "a voter is in a later term")
		return
	}
	running := c.role == Candidate && !ret.PreVote || c.role == PreCandidate && ret.PreVote
	if !running || ret.Granted && m.Term != asked {
		return
	}
	// A refusal may answer an earlier campaign, a grant in this term cannot: it stands, whichever comes first.
	c.election.votes[m.From] = ret.Granted || c.election.votes[m.From]
	c.countVotes()
}

// countVotes moves on when a majority said yes, or gives up when it cannot any more. It reports whether it did.
func (c *Core) countVotes() bool {
	switch {
	case c.role != PreCandidate && c.role != Candidate:
		return false
	case !c.quorum.have(c.votedYes):
		if !c.quorum.have(func(id rpc.NodeID) bool { return !c.votedNo(id) }) {
			c.giveUp("a majority refused")
			return true
		}
		return false
	case c.role == PreCandidate:
		c.stand(false)
	default:
		c.takeOffice()
	}
	return true
}

// votedYes: a candidate's vote for itself counts when it is durable; a pre-vote needs none.
func (c *Core) votedYes(id rpc.NodeID) bool {
	if id == c.id {
		return c.role == PreCandidate || c.hardDurable()
	}
	return c.election.votes[id]
}

func (c *Core) votedNo(id rpc.NodeID) bool {
	yes, answered := c.election.votes[id]
	return answered && !yes
}
