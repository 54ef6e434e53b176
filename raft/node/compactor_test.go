package node

import (
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// A snapshot is installed between the moment at which the core agrees to a compaction and that at which it is carried out: the log begins
// later then, and goes on to. The node stopped (test/sim/BUGS.md, S9).
func TestACompactionThatASnapshotHasOvertakenChangesNothing(t *testing.T) {
	log, err := wal.Open(vfs.NewMem(), "wal", wal.Options{Inline: true})
	require.NoError(t, err)
	defer log.Close()
	require.NoError(t, log.Append(wal.Batch{Base: &wal.Base{}, Entries: []rpc.Entry{entry(1), entry(2), entry(3)}}))
	c := &compactor{worker: newWorker(), log: log, inbox: newInbox(), logger: slog.New(slog.DiscardHandler)}
	c.compact(raft.Base{ID: rpc.EntryID{Term: 1, Index: 2}}) // its time is not known: it is looked up
	installed := wal.Base{ID: rpc.EntryID{Term: 1, Index: 9}, Configuration: encodeBase(&raft.Base{Time: 7})}
	require.NoError(t, log.Append(wal.Batch{Base: &installed}))
	worked, err := c.step()
	require.NoError(t, err)
	require.True(t, worked)
	require.Equal(t, installed, log.State(0).Base)
}
