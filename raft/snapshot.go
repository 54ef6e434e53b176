package raft

// Snapshots and compaction, as far as consensus goes (thesis 5): which peer needs one, what a stored one does to the log, and what
// the log may forget. The bytes are the driver's business; all that is decided here is decided by entry ids.

import "github.com/raftbus/raftbus/raft/rpc"

// installing is a stored snapshot on its way into the state machine.
type installing struct {
	active bool
	stored SnapshotStored
}

// strand has the state streamed to a peer whose next entry is no longer in the log.
func (c *Core) strand(id rpc.NodeID, p *progress) {
	if !p.stuck {
		p.stuck, p.after = true, false
		if !p.unread {
			p.streamed = 0
		}
		c.fact(PeerStuck{Peer: id, Next: p.next})
		c.out.Snapshots = append(c.out.Snapshots, SendSnapshot{Peer: id, Term: c.hard.Term})
	}
}

// snapshotEnded: a stream broke off. Where the peer stands is found out anew, from the log's end, as of one that was just met: it may hold all of the
// state, and its word of that was lost (L7). From where it was stranded it would only be sent all of it again.
func (c *Core) snapshotEnded(e SnapshotEnded) {
	if p := c.office.peers[e.Peer]; c.role == Leader && e.Term == c.hard.Term && p != nil && p.stuck {
		p.stuck, p.unread = false, e.Unread
		p.probe()
		p.next = c.log.last + 1
		p.waiting = true // until the next heartbeat is due: no busy loop
	}
}

// snapshotReturned takes a peer's answer to a chunk. What it has installed it holds, as if entries had been acknowledged. One that
// takes in more and more of a stream, and then installs it, makes progress meanwhile, and keeps in office the leader whose entries wait for it.
func (c *Core) snapshotReturned(p *progress, m rpc.Message, ret *rpc.InstallSnapshotReturn) {
	if ret.Next > p.streamed || ret.Restored > p.restored {
		p.acked, c.office.streamed = c.now, c.now
	}
	p.streamed, p.restored = max(p.streamed, ret.Next), ret.Restored
	if ret.Installed {
		if ret.Snapshot.Index > c.log.last { // it is committed, though this leader may not know that again yet, so it is here (I4)
			c.broken("a peer installed a snapshot of %v, the log ends at %d", ret.Snapshot, c.log.last)
		}
		p.acked = c.now
		if p.stuck {
			p.installed(c.log.last-ret.Snapshot.Index, c.now)
			p.next = ret.Snapshot.Index + 1
		}
		p.landed(ret.Snapshot.Index, c.now, &c.limits) // which commits nothing: of this term the snapshot holds what this leader committed
	}
	c.out.Chunks = append(c.out.Chunks, m)
}

// chunk takes a piece of the leader's snapshot. One that brings nothing new is answered as installed: what is committed here is
// what it holds (I5). All others are for the driver to store, which answers as soon as it has: so not before the term that it answers
// in is durable (I10). One that comes before is lost, and sent again.
func (c *Core) chunk(m rpc.Message, cmd *rpc.InstallSnapshotCommand) {
	if cmd.Snapshot.Index <= c.commit {
		c.answer(m, &rpc.InstallSnapshotReturn{Snapshot: cmd.Snapshot, Transfer: cmd.Transfer, Installed: true}, cmd.Snapshot.Index)
		return
	}
	if c.hardDurable() {
		c.out.Chunks = append(c.out.Chunks, m)
	}
}

// snapshotStored decides whether a whole snapshot becomes the state: once, and only if it is ahead of what is committed here
// (K31). What was applied meanwhile makes no difference: entries at or below it are the same.
func (c *Core) snapshotStored(e SnapshotStored) {
	if c.install.active || e.Snapshot.Index <= c.commit {
		return
	}
	c.install = installing{true, e}
	c.out.Install = Install{Snapshot: e.Snapshot, Transfer: e.Transfer}
}

// restored: the state machine holds the snapshot, and the log begins after it. Entries that follow it are kept if the log holds
// the snapshot's last entry; if not, the log is of another history, and none of it is (thesis 5, K27).
func (c *Core) restored(e Restored) {
	stored := c.install.stored
	if !c.install.active || e.Snapshot != stored.Snapshot || c.applying != c.applied {
		c.broken("restored %v, installing %+v", e.Snapshot, c.install)
	}
	c.install = installing{}
	base := e.Snapshot
	before := c.commit
	if c.log.has(base) {
		c.members.rebase(base.Index)
		c.damage.covered(base.Index)
		c.log.forget(base)
	} else {
		c.must(c.role != Leader && c.commit < base.Index, "committed %d is not in the history of snapshot %v", c.commit, base)
		c.members.history = []placed{{base.Index, stored.Configuration}}
		c.damage.covered(c.log.last)
		c.log.reset(base, stored.Time)
		c.enforce()
	}
	c.commit = max(c.commit, base.Index)
	c.applied, c.applying = max(c.applied, base.Index), max(c.applied, base.Index)
	c.matched = max(c.matched, base.Index) // committed, so in the log of every later leader (I4)
	c.baseDirty = true
	c.noteCommitted(before)
	c.fact(SnapshotInstalled{Snapshot: base})
	c.out.SendAfterSync = append(c.out.SendAfterSync, rpc.Message{
		From: c.id, To: stored.From, Term: c.hard.Term, Call: stored.Call,
		Body: &rpc.InstallSnapshotReturn{Snapshot: base, Transfer: stored.Transfer, Installed: true},
	})
}

// awayMax is for how many ticks the log is held for a peer that takes in nothing, or no more than is written.
const awayMax = 1000

// Needed is how far the log may be forgotten without harm to peers that catch up after a snapshot: another one would leave them as far behind (L7).
func (c *Core) Needed(to rpc.Index) rpc.Index {
	for _, p := range c.office.peers {
		if p.after && c.now-p.acked < awayMax {
			to = min(to, p.match)
		}
	}
	return to
}

// compact forgets the log's beginning. What is applied is durable, whatever else waits for the disk: on a full one a hard state may do so for long, behind
// entries, and it is compaction that makes room (F21). Only a base that is on its way to the disk must not come after this one (S9).
func (c *Core) compact(to rpc.Index) {
	to = min(to, c.applied)
	term, ok := c.log.term(to)
	if !ok || to <= c.log.base.Index || c.install.active || c.baseDirty || c.baseSeq > c.log.heads {
		return
	}
	c.members.rebase(to)
	c.log.forget(rpc.EntryID{Term: term, Index: to})
	c.out.Compact = *c.logBase()
}

// logBase is where the log begins.
func (c *Core) logBase() *Base {
	return &Base{ID: c.log.base, Time: c.log.baseTime, Configuration: c.own(c.members.history[0].conf)}
}
