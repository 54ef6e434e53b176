package kvclients

import (
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/raft/logtest"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/test/cluster"
)

var roles = busclient.Roles{Prefix: "raftbus", DefaultAPI: true}

// Nodes and clients with the permissions of the templates, and no others.
func TestPermissionsOfTheTemplatesSuffice(t *testing.T) {
	t.Parallel() // it mostly waits
	var log logtest.Buffer
	c := cluster.New(t, 3, func(o *replica.Options) {
		o.DefaultAPI, o.Logger = true, slog.New(slog.NewTextHandler(&log, nil))
		o.NATS.Options = append(o.NATS.Options, nats.UserInfo(o.ID, o.ID))
		leaf, err := url.Parse(o.NATS.LeafURLs[0])
		require.NoError(t, err)
		leaf.User = url.UserPassword("leaf-"+o.ID, "leaf-"+o.ID)
		o.NATS.LeafURLs = []string{leaf.String()}
	})
	c.NATS.Shutdown()
	leaf, err := url.Parse(c.NATS.LeafURL())
	require.NoError(t, err)
	leafPort, err := strconv.Atoi(leaf.Port())
	require.NoError(t, err)
	o := embedded.Options{Host: "127.0.0.1", Port: embedded.Random, LeafPort: leafPort}
	for _, id := range c.Members {
		o.Users = append(o.Users, user(id, roles.Node(rpc.NodeID(id)).And(roles.Service(rpc.NodeID(id)))),
			user("leaf-"+id, roles.Leaf(rpc.NodeID(id))))
	}
	o.Users = append(o.Users, user("ann", roles.Client("ann")), user("rob", roles.ReadOnly("rob")))
	server, err := embedded.StartAgain(o)
	require.NoError(t, err)
	c.NATS = server
	startAll(c)

	refused := make(chan error, 64)
	connect := func(name string) *nats.Conn {
		nc, err := nats.Connect(server.URL(), nats.UserInfo(name, name), nats.CustomInboxPrefix(busclient.InboxPrefix(name)),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		return nc
	}
	nc, reader := connect("ann"), connect("rob")
	ctx := within(t)
	for _, domain := range []string{"", "raftbus"} {
		js := client(t, nc, domain)
		kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "app"})
		require.NoError(t, err)
		_, err = kv.Put(ctx, "k", []byte("v"))
		require.NoError(t, err)
		_, err = kv.Get(ctx, "k")
		require.NoError(t, err)
		_, err = kv.Get(ctx, "none")
		require.ErrorIs(t, err, jetstream.ErrKeyNotFound, "a status reply")
		c.AwaitWatches()
		w, err := kv.WatchAll(ctx)
		require.NoError(t, err)
		require.Equal(t, "v", string((<-w.Updates()).Value()))
		require.Nil(t, <-w.Updates())
		require.NoError(t, w.Stop())
		for _, puller := range []*nats.Conn{nc, reader} {
			consumer, err := client(t, puller, domain).OrderedConsumer(ctx, "KV_app", jetstream.OrderedConsumerConfig{})
			require.NoError(t, err)
			m, err := consumer.Next(jetstream.FetchMaxWait(5 * time.Second))
			require.NoError(t, err)
			require.Equal(t, "$KV.app.k", m.Subject())
		}
		require.NoError(t, js.DeleteKeyValue(ctx, "app"))
	}
	select {
	case err := <-refused:
		require.NoError(t, err)
	case <-time.After(100 * time.Millisecond):
	}
	require.NotContains(t, strings.ToLower(log.String()), "permission", "nodes were refused nothing")
}

// connected is a client of a new cluster whose nodes can all serve watchers.
func connected(t testing.TB, n int, change ...func(*replica.Options)) *nats.Conn {
	c := cluster.Started(t, n, change...)
	c.AwaitWatches()
	return c.Connect()
}

func user(name string, p busclient.Permissions) embedded.User {
	return embedded.User{Name: name, Password: name, Publish: p.Publish, Subscribe: p.Subscribe, DenyPublish: p.DenyPublish, Responses: p.Responses}
}
