package replica

// What becomes of one account becomes of all: nobody of a further one is left behind, or waits for the first.

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/kv"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

// team are the credentials of the further account.
var team = nats.UserInfo("team", "x")

// startServed starts nodes that serve the account team beside the first, and returns them, once all listen that should, and a client of the team.
func startServed(t *testing.T, members ...string) (nodes []*Replica, client *nats.Conn) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(file, []byte(`accounts { APP { users: [{user: app, password: x}] }, TEAM { users: [{user: team, password: x}] } }`), 0o600))
	server := natstest.Run(t, embedded.Options{ConfigFile: file})
	url := fmt.Sprintf("nats://127.0.0.1:%d", server.Port())
	nodes, _ = startOn(t, NATSOptions{
		URLs: []string{url}, Options: []nats.Option{nats.UserInfo("app", "x")}, Accounts: []Account{{Name: "team", Clients: []nats.Option{team}, Leaf: []nats.Option{team}}},
	}, members...)
	client, err := nats.Connect(url, team)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return nodes, client
}

// hears waits until the clients of each account are heard, or those of none.
func hears(t *testing.T, r *Replica, want bool, each func()) {
	t.Helper()
	require.Eventually(t, func() bool {
		each()
		for _, s := range r.served {
			if s.listens() != want {
				return false
			}
		}
		return true
	}, patience, time.Millisecond)
}

// L2: with an error a node leads on, and serves as before, in every account.
func TestWhoseHandOverFailsServesAllAgain(t *testing.T) {
	t.Parallel() // it mostly waits
	nodes, _ := startServed(t, "n1")
	r := nodes[0]
	hears(t, r, true, func() {})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, r.TransferLeadership(over, ""))
	hears(t, r, true, func() {})
}

// F14: while another cluster leads under the prefix, clients of no account are heard: each would be answered by both.
func TestARivalKeepsAllAccountsFromBeingServed(t *testing.T) {
	t.Parallel() // it mostly waits
	nodes, _ := startServed(t, "n1")
	r := nodes[0]
	hears(t, r, true, func() {})
	rival := "m1 leads too"
	hears(t, r, false, func() { r.rival.Store(&rival); r.withhold() }) // watchPrefix, which finds nobody, may take it back
	r.rival.Store(nil)
	r.withhold()
	hears(t, r, true, func() {})
}

// W2: who is about to end says so in each account, so that others deliver to the watchers there at once.
func TestWhoStopsSaysSoInEachAccount(t *testing.T) {
	t.Parallel() // it mostly waits
	nodes, client := startServed(t, "n1")
	said, err := client.SubscribeSync(busclient.ConsumersSubject("raftbus", busclient.AllNodes, busclient.NodeIn("team", "n1")))
	require.NoError(t, err)
	require.NoError(t, client.Flush())
	stop(t, nodes[0])
	for text := ""; !strings.Contains(text, `"Leaving":true`); {
		m, err := said.NextMsg(patience)
		require.NoError(t, err)
		text = string(m.Data)
	}
}

// L2: who hands over waits for a former leader in every account, and listens on meanwhile: else that would swallow what clients of one ask.
func TestAFormerLeaderIsWaitedForInEachAccount(t *testing.T) {
	t.Parallel() // it mostly waits
	nodes, client := startServed(t, "n1", "n2", "n3")
	var r *Replica
	require.Eventually(t, func() bool {
		for _, n := range nodes {
			if n.Status().Role == "leader" {
				r = n
			}
		}
		return r != nil
	}, patience, time.Millisecond)
	hears(t, r, true, func() {})
	former, err := client.Subscribe(busclient.ListensSubject("raftbus", busclient.NodeIn("team", r.peers()[0]), 1), func(*nats.Msg) {})
	require.NoError(t, err)
	require.NoError(t, client.Flush())
	soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, r.awaitAlone(soon, formerWait), kv.ErrFormerLeader)
	require.NoError(t, former.Unsubscribe())
	require.NoError(t, r.awaitAlone(t.Context(), formerWait))
}

// L2: a leader that was cut off, and removed, is a former leader all the same.
func TestAFormerLeaderThatWasRemovedIsWaitedFor(t *testing.T) {
	t.Parallel() // it mostly waits
	nodes, client := startServed(t, "n1", "n2", "n3")
	leader := func() (r *Replica) {
		require.Eventually(t, func() bool {
			i := slices.IndexFunc(nodes, func(n *Replica) bool { return n.Listens() })
			if i >= 0 {
				r = nodes[i]
			}
			return i >= 0
		}, patience, time.Millisecond)
		return r
	}
	gone := leader()
	require.Eventually(t, func() bool { // one may be refused
		_ = gone.TransferLeadership(t.Context(), "")
		return gone.Status().Role != "leader"
	}, patience, 10*time.Millisecond)
	var r *Replica
	require.Eventually(t, func() bool {
		r = leader()
		_ = r.node.Reconfigure(raft.Change{Remove: []rpc.NodeID{rpc.NodeID(gone.o.ID)}}, func(rpc.EntryID, error) {})
		return r != gone && len(r.node.Status().Configuration.Voters) == 2 && r.node.Status().Committed
	}, patience, 10*time.Millisecond)
	hears(t, r, true, func() {})
	_, err := client.Subscribe(busclient.ListensSubject("raftbus", busclient.NodeIn("team", gone.o.ID), 1), func(*nats.Msg) {})
	require.NoError(t, err)
	require.NoError(t, client.Flush())
	soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, r.awaitAlone(soon, formerWait), kv.ErrFormerLeader)
}

// So many leaders as are remembered are the last ones, each once.
func TestTheLastLeadersAreRemembered(t *testing.T) {
	var l leaders
	for i := range leadersMax + 2 {
		l.saw(fmt.Sprintf("n%d", i))
		l.saw("")
		l.saw("n1")
	}
	require.Len(t, l.seen(), leadersMax)
	require.Equal(t, []string{fmt.Sprintf("n%d", leadersMax+1), "n1"}, l.seen()[leadersMax-2:])
	require.NotContains(t, l.seen(), "n0")
}
