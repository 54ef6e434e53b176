package busclient

// The receiving side: callbacks of the bus decode, check, and hand over. They never wait, for the disk least of all: a
// callback that waits stops all that comes after it. The owner, once told that all is handed out, may wait for a moment on the bulk connection.

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/raftbus/raftbus/raft/rpc"
)

// bufferKeptMax bounds the buffers that are kept for the messages to come, in bytes.
const bufferKeptMax = 1 << 20

// Listen subscribes to all that a node listens for, without starting a goroutine: see Turn. Start calls it.
func (s *Service) Listen() error {
	for p := range paths {
		if err := s.listen(p, inboxSubject(s.prefix, s.self.ID, s.nonces[p]), s.receiveReturn); err != nil {
			return err
		}
		for _, m := range served[p] {
			if err := s.listen(p, requestSubject(s.prefix, s.self.ID, "*", m), s.receive); err != nil {
				return err
			}
		}
		s.buses[p].OnStatus(func(bool) { s.events.ring() })
	}
	if s.several.on {
		if err := s.listen(bulk, requestSubject(s.prefix, AllNodes, "*", "*"), s.receiveShared); err != nil {
			return err
		}
	}
	s.alone.serve()
	s.mu.RLock()
	peers := s.peers()
	s.mu.RUnlock()
	s.ensureClients(peers)
	return nil
}

// listen subscribes, unless that was done before.
func (s *Service) listen(p path, subject string, h func(path, Delivery)) error {
	s.mu.RLock()
	known := s.listening[subject]
	s.mu.RUnlock()
	if known {
		return nil
	}
	unsubscribe, err := s.buses[p].Subscribe(subject, func(d Delivery) { h(p, d) })
	if err != nil {
		return err
	}
	s.mu.Lock()
	closed := s.closed
	s.listening[subject], s.ended = true, append(s.ended, unsubscribe)
	s.mu.Unlock()
	if closed {
		unsubscribe()
		return ErrClosed
	}
	return nil
}

// receive takes a command.
func (s *Service) receive(p path, d Delivery) {
	from, method, ok := parseRequest(s.own, d.Subject)
	if !ok {
		s.drop(from, misaddressed, nil)
		return
	}
	if from == s.self.ID {
		s.receiveOwn(p, d)
		return
	}
	c, err := s.client(from)
	switch {
	case errors.Is(err, ErrUnknownPeer):
		s.receiveStranger(p, from, method, d)
	case err != nil: // closed
	case !strings.HasPrefix(d.Reply, c.routes.inbox):
		s.drop(from, misaddressed, nil)
	default:
		if h, body, ok := s.open(c, p, method, d); ok {
			s.accept(c, p, h, body, d.Reply)
		}
	}
}

// open reads a command, which may come in parts, and checks what the subject says of it. ok is false when there is none,
// or none yet.
func (s *Service) open(c *client, p path, method rpc.Method, d Delivery) (*rpc.Header, rpc.Body, bool) {
	frame := d.Data
	if isPart(frame) {
		whole, fits := []byte(nil), false
		if parts := c.parts(method); parts != nil {
			whole, fits = parts.add(frame)
		}
		if !fits {
			s.drop(c.peer, brokenParts, nil)
		}
		if whole == nil {
			return nil, nil, false
		}
		frame = whole
	}
	return s.openWhole(c, s.self.ID, method, frame)
}

// openWhole reads a command that is whole.
func (s *Service) openWhole(c *client, to rpc.NodeID, method rpc.Method, frame []byte) (*rpc.Header, rpc.Body, bool) {
	h, body, ok := s.decode(c.peer, to, frame)
	if ok && (body.IsReturn() || body.Method() != plain(method)) {
		s.drop(c.peer, misaddressed, nil)
		return nil, nil, false
	}
	return h, body, ok
}

// plain is the method that a body of that subject says of itself.
func plain(m rpc.Method) rpc.Method {
	if m == rpc.MethodPingBulk {
		return rpc.MethodPing
	}
	return m
}

