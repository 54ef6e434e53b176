package busclient

// Two processes with one name are found at start (F13): whoever starts first asks its own subject, before it listens there,
// whether somebody answers. Two that start at the same moment both hear nobody, so each asks again while it listens.
// Peers refuse the second process by its boot epoch in any case (gate.go): this file only makes the mistake plain at once.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/raftbus/raftbus/raft/rpc"
)

const (
	// selfLook is how long an answer is awaited before this process listens itself; mostly NATS says at once that there is
	// nobody.
	selfLook = 300 * time.Millisecond
	// While this process listens it asks selfQuestions times, selfPause apart: NATS servers learn of each other's
	// subscriptions with a delay (K75).
	selfQuestions = 3
	selfPause     = 50 * time.Millisecond
	// busLook is how often a check that waits for NATS looks for it.
	busLook = 20 * time.Millisecond
	// selfAnswersMax bounds the answers that wait to be looked at.
	selfAnswersMax = 64
	// selfSilences is how often nobody may answer although NATS knows a listener: a connection that died silently.
	selfSilences = 3
)

// selfAnswer is what came back from the node's own subject.
type selfAnswer struct {
	nobody bool // 'no responders'
	from   Identity
	taken  bool // from is the established owner of the name
}

// alone settles which of several processes may have the name. One that has settled never gives way; of those that have
// not, the one with the lowest boot nonce stays.
type alone struct {
	self    Identity
	answers chan selfAnswer

	mu      sync.Mutex
	settled bool
	rival   *Identity // another process that this one must give way to
}

// meet judges another process that speaks under this name, and reports whether this one is established.
func (a *alone) meet(other Identity) (established bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.settled && before(other, a.self) {
		a.rival = &other
	}
	return a.settled
}

// settle makes this process the owner of the name, or says who is.
func (a *alone) settle() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rival != nil {
		return duplicate(*a.rival)
	}
	a.settled = true
	return nil
}

// serve settles without asking: for an owner that knows that it is alone.
func (a *alone) serve() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settled = true
}

func (a *alone) isSettled() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.settled
}

// before orders processes of one name: any order will do that both see alike.
func before(a, b Identity) bool {
	if x, y := uint32(a.Boot), uint32(b.Boot); x != y {
		return x < y
	}
	return a.Instance.String() < b.Instance.String()
}

func duplicate(other Identity) error {
	return fmt.Errorf("%w: the other one is %s, boot epoch %016x", ErrDuplicateNode, other, uint64(other.Boot))
}

// CheckAlone makes sure that no other process runs with this node's id: nil if so, else ErrDuplicateNode, wrapped, or the
// error of ctx. While NATS is not there it waits. Exactly one of several processes that call it at the same time is told nil.
// When it returns nil, this process answers pings already. Start calls it; once it has said nil it does not ask again.
func (s *Service) CheckAlone(ctx context.Context) error {
	if s.alone.isSettled() {
		return nil
	}
	if err := s.listen(control, inboxSubject(s.prefix, s.self.ID, s.nonces[control]), s.receiveReturn); err != nil {
		return err
	}
	if err := s.askBefore(ctx); err != nil {
		return err
	}
	if err := s.listen(control, requestSubject(s.prefix, s.self.ID, "*", rpc.MethodPing), s.receive); err != nil {
		return err
	}
	if err := s.askWhileListening(ctx); err != nil {
		return err
	}
	return s.alone.settle()
}

// askBefore asks while this process does not listen: any answer is another's. Only an established one ends the matter
// here; from one that is starting too both learn of each other, and settle it while they listen.
func (s *Service) askBefore(ctx context.Context) error {
	for range selfSilences {
		if err := s.askSelf(ctx); err != nil {
			return err
		}
		answer, err := s.awaitAnswer(ctx, time.Now().Add(selfLook))
		switch {
		case err != nil:
			return err
		case answer == nil:
		case answer.taken:
			return duplicate(answer.from)
		default:
			return nil
		}
	}
	s.log.Warn("somebody listens on this node's subject and does not answer: a connection that died, or a process that hangs")
	return nil
}

