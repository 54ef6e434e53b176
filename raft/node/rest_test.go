package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// With ticks of 10 ms: a node that may sleep does, for no longer than it may, and what it slept through comes first.
func TestRest(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	r := rest{beat: metronome{period: 10 * time.Millisecond, last: start}, alarm: time.NewTimer(time.Hour)}
	defer r.alarm.Stop()
	r.plan(0)
	require.Equal(t, at(10), r.at)
	require.Equal(t, elapsed{due: 1}, r.passed(at(10)))
	r.plan(2)
	require.Equal(t, at(40), r.at, "the third tick may do something")
	require.Equal(t, elapsed{slept: 2, due: 1}, r.passed(at(40)))
	r.plan(100)
	require.Equal(t, at(90), r.at, "bounded")
	require.Equal(t, elapsed{slept: 3}, r.passed(at(75)), "a message came")
	r.plan(100)
	require.Equal(t, at(120), r.at)
	require.Equal(t, elapsed{slept: 4, due: 2}, r.passed(at(130)), "woken late")
	r.plan(100)
	r.plan(0)
	require.Equal(t, at(140), r.at, "something was asked, before the alarm")
	require.Equal(t, elapsed{}, r.missed(), "who is awake is woken for each tick")
	r.beat.last, r.quiet = time.Now().Add(-35*time.Millisecond), 2
	missed := r.missed()
	require.Equal(t, 2, missed.slept, "a message finds a node that sleeps")
	require.Positive(t, missed.due)
}

// An alarm that went off is set anew, also for the time that it was set for: nobody else wakes a node at rest.
func TestAnAlarmThatWentOffIsSetAnew(t *testing.T) {
	var r rest
	r.begin(time.Millisecond)
	for range 2 {
		select {
		case <-r.alarm.C:
		case <-time.After(10 * time.Second):
			require.FailNow(t, "it sleeps for ever")
		}
		r.rung()
		r.plan(0)
	}
	r.alarm.Stop()
}

func TestCalm(t *testing.T) {
	var r rest
	r.noteCalm(&batch{}, 3)
	r.noteCalm(&batch{}, 2)
	require.Equal(t, 5, r.calm)
	r.noteCalm(&batch{proposals: make([]proposal, 1)}, 1)
	require.Zero(t, r.calm)
	r.noteCalm(&batch{}, 3)
	r.noteCalm(&batch{reads: make([]func(error), 1)}, 1)
	require.Zero(t, r.calm)
}

// resting is how far apart a node's alarms are at present, in ticks.
func (n *Node) resting() int {
	n.turning.Lock()
	defer n.act(hasty) // for whoever wanted a turn meanwhile
	defer n.turning.Unlock()
	return int(n.rest.at.Sub(n.rest.beat.last) / n.rest.beat.period)
}

// counted is up to when a node's ticks were counted.
func (n *Node) counted() time.Time {
	n.turning.Lock()
	defer n.act(hasty)
	defer n.turning.Unlock()
	return n.rest.beat.last
}

func (g *group) resting() bool {
	for _, id := range g.ids {
		if g.hub.nodes[id].resting() < 2 {
			return false
		}
	}
	return true
}

// All nodes of a cluster of which nothing is asked rest; time goes on for them, a request wakes them, and they see that their leader is gone.
func TestIdleClusterRests(t *testing.T) {
	t.Parallel()
	g := newGroup(t, "n1", "n2", "n3")
	g.add(1)
	rests := func() bool { return g.resting() }
	require.Eventually(t, rests, 10*time.Second, time.Millisecond)
	leader := g.leader()
	then := leader.counted()
	require.Eventually(t, func() bool { return leader.counted().After(then.Add(time.Second)) }, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { g.add(0); return leader.resting() == 1 }, 10*time.Second, time.Millisecond)
	require.Eventually(t, rests, 10*time.Second, time.Millisecond)
	g.crash(leader.id())
	require.Equal(t, uint64(3), g.add(2))
}

// Chunks of a snapshot leave by the tick: who sends one does not rest.
func TestWhoSendsASnapshotDoesNotRest(t *testing.T) {
	g := newGroup(t, "n1")
	n := g.leader()
	require.Eventually(t, func() bool {
		n.turning.Lock()
		defer n.act(hasty)
		defer n.turning.Unlock()
		rests := n.quiet() > 0
		n.streams.list = []*stream{{}}
		require.Zero(t, n.quiet())
		n.streams.list = nil
		return rests
	}, 10*time.Second, time.Millisecond)
}

// The clock that is shown is the cluster's, also between the ticks of a node that rests (F24).
func TestTheClockIsTheClusters(t *testing.T) {
	g := newGroup(t, "n1", "n2", "n3")
	n := g.leader()
	n.turning.Lock()
	for _, id := range g.ids {
		if id != n.id() {
			n.clock.hear(id, time.Now().Add(time.Hour).UnixNano(), time.Now())
		}
	}
	n.turning.Unlock()
	require.Eventually(t, func() bool { return n.Clock() > time.Now().Add(time.Hour/2).UnixNano() }, 10*time.Second, time.Millisecond)
}

// The log's time gets on, though the voters' clocks were an hour ahead and have been put back (F24).
func TestTheLogGetsOnThoughClocksWerePutBack(t *testing.T) {
	g := newGroup(t, "n1", "n2", "n3")
	n := g.leader()
	others := func(ahead time.Duration) {
		n.turning.Lock()
		defer n.turning.Unlock()
		for _, id := range g.ids {
			if now := time.Now(); id != n.id() {
				n.clock.hear(id, now.Add(ahead).UnixNano(), now)
			}
		}
	}
	logged := func() int64 {
		g.add(1)
		n.turning.Lock()
		defer n.turning.Unlock()
		return n.core.LogTime()
	}
	others(time.Hour)
	last := logged()
	require.Greater(t, last, time.Now().Add(time.Hour/2).UnixNano())
	others(0)
	require.Eventually(t, func() bool { return logged() > last }, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return n.Clock() > last }, 10*time.Second, time.Millisecond)
}
