package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// An entry's milestones are those of the batch that it was in, of the newest batches.
func TestMilestones(t *testing.T) {
	m := &milestones{}
	n := &Node{marks: m}
	began := time.Now()
	for i := range rpc.Index(milestonesMax + 10) {
		m.synced(10*(i+1), began.Add(time.Duration(i)))
		m.committed(10 * (i + 1))
		m.committed(10 * (i + 1)) // a turn that commits nothing
	}
	require.Equal(t, milestonesMax, m.syncs.count)
	require.Equal(t, milestonesMax, m.commits.count)
	last := rpc.Index(10 * (milestonesMax + 10))
	got := n.Milestones(last - 9)
	require.Equal(t, began.Add(milestonesMax+9), got.SyncBegan)
	require.False(t, got.SyncEnded.Before(began))
	require.False(t, got.Committed.Before(began))
	require.Equal(t, began.Add(milestonesMax+8), n.Milestones(last-10).SyncBegan)
	require.Zero(t, n.Milestones(last+1))
	oldest := rpc.Index(10 * 11)
	require.Equal(t, began.Add(10), n.Milestones(oldest).SyncBegan)
	require.Equal(t, began.Add(10), n.Milestones(1).SyncBegan, "of what came before, the first that is remembered")
	require.Zero(t, (&Node{}).Milestones(1))
	var none *milestones
	none.synced(1, began)
	none.committed(1)
}

// What a log that was cut held is not remembered: an entry's milestones are those of the one that has its place now.
func TestMilestonesOfALogThatWasCut(t *testing.T) {
	m := &milestones{}
	n := &Node{marks: m}
	began := time.Now()
	for i := range rpc.Index(2 * milestonesMax) {
		m.synced(i+1, began.Add(time.Duration(i)))
	}
	const cut = 2*milestonesMax - 100
	m.synced(cut, began.Add(time.Hour))
	require.Equal(t, began.Add(time.Hour), n.Milestones(cut).SyncBegan)
	require.Equal(t, began.Add(cut-2), n.Milestones(cut-1).SyncBegan)
	require.Zero(t, n.Milestones(cut+1))
	m.synced(1, began.Add(2*time.Hour))
	require.Equal(t, 1, m.syncs.count)
	require.Equal(t, began.Add(2*time.Hour), n.Milestones(1).SyncBegan)
}
