package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
	g.hear(ping{peer: "n2", instance: instance("n2")})
	_, complete := g.table()
	require.False(t, complete)
	g.hear(ping{peer: "n9", instance: instance("n9")}) // a stranger
	g.hear(ping{peer: "n3", err: rpc.ErrMalformed})
	require.Equal(t, []rpc.NodeID{"n3"}, g.waitingFor())
	g.hear(ping{peer: "n3", instance: instance("n3")})
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
	g.hear(ping{peer: "n2", cluster: rpc.ClusterID{1}, conf: &rpc.Configuration{Voters: tableOf("n1", "n2", "n3")}})
	_, complete := g.table()
	require.True(t, complete)
}

// A wiped folder is known by another instance: it never gets a table, and is told why (D3, K11).
func TestGatheringRefusedWhenWiped(t *testing.T) {
	g := gatheringOf(t, "n1", "n1", "n2", "n3")
	table := tableOf("n1", "n2", "n3")
	table[0].Instance = instance("old")
	g.hear(ping{peer: "n3", instance: instance("n3")})
	g.hear(ping{peer: "n2", instance: instance("n2"), cluster: rpc.ClusterID{1}, conf: &rpc.Configuration{Voters: table}})
	_, complete := g.table()
	require.False(t, complete)
	require.Contains(t, g.refused["n2"], "wiped")
	require.Contains(t, g.refused["n2"], "delete their data folders, and begin again", "nobody is in a term, as far as n2 says")
	g.hear(ping{peer: "n2", instance: instance("n2"), cluster: rpc.ClusterID{1}, term: 1, conf: &rpc.Configuration{Voters: table}})
	require.Contains(t, g.refused["n2"], "raftbus member replace")
	require.NotContains(t, g.refused["n2"], "begin again")
}

// Tables of other members refuse each other and name the remedy (F27).
func TestGatheringRefusesOtherMembers(t *testing.T) {
	g := gatheringOf(t, "n1", "n1", "n2", "n3")
	g.hear(ping{peer: "n2", cluster: rpc.ClusterID{1}, conf: &rpc.Configuration{Voters: tableOf("n1", "n2")}})
	_, complete := g.table()
	require.False(t, complete)
	require.Contains(t, g.refused["n2"], "--members")
	g.hear(ping{peer: "n2", refusal: "two processes"})
	require.Equal(t, "two processes", g.refused["n2"])
}

// The cluster's time is the median of the clocks heard lately: one wrong clock does not move it (F24).
func TestClockIsTheMedian(t *testing.T) {
	now := time.Unix(1000, 0)
	c := newClock(func() time.Time { return now })
	at := func(offset time.Duration) int64 { return now.Add(offset).UnixNano() }
	require.Equal(t, at(0), c.median())
	c.hear("n2", time.Hour)
	require.Equal(t, at(0), c.median(), "of two the earlier")
	c.hear("n3", 2*time.Second)
	require.Equal(t, at(2*time.Second), c.median())
	now = now.Add(clockFresh)
	require.Equal(t, at(0), c.median(), "clocks not heard for long do not count")
}

// A learner's clock, and that of a node which was removed, are no voters': three learners whose clocks are wrong do not move the time.
func TestOnlyClocksOfVotersCount(t *testing.T) {
	now := time.Unix(1000, 0)
	c := newClock(func() time.Time { return now })
	of := func(voters, learners []rpc.Member) { c.of(rpc.Configuration{Voters: voters, Learners: learners}) }
	of(tableOf("n1", "n2", "n3"), tableOf("n4", "n5"))
	for peer, offset := range map[rpc.NodeID]time.Duration{"n2": time.Second, "n3": 2 * time.Second, "n4": time.Hour, "n5": time.Hour, "n6": time.Hour} {
		c.hear(peer, offset)
	}
	require.Equal(t, time.Second, c.ahead(now))
	of(tableOf("n1", "n2", "n3", "n4", "n5"), nil)
	require.Equal(t, 2*time.Second, c.ahead(now), "as voters they count at once")
	of(tableOf("n1"), nil)
	require.Zero(t, c.ahead(now))
	require.Empty(t, c.offsets, "nothing is kept of who is no member")
}

// While a member refuses this node there is no table, though all were heard from; once it does not, there is.
func TestGatheringWaitsForWhoRefuses(t *testing.T) {
	g := gatheringOf(t, "n1", "n1", "n2", "n3")
	g.hear(ping{peer: "n2", instance: instance("n2")})
	g.hear(ping{peer: "n2", refusal: "two processes"})
	g.hear(ping{peer: "n3", instance: instance("n3")})
	require.Empty(t, g.waitingFor())
	_, complete := g.table()
	require.False(t, complete)
	g.hear(ping{peer: "n2", instance: instance("n2")})
	_, complete = g.table()
	require.True(t, complete)
}

// Late ticks are made up for, a pause is not (F16).
func TestMetronome(t *testing.T) {
	start := time.Unix(1000, 0)
	m := metronome{period: 10 * time.Millisecond, last: start}
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	require.Equal(t, 0, m.ticks(at(9)))
	require.Equal(t, 1, m.ticks(at(10)))
	require.Equal(t, 3, m.ticks(at(45)))
	require.Equal(t, 1, m.ticks(at(50)), "the rest of a period counts")
	require.Equal(t, ticksAtOnceMax, m.ticks(at(10_000)))
	require.Equal(t, 0, m.ticks(at(10_009)), "a pause is over when it is over")
	require.Equal(t, 0, m.ticks(at(9_000)), "time does not go back")
}
