package node

// What a node says of itself, to its operator and to peers that ping it. It is a copy made at the end of a turn: who reads it waits for no turn, and
// changes nothing.

import (
	"errors"
	"maps"
	"sync"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// Status is what an operator may know of a node.
type Status struct {
	raft.Status
	Cluster         rpc.ClusterID
	Instance        rpc.InstanceID
	Members         []rpc.NodeID // of the configuration in force, learners too; before there is one, those given
	Standing        Standing
	raft.Membership                       // on a leader with what it knows of its peers, some ticks ago
	Streams         []StreamStatus        // snapshots that a leader sends, some ticks ago
	Joining         bool                  // it has no cluster, and waits to be added to one
	FirstBoot       string                // how far it is: FirstBootGathering or FirstBootSealing; empty: it is through
	Founded         bool                  // it saw the first boot of its cluster through in this run, and not in an earlier one
	WaitingFor      []rpc.NodeID          // first boot: the members that are awaited
	RefusedBy       map[rpc.NodeID]string // peers that refuse this node, and why
	Links           []busclient.LinkStatus
	Full            bool      // its disk has no room for writes
	TooManyFiles    bool      // Full is for files that are open, of which there are too many, and not for want of space
	Damaged         int       // entries of the log whose payload is lost, and not repaired yet: while there are any the node counts for nothing
	Dropped         uint64    // messages and notices dropped because the inbox was full
	Log             wal.Stats // of the log, since the node started
}

// published is the copy.
type published struct {
	mu      sync.Mutex
	status  Status
	conf    *rpc.Configuration
	lacking bool // what a leader needs: see room
	noRoom  bool // on the disk
}

// How far a first boot is.
const (
	FirstBootGathering = "gathering" // the table is not made: members were not heard from
	FirstBootSealing   = "sealing"   // the table is made: members have not said that they hold it
)

// StreamStatus is a snapshot on its way to a peer.
type StreamStatus struct {
	Peer     rpc.NodeID
	Snapshot rpc.EntryID // the state as of that entry; zero: it waits for its turn
	Sent     uint64      // bytes, with what was sent again
	Stored   uint64      // bytes that the peer has said are durable or on their way to its disk, in order
	Whole    bool        // all is stored: the peer installs it
}

// Status describes the node as of its last turn.
func (n *Node) Status() Status {
	n.mu.Lock()
	s := n.status
	n.mu.Unlock()
	s.Links, s.Dropped, s.Log = n.bus.Links(), n.inbox.drops(), n.o.Log.Stats()
	if s.Role != raft.Leader {
		s.Streams = nil
	}
	room := n.appender.room()
	s.Full, s.TooManyFiles = errors.Is(room, wal.ErrFull), wal.TooManyFiles(room)
	if s.Log.Damaged > 0 {
		s.Damaged = len(n.o.Log.State(onlyGroup).Damaged)
	}
	return s
}

// publish makes the state of this turn visible to other goroutines.
func (n *Node) publish() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lacking = n.room.lack != ""
	n.noRoom = n.room.lack == lackRoom || n.room.lack == lackFiles
	if n.core != nil {
		n.status.Status = n.core.Status()
		return
	}
	switch n.status.Joining = n.joining; {
	case n.gathering != nil:
		n.status.FirstBoot, n.status.WaitingFor = FirstBootGathering, n.gathering.waitingFor()
		n.status.RefusedBy = maps.Clone(n.gathering.refused)
	case n.sealing != nil:
		n.status.FirstBoot, n.status.WaitingFor = FirstBootSealing, n.sealing.waitingFor()
		n.status.RefusedBy = maps.Clone(n.sealing.refused)
	}
}

// PingContent is what this node says of itself when it is pinged. Safe for use by several goroutines.
func (n *Node) PingContent() busclient.PingContent {
	n.mu.Lock()
	defer n.mu.Unlock()
	return busclient.PingContent{Leader: n.status.Leader, Term: n.status.Term, Configuration: n.conf, Lacks: n.lacking, NoRoom: n.noRoom, Commands: n.commands}
}
