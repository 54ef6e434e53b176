package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

func memberOf(ids ...rpc.NodeID) []rpc.Member {
	var list []rpc.Member
	for _, id := range ids {
		list = append(list, rpc.Member{ID: id, Instance: instance(id)})
	}
	return list
}

var table = rpc.Configuration{Voters: memberOf("n1", "n2", "n3")}

// later is a configuration of the table's cluster.
func later(i rpc.Index, voters []rpc.Member, learners ...rpc.Member) rpc.Configuration {
	return rpc.Configuration{Cluster: rpc.ClusterIDOf(table.Voters), Index: i, Voters: voters, Learners: learners}
}

func TestStanding(t *testing.T) {
	self := memberOf("n1")[0]
	without := later(5, memberOf("n2", "n3"))
	again := later(7, memberOf("n2", "n3"), self)
	other := later(9, memberOf("n2", "n3"), rpc.Member{ID: "n1", Instance: instance("other")})
	require.Equal(t, StandingVoter, standingOf(self, &table, &table))
	require.Equal(t, StandingVoter, standingOf(self, &table, &without), "a removal counts once it is committed")
	require.Equal(t, StandingRemoved, standingOf(self, &without, &without))
	require.Equal(t, StandingLearner, standingOf(self, &without, &again), "it was added again")
	require.Equal(t, StandingRemoved, standingOf(self, &without, &table), "what a peer told is later than the log")
	require.Equal(t, StandingRemoved, standingOf(self, &other, &other), "another folder has its id")
}

// Of what peers tell of the members the latest counts, and only of this cluster: it is what this node tells those who ping it (I12).
func TestOfWhatPeersTellTheLatestCounts(t *testing.T) {
	m := newManual(t, 1, "n1", "n2", "n3")
	m.leader()
	n := m.hub.nodes["n1"]
	own := n.Status().Cluster
	tells := func(cluster rpc.ClusterID, i rpc.Index) rpc.Index {
		n.Learned(cluster, rpc.Configuration{Cluster: cluster, Index: i, Voters: []rpc.Member{m.member("n1"), m.member("n2"), m.member("n3")}})
		_, err := m.steps["n1"].Turn(0)
		require.NoError(t, err)
		return n.PingContent().Configuration.Index
	}
	require.Equal(t, rpc.Index(800), tells(own, 800))
	require.Equal(t, rpc.Index(800), tells(own, 700))
	require.Equal(t, rpc.Index(800), tells(rpc.ClusterID{1}, 900))
	require.Equal(t, rpc.Index(900), tells(own, 900))
}
