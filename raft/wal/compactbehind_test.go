package wal

// Compaction behind what came just before it: a base that an Append brings meanwhile, and entries that others have replaced.

import (
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// TestCompactionWaitsForAnInstalledSnapshot: the one that has begun to wait for such an Append finds a later base behind it.
func TestCompactionWaitsForAnInstalledSnapshot(t *testing.T) {
	fs, syncs, goOn := waltest.New(), make(chan struct{}), make(chan struct{})
	l := openTest(t, fs)
	require.NoError(t, l.Append(Batch{Base: &Base{ID: rpc.EntryID{Term: 1, Index: 1}}}))
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Sync && op.Name == "/log/"+segmentName(1) {
			syncs <- struct{}{}
			<-goOn
		}
		return nil
	})
	var work sync.WaitGroup
	work.Go(func() { assert.NoError(t, l.Append(Batch{Base: &Base{ID: rpc.EntryID{Term: 1, Index: 9}}})) })
	<-syncs
	work.Go(func() { assert.NoError(t, l.Compact(0, Base{ID: rpc.EntryID{Term: 1, Index: 5}})) })
	for !waitsIn("wal.(*Log).rebase") {
		runtime.Gosched()
	}
	fs.Hook(nil)
	close(goOn)
	work.Wait()
	require.Equal(t, rpc.EntryID{Term: 1, Index: 9}, l.State(0).Base.ID)
	require.NoError(t, l.Close())
}

// waitsIn reports whether a goroutine that was in a function waits for a lock.
func waitsIn(function string) bool {
	stacks := make([]byte, 1<<20)
	for _, one := range strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(one, "sync.Mutex.Lock") && strings.Contains(one, function) {
			return true
		}
	}
	return false
}

// TestReplacedEntriesAreNotMissed: entries that a segment held which is deleted are not missed if others have replaced them.
func TestReplacedEntriesAreNotMissed(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	last := fill(t, l, 2)
	require.Greater(t, last, rpc.Index(8))
	require.NoError(t, l.Append(Batch{Entries: entries(2, 6, 8)}))
	require.NoError(t, l.Compact(0, Base{ID: rpc.EntryID{Term: 1, Index: 5}}))
	require.Equal(t, 1, l.Stats().Segments)
	require.NoError(t, l.Close())
	l = openTest(t, fs)
	got, err := l.Entries(0, 6, 99, 1<<20)
	require.NoError(t, err)
	require.Equal(t, entries(2, 6, 8), got)
	require.NoError(t, l.Close())
}
