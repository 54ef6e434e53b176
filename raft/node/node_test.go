package node

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/leaktest"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// A state machine of one's own, replicated by three nodes: all apply the same.
func TestReplicates(t *testing.T) {
	t.Parallel() // it mostly waits
	for name, plain := range map[string]bool{"lanes": false, "plain": true} {
		t.Run(name, func(t *testing.T) {
			g := emptyGroup(t, "n1", "n2", "n3")
			g.hub.plain = plain
			g.begin()
			for i := range uint64(100) {
				g.add(i)
			}
			for _, id := range g.ids {
				require.Eventually(t, func() bool { return g.machines[id].value() == 4950 }, 5*time.Second, time.Millisecond, id)
			}
		})
	}
}

// What was acknowledged survives the loss of power of all nodes at once (C2, I9).
func TestAcknowledgedSurvivesPowerLossOfAll(t *testing.T) {
	t.Parallel() // it mostly waits
	g := newGroup(t, "n1", "n2", "n3")
	var want uint64
	for round := range uint64(5) {
		for i := range uint64(20) {
			want += i + round
			require.Equal(t, want, g.add(i+round))
		}
		for _, id := range g.ids {
			g.crash(id)
		}
		for _, id := range g.ids {
			g.start(id)
		}
	}
	require.Equal(t, want, g.add(0))
}

// One node alone commits what it has synced itself, not before (K55).
func TestSingleNodeSurvivesPowerLoss(t *testing.T) {
	g := newGroup(t, "n1")
	want := g.add(7)
	g.crash("n1")
	g.start("n1")
	require.Equal(t, want, g.add(0))
}

// A leader that is gone is followed by another, which has all that was acknowledged (I4).
func TestFailover(t *testing.T) {
	g := newGroup(t, "n1", "n2", "n3")
	want := g.add(1)
	old := g.leader().id()
	g.crash(old)
	want += 2
	require.Equal(t, want, g.add(2))
	g.start(old)
	require.Eventually(t, func() bool { return g.machines[old].value() == want }, 5*time.Second, time.Millisecond)
}

// A read is confirmed by the leader and refused by the others; with nobody to confirm it, it is refused when the leader
// steps down (C3, L9).
func TestReadIndex(t *testing.T) {
	t.Parallel()
	g := newGroup(t, "n1", "n2", "n3")
	g.add(1)
	leader := g.leader()
	answer := make(chan error, 1)
	require.NoError(t, leader.ReadIndex(func(err error) { answer <- err }))
	require.NoError(t, <-answer)
	require.Zero(t, leader.readers.count.Load(), "it keeps no place")
	for _, id := range g.ids {
		if n := g.hub.nodes[id]; n != leader {
			require.ErrorIs(t, n.ReadIndex(func(error) {}), ErrNotLeader)
			require.ErrorIs(t, n.Propose(nil, nil), ErrNotLeader)
		}
	}
	g.hub.mu.Lock()
	for _, id := range g.ids {
		g.hub.down[id] = id != leader.id()
	}
	g.hub.mu.Unlock()
	require.NoError(t, leader.ReadIndex(func(err error) { answer <- err }))
	require.ErrorIs(t, <-answer, ErrNotLeader, "a leader without a quorum confirmed a read")
	require.Zero(t, leader.readers.count.Load())
}

// Reads that wait are answered when the loop ends, those in the inbox and those that the core still holds, also when the node stops
// by itself, without stepping down first (K66, L9).
func TestReadsEndWithTheLoop(t *testing.T) {
	conf, err := config.Validate(config.Config{NodeID: "n1", MemberIDs: []rpc.NodeID{"n1"}})
	require.NoError(t, err)
	n := New(Options{Config: conf, Folder: folderFor(t, "n1"), Logger: quiet()})
	var answers []error
	note := func(err error) { answers = append(answers, err) }
	n.readers.ticket(note)
	require.True(t, n.inbox.read(note))
	n.end()
	require.Equal(t, []error{ErrStopped, ErrStopped}, answers)
}

// Who keeps answers to reads together hears when a round of them is over, and of no turn without one.
func TestARoundOfReadsIsSettledAfterItsAnswers(t *testing.T) {
	conf, err := config.Validate(config.Config{NodeID: "n1", MemberIDs: []rpc.NodeID{"n1"}})
	require.NoError(t, err)
	n := New(Options{Config: conf, Folder: folderFor(t, "n1"), Logger: quiet()})
	var told []string
	n.Confirmed(func() { told = append(told, "settled") })
	var round []raft.Read
	for range 2 {
		require.True(t, n.readers.enter())
		round = append(round, raft.Read{Ticket: n.readers.ticket(func(error) { told = append(told, "read") })})
	}
	n.readers.answer(nil)
	require.Empty(t, told)
	n.readers.answer(round)
	require.Equal(t, []string{"read", "read", "settled"}, told)
}

