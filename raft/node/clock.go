package node

// What time it is for the cluster: the leader gives it to entries, and keys expire by it. No rule of consensus reads it.

import (
	"maps"
	"slices"
	"time"

	"github.com/raftbus/raftbus/raft/rpc"
)

// clock is the cluster's time: the median of the voters' clocks, as pings report them (design section 6), that never goes back behind the log. No single clock
// that is wrong can move it far (F24), nor can this node's own: what others said is kept by this node's steady clock, which nobody sets,
// so when its own is set it is one that is wrong. Owned by the loop.
type clock struct {
	now     func() time.Time
	began   time.Time // of the steady clock
	heard   map[rpc.NodeID]heardClock
	members *rpc.Configuration // whose voters' clocks count; nil: all that are heard
	log     logTime            // from which the log's time goes on
	sorted  []int64            // reused
}

// logTime is the time of an entry that was the log's last.
type logTime struct {
	time int64         // in nanoseconds since 1970 UTC
	at   time.Duration // when it was heard of, by the steady clock
}

// heardClock is a peer's clock.
type heardClock struct {
	zero int64         // what it showed when the steady clock began, in nanoseconds since 1970 UTC
	at   time.Duration // when it was heard, by the steady clock
}

// clockFresh is how long a peer's clock counts after it was last heard.
const clockFresh = 10 * time.Second

func newClock(now func() time.Time) *clock {
	return &clock{now: now, began: now(), heard: map[rpc.NodeID]heardClock{}}
}

// steady is the steady clock at a time that this node's clock showed.
func (c *clock) steady(at time.Time) time.Duration { return at.Sub(c.began) }

// hear takes what a peer's clock showed, in nanoseconds since 1970 UTC, and when.
func (c *clock) hear(peer rpc.NodeID, showed int64, at time.Time) {
	steady := c.steady(at)
	c.heard[peer] = heardClock{showed - int64(steady), steady}
}

// of says who the members are. What a learner tells is kept, for when it is a voter.
func (c *clock) of(members rpc.Configuration) {
	c.members = &members
	maps.DeleteFunc(c.heard, func(id rpc.NodeID, _ heardClock) bool { _, member := members.Member(id); return !member })
}

func (c *clock) counts(peer rpc.NodeID) bool { return c.members == nil || c.members.Voter(peer) }

// follow takes the time of the log's last entry. One that the log's time had come to anyhow changes nothing: else each entry would hold it up.
func (c *clock) follow(last int64, now time.Time) {
	if last < c.log.time || last > c.gone(now) {
		c.log = logTime{last, c.steady(now)}
	}
}

// gone is what the log's time has come to.
func (c *clock) gone(now time.Time) int64 { return c.log.time + int64(c.steady(now)-c.log.at)/2 }

// reading is the cluster's time now, in nanoseconds since 1970 UTC: the median, unless the log is ahead of it, as where clocks were ahead and
// have been put back. The log's time goes on from there, at half its pace, so that what is to end does end, and the median comes up with it (F24).
func (c *clock) reading(now time.Time) int64 {
	return max(c.zero(now)+int64(c.steady(now)), c.gone(now))
}

// zero is what the median of the clocks showed when the steady clock began. Of an even number of clocks the earlier middle one counts: so that nothing
// expires too soon.
func (c *clock) zero(now time.Time) int64 {
	steady := c.steady(now)
	c.sorted = append(c.sorted[:0], now.UnixNano()-int64(steady))
	for peer, h := range c.heard {
		if steady-h.at < clockFresh && c.counts(peer) {
			c.sorted = append(c.sorted, h.zero)
		}
	}
	slices.Sort(c.sorted)
	return c.sorted[(len(c.sorted)-1)/2]
}

// metronome turns time into ticks. On a busy machine several come at once, so that timeouts keep their length.
type metronome struct {
	period time.Duration
	last   time.Time
}

// ticksAtOnceMax bounds how far time may jump: a process that was stopped (F16) first hears what waits for it.
const ticksAtOnceMax = 10

// ticks are how many periods have passed since they were last counted.
func (m *metronome) ticks(now time.Time) int {
	n := max(0, int(now.Sub(m.last)/m.period))
	if n > ticksAtOnceMax {
		m.last = now
		return ticksAtOnceMax
	}
	m.last = m.last.Add(time.Duration(n) * m.period)
	return n
}

// next is when so many periods have passed since they were last counted.
func (m *metronome) next(periods int) time.Time { return m.last.Add(time.Duration(periods) * m.period) }
