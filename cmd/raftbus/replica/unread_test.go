package replica

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// A key that the leader's disk does not give any more is served soon by another node, whose disk does: the leader ends, and says why (F20).
func TestAKeyThatTheLeaderCannotReadIsServed(t *testing.T) {
	t.Parallel() // it mostly waits
	server := natstest.Run(t, embedded.Options{Host: "127.0.0.1", Port: -1})
	members, dir, fails := []string{"n1", "n2", "n3"}, t.TempDir(), map[string]*atomic.Bool{}
	begin := func() (nodes []*Replica) {
		for _, id := range members {
			fails[id] = &atomic.Bool{}
			// Only the tables of now fail: one that a flush makes later Pebble reads in the background, and would be the first to meet the fault.
			tables, err := filepath.Glob(filepath.Join(dir, id, "kv", "*", "*.sst"))
			require.NoError(t, err)
			r, err := Start(t.Context(), Options{
				ID: id, Members: members, Dir: filepath.Join(dir, id), Logger: slog.New(slog.DiscardHandler), NATS: NATSOptions{URLs: []string{server.URL()}},
				FS: faulty(fails[id], func(op errorfs.Op) bool { return readsTable(op) && slices.Contains(tables, op.Path) }, ioError),
			})
			require.NoError(t, err)
			nodes = append(nodes, r)
		}
		_, err := nodes[0].WaitReady(t.Context())
		require.NoError(t, err)
		return nodes
	}
	nc := natstest.Connect(t, server)
	nodes, value := begin(), strings.Repeat("v", 8<<10)
	request(t, nc, "raftbus.bucket.add.app", "")
	for i := range 20 {
		request(t, nc, fmt.Sprint("raftbus.kv.put.app.k", i), value) // a block of a table each, about
	}
	for _, r := range nodes { // which flushes
		stop(t, r)
	}

	nodes = begin()
	leads := func(r *Replica) bool { return r.Status().Role == "leader" }
	var bad *Replica
	require.Eventually(t, func() bool {
		i := slices.IndexFunc(nodes, leads)
		bad = nodes[max(i, 0)]
		return i >= 0
	}, patience, time.Millisecond)
	defer func() { require.ErrorIs(t, bad.Stop(t.Context()), syscall.EIO) }()
	others := slices.DeleteFunc(slices.Clone(nodes), func(r *Replica) bool { return r == bad })
	for _, r := range others {
		defer stop(t, r)
	}
	fails[bad.o.ID].Store(true)
	get := func() bool {
		m, err := nc.Request("raftbus.kv.get.app.k7", nil, time.Second)
		return err == nil && strings.Contains(string(m.Data), value)
	}
	require.Eventually(t, func() bool {
		for _, r := range others {
			if leads(r) { // it was elected meanwhile
				_ = r.TransferLeadership(t.Context(), bad.o.ID)
			}
		}
		get()
		return bad.over()
	}, patience, 10*time.Millisecond)
	require.ErrorContains(t, bad.Err(), "the store's disk failed")
	require.Eventually(t, get, 30*time.Second, 10*time.Millisecond)
	for _, r := range others {
		require.False(t, r.over())
	}
}
