package kvclients

// Keys that are written again and again, as leases and heartbeats are: who looks at a bucket at any moment finds each.

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/cluster"
)

// W2: a key that is there all the time is among the initial values of a watch, in a list of keys, and has a history, also if it was written between
// the entry that made the watch and the first page that is read for it, or between two pages.
func TestAKeyThatIsWrittenAgainIsNeverMissing(t *testing.T) {
	t.Parallel()                   // it mostly waits
	const keys, rounds = 3_000, 30 // three pages
	c := cluster.Started(t, 3)
	js := client(t, c.Connect(), "raftbus")
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "app"})
	require.NoError(t, err)
	for i := range keys {
		_, err := js.PublishAsync(fmt.Sprintf("$KV.app.k%d", i), []byte("v"))
		require.NoError(t, err)
	}
	<-js.PublishAsyncComplete()
	status, err := kv.Status(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, keys, status.Values(), "all were written")
	writing, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	var written atomic.Int64
	for _, key := range []string{"k0", "k1500", "k2999"} {
		other, err := client(t, c.Connect(), "raftbus").KeyValue(t.Context(), "app")
		require.NoError(t, err)
		writers.Go(func() {
			for writing.Err() == nil {
				if _, err := other.Put(writing, key, []byte("w")); err == nil {
					written.Add(1)
				}
			}
		})
	}
	t.Cleanup(func() { stop(); writers.Wait() })
	for range rounds {
		w, err := kv.Watch(t.Context(), "k0")
		require.NoError(t, err)
		require.NotNil(t, <-w.Updates(), "the end of the initial values came first")
		require.NoError(t, w.Stop())
		h, err := kv.History(t.Context(), "k0")
		require.NoError(t, err)
		require.NotEmpty(t, h)
	}
	for range rounds / 10 {
		listed, err := kv.Keys(t.Context())
		require.NoError(t, err)
		for _, key := range []string{"k0", "k1500", "k2999"} {
			require.Contains(t, listed, key)
		}
	}
	require.Greater(t, written.Load(), int64(rounds), "keys were written all the while")
}
