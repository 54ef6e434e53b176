package busclient

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/raftbus/raftbus/raft/model"
	"github.com/raftbus/raftbus/raft/rpc"
)

// nowhere is a wire that only counts.
type nowhere struct{ calls int }

func (n *nowhere) Heartbeat(rpc.Term, *rpc.HeartbeatCommand, rpc.Done[*rpc.HeartbeatReturn]) error {
	n.calls++
	return nil
}
func (n *nowhere) AppendLog(rpc.Term, *rpc.AppendLogCommand, rpc.Done[*rpc.AppendLogReturn]) error {
	n.calls++
	return nil
}
func (n *nowhere) CommitLog(rpc.Term, *rpc.CommitLogCommand, rpc.Done[*rpc.CommitLogReturn]) error {
	n.calls++
	return nil
}
func (n *nowhere) InstallSnapshot(rpc.Term, *rpc.InstallSnapshotCommand, rpc.Done[*rpc.InstallSnapshotReturn]) error {
	n.calls++
	return nil
}

func (n *nowhere) TimeoutNow(rpc.Term, *rpc.TimeoutNowCommand, rpc.Done[*rpc.TimeoutNowReturn]) error {
	n.calls++
	return nil
}

func (n *nowhere) RequestVote(rpc.Term, *rpc.RequestVoteCommand, rpc.Done[*rpc.RequestVoteReturn]) error {
	n.calls++
	return nil
}

// bench steps a link by hand, with a clock of its own.
type bench struct {
	*link
	wire  *nowhere
	now   time.Time
	visit uint64 // of the newest ping
}

func newBench(seed uint64) *bench {
	b := &bench{wire: &nowhere{}, now: time.Unix(1000, 0)}
	b.link = newLink("n2", b.wire, rand.New(rand.NewPCG(seed, 0)))
	return b
}

// do steps the link and returns how many pings left on each path, and the change if there was one.
func (b *bench) do(e linkEvent) (pings [paths]int, change *linkEffect) {
	e.now = b.now
	for _, effect := range b.step(e) {
		if effect.ping {
			pings[effect.path]++
			b.visit = effect.visit
			continue
		}
		change = &effect
	}
	return pings, change
}

// wakeUp lets time pass until the link wants to be woken.
func (b *bench) wakeUp() (pings [paths]int, slept time.Duration) {
	slept = b.wake().Sub(b.now)
	b.now = b.wake()
	pings, _ = b.do(linkEvent{kind: evWoke})
	return pings, slept
}

func (b *bench) pass(p path) *linkEffect {
	_, change := b.do(linkEvent{kind: evPassed, path: p, visit: b.visit, rtt: time.Millisecond})
	return change
}

func connectedBench(t *testing.T) *bench {
	b := newBench(1)
	b.do(linkEvent{kind: evBusUp})
	require.Nil(t, b.pass(control))
	require.True(t, b.pass(bulk).change)
	require.True(t, b.Connected())
	return b
}

func (b *bench) call() error { return b.state().Heartbeat(1, nil, nil) }

var both = [paths]int{1, 1}

func TestALinkConnectsWhenBothPathsPass(t *testing.T) {
	b := newBench(1)
	require.ErrorIs(t, b.call(), ErrConnectionBroken)
	require.ErrorIs(t, b.call(), ErrBusDown, "the reason is told")
	require.True(t, b.wake().IsZero(), "without NATS there is nothing to probe")

	pings, _ := b.do(linkEvent{kind: evBusUp})
	require.Equal(t, both, pings)
	require.Nil(t, b.pass(control), "one path is not enough")
	require.Nil(t, b.pass(control))
	require.ErrorIs(t, b.call(), ErrConnectionBroken)
	require.Equal(t, &linkEffect{change: true, state: connected}, b.pass(bulk))
	require.NoError(t, b.call())
	require.Equal(t, 1, b.wire.calls)
}

func TestAConnectedLinkIsPingedOnAnIntervalOnBothPaths(t *testing.T) {
	b := connectedBench(t)
	for range 3 {
		pings, slept := b.wakeUp()
		require.Equal(t, both, pings)
		require.Equal(t, pingInterval, slept)
		b.pass(control)
		b.pass(bulk)
	}
	b.now = b.now.Add(pingInterval / 2)
	pings, _ := b.do(linkEvent{kind: evWoke})
	require.Zero(t, pings, "not before its time")
}

