package node

import (
	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// Status is what an operator may know of a node.
type Status struct {
	raft.Status
	Cluster    rpc.ClusterID
	Instance   rpc.InstanceID
	Members    []rpc.NodeID
	WaitingFor []rpc.NodeID          // first boot: members not heard from yet
	RefusedBy  map[rpc.NodeID]string // peers that refuse this node, and why
	Links      []busclient.LinkStatus
	Dropped    uint64    // messages and notices dropped because the inbox was full
	Log        wal.Stats // of the log, since the node started
}

// Status describes the node as of its last turn.
func (n *Node) Status() Status {
	n.mu.Lock()
	s := n.status
	n.mu.Unlock()
	s.Links, s.Dropped, s.Log = n.bus.Links(), n.inbox.drops(), n.o.Log.Stats()
	return s
}

// publish makes the state of this turn visible to other goroutines.
func (n *Node) publish() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.core != nil {
		n.status.Status = n.core.Status()
		return
	}
	n.status.WaitingFor = n.gathering.waitingFor()
	n.status.RefusedBy = copyOf(n.gathering.refused)
}

func copyOf(m map[rpc.NodeID]string) map[rpc.NodeID]string {
	c := make(map[rpc.NodeID]string, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// PingContent is what this node says of itself when it is pinged: the leader it knows in its term, and the configuration
// table once it has one. Safe for use by several goroutines.
func (n *Node) PingContent() (leader rpc.NodeID, term rpc.Term, table []rpc.Member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status.Leader, n.status.Term, n.members
}
