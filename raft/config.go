package raft

// What a core is started with. It is not the configuration of the members, which is in the log (membership.go).

import "github.com/raftbus/raftbus/raft/rpc"

// Config is what a core starts from: its place in the cluster, what its disk remembers, its periods and bounds.
type Config struct {
	ID rpc.NodeID
	// Instance is the data folder that this node stands on: it counts itself only where a configuration names it by that (D3).
	Instance rpc.InstanceID
	// Configurations are those that the log knows, rising by Index: the one at Base first, then one for each configuration entry
	// after it. The last is in force, committed or not (K10, K37).
	Configurations []rpc.Configuration

	// What the disk remembers.
	HardState rpc.HardState
	Base      rpc.EntryID   // the entry before the log's first
	BaseTime  int64         // its time
	Terms     []rpc.TermRun // of the log's entries
	Last      rpc.EntryID
	// Damaged are the entries, rising, whose payload the disk has lost. None of them is applied, or a configuration.
	Damaged  []rpc.EntryID
	LastTime int64     // the time of the last entry
	Applied  rpc.Index // by the state machine

	Ticks  Ticks
	Limits Limits
	Random Random
	// Multicast: the driver sends what peers are to get alike as one message, so a CommitLog tells all of them alike.
	Multicast bool
	// Thrifty: what is new goes at once to as many peers as a quorum needs, and to the others by the next tick (thrift.go).
	Thrifty bool
}

// Random is the source of the core's dice: seeded in the simulator, so that a run can be replayed.
type Random interface {
	// IntN returns a number in [0, n).
	IntN(n int) int
}

// Ticks are the core's periods, in ticks. Liveness rests on them, safety does not.
type Ticks struct {
	Heartbeat                int // between heartbeats (H)
	ElectionMin, ElectionMax int // a random election timeout is in [ElectionMin, ElectionMax)
	Ping                     int // between two pings of a silent leader, or of all peers while no leader is known
	QuickMin, QuickMax       int // before a campaign once it is known that nobody leads
}

// Limits bound what the core keeps and sends.
type Limits struct {
	AppendBytesMax   int // entries per AppendLog; one larger entry goes alone
	FlyingMax        int // AppendLogs unanswered per peer
	FlyingBytesMax   int // their size, where the way carries as much (window)
	CacheBytesMax    int // entries kept in memory, beside what is not durable yet
	ApplyBytesMax    int // entries per Apply
	ProposedBytesMax int // proposals logged and not yet applied
	ReadsMax         int // reads that wait
}

// DefaultLimits suits a bus with messages of up to 1 MiB.
func DefaultLimits() Limits {
	return Limits{
		AppendBytesMax:   256 << 10,
		FlyingMax:        64,
		FlyingBytesMax:   4 << 20,
		CacheBytesMax:    16 << 20,
		ApplyBytesMax:    1 << 20,
		ProposedBytesMax: 64 << 20,
		ReadsMax:         16 << 10,
	}
}

// unwrittenMax is how many bytes of entries may wait for a follower's disk: more than a leader's window, so that only a disk that does not keep up is
// ever met by it.
func (l *Limits) unwrittenMax() int { return max(l.CacheBytesMax, 2*l.FlyingBytesMax) }

// maxEntriesPerMessage bounds an AppendLog by count, as the decoder does.
const maxEntriesPerMessage = rpc.SmallEntries
