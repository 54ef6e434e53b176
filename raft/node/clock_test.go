package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// clockAt is a clock of somebody whose own shows the time that is returned, and whose peers are ahead as told.
func clockAt(second int64) (c *clock, now *time.Time, hear func(rpc.NodeID, time.Duration)) {
	at := time.Unix(second, 0)
	c = newClock(func() time.Time { return at })
	return c, &at, func(peer rpc.NodeID, ahead time.Duration) { c.hear(peer, at.Add(ahead).UnixNano(), at) }
}

// The cluster's time is the median of the clocks heard lately: one wrong clock does not move it (F24).
func TestClockIsTheMedian(t *testing.T) {
	c, now, hear := clockAt(1000)
	at := func(ahead time.Duration) int64 { return now.Add(ahead).UnixNano() }
	require.Equal(t, at(0), c.reading(*now))
	hear("n2", time.Hour)
	require.Equal(t, at(0), c.reading(*now), "of two the earlier")
	hear("n3", 2*time.Second)
	require.Equal(t, at(2*time.Second), c.reading(*now))
	*now = now.Add(10*time.Second - 1)
	require.Equal(t, at(2*time.Second), c.reading(*now), "clocks go on")
	*now = now.Add(1)
	require.Equal(t, at(0), c.reading(*now), "clocks not heard for long do not count")
}

// A learner's clock, and that of a node which was removed, are no voters': three whose clocks are wrong do not move the time (F24).
func TestOnlyClocksOfVotersCount(t *testing.T) {
	c, now, hear := clockAt(1000)
	of := func(voters, learners []rpc.Member) { c.of(rpc.Configuration{Voters: voters, Learners: learners}) }
	ahead := func() time.Duration { return time.Duration(c.reading(*now) - now.UnixNano()) }
	of(tableOf("n1", "n2", "n3"), tableOf("n4", "n5"))
	for peer, by := range map[rpc.NodeID]time.Duration{"n2": time.Second, "n3": 2 * time.Second, "n4": time.Hour, "n5": time.Hour, "n6": time.Hour} {
		hear(peer, by)
	}
	require.Equal(t, time.Second, ahead())
	of(tableOf("n1", "n2", "n3", "n4", "n5"), nil)
	require.Equal(t, 2*time.Second, ahead(), "as voters they count at once")
	of(tableOf("n1"), nil)
	require.Zero(t, ahead())
	require.Empty(t, c.heard, "nothing is kept of who is no member")
}

// A log that is ahead of the clocks, which were ahead and have been put back, gets on all the same, at half the pace of time, and they come up with it: what
// is to end in two hours waited three otherwise (F24). Entries hold it up no more than silence does.
func TestALogAheadOfTheClocksGetsOn(t *testing.T) {
	c, now, _ := clockAt(10_000)
	after := func(s int64) int64 { *now = now.Add(time.Duration(s) * time.Second); return c.reading(*now) }
	seconds := int64(time.Second)
	c.follow(13_600*seconds, *now)
	require.Equal(t, 13_600*seconds, after(0))
	require.Equal(t, 13_610*seconds, after(20))
	require.Equal(t, 13_614*seconds, after(8))
	c.follow(13_610*seconds, *now) // an entry has been given what it was then
	require.Equal(t, 13_615*seconds, after(2))
	c.follow(13_610*seconds, *now) // is still the last
	require.Equal(t, 13_620*seconds, after(10))
	c.follow(13_000*seconds, *now) // those ahead were never committed
	require.Equal(t, 13_010*seconds, after(20))
	require.Equal(t, 16_060*seconds, after(6_000), "the clocks are ahead of the log again")
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
