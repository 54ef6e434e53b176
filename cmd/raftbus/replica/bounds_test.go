package replica

// Q12: what an account may have unless it is said.

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/delivery"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/node"
)

func TestDefaultBoundsOfAllAccountsAreWithinWhatThereIs(t *testing.T) {
	for _, further := range []int{0, 1, 2, 9} {
		o := Options{NATS: NATSOptions{Accounts: make([]Account, further)}}
		b, accounts := o.bounds(), further+1
		require.LessOrEqual(t, accounts*b.Watches, delivery.ConsumersMaxDefault)
		require.LessOrEqual(t, accounts*b.Requests, node.ProposalsMax)
		require.LessOrEqual(t, accounts*b.RequestBytes, node.ProposalBytesMax)
		all, part := watch.DefaultLimits(), watch.DefaultLimits().Part(accounts)
		require.LessOrEqual(t, accounts*part.RingBytes, all.RingBytes)
		require.LessOrEqual(t, accounts*part.HeldBytes, all.HeldBytes)
		require.LessOrEqual(t, accounts*interestBytesOf(accounts), interestBytes)
	}
	require.Equal(t, interestBytesMin, interestBytesOf(100), "each has room for what some clients listen on")
	o := Options{Bounds: Bounds{Watches: 7}}
	require.Equal(t, 7, o.bounds().Watches, "what is said counts")
}

// What is said of requests in flight, --requests-max and the like, counts for those of clients: the first that does not fit is told at once.
func TestBoundsOfRequestsAreAsTold(t *testing.T) {
	for name, c := range map[string]struct {
		bounds Bounds
		fit    int
	}{
		"requests": {Bounds{Requests: 2, ClientPercent: 100}, 2},
		"bytes":    {Bounds{RequestBytes: 1, ClientPercent: 100}, 1}, // one always fits
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			var hung atomic.Bool
			heal := make(chan struct{})
			o := alone(t, faulty(&hung, writesLog, until(heal)))
			o.Bounds = c.bounds
			r := ready(t, o)
			defer stop(t, r)
			defer close(heal)
			nc, err := nats.Connect(o.NATS.URLs[0])
			require.NoError(t, err)
			defer nc.Close()
			inbox := nc.NewInbox()
			answers, err := nc.SubscribeSync(inbox + ".*")
			require.NoError(t, err)
			hung.Store(true)
			for n := range c.fit + 1 {
				require.NoError(t, nc.PublishRequest(fmt.Sprintf("raftbus.bucket.add.b%d", n), fmt.Sprintf("%s.%d", inbox, n), nil))
			}
			m, err := answers.NextMsg(patience)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("%s.%d", inbox, c.fit), m.Subject)
			require.Contains(t, string(m.Data), "busy")
		})
	}
}

// Each wait is as long as what it waits for takes, and no longer than somebody waits for it: of another length it would still pass tests in which all
// goes well.
func TestHowLongIsWaited(t *testing.T) {
	require.Equal(t, 6*time.Second, moveTimeout, "a move takes what a former leader and a hand-over may take")
	require.Less(t, moveTimeout, natsserver.DEFAULT_LAME_DUCK_GRACE_PERIOD, "after which a server that goes cuts connections")
	require.Equal(t, 8*time.Second, formerWaitStop, "NATS may need more than an administrator waits to notice that a former leader is gone")
	require.Greater(t, formerWaitStop, formerWait)
	require.Less(t, formerWaitStop+handOverTimeout, 15*time.Second, "what a stop has in all")
	require.Equal(t, 3*time.Second, deafAfter, "servers of NATS restart in less; for much longer clients are not to be without a leader that they reach")

	r := &Replica{}
	every, wait := r.lookPace()
	require.Equal(t, 2*time.Second, every)
	require.Equal(t, 150*time.Millisecond, wait, "an answer from another continent comes in less")
	text := "m1 leads too"
	r.rival.Store(&text)
	every, wait = r.lookPace()
	require.Equal(t, 150*time.Millisecond, every)
	require.Equal(t, time.Second, wait, "that the other is gone is not believed of an answer that is only late")
}
