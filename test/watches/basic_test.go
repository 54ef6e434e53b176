package watches

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/cluster"
)

const (
	// patience bounds every wait in these tests.
	patience = 20 * time.Second
	// retry is how long a request waits for its answer before it is sent again: on a busy machine who leads may go, and take it along.
	retry = 2 * time.Second
)

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// open opens a bucket, made if need be, over a connection of its own.
func open(t testing.TB, c *cluster.Cluster, config jetstream.KeyValueConfig) (jetstream.KeyValue, *nats.Conn) {
	nc := c.Connect()
	js, err := jetstream.NewWithDomain(nc, "raftbus")
	require.NoError(t, err)
	return soon(t, func(ctx context.Context) (jetstream.KeyValue, error) { return js.CreateKeyValue(ctx, config) }), nc
}

// soon does something until it succeeds: nothing that may not be done twice.
func soon[T any](t testing.TB, do func(context.Context) (T, error)) (got T) {
	t.Helper()
	var err error
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), retry)
		defer cancel()
		got, err = do(ctx)
		return err == nil
	}, patience, 20*time.Millisecond, "it is never done")
	return got
}

// put writes a key of the bucket app, once: it is tried again with the same id until it is acknowledged.
func put(t testing.TB, nc *nats.Conn, key, value string) {
	t.Helper()
	m := &nats.Msg{Subject: "$JS.raftbus.API.$KV.app." + key, Data: []byte(value), Header: nats.Header{"Nats-Msg-Id": {nuid.Next()}}}
	require.Eventually(t, func() bool {
		ack, err := nc.RequestMsg(m, retry)
		return err == nil && strings.Contains(string(ack.Data), `"seq":`) && !strings.Contains(string(ack.Data), `"error":`) // a refusal has a seq too
	}, patience, 5*time.Millisecond, "%s is not acknowledged", key)
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
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	c.AwaitWatches()
	kv, nc := open(t, c, jetstream.KeyValueConfig{Bucket: "app", History: 5})

	keys, err := kv.Keys(within(t))
	require.ErrorIs(t, err, jetstream.ErrNoKeysFound, keys)
	for i, key := range []string{"a.x", "b", "a.x", "a.y"} {
		put(t, nc, key, fmt.Sprint(i+1))
	}
	keys, err = kv.Keys(within(t))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a.x", "a.y", "b"}, keys)
	history, err := kv.History(within(t), "a.x")
	require.NoError(t, err)
	require.Len(t, history, 2)
	require.Equal(t, "a.x=1@1 a.x=3@3", text(history[0])+" "+text(history[1]))

	w, err := kv.Watch(t.Context(), "a.*")
	require.NoError(t, err)
	require.Equal(t, "a.x=3@3", text(next(t, w)))
	require.Equal(t, "a.y=4@4", text(next(t, w)))
	require.Nil(t, next(t, w))
	put(t, nc, "b", "")
	put(t, nc, "a.z", "6")
	require.Equal(t, "a.z=6@6", text(next(t, w)))
	require.NoError(t, kv.Delete(within(t), "a.z"))
	e := next(t, w)
	require.Equal(t, jetstream.KeyValueDelete, e.Operation())
	require.NoError(t, w.Stop())
}
