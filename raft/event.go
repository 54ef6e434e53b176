package raft

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
}

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

func (Tick) event()        {}
func (Received) event()    {}
func (Failed) event()      {}
func (LinkChanged) event() {}
func (BusChanged) event()  {}
func (Pinged) event()      {}
func (Propose) event()     {}
func (ReadIndex) event()   {}
func (DiskDone) event()    {}
func (ApplyDone) event()   {}
func (Loaded) event()      {}
func (Resign) event()      {}
