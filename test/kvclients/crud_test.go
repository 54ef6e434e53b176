package kvclients

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/test/cluster"
)

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func defaultAPI(o *replica.Options) { o.DefaultAPI = true }

// client makes a client of the newer package, with a domain or without.
func client(t testing.TB, nc *nats.Conn, domain string) jetstream.JetStream {
	js, err := jetstream.New(nc)
	if domain != "" {
		js, err = jetstream.NewWithDomain(nc, domain)
	}
	require.NoError(t, err)
	return js
}

func TestBucketsAndKeysWithNatsGo(t *testing.T) {
	t.Parallel() // it mostly waits
	nc := connected(t, 3, defaultAPI)
	for _, domain := range []string{"", "raftbus"} {
		t.Run("domain "+domain, func(t *testing.T) { useBucket(t, client(t, nc, domain)) })
	}
	t.Run("legacy", func(t *testing.T) {
		js, err := nc.JetStream(nats.Domain("raftbus"))
		require.NoError(t, err)
		useLegacyBucket(t, js)
	})
}

func useBucket(t *testing.T, js jetstream.JetStream) {
	ctx := within(t)
	config := jetstream.KeyValueConfig{Bucket: "app", History: 5, Description: "d", MaxValueSize: 1000, MaxBytes: 1 << 20, TTL: time.Hour, Metadata: map[string]string{"a": "b"}}
	kv, err := js.CreateKeyValue(ctx, config)
	require.NoError(t, err)
	_, err = js.CreateKeyValue(ctx, config)
	require.NoError(t, err, "the same again")
	config.History = 6
	_, err = js.CreateKeyValue(ctx, config)
	require.ErrorIs(t, err, jetstream.ErrBucketExists)

	require.EqualValues(t, 1, revision(t)(kv.Put(ctx, "color", []byte("blue"))))
	e, err := kv.Get(ctx, "color")
	require.NoError(t, err)
	require.Equal(t, "blue", string(e.Value()))
	require.EqualValues(t, 1, e.Revision())
	require.WithinDuration(t, time.Now(), e.Created(), time.Minute)
	_, err = kv.Create(ctx, "color", []byte("red"))
	require.ErrorIs(t, err, jetstream.ErrKeyExists)
	_, err = kv.Update(ctx, "color", []byte("red"), 7)
	require.ErrorContains(t, err, "wrong last sequence: 1")
	require.EqualValues(t, 2, revision(t)(kv.Update(ctx, "color", []byte("red"), 1)))
	_, err = kv.Get(ctx, "none")
	require.ErrorIs(t, err, jetstream.ErrKeyNotFound)
	e, err = kv.GetRevision(ctx, "color", 1)
	require.NoError(t, err)
	require.Equal(t, "blue", string(e.Value()))
	require.NoError(t, kv.Delete(ctx, "color"))
	_, err = kv.Get(ctx, "color")
	require.ErrorIs(t, err, jetstream.ErrKeyNotFound)
	require.EqualValues(t, 4, revision(t)(kv.Create(ctx, "color", []byte("again"))))
	require.ErrorContains(t, kv.Delete(ctx, "color", jetstream.LastRevision(1)), "wrong last sequence: 4")
	s, err := kv.Status(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 4, s.Values())
	require.EqualValues(t, 5, s.History())
	require.Equal(t, time.Hour, s.TTL())
	require.NoError(t, kv.Purge(ctx, "color"))
	s, err = kv.Status(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 1, s.Values(), "the marker")
	_, err = kv.Put(ctx, "large", make([]byte, 1001))
	require.ErrorContains(t, err, "message size exceeds maximum allowed")

	config.Description, config.History, config.MaxValueSize = "other", 6, 2000
	_, err = js.UpdateKeyValue(ctx, config)
	require.NoError(t, err)
	_, err = kv.Put(ctx, "large", make([]byte, 1001))
	require.NoError(t, err)
	_, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "second"})
	require.NoError(t, err)
	require.Equal(t, []string{"app", "second"}, names(t, ctx, js))
	stores := js.KeyValueStores(ctx)
	for status := range stores.Status() {
		require.Contains(t, []string{"app", "second"}, status.Bucket())
	}
	require.NoError(t, stores.Error())
	for _, bucket := range []string{"app", "second"} {
		require.NoError(t, js.DeleteKeyValue(ctx, bucket))
	}
	_, err = js.KeyValue(ctx, "app")
	require.ErrorIs(t, err, jetstream.ErrBucketNotFound)
	require.ErrorIs(t, js.DeleteKeyValue(ctx, "app"), jetstream.ErrBucketNotFound)
	_, err = kv.Put(ctx, "color", []byte("x"))
	require.Error(t, err)
	require.Empty(t, names(t, ctx, js))
}

