package raft

// Leadership transfer (thesis 3.10). The leader lets its successor catch up, taking no proposals meanwhile, and then tells it to
// campaign at once. All of it is liveness: the successor is elected by the rules like anybody.

import (
	"slices"

	"github.com/raftbus/raftbus/raft/rpc"
)

// transfer is a hand-over under way.
type transfer struct {
	to      rpc.NodeID // empty: none
	began   uint64
	ordered uint64 // tick of the last TimeoutNow; 0: none was sent
}

func (t *transfer) active() bool { return t.to != "" }

// transfer begins a hand-over, to a certain voter or to the best one.
func (c *Core) transfer(to rpc.NodeID) {
	if c.role != Leader {
		c.fact(TransferEnded{To: to, Reason: "this node does not lead"})
		return
	}
	if t := &c.office.transfer; t.active() {
		if to != "" && to != t.to {
			c.fact(TransferEnded{To: to, Reason: "a transfer to " + string(t.to) + " is under way"})
		}
		return
	}
	if to == "" {
		to = c.Successor()
	}
	if reason := c.unfitSuccessor(to); reason != "" {
		c.fact(TransferEnded{To: to, Reason: reason})
		return
	}
	c.office.transfer = transfer{to: to, began: c.now}
}

// Successor is the voter to hand over to: of those whose disks have room, since one without takes no writes (F21), which clients reach
// (F12), and whose state machines keep up (L2), the one that is furthest. Empty: none can take over, or this node does not lead.
func (c *Core) Successor() (best rpc.NodeID) {
	for _, m := range c.conf.Voters {
		if m.ID != c.id && !c.lacks[m.ID] && c.unfitSuccessor(m.ID) == "" && (best == "" || c.office.peers[m.ID].match > c.office.peers[best].match) {
			best = m.ID
		}
	}
	return best
}

// Crowding are the voters whose disks have no room while a leader can do with no write for want of them: those that answer are a majority,
// and those of them with room are none (F21). One without room goes on until it has no place for what comes next, and from then on has no part
// in anything: were writes taken all the same, in the end nobody could lead, and nobody be read from. Empty: there is room, as far as
// peers have said. This node's own disk has room as long as its log has a place for what waits: before that its driver looks at it.
func (c *Core) Crowding() (full []rpc.NodeID) {
	if !c.crowded() {
		return nil
	}
	for id := range c.noRoom {
		if c.quorum.voter(id) {
			full = append(full, id)
		}
	}
	slices.Sort(full)
	return full
}

// crowded reports whether there are any.
func (c *Core) crowded() bool {
	if c.role != Leader || len(c.noRoom) == 0 {
		return false
	}
	answers := c.within(uint64(c.ticks.ElectionMin), func(p *progress) uint64 { return p.heard })
	roomy := func(id rpc.NodeID) bool { return answers(id) && !c.noRoom[id] }
	return c.quorum.have(answers) && !c.quorum.have(roomy)
}

// waitsForRoom reports whether a leader that is read from makes no progress for want of room alone.
func (c *Core) waitsForRoom() bool { return c.commit >= c.office.first && c.crowded() }

// walled reports whether a leader stays though nothing of what it has logged becomes durable: its log has no place for what waits, the disks of so many others are
// full that there is no majority without them, and these have committed nothing that it lacks, or it could not be read from. Where their logs have no
// place either, behind what waits there waits any vote too, so nobody would follow it (F21).
func (c *Core) walled() bool { return c.noRoom[c.id] && c.log.synced >= c.commit && c.crowded() }

// writeWaits takes whether the log has no place for what waits. Once it has, what waits is as if it were new: that it is not written yet says nothing of the disk.
func (c *Core) writeWaits(forRoom bool) {
	note(c.noRoom, c.id, forRoom)
	if !forRoom {
		c.log.renew(c.now)
	}
}

// note notes whether a peer is one of those.
func note(those map[rpc.NodeID]bool, peer rpc.NodeID, is bool) {
	if is {
		those[peer] = true
	} else {
		delete(those, peer)
	}
}

// unfitSuccessor says why a member cannot take over now.
func (c *Core) unfitSuccessor(id rpc.NodeID) string {
	p := c.office.peers[id]
	switch {
	case id == c.id:
		return "it leads already"
	case id == "":
		return "no voter that has room on its disk, that clients reach, and whose state machine keeps up, can take over now"
	case p == nil || !c.quorum.voter(id):
		return "it is no voter"
	case c.walled():
		return "the disks of a majority are so full that it might get no votes"
	case !p.connected || c.now-p.heard >= uint64(c.ticks.ElectionMin):
		return "it does not answer"
	case p.stuck:
		return "it is far behind, and gets a snapshot first"
	}
	return ""
}

// handOver orders the successor to campaign once it holds the whole log, and again with every heartbeat: its call would fail later than the
// transfer is given up. A second order does no harm: whoever campaigns is in a later term.
func (c *Core) handOver() {
	t := &c.office.transfer
	if !t.active() || t.ordered > 0 && c.now-t.ordered < uint64(c.ticks.Heartbeat) {
		return
	}
	if p := c.office.peers[t.to]; p != nil && p.match == c.log.last && p.connected {
		t.ordered = c.now
		c.send(t.to, &rpc.TimeoutNowCommand{Last: c.log.lastID()})
	}
}

// handedOver: the successor campaigns. It asks a leader that is no voter any more for nothing, so this one would not hear of it.
func (c *Core) handedOver(to rpc.NodeID) {
	if to == c.office.transfer.to && !c.quorum.voter(c.id) {
		c.follow(c.hard.Term, "", "it is no voter any more, and handed over")
	}
}

// watchTransfer gives a hand-over up that takes longer than an election timeout. A leader that is no voter any more then just
// ceases.
func (c *Core) watchTransfer() {
	t := &c.office.transfer
	switch {
	case !t.active():
	case c.now-t.began >= uint64(c.ticks.ElectionMin):
		c.endTransfer("it did not take over in time")
	case c.unfitSuccessor(t.to) != "":
		c.endTransfer(c.unfitSuccessor(t.to))
	}
}

func (c *Core) endTransfer(reason string) {
	c.fact(TransferEnded{To: c.office.transfer.to, Reason: reason})
	c.office.transfer = transfer{}
	if !c.quorum.voter(c.id) {
		c.follow(c.hard.Term, "", "it is no voter any more")
	}
}

// campaignNow obeys the leader's order to campaign. It came in this leader's term, so a late one finds another term and is not
// looked at (K45).
func (c *Core) campaignNow(m rpc.Message, cmd *rpc.TimeoutNowCommand) {
	late := cmd.Last != rpc.EntryID{} && cmd.Last != c.log.lastID() // the leader serves again, or would be followed by one that lacks entries (F4)
	if late || !c.mayCampaign() {
		return
	}
	c.answer(m, &rpc.TimeoutNowReturn{}, 0)
	c.setLeader("", "it hands over")
	c.stand(true)
}
