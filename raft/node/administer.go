package node

// Administration: changes of the membership and transfers of leadership, on the leader. Each request is answered, by what became
// of it or with ErrUnknown when this node cannot learn that any more.

import (
	"fmt"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

// administration holds the requests under way. Owned by the loop.
type administration struct {
	next     uint64
	asked    map[uint64]func(rpc.EntryID, error) // by ticket, within one turn
	changes  []changeWaits                       // logged, not committed yet
	transfer func(error)                         // nil: none under way
	to       rpc.NodeID
	in       rpc.Term // of the office that is handed over
	left     int      // ticks until the transfer is given up
}

type changeWaits struct {
	id   rpc.EntryID
	done func(rpc.EntryID, error)
}

// requestsMax bounds the requests of administration that wait.
const requestsMax = 64

// Reconfigure asks this node, as the leader, to change the members of the cluster. An error returned means that nothing was asked
// for: ErrNotLeader, ErrBusy, ErrStopped. Otherwise done is called once: with the change's entry once that is committed; with the reason
// if the change was refused and certainly is not made; with ErrUnknown if this node ceased to lead before it knew. It runs on
// the node's goroutine and must not block. A learner is made a voter later, by itself.
func (n *Node) Reconfigure(change raft.Change, done func(rpc.EntryID, error)) error {
	return n.administer(func() {
		if n.over {
			done(rpc.EntryID{}, ErrStopped)
			return
		}
		a := &n.admin
		a.next++
		a.asked[a.next] = done
		n.core.Step(raft.Reconfigure{Ticket: a.next, Clock: n.clusterTime(n.clock.now()), Change: change})
	})
}

// TransferLeadership asks this node, as the leader, to hand over to a voter, or if to is empty to the one that holds most of the log,
// of those whose disks have room, that clients reach, and whose state machines keep up (thesis 3.10). Meanwhile it takes no proposals: let services finish first what they have. An error returned means that
// nothing was begun: ErrNotLeader, ErrBusy, ErrStopped. Otherwise done is called once, within two election timeouts: with nil when another leads, or
// why it did not come to that, as far as this node knows. It runs on the node's goroutine and must not block.
func (n *Node) TransferLeadership(to rpc.NodeID, done func(error)) error {
	return n.administer(func() {
		switch {
		case n.over:
			done(ErrStopped)
		case n.admin.transfer != nil:
			done(ErrBusy)
		case n.core.Status().Role != raft.Leader:
			done(ErrNotLeader)
		default:
			n.handOver(to, done)
		}
	})
}

// handOver begins a transfer; none is under way.
func (n *Node) handOver(to rpc.NodeID, done func(error)) {
	n.admin.transfer, n.admin.to, n.admin.in, n.admin.left = done, to, n.core.Status().Term, 2*n.ticks().ElectionMax
	n.core.Step(raft.Transfer{To: to})
}

// administer runs a request on the loop, of a node that led when it came: so there is a core.
func (n *Node) administer(f func()) error {
	switch {
	case !n.leads.Load():
		return ErrNotLeader
	case n.requests.Add(1) > requestsMax:
		n.requests.Add(-1)
		return ErrBusy
	}
	if !n.inbox.call(func() { n.requests.Add(-1); f() }) {
		n.requests.Add(-1)
		return ErrStopped
	}
	return nil
}

// reconfigured takes the core's answers: what is logged waits for its commit.
func (a *administration) reconfigured(list []raft.Reconfigured) {
	for _, r := range list {
		done := a.asked[r.Ticket]
		delete(a.asked, r.Ticket)
		if r.Refusal != nil {
			done(rpc.EntryID{}, r.Refusal)
			continue
		}
		a.changes = append(a.changes, changeWaits{r.ID, done})
	}
}

// hear takes what facts mean for those who wait.
func (a *administration) hear(facts []raft.Fact, self rpc.NodeID) {
	for _, f := range facts {
		a.hearOne(f, self)
	}
}

func (a *administration) hearOne(f raft.Fact, self rpc.NodeID) {
	switch f := f.(type) {
	case raft.ConfigurationChanged:
		if f.Committed {
			a.committed(f.Configuration.Index)
		}
	case raft.RoleChanged:
		if f.Role != raft.Leader {
			a.deposed()
		}
	case raft.LeaderChanged:
		switch {
		case f.Leader == "":
		case f.Leader != self:
			a.handedOver(f.Leader)
		case f.Term > a.in: // deposed, and nobody else has won
			a.endTransfer(fmt.Errorf("%w: this node was elected again", ErrNotTransferred))
		}
	case raft.TransferEnded:
		a.endTransfer(fmt.Errorf("%w: %s", ErrNotTransferred, f.Reason))
	}
}

// committed answers those whose change is committed with that index, or before it.
func (a *administration) committed(i rpc.Index) {
	for len(a.changes) > 0 && a.changes[0].id.Index <= i {
		first := a.changes[0]
		a.changes = a.changes[1:]
		first.done(first.id, nil)
	}
}

// deposed answers those who wait for a commit: whether it comes is for the next leader to say.
func (a *administration) deposed() {
	list := a.changes
	a.changes = nil
	for _, c := range list {
		c.done(c.id, ErrUnknown)
	}
}

func (a *administration) handedOver(to rpc.NodeID) {
	if a.to != "" && a.to != to {
		a.endTransfer(fmt.Errorf("%w: %s leads now", ErrNotTransferred, to))
		return
	}
	a.endTransfer(nil)
}

func (a *administration) endTransfer(err error) {
	if done := a.transfer; done != nil {
		a.transfer = nil
		done(err)
	}
}

// tick bounds a transfer: the core gives one up by itself, but a node that was deposed may not learn who leads.
func (a *administration) tick(ticks int) {
	if a.transfer == nil {
		return
	}
	if a.left -= ticks; a.left <= 0 {
		a.endTransfer(fmt.Errorf("%w: no leader is known yet", ErrNotTransferred))
	}
}

// end answers whoever still waits, when the loop ends, in the middle of a turn too.
func (a *administration) end() {
	for _, done := range a.asked {
		done(rpc.EntryID{}, ErrUnknown)
	}
	clear(a.asked)
	a.deposed()
	a.endTransfer(ErrStopped)
}
