package replica

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
)

// A key that the leader's disk does not give any more is served soon by another node, whose disk does: the leader ends, and says why (F20).
func TestAKeyThatTheLeaderCannotReadIsServed(t *testing.T) {
	t.Parallel() // it mostly waits
	server, err := embedded.Start(embedded.Options{Host: "127.0.0.1", Port: -1})
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	members, dir, fails := []string{"n1", "n2", "n3"}, t.TempDir(), map[string]*atomic.Bool{}
	begin := func() (nodes []*Replica) {
		for _, id := range members {
			fail := &atomic.Bool{}
			fails[id] = fail
			r, err := Start(t.Context(), Options{
				ID: id, Members: members, Dir: filepath.Join(dir, id), Logger: slog.New(slog.DiscardHandler), NATS: NATSOptions{URLs: []string{server.URL()}},
				FS: errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
					if fail.Load() && op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, ".sst") {
						return syscall.EIO
					}
					return nil
				})),
			})
			require.NoError(t, err)
			nodes = append(nodes, r)
		}
		_, err := nodes[0].WaitReady(t.Context())
		require.NoError(t, err)
		return nodes
	}
	nc, err := nats.Connect(server.URL())
	require.NoError(t, err)
	defer nc.Close()
	nodes, value := begin(), strings.Repeat("v", 8<<10)
	_, err = nc.Request("raftbus.bucket.add.app", nil, 5*time.Second)
	require.NoError(t, err)
	for i := range 20 {
		_, err := nc.Request(fmt.Sprint("raftbus.kv.put.app.k", i), []byte(value), 5*time.Second) // a block of a table each, about
		require.NoError(t, err)
	}
	for _, r := range nodes { // which flushes
		stop(t, r)
	}

	nodes = begin()
	for _, r := range nodes {
		if r.Status().Leader == r.o.ID {
			defer func() { require.ErrorIs(t, r.Stop(t.Context()), syscall.EIO) }()
			fails[r.o.ID].Store(true)
		} else {
			defer stop(t, r)
		}
	}
	require.Eventually(t, func() bool {
		m, err := nc.Request("raftbus.kv.get.app.k7", nil, time.Second)
		return err == nil && strings.Contains(string(m.Data), value)
	}, 10*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		over := 0
		for _, r := range nodes {
			if r.over() {
				over++
				require.ErrorContains(t, r.Err(), "a read failed")
			}
		}
		return over == 1
	}, 10*time.Second, 10*time.Millisecond)
}
