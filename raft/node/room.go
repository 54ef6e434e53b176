package node

// Room on the disk (F21), clients that reach the node (F12), and a state machine that keeps up (L2). A node without room refuses writes and goes on with all
// else; one that no client reaches votes and follows as before, and so does one whose state machine lags, where it can (spot.go). Nor does a leader take writes while so many disks
// are full that no majority has room: what it took would be the last that those could hold. A leader that lacks any of the three hands over when there is
// a voter that lacks none; which one that is, and whether it takes over, is the core's.

import (
	"errors"
	"fmt"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// room is what the loop knows of what a leader needs beside its peers.
type room struct {
	lack    string // of it, as of the last look: what a leader says that hands over; empty: nothing
	looked  int    // ticks since then
	walled  bool   // the log has no place for what waits for it, as the core was told
	cramped int    // ticks for which a leader has lacked something, or since it last tried to hand over
}

// What a leader may lack.
const (
	lackRoom    = "this leader's disk is full: it hands over to a voter whose disk has room"
	lackFiles   = "too many files are open where this leader runs: it hands over to a voter that takes writes"
	lackState   = "this leader's state machine is behind, since it hangs or takes a snapshot: it hands over to a voter that can answer"
	lackClients = "no client reaches this leader, or NATS refuses it what they ask at: it hands over to a voter that they reach"
)

// roomTicks is how often the disk is looked at, and the connection to clients.
const roomTicks = 10

// watchRoom looks whether something lacks, and does something about it on a leader. Not at once: compaction may make room, and what
// the peers say of themselves is as old as their last pings.
func (n *Node) watchRoom(ticks int) {
	r := &n.room
	if r.looked += ticks; r.looked < roomTicks {
		return
	}
	looked := r.looked
	r.lack, r.looked = n.lack(), 0
	if walled := n.appender.walled(); walled != r.walled {
		r.walled = walled
		n.core.Step(raft.WriteWaits{ForRoom: walled})
	}
	n.watchCrowd()
	n.receiver.pass(n.core.Status().Commit)
	switch {
	case r.lack == "" || !n.leading:
		r.cramped = 0
	case r.cramped+looked < n.ticks().ElectionMin:
		r.cramped += looked
	default:
		r.cramped = 0
		n.yield()
	}
}

// watchCrowd looks whether enough disks have room for what this leader takes.
func (n *Node) watchCrowd() {
	full, before := "", n.crowd.Load()
	if n.leading {
		full = rpc.JoinIDs(n.core.Crowding())
	}
	switch {
	case full == "" && before == nil, before != nil && *before == full:
	case full != "":
		n.crowd.Store(&full)
		n.logger.Warn("so many members have full disks, or too many files open, that no majority takes more: writes are refused and reads go on", "full", full)
	case n.leading:
		n.crowd.Store(nil)
		n.logger.Info("a majority takes more again: writes go on")
	default:
		n.crowd.Store(nil)
	}
}

// crowdedBy says who takes no more; which of the two it is there they say themselves.
func crowdedBy(full string) error {
	return fmt.Errorf("%w: no majority takes any, since the disks of %s are full, or too many files are open there: once that is over, writes go on by themselves", ErrFull, full)
}

func (n *Node) lack() string {
	switch room := n.lookForRoom(); {
	case wal.TooManyFiles(room):
		return lackFiles
	case room != nil:
		return lackRoom
	case n.core.AboutToLag():
		return lackState
	case n.o.Deaf != nil && n.o.Deaf():
		return lackClients
	}
	return ""
}

// lookForRoom is nil if the log takes more. A log that has failed ends the node, also when nothing is on its way that would meet
// the failure: a leader would refuse all writes for ever, and stay (D5).
func (n *Node) lookForRoom() error {
	err := n.appender.room()
	if err != nil && !errors.Is(err, wal.ErrFull) && !errors.Is(err, wal.ErrClosed) {
		n.fail(err)
	}
	return err
}

// diskFull reports whether it is space that a log lacks: then it forgets what it can (F21). Where too many files are open, that would help nobody.
func diskFull(room error) bool { return errors.Is(room, wal.ErrFull) && !wal.TooManyFiles(room) }

// full says why no write is taken for want of room, here or elsewhere; nil: there is room.
func (n *Node) full() error {
	room, crowd := n.lookForRoom(), n.crowd.Load()
	switch {
	case wal.TooManyFiles(room):
		return tooManyFiles{}
	case room != nil:
		return ErrFull
	case crowd != nil:
		return crowdedBy(*crowd)
	}
	return nil
}

// tooManyFiles is an ErrFull that says what is to be done.
type tooManyFiles struct{}

func (tooManyFiles) Error() string {
	return "too many files are open where the leader runs: have some closed, or allow more, writes go on by themselves"
}

func (tooManyFiles) Unwrap() error { return ErrFull }

// yield hands over to a voter that lacks nothing, if there is one. The services are to finish first what they have, and nobody is served meanwhile: so not for
// a voter that is far behind, which would not take over. A leader without room takes no writes, so it waits until that one has all that is committed. What
// is at a state machine that hangs does not end.
func (n *Node) yield() {
	to := n.core.Successor()
	if to == "" || n.admin.transfer != nil {
		return
	}
	near := n.core.Replaceable()
	switch lack := n.room.lack; {
	case n.o.Yield == nil, lack == lackState, lack == lackClients && !near:
		n.logger.Warn(lack, "to", to)
		n.handOver(to, func(error) {}) // what became of it the log says
	case near:
		n.logger.Warn(lack, "to", to)
		n.o.Yield()
	}
}
