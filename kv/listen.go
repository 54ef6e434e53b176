package kv

// Who listens: only the leader, on plain subscriptions, from its election until it steps down (design section 4). So 'no
// responders' means that nobody leads, and a deposed node swallows nothing.

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/jetstream"
)

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

// listening is where the service listens.
type listening struct {
	listenMu   sync.Mutex
	subs       []subscription          // nil: not listening
	listensFor uint64                  // the epoch of subs
	bare       map[string]subscription // to the bare subjects of buckets
	left       uint64                  // how often one of those was left
	draining   bool                    // do not listen
	withheld   bool                    // nor then
	toldLeft   atomic.Uint64           // of left, what NATS knows
}

// keeper does what must be done when leadership changes and when time passes.
func (s *Service) keeper() {
	defer s.wg.Done()
	tick := time.NewTicker(s.lookEvery)
	defer tick.Stop()
	gone := s.conn.StatusChanged(nats.RECONNECTING) // the next would have what is being drained anew: that goes before (L2)
	defer s.conn.RemoveStatusListener(gone)
	var drained []chan struct{} // what is not yet
	for {
		due := tick.C
		if s.sleeps() && len(drained) == 0 {
			due = nil // a timer that nobody waits for wakes nobody
		}
		select {
		case <-s.stop:
			return
		case <-gone:
		case <-s.wake:
			select {
			case <-due: // it may be woken again and again
				s.look()
			default:
			}
		case <-due:
			s.look()
		}
		drained = s.letGo() // before anybody listens anew
		s.listen()
	}
}

// look does what is due by time, which is later than the tick where the keeper is late.
func (s *Service) look() {
	s.expire(time.Now())
	s.refusals.grant()
}

// sleeps reports whether time has nothing to bring: this node does not lead, and has answered all that it was asked.
func (s *Service) sleeps() bool {
	return !isLeading(s.epoch.Load()) && !s.Listens() && s.inflight.none()
}

// listen makes the subscriptions what leadership asks for.
func (s *Service) listen() {
	if s.listenIfLeading() {
		s.list()
		s.follow()
	}
}

// listenIfLeading reports whether the service listens.
func (s *Service) listenIfLeading() bool {
	s.listenMu.Lock()
	defer s.listenMu.Unlock()
	epoch := s.epoch.Load()
	want := isLeading(epoch) && !s.draining && !s.withheld
	if s.subs != nil && (!want || epoch != s.listensFor) { // another may have led since: what it changed is not known, what came then is not ours
		s.unsubscribe()
	}
	if want && s.subs == nil {
		s.listensFor = epoch
		s.buckets.forget()
		s.list() // before anybody is heard: a put to a bucket that is not known yet would be overtaken by the next
		if err := s.subscribe(); err != nil {
			s.logger.Warn("leading, but cannot listen to clients; trying again", "err", err)
		}
	}
	return s.subs != nil
}

// door is a subject that the service listens to, and who takes what comes there.
type door struct {
	subject string
	take    taker
}

// taker takes a message that came on a subscription of an epoch.
type taker func(m *nats.Msg, epoch uint64)

func (s *Service) doors() []door {
	list := []door{
		{s.prefix + ".bucket.>", s.native},
		{s.prefix + ".kv.>", s.native},
		s.apiDoor(s.protocol, "$JS."+s.protocol.Domain+".API."),
	}
	if s.defaultAPI {
		list = append(list, s.defaultDoor(), door{"$KV.>", func(m *nats.Msg, epoch uint64) { s.jetStream(s.plain, m, epoch, m.Subject, false) }})
	}
	return list
}

// Canaries are subjects, one beside each door, at which nobody asks: whom NATS refuses one it refuses that door too (F12). Who does not lead, and so
// listens at no door, sees by a subscription to them whether it could.
func (s *Service) Canaries() (subjects []string) {
	for _, d := range s.doors() {
		subjects = append(subjects, strings.TrimSuffix(d.subject, ">")+"_")
	}
	return subjects
}

func (s *Service) apiDoor(protocol *jetstream.Protocol, prefix string) door {
	return door{prefix + ">", func(m *nats.Msg, epoch uint64) { s.jetStream(protocol, m, epoch, m.Subject[len(prefix):], false) }}
}

// defaultDoor is the API without a domain, of which its answers name none, as those of a NATS server without one. It has no puts, unlike that of a domain. An account that imports $JS.API.> and $KV.>
// under one prefix, as those of nats.go's tests do, sends each put to both: the one to $KV.> is done, and of the other nothing is
// said, since its answer would be taken for that of the put.
func (s *Service) defaultDoor() door {
	api := s.apiDoor(s.plain, "$JS.API.")
	return door{api.subject, func(m *nats.Msg, epoch uint64) {
		if !strings.HasPrefix(m.Subject, "$JS.API.$KV.") {
			api.take(m, epoch)
		}
	}}
}

func (s *Service) subscribe() error {
	if err := s.beginSession(); err != nil {
		return err
	}
	s.bare = map[string]subscription{}
	for _, d := range s.doors() {
		sub, err := s.subscribeTo(d.subject, d.take)
		if err != nil {
			s.unsubscribe()
			return err
		}
		s.subs = append(s.subs, sub)
	}
	return nil
}

// subscribeTo listens to a subject in the epoch of the other subscriptions. listenMu is held.
func (s *Service) subscribeTo(subject string, taken taker) (subscription, error) {
	epoch := s.listensFor
	take := s.unlessOrder(s.unlessHushed(s.unlessLost(func(m *nats.Msg) { taken(m, epoch) })))
	var sub *nats.Subscription
	var err error
	if s.lane != nil {
		sub, err = s.lane.SubscribeMsgs(subject, s.gathered(take))
	} else {
		sub, err = s.conn.Subscribe(subject, take)
	}
	if err != nil {
		return subscription{}, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	ended := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(ended) })
	if err := sub.SetPendingLimits(pendingMax, pendingBytesMax); err != nil {
		_ = sub.Unsubscribe() // the connection is gone
		return subscription{}, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	return subscription{sub, ended}, nil
}

func (s *Service) unsubscribe() {
	for _, sub := range s.all() {
		if err := sub.Unsubscribe(); err != nil {
			s.logger.Debug("unsubscribe", "err", err)
		}
	}
	s.silenced()
}

// silenced forgets the subscriptions, which were ended. listenMu is held.
func (s *Service) silenced() {
	s.endSession()
	s.buckets.rest()
	s.subs, s.bare = nil, nil
	s.left++
}

// expire answers the requests whose time is over. A write that was logged may yet be done, and of one that was not another node may have carried
// out a copy, if it leads and this one has not heard of it. A node that was deposed has nothing to say of it, but of a search that it went on with.
func (s *Service) expire(now time.Time) {
	for _, r := range s.inflight.overdue(now) {
		if !s.leadsSince(r) && !r.lasts {
			s.forsake(r)
			continue
		}
		f := OutcomeUnknown.says("not committed within %v", s.timeout)
		if !r.logged.Load() && !r.work.writes {
			f = Unavailable.says("not confirmed within %v", s.timeout)
		}
		s.answer(answer{request: r, failure: f, claimed: true})
	}
}

// Withhold has the service listen to nobody, though its node leads, until it is told otherwise. What it has is finished.
func (s *Service) Withhold(withheld bool) {
	s.listenMu.Lock()
	s.withheld = withheld
	s.listenMu.Unlock()
	s.rouse()
}