// revision is for calls that return one.
func revision(t testing.TB) func(uint64, error) uint64 {
	return func(rev uint64, err error) uint64 {
		t.Helper()
		require.NoError(t, err)
		return rev
	}
}

func names(t testing.TB, ctx context.Context, js jetstream.JetStream) (list []string) {
	lister := js.KeyValueStoreNames(ctx)
	for name := range lister.Name() {
		list = append(list, name)
	}
	require.NoError(t, lister.Error())
	return list
}

func useLegacyBucket(t *testing.T, js nats.JetStreamContext) {
	kv, err := js.CreateKeyValue(&nats.KeyValueConfig{Bucket: "old", History: 3})
	require.NoError(t, err)
	require.EqualValues(t, 1, revision(t)(kv.PutString("k", "1")))
	require.EqualValues(t, 2, revision(t)(kv.Update("k", []byte("2"), 1)))
	_, err = kv.Create("k", []byte("3"))
	require.ErrorIs(t, err, nats.ErrKeyExists)
	e, err := kv.Get("k")
	require.NoError(t, err)
	require.Equal(t, "2", string(e.Value()))
	e, err = kv.GetRevision("k", 1)
	require.NoError(t, err)
	require.Equal(t, "1", string(e.Value()))
	_, err = kv.Get("none")
	require.ErrorIs(t, err, nats.ErrKeyNotFound)
	require.NoError(t, kv.Delete("k"))
	require.EqualValues(t, 4, revision(t)(kv.Create("k", []byte("4"))))
	require.NoError(t, kv.Purge("k"))
	s, err := kv.Status()
	require.NoError(t, err)
	require.EqualValues(t, 1, s.Values())
	require.NoError(t, js.DeleteKeyValue("old"))
	_, err = js.KeyValue("old")
	require.ErrorIs(t, err, nats.ErrBucketNotFound)
}

// Values of every size that fits, whether the bucket allows direct gets or the client has to ask for JSON.
func TestValuesOfAllSizes(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 1, defaultAPI)
	js, ctx := client(t, c.Connect(), ""), within(t)
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "app"})
	require.NoError(t, err)
	for _, size := range []int{0, 1, 1 << 10, 1<<20 - 8<<10} {
		value := make([]byte, size)
		for i := range value {
			value[i] = byte(i)
		}
		_, err := kv.Put(ctx, "k", value)
		require.NoError(t, err, size)
		e, err := kv.Get(ctx, "k")
		require.NoError(t, err, size)
		require.Equal(t, string(value), string(e.Value()), size)
	}
	_, err = kv.Put(ctx, "k", make([]byte, 1<<20-8<<10+1))
	require.ErrorContains(t, err, "message size exceeds maximum allowed")
}

// A put under a message id is done once, also when the leader changed in between.
func TestARetryIsDoneOnceAcrossLeaders(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3, defaultAPI)
	nc, ctx := c.Connect(), within(t)
	js := client(t, nc, "")
	_, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "app", History: 10})
	require.NoError(t, err)
	for i := range 3 {
		id := fmt.Sprint("id", i)
		first, err := js.Publish(ctx, "$KV.app.k", []byte("v"), jetstream.WithMsgID(id))
		require.NoError(t, err)
		require.False(t, first.Duplicate)
		c.Transfer("")
		again, err := js.Publish(ctx, "$KV.app.k", []byte("v"), jetstream.WithMsgID(id), jetstream.WithRetryAttempts(20))
		require.NoError(t, err)
		require.True(t, again.Duplicate)
		require.Equal(t, first.Sequence, again.Sequence)
		require.EqualValues(t, i+1, again.Sequence)
	}
}
