package raft

// What comes out of the core: effects, and facts about them.

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
	// Reconfigured answers Reconfigure.
	Reconfigured []Reconfigured
	// Snapshots are peers that need what the log no longer holds: stream them the state.
	Snapshots []SendSnapshot
	// Chunks are InstallSnapshot messages of this term, for the streams: commands to be stored and answered, returns to go on by.
	Chunks []rpc.Message
	// Install, if Snapshot.Index is not 0: put that stored snapshot in the place of the state machine's state, after the Apply under
	// way if there is one, then step Restored. No Apply is handed out meanwhile.
	Install Install
	// Compact, if ID.Index is not 0: a new base for the log, which may then delete what lies before it.
	Compact Base
	// Facts are what an operator would want to know, and what leadership callbacks go by.
	Facts []Fact
}

// Write is one batch for the log: hard state first, then entries, one sync for both. An entry at or below the log's
// last index replaces the log from there on.
type Write struct {
	Seq       uint64
	Base      *Base // a snapshot was installed: where the log begins now; it goes before the rest
	HardState *rpc.HardState
	Repairs   []rpc.Entry // what damaged entries said; written before Entries, each in its own place
	Entries   []rpc.Entry
}

// Base is the entry that a log starts after, and the configuration in force there.
type Base struct {
	ID            rpc.EntryID
	Time          int64 // of that entry; 0: look it up in the log before it is forgotten
	Configuration rpc.Configuration
}

// SendSnapshot asks for a stream of InstallSnapshot messages to a peer, of the state at any index the log holds or begins
// after. It ends with a return that says Installed (the core notes it in Chunks' returns by itself), or else with SnapshotEnded.
// The driver also ends it by itself when this node no longer leads in Term, or the peer is no member any more.
type SendSnapshot struct {
	Peer rpc.NodeID
	Term rpc.Term
}

// Install is a stored snapshot that is to become the state.
type Install struct {
	Snapshot rpc.EntryID
	Transfer uint64
}

// Reconfigured answers a Reconfigure: the change is in the log under ID, or was refused for the reason given and certainly is not.
type Reconfigured struct {
	Ticket  uint64
	ID      rpc.EntryID
	Refusal error
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

// Read answers a ReadIndex: serve it now (Accepted), or not from here.
type Read struct {
	Ticket  uint64
	Refusal Refusal
}

// Refusal is why the core turned something down. Nothing refused was or will be carried out by this node.
type Refusal uint8

const (
	Accepted         Refusal = iota
	RefusedNotLeader         // this node does not lead, or ceased to before it knew
	RefusedBusy              // a bound is reached
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

// ConfigurationChanged: another configuration is in force, by an entry that was added or by one that was replaced; or the one in
// force is committed now.
type ConfigurationChanged struct {
	Configuration rpc.Configuration
	Committed     bool
}

// RosterChanged: whom this node listens to, and talks to, is another set now.
type RosterChanged struct{ Members []rpc.Member }

// TransferEnded: a transfer of leadership was given up. One that works shows as RoleChanged.
type TransferEnded struct {
	To     rpc.NodeID
	Reason string
}

// SnapshotInstalled: the state was replaced by a leader's snapshot.
type SnapshotInstalled struct{ Snapshot rpc.EntryID }

// LogRepaired: the leader has given again all that the disk had lost.
type LogRepaired struct{}

// PeerStuck: the log no longer holds what that peer needs next: it gets a snapshot.
type PeerStuck struct {
	Peer rpc.NodeID
	Next rpc.Index
}

// AcknowledgedLost: that peer has acknowledged the log up to Match to this leader, and does not hold it now. It cannot be repaired in this office.
type AcknowledgedLost struct {
	Peer  rpc.NodeID
	Match rpc.Index
}

func (RoleChanged) fact()          {}
func (LeaderChanged) fact()        {}
func (LogRepaired) fact()          {}
func (PeerStuck) fact()            {}
func (AcknowledgedLost) fact()     {}
func (ConfigurationChanged) fact() {}
func (RosterChanged) fact()        {}
func (TransferEnded) fact()        {}
func (SnapshotInstalled) fact()    {}
