package replica

import (
	"crypto/rand"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/store"
)

// measured is a file system that has so much room left.
type measured struct {
	vfs.FS
	left *atomic.Uint64
}

func (m measured) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: m.left.Load(), TotalBytes: 1 << 41}, nil
}

// The log leaves to the store what that needs, which is more as the store grows: with less, writes are refused (F21).
func TestTheLogLeavesRoomToTheStore(t *testing.T) {
	t.Parallel() // it mostly waits
	var left atomic.Uint64
	left.Store(1 << 40)
	o := alone(t, measured{vfs.Default, &left})
	nc, err := nats.Connect(o.NATS.URLs[0])
	require.NoError(t, err)
	defer nc.Close()
	r := ready(t, o)
	defer stop(t, r)
	becomes := func(full bool, bytes int64) {
		t.Helper()
		left.Store(uint64(bytes))
		require.Eventually(t, func() bool { return r.node.Status().Full == full }, patience, time.Millisecond)
	}
	becomes(true, store.Reserve(0)) // there are files already
	becomes(false, store.Reserve(512<<10))
	request(t, nc, "raftbus.bucket.add.app", "")
	request(t, nc, "raftbus.kv.put.app.k", noise(800<<10))
	require.NoError(t, r.store.Flush())
	becomes(true, store.Reserve(512<<10))
	require.Contains(t, request(t, nc, "raftbus.kv.put.app.k", "v"), "full")
	require.NotEmpty(t, request(t, nc, "raftbus.kv.get.app.k", ""))
}

// noise is text that cannot be made shorter by much.
func noise(bytes int) string {
	var b strings.Builder
	for b.Len() < bytes {
		b.WriteString(rand.Text())
	}
	return b.String()[:bytes]
}

// What is left to the store grows with it, up to what one compaction takes.
func TestReserve(t *testing.T) {
	require.EqualValues(t, 48<<20, store.Reserve(0))
	require.EqualValues(t, 58<<20, store.Reserve(10<<20))
	require.EqualValues(t, 304<<20, store.Reserve(256<<20))
	require.EqualValues(t, 304<<20, store.Reserve(1<<40))
}
