package raft

// Failover in round trips (design section 4). 'No responders' about a leader tells a follower at once that it may be
// gone. It is evidence for asking, never for deciding: it changes no term, vote, log or commit.

import "github.com/raftbus/raftbus/raft/rpc"

// watchForLeader pings: a leader that missed a heartbeat, or all peers while no leader is known.
func (c *Core) watchForLeader() {
	e := &c.election
	if c.now-e.pingedAt < uint64(c.ticks.Ping) || !c.busUp {
		return
	}
	switch {
	case c.leader == "" && c.role == Follower:
		for _, peer := range c.peers {
			c.out.Pings = append(c.out.Pings, peer.ID)
		}
		if len(c.peers) == 0 {
			c.campaignIfNobodyLeads() // nobody to ask
		}
	case c.leaderIsSilent():
		c.out.Pings = append(c.out.Pings, c.leader)
	default:
		return
	}
	e.pingedAt = c.now
}

// leaderIsSilent: a heartbeat of a known leader is overdue.
func (c *Core) leaderIsSilent() bool { return c.leader != "" && c.silence() > c.silenceMax() }

// silenceMax is for how many ticks a leader that is there may say nothing.
func (c *Core) silenceMax() uint64 { return uint64(c.ticks.Heartbeat + c.ticks.Heartbeat/4) }

// pinged takes the outcome of a ping.
func (c *Core) pinged(p Pinged) {
	if p.Outcome == PingOK {
		note(c.lacks, p.Peer, p.Lacks)
		note(c.noRoom, p.Peer, p.NoRoom)
	}
	if p.Outcome == PingOK && p.Leader == "" {
		c.election.leaderless[p.Peer] = c.now
	} else {
		delete(c.election.leaderless, p.Peer)
	}
	switch {
	case c.role != Follower:
	case c.leader == "":
		c.campaignIfNobodyLeads()
	case p.Peer == c.leader && c.leaderIsSilent():
		c.doubtLeader(p)
	}
}

// doubtLeader decides whether a silent leader is lost: two pings 50 ms apart found nobody there, or it answers that it
// does not lead.
func (c *Core) doubtLeader(p Pinged) {
	e := &c.election
	switch {
	case p.Outcome == PingOK && p.Leader != p.Peer && p.Term >= c.hard.Term:
		c.loseLeader("it says that it does not lead")
	case p.Outcome == PingNobody && (e.misses == 0 || e.missedAt != e.pingedAt):
		e.misses++
		e.missedAt = e.pingedAt // one miss per ping of ours: two are a ping period apart
		if e.misses >= 2 {
			c.loseLeader("nobody responds on its subject")
		}
	case p.Outcome == PingOK:
		e.misses = 0
	}
}

func (c *Core) loseLeader(reason string) {
	c.setLeader("", reason)
	c.election.lost, c.election.tries, c.election.misses = true, 0, 0
	c.campaignSoon(1, c.ticks.QuickMin)
}

// campaignIfNobodyLeads: a node that knows no leader, and whose pinged quorum knows none, need not wait (design section 4).
func (c *Core) campaignIfNobodyLeads() {
	fresh := func(id rpc.NodeID) bool {
		at, said := c.election.leaderless[id]
		return id == c.id || said && c.now-at <= 4*uint64(c.ticks.Ping)
	}
	if c.quorum.have(fresh) {
		c.campaignSoon(c.ticks.QuickMin, c.ticks.QuickMax)
	}
}
