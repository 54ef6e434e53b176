package wal

import (
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// What is too much for one write is refused for that, whatever room there is, and nothing of it is there (Q11).
func TestWhatOneAppendMayWriteIsBounded(t *testing.T) {
	disk := waltest.New()
	l, err := Open(disk, "/log", Options{SegmentBytes: 8 << 10})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	disk.Hook(func(op waltest.Op) error { // so that a segment for all of that is made by no mistake
		if op.Kind == waltest.Create {
			return syscall.ENOSPC
		}
		return nil
	})
	megabyte, batch := make([]byte, 1<<20), Batch{Group: 1}
	for i := range rpc.Index(BatchBytesMax >> 20) {
		batch.Entries = append(batch.Entries, rpc.Entry{Index: i + 1, Term: 1, Kind: rpc.EntryCommand, Data: megabyte})
	}
	require.ErrorIs(t, l.Append(batch), ErrInvalid)
	batch.Entries = batch.Entries[:1]
	batch.Entries[0].Data = make([]byte, BatchBytesMax+1)
	require.ErrorIs(t, l.Append(batch), ErrInvalid)
	require.NoError(t, l.Append(Batch{Group: 1, Entries: entries(1, 1, 3)}))
	require.Equal(t, rpc.Index(2), l.State(1).Last.Index)
}

// A new segment is written in pieces, each synced: what is appended meanwhile never waits for much of it (L7).
func TestANewSegmentKeepsTheDiskBusyForMomentsOnly(t *testing.T) {
	disk, unsynced, most := waltest.New(), 0, 0
	disk.Hook(func(op waltest.Op) error { // the first segment is made by who opens the log: nobody else writes one
		switch {
		case !strings.HasSuffix(op.Name, tempSuffix):
		case op.Kind == waltest.Write:
			unsynced += op.Bytes
			most = max(most, unsynced)
		case op.Kind == waltest.Sync:
			unsynced = 0
		}
		return nil
	})
	folder := folder{disk, "/log"}
	require.NoError(t, disk.MkdirAll("/log", 0o700))
	s, err := folder.makeSegment(place{log: testLogID, segment: 1}, 1<<20, nil)
	require.NoError(t, err)
	require.NoError(t, s.file.Close())
	require.Positive(t, most)
	require.LessOrEqual(t, most, 256<<10)
	require.Zero(t, unsynced)
}
