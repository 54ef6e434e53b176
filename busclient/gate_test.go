package busclient

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// I12, F13, F14, F23: who is let in, and what the others are told.
func TestOnlyTheKnownProcessIsLetIn(t *testing.T) {
	table := tableOf("n1", "n2")
	known := newStarts(nil)
	r := newRoster(rpc.ClusterIDOf(table), table, known)
	good := rpc.Header{Cluster: r.cluster, From: "n2", To: "n1", Instance: instanceOf("n2"), Boot: epoch(5, 77)}
	require.Equal(t, unprovenStart, r.judge(&good, false))
	for _, none := range []rpc.BootEpoch{0, epoch(0, 5)} {
		h := good
		h.Boot = none
		require.Equal(t, earlierLife, r.judge(&h, false), "no start is not the one that nobody has proven yet")
		require.False(t, r.prove(identityOf(&h)))
	}
	require.True(t, r.prove(identityOf(&good)))
	require.Equal(t, noFault, r.judge(&good, false))
	require.False(t, r.prove(identityOf(&good)), "it was proven")

	for _, c := range []struct {
		name   string
		change func(*rpc.Header)
		want   fault
		remedy string
	}{
		{"the same again", func(*rpc.Header) {}, noFault, ""},
		{"unknown", func(h *rpc.Header) { h.From = "n9" }, unknownSender, "`raftbus member add n9`"},
		{"another cluster", func(h *rpc.Header) { h.Cluster[0]++ }, otherCluster, "give each cluster its own prefix"},
		{"no table, no ping", func(h *rpc.Header) { h.Cluster = rpc.ClusterID{} }, otherCluster, "give each cluster"},
		{"wiped disk", func(h *rpc.Header) { h.Instance[0]++ }, otherInstance, "its folder was wiped or replaced; put the old folder back, or replace the member"},
		{"earlier life", func(h *rpc.Header) { h.Boot = epoch(4, 99) }, earlierLife, "old backup"},
		{"copied folder", func(h *rpc.Header) { h.Boot = epoch(5, 78) }, copiedFolder, "stop the copy"},
		{"restarted", func(h *rpc.Header) { h.Boot = epoch(6, 1) }, unprovenStart, "it is asked"},
		{"still the same", func(*rpc.Header) {}, noFault, ""},
	} {
		h := good
		c.change(&h)
		got := r.judge(&h, false)
		require.Equal(t, c.want, got, c.name)
		if c.remedy != "" {
			require.Contains(t, r.explain(got, &h), c.remedy, c.name)
		}
	}
	for _, boot := range []rpc.BootEpoch{epoch(4, 99), epoch(5, 78)} {
		h := good
		h.Boot = boot
		require.False(t, r.prove(identityOf(&h)))
	}
	later := good
	later.Boot = epoch(6, 1)
	require.True(t, r.prove(identityOf(&later)))
	require.Equal(t, noFault, r.judge(&later, false))
	require.Equal(t, earlierLife, r.judge(&good, false), "the life before")
	require.False(t, r.prove(identityOf(&good)))
	other := later
	other.Instance[0]++
	other.Boot = epoch(9, 9)
	require.False(t, r.prove(identityOf(&other)), "another instance proves nothing")
	other.From = "n9"
	require.False(t, r.prove(identityOf(&other)))

	require.True(t, known.note(Identity{"n2", instanceOf("n2"), epoch(6, 1)}))
	table[1].Instance[3]++
	replaced := newRoster(r.cluster, table, known)
	good.Instance = table[1].Instance
	good.Boot = epoch(1, 1)
	require.True(t, replaced.prove(identityOf(&good)), "a new instance begins to count anew")
}

// Before a first boot is through there may be nobody who could replace a member: the remedy says so, until this node is in a term.
func TestARemedyBeforeTheFirstBootIsThrough(t *testing.T) {
	table, term := tableOf("n1", "n2"), rpc.Term(0)
	conf := &rpc.Configuration{Voters: table}
	s := &Service{content: func() PingContent { return PingContent{Term: term, Configuration: conf} }}
	r := newRoster(rpc.ClusterIDOf(table), table, newStarts(nil))
	wiped := rpc.Header{From: "n2", To: "n1", Cluster: r.cluster, Instance: rpc.InstanceID{9}, Boot: epoch(1, 1)}
	for _, why := range []fault{otherInstance, otherCluster} {
		require.Contains(t, s.explain(r, why, &wiped), UnsealedRemedy)
		require.LessOrEqual(t, len(s.explain(r, why, &wiped)), rpc.MaxRefusalBytes)
	}
	require.NotContains(t, s.explain(r, copiedFolder, &wiped), UnsealedRemedy)
	term = 1
	require.NotContains(t, s.explain(r, otherInstance, &wiped), UnsealedRemedy)
	term, conf = 0, &rpc.Configuration{Index: 4, Voters: table}
	require.NotContains(t, s.explain(r, otherInstance, &wiped), UnsealedRemedy, "a node that has just joined")
}

func TestAPingNeedsNoTable(t *testing.T) {
	table := tableOf("n1", "n2")
	r := newRoster(rpc.ClusterIDOf(table), table, newStarts([]Identity{{"n2", instanceOf("n2"), epoch(1, 1)}}))
	h := rpc.Header{From: "n2", To: "n1", Instance: instanceOf("n2"), Boot: epoch(1, 1)}
	require.Equal(t, noFault, r.judge(&h, true))
	h.Instance[0]++
	require.Equal(t, otherInstance, r.judge(&h, true), "a wiped disk has no table either")
}

func TestEveryFaultHasANameAndARemedy(t *testing.T) {
	r := newRoster(rpc.ClusterID{}, tableOf("n2"), newStarts(nil))
	for f := malformed; f < faults; f++ {
		require.NotEmpty(t, f.String())
		if f != lateReturn && f != forOthers { // counted only: one follows each timeout, and much is for others
			require.NotEmpty(t, r.explain(f, &rpc.Header{From: "n2"}), f.String())
		}
	}
}

// Who was a member when it was judged, and is none any more, is a stranger.
func TestAFaultOfWhoLeftMeanwhileIsExplained(t *testing.T) {
	r := newRoster(rpc.ClusterID{}, tableOf("n2"), newStarts(nil))
	for _, f := range []fault{otherInstance, earlierLife} {
		require.Contains(t, r.explain(f, &rpc.Header{From: "n9"}), "member add n9")
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
