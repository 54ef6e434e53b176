package kv

import (
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// refusals bounds the requests that wait to be told 'busy' or 'full'. A burst, as of a program that sends all it has at once, hears of each that it was not
// done; who keeps asking for several times of what the cluster does does not have the leader do nothing but refuse. Beyond the bounds a request hears nothing, and counts as
// unanswered.
type refusals struct {
	waiting atomic.Int64 // for the leader to be confirmed, and to be sent
	left    atomic.Int64 // how many may be begun until more are granted
}

const (
	// refusalsMax bounds those that wait, and a burst.
	refusalsMax = 16_384
	// refusalsGrant is how many more may be begun with each look of the keeper: in all 10,240 a second.
	refusalsGrant = 1_024
)

func (r *refusals) begin() bool {
	if r.left.Add(-1) < 0 {
		r.left.Add(1)
		return false
	}
	if r.waiting.Add(1) > refusalsMax {
		r.waiting.Add(-1)
		return false
	}
	return true
}

// spent reports whether none can begin now.
func (r *refusals) spent() bool { return r.left.Load() <= 0 || r.waiting.Load() >= refusalsMax }

func (r *refusals) end() { r.waiting.Add(-1) }

// grant is the keeper's.
func (r *refusals) grant() { r.left.Add(min(refusalsGrant, refusalsMax-r.left.Load())) }

// unlessLost lets go by, unread, what would find the bounds full, and would not even be told so. Of a flood that is most, and if a node reads it more
// slowly than it comes, the NATS server ends the connection: then nobody is served.
func (s *Service) unlessLost(take nats.MsgHandler) nats.MsgHandler {
	return func(m *nats.Msg) {
		if s.refusals.spent() && s.inflight.full(m) {
			s.figures.unanswered.Add(1)
			return
		}
		take(m)
	}
}
