package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
)

// rings reports whether the loop's goroutine was woken, and takes the ring back.
func rings(b *inbox) bool {
	select {
	case <-b.bell:
		return true
	default:
		return false
	}
}

// What nobody is about to act on wakes the loop, or it would wait for the next tick: a request without a gathering, a message of a bus that does
// not prompt.
func TestWhatNobodyActsOnRings(t *testing.T) {
	b := newInbox()
	require.True(t, b.propose(proposal{}))
	require.True(t, rings(b))
	require.True(t, b.read(func(error) {}))
	require.True(t, rings(b))
	b.message(rpc.Message{Body: &rpc.HeartbeatCommand{}})
	require.True(t, rings(b))
	b.gathering.Store(true)
	require.True(t, b.propose(proposal{}))
	require.False(t, rings(b), "the prompt that follows finds it")
	b.prompt.Store(true)
	b.message(rpc.Message{Body: &rpc.HeartbeatCommand{}})
	require.False(t, rings(b))
	b.completed(raft.DiskDone{})
	require.True(t, rings(b))
}

// Requests that are to wait are no reason for a turn, and stay; all else is.
func TestHeldRequestsAreNoReasonForATurn(t *testing.T) {
	b := newInbox()
	b.propose(proposal{})
	b.read(func(error) {})
	require.False(t, b.due(held{writes: 1, reads: true}))
	require.True(t, b.due(held{writes: 1}))
	require.True(t, b.due(held{reads: true}))
	taken := b.take(batch{})
	b.takeRequests(&taken, held{writes: 1})
	require.Len(t, taken.reads, 1)
	require.Empty(t, taken.proposals)
	b.propose(proposal{})
	require.True(t, b.due(held{writes: 1, reads: true}), "one more than may wait")
	b.completed(raft.DiskDone{})
	require.True(t, b.due(held{writes: 2, reads: true}))
	b.takeRequests(&taken, held{writes: 1, reads: true})
	require.Len(t, taken.proposals, 2, "one had stayed")
}

// A prompt ends the gathering, and where it was not of all that had come the loop is woken.
func TestAPromptIsActedOn(t *testing.T) {
	n := &Node{inbox: newInbox(), lifetime: lifetime{stop: make(chan struct{})}}
	n.Gather()
	n.inbox.propose(proposal{})
	require.False(t, rings(n.inbox))
	n.Prompt(false)
	require.True(t, rings(n.inbox))
	n.inbox.propose(proposal{})
	require.True(t, rings(n.inbox), "the gathering is over")
}

// inTurns has each of n turns bring the reason of the next one, as who comes while one is under way does: it finds it taken, and rings for nobody.
func inTurns(b *inbox, n int, taken *int) {
	b.call(func() {
		if *taken++; *taken < n {
			inTurns(b, n, taken)
		}
	})
	rings(b)
}

// What came during a turn is taken after it, by who took that one or by the loop: it does not wait for the next tick.
func TestWhatComesDuringATurnIsTakenAfterIt(t *testing.T) {
	n := newManual(t, 1, "n1", "n2", "n3").leader()
	n.rest.beat = metronome{period: time.Hour, last: time.Now()} // no time passes
	taken := 0
	inTurns(n.inbox, turnsMax+1, &taken)
	n.act(hasty)
	require.Equal(t, turnsMax, taken)
	require.True(t, rings(n.inbox), "who has other work leaves the third to the loop")
	require.NoError(t, n.loopTurn(false))
	require.Equal(t, turnsMax+1, taken)

	taken = 0
	inTurns(n.inbox, 2, &taken)
	require.NoError(t, n.loopTurn(false))
	require.Equal(t, 2, taken)
}

// What waits for the end of what is under way is no reason for a turn: the loop would take one after the other until then.
func TestNoTurnIsTakenForWhatIsToWait(t *testing.T) {
	m := newManual(t, 1, "n1", "n2", "n3")
	n := m.leader()
	m.run(20)
	s := m.steps[n.id()]
	ask := map[string]func(){
		"proposals": func() { require.NoError(t, n.Propose(make([]byte, 8), nil)) },
		"reads":     func() { require.NoError(t, n.ReadIndex(func(error) {})) },
	}
	for what, ask := range ask {
		for range 2 { // batches may be under way
			ask()
			_, err := s.Turn(0)
			require.NoError(t, err)
		}
		ask()
		_, err := s.Turn(0)
		require.NoError(t, err)
		require.False(t, s.Waiting().Turn, what)
	}
}

// No turn follows one that has failed, whoever took that: what the core holds then is not to be believed (D5).
func TestNoTurnFollowsOneThatFailed(t *testing.T) {
	for who, turn := range map[string]func(*Node) bool{
		"the loop":    func(n *Node) bool { return n.loopTurn(false) == nil },
		"who brought": func(n *Node) bool { return n.tryTurn(hasty) },
	} {
		conf, err := config.Validate(config.Config{NodeID: "n1", MemberIDs: []rpc.NodeID{"n1"}})
		require.NoError(t, err)
		n := New(Options{Config: conf, Folder: folderFor(t, "n1"), Logger: quiet()})
		n.rest.beat = metronome{period: time.Hour, last: time.Now()}
		require.True(t, turn(n), who)
		n.inbox.call(func() { panic(&raft.InvariantError{}) })
		require.False(t, turn(n), who)
		n.inbox.call(func() { t.Error("a turn follows one of " + who) })
		n.tryTurn(hasty)
	}
}
