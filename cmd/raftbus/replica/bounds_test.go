package replica

// Q12: what an account may have unless it is said.

import (
	"testing"

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
	}
	o := Options{Bounds: Bounds{Watches: 7}}
	require.Equal(t, 7, o.bounds().Watches, "what is said counts")
}
