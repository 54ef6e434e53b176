package kv

// How a leader stops listening for a planned stop or transfer: what has come is finished, and no client is left without an answer.

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// Drain is for a planned stop or transfer: it stops listening until Resume, takes what the server had sent by then, and waits until all of it is
// answered, but for searches: they take long, nobody is served meanwhile, and they may be answered later. An error says that the context ended
// first; the service is then still not listening. While the connection is away nobody is waited for: it brings no more requests, and takes no
// answers.
func (s *Service) Drain(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	s.leave(ctx)
	return s.end(ctx, false)
}

// leave stops listening in a hush. A context that ended shortens it.
func (s *Service) leave(ctx context.Context) {
	if !s.Listens() {
		return
	}
	s.hush.begin()
	defer s.hush.end()
	pause(ctx, s.hush.length())
	s.stopListening()
	_ = s.flush(ctx) // the server is to know before anybody is answered; one that hangs brings no requests
}

// Listens reports whether clients are heard: a leader hears them a moment after its election.
func (s *Service) Listens() bool {
	s.listenMu.Lock()
	defer s.listenMu.Unlock()
	return s.subs != nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// end stops listening, and finishes what there is: all, or all but what may be answered by who does not lead any more.
func (s *Service) end(ctx context.Context, all bool) error {
	if err := s.drainSubscriptions(ctx); err != nil {
		return fmt.Errorf("drain subscriptions: %w", err)
	}
	if err := s.finishRequests(ctx, all); err != nil {
		return fmt.Errorf("finish requests: %w", err)
	}
	for s.refusals.waiting.Load() > 0 && ctx.Err() == nil { // a round trip to the others, if they are there
		pause(ctx, refusedPause)
	}
	return s.flush(ctx)
}

// Resume ends what Drain began: the service listens again whenever its node leads.
func (s *Service) Resume() {
	s.listenMu.Lock()
	s.draining = false
	s.hurries.Store(false)
	s.listenMu.Unlock()
	s.rouse()
}

// drainSubscriptions stops listening, and waits until what the server had sent is handled.
func (s *Service) drainSubscriptions(ctx context.Context) error {
	gone := s.conn.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	defer s.conn.RemoveStatusListener(gone)
	s.stopListening()
	defer s.letGo()
	for _, ended := range s.letGo() {
		select {
		case <-ended:
		case <-gone:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// hurryAfter is how long a planned move waits for what may take long: nobody is served meanwhile (L2). Most is done before.
const hurryAfter = 100 * time.Millisecond

// finishRequests waits for what there is; not for long for what may take long and has written nothing, or has parts left.
func (s *Service) finishRequests(ctx context.Context, all bool) error {
	soon, cancel := context.WithTimeout(ctx, s.hurryAfter)
	defer cancel()
	if s.inflight.drain(soon, all) == nil {
		return nil
	}
	s.hurries.Store(true)
	s.withdrawSearches()
	return s.inflight.drain(ctx, all)
}

// errLeaving is said of what has not begun and would take long, while nobody listens: the next leader is asked again at once.
func errLeaving() *failure { return Unavailable.says("this node hands over: ask again") }

// withdrawSearches ends the searches for writes that no reader has begun.
func (s *Service) withdrawSearches() {
	for _, r := range s.reads.withdraw() {
		s.withdraw(r)
	}
}

// withdraw tells that a request was not carried out of which it was confirmed that this node led when it came.
func (s *Service) withdraw(r *request) {
	switch {
	case !s.inflight.claim(r):
	case s.leadsSince(r) && !r.logged.Load(): // of what was done in part it is not said (C5)
		s.answer(answer{request: r, failure: errLeaving(), claimed: true})
	default:
		s.forsake(r)
	}
}

// withdrawUnconfirmed is withdraw, after that was confirmed.
func (s *Service) withdrawUnconfirmed(r *request) {
	err := s.node.ReadIndex(func(err error) {
		if err != nil {
			s.drop(r)
			return
		}
		s.withdraw(r)
	})
	if err != nil {
		s.drop(r)
	}
}

// refusedPause is how often it is looked whether all have heard that they are refused.
const refusedPause = time.Millisecond

// flushWait bounds how long a Drain waits for the server to take the answers: it may hang.
const flushWait = time.Second

// flush makes sure that the answers are on their way.
func (s *Service) flush(ctx context.Context) error {
	if !s.conn.IsConnected() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.flushWait)
	defer cancel()
	if err := s.conn.FlushWithContext(ctx); err != nil && s.conn.IsConnected() {
		return fmt.Errorf("flush answers: %w", err)
	}
	return nil
}

// drainWait bounds a Drain whose context has no deadline.
const drainWait = 10 * time.Second

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, drainWait)
}

// stopListening asks the server for no more.
func (s *Service) stopListening() {
	s.listenMu.Lock()
	defer s.listenMu.Unlock()
	s.draining = true
	reconnects := s.conn.Stats().Reconnects // before the first Drain
	for _, sub := range s.all() {
		if err := sub.Drain(); err == nil { // else the connection is gone, and with it what it would have brought
			s.session.leaving = append(s.session.leaving, leaving{sub, reconnects})
		}
	}
	s.silenced()
}

// leaving is a subscription that is being drained.
type leaving struct {
	subscription
	reconnects uint64 // of the connection, when that began
}

// letGo returns the events that all the server had sent has been handled. Once the connection is away, or another, nothing is drained any
// more: NATS's client has what is being drained subscribed anew with the next connection. Each request would then be handled twice, or
// swallowed, when the client has forgotten the subscription without a word to the server (L2).
func (s *Service) letGo() []chan struct{} {
	s.listenMu.Lock()
	defer s.listenMu.Unlock()
	connected, reconnects := s.conn.IsConnected(), s.conn.Stats().Reconnects
	anew := false
	s.session.leaving = slices.DeleteFunc(s.session.leaving, func(l leaving) bool {
		if connected && l.reconnects == reconnects {
			return !l.IsValid()
		}
		_ = l.Unsubscribe() // fails only where the connection is closed
		anew = anew || s.conn.Stats().Reconnects != l.reconnects
		return true
	})
	if anew { // the server may have what the client has forgotten: only a new connection is sure to be without
		_ = s.conn.ForceReconnect() // likewise
	}
	var ended []chan struct{}
	for _, l := range s.session.leaving {
		ended = append(ended, l.ended)
	}
	return ended
}
