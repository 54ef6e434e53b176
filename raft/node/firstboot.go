package node

// The first boot, on the loop: from the pings of all listed members (gather.go) to a table that is durable and sealed (sealing.go).

import (
	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// beginning is of a node that has no part in consensus yet. Owned by the loop.
type beginning struct {
	gathering *gathering // the first half of a first boot; nil: it is over
	sealing   *sealing   // the second
	joining   bool       // it waits to be added to a cluster
	notJoined string     // why it was not, the last time that somebody told of a cluster
}

// boot is a turn of a node that has no part in consensus yet.
func (n *Node) boot(b *batch) error {
	for _, call := range b.calls {
		call()
	}
	b.calls = nil
	defer n.publish()
	if n.gathering != nil {
		if err := n.tryTable(); err != nil {
			return err
		}
	}
	if n.sealing != nil {
		return n.trySeal()
	}
	return nil
}

// tryTable makes the table durable once it is complete. The writes of a first boot are done on the loop: there is nothing else to
// do before them. Without the bus there is none: whoever starts the bus looks first who else is there (F14), and a node that is
// all of its cluster is to wait for that too.
func (n *Node) tryTable() error {
	if l := n.gathering.later; l != nil {
		n.gathering.later = nil
		return n.tryJoin(*l)
	}
	table, complete := n.gathering.table()
	if !complete || !n.busUp {
		return nil
	}
	conf := rpc.Configuration{Voters: table}
	base := &wal.Base{Configuration: folder.EncodeBase(&raft.Base{Configuration: conf})}
	if err := n.o.Log.Append(wal.Batch{Group: onlyGroup, Base: base}); err != nil {
		return err
	}
	n.logger.Info("first boot: all members heard from", "members", rpc.JoinIDs(n.gathering.members))
	return n.holdTable(conf)
}

// waitingText is what the operator of a first boot reads.
const waitingText = "first boot: waiting for members, nobody votes before all were heard from"

// hearGathering takes a ping during the first boot, and tells the operator what is awaited, whenever that changes.
func (n *Node) hearGathering(p busclient.Pinged) {
	g := n.gathering
	before, refused := rpc.JoinIDs(g.waitingFor()), g.refused[p.Peer]
	g.hear(p)
	if now := rpc.JoinIDs(g.waitingFor()); now != before && now != "" {
		n.logger.Info(waitingText, "waiting_for", now)
	}
	n.tellRefused(p.Peer, refused, g.refused[p.Peer])
}

func (n *Node) tellRefused(peer rpc.NodeID, before, now string) {
	if now != "" && now != before {
		n.logger.Error("refused by a member", "peer", peer, "reason", now)
	}
}
