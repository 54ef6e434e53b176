package node

import (
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// newAppender makes an appender on a disk that forgets, and records when messages leave.
func newAppender(t *testing.T, sent func(rpc.Message)) (*appender, *vfs.MemFS) {
	disk := vfs.NewCrashableMem()
	log, err := wal.Open(disk, "wal", wal.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = log.Close() })
	require.NoError(t, log.Append(wal.Batch{Base: &wal.Base{}}))
	return &appender{log: log, report: ignore, send: sent, spot: newSpot(func() {})}, disk
}

func ignore(raft.Event, bool) bool { return false }

// reports has what an appender reports noted.
func reports(a *appender) *[]raft.Event {
	var list []raft.Event
	a.report = func(e raft.Event, _ bool) bool { list = append(list, e); return false }
	return &list
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
	before, told := a.log.Stats().Syncs, reports(a)
	for i := rpc.Index(1); i <= 5; i++ {
		a.submit(job{
			write: raft.Write{Seq: uint64(i), HardState: &rpc.HardState{Term: 1, Vote: "n2"}, Entries: []rpc.Entry{entry(i)}},
			then:  []rpc.Message{{Body: &rpc.AppendLogReturn{Match: i}}},
		}, true)
	}
	a.submit(job{then: []rpc.Message{{Body: &rpc.AppendLogReturn{Match: 5}}}}, true) // of a turn that wrote nothing
	worked, err := a.step()
	require.NoError(t, err)
	require.True(t, worked)
	require.Equal(t, 6, left)
	require.Equal(t, before+1, a.log.Stats().Syncs, "writes that wait together share a sync")
	require.Equal(t, []raft.Event{raft.DiskDone{Seq: 5}}, *told)
}

// What waits when the node stops becomes durable, though that takes more than one append.
func TestWhatWaitsIsWrittenBeforeTheNodeStops(t *testing.T) {
	a, _ := newAppender(t, nil)
	write := func(i rpc.Index, then ...rpc.Message) {
		a.submit(job{write: raft.Write{Seq: uint64(i), Entries: []rpc.Entry{entry(i)}}, then: then}, true)
	}
	a.send = func(rpc.Message) { write(2) } // while the first is finished
	write(1, rpc.Message{})
	stop := make(chan struct{})
	close(stop)
	require.NoError(t, a.run(stop))
	require.Equal(t, rpc.Index(2), a.log.State(0).Last.Index)
}

// What a full disk keeps waiting is written once there is room, though nothing comes that would have the appender look again (F21).
func TestAFullDiskIsTriedAgain(t *testing.T) {
	t.Parallel() // it mostly waits
	a, disk := crampedAppender(t)
	a.report = ignore
	stop, ended := make(chan struct{}), make(chan error, 1)
	tried := make(chan struct{}, 1)
	disk.Hook(func(op waltest.Op) error {
		if op.Kind != waltest.Create {
			return nil
		}
		select {
		case tried <- struct{}{}:
		default:
		}
		return syscall.ENOSPC
	})
	a.submit(job{write: raft.Write{Seq: 1, Entries: tooLarge(1)}}, true)
	go func() { ended <- a.run(stop) }()
	<-tried
	require.Eventually(t, a.waits, 30*time.Second, time.Millisecond, "it is not put back") // the same step may meet the disk once more
	disk.Hook(nil)
	require.Eventually(t, func() bool { return a.log.State(0).Last.Index == 1 }, 30*time.Second, time.Millisecond)
	close(stop)
	require.NoError(t, <-ended)
}

// Messages alone are bounded; writes never are dropped here.
func TestAppenderBound(t *testing.T) {
	a, _ := newAppender(t, func(rpc.Message) {})
	for range jobsMax + 10 {
		a.submit(job{then: []rpc.Message{{}}}, true)
	}
	a.submit(job{write: raft.Write{Seq: 1, Entries: []rpc.Entry{entry(1)}}}, true)
	require.Len(t, a.waiting, jobsMax+1)
}

