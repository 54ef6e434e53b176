package raft

// What goes into the core: events.

import "github.com/raftbus/raftbus/raft/rpc"

// Event is something that happened to the node. One of the types of this file.
type Event interface{ event() }

// Tick is the passage of one tick of time.
type Tick struct {
	// Clock is the median of the voters' clocks, nanoseconds since 1970 UTC. Entries are stamped with it; nothing is decided by it.
	Clock int64
}

// Received is a command or a return from a peer. The bus has checked who sent it.
type Received struct{ Message rpc.Message }

// Failed says that a call ended without a return: it may or may not have been carried out.
type Failed struct {
	Peer   rpc.NodeID
	Method rpc.Method
	Last   rpc.Index // of an AppendLog: the last entry that it carried, or the one before if it carried none
}

// LinkChanged is a change of the link to a peer, as the bus sees it.
type LinkChanged struct {
	Peer      rpc.NodeID
	Connected bool
}

// BusChanged is a change of this node's own connection to the bus. A node cut off from the bus does not campaign.
type BusChanged struct{ Up bool }

// Pinged is the outcome of a ping of ours. It is about liveness only.
type Pinged struct {
	Peer    rpc.NodeID
	Outcome PingOutcome
	// Leader and Term are what the peer said it knows, with PingOK.
	Leader rpc.NodeID
	Term   rpc.Term
	Lacks  bool // its disk has no room for writes, or no client reaches it, or its state machine lags
	NoRoom bool // its disk has no room for writes
}

// Outdated: what this node stores is an old copy of what it once had, for certain (F23). It has forgotten votes and acknowledgements that
// others may count on: it leads no more, and neither votes nor campaigns, until it is replaced and runs anew.
type Outdated struct{}

// WriteWaits says whether the write at the head of this node's log waits for room on its disk, which is too full (F21). It hangs for
// another reason then than a disk that does not answer.
type WriteWaits struct{ ForRoom bool }

// PingOutcome is how a ping ended.
type PingOutcome uint8

const (
	PingOK PingOutcome = iota
	// PingNobody is 'no responders' on a connection to the bus that has been up for a second or more.
	PingNobody
	// PingUnclear is everything else: a timeout, a refusal, 'no responders' just after a reconnect (K75).
	PingUnclear
)

// Propose asks for commands to be logged. Each is answered by one of Effects.Proposed.
type Propose struct {
	Clock     int64 // as in Tick
	Proposals []Proposal
}

// Proposal is one command. Its Data belongs to the log from now on.
type Proposal struct {
	Ticket uint64 // the driver's name for it
	Data   []byte
}

// ReadIndex asks when a linearizable read may be served. Answered by one of Effects.Reads.
type ReadIndex struct{ Ticket uint64 }

// DiskDone says that the write of that number, and all before it, are durable.
type DiskDone struct{ Seq uint64 }

// PartDone says that of the write of that number what goes before its entries is durable, with its entries up to Last, and all writes before it: for a
// hard state, and a new base, even a full disk has room, and maybe for some entries (F21).
type PartDone struct {
	Seq  uint64
	Last rpc.Index // 0: no entry
}

// ApplyDone says that the state machine has applied, and readers see, everything up to Index.
type ApplyDone struct{ Index rpc.Index }

// Loaded brings entries that Effects.Loads asked for. Empty Entries with Compacted: they are no longer in the log.
type Loaded struct {
	Load
	Entries   []rpc.Entry
	Compacted bool
}

// Resign asks a leader to step down (graceful stop): it then proposes and confirms nothing more.
type Resign struct{}

// Reconfigure asks a leader to change who belongs to the cluster. Answered by one of Effects.Reconfigured.
type Reconfigure struct {
	Ticket uint64
	Clock  int64 // as in Tick
	Change Change
}

// Change is what Reconfigure asks for; all of it together, or nothing. Whoever is added begins as a learner, and the leader
// makes it a voter once it has caught up.
type Change struct {
	// Add are new members. One that is a member already under another instance takes its place: its disk was lost (D3).
	Add []rpc.Member
	// Remove are members to leave, learners or voters, the leader too.
	Remove []rpc.NodeID
	// If is the index of the configuration that whoever asks has seen, so that two administrators cannot undo each other's
	// work unawares (Q9): 0 is the table's. nil: whichever is in force.
	If *rpc.Index
}

// Transfer asks a leader to hand over to a voter, or if To is empty to its Successor (thesis 3.10). Until that one
// leads, or an election timeout has passed, the leader takes no proposals. Whether it worked shows in Facts.
type Transfer struct{ To rpc.NodeID }

// SnapshotStored says that a whole snapshot from this term's leader was received, verified and synced beside the state. The core answers
// by Effects.Install, or drops it because it holds as much already.
type SnapshotStored struct {
	From          rpc.NodeID
	Call          rpc.Call // of its last chunk
	Transfer      uint64
	Snapshot      rpc.EntryID
	Time          int64 // of the entry Snapshot
	Configuration rpc.Configuration
}

// Learned brings a committed configuration that a peer showed. It says whom to listen to, where the log does not know yet.
type Learned struct{ Configuration rpc.Configuration }

// Restored says that the state machine holds what Effects.Install asked for, durably, in place of what it had.
type Restored struct{ Snapshot rpc.EntryID }

// SnapshotEnded says that Effects.Snapshots' stream to a peer ended without success: the peer is probed anew.
type SnapshotEnded struct {
	Peer rpc.NodeID
	Term rpc.Term // as in SendSnapshot
	// Unread: this node could not read its state to the end. What the peer is sent again up to there is no progress.
	Unread bool
}

// Compact asks to forget the log up to To, or as far below as may be: nothing that is not applied. The state machine must hold it durably.
type Compact struct{ To rpc.Index }

func (Tick) event()           {}
func (Received) event()       {}
func (Failed) event()         {}
func (LinkChanged) event()    {}
func (BusChanged) event()     {}
func (Pinged) event()         {}
func (Outdated) event()       {}
func (WriteWaits) event()     {}
func (Propose) event()        {}
func (ReadIndex) event()      {}
func (DiskDone) event()       {}
func (PartDone) event()       {}
func (ApplyDone) event()      {}
func (Loaded) event()         {}
func (Resign) event()         {}
func (Reconfigure) event()    {}
func (Transfer) event()       {}
func (SnapshotStored) event() {}
func (Learned) event()        {}
func (Restored) event()       {}
func (SnapshotEnded) event()  {}
func (Compact) event()        {}
