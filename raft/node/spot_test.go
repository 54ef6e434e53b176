package node

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/stalltest"
	"github.com/raftbus/raftbus/raft/wal"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// gaugedDisk calls syncing before each sync of a file's data, on the goroutine that syncs.
type gaugedDisk struct {
	vfs.FS
	syncing func() error
}

type gaugedFile struct {
	vfs.File
	disk *gaugedDisk
}

func (d *gaugedDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return &gaugedFile{f, d}, err
}

func (d *gaugedDisk) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, c, opts...)
	return &gaugedFile{f, d}, err
}

func (f *gaugedFile) SyncData() error {
	if err := f.disk.syncing(); err != nil {
		return err
	}
	return f.File.SyncData()
}

// onSpotNow reports whether the caller is called by work on the spot.
func onSpotNow() bool {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "(*Node).onSpot") {
			return true
		}
		if !more {
			return false
		}
	}
}

// gauged is a group of three with a disk each that calls syncing.
func gauged(t *testing.T, hub func(*hub), syncing func(id rpc.NodeID) error) *group {
	g := emptyGroup(t, "n1", "n2", "n3")
	hub(g.hub)
	g.onDisk = func(id rpc.NodeID, disk vfs.FS) vfs.FS {
		return &gaugedDisk{disk, func() error { return syncing(id) }}
	}
	return g.begin()
}

func withLanes(*hub) {}

