package replica

// Watches where max_payload is changed while a node runs.

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// limited is a node with a bucket, on a server that takes messages of 256 KiB, until a reload.
func limited(t *testing.T) (r *Replica, server *embedded.Server, reload func(kib int)) {
	file := filepath.Join(t.TempDir(), "nats.conf")
	write := func(kib int) {
		require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "max_payload: %dKB\n", kib), 0o600))
	}
	write(256)
	server = natstest.Run(t, embedded.Options{LeafPort: embedded.Random, ClusterPort: embedded.Random, ClusterName: "c", ConfigFile: file})
	nodes, _ := startOn(t, NATSOptions{URLs: []string{server.URL()}, LeafURLs: []string{server.LeafURL()}}, "n1")
	require.Eventually(t, func() bool { return nodes[0].Status().Watches.Leaf && nodes[0].Listens() }, patience, time.Millisecond)
	_, err := connectTo(t, server).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "app"})
	require.NoError(t, err)
	return nodes[0], server, func(kib int) { write(kib); require.NoError(t, server.Reload()) }
}

// connectTo is a client that hears what the server takes now.
func connectTo(t *testing.T, server *embedded.Server) jetstream.JetStream {
	nc := natstest.Connect(t, server)
	js, err := jetstream.NewWithDomain(nc, "raftbus")
	require.NoError(t, err)
	return js
}

// watchAll tries until a node can serve the watch: none can for a moment after its leaf connection was made anew.
func watchAll(t *testing.T, bucket jetstream.KeyValue) (w jetstream.KeyWatcher) {
	require.Eventually(t, func() bool {
		var err error
		w, err = bucket.WatchAll(t.Context())
		return err == nil
	}, patience, time.Millisecond)
	return w
}

// F11: max_payload is raised while a node runs, and what is larger than before gets to watchers too (W2).
func TestWatchersGetWhatARaisedMaxPayloadAllows(t *testing.T) {
	r, server, reload := limited(t)
	reload(512)
	r.first().noteMove() // that NATS takes more a node hears as it connects
	require.Eventually(t, func() bool { return r.first().reconnects() == 1 && r.first().listens() }, patience, time.Millisecond)
	require.NoError(t, r.first().conn.Flush(patience)) // NATS knows that it listens
	bucket, err := connectTo(t, server).KeyValue(t.Context(), "app")
	require.NoError(t, err)
	_, err = bucket.Put(t.Context(), "large", make([]byte, 400<<10))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return r.first().dialled.MaxPayload() == 512<<10 }, patience, time.Millisecond)
	w := watchAll(t, bucket)
	require.Len(t, (<-w.Updates()).Value(), 400<<10)
	require.Zero(t, r.Status().Watches.LeftOut)
}

// F11: it is lowered, and what is stored and too large is left out: the connection that this ends has the node ask NATS what it takes now.
func TestWatchersAreLeftOutWhatALoweredMaxPayloadForbids(t *testing.T) {
	r, server, reload := limited(t)
	bucket, err := connectTo(t, server).KeyValue(t.Context(), "app")
	require.NoError(t, err)
	for key, bytes := range map[string]int{"large": 200 << 10, "small": 1} {
		_, err = bucket.Put(t.Context(), key, make([]byte, bytes))
		require.NoError(t, err)
	}
	reload(64)
	r.first().dialled.ClientsMaySend(1 << 20) // ends it; until then the server holds it to what was
	bucket, err = connectTo(t, server).KeyValue(t.Context(), "app")
	require.NoError(t, err)
	w := watchAll(t, bucket)
	require.Equal(t, "small", (<-w.Updates()).Key())
	require.Eventually(t, func() bool { return r.first().reconnects() == 1 && r.first().dialled.MaxPayload() == 64<<10 }, patience, time.Millisecond)
	require.Eventually(t, func() bool { return r.Status().Watches.LeftOut > 0 }, patience, time.Millisecond)
}

// F11: it is raised, and NATS tells so those who are connected, since another server has come to its cluster: from then on clients may put what is larger,
// and watchers get it (W2).
func TestARaisedMaxPayloadIsHeardWithoutAReconnect(t *testing.T) {
	t.Parallel() // it mostly waits
	r, server, reload := limited(t)
	reload(512)
	natstest.Run(t, embedded.Options{ClusterPort: embedded.Random, ClusterName: "c", Routes: []string{server.RouteURL()}})
	require.Eventually(t, func() bool { return r.first().conn.MaxPayload() == 512<<10 }, patience, time.Millisecond)
	require.Eventually(t, func() bool { return r.first().dialled.MaxPayload() == 512<<10 }, patience, time.Millisecond)
	require.Zero(t, r.first().reconnects())
}
