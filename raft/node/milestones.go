package node

// When entries were written and committed on this node, for spans of traced requests. Nothing is decided by it, and without traces nothing is kept.

import (
	"sort"
	"sync"
	"time"

	"github.com/raftbus/raftbus/raft/rpc"
)

// Milestones are when an entry came how far on this node, for who traces requests. They are remembered per batch, and only where
// Options.Milestones asks for it. What is not known is zero.
type Milestones struct {
	SyncBegan, SyncEnded time.Time // of the write that made it durable here
	Committed            time.Time // this node knew it
}

// milestonesMax is how many batches are remembered: some seconds under load.
const milestonesMax = 4096

// milestones are those of the last batches. Safe for use by several goroutines; a nil one remembers nothing.
type milestones struct {
	mu      sync.Mutex
	syncs   ring
	commits ring
}

// reached says that the log was so far, from when to when.
type reached struct {
	index rpc.Index
	m     Milestones
}

// ring keeps the newest, in order of index.
type ring struct {
	list         []reached // nil until something is added
	first, count int
}

func (r *ring) at(k int) *reached { return &r.list[(r.first+k)%milestonesMax] }

// add adds what was reached last. Later places are no more: the log was cut, and what they held is written anew.
func (r *ring) add(e reached) {
	if r.list == nil {
		r.list = make([]reached, milestonesMax)
	}
	for r.count > 0 && r.at(r.count-1).index >= e.index {
		r.count--
	}
	if r.count == milestonesMax {
		r.first = (r.first + 1) % milestonesMax
		r.count--
	}
	r.count++
	*r.at(r.count - 1) = e
}

// find is the first that had reached the entry: a traced request asks for it on the applier's goroutine, with the lock that others need.
func (r *ring) find(i rpc.Index) Milestones {
	k := sort.Search(r.count, func(k int) bool { return r.at(k).index >= i })
	if k == r.count {
		return Milestones{}
	}
	return r.at(k).m
}

func (m *milestones) synced(to rpc.Index, began time.Time) {
	if m == nil || to == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.syncs.add(reached{to, Milestones{SyncBegan: began, SyncEnded: time.Now()}})
}

// committed is told of the commit index in each turn.
func (m *milestones) committed(to rpc.Index) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := &m.commits; c.count > 0 && c.at(c.count-1).index >= to {
		return
	}
	m.commits.add(reached{to, Milestones{Committed: time.Now()}})
}

// Milestones are those of an entry; zero where they are not remembered.
func (n *Node) Milestones(i rpc.Index) Milestones {
	m := n.marks
	if m == nil {
		return Milestones{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.syncs.find(i)
	found.Committed = m.commits.find(i).Committed
	return found
}
