package wal

// A log without a goroutine, as simulations have it: the same file operations each time, each of them where it is asked
// for, and a full disk that shows at once.

import (
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

func openInline(t require.TestingT, fs vfs.FS) *Log {
	l, err := Open(fs, "/log", Options{SegmentBytes: 8 << 10, LogID: testLogID, Inline: true})
	require.NoError(t, err)
	return l
}

// TestInlineIsDeterministic: no goroutine, no clock, and from the same steps the same operations and the same bytes.
func TestInlineIsDeterministic(t *testing.T) {
	run := func() ([]waltest.Op, disk) {
		before := goleak.IgnoreCurrent()
		var ops []waltest.Op
		fs := waltest.New()
		fs.Hook(func(op waltest.Op) error {
			if op.Kind.Changes() { // reads follow the order in which the test asks
				ops = append(ops, op)
			}
			return nil
		})
		l, j := openInline(t, fs), &journal{acked: model{}}
		s := &script{rng: seeded(11), most: 900}
		for range 60 {
			require.NoError(t, j.work(l, s, 1))
			require.NoError(t, l.Room())
			require.NoError(t, goleak.Find(before))
		}
		require.Zero(t, l.Stats().SyncMax)
		require.NoError(t, l.Close())
		l = openInline(t, fs)
		require.Empty(t, j.differs(l))
		require.NoError(t, l.Close())
		fs.Hook(nil)
		return ops, readDisk(t, fs)
	}
	ops, files := run()
	again, filesAgain := run()
	require.Equal(t, ops, again)
	require.Equal(t, files, filesAgain)
	require.Greater(t, len(files), 3)
}

// TestInlineFullDisk: an append that needs a segment says ErrFull itself, and so does Room; the next of either tries again.
func TestInlineFullDisk(t *testing.T) {
	fs, disk := waltest.New(), &fullDisk{}
	fs.Hook(disk.hook)
	l := openInline(t, fs)
	m, next := model{}, rpc.Index(1)
	add := func() error {
		b := Batch{Entries: entries(1, next, next+1)}
		err := l.Append(b)
		if err == nil {
			m, next = m.with(b), next+1
		}
		m.check(t, l)
		return err
	}
	for round := range 3 {
		disk.set(true)
		err := error(nil)
		for err == nil {
			err = add()
		}
		require.ErrorIs(t, err, ErrFull)
		require.ErrorIs(t, l.Room(), ErrFull)
		disk.set(false)
		if round%2 == 0 {
			require.NoError(t, l.Room())
			disk.set(true) // the segment is there
		}
		require.NoError(t, add())
	}
	require.ErrorIs(t, l.Room(), ErrFull, "the one after the active segment has no place")
	require.NoError(t, l.Close())
	l = openInline(t, fs)
	m.check(t, l)
	require.NoError(t, l.Close())
}

// TestInlineKeepFree: free space is looked at by each Room, and by nothing else.
func TestInlineKeepFree(t *testing.T) {
	fs := vfs.NewMem()
	free := func(n uint64) { fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: n, TotalBytes: 1 << 30}) }
	free(1 << 20)
	l, err := Open(fs, "/log", Options{SegmentBytes: 8 << 10, KeepFreeBytes: func() int64 { return 1 << 20 }, Inline: true})
	require.NoError(t, err)
	require.ErrorIs(t, l.Room(), ErrFull, "another segment would use the reserve")
	require.NoError(t, l.Append(Batch{Entries: entries(1, 1, 2)}))
	free(1<<20 + 8<<10)
	require.NoError(t, l.Room(), "and makes the segment")
	free(1<<20 - 1)
	require.ErrorIs(t, l.Room(), ErrFull, "the store itself used it")
	require.NoError(t, l.Append(Batch{Entries: entries(1, 2, 3)}))
	free(1 << 20)
	require.NoError(t, l.Room())
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Room(), ErrClosed)
}

// TestInlineFailure: a segment that could not be made for another reason than space is not tried again (D5).
func TestInlineFailure(t *testing.T) {
	fs := waltest.New()
	l := openInline(t, fs)
	tries := 0
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Create && strings.HasSuffix(op.Name, tempSuffix) {
			tries++
			return syscall.EIO
		}
		return nil
	})
	require.ErrorIs(t, l.Room(), ErrFailed)
	require.ErrorIs(t, l.Room(), syscall.EIO)
	require.ErrorIs(t, l.Append(Batch{Entries: entries(1, 1, 2)}), ErrFailed)
	require.ErrorIs(t, l.prep.status(), syscall.EIO, "somebody who asked at the same moment")
	require.Equal(t, 1, tries)
	require.NoError(t, l.Close())
}