// What a client alone writes is synced by followers on the goroutine that reads the bulk connection, and by the leader on its appender's,
// beside its followers. What comes on the control connection, or over TLS, is left to the appender.
func TestWhoSyncsWhatOneClientWrites(t *testing.T) {
	t.Parallel()
	for name, hub := range map[string]func(*hub){"lanes": withLanes, "control only": func(h *hub) { h.narrow = true }, "plain": func(h *hub) { h.plain = true }} {
		t.Run(name, func(t *testing.T) {
			never := name != "lanes"
			var mu sync.Mutex
			spots := map[rpc.NodeID]int{}
			g := gauged(t, hub, func(id rpc.NodeID) error {
				if onSpotNow() {
					mu.Lock()
					defer mu.Unlock()
					spots[id]++
				}
				return nil
			})
			var leader rpc.NodeID
			var is Status
			for !is.Serving { // in the very term that is noted
				n := g.leader()
				leader, is = n.id(), n.Status()
			}
			mu.Lock()
			clear(spots)
			mu.Unlock()
			enough := func() bool {
				mu.Lock()
				defer mu.Unlock()
				followed := 0
				for id, n := range spots {
					if id != leader {
						followed = max(followed, n)
					}
				}
				return never && g.machines[leader].value() > 100 || followed >= 20
			}
			for stalls := stalltest.During(t); !enough(); g.add(1) {
				require.Less(t, stalls.Took(), 20*time.Second, "no follower syncs on the spot; %v", stalls)
				for _, n := range g.hub.nodes {
					n.appender.spot.readyNow() // how quick a busy machine is is not what is tested here
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if is.Term == g.hub.nodes[leader].Status().Term { // else another led for a while: this machine has other work
				require.Zero(t, spots[leader], "who leads does not read the others' answers while it syncs")
			}
			if never {
				require.Empty(t, spots)
			}
		})
	}
}

// A follower whose disk begins to hang, on the spot, takes turns all the same: as long as heartbeats come it follows. It comes back when the disk is
// well, and the others go on (F22).
func TestDiskThatHangsOnTheSpotHoldsUpNoTurn(t *testing.T) {
	t.Parallel()
	var hangs atomic.Bool
	hung, release := make(chan rpc.NodeID, 1), make(chan struct{})
	g := gauged(t, withLanes, func(id rpc.NodeID) error {
		if hangs.Load() && onSpotNow() && hangs.CompareAndSwap(true, false) {
			hung <- id
			<-release
		}
		return nil
	})
	letGo := sync.OnceFunc(func() { close(release) })
	t.Cleanup(letGo) // before the nodes stop
	hangs.Store(true)
	var follower *Node
	require.Eventually(t, func() bool {
		g.add(1)
		select {
		case id := <-hung:
			follower = g.hub.nodes[id]
			return true
		default:
			return false
		}
	}, 20*time.Second, time.Millisecond)
	stalls := stalltest.During(t)
	leader, held := g.leader().id(), g.logs[follower.id()].State(0).Last.Index
	follows := func() bool { return follower.Status().Leader == leader }
	require.Eventually(t, follows, 30*time.Second, time.Millisecond)
	looks, alone := 0, 0
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); looks++ {
		g.add(1)
		if g.leader().id() != leader {
			require.GreaterOrEqual(t, stalls.Longest(), 300*time.Millisecond, "another is elected")
			leader = g.leader().id()
		}
		if !follows() {
			alone++
		}
	}
	require.Less(t, alone, looks/4, "it takes no turn when a heartbeat comes") // for a moment it may, on a busy machine
	require.Eventually(t, func() bool { leader = g.leader().id(); return follows() }, 30*time.Second, time.Millisecond)
	require.Eventually(t, func() bool {
		free := follower.turning.TryLock()
		if free {
			follower.turning.Unlock()
		}
		return free
	}, 30*time.Second, time.Millisecond, "its turn is held up")
	require.Equal(t, held, g.logs[follower.id()].State(0).Last.Index)
	letGo()
	want := g.add(0)
	require.Eventually(t, func() bool { return g.machines[follower.id()].value() == want }, 20*time.Second, time.Millisecond)
}

// A sync that fails on the spot stops the node, as any does (D5).
func TestSyncThatFailsOnTheSpotStopsTheNode(t *testing.T) {
	bad := errors.New("bad sector")
	failed := make(chan rpc.NodeID, 3)
	var fails atomic.Bool
	g := gauged(t, withLanes, func(id rpc.NodeID) error {
		if fails.Load() && onSpotNow() && fails.CompareAndSwap(true, false) {
			failed <- id
			return bad
		}
		return nil
	})
	fails.Store(true)
	var id rpc.NodeID
	require.Eventually(t, func() bool {
		g.add(1)
		select {
		case id = <-failed:
			return true
		default:
			return false
		}
	}, 20*time.Second, time.Millisecond)
	<-g.hub.nodes[id].Done()
	require.ErrorIs(t, g.hub.nodes[id].Err(), bad)
	g.cutOff(id, true)
	g.hub.leave(id)
	require.NoError(t, g.logs[id].Close())
	g.ids = slices.DeleteFunc(g.ids, func(other rpc.NodeID) bool { return other == id })
	g.add(1) // the others go on
}

// readyNow has others do what is to be done.
func (s *spot) readyNow() { s.quick.Store(spotQuickMin) }

// A write on the spot is made durable before the messages that attest it leave, by whoever may; else the goroutine is woken, and nothing is lost.
func TestAppenderOnTheSpot(t *testing.T) {
	var left []rpc.Index
	a, _ := newAppender(t, func(m rpc.Message) { left = append(left, m.Body.(*rpc.AppendLogReturn).Match) })
	put := func(i rpc.Index) {
		a.submit(job{write: raft.Write{Seq: uint64(i), Entries: []rpc.Entry{entry(i)}}, then: []rpc.Message{{Body: &rpc.AppendLogReturn{Match: i}}}}, false)
	}
	told := reports(a)
	put(1)
	require.NoError(t, a.onSpot())
	require.Equal(t, []rpc.Index{1}, left)
	require.Equal(t, rpc.Index(1), a.log.State(0).Last.Index)
	require.Equal(t, []raft.Event{raft.DiskDone{Seq: 1}}, *told)
	require.Empty(t, a.spot.bell)

	a.spot.begin() // the goroutine is at it
	put(2)
	require.NoError(t, a.onSpot())
	require.Equal(t, []rpc.Index{1}, left)
	require.Len(t, a.spot.bell, 1, "nobody does it")
	_, err := a.spot.run(a.step)
	require.NoError(t, err)
	require.Equal(t, []rpc.Index{1, 2}, left)

	stop := make(chan struct{})
	close(stop)
	require.NoError(t, a.run(stop))
	put(3)
	require.NoError(t, a.onSpot())
	require.Equal(t, []rpc.Index{1, 2}, left, "the log may be closed")
}

// What others have queued meanwhile is not done on the spot if it is much.
func TestOnlyLittleIsDoneOnTheSpot(t *testing.T) {
	a, _ := newAppender(t, func(rpc.Message) { t.Error("it was done") })
	for i := range rpc.Index(2) {
		e := entry(i + 1)
		e.Data = make([]byte, spotBytesMax/2)
		a.submit(job{write: raft.Write{Seq: uint64(i + 1), Entries: []rpc.Entry{e}}, then: []rpc.Message{{}}}, false)
	}
	require.NoError(t, a.onSpot())
	require.Len(t, a.spot.bell, 1)
	a.waiting = nil
	a.submit(job{write: raft.Write{Seq: 1, Repairs: []rpc.Entry{entry(1)}}, then: []rpc.Message{{}}}, false)
	require.NoError(t, a.onSpot())
	require.Equal(t, 1, len(a.waiting))
}

// A snapshot is installed after the run that was left for the spot before it, and by the applier's goroutine, also if that has done the run (F29).
func TestInstallComesAfterTheRunThatWasLeft(t *testing.T) {
	m := &sum{}
	var done []raft.Event
	a := &applier{machine: m, waiters: &waiters{}, spot: newSpot(func() {}), report: func(e raft.Event, _ bool) bool { done = append(done, e); return true }}
	run := func(i rpc.Index) applyWork {
		return applyWork{run: raft.Apply{From: i, To: i, Entries: []rpc.Entry{{Index: i, Term: 1, Kind: rpc.EntryNoop}}}}
	}
	install := applyWork{install: raft.Install{Snapshot: rpc.EntryID{Index: 9, Term: 1}}}
	a.submit(run(1), false)
	a.submit(install, false)
	require.NoError(t, a.onSpot())
	require.Equal(t, []raft.Event{raft.ApplyDone{Index: 1}}, done)
	require.NoError(t, a.onSpot(), "the snapshot is not the reader's to install")
	require.Equal(t, 1, a.waiting())
	require.Len(t, a.spot.bell, 1)

	<-a.spot.bell
	a.queue = []applyWork{run(2)}
	a.spot.begin() // the goroutine is at it
	require.NoError(t, a.onSpot())
	require.Len(t, a.spot.bell, 1, "nobody does it")
	_, err := a.spot.run(a.step)
	require.NoError(t, err)
	require.Equal(t, []raft.Event{raft.ApplyDone{Index: 1}, raft.ApplyDone{Index: 2}}, done)
}

// What somebody brought while a turn was under way does not wait for what that turn left to be done on the spot: the loop is woken.
func TestWorkOnTheSpotHoldsUpNothingThatWaits(t *testing.T) {
	n := &Node{inbox: newInbox()}
	require.NoError(t, n.onSpot(spotWork{}))
	require.Empty(t, n.inbox.bell)
	n.inbox.prompt.Store(true)
	n.inbox.message(rpc.Message{Body: &rpc.HeartbeatCommand{}})
	require.NoError(t, n.onSpot(spotWork{}))
	require.Len(t, n.inbox.bell, 1)
}

// A full disk is no error on the spot either: the goroutine tries again, and nobody else does until it has room (F21).
func TestFullDiskOnTheSpot(t *testing.T) {
	disk := waltest.New()
	log, err := wal.Open(disk, "wal", wal.Options{Inline: true, SegmentBytes: 16 << 10})
	require.NoError(t, err)
	t.Cleanup(func() { _ = log.Close() })
	require.NoError(t, log.Append(wal.Batch{Base: &wal.Base{}}))
	tried := 0
	disk.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Create {
			tried++
			return syscall.ENOSPC
		}
		return nil
	})
	a := &appender{log: log, report: ignore, send: func(rpc.Message) { t.Error("a message left") }, spot: newSpot(func() {})}
	a.spot.readyNow()
	e := entry(1)
	e.Data = make([]byte, 32<<10)
	a.submit(job{write: raft.Write{Seq: 1, Entries: []rpc.Entry{e}}, then: []rpc.Message{{}}}, false)
	require.NoError(t, a.onSpot())
	require.Positive(t, tried)
	require.Len(t, a.spot.bell, 1)
	require.True(t, a.waits())
	require.False(t, a.spot.ready())
	require.True(t, a.spot.try(), "it goes on")
}

