package node

import (
	"errors"

	"github.com/raftbus/raftbus/raft/wal"
)

// Room on the disk (F21). A node without room refuses writes and goes on with all else. A leader without room hands over when a voter
// has some; which one that is, and whether it takes over, is the core's.

// room is what the loop knows of this node's disk.
type room struct {
	full    bool // as of the last look
	looked  int  // ticks since then
	cramped int  // ticks for which a leader's disk has been full, or since it last tried to hand over
}

// roomTicks is how often the disk is looked at.
const roomTicks = 10

// watchRoom looks whether there is room, and does something about it on a leader. Not at once: compaction may make some, and what
// the peers say of theirs is as old as their last pings.
func (n *Node) watchRoom(ticks int) {
	r := &n.room
	if r.looked += ticks; r.looked < roomTicks {
		return
	}
	looked := r.looked
	r.full, r.looked = !n.hasRoom(), 0
	switch {
	case !r.full || !n.leading:
		r.cramped = 0
	case r.cramped+looked < n.ticks().ElectionMin:
		r.cramped += looked
	default:
		r.cramped = 0
		n.yield()
	}
}

// hasRoom reports whether the log takes more. A log that has failed ends the node, also when nothing is on its way that would meet
// the failure: a leader would refuse all writes for ever, and stay (D5).
func (n *Node) hasRoom() bool {
	err := n.o.Log.Room()
	if err != nil && !errors.Is(err, wal.ErrFull) && !errors.Is(err, wal.ErrClosed) {
		n.fail(err)
	}
	return err == nil
}

// yield hands over to a voter whose disk has room, if there is one.
func (n *Node) yield() {
	if to := n.core.Successor(); to != "" && n.admin.transfer == nil {
		n.logger.Warn("this leader's disk is full: it hands over to a voter whose disk has room", "to", to)
		n.handOver(to, func(error) {}) // what became of it the log says
	}
}
