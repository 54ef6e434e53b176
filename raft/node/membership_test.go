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