func TestAnySignOfTroubleBreaksTheLinkAtOnce(t *testing.T) {
	trouble := errors.New("trouble")
	for name, c := range map[string]struct {
		event  linkEvent
		reason error
	}{
		"control ping fails": {linkEvent{kind: evFailed, path: control, err: trouble}, trouble},
		"bulk ping fails":    {linkEvent{kind: evFailed, path: bulk, err: trouble}, trouble},
		"no responders":      {linkEvent{kind: evGone}, ErrNoResponders},
		"bus lost":           {linkEvent{kind: evBusDown}, ErrBusDown},
	} {
		b := connectedBench(t)
		b.wakeUp()
		c.event.visit = b.visit
		_, change := b.do(c.event)
		require.Equal(t, &linkEffect{change: true, state: broken, reason: c.reason}, change, name)
		require.ErrorIs(t, b.call(), ErrConnectionBroken, name)
		require.ErrorIs(t, b.call(), c.reason, name)
		require.Equal(t, c.reason == ErrBusDown, b.wake().IsZero(), name)
		if c.reason != ErrBusDown {
			pings, slept := b.wakeUp()
			require.Equal(t, both, pings, name)
			require.Zero(t, slept, "the first probe leaves at once")
		}
	}
}

// A ping of an earlier stay in a state decides nothing: neither may an old failure break a link, nor an old pass mend it.
func TestPingsOfAnEarlierVisitDecideNothing(t *testing.T) {
	b := connectedBench(t)
	b.wakeUp()
	old := b.visit
	b.do(linkEvent{kind: evGone})
	require.False(t, b.Connected())
	for p := range paths {
		_, change := b.do(linkEvent{kind: evPassed, path: p, visit: old})
		require.Nil(t, change)
	}
	b.wakeUp()
	b.pass(control)
	b.do(linkEvent{kind: evFailed, path: control, visit: old, err: ErrTimeout})
	require.ErrorIs(t, b.fields.reason, ErrNoResponders)
	require.NotNil(t, b.pass(bulk))
	_, change := b.do(linkEvent{kind: evFailed, path: bulk, visit: old, err: ErrTimeout})
	require.Nil(t, change)
	require.True(t, b.Connected())
}

// Nor does a probe that was lost break the link that the others have mended.
func TestAProbeThatWasLostBreaksNoLink(t *testing.T) {
	b := newBench(1)
	b.do(linkEvent{kind: evBusUp})
	lost := b.visit
	b.wakeUp()
	b.pass(control)
	require.True(t, b.pass(bulk).change)
	_, change := b.do(linkEvent{kind: evFailed, path: control, visit: lost, err: ErrTimeout})
	require.Nil(t, change)
	require.True(t, b.Connected())
}

// However long a peer was away before, it is probed at the first pace when the link breaks again.
func TestProbesBeginAnewWithEachBreak(t *testing.T) {
	b := newBench(1)
	b.do(linkEvent{kind: evBusUp})
	for range 12 {
		b.wakeUp()
	}
	b.pass(control)
	require.True(t, b.pass(bulk).change)
	b.do(linkEvent{kind: evGone})
	b.wakeUp()
	_, slept := b.wakeUp()
	require.Less(t, slept, 2*probeFirst)
}

// On the bulk connection a ping waits behind megabytes: that says nothing of how far away the peer is.
func TestTheRoundTripIsThatOfTheControlConnection(t *testing.T) {
	b := connectedBench(t)
	b.wakeUp()
	b.do(linkEvent{kind: evPassed, path: bulk, visit: b.visit, rtt: time.Second})
	require.Equal(t, time.Millisecond, b.fields.rtt)
}

// A fault of the original: redial had neither back-off nor jitter.
func TestProbesBackOffWithJitterUnderABound(t *testing.T) {
	slept := func(seed uint64) (all []time.Duration) {
		b := newBench(seed)
		for range 2 { // NATS was away before: then they begin anew (F5)
			b.do(linkEvent{kind: evBusDown})
			b.do(linkEvent{kind: evBusUp})
			for range 12 {
				pings, s := b.wakeUp()
				require.Equal(t, both, pings)
				b.do(linkEvent{kind: evFailed, path: control, visit: b.visit, err: ErrTimeout})
				all = append(all, s)
			}
		}
		return all
	}
	one := slept(1)
	for i, s := range one {
		low := min(probeFirst<<(i%12), probeLast)
		require.GreaterOrEqual(t, s, low)
		require.Less(t, s, low+low/2)
		require.Less(t, s, 250*time.Millisecond)
	}
	require.Equal(t, one, slept(1), "a run can be had again from its seed")
	require.NotEqual(t, one, slept(2), "two nodes do not probe in step")
}

