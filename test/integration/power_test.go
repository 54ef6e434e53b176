package integration

// Power that fails for all nodes at once, on all the files that a node has: its log, the store's, snapshots, and what names them (C2, F17). That
// processes are killed loses nothing of what was written; here what was not synced is gone, or some of it.

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/test/cluster"
)

// powered is a disk in memory that loses what was not synced, and has room.
type powered struct{ *vfs.MemFS }

func (powered) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: 1 << 40, TotalBytes: 1 << 40}, nil
}

func TestPowerIsLostForAllNodesAtOnce(t *testing.T) {
	t.Parallel() // it mostly waits
	disks := map[string]*vfs.MemFS{}
	c := cluster.New(t, 3, func(o *replica.Options) { o.FS, o.KeepLogBytes = powered{disks[o.ID]}, -1 })
	for _, id := range c.Members {
		disks[id] = vfs.NewCrashableMem()
		c.Start(id)
	}
	c.Leader()
	nc := c.Connect()
	c.Must(nc, "raftbus.bucket.add.app", "")
	l := startPatientLoad(c, t, 3, 2, time.Minute) // all nodes are away while they are started
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 3 {
		begun := len(l.ackedSoFar())
		require.Eventually(t, func() bool { return len(l.ackedSoFar()) >= begun+50 }, 20*time.Second, time.Millisecond)
		for _, w := range c.Wires { // nothing is acknowledged from here on
			w.Cut()
		}
		acked, left := l.ackedSoFar(), map[string]*vfs.MemFS{}
		for id, disk := range disks {
			left[id] = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[round], RNG: random})
		}
		stopOfThePast(t, c)
		disks = left
		for _, id := range c.Members {
			c.Wires[id].Heal()
			c.Start(id)
		}
		c.Leader()
		for _, key := range acked {
			require.Equal(t, key, c.Must(nc, get+key, "").Value, "an acknowledged write is lost, round %d", round)
		}
	}
	l.finish(c, nc)
}
