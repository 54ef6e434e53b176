package raft

import (
	"cmp"
	"slices"

	"github.com/raftbus/raftbus/raft/rpc"
)

// Whom a thrifty leader speaks to at once: as many voters as a quorum needs, the nearest first. The others, its spares, get a little later what
// has gathered meanwhile, in one message (as in EPaxos, SOSP 2013). A batch costs a message, a sync and an answer on each node that gets it, and
// where few put at a time that is most of what a put costs; the spares' part of it is for nothing, since a batch is committed before they answer.
//
// In return a commit waits for this node's disk and the nearest one's, and no longer for the second of three; if either is slow or gone, for the
// next tick, in which the spares get the same: then who is ahead is the nearest, and who is behind is not waited for. And the watchers that spares serve hear of a put by a tick
// later, and of what a stream ends with by two. What is committed and who may be elected is decided by counting, as ever: of two who are left,
// the one that was ahead is elected, and no other could be.

// noted is what there was at the last tick.
type noted struct{ last, commit rpc.Index }

func (c *Core) note() { c.office.noted = noted{c.log.last, c.commit} }

// spares reports whether a peer waits for the next tick, since it has all that there was at the last one. Nobody waits in a transfer, nor for a
// place to begin at, nor for as much as is worth a batch.
func (c *Core) spares(id rpc.NodeID, p *progress, nearest []rpc.NodeID) bool {
	o := &c.office
	return c.thrifty && !slices.Contains(nearest, id) && p.replicating && !o.transfer.active() &&
		p.next > o.noted.last && p.told >= o.noted.commit && c.log.last+1-p.next < batchEnough
}

// nearest are as many voters as a quorum needs, those first that can be reached, and are furthest; of equals those that were the last to
// confirm a round of reads. This node counts unless its own disk is behind by a tick: a quorum may do without it. The result is valid until the
// next call.
func (c *Core) nearest() []rpc.NodeID {
	list := c.office.nearest[:0]
	for _, peer := range c.peers {
		if c.quorum.voter(peer.ID) {
			list = append(list, peer.ID)
		}
	}
	c.office.nearest = list
	slices.SortStableFunc(list, func(a, b rpc.NodeID) int { return c.office.peers[a].compare(c.office.peers[b]) })
	n, own := 0, c.log.synced >= c.office.noted.last
	for n < len(list) && !c.quorum.have(func(id rpc.NodeID) bool { return own && id == c.id || slices.Contains(list[:n], id) }) {
		n++
	}
	return list[:n]
}

// compare is negative if p is nearer than q.
func (p *progress) compare(q *progress) int {
	switch {
	case p.connected == q.connected:
		return cmp.Or(cmp.Compare(q.match, p.match), cmp.Compare(q.next, p.next), cmp.Compare(q.read, p.read))
	case p.connected:
		return -1
	}
	return 1
}
