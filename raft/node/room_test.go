package node

import (
	"encoding/binary"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// crowded is a group whose disks have no room for another segment of the log, and which no client reaches, where the test says so.
type crowded struct {
	*manual
	full, deaf map[rpc.NodeID]bool
}

func newCrowded(t *testing.T, seed uint64) *crowded { return newCrowdedWith(t, seed, segmentBytes) }

func newCrowdedWith(t *testing.T, seed uint64, segment int64) *crowded {
	c := &crowded{full: map[rpc.NodeID]bool{}, deaf: map[rpc.NodeID]bool{}}
	c.manual = newStrangersWith(t, seed, segment, func(o *Options) {
		id := o.Config.Self().ID()
		o.Deaf = func() bool { return c.deaf[id] }
		o.Tune = func(l *raft.Limits) { l.FlyingBytesMax = 32 << 10 } // a burst goes in messages as large as they may be from the start on
	}, "n1", "n2", "n3")
	c.greet()
	for _, id := range c.ids {
		c.disks[id].Hook(func(op waltest.Op) error {
			if c.full[id] && op.Kind == waltest.Create && strings.HasPrefix(op.Name, c.folders[id].Path("wal")) {
				return syscall.ENOSPC
			}
			return nil
		})
	}
	return c
}

// pass has time pass, in which all ping each other as the bus does.
func (c *crowded) pass(ticks int) {
	for i := range ticks {
		if c.run(1); i%25 == 0 {
			for _, a := range c.ids {
				for _, b := range c.ids {
					if a != b {
						require.NoError(c.t, client{port: port{c.hub, a}, peer: b}.Ping())
					}
				}
			}
		}
	}
}

// fill lets a disk fill up by writes, of which some may be refused.
func (c *crowded) fill(id rpc.NodeID) {
	c.full[id] = true
	for i := range uint64(1000) {
		if c.hub.nodes[id].Status().Full {
			return
		}
		_ = c.leader().Propose(binary.BigEndian.AppendUint64(nil, i), func(any, rpc.EntryID) {})
		c.pass(5)
	}
	c.t.Fatalf("the disk of %s does not fill up", id)
}

// cram fills a disk up from elsewhere, and drain makes room on it.
func (c *crowded) cram(id rpc.NodeID)  { c.leave(id, 0) }
func (c *crowded) drain(id rpc.NodeID) { c.leave(id, 1<<30) }

func (c *crowded) leave(id rpc.NodeID, bytes uint64) {
	c.disks[id].FS.(*vfs.MemFS).TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: bytes, TotalBytes: 1 << 30})
}

// reads requires that a node answers a read, and soon.
func (c *crowded) reads(n *Node) {
	err := errors.New("not answered")
	require.NoError(c.t, n.ReadIndex(func(e error) { err = e }))
	c.pass(50)
	require.NoError(c.t, err, c.trail.String())
}

// others are all nodes but one.
func (c *crowded) others(than rpc.NodeID) (list []rpc.NodeID) {
	for _, id := range c.ids {
		if id != than {
			list = append(list, id)
		}
	}
	return list
}

// A leader whose disk is full hands over to a voter whose disk has room, and writes go on as soon as a majority has some (F21; the simulator's S7).
func TestALeaderWithoutRoomHandsOverToAVoterWithRoom(t *testing.T) {
	for seed := range uint64(5) {
		c := newCrowded(t, seed)
		first := c.leader().id()
		rest := c.others(first)
		c.fill(rest[0])
		c.fill(first)
		c.pass(2 * c.hub.nodes[first].ticks().ElectionMin)
		require.Equal(t, rest[1], c.leader().id(), c.trail.String())
		require.ErrorIs(t, c.leader().Propose([]byte("12345678"), nil), ErrFull, "it alone has room")
		term := c.leader().Status().Term
		delete(c.full, rest[0])
		c.pass(50)
		c.add(1, 2, 3)
		require.Equal(t, rest[1], c.leader().id(), c.trail.String())
		require.Equal(t, term, c.leader().Status().Term, "leadership went in circles")
	}
}

