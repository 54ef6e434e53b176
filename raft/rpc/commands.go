package rpc

// The commands and returns of IRaftRPC. The sender's term and name are in the message, not repeated here.

// Method is the RPC's name and the last token of its subject.
type Method string

const (
	MethodHeartbeat   Method = "Heartbeat"
	MethodAppendLog   Method = "AppendLog"
	MethodCommitLog   Method = "CommitLog"
	MethodRequestVote Method = "RequestVote"
	// MethodInstallSnapshot and MethodTimeoutNow are thesis 5 and 3.10.
	MethodInstallSnapshot Method = "InstallSnapshot"
	MethodTimeoutNow      Method = "TimeoutNow"
	// MethodPing and MethodPingBulk prove the path over the control and over the bulk connection.
	MethodPing     Method = "Ping"
	MethodPingBulk Method = "PingBulk"
)

// Bulk reports whether the method travels on the bulk connection, at both ends (design section 4).
func (m Method) Bulk() bool {
	return m == MethodAppendLog || m == MethodInstallSnapshot || m == MethodPingBulk
}

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

// Last is the last entry that the receiver has if it accepts.
func (c *AppendLogCommand) Last() Index { return c.Prev.Index + Index(len(c.Entries)) }

// AppendLogReturn answers an AppendLogCommand, after the sync that it attests.
type AppendLogReturn struct {
	Prev     Index // the command's Prev.Index, so that late answers can be told apart
	Accepted bool
	// Match, when accepted, is Prev.Index + the number of entries received: never the follower's last index (K17).
	Match Index
	// Hint, when refused, is the highest entry of the follower's log that may still match: all above it surely does not
	// (thesis 5.3's conflict back-off, one round trip per conflicting term).
	Hint EntryID
	// Damaged, when refused: the follower's disk has lost what follows Hint, also what it had acknowledged. It holds no more than that.
	Damaged bool
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
	// Transfer marks an election that the leader itself asked for (TimeoutNow): voters that hear that leader may grant it.
	Transfer bool
}

// RequestVoteReturn answers a RequestVoteCommand. A pre-vote granted is answered in the term asked for.
type RequestVoteReturn struct {
	Granted bool
	PreVote bool
}

// InstallSnapshotCommand carries one chunk of a snapshot (thesis 5). Chunks of one Transfer are numbered by Offset; those of two
// are never mixed (K30).
type InstallSnapshotCommand struct {
	Snapshot EntryID // the last entry that it includes
	Transfer uint64  // names this stream; never 0
	Offset   uint64  // of Data in the stream, in bytes
	Data     []byte
	Sum      uint64 // CRC-32C of Data
	// Final marks the last chunk. It alone carries the sum of the whole stream, and the configuration as of Snapshot.
	Final         bool
	Digest        []byte         // SHA-256 of the whole stream
	Configuration *Configuration // in force at Snapshot; committed, since Snapshot is (K28)
}

// InstallSnapshotReturn answers an InstallSnapshotCommand.
type InstallSnapshotReturn struct {
	Snapshot EntryID
	Transfer uint64
	// Next is how much of that stream the receiver has stored. The sender goes on from there, whatever it had sent.
	Next uint64
	// Installed attests that the receiver's log and state hold all up to Snapshot, durably: the transfer is over.
	Installed bool
	// Restored is how much of snapshots the receiver's state machine has taken, of this one and of those before it together. It only shows that the receiver gets on.
	Restored uint64
}

// TimeoutNowCommand asks a follower to campaign at once, since its leader wants to hand over (thesis 3.10). It holds in the
// term it is sent in only, and while the leader's log ends as it did then: one that was held up is not looked at later.
type TimeoutNowCommand struct {
	Last EntryID // of the leader's log, which takes no entry while it hands over; zero: of an earlier release, which does not say
}

// TimeoutNowReturn answers a TimeoutNowCommand: the receiver campaigns. One that does not is silent.
type TimeoutNowReturn struct{}

