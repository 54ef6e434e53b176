package raft

import "github.com/raftbus/raftbus/raft/rpc"

// Quiet is how many of the next ticks do nothing but count, if nothing else happens before them. So a driver need not wake for each: it may
// step them together, late, but before what comes in the meantime. It is no more than what is certain: 0 while nobody leads, and of a leader while anything is under way.
// To be called after Effects.
func (c *Core) Quiet() int {
	switch {
	case c.role == Leader:
		if beat := c.office.beat + uint64(c.ticks.Heartbeat); c.atRest() && c.fitUntil(beat) {
			return c.quietUntil(beat)
		}
	case c.role == Follower && c.leader != "": // whoever is heard ends what was due for want of a leader
		return c.quietUntil(c.election.heard + min(c.election.timeout, c.silenceMax()+1))
	}
	return 0
}

// quietUntil is how many ticks come before that one.
func (c *Core) quietUntil(tick uint64) int { return int(max(tick, c.now+1) - c.now - 1) }

// atRest reports whether a leader's next tick only asks whether the next heartbeat is due, and so do those up to that.
func (c *Core) atRest() bool {
	return c.log.last == c.commit && len(c.log.writes) == 0 && c.applying == c.applied && len(c.reads.running) == 0 &&
		!c.office.transfer.active() && len(c.conf.Learners) == 0 && c.allServed()
}

// fitUntil reports whether no tick before that one finds that no quorum answers.
func (c *Core) fitUntil(tick uint64) bool {
	return c.quorum.have(func(id rpc.NodeID) bool {
		p := c.office.peers[id]
		return id == c.id || p != nil && tick-1-p.heard < uint64(c.ticks.ElectionMin)
	})
}

// allServed reports whether no peer waits for anything that a tick would send.
func (c *Core) allServed() bool {
	for _, peer := range c.peers {
		p := c.office.peers[peer.ID]
		if p.connected && p.replicating && (p.next <= c.log.last || p.told < c.tellable(p)) {
			return false
		}
	}
	return true
}
