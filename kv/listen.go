package kv

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Who listens: only the leader, on plain subscriptions, from its election until it steps down (design section 4). So 'no
// responders' means that nobody leads, and a deposed node swallows nothing.

// Bounds of what a subscription holds until it is handled, which is short work; beyond it nats.go drops and tells.
const (
	pendingMax      = 65_536
	pendingBytesMax = 64 << 20
)

// subscription is a subscription and the event that its last message has been handled.
type subscription struct {
	*nats.Subscription
	ended chan struct{}
}

// keeper does what must be done when leadership changes and when time passes.
func (s *Service) keeper() {
	defer s.wg.Done()
	tick := time.NewTicker(keeperPeriod)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
		case now := <-tick.C:
			s.expire(now)
		}
		s.listen()
	}
}

// listen makes the subscriptions what leadership asks for.
func (s *Service) listen() {
	s.listenMu.Lock()
	defer s.listenMu.Unlock()
	want := isLeading(s.epoch.Load()) && !s.draining
	switch {
	case want && s.subs == nil:
		if err := s.subscribe(); err != nil {
			s.logger.Warn("leading, but cannot listen to clients; trying again", "error", err)
		}
	case !want && s.subs != nil:
		s.unsubscribe()
	}
}

func (s *Service) subscribe() error {
	for _, family := range []string{"bucket", "kv"} {
		sub, err := s.conn.Subscribe(s.prefix+"."+family+".>", s.handle)
		if err == nil {
			ended := make(chan struct{})
			sub.SetClosedHandler(func(string) { close(ended) })
			s.subs = append(s.subs, subscription{sub, ended})
			err = sub.SetPendingLimits(pendingMax, pendingBytesMax)
		}
		if err != nil {
			s.unsubscribe()
			return fmt.Errorf("subscribe to %s.%s.>: %w", s.prefix, family, err)
		}
	}
	return nil
}

func (s *Service) unsubscribe() {
	for _, sub := range s.subs {
		if err := sub.Unsubscribe(); err != nil {
			s.logger.Debug("unsubscribe", "error", err)
		}
	}
	s.subs = nil
}

// expire answers the requests whose time is over. A write that was logged may yet be done, and a node that was deposed has
// nothing to say of it.
func (s *Service) expire(now time.Time) {
	for _, r := range s.inflight.overdue(now) {
		if !s.leadsSince(r) {
			s.inflight.free(r)
			continue
		}
		f := OutcomeUnknown.says("not committed within %v", s.timeout)
		if r.work.command == nil {
			f = Unavailable.says("not confirmed within %v", s.timeout)
		}
		s.answer(answer{request: r, failure: f, counted: true})
	}
}

// Drain is for a planned stop or transfer: it stops listening for good, takes what the server had sent by then, and waits
// until all of it is answered. An error says that the context ended first; the service is then still not listening. While the
// connection is away nobody is waited for: it brings no more requests, and takes no answers.
func (s *Service) Drain(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := s.drainSubscriptions(ctx); err != nil {
		return fmt.Errorf("drain subscriptions: %w", err)
	}
	select {
	case <-s.inflight.drained():
	case <-ctx.Done():
		return fmt.Errorf("finish requests: %w", ctx.Err())
	}
	return s.flush(ctx)
}

// drainSubscriptions stops listening, and waits until what the server had sent is handled.
func (s *Service) drainSubscriptions(ctx context.Context) error {
	gone := s.conn.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	defer s.conn.RemoveStatusListener(gone)
	for _, ended := range s.stopListening() {
		if !s.conn.IsConnected() {
			return nil
		}
		select {
		case <-ended:
		case <-gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// flushWait bounds how long a Drain waits for the server to take the answers: it may hang.
const flushWait = time.Second

// flush makes sure that the answers are on their way.
func (s *Service) flush(ctx context.Context) error {
	if !s.conn.IsConnected() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, flushWait)
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

// stopListening asks the server for no more, and returns the events that all it had sent has been handled.
func (s *Service) stopListening() []chan struct{} {
	s.listenMu.Lock()
	defer s.listenMu.Unlock()
	s.draining = true
	for _, sub := range s.subs {
		if err := sub.Drain(); err == nil { // else the connection is gone, and with it what it would have brought
			s.ended = append(s.ended, sub.ended)
		}
	}
	s.subs = nil
	return s.ended
}
