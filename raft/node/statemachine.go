package node

// What a node and the state machine on it owe each other, as interfaces: package kv/store and every other state machine keep to the first, services in front
// of one use the others.

import (
	"io"

	"github.com/raftbus/raftbus/raft/rpc"
)

// StateMachine is what a cluster replicates: the key-value store, or one of your own. All nodes are given the same
// entries in the same order, so whatever Apply does must follow from the entries and the state alone: no clock (an entry
// has its Time), no randomness, no map order.
//
// The node calls Apply, Restore and Close from one goroutine at a time. Applied, Durable and Snapshot may be called
// while an Apply runs, and so may whatever reads of the state the machine offers to others.
type StateMachine interface {
	// Apply applies committed entries, each index once, in order and without a gap, and returns one result per entry,
	// which goes to whoever proposed it on this node. Only those of kind EntryCommand carry a command; a leader's first entry of its
	// term and changes of the members are passed too, and count: Applied must reach them (their result is ignored, their Data is
	// no command). When Apply returns, reads see the entries; they need not be durable yet.
	// The entries' Data is shared: keep it only by copying, never write to it.
	// A refusal of a command is a result, not an error. An error means the state can no longer be trusted: the node stops. One that is of too many open
	// files, and says ErrNotApplied too, has the node give the same entries again, for a minute.
	Apply(entries []rpc.Entry) ([]any, error)

	// Applied is the last entry that reads see. After a restart it tells the node where to apply from, so it must be
	// stored atomically with the effects of that entry (K56).
	Applied() rpc.EntryID

	// Durable is the last index that a power loss now would leave applied. The log is kept from there on.
	Durable() rpc.Index

	// Snapshot takes a view of the state as it is, in time independent of its size. Writing it out must neither block
	// Apply nor hold a copy of the state in memory.
	Snapshot() (Snapshot, error)

	// Restore replaces the state by a snapshot that Snapshot().WriteTo wrote, on this node or another. It reads r to its end;
	// at any error or crash before it returns nil the old state stays. When it returns, the new state is durable.
	Restore(r io.Reader) error

	// Close makes durable what is applied, and releases everything.
	Close() error
}

// Versioned is a StateMachine that says how new the commands may be that it applies. Peers are told, so that a service can wait with what
// is new until all members know it. It may be asked before anything else, and always says the same.
type Versioned interface {
	CommandVersion() uint64
}

// Snapshot is a point-in-time view of a StateMachine.
type Snapshot interface {
	// ID is the last entry the view includes.
	ID() rpc.EntryID
	io.WriterTo
	io.Closer
}

// Proposer is what a service in front of the state machine needs of the node. Safe for use by several goroutines.
type Proposer interface {
	// Propose asks for a command to be logged, and returns at once. An error (ErrNotLeader, ErrBusy, ErrTooLarge,
	// ErrFull, ErrStopped) means that this node certainly did not log it; done is not called. Otherwise done is called at most
	// once: by who applies (one goroutine at a time), with the result that Apply gave; or, maybe on another goroutine, with ErrBusy as the
	// result, where this node did not log it after all. It must not block. It is never called for a command whose outcome this node does
	// not learn (it was deposed, or stops): that outcome is unknown.
	Propose(data []byte, done func(result any, at rpc.EntryID)) error

	// ReadIndex calls done(nil) once a quorum has confirmed, in a round begun after this call, that this node leads,
	// and everything committed by then is applied here: a read of the state machine is linearizable from then on (thesis
	// 6.4). done(err) means that could not be shown (ErrNotLeader, ErrStopped). ErrBusy is returned at once, without done.
	// done runs on one of the node's goroutines: it must not block.
	ReadIndex(done func(error)) error

	// Leadership calls changed, from one goroutine, each time this node begins or ceases to lead: true comes with the
	// election, before the term's first commit (reads and writes wait for that by themselves). Register before Start.
	Leadership(changed func(leading bool))

	// MaxCommandBytes is the size of the largest command that can be proposed now.
	MaxCommandBytes() int

	// Clock is the cluster's time in nanoseconds since 1970 UTC: the median of the voters' clocks as last heard,
	// which a leader gives its next entries. If the log is ahead of them, since they were put back, it goes on from there at half its pace.
	Clock() int64
}

// Prompter is what a service needs of a node to be fast, if it is told of requests on a goroutine that may take turns. *Node is one.
type Prompter interface {
	// Gather says that more is about to be asked, and a Prompt to follow at once. Who does not say so need not prompt.
	Gather()
	// Prompt has what was asked acted on: on the caller's goroutine, without waiting for anybody, if whole says that all that had come
	// was asked; else soon, with what more has come by then.
	Prompt(whole bool)
	// Settled has told called, by who applies, each time the answers to a run of entries have been given. Register before Start.
	Settled(told func())
	// Confirmed has told called, by who took the turn, each time it was said of reads that they may be done. Register before Start.
	Confirmed(told func())
}
