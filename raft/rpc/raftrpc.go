package rpc

// Reply is what came of one call: the peer's return, or Err and nothing else.
type Reply[R any] struct {
	From     NodeID
	Instance InstanceID // of the peer that answered
	Term     Term       // the peer's term when it answered
	Return   R
	Err      error // the call failed: it may or may not have been carried out
}

// Done receives the reply of a call, exactly once, on a goroutine of the bus: it must not block.
type Done[R any] func(Reply[R])

// IRaftRPC is what one node may ask of another, in Raft's terms. Every call returns at once. An error returned means
// that nothing was sent and done will not be called; otherwise done is called once, at the latest when the call's
// deadline ends. A timeout means unknown, never no. Calls may be pipelined and may be answered in any order.
// Safe for use by several goroutines.
type IRaftRPC interface {
	Heartbeat(Term, *HeartbeatCommand, Done[*HeartbeatReturn]) error
	AppendLog(Term, *AppendLogCommand, Done[*AppendLogReturn]) error
	CommitLog(Term, *CommitLogCommand, Done[*CommitLogReturn]) error
	RequestVote(Term, *RequestVoteCommand, Done[*RequestVoteReturn]) error
	InstallSnapshot(Term, *InstallSnapshotCommand, Done[*InstallSnapshotReturn]) error
	TimeoutNow(Term, *TimeoutNowCommand, Done[*TimeoutNowReturn]) error
}
