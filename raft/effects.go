package raft

import "github.com/raftbus/raftbus/raft/rpc"

// Effects is what the driver must do after a turn. It is valid until the next call of Effects.
type Effects struct {
	// Send leaves at once.
	Send []rpc.Message
	// Write is to be made durable, in the order of Seq. Empty (Seq 0) when there is nothing to write.
	Write Write
	// SendAfterSync leaves once Write and all writes before it are durable (if Write is empty: all before it).
	SendAfterSync []rpc.Message
	// Apply is to be handed to the state machine. Empty (To 0) while an earlier one is under way.
	Apply Apply
	// Loads are entries to be read from the log for a peer that is behind what the core keeps in memory.
	Loads []Load
	// Proposed and Reads answer Propose and ReadIndex.
	Proposed []Proposed
	Reads    []Read
	// Pings are peers to be pinged now.
	Pings []rpc.NodeID
	// Facts are what an operator would want to know, and what leadership callbacks go by.
	Facts []Fact
}

// Write is one batch for the log: hard state first, then entries, one sync for both. An entry at or below the log's
// last index replaces the log from there on.
type Write struct {
	Seq       uint64
	HardState *rpc.HardState
	Entries   []rpc.Entry
}

// Apply is a run of committed entries that are durable in this node's own log.
type Apply struct {
	From, To rpc.Index   // both included
	Entries  []rpc.Entry // nil: read them from the log
}

// Load asks for entries [From, To) of the log, as many as fit in MaxBytes, at least one.
type Load struct {
	Peer     rpc.NodeID
	Term     rpc.Term // of the leader that asked
	From, To rpc.Index
	MaxBytes int
}

// Proposed answers a Proposal: it is in this leader's log under ID, or was refused and certainly is not.
type Proposed struct {
	Ticket  uint64
	ID      rpc.EntryID
	Refusal Refusal
}

// Read answers a ReadIndex: serve it now (None), or not from here.
type Read struct {
	Ticket  uint64
	Refusal Refusal
}

// Refusal is why the core turned something down. Nothing refused was or will be carried out by this node.
type Refusal uint8

const (
	RefusedNot       Refusal = iota // not refused
	RefusedNotLeader                // this node does not lead, or ceased to before it knew
	RefusedBusy                     // a bound is reached
)

// Role is what a node is at present (thesis figure 3.3; a pre-candidate is a candidate that has not raised its term).
type Role uint8

const (
	Follower Role = iota
	PreCandidate
	Candidate
	Leader
)

func (r Role) String() string {
	return [...]string{"follower", "candidate", "candidate", "leader"}[r]
}

// Fact is a past-tense statement for logs, metrics and callbacks. One of the types below.
type Fact interface{ fact() }

// RoleChanged: this node is something else now, for this reason.
type RoleChanged struct {
	Role   Role
	Term   rpc.Term
	Reason string
}

// LeaderChanged: this node follows another leader now; empty: it knows none.
type LeaderChanged struct {
	Leader rpc.NodeID
	Term   rpc.Term
	Reason string
}

// PeerStuck: the log no longer holds what that peer needs next.
type PeerStuck struct {
	Peer rpc.NodeID
	Next rpc.Index
}

func (RoleChanged) fact()   {}
func (LeaderChanged) fact() {}
func (PeerStuck) fact()     {}
