package kv

// What looks at many keys where it is applied: purges by a pattern, and settings that may lower a history. While one is applied nobody is served, and
// many that are logged together are applied together. So an account has one of them proposed at a time; the next is once that has been applied, and what
// others wrote meanwhile comes before it (Q12).

import (
	"fmt"
	"strings"
	"sync"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/node"
)

// widesMax bounds the commands that wait for their turn.
const widesMax = 64

var errWides = fmt.Errorf("%w: %d purges of many keys, or changes of buckets, wait already", node.ErrBusy, widesMax)

// isWide reports whether a command may look at many keys.
func isWide(c *command.Command) bool {
	if p := c.PurgeBucket; p != nil {
		return p.Filter == "" || strings.ContainsAny(p.Filter, "*>")
	}
	return c.UpdateBucket != nil
}

// wides are the wide commands of which one is proposed. Its methods may be called by several goroutines.
type wides struct {
	mu      sync.Mutex
	busy    bool
	waiting []todo
}

// enter reports whether it is a command's turn at once; else it waits, if there is room.
func (l *wides) enter(t todo) (now, room bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.busy:
		l.busy = true
		return true, true
	case len(l.waiting) >= widesMax:
		return false, false
	}
	l.waiting = append(l.waiting, t)
	return false, true
}

// next is whose turn it is now that the one before is over.
func (l *wides) next() (t todo, some bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.busy = false
		return todo{}, false
	}
	t, l.waiting = l.waiting[0], l.waiting[1:]
	return t, true
}

// inTurn proposes a wide command, or has it wait.
func (s *Service) inTurn(r *request, w work) {
	switch now, room := s.wides.enter(todo{r, w}); {
	case now:
		s.offer(r, w, s.wideOver.Ring)
	case !room:
		s.refused(r, r.logged.Load(), errWides)
	}
}

// wider proposes what waits, whenever the one before is over: not on the node's goroutine, which says so.
func (s *Service) wider() {
	defer s.wg.Done()
	for {
		select {
		case <-s.stop:
			return
		case <-s.wideOver:
			t, some := s.wides.next()
			switch {
			case !some:
			case s.hurries.Load() && !t.request.logged.Load():
				s.withdrawUnconfirmed(t.request)
				s.wideOver.Ring()
			default:
				s.offer(t.request, t.work, s.wideOver.Ring)
			}
		}
	}
}