// Leadership is told once per change, and ends with the node.
func TestLeadershipIsTold(t *testing.T) {
	g := &group{t: t, hub: newHub(), ids: []rpc.NodeID{"n1"}, disks: map[rpc.NodeID]*vfs.MemFS{"n1": vfs.NewCrashableMem()}, logs: map[rpc.NodeID]*wal.Log{}, machines: map[rpc.NodeID]*sum{}}
	conf, err := config.Validate(config.Config{NodeID: "n1", MemberIDs: g.ids})
	require.NoError(t, err)
	log, err := wal.Open(g.disks["n1"], "wal", wal.Options{})
	require.NoError(t, err)
	g.logs["n1"] = log
	n := New(Options{Config: conf, Folder: folderFor(t, "n1"), Log: log, Machine: &sum{}, Logger: quiet()})
	var mu sync.Mutex
	var told []bool
	n.Leadership(func(leading bool) { mu.Lock(); told = append(told, leading); mu.Unlock() })
	require.NoError(t, n.Start(port{g.hub, "n1"}))
	g.hub.nodes["n1"] = n
	n.Bus(true)
	g.leader()
	g.stop("n1")
	require.Equal(t, []bool{true, false}, told)
	require.NotEqual(t, raft.Leader, n.core.Status().Role, "it has stepped down before")
	require.NoError(t, n.Err())
	require.ErrorIs(t, n.Propose(nil, nil), ErrNotLeader)
}

// A broken state machine stops the node, with the reason: it never goes on with a state it cannot trust.
func TestApplyErrorStopsTheNode(t *testing.T) {
	log, err := wal.Open(vfs.NewMem(), "wal", wal.Options{})
	require.NoError(t, err)
	defer log.Close()
	conf, err := config.Validate(config.Config{NodeID: "n1", MemberIDs: []rpc.NodeID{"n1"}})
	require.NoError(t, err)
	n := New(Options{Config: conf, Folder: folderFor(t, "n1"), Log: log, Machine: broken{&sum{}}, Logger: quiet()})
	hub := newHub()
	hub.nodes["n1"] = n
	defer hub.leave("n1")
	var told []bool
	n.Leadership(func(leading bool) { told = append(told, leading) })
	require.NoError(t, n.Start(port{hub, "n1"}))
	n.Bus(true)
	<-n.Done()
	require.Equal(t, []bool{true, false}, told, "a node that stopped by itself still leads")
	require.ErrorIs(t, n.Err(), errBroken)
}

type broken struct{ *sum }

var errBroken = errors.New("the state cannot be trusted")

func (broken) Apply([]rpc.Entry) ([]any, error) { return nil, errBroken }

// hanging is a state machine that hangs until its gate opens.
type hanging struct {
	*sum
	gate chan struct{}
}

func (h hanging) Apply(entries []rpc.Entry) ([]any, error) {
	<-h.gate
	return h.sum.Apply(entries)
}

// Whoever stops a node waits no longer than it says for a state machine that hangs, as one whose disk does (F22).
func TestStopWaitsForAHungStateMachineAsLongAsItIsTo(t *testing.T) {
	log, err := wal.Open(vfs.NewMem(), "wal", wal.Options{})
	require.NoError(t, err)
	defer log.Close()
	conf, err := config.Validate(config.Config{NodeID: "n1", MemberIDs: []rpc.NodeID{"n1"}})
	require.NoError(t, err)
	gate := make(chan struct{})
	n := New(Options{Config: conf, Folder: folderFor(t, "n1"), Log: log, Machine: hanging{&sum{}, gate}, Logger: quiet()})
	hub := newHub()
	hub.nodes["n1"] = n
	defer hub.leave("n1")
	require.NoError(t, n.Start(port{hub, "n1"}))
	n.Bus(true)
	require.Eventually(t, func() bool { return n.Status().Commit > 0 && n.applier.waiting() == 0 }, 30*time.Second, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- n.Stop(ctx) }()
	returns := assert.Eventually(t, func() bool { return len(stopped) > 0 }, 30*time.Second, time.Millisecond)
	close(gate)
	<-n.Done()
	require.True(t, returns)
	require.ErrorIs(t, <-stopped, context.DeadlineExceeded)
}

// What a leader that was cut off had logged, and another replaced, holds no place once it leads again: else its bound on
// proposals could stay full for as long as it leads (L9).
func TestLeadingAgainForgetsTheLostTail(t *testing.T) {
	t.Parallel()
	g := newGroup(t, "n1", "n2", "n3")
	g.add(1)
	old := g.leader()
	g.cutOff(old.id(), true)
	for range 200 {
		require.NoError(t, old.Propose(make([]byte, 8), func(any, rpc.EntryID) { t.Error("a replaced entry was answered") }))
	}
	require.Equal(t, 200, old.waiters.waiting())
	require.Eventually(t, func() bool { return g.leader() != old }, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return old.Status().Role != raft.Leader }, 10*time.Second, time.Millisecond)
	require.Positive(t, old.waiters.waiting(), "what was logged")
	g.cutOff(old.id(), false)
	g.greet()
	require.ErrorIs(t, old.Propose(nil, nil), ErrNotLeader)
	for g.leader() != old {
		g.resign(g.leader())
	}
	require.Eventually(t, func() bool { return old.waiters.waiting() == 0 }, 5*time.Second, time.Millisecond)
}