// askWhileListening asks until this process has heard itself, and some more: by then so have the others. Rivals are noted
// by meet, whether they answer or ask.
func (s *Service) askWhileListening(ctx context.Context) error {
	heard := false
	for questions := 0; questions < selfQuestions || !heard; questions++ {
		if err := s.askSelf(ctx); err != nil {
			return err
		}
		for end := time.Now().Add(selfPause); ; {
			answer, err := s.awaitAnswer(ctx, end)
			if err != nil {
				return err
			}
			if answer == nil {
				break
			}
			if answer.taken {
				return duplicate(answer.from)
			}
			heard = heard || answer.from == s.self
		}
	}
	return nil
}

// askSelf pings this node's own subject, as soon as the control connection stands.
func (s *Service) askSelf(ctx context.Context) error {
	if err := s.awaitBus(ctx); err != nil {
		return err
	}
	ping := &rpc.PingCommand{SenderID: s.self.ID, Timestamp: s.now().UnixNano()}
	h := s.header(s.self.ID, 0, s.lastRound.Add(1))
	own := newRoutes(s.prefix, s.self.ID, s.self.ID, s.nonces)
	err := s.publish(control, own.requests[rpc.MethodPing], own.reply(control, h.Round), &h, ping)
	if errors.Is(err, ErrBusDown) {
		return nil // just lost: it is asked again
	}
	return err
}

// awaitBus returns when the control connection stands, or ctx has ended.
func (s *Service) awaitBus(ctx context.Context) error {
	for {
		if up, _ := s.buses[control].Up(); up {
			return nil
		}
		if _, err := s.awaitAnswer(ctx, time.Now().Add(busLook)); err != nil {
			return fmt.Errorf("%w (%w)", err, ErrBusDown)
		}
	}
}

// awaitAnswer returns the next answer, nil at the end of the time, or an error if ctx or the service ends before.
func (s *Service) awaitAnswer(ctx context.Context, end time.Time) (*selfAnswer, error) {
	timer := time.NewTimer(time.Until(end))
	defer timer.Stop()
	select {
	case answer := <-s.alone.answers:
		return &answer, nil
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("looking for another process with this node id: %w", ctx.Err())
	case <-s.stop:
		return nil, ErrClosed
	}
}

// receiveOwn takes a command on this node's subject from this node's name: a question of this process, or of another.
func (s *Service) receiveOwn(p path, d Delivery) {
	h, body, ok := s.decode(s.self.ID, s.self.ID, d.Data)
	if !ok {
		return
	}
	ping, isPing := body.(*rpc.PingCommand)
	if !isPing || !strings.HasPrefix(d.Reply, returnsTo(s.prefix, s.self.ID, s.self.ID)) {
		s.drop(s.self.ID, misaddressed, nil)
		return
	}
	other := Identity{ID: h.From, Instance: h.Instance, Boot: h.Boot}
	if s.wasBefore(other) && !s.alone.isSettled() {
		return
	}
	pong := &rpc.PingReturn{SenderID: s.self.ID, Timestamp: ping.Timestamp}
	if s.alone.meet(other) && other != s.self {
		pong.Refusal = clip(duplicate(s.self).Error())
		s.log.Warn("another process was started with this node id, and told to stop", "other", other.String())
	}
	back := s.header(s.self.ID, 0, h.Round)
	if err := s.publish(p, d.Reply, "", &back, pong); err != nil {
		s.log.Debug("ping not answered", "peer", s.self.ID, "err", err)
	}
}

// wasBefore reports whether a process was an earlier one of this node's data folder: what it asked may come minutes later (F4), when it is no more. If
// it is one that the folder was copied from, it hears what this process asks, and its answers are heard.
func (s *Service) wasBefore(other Identity) bool {
	return other.Instance == s.self.Instance && slices.Contains(s.earlier, other.Boot)
}

// receiveOwnReturn takes an answer to a question of this process.
func (s *Service) receiveOwnReturn(d Delivery) {
	answer := selfAnswer{nobody: d.NoResponders}
	if !answer.nobody {
		h, body, ok := s.decode(s.self.ID, s.self.ID, d.Data)
		if !ok {
			return
		}
		pong, isPong := body.(*rpc.PingReturn)
		if !isPong {
			s.drop(s.self.ID, misaddressed, nil)
			return
		}
		answer.from = Identity{ID: h.From, Instance: h.Instance, Boot: h.Boot}
		answer.taken = pong.Refusal != ""
		s.alone.meet(answer.from)
	}
	select {
	case s.alone.answers <- answer:
	default: // more than anybody looks at
	}
}
