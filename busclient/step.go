package busclient

// Whether a peer is in step with those that get their messages together. One that does not answer an AppendLog to several in time, or that
// nobody heard, is spoken to alone: until it has answered there, and some time has passed. That time is longer with each lapse in a row. Perhaps
// only the subject of all does not reach the peer, and then each new try costs it a loss (K62). Nothing here reads a clock.

import (
	"sync"
	"time"
)

// aloneMax bounds how long a peer is spoken to alone before messages to several are tried again.
const aloneMax = 10 * time.Second

// step is what is known of one peer. Safe for use by several goroutines.
type step struct {
	mu     sync.Mutex
	since  time.Time // of the first AppendLog to several since the peer's last word; zero: there is none
	lapses int       // how often in a row it took too long, or was not heard
	silent bool      // it did, or was not, and has not answered since
	alone  time.Time // until then, at least, it is spoken to alone
}

// in reports whether the peer is in step, if it may take that long to answer.
func (s *step) in(now time.Time, patience time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.since.IsZero() && now.Sub(s.since) > patience {
		s.lapse(now, patience)
	}
	return !s.silent && !now.Before(s.alone)
}

// unheard: nobody at all listened to an AppendLog to several. Those that left at the same time, and were not heard either, are one lapse.
func (s *step) unheard(now time.Time, patience time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since = (time.Time{}); !s.silent {
		s.lapse(now, patience)
	}
}

func (s *step) lapse(now time.Time, patience time.Duration) {
	s.since, s.silent = time.Time{}, true
	s.alone = now.Add(min(patience<<min(s.lapses, 10), aloneMax))
	s.lapses++
}

// asked: an AppendLog to several leaves.
func (s *step) asked(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		s.since = now
	}
}

// answered: the peer has answered an AppendLog, one to several or not.
func (s *step) answered(shared bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since, s.silent = time.Time{}, false
	if shared {
		s.lapses, s.alone = 0, time.Time{}
	}
}

// begin begins anew: the link to the peer has just become connected. That says nothing of messages to several: what failed of them before counts on.
func (s *step) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since, s.silent = time.Time{}, false
}
