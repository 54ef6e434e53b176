package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
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
	n := &Node{inbox: newInbox(), stop: make(chan struct{})}
	n.Gather()
	n.inbox.propose(proposal{})
	require.False(t, rings(n.inbox))
	n.Prompt(false)
	require.True(t, rings(n.inbox))
	n.inbox.propose(proposal{})
	require.True(t, rings(n.inbox), "the gathering is over")
}
