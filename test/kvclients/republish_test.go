package kvclients

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/cluster"
)

func TestEntriesArePublishedAgain(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3, defaultAPI)
	nc, ctx := c.Connect(), within(t)
	js := client(t, nc, "")
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "app", RePublish: &jetstream.RePublish{Source: ">", Destination: "out.>"}})
	require.NoError(t, err)
	sub, err := nc.SubscribeSync("out.>")
	require.NoError(t, err)
	next := func() *nats.Msg {
		m, err := sub.NextMsg(5 * time.Second)
		require.NoError(t, err)
		return m
	}
	for i, value := range []string{"one", "two"} {
		_, err = kv.Put(ctx, "k.l", []byte(value))
		require.NoError(t, err)
		m := next()
		require.Equal(t, "out.$KV.app.k.l", m.Subject)
		require.Equal(t, value, string(m.Data))
		require.Equal(t, "KV_app", m.Header.Get("Nats-Stream"))
		require.Equal(t, "$KV.app.k.l", m.Header.Get("Nats-Subject"))
		require.Equal(t, []string{"1", "2"}[i], m.Header.Get("Nats-Sequence"))
		require.Equal(t, []string{"0", "1"}[i], m.Header.Get("Nats-Last-Sequence"))
		require.NotEmpty(t, m.Header.Get("Nats-Time-Stamp"))
	}
	_, err = js.UpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "app", RePublish: &jetstream.RePublish{Source: "$KV.app.*", Destination: "out.$1", HeadersOnly: true}})
	require.NoError(t, err)
	_, err = kv.Put(ctx, "not.mapped", []byte("x"))
	require.NoError(t, err)
	require.NoError(t, kv.Delete(ctx, "k"))
	m := next()
	require.Equal(t, "out.k", m.Subject)
	require.Equal(t, "DEL", m.Header.Get("KV-Operation"))
	require.Equal(t, "0", m.Header.Get("Nats-Msg-Size"))
	_, err = js.UpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "app"})
	require.NoError(t, err)
	_, err = kv.Put(ctx, "k", []byte("x"))
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	pending, _, err := sub.Pending()
	require.NoError(t, err)
	require.Zero(t, pending)
}