// While no disk has room the leader stays, and refuses writes; it hands over to the first that has some.
func TestALeaderStaysWhileNoDiskHasRoom(t *testing.T) {
	c := newCrowded(t, 11)
	first := c.leader()
	for _, id := range c.ids {
		c.cram(id)
	}
	term := first.Status().Term
	c.pass(10 * first.ticks().ElectionMax)
	require.Equal(t, first.id(), c.leader().id())
	require.Equal(t, term, first.Status().Term, "leadership went in circles")
	require.ErrorIs(t, first.Propose([]byte("12345678"), nil), ErrFull)

	var reason error
	require.NoError(t, first.TransferLeadership("", func(err error) { reason = err }))
	c.pass(5)
	require.ErrorIs(t, reason, ErrNotTransferred)
	require.ErrorContains(t, reason, "no voter that has room on its disk")

	next := c.others(first.id())[1]
	c.drain(next)
	c.pass(3 * first.ticks().ElectionMin)
	require.Equal(t, next, c.leader().id(), c.trail.String())
	require.ErrorContains(t, c.leader().Propose([]byte("12345678"), nil), "the disks of "+rpc.JoinIDs(c.others(next))+" are full")
	c.reads(c.leader())
	c.drain(first.id())
	c.pass(50)
	c.add(1, 2, 3)
}

// A leader whose disk has room takes no writes while no majority has any: what the full ones could still hold ends, and with it they would be
// out, and nobody lead (F21). Those it took are answered, reads go on, and writes do when there is room.
func TestALeaderTakesNoWritesWhileNoMajorityHasRoom(t *testing.T) {
	for seed := range uint64(5) {
		c := newCrowded(t, seed)
		first := c.leader()
		rest, term := c.others(first.id()), first.Status().Term
		c.full[rest[0]], c.full[rest[1]] = true, true
		taken, answered := 0, 0
		var refused error
		for range 200 {
			err := first.Propose(make([]byte, 1000), func(any, rpc.EntryID) { answered++ })
			switch {
			case err == nil:
				require.NoError(t, refused, "none is taken before there is room")
				taken++
			case refused == nil:
				refused = err
			}
			c.pass(5)
		}
		require.ErrorIs(t, refused, ErrFull, c.trail.String())
		require.ErrorContains(t, refused, "the disks of "+rpc.JoinIDs(rest)+" are full, or too many files are open there")
		require.Positive(t, taken)
		require.Equal(t, taken, answered)
		c.pass(10 * first.ticks().ElectionMax)
		require.Equal(t, first.id(), c.leader().id(), c.trail.String())
		require.Equal(t, term, first.Status().Term, "leadership went in circles")
		require.False(t, first.Status().Full, "its disk has room")
		c.reads(first)

		delete(c.full, rest[1])
		c.pass(50)
		c.add(1, 2, 3)
	}
}

// A follower without room for the entries that it was sent hears of a later term, which waits behind them. Its log is compacted all the same, and with the
// room that makes all of it is written (F21, L8).
func TestAPendingTermDoesNotKeepAFullLogFromBeingCompacted(t *testing.T) {
	c := newCrowded(t, 3)
	first := c.leader()
	id := c.others(first.id())[0]
	n := c.hub.nodes[id]
	n.compact.ticks = 1 << 30 // not before all waits
	c.full[id] = true
	c.disks[id].Hook(func(op waltest.Op) error {
		switch inLog := strings.HasPrefix(op.Name, c.folders[id].Path("wal")); {
		case inLog && op.Kind == waltest.Remove:
			c.full[id] = false
		case inLog && op.Kind == waltest.Create && c.full[id]:
			return syscall.ENOSPC
		}
		return nil
	})
	for i := uint64(0); n.core.Status().Last <= c.logs[id].State(0).Last.Index || !n.Status().Full || c.logs[id].Stats().Segments < 2; i++ {
		require.Less(t, i, uint64(1000), "its disk does not fill up")
		_ = c.leader().Propose(binary.BigEndian.AppendUint64(nil, i), func(any, rpc.EntryID) {})
		c.pass(20)
	}
	first.inbox.call(first.stepDown)
	c.pass(3 * first.ticks().ElectionMax)
	require.Greater(t, n.Status().Term, c.logs[id].State(0).HardState.Term, "its later term is not on its way")
	require.Zero(t, n.Status().Base)
	n.compact.ticks = 0
	c.pass(100)
	require.Positive(t, n.Status().Base, c.trail.String())
	require.False(t, c.full[id], "nothing was removed")
	c.add(1, 2, 3)
	c.agree()
}