// A turn follows a step once that has let go, if the step is a reason for one; after a fatal error no other step begins.
func TestWhatFollowsAStep(t *testing.T) {
	acted := 0
	var s *spot
	s = newSpot(func() {
		acted++
		require.True(t, s.try(), "the queue waits for a turn")
		s.mu.Unlock()
	})
	for _, acts := range []bool{true, false} {
		require.True(t, s.begin())
		worked, err := s.run(func() (bool, error) { s.acts = acts; return true, nil })
		require.NoError(t, err)
		require.True(t, worked)
	}
	require.Equal(t, 1, acted)
	require.True(t, s.begin())
	_, err := s.run(func() (bool, error) { return true, wal.ErrFull })
	require.ErrorIs(t, err, wal.ErrFull)
	require.True(t, s.try())
	_, err = s.run(func() (bool, error) { return true, errBroken })
	require.ErrorIs(t, err, errBroken)
	require.False(t, s.begin())
	require.False(t, s.try())
	s = newSpot(nil)
	require.True(t, s.begin())
	require.Panics(t, func() { _, _ = s.run(func() (bool, error) { panic("broken") }) })
	require.False(t, s.try())
}

// Whoever ends waits for who is at it; afterwards nobody begins.
func TestSpotEnds(t *testing.T) {
	s := newSpot(nil)
	require.True(t, s.try())
	ended := make(chan struct{})
	go func() { s.end(); close(ended) }()
	require.Never(t, func() bool { return closed(ended) }, 50*time.Millisecond, time.Millisecond)
	require.False(t, s.try())
	_, err := s.run(func() (bool, error) { return true, nil })
	require.NoError(t, err)
	<-ended
	require.False(t, s.try())
}

