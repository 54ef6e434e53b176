package busclient

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// I12, F13, F14, F23: who is let in, and what the others are told.
func TestOnlyTheKnownProcessIsLetIn(t *testing.T) {
	table := tableOf("n1", "n2")
	r := newRoster(rpc.ClusterIDOf(table), table, nil)
	good := rpc.Header{Cluster: r.cluster, From: "n2", To: "n1", Instance: instanceOf("n2"), Boot: epoch(5, 77)}
	require.Equal(t, noFault, r.judge(&good, false))

	for _, c := range []struct {
		name   string
		change func(*rpc.Header)
		want   fault
		remedy string
	}{
		{"the same again", func(*rpc.Header) {}, noFault, ""},
		{"unknown", func(h *rpc.Header) { h.From = "n9" }, unknownSender, "list the node as a member"},
		{"another cluster", func(h *rpc.Header) { h.Cluster[0]++ }, otherCluster, "give each cluster its own prefix"},
		{"no table, no ping", func(h *rpc.Header) { h.Cluster = rpc.ClusterID{} }, otherCluster, "give each cluster"},
		{"wiped disk", func(h *rpc.Header) { h.Instance[0]++ }, otherInstance, "its folder was wiped or replaced; put the old folder back, or replace the member"},
		{"earlier life", func(h *rpc.Header) { h.Boot = epoch(4, 99) }, earlierLife, "old backup"},
		{"copied folder", func(h *rpc.Header) { h.Boot = epoch(5, 78) }, copiedFolder, "stop the copy"},
		{"restarted", func(h *rpc.Header) { h.Boot = epoch(6, 1) }, noFault, ""},
		{"the life before", func(*rpc.Header) {}, earlierLife, "replace the member"},
	} {
		h := good
		c.change(&h)
		got := r.judge(&h, false)
		require.Equal(t, c.want, got, c.name)
		if c.remedy != "" {
			require.Contains(t, r.explain(got, &h), c.remedy, c.name)
		}
	}
	table[1].Instance[3]++
	replaced := newRoster(r.cluster, table, r)
	good.Instance = table[1].Instance
	good.Boot = epoch(1, 1)
	require.Equal(t, noFault, replaced.judge(&good, false), "a new instance begins to count anew")
}

func TestAPingNeedsNoTable(t *testing.T) {
	table := tableOf("n1", "n2")
	r := newRoster(rpc.ClusterIDOf(table), table, nil)
	h := rpc.Header{From: "n2", To: "n1", Instance: instanceOf("n2"), Boot: epoch(1, 1)}
	require.Equal(t, noFault, r.judge(&h, true))
	h.Instance[0]++
	require.Equal(t, otherInstance, r.judge(&h, true), "a wiped disk has no table either")
}

func TestAdmittingAgainForgetsNoBoot(t *testing.T) {
	table := tableOf("n1", "n2")
	r := newRoster(rpc.ClusterIDOf(table), table, nil)
	h := rpc.Header{Cluster: r.cluster, From: "n2", To: "n1", Instance: instanceOf("n2"), Boot: epoch(5, 77)}
	require.Equal(t, noFault, r.judge(&h, false))
	h.Boot = epoch(5, 78)
	require.Equal(t, copiedFolder, newRoster(r.cluster, table, r).judge(&h, false))
}

func TestEveryFaultHasANameAndARemedy(t *testing.T) {
	r := newRoster(rpc.ClusterID{}, tableOf("n2"), nil)
	for f := malformed; f < faults; f++ {
		require.NotEmpty(t, f.String())
		if f != lateReturn { // counted only: one follows each timeout
			require.NotEmpty(t, r.explain(f, &rpc.Header{From: "n2"}), f.String())
		}
	}
}

func TestDropsAreToldOncePerPeerAndFault(t *testing.T) {
	told := 0
	d := drops{log: testLog(t), told: map[toldKey]bool{}}
	for range 3 {
		d.drop("n2", otherCluster, func() string { told++; return "" })
		d.drop("n2", otherInstance, func() string { told++; return "" })
		d.drop("n3", otherCluster, func() string { told++; return "" })
	}
	require.Equal(t, 3, told)
	require.Equal(t, uint64(6), d.byName()["other cluster"])
	for i := range 2 * toldMax {
		d.drop(rpc.NodeID(rune(i+1000)), unknownSender, func() string { told++; return "" })
	}
	require.Equal(t, toldMax, told, "senders choose their names: what is remembered of them is bounded")
}