// What waited for a slow disk is not more at once than the log takes, but for what one turn has written.
func TestAppendsAreBounded(t *testing.T) {
	half := rpc.Entry{Index: 1, Term: 1, Data: make([]byte, appendBytesMax/2)}
	of := func(entries ...rpc.Entry) job { return job{write: raft.Write{Seq: 1, Entries: entries}} }
	a := &appender{waiting: []job{of(half), of(half), of(half, half, half), of(entry(1)), of(entry(1))}}
	for _, want := range []int{1, 1, 1, 2} { // two halves are more than the whole, by what belongs to an entry
		require.True(t, a.take())
		require.Len(t, a.jobs, want)
	}
	require.False(t, a.take())
}

// When the room left is not enough for all that waits, what fits is made durable, in order, and no message leaves before all that it
// attests is; when there is room again the rest follows (F21).
func TestAppenderOnAFullDisk(t *testing.T) {
	disk := waltest.New()
	log, err := wal.Open(disk, "wal", wal.Options{Inline: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = log.Close() })
	require.NoError(t, log.Append(wal.Batch{Base: &wal.Base{}}))
	left, released := 0, 0
	a := &appender{log: log, send: func(rpc.Message) { left++ }, release: func() { released++ }, spot: newSpot(func() {})}
	told := reports(a)
	full := true
	disk.Hook(func(op waltest.Op) error {
		if full && op.Kind == waltest.Create {
			return syscall.ENOSPC
		}
		return nil
	})
	for seq := range uint64(3) {
		j := job{write: raft.Write{Seq: seq + 1, HardState: &rpc.HardState{Term: rpc.Term(seq + 1)}}, then: []rpc.Message{{}}}
		for i := range rpc.Index(10) {
			e := entry(rpc.Index(seq)*10 + i + 1)
			e.Data = make([]byte, 50<<10)
			j.write.Entries = append(j.write.Entries, e)
		}
		if seq == 1 {
			j.write.Base = &raft.Base{ID: rpc.EntryID{Term: 1, Index: 5}}
		}
		a.submit(j, true)
	}
	for err == nil {
		_, err = a.step()
	}
	require.ErrorIs(t, err, wal.ErrFull)
	held := log.State(0).Last.Index
	require.Greater(t, held, rpc.Index(10), "what fits is not written")
	require.Less(t, held, rpc.Index(30))
	require.Equal(t, int(held/10), left, "a message left before its write, or stayed after it")
	require.Equal(t, rpc.Index(5), log.State(0).Base.ID.Index)
	require.Equal(t, 1, released, "a base is durable with the first piece, and its snapshot is let go of")
	full = false
	for worked := true; worked; {
		worked, err = a.step()
		require.NoError(t, err)
	}
	require.Equal(t, 3, left)
	require.Equal(t, 1, released)
	require.Equal(t, rpc.Index(30), log.State(0).Last.Index)
	require.Equal(t, raft.DiskDone{Seq: 3}, (*told)[len(*told)-1])
}

// crampedAppender is one on a disk that has no room for another segment, until its hook goes.
func crampedAppender(t *testing.T) (*appender, *waltest.FS) {
	disk := waltest.New()
	log, err := wal.Open(disk, "wal", wal.Options{Inline: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = log.Close() })
	require.NoError(t, log.Append(wal.Batch{Base: &wal.Base{}}))
	disk.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Create {
			return syscall.ENOSPC
		}
		return nil
	})
	return &appender{log: log, send: func(rpc.Message) {}, spot: newSpot(func() {})}, disk
}

// tooLarge is an entry for which the segment that is ready has no room.
func tooLarge(i rpc.Index) []rpc.Entry {
	e := entry(i)
	e.Data = make([]byte, 2<<20)
	return []rpc.Entry{e}
}

// Nor does what is repaired wait for the room of new entries that came with it: until the core hears of it the node counts for nothing (F18, F21).
func TestARepairDoesNotWaitForTheRoomOfNewEntries(t *testing.T) {
	a, disk := crampedAppender(t)
	require.NoError(t, a.log.Append(wal.Batch{Entries: []rpc.Entry{entry(1)}}))
	told := reports(a)
	a.submit(job{write: raft.Write{Seq: 7, Repairs: []rpc.Entry{entry(1)}, Entries: tooLarge(2)}}, true)
	for range 3 {
		_, err := a.step()
		require.ErrorIs(t, err, wal.ErrFull)
		require.Equal(t, []raft.Event{raft.PartDone{Seq: 7}}, *told, "once")
	}
	disk.Hook(nil)
	_, err := a.step()
	require.NoError(t, err)
	require.Equal(t, []raft.Event{raft.PartDone{Seq: 7}, raft.DiskDone{Seq: 7}}, *told)
}

