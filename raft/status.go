package raft

// What a core says of itself. It changes nothing.

import "github.com/raftbus/raftbus/raft/rpc"

// Status is what an operator may know of a core.
type Status struct {
	ID      rpc.NodeID
	Role    Role
	Term    rpc.Term
	Vote    rpc.NodeID
	Leader  rpc.NodeID
	Commit  rpc.Index
	Applied rpc.Index
	Base    rpc.Index // entries up to here are forgotten
	Last    rpc.Index
	Synced  rpc.Index
	Serving bool // it leads, and has applied an entry of its own term
}

// Membership is who belongs to the cluster, as a core knows it, and how far a leader knows the others to be.
type Membership struct {
	Configuration rpc.Configuration // in force
	Committed     bool              // it is committed too
	Transfer      rpc.NodeID        // a leader: to whom it hands over; empty: to nobody
	Peers         []PeerStatus      // a leader: what it knows of the others, in order of id
}

// PeerStatus is what a leader knows of another member.
type PeerStatus struct {
	ID        rpc.NodeID
	Match     rpc.Index // known to be held durably
	Next      rpc.Index // sent next
	State     string    // "probe", "replicate", "snapshot"
	Connected bool
	Lacks     bool // it said that it had better not lead, as far as it was heard: nobody hands over to it unasked
}

// Status describes the core as it is now.
func (c *Core) Status() Status {
	return Status{
		ID: c.id, Role: c.role, Term: c.hard.Term, Vote: c.hard.Vote, Leader: c.leader,
		Commit: c.commit, Applied: c.applied, Base: c.log.base.Index, Last: c.log.last, Synced: c.log.synced,
		Serving: c.role == Leader && c.applied >= c.office.first,
	}
}

// LogTime is the time of the log's last entry, in nanoseconds since 1970 UTC; no later entry is stamped earlier.
func (c *Core) LogTime() int64 { return c.log.time }

// Membership describes the members as they are now. It costs more than Status: not for every turn.
func (c *Core) Membership() Membership {
	s := Membership{Configuration: c.own(c.conf), Committed: c.members.inForce().at <= c.commit}
	if c.role == Leader {
		s.Transfer = c.office.transfer.to
		for _, m := range c.peers {
			peer := c.office.peers[m.ID].status(m.ID)
			peer.Lacks = c.lacks[m.ID]
			s.Peers = append(s.Peers, peer)
		}
	}
	return s
}

func (p *progress) status(id rpc.NodeID) PeerStatus {
	s := PeerStatus{ID: id, Match: p.match, Next: p.next, State: "probe", Connected: p.connected}
	switch {
	case p.stuck:
		s.State = "snapshot"
	case p.replicating:
		s.State = "replicate"
	}
	return s
}
