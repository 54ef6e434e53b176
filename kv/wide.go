package kv

// Commands that look at many keys when they are applied: purges by a pattern, and settings that lower a history. While one is applied nobody is served, and
// many that are logged together are applied together. So an account has one of them proposed at a time; the next is once that has been applied, and what
// others wrote meanwhile comes before it (Q12). What comes of a command that a leader has proposed it may never learn: turns end with its office.

import (
	"fmt"
	"slices"
	"sync"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/bell"
	"github.com/raftbus/raftbus/raft/node"
)

// widesMax bounds the commands that wait for their turn, beside the next part of one that has begun.
const widesMax = 64

var errWides = fmt.Errorf("%w: %d purges of many keys, or lower histories, wait already", node.ErrBusy, widesMax)

// isWide reports whether a command may look at many keys; one that changes a bucket changes these settings.
func isWide(c *command.Command, old *command.Settings) bool {
	switch {
	case c.PurgeBucket != nil:
		return c.PurgeBucket.Wide()
	case c.UpdateBucket != nil:
		return c.UpdateBucket.Lowers(old)
	}
	return false
}

// wides are the wide commands of which one has its turn. Its methods may be called by several goroutines.
type wides struct {
	over bell.Bell // a turn has ended

	mu      sync.Mutex
	turns   uint64
	turn    uint64 // of turns, the one that goes on; 0: none does
	waiting []todo
}

// enter gives a command its turn, if none goes on and nobody waits; else it waits, if there is room. The next part of one that has begun goes before
// those that have not: its client waits already, and would have it done in part (C5).
func (l *wides) enter(t todo) (turn uint64, room bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.turn == 0 && len(l.waiting) == 0:
		return l.begin(), true
	case t.work.rest:
		l.waiting = slices.Insert(l.waiting, l.begun(), t)
		return 0, true
	case len(l.waiting) >= widesMax:
		return 0, false
	}
	l.waiting = append(l.waiting, t)
	return 0, true
}

// begun is how many that wait have begun: the first ones. mu is held.
func (l *wides) begun() (n int) {
	for n < len(l.waiting) && l.waiting[n].work.rest {
		n++
	}
	return n
}

// begin begins a turn. mu is held.
func (l *wides) begin() uint64 {
	l.turns++
	l.turn = l.turns
	return l.turn
}

// end ends a turn, unless it has ended.
func (l *wides) end(turn uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turn == turn {
		l.turn = 0
		l.over.Ring()
	}
}

// next gives the first that waits its turn, if none goes on.
func (l *wides) next() (t todo, turn uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turn != 0 || len(l.waiting) == 0 {
		return todo{}, 0
	}
	t = l.waiting[0]
	l.waiting = slices.Delete(l.waiting, 0, 1)
	return t, l.begin()
}

// clear ends the turn, and returns those that wait: who leads, or led, does not any more.
func (l *wides) clear() (waiting []todo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting, l.waiting, l.turn = l.waiting, nil, 0
	return waiting
}

// inTurn proposes a wide command, or has it wait.
func (s *Service) inTurn(r *request, w work) {
	switch turn, room := s.wides.enter(todo{r, w}); {
	case !room:
		s.refused(r, w, false, errWides)
	case turn > 0:
		s.offer(r, w, func() { s.wides.end(turn) })
	}
}

// wider proposes what waits, whenever a turn is over: not on the node's goroutine, which says so.
func (s *Service) wider() {
	defer s.wg.Done()
	for {
		select {
		case <-s.stop:
			return
		case <-s.wides.over:
			if t, turn := s.wides.next(); turn > 0 {
				s.haveTurn(t, func() { s.wides.end(turn) })
			}
		}
	}
}

// haveTurn proposes what has waited. A planned move waits for what has begun only (L2).
func (s *Service) haveTurn(t todo, over func()) {
	if s.hurries.Load() && !t.request.logged.Load() {
		over()
		s.withdrawUnconfirmed(t.request)
		return
	}
	s.offer(t.request, t.work, over)
}
