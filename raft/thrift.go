package raft

// Whom a thrifty leader speaks to at once: as many voters as a quorum needs, the nearest first. The others, its spares, get a little later what
// has gathered meanwhile, in one message if it fits (as in EPaxos, SOSP 2013). A batch costs a message, a sync and an answer on each node that gets it, and
// where few put at a time that is most of what a put costs; the spares' part of it is for nothing, since a batch is committed before they answer.
//
// In return a commit waits for this node's disk and the nearest one's, and no longer for the second of three; if either is slow or gone, for the
// next tick, in which the spares get the same: then who is ahead is the nearest, and who is behind is not waited for. What is acknowledged
// is on a quorum's disks, and for a tick on no more. And the watchers that spares serve hear of a put by a tick
// later, and of what a stream ends with by two. What is committed and who may be elected is decided by counting, as ever: of two who are left,
// the one that was ahead is elected, and no other could be.

import (
	"cmp"
	"slices"

	"github.com/raftbus/raftbus/raft/rpc"
)

// noted is what there was at the last tick.
type noted struct{ last, commit rpc.Index }

func (c *Core) note() { c.office.noted = noted{c.log.last, c.commit} }

// spares reports whether a peer waits for the next tick, since it has all that there was at the last one. Nobody waits in a transfer, nor for a
// place to begin at, nor for as much as is worth a batch.
func (c *Core) spares(id rpc.NodeID, p *progress, nearest []rpc.NodeID) bool {
	o := &c.office
	return c.thrifty && !slices.Contains(nearest, id) && p.replicating && !o.transfer.active() &&
		p.next > o.noted.last && p.told >= o.noted.commit && c.log.last+1-p.next < BatchEnough
}

// nearest are the voters that are spoken to first, as many of the foremost as it takes for a quorum; own: this node is one of it. The result is
// valid until the next call.
func (c *Core) nearest(own bool) []rpc.NodeID {
	list := c.office.order
	slices.SortStableFunc(list, func(a, b rpc.NodeID) int { return c.office.peers[a].compare(c.office.peers[b]) })
	n := 0
	for n < len(list) && !c.quorum.have(func(id rpc.NodeID) bool { return own && id == c.id || slices.Contains(list[:n], id) }) {
		n++
	}
	return list[:n]
}

// nearestForEntries are those that get new entries first. This node's own copy is counted on unless the last tick found it not synced: a quorum
// may do without.
func (c *Core) nearestForEntries() []rpc.NodeID {
	if !c.thrifty {
		return nil
	}
	return c.nearest(c.log.synced >= c.office.noted.last)
}

// orderVoters begins with the order in which they are listed. From then on whoever is nearest stays so until another is nearer: a slow one that
// has caught up is not asked first again.
func (c *Core) orderVoters() {
	c.office.order = nil
	for _, peer := range c.peers {
		if c.quorum.voter(peer.ID) {
			c.office.order = append(c.office.order, peer.ID)
		}
	}
}

// compare is negative if p is nearer than q: of those that entries can be sent to, whoever is furthest; of equals who was sent most, or was the
// last to confirm a round of reads.
func (p *progress) compare(q *progress) int {
	return cmp.Or(cmp.Compare(p.reach(), q.reach()), cmp.Compare(q.match, p.match), cmp.Compare(q.next, p.next), cmp.Compare(q.read, p.read))
}

// reach is how much there is between a peer and a new entry.
func (p *progress) reach() int {
	switch {
	case !p.connected:
		return 2
	case !p.replicating:
		return 1
	}
	return 0
}