// One that has been full is no matter while the others have room; it is when one of those goes away, and no more when that is back.
func TestALeaderTakesNoWritesWhileWhoHasRoomIsAway(t *testing.T) {
	c := newCrowded(t, 11)
	first := c.leader()
	rest := c.others(first.id())
	c.cram(rest[0])
	c.pass(100)
	c.add(1, 2, 3)
	c.crash(rest[1])
	c.pass(first.ticks().ElectionMin + 50)
	require.ErrorContains(t, first.Propose([]byte("12345678"), nil), "the disks of "+string(rest[0])+" are full")
	c.reads(first)
	c.back(rest[1], 99)
	c.pass(100)
	c.add(4, 5, 6)
	require.Equal(t, first.id(), c.leader().id(), c.trail.String())
}

// A leader that no client reaches hands over to a voter that they reach, once and for good (F12). Writes are taken all the while.
func TestALeaderThatNoClientReachesHandsOver(t *testing.T) {
	for seed := range uint64(5) {
		c := newCrowded(t, seed)
		first := c.leader()
		rest, term := c.others(first.id()), first.Status().Term
		c.deaf[first.id()], c.deaf[rest[0]] = true, true
		c.pass(3 * first.ticks().ElectionMin)
		require.Equal(t, rest[1], c.leader().id(), c.trail.String())
		require.False(t, first.Status().Full, "its disk has room")
		require.NoError(t, c.leader().Propose([]byte("12345678"), nil), "all disks have room")
		c.add(1, 2, 3)
		c.pass(10 * first.ticks().ElectionMax)
		require.Equal(t, rest[1], c.leader().id())
		require.Equal(t, term+1, c.leader().Status().Term, "leadership went in circles")
	}
}

// A node that takes a snapshot says in its pings that it had better not lead, and that its disk has room (L2, L5).
func TestWhoTakesASnapshotHadBetterNotLead(t *testing.T) {
	c := newCrowded(t, 11)
	n := c.hub.nodes[c.others(c.leader().id())[0]]
	require.Empty(t, n.lack())
	n.core.Step(raft.SnapshotStored{Snapshot: rpc.EntryID{Term: 1, Index: 999}})
	n.watchRoom(roomTicks)
	n.publish()
	require.True(t, n.PingContent().Lacks)
	require.False(t, n.PingContent().NoRoom)
	require.Equal(t, lackState, n.lack())
}

// A leader that has looked for somebody to hand over to waits as long until it looks again: what it knows of its peers is as old as their pings.
func TestALeaderThatFoundNobodyWaitsAnew(t *testing.T) {
	c := newCrowded(t, 11)
	first := c.leader()
	for _, id := range c.ids {
		c.deaf[id] = true
	}
	c.pass(first.ticks().ElectionMin + 2*roomTicks)
	require.Less(t, first.room.cramped, 3*roomTicks)
}

