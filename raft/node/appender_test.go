package node

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// newAppender makes an appender on a disk that forgets, and records when messages leave.
func newAppender(t *testing.T, sent func(rpc.Message)) (*appender, *vfs.MemFS) {
	disk := vfs.NewCrashableMem()
	log, err := wal.Open(disk, "wal", wal.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = log.Close() })
	require.NoError(t, log.Append(wal.Batch{Base: &wal.Base{}}))
	return &appender{log: log, inbox: newInbox(), send: sent, wake: make(chan struct{}, 1)}, disk
}

func entry(i rpc.Index) rpc.Entry { return rpc.Entry{Index: i, Term: 1, Kind: rpc.EntryCommand} }

// All that waits is one sync; no message leaves before what it attests would survive a power loss (I10, K1, K49).
func TestMessagesLeaveAfterTheSync(t *testing.T) {
	var a *appender
	var disk *vfs.MemFS
	left := 0
	a, disk = newAppender(t, func(m rpc.Message) {
		left++
		log, err := wal.Open(disk.CrashClone(vfs.CrashCloneCfg{}), "wal", wal.Options{})
		require.NoError(t, err)
		defer log.Close()
		require.GreaterOrEqual(t, log.State(0).Last.Index, m.Body.(*rpc.AppendLogReturn).Match, "a message left before its sync")
		require.Equal(t, rpc.NodeID("n2"), log.State(0).HardState.Vote)
	})
	before := a.log.Stats().Syncs
	for i := rpc.Index(1); i <= 5; i++ {
		a.submit(job{
			write: raft.Write{Seq: uint64(i), HardState: &rpc.HardState{Term: 1, Vote: "n2"}, Entries: []rpc.Entry{entry(i)}},
			then:  []rpc.Message{{Body: &rpc.AppendLogReturn{Match: i}}},
		})
	}
	worked, err := a.step()
	require.NoError(t, err)
	require.True(t, worked)
	require.Equal(t, 5, left)
	require.Equal(t, before+1, a.log.Stats().Syncs, "writes that wait together share a sync")
	require.Equal(t, []raft.Event{raft.DiskDone{Seq: 5}}, a.inbox.take(batch{}).completions)
}

// Messages alone are bounded; writes never are dropped here.
func TestAppenderBound(t *testing.T) {
	a, _ := newAppender(t, func(rpc.Message) {})
	for range jobsMax + 10 {
		a.submit(job{then: []rpc.Message{{}}})
	}
	a.submit(job{write: raft.Write{Seq: 1, Entries: []rpc.Entry{entry(1)}}})
	require.Len(t, a.waiting, jobsMax+1)
}