// decode reads a message and checks its address: the header's sender must be the subject's, which NATS vouches for. What
// does not hold is dropped.
func (s *Service) decode(from, to rpc.NodeID, frame []byte) (*rpc.Header, rpc.Body, bool) {
	h, body, err := rpc.Decode(frame, s.keys.Load())
	switch {
	case err != nil:
		s.drops.drop(from, malformed, err.Error)
	case h.From != from:
		s.drop(from, forgedSender, nil)
	case h.To != to:
		s.drop(from, misaddressed, nil)
	default:
		return &h, body, true
	}
	return nil, nil, false
}

// accept lets a command in if its sender may speak. A ping is answered here, refusals too.
func (s *Service) accept(c *client, p path, h *rpc.Header, body rpc.Body, reply string) {
	ping, isPing := body.(*rpc.PingCommand)
	why := s.judge(h, isPing)
	switch why {
	case noFault:
		c.heard()
	case unprovenStart:
		c.doubted()
	}
	switch {
	case isPing:
		s.acceptPing(p, h, ping, why, reply)
	case why == unprovenStart:
		s.drops.count(why) // follows each start of a peer: no news
	case why != noFault:
		s.drop(c.peer, why, h)
	default:
		s.owner.Receive(rpc.Message{From: h.From, Instance: h.Instance, To: s.self.ID, Term: h.Term, Body: body, Call: rpc.Call{Round: h.Round, Inbox: reply}})
	}
}

// judge says whether a sender may speak. Before there is a table, every peer of the configuration may ping.
func (s *Service) judge(h *rpc.Header, ping bool) fault {
	r := s.roster.Load()
	switch {
	case r != nil:
		return r.judge(h, ping)
	case !ping:
		return notAdmitted
	case !slices.Contains(s.configure, h.From):
		return unknownSender
	}
	return noFault
}

// sender is the client of the peer that a message is from. Of who is no peer it is dropped; nil: there is none.
func (s *Service) sender(from rpc.NodeID) *client {
	c, err := s.client(from)
	if errors.Is(err, ErrUnknownPeer) {
		s.drop(from, unknownSender, nil)
	}
	return c
}

// receiveReturn takes what comes to a connection's inbox.
func (s *Service) receiveReturn(p path, d Delivery) {
	from, id, ok := parseReturn(s.own, d.Subject)
	if !ok {
		s.drop(from, misaddressed, nil)
		return
	}
	switch from {
	case s.self.ID:
		s.receiveOwnReturn(d)
		return
	case AllNodes:
		s.unheardByAll(p, id, d)
		return
	}
	c := s.sender(from)
	if c == nil {
		return
	}
	if d.NoResponders {
		c.unheard(p, id)
		return
	}
	h, body, ok := s.decode(from, s.self.ID, d.Data)
	switch {
	case !ok:
	case h.Round != id || !body.IsReturn():
		s.drop(from, misaddressed, nil)
	default:
		s.finish(c, p, h, body)
	}
}

// finish ends the round that a return answers, if it is the answer of the very peer.
func (s *Service) finish(c *client, p path, h *rpc.Header, body rpc.Body) {
	pong, isPong := body.(*rpc.PingReturn)
	if why := s.judgeReturn(c, h, pong, isPong); why != noFault {
		s.drop(c.peer, why, h)
		if isPong && why != copiedFolder && why != unprovenStart { // of two processes with one start the second is not listened to
			s.hearAnother(c, p, h, pong, why)
		}
		return
	}
	r, open := c.rounds.end(h.Round, func(r round) bool { return r.fits(p, body) })
	if !open {
		s.drops.count(lateReturn)
		return
	}
	s.believe(identityOf(h)) // it answered what this node itself asked
	switch {
	case isPong:
		s.hearStarts(pong.Starts)
		s.learn(h, pong.Configuration, noFault)
		c.listens.Store(pong.Multicast)
		c.commands.Store(pong.Commands)
	case r.method == rpc.MethodAppendLog:
		c.step.answered(r.shared)
	}
	r.done(outcome{header: h, body: body})
}

// judgeReturn says what is wrong with who answered. Before there is a table, any peer of the configuration may answer a ping.
func (s *Service) judgeReturn(c *client, h *rpc.Header, pong *rpc.PingReturn, isPong bool) (why fault) {
	if s.roster.Load() != nil || !isPong {
		why = s.judge(h, isPong)
	}
	if why == unprovenStart {
		c.commands.Store(0)
		why = s.proof(h, pong)
	}
	return why
}

