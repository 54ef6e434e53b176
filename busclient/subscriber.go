package busclient

// One subscription's handler: it is called by one goroutine at a time, whichever way its messages come, and when it has
// been ended it runs no more.

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// turn is a lock that can be waited for with a deadline.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) begin() { t <- struct{}{} }
func (t turn) end()   { <-t }

// await returns when nobody has the turn, or false after a time.
func (t turn) await(timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case t <- struct{}{}:
		t.end()
		return true
	case <-timer.C:
		return false
	}
}

type subscriber struct {
	handle func(d Delivery, header []byte)   // which is not kept
	sub    atomic.Pointer[nats.Subscription] // which ends it too, where that is not nil
	turn   turn
	ended  atomic.Bool
	asked  chan struct{} // closed when the lane has seen the server be asked for it
	once   sync.Once
}

func newSubscriber(handle func(Delivery, []byte)) *subscriber {
	return &subscriber{handle: handle, turn: newTurn(), asked: make(chan struct{})}
}

func (s *subscriber) wasAsked() {
	if s != nil {
		s.once.Do(func() { close(s.asked) })
	}
}

func (s *subscriber) take(d Delivery, header []byte) {
	s.turn.begin()
	defer s.turn.end()
	if !s.over() {
		s.handle(d, header)
	}
}

// drains reports whether the server was asked for no more, and what it had sent is still to be handled.
func (s *subscriber) drains() bool {
	sub := s.sub.Load()
	return sub != nil && sub.IsDraining()
}

func (s *subscriber) over() bool {
	sub := s.sub.Load()
	return s.ended.Load() || sub != nil && !sub.IsValid()
}

// end returns when the handler runs no more, or false after a time in which it did not return.
func (s *subscriber) end(timeout time.Duration) bool {
	s.ended.Store(true)
	return s.turn.await(timeout)
}