// Who asked for a hand-over waits for that one: a leader that lacks something begins none of its own meanwhile, which would take its place (L9).
func TestALeaderThatHandsOverBeginsNoOther(t *testing.T) {
	c := newCrowded(t, 11)
	first := c.leader()
	var answers []error
	first.admin.left = 100
	first.admin.transfer = func(err error) { answers = append(answers, err) }
	first.yield()
	require.Empty(t, first.core.Membership().Transfer)
	first.admin.endTransfer(ErrNotTransferred)
	require.Equal(t, []error{ErrNotTransferred}, answers)
}

// What clients wait for is finished before (L2), but not where it does not end: a leader whose state machine hangs is about to lead no more.
func TestALeaderThatHandsOverHasItsServicesFinish(t *testing.T) {
	first, told := newCrowded(t, 11).leader(), 0
	first.o.Yield = func() { told++ }
	first.room.lack = lackRoom
	first.yield()
	require.Equal(t, 1, told)
	require.Empty(t, first.core.Membership().Transfer, "the services say when")
	first.room.lack = lackState
	first.yield()
	require.Equal(t, 1, told)
	require.NotEmpty(t, first.core.Membership().Transfer)
}

// Nobody is served while a leader hands over. One without room does so only once its successor has all that is committed, which it gets in any case, since
// no writes are taken: to one that is far behind all would be in vain, each time (L7). One that only clients miss leaves catching up to the hand-over.
func TestALeaderHandsOverToWhoCanTakeOverSoon(t *testing.T) {
	c := newCrowded(t, 11)
	first, told := c.leader(), 0
	rest := c.others(first.id())
	first.o.Yield = func() { told++ }
	behind := true
	c.hub.mangle = func(m rpc.Message) []rpc.Message {
		if _, entries := m.Body.(*rpc.AppendLogCommand); entries && behind && m.To == rest[1] {
			return nil
		}
		return []rpc.Message{m}
	}
	done := 0
	require.NoError(t, first.Propose([]byte("12345678"), func(any, rpc.EntryID) { done++ }))
	c.pass(20)
	require.Equal(t, 1, done)
	c.cram(first.id())
	c.cram(rest[0])
	c.pass(4 * first.ticks().ElectionMin)
	require.Equal(t, rest[1], first.core.Successor())
	require.Zero(t, told, "its services were not to finish")
	require.Empty(t, first.core.Membership().Transfer)
	first.room.lack = lackClients
	first.yield()
	require.Zero(t, told)
	require.Equal(t, rest[1], first.core.Membership().Transfer)
	c.pass(2 * first.ticks().ElectionMin)
	require.Equal(t, first.id(), c.leader().id())
	require.Zero(t, told)
	behind = false
	c.pass(4 * first.ticks().ElectionMin)
	require.Positive(t, told)
}

// While clients reach nobody, or only who has no room, the leader stays, and takes writes.
func TestALeaderStaysWhileClientsReachNobody(t *testing.T) {
	c := newCrowded(t, 11)
	first := c.leader()
	rest, term := c.others(first.id()), first.Status().Term
	c.fill(rest[0])
	c.deaf[first.id()], c.deaf[rest[1]] = true, true
	c.pass(10 * first.ticks().ElectionMax)
	require.Equal(t, first.id(), c.leader().id(), c.trail.String())
	require.Equal(t, term, first.Status().Term, "leadership went in circles")
	require.NoError(t, first.Propose([]byte("12345678"), nil), "the one that no client reaches has room")
	c.add(1, 2, 3)
	c.deaf[rest[1]] = false
	c.pass(3 * first.ticks().ElectionMin)
	require.Equal(t, rest[1], c.leader().id(), c.trail.String())
}

