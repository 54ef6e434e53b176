package node

import (
	"encoding/binary"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// crowded is a group whose disks have no room for another segment of the log, and which no client reaches, where the test says so.
type crowded struct {
	*manual
	full, deaf map[rpc.NodeID]bool
}

func newCrowded(t *testing.T, seed uint64) *crowded {
	c := &crowded{full: map[rpc.NodeID]bool{}, deaf: map[rpc.NodeID]bool{}}
	c.manual = newManualWith(t, seed, func(o *Options) {
		id := o.Config.Self().ID()
		o.Deaf = func() bool { return c.deaf[id] }
	}, "n1", "n2", "n3")
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

// others are all nodes but one.
func (c *crowded) others(than rpc.NodeID) (list []rpc.NodeID) {
	for _, id := range c.ids {
		if id != than {
			list = append(list, id)
		}
	}
	return list
}

// A leader whose disk is full hands over to a voter whose disk has room, and writes go on (F21; the simulator's S7).
func TestALeaderWithoutRoomHandsOverToAVoterWithRoom(t *testing.T) {
	for seed := range uint64(5) {
		c := newCrowded(t, seed)
		first := c.leader().id()
		rest := c.others(first)
		c.fill(rest[0])
		c.fill(first)
		c.pass(2 * c.hub.nodes[first].ticks().ElectionMin)
		require.Equal(t, rest[1], c.leader().id(), c.trail.String())
		c.add(1, 2, 3)
	}
}

// While no disk has room the leader stays, and refuses writes; it hands over to the first that has some.
func TestALeaderStaysWhileNoDiskHasRoom(t *testing.T) {
	c := newCrowded(t, 11)
	first := c.leader()
	for _, id := range append(c.others(first.id()), first.id()) {
		c.fill(id)
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
	delete(c.full, next)
	c.pass(3 * first.ticks().ElectionMin)
	require.Equal(t, next, c.leader().id(), c.trail.String())
	c.add(1, 2, 3)
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
		c.add(1, 2, 3)
		c.pass(10 * first.ticks().ElectionMax)
		require.Equal(t, rest[1], c.leader().id())
		require.Equal(t, term+1, c.leader().Status().Term, "leadership went in circles")
	}
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
	c.add(1, 2, 3)
	c.deaf[rest[1]] = false
	c.pass(3 * first.ticks().ElectionMin)
	require.Equal(t, rest[1], c.leader().id(), c.trail.String())
}
