package rpc

// The commands and returns of IRaftRPC. The sender's term and name are in the message, not repeated here.

// Method is the RPC's name and the last token of its subject.
type Method string

const (
	MethodHeartbeat   Method = "Heartbeat"
	MethodAppendLog   Method = "AppendLog"
	MethodCommitLog   Method = "CommitLog"
	MethodRequestVote Method = "RequestVote"
	// MethodPing and MethodPingBulk prove the path over the control and over the bulk connection.
	MethodPing     Method = "Ping"
	MethodPingBulk Method = "PingBulk"
)

// Bulk reports whether the method travels on the bulk connection, at both ends (design section 4).
func (m Method) Bulk() bool { return m == MethodAppendLog || m == MethodPingBulk }

// HeartbeatCommand keeps a leader in office and confirms it for reads (thesis 3.4, 6.4).
type HeartbeatCommand struct {
	Commit Index  // min(leader's commit index, what this peer is known to match)
	Read   uint64 // the leader's current ReadIndex round, echoed by the return
}

// HeartbeatReturn answers a HeartbeatCommand.
type HeartbeatReturn struct {
	Read uint64
	// Last is how far the follower knows its log to match this leader's: a hint that lets a leader notice a lost AppendLog,
	// or a follower that restarted. It attests nothing.
	Last Index
}

// AppendLogCommand is AppendEntries (thesis 3.5). Without entries it probes whether the logs match at Prev.
type AppendLogCommand struct {
	Prev    EntryID // the entry just before Entries
	Commit  Index
	Entries []Entry
}

// AppendLogReturn answers an AppendLogCommand, after the sync that it attests.
type AppendLogReturn struct {
	Prev     Index // the command's Prev.Index, so that late answers can be told apart
	Accepted bool
	// Match, when accepted, is Prev.Index + the number of entries received: never the follower's last index (K17).
	Match Index
	// Hint, when refused, is the highest entry of the follower's log that may still match: all above it surely does not
	// (thesis 5.3's conflict back-off, one round trip per conflicting term).
	Hint EntryID
}

// CommitLogCommand tells a follower at once that the commit index moved, when no AppendLog leaves to say so.
type CommitLogCommand struct {
	Commit Index
}

// CommitLogReturn answers a CommitLogCommand.
type CommitLogReturn struct {
	Commit Index // the follower's commit index now
}

// RequestVoteCommand asks for a vote, or with PreVote whether one would be given (thesis 3.4, 9.6).
type RequestVoteCommand struct {
	Last    EntryID // the candidate's last log entry
	PreVote bool
	// Early marks an election begun before the election timeout, because the leader is lost (its subject has no
	// responders). Only a voter that lost that leader itself may grant it.
	Early bool
}

// RequestVoteReturn answers a RequestVoteCommand. A pre-vote granted is answered in the term asked for.
type RequestVoteReturn struct {
	Granted bool
	PreVote bool
}

// PingCommand proves the path to a peer. It changes no term and no timer of Raft.
type PingCommand struct {
	SenderID  NodeID
	Timestamp int64 // the sender's clock, nanoseconds since 1970 UTC
	// WantTable asks for the configuration table: set by a node that has none yet.
	WantTable bool
}

// PingReturn answers a PingCommand.
type PingReturn struct {
	SenderID  NodeID
	Timestamp int64 // the answering node's clock
	// Leader is the leader the answering node follows or is in the message's term; empty when it knows none.
	Leader NodeID
	// Table is the configuration table (index 0), when it was asked for and the answering node has one.
	Table []Member
	// Refusal says why the answering node takes no Raft message from the asking one, and what to do about it: another
	// cluster, another instance under a known id, a second process with one id. Empty: it is known.
	Refusal string
}

func (*HeartbeatCommand) Method() Method   { return MethodHeartbeat }
func (*HeartbeatReturn) Method() Method    { return MethodHeartbeat }
func (*AppendLogCommand) Method() Method   { return MethodAppendLog }
func (*AppendLogReturn) Method() Method    { return MethodAppendLog }
func (*CommitLogCommand) Method() Method   { return MethodCommitLog }
func (*CommitLogReturn) Method() Method    { return MethodCommitLog }
func (*RequestVoteCommand) Method() Method { return MethodRequestVote }
func (*RequestVoteReturn) Method() Method  { return MethodRequestVote }
func (*PingCommand) Method() Method        { return MethodPing }
func (*PingReturn) Method() Method         { return MethodPing }

func (*HeartbeatCommand) IsReturn() bool   { return false }
func (*HeartbeatReturn) IsReturn() bool    { return true }
func (*AppendLogCommand) IsReturn() bool   { return false }
func (*AppendLogReturn) IsReturn() bool    { return true }
func (*CommitLogCommand) IsReturn() bool   { return false }
func (*CommitLogReturn) IsReturn() bool    { return true }
func (*RequestVoteCommand) IsReturn() bool { return false }
func (*RequestVoteReturn) IsReturn() bool  { return true }
func (*PingCommand) IsReturn() bool        { return false }
func (*PingReturn) IsReturn() bool         { return true }
