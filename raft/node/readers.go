package node

// Who waits for a read: whoever is let in is answered, once.

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/raftbus/raftbus/raft"
)

// readers remembers who waits for a read. All but the bound is owned by the loop.
type readers struct {
	count   atomic.Int64           // of those let in, also those that are in the inbox yet
	waiting map[uint64]func(error) // by ticket, of those handed to the core
	last    uint64                 // ticket
	settled []func()               // told when some were answered
}

// enter lets a read in, if the bound allows it.
func (r *readers) enter() bool {
	if r.count.Add(1) > readsMax {
		r.leave()
		return false
	}
	return true
}

// leave is for one that is answered, or was not asked for after all.
func (r *readers) leave() { r.count.Add(-1) }

// ticket remembers one that is handed to the core.
func (r *readers) ticket(done func(error)) uint64 {
	r.last++
	r.waiting[r.last] = done
	return r.last
}

// answer answers those that the core has decided.
func (r *readers) answer(list []raft.Read) {
	for _, read := range list {
		done := r.waiting[read.Ticket]
		delete(r.waiting, read.Ticket)
		r.leave()
		switch read.Refusal {
		case raft.Accepted:
			done(nil)
		case raft.RefusedBusy:
			done(ErrBusy)
		default:
			done(ErrNotLeader)
		}
	}
	if len(list) == 0 {
		return
	}
	for _, told := range r.settled {
		told()
	}
}

// end answers those that the core still held when the loop ended.
func (r *readers) end() {
	for _, ticket := range slices.Sorted(maps.Keys(r.waiting)) {
		done := r.waiting[ticket]
		delete(r.waiting, ticket)
		done(ErrStopped)
	}
}
