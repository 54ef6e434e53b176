package watches

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/cluster"
)

// patience bounds every wait in these tests.
const patience = 20 * time.Second

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// kv opens a bucket, made if need be, over a connection of its own.
func open(t testing.TB, c *cluster.Cluster, config jetstream.KeyValueConfig) (jetstream.KeyValue, *nats.Conn) {
	nc := c.Connect()
	js, err := jetstream.NewWithDomain(nc, "raftbus")
	require.NoError(t, err)
	var kv jetstream.KeyValue
	require.Eventually(t, func() bool {
		kv, err = js.CreateKeyValue(within(t), config)
		return err == nil
	}, patience, 20*time.Millisecond, "%v", err)
	return kv, nc
}

func next(t testing.TB, w jetstream.KeyWatcher) jetstream.KeyValueEntry {
	t.Helper()
	select {
	case e, open := <-w.Updates():
		require.True(t, open)
		return e
	case <-time.After(patience):
		require.Fail(t, "no update")
		return nil
	}
}

func text(e jetstream.KeyValueEntry) string {
	if e == nil {
		return "-"
	}
	return fmt.Sprintf("%s=%s@%d", e.Key(), e.Value(), e.Revision())
}

func TestKeysHistoryAndWatch(t *testing.T) {
	c := cluster.Started(t, 3)
	c.AwaitWatches()
	kv, _ := open(t, c, jetstream.KeyValueConfig{Bucket: "app", History: 5})
	ctx := within(t)

	keys, err := kv.Keys(ctx)
	require.ErrorIs(t, err, jetstream.ErrNoKeysFound, keys)
	for _, put := range []string{"a.x 1", "b 2", "a.x 3", "a.y 4"} {
		var key, value string
		_, err := fmt.Sscan(put, &key, &value)
		require.NoError(t, err)
		_, err = kv.Put(ctx, key, []byte(value))
		require.NoError(t, err)
	}
	keys, err = kv.Keys(ctx)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a.x", "a.y", "b"}, keys)
	history, err := kv.History(ctx, "a.x")
	require.NoError(t, err)
	require.Len(t, history, 2)
	require.Equal(t, "a.x=1@1 a.x=3@3", text(history[0])+" "+text(history[1]))

	w, err := kv.Watch(ctx, "a.*")
	require.NoError(t, err)
	require.Equal(t, "a.x=3@3", text(next(t, w)))
	require.Equal(t, "a.y=4@4", text(next(t, w)))
	require.Nil(t, next(t, w))
	_, err = kv.Put(ctx, "b", nil)
	require.NoError(t, err)
	_, err = kv.Put(ctx, "a.z", []byte("6"))
	require.NoError(t, err)
	require.Equal(t, "a.z=6@6", text(next(t, w)))
	require.NoError(t, kv.Delete(ctx, "a.z"))
	e := next(t, w)
	require.Equal(t, jetstream.KeyValueDelete, e.Operation())
	require.NoError(t, w.Stop())
}
