package raft

// Linearizable reads without the log (thesis 6.4): a read is served at the commit index of a moment after it arrived,
// once a quorum has confirmed, in a heartbeat round begun after that moment, that this node led then. One round serves
// all reads that wait; the next begins when it is through. Round numbers never repeat (K44).

import "github.com/raftbus/raftbus/raft/rpc"

// reads holds what waits, in the order of its stages.
type reads struct {
	waiting   []uint64 // tickets that wait for a round to begin
	round     uint64   // the number of the last round begun
	running   []uint64 // tickets of the round under way; empty: none is
	index     rpc.Index
	begun     uint64          // tick in which it began
	confirmed []confirmedRead // that wait for the state machine
}

type confirmedRead struct {
	ticket uint64
	index  rpc.Index
}

func (c *Core) readIndex(ticket uint64) {
	r := &c.reads
	switch {
	case c.role != Leader:
		c.out.Reads = append(c.out.Reads, Read{Ticket: ticket, Refusal: RefusedNotLeader})
	case len(r.waiting)+len(r.running)+len(r.confirmed) >= c.limits.ReadsMax:
		c.out.Reads = append(c.out.Reads, Read{Ticket: ticket, Refusal: RefusedBusy})
	default:
		r.waiting = append(r.waiting, ticket)
	}
}

// startReadRound begins a round for all that wait, if none is under way, with as many voters as a quorum needs: the others would be asked for
// nothing, and a message to each and back is most of what a read costs. A new leader begins none before it has
// committed an entry of its own term: until then its commit index may be behind (K43).
func (c *Core) startReadRound() {
	r := &c.reads
	if len(r.waiting) == 0 || len(r.running) > 0 || c.commit < c.office.first {
		return
	}
	r.running, r.waiting = r.waiting, nil
	r.index, r.begun = c.commit, c.now
	r.round++
	for _, id := range c.nearest(true) {
		c.beatOne(id, c.office.peers[id])
	}
	c.confirmReads()
}

// pursueReads asks the others too about a round that those who were asked first have not confirmed by the next tick.
func (c *Core) pursueReads() {
	r := &c.reads
	if len(r.running) == 0 || c.now != r.begun+1 {
		return
	}
	for _, peer := range c.peers {
		if p := c.office.peers[peer.ID]; p.read < r.round {
			c.beatOne(peer.ID, p)
		}
	}
}

// Confirming reports whether a round is under way: reads that come now wait for the next.
func (c *Core) Confirming() bool { return len(c.reads.running) > 0 }

// confirmReads ends the round under way once a quorum has answered it.
func (c *Core) confirmReads() {
	r := &c.reads
	answered := func(id rpc.NodeID) bool {
		p := c.office.peers[id]
		return id == c.id || p != nil && p.read >= r.round
	}
	if len(r.running) == 0 || !c.quorum.have(answered) {
		return
	}
	for _, t := range r.running {
		r.confirmed = append(r.confirmed, confirmedRead{t, r.index})
	}
	r.running = nil
}

// releaseReads answers confirmed reads whose index is applied. They stay good also when this node no longer leads.
func (c *Core) releaseReads() {
	r := &c.reads
	n := 0
	for n < len(r.confirmed) && r.confirmed[n].index <= c.applied {
		c.out.Reads = append(c.out.Reads, Read{Ticket: r.confirmed[n].ticket})
		n++
	}
	r.confirmed = append(r.confirmed[:0], r.confirmed[n:]...)
}

// refuseReads turns down what can no longer be confirmed.
func (c *Core) refuseReads() {
	r := &c.reads
	for _, t := range append(r.running, r.waiting...) {
		c.out.Reads = append(c.out.Reads, Read{Ticket: t, Refusal: RefusedNotLeader})
	}
	r.running, r.waiting = nil, nil
}
