package node

import (
	"fmt"
	"slices"
	"strings"

	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
)

// gathering is a node's first boot: it collects the table id -> instance from all listed members, and has no part in
// consensus until that is durable (design section 4, Identity; D3, K11, F27). A step machine without I/O.
type gathering struct {
	self    rpc.Member
	members []rpc.NodeID
	heard   map[rpc.NodeID]rpc.InstanceID
	refused map[rpc.NodeID]string // by whom this node is refused, and why
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
func (g *gathering) hear(p ping) {
	switch {
	case p.refusal != "":
		g.refused[p.peer] = p.refusal
	case p.err != nil || !slices.Contains(g.members, p.peer):
	case len(p.table) > 0:
		g.hearTable(p)
	case p.cluster == (rpc.ClusterID{}):
		g.heard[p.peer] = p.instance
		delete(g.refused, p.peer)
	}
}

// hearTable adopts a peer's table if it is of these members and knows this very data directory. Then it was heard from
// all of them, this one included, by the peer.
func (g *gathering) hearTable(p ping) {
	delete(g.refused, p.peer)
	var theirs []rpc.NodeID
	for _, m := range p.table {
		theirs = append(theirs, m.ID)
		if m.ID == g.self.ID && m.Instance != g.self.Instance {
			g.refused[p.peer] = fmt.Sprintf("the cluster knows %s by data folder instance %s, this folder is %s: it was wiped or replaced; put the old folder back, or replace the member", m.ID, m.Instance, g.self.Instance)
			return
		}
	}
	if !slices.Equal(theirs, g.members) {
		g.refused[p.peer] = fmt.Sprintf("its members are %s, this node was given %s: start all with the same --members", join(theirs), join(g.members))
		return
	}
	for _, m := range p.table {
		g.heard[m.ID] = m.Instance
	}
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

func join(ids []rpc.NodeID) string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = string(id)
	}
	return strings.Join(list, ",")
}
