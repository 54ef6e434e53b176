package busclient

// The faults of the original design (design section 3), each designed out, each with a test. Back-off and jitter are in
// link_test.go, the deadline of a ping in membus_test.go and bus_test.go.

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/raftbus/raftbus/raft/rpc"
)

// `Using` returned while holding its read lock.
func TestUsingHoldsNoLock(t *testing.T) {
	n1 := newPeer(t, startNATS(t).URL(), "n1")
	require.NoError(t, n1.Using("n2", func(IRaftClient) {
		require.NoError(t, n1.Using("n3", func(IRaftClient) {}))
		n1.admit()
		require.Len(t, n1.Links(), 2)
		require.True(t, n1.Service.mu.TryLock(), "a lock is held while the action runs")
		n1.Service.mu.Unlock()
	}))
	require.True(t, n1.Service.mu.TryLock(), "a lock is held after Using")
	n1.Service.mu.Unlock()
}

// `Using` never stored the new client.
func TestUsingKeepsTheClientItMade(t *testing.T) {
	n1 := newPeer(t, startNATS(t).URL(), "n1")
	var mu sync.Mutex
	seen := map[IRaftClient]bool{}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			_ = n1.Using("n2", func(c IRaftClient) {
				mu.Lock()
				defer mu.Unlock()
				seen[c] = true
			})
		})
	}
	all.Wait()
	require.Len(t, seen, 1)
	again, err := n1.create("n2") // as two callers at once would
	require.NoError(t, err)
	require.True(t, seen[again])
}

// slowOwner is in one of its methods when the service is closed.
type slowOwner struct {
	*recorder
	entered, leave chan struct{}
	left           atomic.Bool
}

func (o *slowOwner) Bus(bool) {
	o.entered <- struct{}{}
	<-o.leave
	o.left.Store(true)
}

func TestCloseAwaitsTheOwner(t *testing.T) {
	o := &slowOwner{recorder: &recorder{}, entered: make(chan struct{}), leave: make(chan struct{})}
	n1 := newPeer(t, startNATS(t).URL(), "n1", func(p *peerOptions) { p.service.Owner = o })
	n1.start()
	await(t, o.entered)
	closed := make(chan struct{})
	go func() { n1.Close(); close(closed) }()
	require.Never(t, func() bool { return isClosed(closed) }, 50*time.Millisecond, 5*time.Millisecond)
	close(o.leave)
	await(t, closed)
	require.True(t, o.left.Load())
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// An unknown peer was a nil dereference.
func TestUnknownPeerIsAnError(t *testing.T) {
	n1 := newPeer(t, startNATS(t).URL(), "n1")
	for _, id := range []rpc.NodeID{"n9", "n1", ""} {
		err := n1.Using(id, func(IRaftClient) { require.Fail(t, "called for a peer that is none") })
		require.ErrorIs(t, err, ErrUnknownPeer)
	}
	table := tableOf("n1", "n2")
	n1.to("n3")
	n1.Admit(rpc.ClusterIDOf(table), table)
	require.ErrorIs(t, n1.Using("n3", nil), ErrUnknownPeer, "the table decides, once there is one")
	require.Len(t, n1.Links(), 1, "and the client of who left is closed")
}

// The first RPC of a new client met a nil state.
func TestTheFirstCallOfANewClientMeetsAState(t *testing.T) {
	n1 := newPeer(t, startNATS(t).URL(), "n1")
	n1.admit()
	c := n1.to("n2")
	require.ErrorIs(t, c.Heartbeat(1, &rpc.HeartbeatCommand{}, nil), ErrConnectionBroken)
	require.ErrorIs(t, c.AppendLog(1, &rpc.AppendLogCommand{}, nil), ErrConnectionBroken)
	require.ErrorIs(t, c.CommitLog(1, &rpc.CommitLogCommand{}, nil), ErrConnectionBroken)
	require.ErrorIs(t, c.RequestVote(1, &rpc.RequestVoteCommand{}, nil), ErrConnectionBroken)
	require.NoError(t, c.Ping())
	require.False(t, c.Connected())
	require.Equal(t, rpc.NodeID("n2"), c.Peer())
	require.NotEmpty(t, n1.link("n2").Reason)
}

// `disposed` flags, connection and state were read and written without synchronisation; between closing the connection
// and switching state an RPC met a nil connection; a call's end was anybody's guess. The race detector watches.
func TestCallsWhileTheLinkFlapsEndOnce(t *testing.T) {
	t.Parallel() // it mostly waits
	n1, n2 := pair(t, startNATS(t).URL())
	n2.echo()
	var calls, wire sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		calls.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_ = n1.Using("n2", func(c IRaftClient) {
					ended := make(chan struct{}) // closed twice is a panic
					wire.Add(1)
					if err := c.Heartbeat(1, &rpc.HeartbeatCommand{}, func(rpc.Reply[*rpc.HeartbeatReturn]) { close(ended); wire.Done() }); err != nil {
						wire.Done()
						return
					}
					<-ended
				})
			}
		})
	}
	for range 10 {
		changes := len(n1.changes())
		c := n1.to("n2").(*client)
		c.postOnce(&c.goneWaits, evGone)
		eventually(t, "broken and back", func() bool { return len(n1.changes()) >= changes+2 })
	}
	close(stop)
	calls.Wait()
	n1.Close()
	wire.Wait()
}

// The ticker leaked, and so did whatever waited on a client that was closed.
func TestNothingOutlivesClose(t *testing.T) {
	nats := startNATS(t)
	before := goleak.IgnoreCurrent()
	for range 3 {
		control, bulk := dial(t, nats.URL(), "n1", RoleControl), dial(t, nats.URL(), "n1", RoleBulk)
		s, err := NewService(Options{Config: configOf(t, "n1", nil), Identity: Identity{"n1", instanceOf("n1"), epoch(1, 7)},
			Control: control, Bulk: bulk, Owner: &recorder{}})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		require.NoError(t, s.Start(ctx))
		require.Error(t, s.Start(ctx), "started twice")
		cancel()
		s.Close()
		s.Close()
		require.ErrorIs(t, s.Using("n2", nil), ErrClosed)
		control.Close()
		bulk.Close()
	}
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*Server).createClientEx.func1"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*client).writeLoop"))
}
