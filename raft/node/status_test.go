package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

// peer is what a leader's status says of one.
func (m *manual) peer(id rpc.NodeID) raft.PeerStatus {
	for _, p := range m.leader().Status().Peers {
		if p.ID == id {
			return p
		}
	}
	m.t.Fatalf("the leader does not know %s", id)
	return raft.PeerStatus{}
}

// What a leader says of its peers is as fresh as some ticks, also while nothing is written and nobody changes.
func TestStatusOfPeersIsFresh(t *testing.T) {
	m := newManual(t, 1, "n1", "n2", "n3")
	m.add(1, 2, 3)
	away := m.follower()
	m.agree()
	m.run(2 * viewTicks)
	last := m.leader().Status().Last
	require.Equal(t, last, m.peer(away).Match)
	m.crash(away)
	m.run(2 * viewTicks)
	require.False(t, m.peer(away).Connected)
	m.add(4)
	m.run(2 * viewTicks)
	require.Equal(t, last, m.peer(away).Match)
	for _, id := range m.rest(away) {
		if id != m.leader().id() {
			require.Equal(t, m.leader().Status().Last, m.peer(id).Match)
		}
	}
}

// A snapshot on its way is in the leader's status, as far as it has come, and is gone from it when it is there.
func TestStatusOfStreams(t *testing.T) {
	m, away := behind(t, 1)
	require.Empty(t, m.leader().Status().Streams)
	m.back(away, 50)
	m.receiving(away)
	m.run(viewTicks)
	list := m.leader().Status().Streams
	require.Len(t, list, 1)
	require.Equal(t, away, list[0].Peer)
	require.NotZero(t, list[0].Snapshot)
	require.GreaterOrEqual(t, list[0].Sent, list[0].Stored)
	require.Positive(t, list[0].Stored)
	m.agree()
	m.run(2 * viewTicks)
	require.Empty(t, m.leader().Status().Streams)
}
