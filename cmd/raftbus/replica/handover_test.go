package replica

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
)

// L2, F21: a leader that hands over since it lacks something finishes first what it has, as one that is told to: no request of clients that ask again
// where nobody listens is left without an answer, whichever NATS server they are at.
func TestALeaderWithoutRoomHandsOverWithNothingUnderWay(t *testing.T) {
	servers, err := embedded.StartCluster(2, embedded.Options{})
	require.NoError(t, err)
	for _, s := range servers {
		t.Cleanup(s.Shutdown)
	}
	left := map[string]*atomic.Uint64{}
	for _, id := range []string{"n1", "n2", "n3"} {
		left[id] = &atomic.Uint64{}
		left[id].Store(1 << 40)
	}
	nodes, leads := startWith(t, func(o *Options) {
		o.NATS.URLs, o.FS = []string{servers[0].URL()}, measured{vfs.Default, left[o.ID]}
		o.yieldWait = patience // a busy machine may take longer for what is under way than the product waits
	}, "n1", "n2", "n3")
	nc, err := nats.Connect(servers[1].URL(), nats.DontRandomize())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	p := startPutters(t, nc)
	first := nodes[leads]
	left[first.o.ID].Store(0)
	require.Eventually(t, func() bool { return !first.idle() }, patience, time.Millisecond, "its services do not finish")
	leaderAfter(t, nodes, first)
	p.end()
}

// One that waits in vain for a former leader hands over all the same: what it lacks keeps clients from being served as they should be.
func TestALeaderThatHadBetterHandOverDoesNotWaitForever(t *testing.T) {
	t.Parallel() // it mostly waits
	nodes, leads, nc := three(t)
	first := nodes[leads]
	_, err := nc.Subscribe(busclient.ListensSubject("raftbus", first.peers()[0], 1), func(*nats.Msg) {})
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	hears(t, first, true, func() {})
	first.noteYield()
	leaderAfter(t, nodes, first)
}

// leaderAfter waits until somebody leads after another did.
func leaderAfter(t *testing.T, nodes []*Replica, another *Replica) {
	t.Helper()
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(nodes, func(r *Replica) bool { return r != another && r.Status().Role == "leader" })
	}, patience, time.Millisecond)
}
