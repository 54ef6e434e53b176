package members

// A change of the membership, or a transfer, from the first request to its end: whatever happens on the way, the members are looked
// at anew, and what is left to do follows from them. So a command survives the loss of the leader and of any answer, asks for
// nothing twice, and can itself be run again.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/raftbus/raftbus/cmd/raftbus/admin"
	"github.com/raftbus/raftbus/cmd/raftbus/native"
)

// goal is what a command is after.
type goal interface {
	// next says what is left to do. An error ends the command.
	next(m *admin.Members) (step, error)
	// took hears that what a step asked for is done, or if it is optional that it was asked for as long as is of use.
	took(s step)
}

// step is a request to make, or something to wait for. Neither: all is done.
type step struct {
	op       string
	body     any
	optional bool // it is asked for as long as is of use, and the command goes on without
	awaited  string
}

// Waiting is how long a command follows what it began, and who hears what it waits for.
type Waiting struct {
	For    time.Duration // at most; 0: as long as it takes
	NoWait bool          // it ends once the change is made
	Tell   func(awaited string)
}

// pursuit follows a goal.
type pursuit struct {
	Waiting
	admin *Administrator
	goal  goal

	told   string    // the progress that was told last
	toldAt time.Time // and when, or when the command began
	alone  time.Time // since when nobody leads; zero: somebody does
	unsafe time.Time // since when the leader answers nothing but that too few voters answer; zero: it does not
	wished time.Time // since when an optional step is asked for; zero: none was
	begun  bool      // something is under way for the goal, or may be
}

const (
	// AloneMax bounds how long a command waits for a leader: an election is much shorter, and who waits for an operator waits long.
	AloneMax = 20 * time.Second
	// unsafeMax bounds how long a refusal for want of voters that answer is tried again: a leader that was just elected has not heard
	// of all of them yet, and nothing is done when it refuses.
	unsafeMax = 2 * time.Second
	// wishedMax bounds how long an optional step is asked for again. A leader that is to hand over is busy until NATS has given up a former one (L2), which
	// takes it ten seconds and more.
	wishedMax = 20 * time.Second
	// progressPause is how long a progress stands before another is told.
	progressPause = time.Second
)

func (a *Administrator) reach(ctx context.Context, g goal, w Waiting) (admin.Members, error) {
	return (&pursuit{Waiting: w, admin: a, goal: g}).run(ctx)
}

// run follows the goal until it is reached, and returns the members as they are then.
func (p *pursuit) run(ctx context.Context) (admin.Members, error) {
	waiting, cancel := ctx, func() {}
	if p.For > 0 {
		waiting, cancel = context.WithTimeout(ctx, p.For)
	}
	defer cancel()
	awaited := "a leader"
	p.toldAt = time.Now() // what is done at once needs no progress
	for {
		m, next, err := p.turn(waiting)
		switch {
		case err == nil && next == "":
			return m, nil
		case waiting.Err() != nil:
			return m, p.unfinished(ctx, awaited)
		case err != nil:
			return m, err
		}
		awaited = next
		p.tell(awaited)
		select {
		case <-time.After(native.AskAgain):
		case <-waiting.Done():
			return m, p.unfinished(ctx, awaited)
		}
	}
}

// turn looks, and does what is next. It returns what is awaited then, nothing at the end.
func (p *pursuit) turn(ctx context.Context) (m admin.Members, awaited string, err error) {
	m, err = p.admin.look(ctx)
	if err != nil && mayAskAgain(err) {
		return m, "a leader", p.noLeader()
	}
	if err != nil {
		return m, "", err
	}
	p.alone = time.Time{}
	s, err := p.goal.next(&m)
	p.begun = p.begun || s.op == "" && s.awaited != ""
	if err != nil || s.op == "" {
		if p.NoWait {
			s.awaited = ""
		}
		return m, s.awaited, err
	}
	awaited, err = p.ask(ctx, s)
	return m, awaited, err
}

// ask makes a request. What it came to is seen when the members are looked at again; an error ends the command.
func (p *pursuit) ask(ctx context.Context, s step) (awaited string, err error) {
	var answer struct{}
	err = p.admin.ask(ctx, s.op, s.body, &answer, p.admin.Timeout)
	p.heard(s, err)
	var f *admin.Failure
	switch {
	case err == nil:
		return "the change to be through", nil
	case errors.Is(err, errNobodyLeads):
		return "a leader", nil
	case errors.Is(err, errUnanswered):
		return "word of what became of it", nil
	case !errors.As(err, &f):
		return "", err
	case s.optional:
		return "an end of: " + f.Description, nil
	case f.OfKind(admin.Unsafe) && p.mayPass():
		return "an end of: " + f.Description, nil
	case f.OfKind(admin.Unsafe), f.OfKind(admin.BadRequest), f.OfKind(admin.NotTransferred), f.OfKind(admin.UnknownOp):
		return "", Refused.says("%w", f)
	}
	return "an end of: " + f.Description, nil // stale, under way, busy, unknown: look again
}

// heard keeps what is to be known of an answer, or of none, when the next request is made.
func (p *pursuit) heard(s step, err error) {
	var f *admin.Failure
	if answered := errors.As(err, &f) || err == nil; answered && !f.OfKind(admin.Unsafe) {
		p.unsafe = time.Time{}
	}
	p.begun = p.begun || !errors.Is(err, errNobodyLeads) && (f == nil || f.OfKind(admin.OutcomeUnknown))
	refused := f != nil && !f.OfKind(admin.Busy) && !f.OfKind(admin.OutcomeUnknown)
	if err == nil || s.optional && (refused || !p.mayWish()) {
		p.goal.took(s)
	}
}

// mayWish reports whether an optional step that came to nothing, as far as is known, may be asked for again.
func (p *pursuit) mayWish() bool {
	if p.wished.IsZero() {
		p.wished = time.Now()
	}
	return time.Since(p.wished) < wishedMax
}

// mayPass reports whether a refusal for want of voters may be of a leader that does not know them yet.
func (p *pursuit) mayPass() bool {
	if p.unsafe.IsZero() {
		p.unsafe = time.Now()
	}
	return time.Since(p.unsafe) < unsafeMax
}

// noLeader is an error once nobody has led for too long.
func (p *pursuit) noLeader() error {
	if p.alone.IsZero() {
		p.alone = time.Now()
	}
	if since := time.Since(p.alone); since > AloneMax {
		return p.admin.noLeader(since)
	}
	return nil
}

// tell tells what is awaited, when it is news, and not more often than one can read.
func (p *pursuit) tell(awaited string) {
	if awaited == p.told || time.Since(p.toldAt) < progressPause {
		return
	}
	p.told, p.toldAt = awaited, time.Now()
	p.Tell(awaited)
}

// unfinished is the end of a command before that of what it began, if it could begin anything (C5).
func (p *pursuit) unfinished(ctx context.Context, awaited string) error {
	left := "nothing was begun: give the command again"
	if p.begun {
		left = "what was begun goes on by itself: 'raftbus member list' shows how far it is, and the same command again waits for it"
	}
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted while waiting for %s: %s", awaited, left)
	}
	return Timeout.says("after %v still waiting for %s: %s", p.For, awaited, left)
}
