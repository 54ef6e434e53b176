package node

// Whom to tell when an entry is applied. Only who proposed an entry here hears of it, and only of that very entry.

import (
	"sync"

	"github.com/raftbus/raftbus/raft/rpc"
)

// waiters remembers who waits for which entry. An entry of the same index but another term is not what they proposed:
// what became of theirs is unknown, and they are told nothing (design section 4).
type waiters struct {
	mu    sync.Mutex
	queue []waiter // by index, rising
	count int
	bytes int // of proposals accepted and not yet forgotten
}

type waiter struct {
	id    rpc.EntryID
	bytes int
	done  func(any, rpc.EntryID)
}

// reserve counts a proposal in, if the bounds allow it.
func (w *waiters) reserve(bytes int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count >= ProposalsMax || w.bytes+bytes > ProposalBytesMax && w.count > 0 {
		return false
	}
	w.count++
	w.bytes += bytes
	return true
}

// release counts a proposal out that was not logged.
func (w *waiters) release(bytes int) {
	w.mu.Lock()
	w.count--
	w.bytes -= bytes
	w.mu.Unlock()
}

// add remembers a reserved proposal under its entry. Waiters for entries that this one displaces are forgotten.
func (w *waiters) add(id rpc.EntryID, bytes int, done func(any, rpc.EntryID)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut(id.Index)
	w.queue = append(w.queue, waiter{id, bytes, done})
}

// displace forgets those who wait for entries at an index and above it, which other entries have replaced. A new leader does
// so with the entry its term begins with: if they went on counting, what an earlier office left could fill the bound for ever.
func (w *waiters) displace(from rpc.Index) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut(from)
}

// cut forgets the tail of the queue. The caller holds mu.
func (w *waiters) cut(from rpc.Index) {
	for n := len(w.queue); n > 0 && w.queue[n-1].id.Index >= from; n-- {
		w.forget(&w.queue[n-1])
		w.queue = w.queue[:n-1]
	}
}

func (w *waiters) forget(one *waiter) {
	w.count--
	w.bytes -= one.bytes
	*one = waiter{}
}

// settle answers those who wait for entries, with the results that Apply gave, and forgets all up to the last of them.
func (w *waiters) settle(entries []rpc.Entry, results []any) {
	last := entries[len(entries)-1].Index
	for _, one := range w.due(last) {
		i := one.id.Index - entries[0].Index
		if one.id.Index >= entries[0].Index && entries[i].Term == one.id.Term && one.done != nil {
			one.done(results[i], one.id)
		}
	}
}

// due takes out all waiters up to an index.
func (w *waiters) due(last rpc.Index) []waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for n < len(w.queue) && w.queue[n].id.Index <= last {
		n++
	}
	due := make([]waiter, n)
	copy(due, w.queue)
	for i := range n {
		w.forget(&w.queue[i])
	}
	w.queue = append(w.queue[:0], w.queue[n:]...)
	return due
}
