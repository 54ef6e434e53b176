package kvclients

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/cluster"
)

func TestKeysExpireAndLeaveMarkers(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3, defaultAPI)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	js := client(t, c.Connect(), "")
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "app", LimitMarkerTTL: 5 * time.Second})
	require.NoError(t, err)
	_, err = kv.Create(ctx, "short", []byte("v"), jetstream.KeyTTL(5*time.Second))
	require.NoError(t, err)
	_, err = kv.Put(ctx, "long", []byte("v"))
	require.NoError(t, err)
	_, err = kv.Get(ctx, "short")
	require.NoError(t, err)
	raw, err := js.Stream(ctx, "KV_app")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		m, err := raw.GetLastMsgForSubject(ctx, "$KV.app.short")
		return err == nil && m.Header.Get("Nats-Marker-Reason") == "MaxAge" && m.Sequence == 3
	}, 20*time.Second, 20*time.Millisecond, "a marker")
	_, err = kv.Get(ctx, "short")
	require.ErrorIs(t, err, jetstream.ErrKeyNotFound)
	require.Eventually(t, func() bool {
		_, err := raw.GetLastMsgForSubject(ctx, "$KV.app.short")
		return err != nil
	}, 20*time.Second, 20*time.Millisecond, "the marker goes")
	require.NoError(t, kv.Purge(ctx, "long", jetstream.PurgeTTL(time.Second)))
	require.Eventually(t, func() bool {
		s, err := kv.Status(ctx)
		return err == nil && s.Values() == 0
	}, 10*time.Second, 20*time.Millisecond, "a purge with a time of its own goes without a marker")
}

func TestBucketsExpire(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3, defaultAPI)
	js, ctx := client(t, c.Connect(), ""), within(t)
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "app", TTL: 200 * time.Millisecond})
	require.NoError(t, err)
	for _, key := range []string{"a", "b", "c"} {
		_, err = kv.Put(ctx, key, []byte("v"))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		s, err := kv.Status(ctx)
		return err == nil && s.Values() == 0
	}, 10*time.Second, 10*time.Millisecond)
	require.EqualValues(t, 4, revision(t)(kv.Put(ctx, "a", []byte("v"))), "silently")
}

// Many keys go at once, in batches that let writes through.
func TestManyKeysExpire(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 1, defaultAPI)
	nc, ctx := c.Connect(), within(t)
	js := client(t, nc, "")
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "app", LimitMarkerTTL: time.Second})
	require.NoError(t, err)
	const count = 3_000
	for i := range count {
		msg := nats.NewMsg("$KV.app." + string(rune('a'+i%26)) + "." + time.Duration(i).String())
		msg.Header.Set("Nats-TTL", "1s")
		_, err := js.PublishMsgAsync(msg)
		require.NoError(t, err)
	}
	<-js.PublishAsyncComplete()
	require.Eventually(t, func() bool {
		s, err := kv.Status(ctx)
		return err == nil && s.Values() == 0
	}, 20*time.Second, 50*time.Millisecond)
	raw, err := js.Stream(ctx, "KV_app")
	require.NoError(t, err)
	require.EqualValues(t, 2*count, raw.CachedInfo().State.LastSeq, "each left a marker")
}
