package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

// An entry of a kind that this build does not know stops the node before any of its run is applied: it is never skipped (F28).
func TestUnknownKindStopsTheNode(t *testing.T) {
	machine := &sum{}
	a := &applier{machine: machine, waiters: &waiters{}, spot: newSpot(func() {}), report: func(raft.Event, bool) bool { t.Error("it was applied"); return false }}
	entries := []rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryNoop}, {Index: 2, Term: 1, Kind: 200}}
	a.submit(applyWork{run: raft.Apply{From: 1, To: 2, Entries: entries}}, false)
	_, err := a.step()
	require.ErrorContains(t, err, "kind 200")
	require.ErrorContains(t, err, "run the version that wrote it")
	require.Zero(t, machine.Applied())
}
