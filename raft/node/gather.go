package node

// The first half of a first boot: who the members are, and by which disks.

import (
	"fmt"
	"slices"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
)

// gathering is the first half of a node's first boot: it collects the table id -> instance from all listed members. Once that is
// durable the node never takes another instance for one of them (design section 4, Identity; D3, K11, F27); the second half is
// sealing. A step machine without I/O.
type gathering struct {
	self    rpc.Member
	members []rpc.NodeID
	heard   map[rpc.NodeID]rpc.InstanceID
	refused map[rpc.NodeID]string // by whom this node is refused, and why
	later   *learned              // the cluster has booted without this node, and has changed its table since
}

func newGathering(self rpc.Member, members []config.IRaftNodeConfig) *gathering {
	g := &gathering{self: self, heard: map[rpc.NodeID]rpc.InstanceID{self.ID: self.Instance}, refused: map[rpc.NodeID]string{}}
	for _, m := range members {
		g.members = append(g.members, m.ID())
	}
	slices.Sort(g.members)
	return g
}

// hear takes a peer's answer to a ping. A peer that has no table yet counts with its instance; one that has brings it.
func (g *gathering) hear(p busclient.Pinged) {
	switch {
	case p.Refusal != "":
		g.refused[p.Peer] = p.Refusal
	case p.Err != nil || !slices.Contains(g.members, p.Peer):
	case p.Configuration != nil:
		g.hearTable(p)
	case p.Cluster == (rpc.ClusterID{}):
		g.heard[p.Peer] = p.Instance
		delete(g.refused, p.Peer)
	}
}

// hearTable adopts a peer's table if it is of these members and knows this very data directory. Then it was heard from
// all of them, this one included, by the peer.
func (g *gathering) hearTable(p busclient.Pinged) {
	delete(g.refused, p.Peer)
	theirs := rpc.IDs(p.Configuration.Members())
	for _, m := range p.Configuration.Members() {
		if m.ID == g.self.ID && m.Instance != g.self.Instance {
			g.refused[p.Peer] = fmt.Sprintf("the cluster knows %s by data folder instance %s, this folder is %s: it was wiped or replaced; put the old folder back, or %s", m.ID, m.Instance, g.self.Instance, remedy(p))
			return
		}
	}
	switch {
	case p.Configuration.Index > 0 && !slices.Contains(theirs, g.self.ID):
		g.refused[p.Peer] = fmt.Sprintf("the cluster of %s does not have %s as a member: start it with --join instead of --members, then raftbus member add %s", rpc.JoinIDs(theirs), g.self.ID, g.self.ID)
		return
	case p.Configuration.Index == 0 && !slices.Equal(theirs, g.members):
		g.refused[p.Peer] = fmt.Sprintf("its members are %s, this node was given %s: start all with the same --members", rpc.JoinIDs(theirs), rpc.JoinIDs(g.members))
		return
	}
	if p.Configuration.Index > 0 {
		g.later = &learned{p.Cluster, *p.Configuration}
		return
	}
	for _, m := range p.Configuration.Voters {
		g.heard[m.ID] = m.Instance
	}
}

// remedy is for a folder that a peer knows by another instance.
func remedy(p busclient.Pinged) string {
	replace := fmt.Sprintf("replace the member: raftbus member replace, as soon as %s has a leader", p.Peer)
	if p.Term > 0 || p.Configuration.Index > 0 {
		return replace
	}
	return busclient.UnsealedRemedy + "; else " + replace
}

// waitingFor lists the members not heard from yet.
func (g *gathering) waitingFor() []rpc.NodeID {
	return slices.DeleteFunc(slices.Clone(g.members), func(id rpc.NodeID) bool {
		_, ok := g.heard[id]
		return ok
	})
}

// table is the complete table, in order of id; false while somebody is awaited or refuses.
func (g *gathering) table() ([]rpc.Member, bool) {
	if len(g.refused) > 0 || len(g.waitingFor()) > 0 {
		return nil, false
	}
	table := make([]rpc.Member, len(g.members))
	for i, id := range g.members {
		table[i] = rpc.Member{ID: id, Instance: g.heard[id]}
	}
	return table, true
}
