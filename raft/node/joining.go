package node

// Joining: a node that begins without a cluster of its own waits until a member tells it of a committed configuration that has
// it, under its own data folder's instance. That configuration is its log's base at index 0: it has forgotten nothing, since it
// never voted nor acknowledged, and the leader sends it the rest. A first boot that comes too late, or one whose disk was lost
// and whose member was replaced, goes the same way.

import (
	"fmt"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// learned is a configuration that a peer says is committed.
type learned struct {
	cluster rpc.ClusterID
	conf    rpc.Configuration
}

// joinText is what the operator of a node reads that waits to be added.
const joinText = "waiting to be added to a cluster: raftbus member add %s"

// joins says whether a node without a log may begin with that configuration. One that was started to join does so as a learner
// only, as which every member begins; one that was given the members of a first boot also as the voter it is in the table.
func (n *Node) joins(l learned) error {
	self, ok := l.conf.Member(n.id())
	switch {
	case l.conf.ClusterID() != l.cluster:
		return fmt.Errorf("it names another cluster than its sender's")
	case !ok:
		return fmt.Errorf("%s is no member of that cluster: "+joinText, n.id(), n.id())
	case self.Instance != n.instance():
		return fmt.Errorf("the cluster knows %s by data folder instance %s, this folder is %s: raftbus member replace %s", n.id(), self.Instance, n.instance(), n.id())
	case l.conf.Index == 0 && n.joining:
		return fmt.Errorf("its first boot is not through and needs %s as one of its first members: start this node with --members %s instead of --join", n.id(), names(l.conf.Voters))
	case l.conf.Index == 0 || n.joining && !l.conf.Learner(n.id()):
		return fmt.Errorf("it has %s as a voter already, and this folder holds no log: raftbus member replace %s, with a new folder", n.id(), n.id())
	}
	return nil
}

// tryJoin makes a configuration that has this node the beginning of its log. This one write is done on the loop, as that of
// the table: there is nothing else to do before it.
func (n *Node) tryJoin(l learned) error {
	if err := n.joins(l); err != nil {
		if text := err.Error(); n.joining && text != n.notJoined { // a first boot is told by its gathering
			n.notJoined = text
			n.logger.Warn("not joined", "reason", text)
		}
		return nil
	}
	base := &wal.Base{Configuration: folder.EncodeBase(&raft.Base{Configuration: l.conf})}
	if err := n.o.Log.Append(wal.Batch{Group: onlyGroup, Base: base}); err != nil {
		return err
	}
	n.joining, n.gathering = false, nil
	n.logger.Info("joined", "cluster", l.cluster.String(), "index", l.conf.Index, "members", describe(&l.conf))
	return n.makeCore(n.o.Log.State(onlyGroup))
}
