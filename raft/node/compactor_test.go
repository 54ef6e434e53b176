package node

import (
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
	"github.com/raftbus/raftbus/raft/wal/waltest"
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
	installed := wal.Base{ID: rpc.EntryID{Term: 1, Index: 9}, Configuration: folder.EncodeBase(&raft.Base{Time: 7})}
	require.NoError(t, log.Append(wal.Batch{Base: &installed}))
	worked, err := c.step()
	require.NoError(t, err)
	require.True(t, worked)
	require.Equal(t, installed, log.State(0).Base)
}

// The log is looked at once in a second, and not with each tick.
func TestTheLogIsLookedAtNowAndThen(t *testing.T) {
	log, err := wal.Open(vfs.NewMem(), "wal", wal.Options{Inline: true})
	require.NoError(t, err)
	defer log.Close()
	c := &compactor{worker: newWorker(), log: log, look: log.Room, machine: durable{}, inbox: newInbox(), logger: quiet()}
	looks := 0
	for range 3 * compactEvery {
		c.tick(func(rpc.Index) {})
		for c.waiting() > 0 {
			looks++
			_, err := c.step()
			require.NoError(t, err)
		}
		for _, call := range c.inbox.take(batch{}).calls {
			call()
		}
	}
	require.Equal(t, 3, looks)
}

// durable is a state machine of which only that matters up to where it is durable.
type durable struct {
	StateMachine
	to rpc.Index
}

func (d durable) Durable() rpc.Index { return d.to }

func writeOne(log *wal.Log, last *rpc.Index) error {
	e := entry(*last + 1)
	e.Data = make([]byte, 1<<10)
	err := log.Append(wal.Batch{Entries: []rpc.Entry{e}})
	if err == nil {
		*last++
	}
	return err
}

// On a full disk nothing is kept for members that were away for a moment: all that the state has goes (F21).
func TestAFullDiskKeepsNothingToSpare(t *testing.T) {
	fs := waltest.New()
	log, err := wal.Open(fs, "wal", wal.Options{Inline: true, SegmentBytes: 8 << 10})
	require.NoError(t, err)
	defer log.Close()
	require.NoError(t, log.Append(wal.Batch{Base: &wal.Base{}}))
	last := rpc.Index(0)
	write := func() error { return writeOne(log, &last) }
	for log.Stats().Segments < 4 {
		require.NoError(t, write())
	}
	var said strings.Builder
	c := &compactor{worker: newWorker(), log: log, look: log.Room, machine: durable{to: last}, keep: 1 << 20, inbox: newInbox(), logger: slog.New(slog.NewTextHandler(&said, nil))}
	require.Zero(t, c.horizon(), "little enough to be kept")
	lacks := syscall.EMFILE
	fs.Hook(func(op waltest.Op) error { return when(op.Kind == waltest.Create, lacks) })
	for err == nil {
		err = write()
	}
	require.ErrorIs(t, err, wal.ErrFull)
	require.Zero(t, c.horizon(), "too many files are open: to forget entries would not help")
	require.Contains(t, said.String(), "too many files are open")
	require.NotContains(t, said.String(), "the disk is full")
	lacks = syscall.ENOSPC
	require.Positive(t, c.horizon())
	require.Contains(t, said.String(), "the disk is full", "what is amiss is another thing now")
}

// A look that a hung disk holds up is not asked for again and again: each would wait, with what it holds.
func TestTheLogIsLookedAtOnceAtATime(t *testing.T) {
	c := &compactor{worker: newWorker()}
	for range 3 * compactEvery {
		c.tick(nil)
	}
	require.Len(t, c.queue, 1)
}

// What an installed snapshot has made useless goes, also on a disk that is so full that nothing is written any more (F21).
func TestSegmentsThatASnapshotMadeUselessGoOnAFullDisk(t *testing.T) {
	fs := waltest.New()
	log, err := wal.Open(fs, "wal", wal.Options{Inline: true, SegmentBytes: 8 << 10})
	require.NoError(t, err)
	defer log.Close()
	require.NoError(t, log.Append(wal.Batch{Base: &wal.Base{}}))
	fs.Hook(func(op waltest.Op) error {
		return when(op.Kind == waltest.Create && log.Stats().Segments > 3, syscall.ENOSPC)
	})
	last := rpc.Index(0)
	for err == nil {
		err = writeOne(log, &last)
	}
	require.ErrorIs(t, err, wal.ErrFull)
	installed := wal.Base{ID: rpc.EntryID{Term: 1, Index: last + 9}, Configuration: folder.EncodeBase(&raft.Base{Time: 7})}
	require.NoError(t, log.Append(wal.Batch{Base: &installed}))
	segments, appends := log.Stats().Segments, log.Stats().Appends
	c := &compactor{worker: newWorker(), log: log, look: log.Room, machine: durable{to: last + 9}, keep: 1 << 20, inbox: newInbox(), logger: slog.New(slog.DiscardHandler)}
	c.tick(func(rpc.Index) {})
	worked, err := c.step()
	require.NoError(t, err)
	require.True(t, worked)
	require.Less(t, log.Stats().Segments, segments)
	require.Equal(t, appends, log.Stats().Appends)
	require.Equal(t, installed, log.State(0).Base)
	require.NoError(t, log.Room(), "in their place there is room again")
}
