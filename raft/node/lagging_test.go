package node

// State machines that hang, while the logs of their nodes do not (L5).

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// Another leads soon, and takes writes.
func TestWritesGoOnWhenTheLeadersStateMachineHangs(t *testing.T) {
	for seed := range uint64(3) {
		c := newCrowded(t, seed)
		c.add(1, 2)
		first := c.leader()
		c.hung[first.id()] = true
		require.NoError(t, first.Propose([]byte("12345678"), func(any, rpc.EntryID) {}))
		c.pass(2*first.ticks().ElectionMax + 80)
		require.NotEqual(t, first.id(), c.leader().id(), c.trail.String())
		c.add(3, 4)
		require.NotEqual(t, first.id(), c.leader().id(), c.trail.String())
	}
}

// The only log that can win is that of a node whose state machine hangs. It leads until another has what it lacks, and that one takes writes: within ten
// election timeouts (L8).
func TestWhoLagsHandsOverWhatOnlyItHas(t *testing.T) {
	for seed := range uint64(3) {
		c := newCrowded(t, seed)
		c.add(1, 2)
		first := c.leader()
		rest := c.others(first.id())
		behind, hung := rest[0], rest[1]
		c.crash(behind)
		c.hung[hung] = true
		c.add(3, 4)
		c.pass(2 * first.ticks().ElectionMax)
		require.Equal(t, lackState, c.hub.nodes[hung].lack())
		c.crash(first.id())
		c.back(behind, 99)
		c.pass(10 * first.ticks().ElectionMin)
		require.Equal(t, behind, c.leader().id(), c.trail.String())
		c.add(5, 6)
	}
}

// Where all wait alike, as for disks that are slow for all, nobody else could answer either: the leader stays (F26).
func TestTheLeaderStaysWhileAllStateMachinesHang(t *testing.T) {
	for seed := range uint64(3) {
		c := newCrowded(t, seed)
		c.add(1, 2)
		first, term := c.leader(), c.leader().Status().Term
		for _, id := range c.ids {
			c.hung[id] = true
		}
		require.NoError(t, first.Propose([]byte("12345678"), func(any, rpc.EntryID) {}))
		c.pass(5 * first.ticks().ElectionMax)
		require.Equal(t, first.id(), c.leader().id(), c.trail.String())
		clear(c.hung)
		c.add(3, 4)
		require.Equal(t, term, c.leader().Status().Term, c.trail.String())
	}
}