func TestAMessageFromThePeerProbesAtOnceButNotForEach(t *testing.T) {
	b := newBench(1)
	pings, _ := b.do(linkEvent{kind: evHeard})
	require.Zero(t, pings, "not without NATS")
	b.do(linkEvent{kind: evBusUp})
	for range 10 {
		b.wakeUp()
	}
	b.now = b.now.Add(heardProbePause - 1)
	pings, _ = b.do(linkEvent{kind: evHeard})
	require.Zero(t, pings)
	b.now = b.now.Add(1)
	pings, _ = b.do(linkEvent{kind: evHeard})
	require.Equal(t, both, pings)
	pings, _ = b.do(linkEvent{kind: evHeard})
	require.Zero(t, pings)

	b = connectedBench(t)
	b.now = b.now.Add(pingInterval)
	pings, _ = b.do(linkEvent{kind: evHeard})
	require.Zero(t, pings, "a connected link needs no probe")
}

func TestThePingAskedForGoesOutInEitherState(t *testing.T) {
	asked := linkEvent{kind: evAsked}
	b := newBench(1)
	pings, _ := b.do(asked)
	require.Equal(t, [paths]int{control: 1}, pings)
	b = connectedBench(t)
	pings, _ = b.do(asked)
	require.Equal(t, [paths]int{control: 1}, pings)
	_, change := b.do(linkEvent{kind: evFailed, path: control, visit: b.visit, err: ErrTimeout})
	require.Equal(t, broken, change.state, "its failure is as good as any")
}

// Whatever happens, in whatever order: a link is in one state and knows why, calls are refused in the broken state and
// only there, both states are left only for a reason, and while NATS stands the link is never asleep for longer than a ping.
func TestAnyOrderOfEventsLeavesTheLinkSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBench(rapid.Uint64().Draw(t, "seed"))
		good, bus := [paths]bool{}, false
		for range rapid.IntRange(1, 200).Draw(t, "events") {
			was := b.Connected()
			e := drawEvent(t, b)
			for next := b.wake(); e.kind == evWoke && !next.IsZero() && b.now.Before(next); {
				b.now = next
			}
			pings, change := b.do(e)
			fresh := e.visit == b.fields.visit || change != nil
			switch {
			case e.kind == evBusUp || e.kind == evBusDown:
				bus, good = e.kind == evBusUp, [paths]bool{}
			case e.kind == evPassed && fresh && bus:
				good[e.path] = true
			case e.kind == evFailed && fresh:
				good[e.path] = false
			}
			if change != nil {
				require.Equal(t, was, change.state == broken, "a change changes")
				require.Equal(t, change.state == broken, change.reason != nil)
				if change.state == connected {
					require.True(t, good[control] && good[bulk] && bus)
				}
				good = [paths]bool{}
			}
			checkLink(t, b, bus, pings)
		}
	})
}

func drawEvent(t *rapid.T, b *bench) linkEvent {
	e := linkEvent{kind: rapid.SampledFrom([]model.EventKind{evWoke, evPassed, evPassed, evPassed, evFailed, evGone, evHeard, evAsked, evBusUp, evBusDown}).Draw(t, "event")}
	e.path = path(rapid.IntRange(0, 1).Draw(t, "path"))
	e.visit = b.fields.visit - uint64(rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "age"))
	e.err = ErrTimeout
	if b.fields.bus && e.kind == evBusUp || !b.fields.bus && e.kind == evBusDown {
		e.kind = evWoke // the shell tells changes only
	}
	b.now = b.now.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "ms")) * time.Millisecond)
	return e
}

func checkLink(t *rapid.T, b *bench, bus bool, pings [paths]int) {
	calls := b.wire.calls
	err := b.call()
	require.Equal(t, b.Connected(), err == nil)
	require.Equal(t, b.Connected(), b.wire.calls == calls+1)
	require.Equal(t, b.Connected(), b.fields.reason == nil)
	if err != nil {
		require.ErrorIs(t, err, ErrConnectionBroken)
		require.ErrorIs(t, err, b.fields.reason)
	}
	require.Equal(t, bus, b.fields.bus)
	require.LessOrEqual(t, pings[control], 1)
	require.LessOrEqual(t, pings[bulk], pings[control])
	require.Equal(t, bus, !b.wake().IsZero())
	if bus {
		require.LessOrEqual(t, b.wake().Sub(b.now), pingInterval)
	}
}
