package watches

// Much data, slow clients, and NATS itself going.

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/stalltest"
	"github.com/raftbus/raftbus/test/cluster"
)

// fill puts values of a size, many at a time.
func fill(t testing.TB, kv jetstream.KeyValue, keys, size int) {
	const atATime = 64
	errs := make(chan error, atATime)
	value := make([]byte, size)
	for from := 0; from < keys; from += atATime {
		n := min(atATime, keys-from)
		for i := range n {
			go func() {
				_, err := kv.Put(within(t), fmt.Sprintf("k.%06d", from+i), value)
				errs <- err
			}()
		}
		for range n {
			require.NoError(t, <-errs)
		}
	}
}

func TestASlowWatcherIsSlowAlone(t *testing.T) { // 7.4, F25
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 1)
	c.AwaitWatches()
	kv, nc := open(t, c, jetstream.KeyValueConfig{Bucket: "app"})
	const keys, size = 500, 32 << 10
	fill(t, kv, keys, size)
	slow, err := kv.WatchAll(t.Context())
	require.NoError(t, err)
	next(t, slow)
	other, _ := open(t, c, jetstream.KeyValueConfig{Bucket: "app"})
	quick, err := other.WatchAll(t.Context())
	require.NoError(t, err)
	for range keys {
		require.NotNil(t, next(t, quick))
	}
	require.Nil(t, next(t, quick))
	_, err = other.Put(within(t), "k", nil)
	require.NoError(t, err)
	require.Equal(t, "k", next(t, quick).Key())
	names := ask(t, nc, "CONSUMER.NAMES.KV_app", nil).Consumers
	require.Len(t, names, 2)
	sent := map[string]uint64{}
	for _, name := range names {
		sent[name] = ask(t, nc, "CONSUMER.INFO.KV_app."+name, nil).Delivered.Consumer
	}
	least, most := min(sent[names[0]], sent[names[1]]), max(sent[names[0]], sent[names[1]])
	require.EqualValues(t, keys+1, most)
	require.Less(t, least, uint64(256+70), "a client that does not process is sent no more than a window, and it processes what fits in its channel")
	for range keys - 1 {
		require.NotNil(t, next(t, slow))
	}
	require.Nil(t, next(t, slow))
	require.Equal(t, "k", next(t, slow).Key())
	require.NoError(t, slow.Stop())
	require.NoError(t, quick.Stop())
}

func TestWatchersOutliveNATS(t *testing.T) { // F5, L6
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	stalls := stalltest.During(t)
	c.AwaitWatches()
	kv, _ := open(t, c, jetstream.KeyValueConfig{Bucket: "app", History: 64})
	list := crowd(t, c, kv, 9)
	w := write(kv, 5*time.Millisecond)
	for range 2 {
		port := c.NATS.Port()
		c.NATS.Shutdown()
		c.StartNATS(port)
		lost := stalls.Lost()
		for _, f := range list {
			f.restart()
		}
		time.Sleep(4 * time.Second)
		t.Logf("longest silence %v", longest(list))
		require.Less(t, longest(list), 3*time.Second+stalls.Lost()-lost, "%v", stalls)
	}
	w.end()
	requireAll(t, kv, list)
	for _, f := range list {
		f.stop(t)
	}
}

func TestManyKeysAreListed(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 1)
	c.AwaitWatches()
	kv, _ := open(t, c, jetstream.KeyValueConfig{Bucket: "app"})
	const keys = 5_000
	fill(t, kv, keys, 10)
	start := time.Now()
	list, err := kv.Keys(within(t))
	require.NoError(t, err)
	require.Len(t, list, keys)
	t.Logf("%d keys listed in %v", keys, time.Since(start))
	require.NoError(t, kv.PurgeDeletes(within(t)))
}
