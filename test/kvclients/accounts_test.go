package kvclients

import (
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/test/cluster"
)

// Clients of another account, which imports the API and the buckets' subjects under one prefix, as nats.go's own tests have it.
const accountsConfig = `accounts {
	A { users: [{user: a, password: a}], exports: [{service: "$JS.API.>"}, {service: "$KV.>"}, {stream: "accI.>"}] }
	I { users: [{user: i, password: i}], imports: [
		{service: {account: A, subject: "$JS.API.>"}, to: "fromA.>"}
		{service: {account: A, subject: "$KV.>"}, to: "fromA.$KV.>"}
		{stream: {account: A, subject: "accI.>"}}
	] }
}`

// withAccounts is a cluster in account A.
func withAccounts(t testing.TB) *cluster.Cluster {
	c := cluster.New(t, 3, defaultAPI, func(o *replica.Options) {
		o.NATS.Options = append(o.NATS.Options, nats.UserInfo("a", "a"))
		leaf, err := url.Parse(o.NATS.LeafURLs[0])
		require.NoError(t, err)
		leaf.User = url.UserPassword("a", "a")
		o.NATS.LeafURLs = []string{leaf.String()}
	})
	c.NATS.Shutdown()
	leaf, err := url.Parse(c.NATS.LeafURL())
	require.NoError(t, err)
	leafPort, err := strconv.Atoi(leaf.Port())
	require.NoError(t, err)
	config := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(config, []byte(accountsConfig), 0o600))
	c.NATS, err = embedded.StartAgain(embedded.Options{ConfigFile: config, Port: embedded.Random, LeafPort: leafPort})
	require.NoError(t, err)
	for _, id := range c.Members {
		c.Start(id)
	}
	return c
}

func TestAnotherAccountsClients(t *testing.T) {
	t.Parallel() // it mostly waits
	c, ctx := withAccounts(t), within(t)
	connect := func(user string, options ...nats.Option) *nats.Conn {
		nc, err := nats.Connect(c.NATS.URL(), append(options, nats.UserInfo(user, user))...)
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		return nc
	}
	own := client(t, connect("a"), "")
	require.Eventually(t, func() bool {
		_, err := own.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "app", History: 10})
		return err == nil
	}, 10*time.Second, 20*time.Millisecond)
	c.AwaitWatches()
	theirs, err := jetstream.NewWithAPIPrefix(connect("i", nats.CustomInboxPrefix("accI")), "fromA")
	require.NoError(t, err)
	here, err := own.KeyValue(ctx, "app")
	require.NoError(t, err)
	there, err := theirs.KeyValue(ctx, "app")
	require.NoError(t, err)

	watcher, err := there.WatchAll(ctx)
	require.NoError(t, err)
	require.Nil(t, update(t, watcher), "nothing is there yet")
	require.EqualValues(t, 1, revision(t)(there.Put(ctx, "k", []byte("one"))))
	require.EqualValues(t, 2, revision(t)(there.Update(ctx, "k", []byte("two"), 1)), "a put is done once")
	require.EqualValues(t, 3, revision(t)(here.Update(ctx, "k", []byte("three"), 2)))
	require.NoError(t, there.Delete(ctx, "k"))
	for want := range uint64(4) {
		require.Equal(t, want+1, update(t, watcher).Revision())
	}
	status, err := there.Status(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 4, status.Values())
}

// update is what a watcher gets next.
func update(t testing.TB, w jetstream.KeyWatcher) jetstream.KeyValueEntry {
	select {
	case e := <-w.Updates():
		return e
	case <-time.After(10 * time.Second):
		require.FailNow(t, "no update")
		return nil
	}
}
