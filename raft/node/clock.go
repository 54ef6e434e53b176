package node

import (
	"maps"
	"slices"
	"time"

	"github.com/raftbus/raftbus/raft/rpc"
)

// clock is the cluster's time: the median of the voters' clocks, as pings report them (design section 6). No single clock
// that is wrong can move it far (F24). Owned by the loop.
type clock struct {
	now     func() time.Time
	offsets map[rpc.NodeID]heardClock
	members *rpc.Configuration // whose voters' clocks count; nil: all that are heard
	sorted  []time.Duration    // reused
}

type heardClock struct {
	offset time.Duration // the peer's clock less this node's
	at     time.Time
}

// clockFresh is how long a peer's clock counts after it was last heard.
const clockFresh = 10 * time.Second

func newClock(now func() time.Time) *clock {
	return &clock{now: now, offsets: map[rpc.NodeID]heardClock{}}
}

func (c *clock) hear(peer rpc.NodeID, offset time.Duration) {
	c.offsets[peer] = heardClock{offset, c.now()}
}

// of says who the members are. What a learner tells is kept, for when it is a voter.
func (c *clock) of(members rpc.Configuration) {
	c.members = &members
	maps.DeleteFunc(c.offsets, func(id rpc.NodeID, _ heardClock) bool { _, member := members.Member(id); return !member })
}

func (c *clock) counts(peer rpc.NodeID) bool { return c.members == nil || c.members.Voter(peer) }

// median is the cluster's time now, in nanoseconds since 1970 UTC. Of an even number of clocks the earlier middle one
// counts: so that nothing expires too soon.
func (c *clock) median() int64 {
	now := c.now()
	return now.Add(c.ahead(now)).UnixNano()
}

// ahead is how far that is ahead of this node's clock.
func (c *clock) ahead(now time.Time) time.Duration {
	c.sorted = append(c.sorted[:0], 0)
	for peer, h := range c.offsets {
		if now.Sub(h.at) < clockFresh && c.counts(peer) {
			c.sorted = append(c.sorted, h.offset)
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
