package watches

// Watches whose way back is barred for a while: they wait, and go on when it is free.

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/test/cluster"
)

// comesBack is how long an ordered client of nats.go may take: it asks again when it looks the second time whether something came, every two heartbeats.
const comesBack = 60 * time.Second

// fillable is a disk that says that it is full.
type fillable struct {
	vfs.FS
	full atomic.Bool
}

func (d *fillable) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	usage, err := d.FS.GetDiskUsage(path)
	if d.full.Load() {
		usage.AvailBytes = 0
	}
	return usage, err
}

// comes waits until a watcher that has to come back has an event of a key.
func comes(t testing.TB, w jetstream.KeyWatcher, key string) {
	t.Helper()
	late := time.After(comesBack)
	for {
		select {
		case e, open := <-w.Updates():
			require.True(t, open, "the watch has ended")
			if e.Key() == key {
				return
			}
		case <-late:
			require.FailNow(t, "no update", key)
		}
	}
}

// Where there is no room for the record of a consumer, an ordered client that was sent back asks again until there is (F21).
func TestAWatcherThatComesBackWhileTheDiskIsFullGoesOn(t *testing.T) {
	t.Parallel() // it mostly waits
	disk := &fillable{FS: vfs.Default}
	c := cluster.Started(t, 1, func(o *replica.Options) { o.FS = disk })
	c.AwaitWatches()
	kv, nc := open(t, c, jetstream.KeyValueConfig{Bucket: "app"})
	w := watchNew(t, kv)
	put(t, nc, "before", "")
	comes(t, w, "before")
	answers, err := nc.SubscribeSync("_INBOX.>")
	require.NoError(t, err)

	disk.full.Store(true)
	require.Eventually(t, func() bool {
		ack, err := nc.Request("$JS.raftbus.API.$KV.app.full", nil, retry)
		return err == nil && strings.Contains(string(ack.Data), `"err_code":10047`)
	}, patience, 20*time.Millisecond, "writes are taken though the disk is full")
	c.Wires["n1"].Cut()
	c.Wires["n1"].Heal()
	require.Eventually(t, func() bool { return refusedConsumer(answers) }, comesBack, time.Millisecond, "it does not come back")
	disk.full.Store(false)
	put(t, nc, "after", "")
	comes(t, w, "after")
	require.NoError(t, w.Stop())
}

// Who comes back makes another consumer, while the one of the host that is gone still counts (Q12).
func TestAWatcherAtTheBoundOfWatchesOutlivesItsHost(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3, func(o *replica.Options) { o.Bounds.Watches = 1 })
	c.AwaitWatches()
	kv, nc := open(t, c, jetstream.KeyValueConfig{Bucket: "app"})
	w := watchNew(t, kv)
	put(t, nc, "before", "")
	comes(t, w, "before")

	host := busiest(c)
	c.Wires[host].Cut()
	defer c.Wires[host].Heal()
	put(t, nc, "after", "")
	comes(t, w, "after")
	require.NoError(t, w.Stop())
}

// refusedConsumer reports whether the next answer is that a consumer is not made.
func refusedConsumer(answers *nats.Subscription) bool {
	m, err := answers.NextMsg(retry)
	return err == nil && strings.Contains(string(m.Data), `consumer_create_response","error"`)
}