// A node that was away while more was written than the leader keeps in memory catches up from the leader's disk, while writes
// go on, and nothing is applied twice or skipped (L7).
func TestCatchesUpFromTheDiskUnderLoad(t *testing.T) {
	limits := coreLimits()
	limits.CacheBytesMax, limits.AppendBytesMax, limits.ApplyBytesMax = 4<<10, 1<<10, 1<<10
	g := limitedGroup(t, limits, "n1", "n2", "n3")
	want := g.add(1)
	away := g.ids[0]
	if g.leader().id() == away {
		away = g.ids[1]
	}
	g.crash(away)
	for range 300 { // of 56 bytes each
		want = g.add(1)
	}
	g.start(away)
	require.Eventually(t, func() bool {
		want = g.add(1)
		return g.machines[away].value() >= 300
	}, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return g.machines[away].value() == want }, 5*time.Second, time.Millisecond)
}

// That a leader answered before the bus was down does not say that the bus knows by now who listens: that nobody responds
// is no evidence that the leader is gone (K75).
func TestK75AnswersOfBeforeAReconnectAreForgotten(t *testing.T) {
	for _, reconnects := range []bool{false, true} {
		m := newManual(t, 1, "n1", "n2", "n3")
		m.add(1)
		leader, n := m.leader().id(), m.hub.nodes[m.follower()]
		m.hub.fresh = true
		for _, id := range m.ids {
			m.hub.down[id] = id != n.id()
		}
		if reconnects {
			n.Bus(false)
			n.Bus(true)
		}
		m.run(n.ticks().ElectionMin - 1)
		require.Equal(t, reconnects, n.Status().Leader == leader, m.trail.String())
	}
}

// unwilling is a bus that begins no call, as one to a peer that it does not know yet.
type unwilling struct{ Bus }

func (unwilling) Using(rpc.NodeID, func(busclient.IRaftClient)) error {
	return busclient.ErrUnknownPeer
}

// A call that the bus does not begin has failed: what it carried is sent again, and not waited for (K62).
func TestACallThatDoesNotBeginHasFailed(t *testing.T) {
	s := sender{self: "n1", bus: unwilling{}, inbox: newInbox()}
	s.send(rpc.Message{From: "n1", To: "n2", Term: 1, Body: &rpc.HeartbeatCommand{}})
	require.Equal(t, []raft.Event{raft.Failed{Peer: "n2", Method: rpc.MethodHeartbeat}}, s.inbox.take(batch{}).events)
}

// What the defaults are, and why: none is changed unawares.
func TestDefaults(t *testing.T) {
	require.Equal(t, 64<<20, KeepLogBytesDefault, "docs/tuning.md says so of the disk")
	require.EqualValues(t, 64<<20, newManual(t, 1, "n1").hub.nodes["n1"].compact.keep)
	require.Zero(t, newManualWith(t, 1, noLogKept, "n1").hub.nodes["n1"].compact.keep)
	require.Equal(t, 1000, streamGiveUp, "10 s: several tries on a slow way, and no longer is the place taken from others")
	require.Equal(t, []int{100, 6000}, []int{unreadMin, unreadMax}, "1 s, so that what passes soon costs little, and 60, so that what stays does")
	require.Equal(t, 16, refusalsMax, "half of a state is not received in vain but each so many times; one that became smaller is, soon enough")
	require.Equal(t, 10, viewTicks, "100 ms: what is shown is fresh for who looks, and costs nothing for each answer of a peer")
}

// A goroutine that is to end leaves what waits.
func TestAStopWaitsForOneStepAtMost(t *testing.T) {
	stop, steps := make(chan struct{}), 0
	require.NoError(t, newBell().attend(stop, func() (bool, error) {
		if steps++; steps == 1 {
			close(stop)
		}
		return steps < 9, nil
	}))
	require.Equal(t, 1, steps)
}

// A period that is shorter than a tick is one tick, and not none: a heartbeat may be as short as that.
func TestNoPeriodIsNone(t *testing.T) {
	cfg, err := config.Validate(config.Config{NodeID: "n1", MemberIDs: []rpc.NodeID{"n1"}, Periods: config.Timing{Heartbeat: config.DefaultTiming().Tick}})
	require.NoError(t, err)
	ticks := (&Node{o: Options{Config: cfg}}).ticks()
	require.Equal(t, []int{1, 1, 1, 2}, []int{ticks.Heartbeat, ticks.Ping, ticks.QuickMin, ticks.QuickMax})
}
