package kv

// A hush: a leader that is about to stop listening takes nothing for a moment, so that no client that asks again loses a request
// (L2). A NATS server drops what another server forwards to a subscription that is gone, and tells nobody: a request that is between
// two servers when the leader unsubscribes would get no answer, not even 'no responders'. In a hush, clients that wait for an answer
// before they ask again soon have nothing on the way. They are answered after the leader has unsubscribed, over the same
// connections, so that a client's server hears that nobody listens before the client is answered. A client that does not
// wait for answers, on another server than the leader, may still lose what is on its way in that moment.

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/jetstream"
)

// A hush lasts longer than a client takes to get an answer and to send its next request over two servers. It adds to the time without
// service of a planned move, which is to stay under 50 ms, unless the way between nodes, which may be over as many servers, shows that
// machines are busy or servers far from each other. How many servers there are nobody can know: one that is in no cluster may have others as leafnodes.
const (
	hushTime       = 30 * time.Millisecond
	hushRoundTrips = 4                      // between nodes
	hushMax        = 250 * time.Millisecond // a planned move may leave nobody served for 500 ms (L2)
)

// hush holds what comes while it is on. What does not fit is taken at once. Its methods may be called by several goroutines.
type hush struct {
	lasts     time.Duration        // at least
	roundTrip func() time.Duration // the longest to another node

	mu    sync.Mutex
	on    bool
	held  []func()
	bytes int
}

// length is how long a hush that begins now is to last.
func (h *hush) length() time.Duration {
	return max(h.lasts, min(hushRoundTrips*h.roundTrip(), hushMax))
}

func (h *hush) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.on = true
}

func (h *hush) isOn() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.on
}

// holds reports whether a message is taken later.
func (h *hush) holds(m *nats.Msg, take func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.on || len(h.held) >= pendingMax || h.bytes+m.Size() > pendingBytesMax {
		return false
	}
	h.held = append(h.held, take)
	h.bytes += m.Size()
	return true
}

// end has taken what was held, and what came meanwhile: one client's messages are taken in their order.
func (h *hush) end() {
	for held := h.release(); len(held) > 0; held = h.release() {
		for _, take := range held {
			take()
		}
	}
}

// release gives what is held. The hush is over when there is nothing.
func (h *hush) release() []func() {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := h.held
	h.on, h.held, h.bytes = len(held) > 0, nil, 0
	return held
}

// unlessHushed has a message wait for the end of a hush. It is not taken then if leadership has changed: another may have carried out
// a copy. Who waits for messages is told.
func (s *Service) unlessHushed(take nats.MsgHandler) nats.MsgHandler {
	return func(m *nats.Msg) {
		if !s.hush.isOn() {
			take(m)
			return
		}
		epoch := s.epoch.Load()
		held := s.hush.holds(m, func() {
			if s.epoch.Load() == epoch {
				take(m)
			} else if a, told := jetstream.Forsaken(m.Subject, m.Data); told && m.Reply != "" {
				_ = s.publish(m.Reply, reply{status: a.Status}) // fails only where the connection is gone
			}
		})
		if !held {
			take(m)
		}
	}
}