// Only what has been quick for a while is done on the spot: one slow step, and it is the goroutine's until some were quick again.
func TestOnlyQuickStepsAreDoneOnTheSpot(t *testing.T) {
	s := newSpot(nil)
	for range 2 {
		for range spotQuickMin {
			require.False(t, s.ready())
			s.took(spotSyncMax, spotSyncMax)
		}
		require.True(t, s.ready())
		s.took(spotSyncMax+1, spotSyncMax)
	}
	require.False(t, s.ready())
}

// Messages alone say nothing of how quick the disk is, and a write that failed was not quick.
func TestOnlySyncsSayHowQuickTheDiskIs(t *testing.T) {
	a, _ := newAppender(t, func(rpc.Message) {})
	for range spotQuickMin {
		a.submit(job{then: []rpc.Message{{}}}, true)
		_, err := a.step()
		require.NoError(t, err)
	}
	require.Zero(t, a.spot.quick.Load())
	a.submit(job{write: raft.Write{Seq: 1, Entries: []rpc.Entry{entry(1)}}}, true)
	_, err := a.step()
	require.NoError(t, err)
	a.spot.readyNow()
	a.submit(job{write: raft.Write{Seq: 2, Entries: []rpc.Entry{entry(5)}}}, true)
	_, err = a.step()
	require.Error(t, err)
	require.Zero(t, a.spot.quick.Load())
}

// What is left to who took the turn: little, to those who may wait, of what is quick.
func TestWhatIsLeftForTheSpot(t *testing.T) {
	small := raft.Effects{Write: raft.Write{Seq: 1, Entries: []rpc.Entry{entry(1)}}, SendAfterSync: []rpc.Message{{}}}
	alone := small
	alone.SendAfterSync = nil
	short, long := raft.Apply{To: 1, Entries: make([]rpc.Entry, spotEntriesMax)}, raft.Apply{To: 1, Entries: make([]rpc.Entry, spotEntriesMax+1)}
	large := raft.Apply{To: 1, Entries: []rpc.Entry{{Data: make([]byte, spotBytesMax)}}}
	n := &Node{appender: &appender{spot: newSpot(nil)}, applier: &applier{spot: newSpot(nil)}}
	n.taker = patient
	require.False(t, n.leavesWrite(&small), "nothing is known of the disk")
	require.False(t, n.leavesApply(short))
	n.appender.spot.readyNow()
	n.applier.spot.readyNow()
	require.True(t, n.leavesWrite(&small))
	require.False(t, n.leavesWrite(&alone), "a leader's")
	require.False(t, n.leavesWrite(&raft.Effects{SendAfterSync: []rpc.Message{{}}}), "no write")
	require.True(t, n.leavesApply(short))
	require.False(t, n.leavesApply(long))
	require.False(t, n.leavesApply(large))
	require.False(t, n.leavesApply(raft.Apply{To: 1}), "it is to be read from the disk")
	n.taker = steady
	require.False(t, n.leavesWrite(&small), "who syncs would wait for itself")
	require.True(t, n.leavesApply(short))
	n.taker = hasty
	require.False(t, n.leavesWrite(&small))
	require.False(t, n.leavesApply(short))
}
