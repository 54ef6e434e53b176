package raft

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

// Status describes the core as it is now.
func (c *Core) Status() Status {
	return Status{
		ID: c.id, Role: c.role, Term: c.hard.Term, Vote: c.hard.Vote, Leader: c.leader,
		Commit: c.commit, Applied: c.applied, Base: c.log.base.Index, Last: c.log.last, Synced: c.log.synced,
		Serving: c.role == Leader && c.applied >= c.office.first,
	}
}
