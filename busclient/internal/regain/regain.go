// Package regain says when a connection is to be made anew because NATS has refused it a subscription. A server that takes a subject from a user,
// as by a reload, ends the subscriptions to it and keeps the connection; and when it grants the subject again, it adds nothing: only who asks
// anew has it (F12). Which subjects are refused for good, and which for a while, nobody says: so it is tried ever more seldom, as each new connection
// may cost what is on its way.
package regain

import (
	"cmp"
	"maps"
	"sync"
	"time"
)

// How long after a refusal a connection is made anew: at first, and after it has been in vain again and again.
const (
	WaitMin = 30 * time.Second
	WaitMax = 8 * time.Minute
)

// Longer is the wait after a wait in vain, or if that is 0 the first.
func Longer(wait, first time.Duration) time.Duration { return min(max(2*wait, first), WaitMax) }

// answerMax is how long a new connection may take to be refused what the one before was.
const answerMax = 3 * time.Second

// Regain is of one connection, over all that it is in turn. Safe for use by several goroutines.
type Regain struct {
	Anew func()        // makes the connection anew; called on a goroutine of its own
	Min  time.Duration // 0: WaitMin

	mu    sync.Mutex
	since time.Time     // the connection of the moment
	wait  time.Duration // before the last time
	timer *time.Timer   // nil: nothing was refused on this connection
	ended bool
	// refused is by subject, on this connection and the one before.
	refused map[string]span
}

// span is from when on a subject was refused, and when it was last.
type span struct{ first, last time.Time }

// Connected is told of a new connection, on which all that is wanted is asked for.
func (r *Regain) Connected() {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.refused, func(_ string, s span) bool { return s.last.Before(r.since) })
	r.since = time.Now()
	r.rest()
}

// Refused is told of a subscription that NATS has refused, or ended. It begins with the shortest wait where none was for as long as the longest.
func (r *Regain) Refused() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil || r.ended {
		return
	}
	if time.Since(r.since) > WaitMax {
		r.wait = 0
	}
	r.wait = Longer(r.wait, cmp.Or(r.Min, WaitMin))
	r.timer = time.AfterFunc(r.wait, r.Anew)
}

// Lacks reports whether something was refused on the connection of the moment, and so is not there.
func (r *Regain) Lacks() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.timer != nil
}

// RefusedSubject is Refused, with the subject, for For.
func (r *Regain) RefusedSubject(subject string) {
	r.Refused()
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.refused == nil {
		r.refused = map[string]span{}
	}
	s := r.refused[subject]
	if !r.lasts(s) {
		s.first = now
	}
	s.last = now
	r.refused[subject] = s
}

// lasts reports whether what was refused still is: on a new connection until that had time to show otherwise, so that nobody takes what is asked for
// anew for what is granted. r.mu is held.
func (r *Regain) lasts(s span) bool {
	return !s.last.IsZero() && (!s.last.Before(r.since) || time.Since(r.since) < answerMax)
}

// For is for how long a subject has been refused, whatever was made anew meanwhile; 0: it is not, as far as is known.
func (r *Regain) For(subject string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.refused[subject]; r.lasts(s) {
		return time.Since(s.first)
	}
	return 0
}

// End has nothing made anew from now on; Anew may be running.
func (r *Regain) End() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.rest()
}

// rest forgets what was refused. r.mu is held.
func (r *Regain) rest() {
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
}
