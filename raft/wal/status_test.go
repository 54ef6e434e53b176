package wal

import (
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// stuckUsage is a file system that does not say any more how full it is, once it is to.
type stuckUsage struct {
	vfs.FS
	stuck       atomic.Bool
	asked, gate chan struct{}
}

func (f *stuckUsage) GetDiskUsage(string) (vfs.DiskUsage, error) {
	if f.stuck.CompareAndSwap(true, false) {
		close(f.asked)
		<-f.gate
	}
	return vfs.DiskUsage{AvailBytes: 1 << 40}, nil
}

// F22: whether there is room is known without the disk, which may hang: turns ask, and so does whoever proposes.
func TestRoomWaitsForNoDisk(t *testing.T) {
	fs := &stuckUsage{FS: vfs.NewMem(), asked: make(chan struct{}), gate: make(chan struct{})}
	l, err := Open(fs, "wal", Options{KeepFreeBytes: func() int64 { return 1 }})
	require.NoError(t, err)
	fs.stuck.Store(true)
	<-fs.asked
	require.NoError(t, l.Room(), "or the test hangs")
	close(fs.gate)
	require.NoError(t, l.Close())
}