// Where there is room for another segment, but not for the larger one that a single entry needs, the disk is as good as full until there is: nothing is written
// before that entry. It is said, and writes are refused (F21).
func TestADiskWithoutRoomForTheNextEntryIsFull(t *testing.T) {
	c := newCrowded(t, 11)
	first := c.leader()
	c.add(1, 2, 3)
	for _, id := range c.ids {
		c.disks[id].Hook(func(op waltest.Op) error {
			return when(op.Kind == waltest.Write && op.Bytes > segmentBytes && strings.HasPrefix(op.Name, c.folders[id].Path("wal")), syscall.ENOSPC)
		})
	}
	require.NoError(t, first.Propose(make([]byte, 2*segmentBytes), nil))
	c.pass(150)
	for _, id := range c.ids {
		require.NoError(t, c.logs[id].Room(), "one of the usual size has a place")
		require.True(t, c.hub.nodes[id].Status().Full, id)
		require.True(t, c.hub.nodes[id].PingContent().NoRoom, id)
		require.Contains(t, c.trail.String(), `msg="the disk is full: writes are refused and reads go on; free some space, writes resume by themselves" node=`+string(id))
	}
	require.ErrorIs(t, first.Propose([]byte("12345678"), nil), ErrFull)
	for _, id := range c.ids {
		c.disks[id].Hook(nil)
	}
	c.pass(100)
	for _, id := range c.ids {
		require.False(t, c.hub.nodes[id].Status().Full, id)
	}
	c.add(4, 5, 6)
	c.agree()
}

// What is proposed in one burst and needs a larger segment than the one that is ready goes into that in pieces, if the disks of all fill
// up at that moment: a leader leads on, and reads go on, with no room for another segment anywhere.
func TestABurstGoesIntoTheSegmentThatIsReady(t *testing.T) {
	for _, burst := range []int{30, 45, 55} { // of 8 KB: what one segment takes, and more than that
		c := newCrowdedWith(t, 11, 256<<10)
		first := c.leader()
		c.add(1, 2, 3)
		for _, id := range c.ids {
			require.False(t, c.hub.nodes[id].Status().Full)
			c.full[id] = true
		}
		answered := 0
		for range burst {
			require.NoError(t, first.Propose(make([]byte, 8000), func(any, rpc.EntryID) { answered++ }))
		}
		c.pass(5 * first.ticks().ElectionMax)
		require.Equal(t, burst, answered, c.trail.String())
		require.Equal(t, first.id(), c.leader().id())
		read := errors.New("not answered")
		require.NoError(t, first.ReadIndex(func(err error) { read = err }))
		c.pass(50)
		require.NoError(t, read)
	}
}

// More than the segments that are there take is under way as the disks of a majority fill up: what waits fits nowhere, on any of them. The leader stays, since a
// vote would wait behind it too; reads go on, nobody is handed over to, and with room all is written and answered (F21).
func TestALeaderStaysWhileWhatWaitsFitsNowhere(t *testing.T) {
	for _, roomy := range []int{0, 1} { // followers that have room
		c := newCrowdedWith(t, 11, 256<<10)
		first := c.leader()
		c.add(1, 2, 3)
		term := first.Status().Term
		for range 2 { // what it was once it may be again
			c.full[first.id()] = true
			for _, id := range c.others(first.id())[roomy:] {
				c.full[id] = true
			}
			answered := 0
			for range 100 { // of 8 KB: more than two segments
				require.NoError(t, first.Propose(make([]byte, 8000), func(any, rpc.EntryID) { answered++ }))
			}
			c.pass(10 * first.ticks().ElectionMax)
			require.Less(t, answered, 100)
			require.Equal(t, first.id(), c.leader().id(), c.trail.String())
			require.Equal(t, term, first.Status().Term, "leadership went in circles")
			c.reads(first)
			require.ErrorIs(t, first.Propose([]byte("12345678"), nil), ErrFull)
			var reason error
			require.NoError(t, first.TransferLeadership(c.others(first.id())[0], func(err error) { reason = err }))
			c.pass(5)
			require.ErrorContains(t, reason, "the disks of a majority are so full that it might get no votes")

			clear(c.full)
			c.pass(100)
			require.Equal(t, 100, answered)
		}
		c.add(4, 5, 6)
		c.agree()
	}
}
