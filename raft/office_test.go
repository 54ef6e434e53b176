package raft

// A leader of any configuration, alone: the test plays all others. For tests of membership, snapshots and transfers.

import (
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

// disk2 is n2 on another disk than the one it began with.
var disk2 = rpc.Member{ID: "n2", Instance: rpc.InstanceID{2}}

// inOffice is n1, leader of term 2 by a configuration, with all others in step and all committed and applied: one entry.
func inOffice(t testing.TB, conf rpc.Configuration) *solo {
	c := start(rpc.HardState{Term: 1})
	c.Configurations = []rpc.Configuration{conf}
	s := newSolo(t, c)
	s.linked()
	s.tickFor(c.Ticks.ElectionMin)
	s.everyone(2, preGranted())
	s.synced()
	s.everyone(2, granted())
	s.synced()
	require.Equal(t, Leader, s.role)
	s.inStep()
	return s
}

// linked brings all links up.
func (s *solo) linked() {
	s.t.Helper()
	for _, m := range s.members.roster {
		s.turn(LinkChanged{m.ID, true})
	}
}

// everyone brings the same message from each peer.
func (s *solo) everyone(term rpc.Term, body rpc.Body) {
	s.t.Helper()
	for _, m := range s.peers {
		s.hearAs(m, term, body)
	}
}

// hearAs brings a message from a member, by its instance.
func (s *solo) hearAs(m rpc.Member, term rpc.Term, body rpc.Body) *Effects {
	s.t.Helper()
	e := from2(m.ID, s.id, term, body)
	e.Message.Instance = m.Instance
	return s.turn(e)
}

// inStep syncs, and lets everybody acknowledge everything, until nothing is left to commit or apply.
func (s *solo) inStep() {
	s.t.Helper()
	for rounds := 0; s.role == Leader && (s.commit < s.log.last || s.applied < s.commit || s.log.synced < s.log.last); rounds++ {
		require.Less(s.t, rounds, 10)
		s.synced()
		s.everyone(s.hard.Term, &rpc.AppendLogReturn{Accepted: true, Match: s.log.last})
		for s.applying > s.applied {
			s.turn(ApplyDone{s.applying})
		}
	}
}

// asks puts a change to the core.
func (s *solo) asks(ch Change) Reconfigured {
	s.t.Helper()
	return s.turn(Reconfigure{Ticket: 1, Change: ch}).Reconfigured[0]
}

// voters and learners name who is what by the configuration in force.
func (s *solo) voters() []rpc.NodeID   { return rpc.IDs(s.conf.Voters) }
func (s *solo) learners() []rpc.NodeID { return rpc.IDs(s.conf.Learners) }

// changing is the entry of a configuration.
func changing(term rpc.Term, conf rpc.Configuration) rpc.Entry {
	conf.Cluster = rpc.ClusterIDOf(members("n1", "n2", "n3"))
	return rpc.Entry{Index: conf.Index, Term: term, Kind: rpc.EntryConfiguration, Data: rpc.AppendConfiguration(nil, &conf)}
}

// at3 makes a configuration that stands at index 3.
func at3(conf rpc.Configuration) rpc.Configuration { conf.Index = 3; return conf }
