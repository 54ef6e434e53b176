package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
)

func gatheringOf(t *testing.T, self rpc.NodeID, members ...rpc.NodeID) *gathering {
	c, err := config.Validate(config.Config{NodeID: self, MemberIDs: members})
	require.NoError(t, err)
	return newGathering(rpc.Member{ID: self, Instance: instance(self)}, c.Members())
}

func instance(id rpc.NodeID) (i rpc.InstanceID) { copy(i[:], id); return i }

// Nobody has a table before all were heard from (design section 4, Identity).
func TestGatheringNeedsAll(t *testing.T) {
	g := gatheringOf(t, "n1", "n1", "n2", "n3")
	require.Equal(t, []rpc.NodeID{"n2", "n3"}, g.waitingFor())
	g.hear(busclient.Pinged{Peer: "n2", Instance: instance("n2")})
	_, complete := g.table()
	require.False(t, complete)
	g.hear(busclient.Pinged{Peer: "n9", Instance: instance("n9")}) // a stranger
	g.hear(busclient.Pinged{Peer: "n3", Err: rpc.ErrMalformed})
	require.Equal(t, []rpc.NodeID{"n3"}, g.waitingFor())
	g.hear(busclient.Pinged{Peer: "n3", Instance: instance("n3")})
	table, complete := g.table()
	require.True(t, complete)
	require.Equal(t, []rpc.Member{{ID: "n1", Instance: instance("n1")}, {ID: "n2", Instance: instance("n2")}, {ID: "n3", Instance: instance("n3")}}, table)
}

func tableOf(ids ...rpc.NodeID) []rpc.Member {
	var table []rpc.Member
	for _, id := range ids {
		table = append(table, rpc.Member{ID: id, Instance: instance(id)})
	}
	return table
}

// A table that a peer has is as good as hearing from all, if it knows this very folder.
func TestGatheringTakesATable(t *testing.T) {
	g := gatheringOf(t, "n1", "n1", "n2", "n3")
	g.hear(busclient.Pinged{Peer: "n2", Refusal: "two processes"})
	g.hear(busclient.Pinged{Peer: "n2", Cluster: rpc.ClusterID{1}, Configuration: &rpc.Configuration{Voters: tableOf("n1", "n2", "n3")}})
	_, complete := g.table()
	require.True(t, complete)
}

// A wiped folder is known by another instance: it never gets a table, and is told why (D3, K11).
func TestGatheringRefusedWhenWiped(t *testing.T) {
	g := gatheringOf(t, "n1", "n1", "n2", "n3")
	table := tableOf("n1", "n2", "n3")
	table[0].Instance = instance("old")
	g.hear(busclient.Pinged{Peer: "n3", Instance: instance("n3")})
	g.hear(busclient.Pinged{Peer: "n2", Instance: instance("n2"), Cluster: rpc.ClusterID{1}, Configuration: &rpc.Configuration{Voters: table}})
	_, complete := g.table()
	require.False(t, complete)
	require.Contains(t, g.refused["n2"], "wiped")
	require.Contains(t, g.refused["n2"], "delete their data folders, and begin again", "nobody is in a term, as far as n2 says")
	g.hear(busclient.Pinged{Peer: "n2", Instance: instance("n2"), Cluster: rpc.ClusterID{1}, Term: 1, Configuration: &rpc.Configuration{Voters: table}})
	require.Contains(t, g.refused["n2"], "raftbus member replace")
	require.NotContains(t, g.refused["n2"], "begin again")
}

// Tables of other members refuse each other and name the remedy (F27).
func TestGatheringRefusesOtherMembers(t *testing.T) {
	g := gatheringOf(t, "n1", "n1", "n2", "n3")
	g.hear(busclient.Pinged{Peer: "n2", Cluster: rpc.ClusterID{1}, Configuration: &rpc.Configuration{Voters: tableOf("n1", "n2")}})
	_, complete := g.table()
	require.False(t, complete)
	require.Contains(t, g.refused["n2"], "--members")
	g.hear(busclient.Pinged{Peer: "n2", Refusal: "two processes"})
	require.Equal(t, "two processes", g.refused["n2"])
}

// While a member refuses this node there is no table, though all were heard from; once it does not, there is.
func TestGatheringWaitsForWhoRefuses(t *testing.T) {
	g := gatheringOf(t, "n1", "n1", "n2", "n3")
	g.hear(busclient.Pinged{Peer: "n2", Instance: instance("n2")})
	g.hear(busclient.Pinged{Peer: "n2", Refusal: "two processes"})
	g.hear(busclient.Pinged{Peer: "n3", Instance: instance("n3")})
	require.Empty(t, g.waitingFor())
	_, complete := g.table()
	require.False(t, complete)
	g.hear(busclient.Pinged{Peer: "n2", Instance: instance("n2")})
	_, complete = g.table()
	require.True(t, complete)
}

// A configuration that is later than the table is joined, as it is: a table of its members would be another cluster's (F14).
func TestGatheringJoinsWhatIsLater(t *testing.T) {
	g := gatheringOf(t, "n1", "n1", "n2", "n3")
	replaced := tableOf("n1", "n2", "n3")
	replaced[1].Instance = instance("other")
	later := rpc.Configuration{Cluster: rpc.ClusterID{1}, Index: 7, Voters: replaced}
	g.hear(busclient.Pinged{Peer: "n3", Cluster: rpc.ClusterID{1}, Configuration: &later})
	require.Equal(t, &learned{rpc.ClusterID{1}, later}, g.later)
	_, complete := g.table()
	require.False(t, complete)
}
