package node

// The second half of a first boot. A node that has made the table durable waits, without a term, until the table is sealed: every member
// has said, from its very data folder, that it holds the same one. So nothing is committed before all hold it. A member whose folder is lost
// finds nobody to make another table with (design section 4, Identity; D3, F23, F27).
//
// A table is sealed for a node that is in term 1 or later, on its disk. Whoever is in a term proves by it that all hold the table; whoever has a table
// and no term says only that it holds it itself. An older folder with a term, an entry or a later configuration counts as sealed. Pings say all of
// this.

import (
	"slices"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// sealedTerm is the term in which a node leaves its first boot. Nobody leads in it or votes.
const sealedTerm rpc.Term = 1

// sealing collects who holds the table. A step machine without I/O.
type sealing struct {
	table   rpc.Configuration
	cluster rpc.ClusterID
	holds   map[rpc.NodeID]bool
	refused map[rpc.NodeID]string // by whom this node is refused, and why
	proven  bool                  // somebody is past it
}

func newSealing(self rpc.NodeID, table rpc.Configuration) *sealing {
	return &sealing{table: table, cluster: table.ClusterID(), holds: map[rpc.NodeID]bool{self: true}, refused: map[rpc.NodeID]string{}}
}

// sealed reports whether a log was part of a cluster whose first boot is through.
func sealed(state *wal.State, base *rpc.Configuration) bool {
	return state.HardState.Term > 0 || state.Last.Index > 0 || base.Index > 0
}

// hear takes a peer's answer to a ping.
func (s *sealing) hear(p busclient.Pinged) {
	if p.Refusal != "" {
		s.refused[p.Peer] = p.Refusal
	}
	if p.Err != nil || p.Refusal != "" || p.Cluster != s.cluster || !isMember(&s.table, rpc.Member{ID: p.Peer, Instance: p.Instance}) {
		return
	}
	delete(s.refused, p.Peer)
	s.holds[p.Peer] = true
	s.proven = s.proven || p.Term > 0
}

// learn takes a committed configuration that a peer told of: one that a change has made was made by those who had sealed the table.
func (s *sealing) learn(l learned) {
	s.proven = s.proven || l.conf.ClusterID() == s.cluster && l.conf.Index > 0
}

// receive takes a message of consensus: nobody sends one before it is in a term.
func (s *sealing) receive(m *rpc.Message) {
	s.proven = s.proven || m.Term > 0 && isMember(&s.table, rpc.Member{ID: m.From, Instance: m.Instance})
}

// waitingFor lists the members that have not said that they hold the table.
func (s *sealing) waitingFor() (list []rpc.NodeID) {
	if s.proven {
		return nil
	}
	for _, m := range s.table.Voters {
		if !s.holds[m.ID] {
			list = append(list, m.ID)
		}
	}
	return list
}

// sealingText is what the operator of a first boot reads.
const sealingText = "first boot: the table of the members is made: waiting for members to hold it too, nobody votes before all do"

// holdTable begins the second half: this node's disk holds the table.
func (n *Node) holdTable(table rpc.Configuration) error {
	if err := n.beginFolder(); err != nil {
		return err
	}
	n.gathering, n.sealing = nil, newSealing(n.id(), table)
	n.cluster = n.sealing.cluster
	n.mu.Lock()
	n.conf, n.status.Cluster = &table, n.cluster
	n.mu.Unlock()
	n.bus.Admit(n.cluster, table.Voters)
	for _, m := range table.Voters {
		if m.ID != n.id() {
			n.send.ping(m.ID) // the news, and what it knows itself
		}
	}
	n.logger.Info(sealingText, "cluster", n.cluster.String(), "waiting_for", rpc.JoinIDs(n.sealing.waitingFor()))
	return nil
}

// hearSealing takes a ping meanwhile, and tells the operator who is awaited, whenever that changes.
func (n *Node) hearSealing(p busclient.Pinged) {
	s := n.sealing
	before, refused := rpc.JoinIDs(s.waitingFor()), s.refused[p.Peer]
	s.hear(p)
	if now := rpc.JoinIDs(s.waitingFor()); now != before && now != "" {
		n.logger.Info(sealingText, "cluster", n.cluster.String(), "waiting_for", now)
	}
	n.tellRefused(p.Peer, refused, s.refused[p.Peer])
}

// trySeal starts consensus, in a term that is durable, once the table is sealed.
func (n *Node) trySeal() error {
	if len(n.sealing.waitingFor()) > 0 {
		return nil
	}
	if err := n.o.Log.Append(wal.Batch{Group: onlyGroup, HardState: &rpc.HardState{Term: sealedTerm}}); err != nil {
		return err
	}
	n.logger.Info("first boot is through: all members hold the table", "members", names(n.sealing.table.Voters))
	n.sealing = nil
	n.mu.Lock()
	n.status.Founded = true
	n.mu.Unlock()
	return n.makeCore(n.o.Log.State(onlyGroup))
}

// messages leaves of events what peers have said of consensus.
func messages(events []raft.Event) []raft.Event {
	return slices.DeleteFunc(events, func(e raft.Event) bool {
		_, is := e.(raft.Received)
		return !is
	})
}