// Where entries find no room, the hard state that came with them does, in the reserve that the log keeps for it; the core hears of it at once (F21).
func TestAHardStateDoesNotWaitForTheRoomOfItsEntries(t *testing.T) {
	a, disk := crampedAppender(t)
	log, told, left := a.log, reports(a), 0
	a.send = func(rpc.Message) { left++ }
	a.submit(job{write: raft.Write{Seq: 7, HardState: &rpc.HardState{Term: 4}, Entries: tooLarge(1)}, then: []rpc.Message{{}}}, true)
	a.submit(job{write: raft.Write{Seq: 8, HardState: &rpc.HardState{Term: 5}}}, true)
	for range 3 {
		_, err := a.step()
		require.ErrorIs(t, err, wal.ErrFull)
		require.Equal(t, rpc.HardState{Term: 4}, log.State(0).HardState)
		require.Zero(t, log.State(0).Last.Index)
		require.Equal(t, []raft.Event{raft.PartDone{Seq: 7}}, *told, "once")
		require.Zero(t, left, "what the entries attest")
	}
	disk.Hook(nil)
	for worked := true; worked; {
		var err error
		worked, err = a.step()
		require.NoError(t, err)
	}
	require.Equal(t, rpc.Index(1), log.State(0).Last.Index)
	require.Equal(t, rpc.HardState{Term: 5}, log.State(0).HardState)
	require.Equal(t, raft.DiskDone{Seq: 8}, (*told)[len(*told)-1])
	require.Equal(t, 1, left)
}

// What a full disk keeps waiting stays in its order, also what waited for more than one append (F21).
func TestWhatAFullDiskKeepsWaitingStaysInItsOrder(t *testing.T) {
	a, disk := crampedAppender(t)
	a.report = ignore
	for i := rpc.Index(1); i <= 3; i++ {
		e := entry(i)
		e.Data = make([]byte, appendBytesMax*2/5) // two go in one append
		a.submit(job{write: raft.Write{Seq: uint64(i), Entries: []rpc.Entry{e}}}, true)
	}
	_, err := a.step()
	require.ErrorIs(t, err, wal.ErrFull)
	disk.Hook(nil)
	for worked := true; worked; {
		worked, err = a.step()
		require.NoError(t, err)
	}
	require.Equal(t, rpc.Index(3), a.log.State(0).Last.Index)
}

// A hard state for which not even the reserve has room keeps its entries: they are written when there is some, and not said to be before (I10, F21).
func TestEntriesWaitWithAHardStateThatHasNoRoom(t *testing.T) {
	a, disk := crampedAppender(t)
	term, err := rpc.Term(1), error(nil)
	for ; err == nil; term++ {
		err = a.log.Append(wal.Batch{HardState: &rpc.HardState{Term: term}})
	}
	require.ErrorIs(t, err, wal.ErrFull)
	told := reports(a)
	a.submit(job{write: raft.Write{Seq: 7, HardState: &rpc.HardState{Term: term}, Entries: []rpc.Entry{entry(1)}}}, true)
	_, err = a.step()
	require.ErrorIs(t, err, wal.ErrFull)
	require.Empty(t, *told)
	disk.Hook(nil)
	_, err = a.step()
	require.NoError(t, err)
	require.Equal(t, term, a.log.State(0).HardState.Term)
	require.Equal(t, rpc.Index(1), a.log.State(0).Last.Index)
	require.Equal(t, []raft.Event{raft.DiskDone{Seq: 7}}, *told)
}

// What is written is let go: an appender that has nothing to do keeps no entries from being freed.
func TestWhatIsWrittenIsLetGo(t *testing.T) {
	a, _ := newAppender(t, func(rpc.Message) {})
	for i := rpc.Index(1); i <= 5; i++ {
		a.submit(job{write: raft.Write{Seq: uint64(i), Entries: []rpc.Entry{entry(i)}}, then: []rpc.Message{{}}}, true)
	}
	_, err := a.step()
	require.NoError(t, err)
	require.GreaterOrEqual(t, cap(a.jobs), 5)
	for _, j := range a.jobs[:cap(a.jobs)] {
		require.Zero(t, j)
	}
}
