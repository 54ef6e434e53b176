package kv

// A lane takes requests in and answers out without a goroutine between (busclient.Conn has one). All requests that one read of the socket has
// brought are proposed together, and all answers that one run of entries has are written together. Where there is none, each request comes
// on a goroutine of nats.go's, and answers leave by the replier, since nats.go may wait for the socket.

import (
	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/node"
)

// Lane is what a Service needs of one. Its methods may be called by several goroutines.
type Lane interface {
	// SubscribeMsgs is nats.Conn's Subscribe, with the handler called by the lane where it can. A header that cannot be read is empty; one
	// that is beyond the bounds has the empty name alone.
	SubscribeMsgs(subject string, h func(*nats.Msg)) (*nats.Subscription, error)
	// OnDelivered has told called after handlers were: whole, on the goroutine that reads, with all that had arrived; or after each.
	OnDelivered(told func(whole bool))
	// Direct reports whether PublishMsg is the lane's now, and does not wait.
	Direct() bool
	// PublishMsg sends a message. The header is whole, from its first line to the empty one; nil: none.
	PublishMsg(subject, reply string, header, data []byte) error
	// MaxPayload is nats.Conn's, without waiting for its lock.
	MaxPayload() int64
	// Cork keeps what is sent until Uncork, which sends it together.
	Cork()
	Uncork()
}

// lanes is the service's lane, and what goes over it together.
type lanes struct {
	lane     Lane // nil: there is none
	prompter node.Prompter

	ofRun   corked // of entries; owned by who applies
	ofRound corked // of reads; owned by who takes the node's turn
}

// corked keeps the answers to one thing together, until it is settled.
type corked struct {
	lane    Lane
	answers int
}

func (c *corked) add() {
	if c.answers == 0 {
		c.lane.Cork()
	}
	c.answers++
}

func (c *corked) settle() {
	if c.answers > 0 {
		c.answers = 0
		c.lane.Uncork()
	}
}

// enterLane makes the lane the way of requests and answers.
func (s *Service) enterLane(l Lane) {
	node, can := s.node.(node.Prompter)
	if l == nil || !can {
		return
	}
	s.lane, s.prompter, s.ofRun.lane, s.ofRound.lane = l, node, l, l
	l.OnDelivered(s.delivered)
	node.Settled(s.ofRun.settle)
	node.Confirmed(s.ofRound.settle)
}

// delivered has the node act on the requests that have come.
func (s *Service) delivered(whole bool) { s.prompter.Prompt(whole) }

// gathered has the node wait for what comes with a message, where delivered is to follow.
func (s *Service) gathered(take nats.MsgHandler) nats.MsgHandler {
	return func(m *nats.Msg) {
		if s.direct() {
			s.prompter.Gather()
		}
		take(m)
	}
}

// direct reports whether answers can be sent at once.
func (s *Service) direct() bool { return s.lane != nil && s.lane.Direct() }

func (s *Service) maxPayload() int64 {
	if s.lane != nil {
		return s.lane.MaxPayload()
	}
	return s.conn.MaxPayload()
}

// readAtOnce does a read that was just confirmed on the node's goroutine, if what it asks for is in memory: to wake a reader costs more than the read.
// Of many the readers do the rest meanwhile, so that the node is not kept for long.
func (s *Service) readAtOnce(t todo) bool {
	if t.work.tell == nil || !s.direct() || s.ofRound.answers >= readsTogether {
		return false
	}
	last, err := s.store.LastHeld(t.work.newest.Bucket, t.work.newest.Key)
	if err == store.ErrNotHeld {
		return false
	}
	s.ofRound.add()
	s.tellLast(t, last, err)
	return true
}
