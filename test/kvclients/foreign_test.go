package kvclients

// Beside a JetStream that others use in the same account.

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/kv"
	"github.com/raftbus/raftbus/test/cluster"
)

// withJetStream makes the cluster's server one that runs JetStream.
func withJetStream(t testing.TB, n int, change ...func(*replica.Options)) *cluster.Cluster {
	c := cluster.New(t, n, change...)
	c.NATS.Shutdown()
	server, err := embedded.Start(embedded.Options{Host: "127.0.0.1", Port: embedded.Random, StoreDir: filepath.Join(t.TempDir(), "js")})
	require.NoError(t, err)
	c.NATS = server
	return c
}

func startAll(c *cluster.Cluster) {
	for _, id := range c.Members {
		c.Start(id)
	}
	c.Leader()
}

func TestBesideAnotherJetStream(t *testing.T) {
	t.Parallel() // it mostly waits
	c := withJetStream(t, 3)
	startAll(c)
	nc, ctx := c.Connect(), within(t)
	theirs, ours := client(t, nc, ""), client(t, nc, "raftbus")
	foreign, err := theirs.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "foreign"})
	require.NoError(t, err)
	_, err = ours.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "foreign"})
	require.ErrorContains(t, err, "another JetStream of this account has it")
	reply, err := nc.Request("raftbus.bucket.add.foreign", nil, 5*time.Second)
	require.NoError(t, err)
	require.Contains(t, string(reply.Data), "30017")
	bucket, err := ours.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "app"})
	require.NoError(t, err)

	_, err = foreign.Put(ctx, "k", []byte("theirs"))
	require.NoError(t, err)
	require.Equal(t, []string{`{"stream":"KV_foreign","seq":2}`}, answers(t, nc, "$KV.foreign.k"), "only theirs answers")
	require.Equal(t, []string{`{"stream":"KV_app","domain":"raftbus","seq":1}`}, answers(t, nc, "$KV.app.k"), "a bare put to a bucket of ours")
	e, err := bucket.Get(ctx, "k")
	require.NoError(t, err)
	require.EqualValues(t, 1, e.Revision())
	_, err = nc.Request("$KV.none.k", nil, 5*time.Second)
	require.ErrorIs(t, err, nats.ErrNoResponders, "who has no such bucket does not listen")
	require.NoError(t, ours.DeleteKeyValue(ctx, "app"))
	_, err = nc.Request("$KV.app.k", nil, 5*time.Second)
	require.ErrorIs(t, err, nats.ErrNoResponders)
}

// Who has been told that a bucket is gone finds nobody at its own subject at once: NATS is told first.
func TestABucketThatIsGoneSwallowsNothing(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	nc, ctx := c.Connect(), within(t)
	js := client(t, nc, "raftbus")
	for range 50 {
		_, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "app"})
		require.NoError(t, err)
		require.NoError(t, js.DeleteKeyValue(ctx, "app"))
		_, err = nc.Request("$KV.app.k", nil, 5*time.Second)
		require.ErrorIs(t, err, nats.ErrNoResponders)
	}
}

// The bare subjects of buckets that are there before a leader is elected are heard too.
func TestANewLeaderHearsBarePuts(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	nc, ctx := c.Connect(), within(t)
	_, err := client(t, nc, "raftbus").CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "app"})
	require.NoError(t, err)
	c.Transfer("")
	require.Eventually(t, func() bool {
		m, err := nc.Request("$KV.app.k", nil, time.Second)
		return err == nil && strings.Contains(string(m.Data), `"seq":`)
	}, 5*time.Second, 20*time.Millisecond)
}

// answers are all answers to a message.
func answers(t testing.TB, nc *nats.Conn, subject string) (list []string) {
	sub, err := nc.SubscribeSync(nc.NewInbox())
	require.NoError(t, err)
	defer func() { require.NoError(t, sub.Unsubscribe()) }()
	require.NoError(t, nc.PublishRequest(subject, sub.Subject, []byte("v")))
	for wait := 5 * time.Second; ; wait = 300 * time.Millisecond {
		m, err := sub.NextMsg(wait)
		if err != nil {
			return list
		}
		list = append(list, string(m.Data))
	}
}

func TestTheDefaultAPIIsNotServedBesideAJetStream(t *testing.T) {
	t.Parallel() // it mostly waits
	c := withJetStream(t, 1, defaultAPI)
	r, err := c.TryStart("n1")
	require.NoError(t, err)
	select {
	case <-r.Done():
	case <-time.After(10 * time.Second):
		require.FailNow(t, "it runs")
	}
	require.ErrorIs(t, r.Err(), kv.ErrJetStream)
	require.ErrorContains(t, r.Err(), "--js-domain raftbus")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = r.Stop(ctx) // it has stopped already
}

// A node that comes late finds its own cluster answering $JS.API, and that is no JetStream.
func TestTheDefaultAPIIsServedByAllNodesOfACluster(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3, defaultAPI)
	follower := "n1"
	if c.Leader() == follower {
		follower = "n2"
	}
	c.Stop(follower)
	c.Start(follower)
	require.Eventually(t, func() bool { return c.Nodes[follower].Status().Ready }, 10*time.Second, 20*time.Millisecond)
	require.NoError(t, c.Nodes[follower].Err())
}

// Clients in other languages read a status from the first line of the headers: nats.go would hide how it was sent.
func TestAStatusIsInTheFirstLine(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 1)
	_, err := client(t, c.Connect(), "raftbus").CreateKeyValue(within(t), jetstream.KeyValueConfig{Bucket: "app"})
	require.NoError(t, err)
	u, err := url.Parse(c.NATS.URL())
	require.NoError(t, err)
	conn, err := net.Dial("tcp", u.Host)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = fmt.Fprint(conn, "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB inbox 1\r\nPUB $JS.raftbus.API.DIRECT.GET.KV_app.$KV.app.none inbox 0\r\n\r\n"+
		"PUB $JS.raftbus.API.NONSENSE inbox 0\r\n\r\n")
	require.NoError(t, err)
	var got []string
	for scanner := bufio.NewScanner(conn); len(got) < 8 && scanner.Scan(); {
		if line := scanner.Text(); !strings.HasPrefix(line, "INFO") && line != "PING" {
			got = append(got, line)
		}
	}
	require.ElementsMatch(t, []string{"HMSG inbox 1 34 34", "NATS/1.0 404 Message Not Found", "", "", "HMSG inbox 1 16 16", "NATS/1.0 503", "", ""}, got)
}
