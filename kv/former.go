package kv

// A planned move leaves a moment in which nobody listens: NATS says so to clients, and they ask again (L2). Not if a subscription of a former
// leader is still with NATS: of a connection that broke without NATS having noticed, which takes it ten seconds and more, of a node that
// was paused, or of one whose word to unsubscribe is stuck in a slow wire. In that moment it swallows what clients ask. While somebody
// leads it does no harm, since who leads has each request too. So a leader listens until nobody else does.
//
// To see that, who listens subscribes to a subject of its own as well, first of all, and gives it up last: whoever may be brought
// requests has it. Nobody answers there; what counts is whether NATS says that nobody is there. Each time that a node begins to listen it takes
// the next of a few such subjects, so that it finds its own earlier connections too.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// sessionsMax is how many of its own times of listening a node tells apart.
const sessionsMax = 8

const (
	// formerAnswer is how long NATS may take to say that nobody listens; what it says nothing of is listened to.
	formerAnswer = 300 * time.Millisecond
	formerPause  = 50 * time.Millisecond
	// formerTries is how often NATS is asked about where nobody is, until it is believed to say nothing of that.
	formerTries = 5
)

// ErrFormerLeader: somebody else listens to clients too, and would swallow requests if this node did not.
var ErrFormerLeader = errors.New("NATS still has the subscriptions of a former leader")

// session is one time of listening. listenMu is held for it.
type session struct {
	number     int
	sub        *nats.Subscription // nil: there is none
	reconnects uint64             // of the connection, when sub was made
	leaving    []leaving          // of the times before
}

// beginSession has it be seen that this node listens.
func (s *Service) beginSession() error {
	if s.listens == nil {
		return nil
	}
	number := (s.session.number + 1) % sessionsMax
	sub, err := s.conn.Subscribe(s.listens(s.nodeID, number), func(*nats.Msg) {})
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", s.listens(s.nodeID, number), err)
	}
	s.session.number, s.session.sub, s.session.reconnects = number, sub, s.conn.Stats().Reconnects
	return nil
}

func (s *Service) endSession() {
	if sub := s.session.sub; sub != nil {
		_ = sub.Unsubscribe() // fails only where the connection is gone
		s.session.sub = nil
	}
}

// renewSession begins another session if the connection is another one since: the earlier may still be with NATS.
func (s *Service) renewSession() error {
	s.listenMu.Lock()
	defer s.listenMu.Unlock()
	before := s.session
	if before.sub == nil || before.reconnects == s.conn.Stats().Reconnects {
		return nil
	}
	if err := s.beginSession(); err != nil {
		return err
	}
	return before.sub.Unsubscribe()
}

// AwaitAlone returns when, as far as NATS knows, nobody listens but this service, if it does; it listens on. The error is ErrFormerLeader
// when ctx has ended.
func (s *Service) AwaitAlone(ctx context.Context) error {
	if s.listens == nil || !s.Listens() || !s.conn.IsConnected() {
		return nil
	}
	if err := s.renewSession(); err != nil {
		return nil // the connection is gone, and with it what it would bring
	}
	if !s.isTold(ctx) {
		if ctx.Err() != nil {
			return fmt.Errorf("%w, or not: it does not say", ErrFormerLeader)
		}
		s.logger.Warn("NATS does not say who listens, so a planned move soon after a partition may lose requests: nodes may not ask (give auth init again, have NATS reload, and with --jwt give the nodes their folders anew), or somebody subscribes to all subjects")
		return nil
	}
	left := s.elsewhere()
	for told := false; ; told = true {
		if left = s.listenedTo(ctx, left); len(left) == 0 {
			return nil
		}
		if !told {
			s.logger.Info("NATS still has the subscriptions of a former leader: this node listens until they are gone", "subjects", left)
		}
		pause(ctx, formerPause)
		if ctx.Err() != nil {
			return fmt.Errorf("%w (%s)", ErrFormerLeader, left[0])
		}
	}
}

// isTold reports whether NATS says so where nobody listens. It may be slow after a partition, of all times.
func (s *Service) isTold(ctx context.Context) bool {
	for range formerTries {
		if s.nobodyAt(ctx, s.listens(s.nodeID, sessionsMax)) { // where nobody ever is
			return true
		}
	}
	return false
}

// elsewhere is where it would show that others listen, or an earlier connection of this node.
func (s *Service) elsewhere() (subjects []string) {
	s.listenMu.Lock()
	own := s.session.number
	s.listenMu.Unlock()
	for _, node := range append(s.peers(), s.nodeID) {
		for number := range sessionsMax {
			if node != s.nodeID || number != own {
				subjects = append(subjects, s.listens(node, number))
			}
		}
	}
	return subjects
}

// listenedTo are those of the subjects at which somebody may be.
func (s *Service) listenedTo(ctx context.Context, subjects []string) []string {
	nobody := make([]bool, len(subjects))
	var all sync.WaitGroup
	for i, subject := range subjects {
		all.Go(func() { nobody[i] = s.nobodyAt(ctx, subject) })
	}
	all.Wait()
	var left []string
	for i, subject := range subjects {
		if !nobody[i] {
			left = append(left, subject)
		}
	}
	return left
}

func (s *Service) nobodyAt(ctx context.Context, subject string) bool {
	ctx, cancel := context.WithTimeout(ctx, formerAnswer)
	defer cancel()
	_, err := s.conn.RequestWithContext(ctx, subject, nil)
	return errors.Is(err, nats.ErrNoResponders)
}