// hearAnother takes a pong of who is not the peer: a replaced member that runs on, or what is there in place of it. The ping waits for the
// peer's own answer all the same, or each pong of the one would break the link to the other.
func (s *Service) hearAnother(c *client, p path, h *rpc.Header, pong *rpc.PingReturn, why fault) {
	refused := fmt.Errorf("%w: %s", ErrRefused, s.explain(s.roster.Load(), why, h))
	fits := func(r round) bool { return r.fits(p, pong) }
	if !c.rounds.suspect(h.Round, fits, outcome{header: h, body: pong, err: refused}) {
		return
	}
	if pong.Forgot && why == earlierLife {
		s.roster.Load().condemn(h)
	}
	s.learn(h, pong.Configuration, why)
}

// proof judges an answer of a start that nothing is proven of: it counts if its folder knows the start that was proven before, which
// only pings ask; where none was, any answer is proof.
func (s *Service) proof(h *rpc.Header, pong *rpc.PingReturn) fault {
	switch {
	case pong != nil && pong.Forgot:
		return earlierLife
	case pong != nil || s.newestOf(h.From) == 0:
		return noFault // if the round is open
	}
	return unprovenStart
}

// unheard ends a round that NATS found no listener for, and tells the link when it was a call: a ping tells by itself.
func (c *client) unheard(p path, id uint64) {
	r, open := c.rounds.end(id, func(r round) bool { return r.path == p })
	if !open {
		c.service.drops.count(lateReturn)
		return
	}
	if !r.ping {
		c.postOnce(&c.goneWaits, evGone)
	}
	r.done(outcome{err: ErrNoResponders})
}

// Answer sends a return to where its command came from. An error means that it was not sent; the asker finds out by
// itself. Safe for use by several goroutines.
func (s *Service) Answer(m rpc.Message) error {
	if _, ok := m.Body.(*rpc.CommitLogReturn); ok && m.Call == (rpc.Call{}) {
		return nil // nobody awaits it: see MulticastCommitLog
	}
	if m.Body == nil || !m.Body.IsReturn() || !strings.HasPrefix(m.Call.Inbox, returnsTo(s.prefix, m.To, s.self.ID)) {
		return errors.New("answer: not a return to a call of its receiver: copy Call from the command")
	}
	h := s.header(m.To, m.Term, m.Call.Round)
	return s.publish(pathOf(m.Body.Method()), m.Call.Inbox, "", &h, m.Body)
}

func (s *Service) header(to rpc.NodeID, term rpc.Term, round uint64) rpc.Header {
	h := rpc.Header{From: s.self.ID, To: to, Instance: s.self.Instance, Boot: s.self.Boot, Term: term, Round: round}
	if r := s.roster.Load(); r != nil {
		h.Cluster = r.cluster
	}
	return h
}

// publish writes a message and sends it, in parts if the bus takes no message of that size.
func (s *Service) publish(p path, subject, reply string, h *rpc.Header, body rpc.Body) error {
	bus := s.buses[p]
	if up, _ := bus.Up(); !up {
		return ErrBusDown
	}
	buffer := s.buffers.Get().(*[]byte)
	defer s.recycle(buffer)
	*buffer = rpc.Append((*buffer)[:0], h, body, s.keys.Load())
	limit := bus.MaxPayload()
	if int64(len(*buffer)) <= limit {
		return bus.Publish(subject, reply, *buffer)
	}
	return split(*buffer, h.Round, limit, func(part []byte) error { return bus.Publish(subject, reply, part) })
}

func (s *Service) recycle(buffer *[]byte) {
	if cap(*buffer) <= bufferKeptMax {
		s.buffers.Put(buffer)
	}
}

// drop counts and tells; h is the header when the fault is in who sent it.
func (s *Service) drop(peer rpc.NodeID, why fault, h *rpc.Header) {
	s.drops.drop(peer, why, func() string {
		if r := s.roster.Load(); r != nil && h != nil {
			return s.explain(r, why, h)
		}
		return remedies[why]
	})
}
