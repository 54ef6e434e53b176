package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

var delayStart = time.Unix(1000, 0)

// delayAfter is a delay after a batch of so many proposals that took so long, when others wait.
func delayAfter(size int, took time.Duration, waiting int) (d commitDelay, delay time.Duration) {
	d.proposed(delayStart, size)
	return d, d.committed(delayStart.Add(took), waiting)
}

// The next batch is delayed until most of those come back that were answered, and is over when its time is.
func TestCommitDelayAwaitsMostOfThoseAnswered(t *testing.T) {
	d, delay := delayAfter(30, 400*time.Microsecond, 10)
	require.Equal(t, 1600*time.Microsecond, delay)
	require.Equal(t, 34, d.patience(), "thirty-five of forty are enough")
	many, _ := delayAfter(1000, time.Millisecond, raft.BatchEnough-1)
	require.Equal(t, raft.BatchEnough-1, many.patience(), "and of a thousand so many")
	require.Zero(t, d.committed(delayStart, 20), "it is begun once")
	require.Equal(t, 34, d.patience())
	d.expire(delayStart.Add(2000*time.Microsecond - 1))
	require.Equal(t, 34, d.patience(), "what is over is an earlier one")
	d.expire(delayStart.Add(2000 * time.Microsecond))
	require.Zero(t, d.patience())
}

// It takes no longer than four times what the last batch did, nor than its bound, and none is begun that is not worth it.
func TestCommitDelayIsBounded(t *testing.T) {
	for _, c := range []struct {
		name    string
		size    int
		took    time.Duration
		waiting int
		want    time.Duration
	}{
		{"four times as the batch took", commitSiblings, 700 * time.Microsecond, 0, 2800 * time.Microsecond},
		{"at most", 1000, time.Minute, 0, commitDelayMax},
		{"few were answered", commitSiblings - 1, time.Millisecond, 0, 0},
		{"one was", 1, time.Millisecond, 0, 0},
		{"most wait already", 10, time.Millisecond, 70, 0},
		{"enough wait already", 10_000, time.Millisecond, raft.BatchEnough, 0},
		{"a batch that takes next to nothing", 100, commitDelayMin/commitDelayBatches - 1, 0, 0},
		{"a clock that was set back", 100, -time.Second, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, delay := delayAfter(c.size, c.took, c.waiting)
			require.Equal(t, c.want, delay)
			require.Equal(t, c.want > 0, d.patience() > 0)
		})
	}
}

// A batch ends the delay before it, and its own begins when all that is under way is committed.
func TestCommitDelayEndsWithTheNextBatch(t *testing.T) {
	d, _ := delayAfter(20, time.Millisecond, 0)
	require.Equal(t, 16, d.patience())
	d.proposed(delayStart.Add(2*time.Millisecond), 15)
	require.Zero(t, d.patience())
	d.proposed(delayStart.Add(3*time.Millisecond), 12)
	require.Equal(t, 2*time.Millisecond, d.committed(delayStart.Add(3500*time.Microsecond), 0), "of the last that was under way")
	require.Equal(t, 9, d.patience())
}

// delay has a node's next batch delayed, for so long.
func (n *Node) delayed(wants int, lasts time.Duration) {
	n.turning.Lock()
	defer n.turning.Unlock()
	n.delay = commitDelay{wants: wants, until: time.Now().Add(lasts)}
	n.hold()
}

// What is proposed meanwhile waits, goes when enough have come or the time is over, and is refused at once where this node leads no more.
func TestProposalsWaitForTheCommitDelay(t *testing.T) {
	g := newGroup(t, "n1")
	g.add(1)
	n, answers := g.leader(), make(chan any, 10)
	propose := func() {
		require.NoError(t, n.Propose(make([]byte, 8), func(r any, _ rpc.EntryID) { answers <- r }))
	}
	awaits := func(count int) {
		for range count {
			select {
			case <-answers:
			case <-time.After(10 * time.Second):
				require.Fail(t, "a proposal was not answered")
			}
		}
	}
	waits := func() {
		time.Sleep(3 * n.o.Config.Timing().Tick) // time that passes ends no delay but by its timer
		require.Empty(t, answers)
	}
	n.delayed(2, time.Hour)
	propose()
	waits()
	propose()
	awaits(2)

	n.delayed(2, time.Hour)
	propose()
	n.delayOver()
	waits()
	n.delayed(2, 0)
	n.delayOver()
	awaits(1)

	n.delayed(2, time.Hour)
	propose()
	require.True(t, n.inbox.call(n.stepDown))
	require.Eventually(t, func() bool { return n.waiters.waiting() == 0 && n.inbox.proposals() == 0 }, 10*time.Second, time.Millisecond)
}

// Many clients that come back are delayed by real timers: each is answered, also the last, when nobody comes to fill its batch. A node
// alone leads on however long the machine keeps it waiting.
func TestCommitDelayEndsByItsTimer(t *testing.T) {
	g := newGroup(t, "n1")
	g.add(0)
	n, answers := g.leader(), make(chan any, 64)
	for round := range 20 {
		for range cap(answers) >> (round % 3) {
			require.NoError(t, n.Propose(make([]byte, 8), func(r any, _ rpc.EntryID) { answers <- r }))
		}
		for range cap(answers) >> (round % 3) {
			select {
			case <-answers:
			case <-time.After(10 * time.Second):
				require.Fail(t, "a proposal was not answered")
			}
		}
	}
}

// A node that is driven by Steps has no timers, so it delays nothing.
func TestStepsHaveNoCommitDelay(t *testing.T) {
	m := newManual(t, 1, "n1")
	n, done := m.leader(), 0
	for range 2 * commitSiblings {
		require.NoError(t, n.Propose(make([]byte, 8), func(any, rpc.EntryID) { done++ }))
	}
	for done < 2*commitSiblings {
		m.run(1)
		require.Equal(t, commitDelay{}, n.delay)
	}
	require.NoError(t, n.Propose(make([]byte, 8), nil))
	require.True(t, m.steps["n1"].Waiting().Turn, "one alone is a reason for a turn")
}
