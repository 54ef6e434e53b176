package node

// The doors of the node: what services ask (Proposer), and what the bus tells (busclient.Owner). All may be called by any
// goroutine. They put something into the inbox, and those that are asked often take the turn.

import (
	"errors"
	"sync/atomic"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

// hints are what the doors look at without a turn: to refuse early what the core would.
type hints struct {
	leads    atomic.Bool            // the core decides
	crowd    atomic.Pointer[string] // the members whose disks have no room, while this leader takes no writes for that; nil: it takes them
	zero     atomic.Int64           // the cluster's time when the steady clock began, as of the last tick: see clock
	requests atomic.Int64           // of administration, in the inbox
}

// Propose implements Proposer.
func (n *Node) Propose(data []byte, done func(any, rpc.EntryID)) error {
	size := len(data) + rpc.EntryOverheadBytes
	switch {
	case len(data) > n.MaxCommandBytes():
		return ErrTooLarge
	case !n.leads.Load():
		return ErrNotLeader
	}
	if err := n.full(); err != nil {
		return err
	}
	if !n.waiters.reserve(size) {
		return ErrBusy
	}
	if !n.inbox.propose(proposal{data, done}) {
		n.waiters.release(size)
		return ErrStopped
	}
	return nil
}

// ReadIndex implements Proposer.
func (n *Node) ReadIndex(done func(error)) error {
	if !n.leads.Load() {
		return ErrNotLeader
	}
	if !n.readers.enter() {
		return ErrBusy
	}
	if !n.inbox.read(done) {
		n.readers.leave()
		return ErrStopped
	}
	return nil
}

// Leadership implements Proposer.
func (n *Node) Leadership(changed func(bool)) { n.observers = append(n.observers, changed) }

// Settled implements Prompter.
func (n *Node) Settled(told func()) { n.settlers = append(n.settlers, told) }

// Confirmed implements Prompter.
func (n *Node) Confirmed(told func()) { n.readers.settled = append(n.readers.settled, told) }

// Clock implements Proposer.
func (n *Node) Clock() int64 { return n.zero.Load() + int64(n.clock.steady(n.o.Now())) }

// MaxCommandBytes implements Proposer: what fits in one entry. The bus splits what does not fit in one of its messages.
func (n *Node) MaxCommandBytes() int { return commandBytesMax }

// commandBytesMax bounds one command, whatever the bus could carry.
const commandBytesMax = 16 << 20

// pingOutcome is what a ping means for the failure detector. 'No responders' counts only where NATS surely knew of the peer
// before (K75): on a connection that has been up for a second, or over which that peer has answered already.
func pingOutcome(p *busclient.Pinged, answered bool) raft.PingOutcome {
	switch {
	case p.Err == nil && p.Refusal == "":
		return raft.PingOK
	case errors.Is(p.Err, busclient.ErrNoResponders) && (p.Steady || answered):
		return raft.PingNobody
	}
	return raft.PingUnclear
}

// Receive implements busclient.Owner.
func (n *Node) Receive(m rpc.Message) { n.inbox.message(m) }

// Pinged implements busclient.Owner.
func (n *Node) Pinged(p busclient.Pinged) { n.inbox.ping(p) }

// Link implements busclient.Owner.
func (n *Node) Link(peer rpc.NodeID, connected bool, reason error) {
	log, note := n.logger.With("peer", peer, "connected", connected), Notice{Kind: NoticeLink, State: "broken", Peer: peer}
	if connected {
		note.State = "connected"
	}
	if reason != nil {
		note.Reason = reason.Error()
		log = log.With("reason", reason)
	}
	log.Info("link changed")
	n.notice(note)
	n.inbox.state(raft.LinkChanged{Peer: peer, Connected: connected})
}

// Booted implements busclient.Owner.
func (n *Node) Booted(who busclient.Identity) {
	n.logger.Debug("a peer was started", "peer", who.String())
	if n.starts.note(who) {
		n.inbox.call(n.keepStarts)
	}
}

// Learned implements busclient.Owner.
func (n *Node) Learned(cluster rpc.ClusterID, conf rpc.Configuration) {
	n.inbox.learned(learned{cluster, conf})
}

// Bus implements busclient.Owner.
func (n *Node) Bus(up bool) {
	said := "a connection to NATS is lost"
	if up {
		said = "connected to NATS with all connections"
	}
	n.logger.Info(said)
	n.inbox.state(raft.BusChanged{Up: up})
}