// PingCommand proves the path to a peer. It changes no term and no timer of Raft.
type PingCommand struct {
	SenderID  NodeID
	Timestamp int64 // the sender's clock, nanoseconds since 1970 UTC
	// WantTable asks for the configuration table: set by a node that has none yet.
	WantTable bool
	// Known is the index of the latest committed configuration that the sender knows: a receiver that knows a later one sends
	// it back.
	Known Index
	// Configuration is that configuration itself, sent while the link is broken: the receiver may be new, or may have been away
	// while all those it knew were replaced.
	Configuration *Configuration
	// Start is the newest start of the receiver's data folder that the sender has proof of; 0: of none.
	Start BootEpoch
	// WantStarts asks for what the receiver knows of the other members' starts.
	WantStarts bool
}

// PingReturn answers a PingCommand.
type PingReturn struct {
	SenderID  NodeID
	Timestamp int64 // the answering node's clock
	// Leader is the leader the answering node follows or is in the message's term; empty when it knows none.
	Leader NodeID
	// Configuration is the latest committed configuration that the answering node knows, when it was asked for or is later than
	// the asking node's; nil: it has none, or nothing new.
	Configuration *Configuration
	// Refusal says why the answering node takes no Raft message from the asking one, and what to do about it: another
	// cluster, another instance under a known id, a second process with one id. Empty: it is known.
	Refusal string
	// Forgot: the answering node's data folder does not know the start that the command named. It is an old copy, put back: what was
	// acknowledged and voted since is not in it (F23).
	Forgot bool
	// Lacks: the answering node's disk has no room for writes (F21), no client reaches it (F12), or its state machine lags (L2). Only who is to lead next is chosen by it.
	Lacks bool
	// Start is the newest start of the asking node's data folder that the answering one has proof of; 0: of none. A folder that does
	// not know it is an old copy (F23).
	Start BootEpoch
	// Starts are the newest starts of the other members that the answering node knows of, when it was asked. So what members know of old
	// copies of each other's folders is not lost with a disk (F23).
	Starts []Start
	// Multicast: the answering node listens to messages to several. One that does not say so gets none: it may be of an earlier
	// release (F28).
	Multicast bool
	// Commands is the newest version of commands that the answering node's state machine applies; 0: it does not say. Who proposes one of
	// a later version than all members know, stops those that do not (F28).
	Commands uint64
	// NoRoom: the answering node's disk has no room for writes, whoever reaches it. A leader takes none while too few have room (F21). Earlier
	// releases do not say it.
	NoRoom bool
}

// Start is a process that was started on a data folder.
type Start struct {
	ID       NodeID
	Instance InstanceID
	Boot     BootEpoch
}

func (*HeartbeatCommand) Method() Method       { return MethodHeartbeat }
func (*HeartbeatReturn) Method() Method        { return MethodHeartbeat }
func (*AppendLogCommand) Method() Method       { return MethodAppendLog }
func (*AppendLogReturn) Method() Method        { return MethodAppendLog }
func (*CommitLogCommand) Method() Method       { return MethodCommitLog }
func (*CommitLogReturn) Method() Method        { return MethodCommitLog }
func (*RequestVoteCommand) Method() Method     { return MethodRequestVote }
func (*RequestVoteReturn) Method() Method      { return MethodRequestVote }
func (*InstallSnapshotCommand) Method() Method { return MethodInstallSnapshot }
func (*InstallSnapshotReturn) Method() Method  { return MethodInstallSnapshot }
func (*TimeoutNowCommand) Method() Method      { return MethodTimeoutNow }
func (*TimeoutNowReturn) Method() Method       { return MethodTimeoutNow }
func (*PingCommand) Method() Method            { return MethodPing }
func (*PingReturn) Method() Method             { return MethodPing }

func (*HeartbeatCommand) IsReturn() bool       { return false }
func (*HeartbeatReturn) IsReturn() bool        { return true }
func (*AppendLogCommand) IsReturn() bool       { return false }
func (*AppendLogReturn) IsReturn() bool        { return true }
func (*CommitLogCommand) IsReturn() bool       { return false }
func (*CommitLogReturn) IsReturn() bool        { return true }
func (*RequestVoteCommand) IsReturn() bool     { return false }
func (*RequestVoteReturn) IsReturn() bool      { return true }
func (*InstallSnapshotCommand) IsReturn() bool { return false }
func (*InstallSnapshotReturn) IsReturn() bool  { return true }
func (*TimeoutNowCommand) IsReturn() bool      { return false }
func (*TimeoutNowReturn) IsReturn() bool       { return true }
func (*PingCommand) IsReturn() bool            { return false }
func (*PingReturn) IsReturn() bool             { return true }
