package busclient

// How links live in time: what happens to them waits in a queue, and each turn handles what waits and what is due. The
// goroutine around Turn decides nothing.

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftbus/raftbus/raft/rpc"
)

// sweepInterval is how often deadlines are looked at while calls are open: no call has a timer of its own.
const sweepInterval = 50 * time.Millisecond

// steadyAfter is how long the control connection must stand before 'no responders' means much: until then NATS may not
// know of the peer yet (K75).
const steadyAfter = time.Second

// Pinged is the outcome of one ping. What the peer said is there whenever it answered, with Err too.
type Pinged struct {
	Peer rpc.NodeID
	// Err is nil, ErrNoResponders, ErrTimeout, ErrRefused (wrapped, with the reason), ErrNotAdmitted (the peer has no table
	// yet, this node has one), ErrBusDown, ErrTooManyInFlight or ErrClosed.
	Err      error
	Steady   bool // the control connection has been up for 1 s or more
	RTT      time.Duration
	Clock    int64     // the peer's, in nanoseconds since 1970 UTC
	At       time.Time // when it showed that, by this node's clock: at half the round trip
	Instance rpc.InstanceID
	Boot     rpc.BootEpoch
	Cluster  rpc.ClusterID // zero: the peer has no table
	Term     rpc.Term
	Leader   rpc.NodeID // whom the peer follows; empty: nobody
	Lacks    bool       // the peer's disk has no room for writes, or no client reaches it, or its state machine lags
	NoRoom   bool       // the peer's disk has no room for writes
	// Configuration is the latest committed one that the peer knows, when it is later than this node's; nil: nothing new.
	Configuration *rpc.Configuration
	Refusal       string // why the peer takes nothing from this node
	// Outdated: the peer has proof of a start of this node's data folder that the folder does not know. It is an old copy (F23).
	Outdated bool
}

// happening is an event on its way to a link.
type happening struct {
	client *client
	waits  *atomic.Bool // cleared when it is handled
	event  linkEvent
	pinged *Pinged
}

// events are the happenings that wait for the next turn. Their number is bounded by what posts them: per client one of
// each kind that is posted once, and one per open ping.
type events struct {
	mu      sync.Mutex
	waiting []happening
	bell    chan struct{} // holds one ring
}

func (s *Service) post(h happening) {
	s.events.mu.Lock()
	s.events.waiting = append(s.events.waiting, h)
	s.events.mu.Unlock()
	s.events.ring()
}

func (q *events) ring() {
	select {
	case q.bell <- struct{}{}:
	default:
	}
}

// silence takes the ring back: whatever happens from now on rings anew.
func (q *events) silence() {
	select {
	case <-q.bell:
	default:
	}
}

func (q *events) take() []happening {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.waiting
	q.waiting = nil
	return taken
}

func (q *events) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) == 0
}

// turns is what the goroutine that takes turns remembers between them.
type turns struct {
	up     bool             // both connections stand, as the links know
	stamps [paths]time.Time // since when each is as it is
}

func (s *Service) run() {
	defer s.loop.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-s.events.bell:
		case <-timer.C:
		}
		now := s.now()
		if wake := s.Turn(now); wake.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(wake.Sub(now))
		}
	}
}

// Pending reports whether something has happened since the last turn began, so that one is due now.
func (s *Service) Pending() bool { return len(s.events.bell) > 0 }

// Turn handles what has happened to the links and what is due, and returns when it must be called again if nothing
// happens before; zero: no need. Start has a goroutine of the service call it; a simulator calls Listen, and then Turn
// whenever the time has come or Pending says so, which it may whenever the service was called, by its bus or by its
// owner. One caller at a time.
func (s *Service) Turn(now time.Time) (wake time.Time) {
	s.events.silence()
	clients := s.sorted()
	s.watchBus(now, clients)
	open := false
	for _, c := range clients {
		open = c.rounds.expire(now) || open
	}
	for _, h := range s.events.take() {
		s.handle(h, now)
	}
	if open {
		wake = now.Add(sweepInterval)
	}
	for _, c := range clients {
		if due := c.wake(); !due.IsZero() && !now.Before(due) && !c.retired.Load() {
			s.step(c, linkEvent{kind: evWoke, now: now})
		}
		wake = earlier(wake, c.wake())
	}
	if !s.events.empty() {
		wake = now
	}
	return wake
}

// earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// watchBus tells the links and the owner when the connections came or went. A loss between two turns shows by the time
// since which the connection stands.
func (s *Service) watchBus(now time.Time, clients []*client) {
	up, stamps := true, [paths]time.Time{}
	for p, bus := range s.buses {
		stands, since := bus.Up()
		up, stamps[p] = up && stands, since
	}
	if s.turns.up && (!up || stamps != s.turns.stamps) {
		s.setBus(false)
	}
	s.tellLinks(now, clients)
	if s.turns.stamps = stamps; up && !s.turns.up {
		s.setBus(true)
		s.tellLinks(now, clients)
	}
}

func (s *Service) setBus(up bool) {
	s.turns.up = up
	s.owner.Bus(up)
}

// tellLinks brings those links up to date that know the bus as it was, new ones among them.
func (s *Service) tellLinks(now time.Time, clients []*client) {
	for _, c := range clients {
		switch {
		case c.retired.Load():
		case s.turns.up && !c.fields.bus:
			s.step(c, linkEvent{kind: evBusUp, now: now})
		case !s.turns.up && c.fields.bus:
			s.step(c, linkEvent{kind: evBusDown, now: now})
			c.rounds.fail(ErrBusDown)
		}
	}
}

// handle has a link take an event, then tells the owner of a ping: so the owner finds the link as the ping left it.
func (s *Service) handle(h happening, now time.Time) {
	if h.waits != nil {
		h.waits.Store(false)
	}
	if h.client.retired.Load() && h.event.kind != evLeft {
		return
	}
	h.event.now = now
	s.step(h.client, h.event)
	if h.pinged != nil {
		s.owner.Pinged(*h.pinged)
	}
}

// step steps a link and does what it wants done.
func (s *Service) step(c *client, e linkEvent) {
	for _, effect := range c.link.step(e) {
		switch {
		case effect.ping:
			c.sendPing(effect.path, effect.visit)
		case effect.change:
			s.changed(c, effect)
		}
	}
	c.note(e.now)
}

func (s *Service) changed(c *client, effect linkEffect) {
	up := effect.state == connected
	if up {
		c.step.begin()
		c.rounds.accept()
	} else {
		c.rounds.refuse(brokenError(c.peer, effect.reason))
	}
	s.owner.Link(c.peer, up, effect.reason)
}

// note publishes the link's state for Links.
func (c *client) note(now time.Time) {
	status := LinkStatus{Peer: c.peer, State: linkState(c.current.Load()).String(), RTT: c.fields.rtt, Since: c.fields.since}
	if status.Since.IsZero() {
		status.Since = now
	}
	if c.fields.reason != nil {
		status.Reason = c.fields.reason.Error()
	}
	if errors.Is(c.fields.reason, ErrRefused) {
		status.Refusal = status.Reason
	}
	if old := c.status.Load(); old == nil || *old != status {
		c.status.Store(&status)
	}
}

// sendPing sends a ping; its outcome comes back as an event, whatever it is.
func (c *client) sendPing(p path, visit uint64) {
	s := c.service
	sent := s.now()
	own := s.content()
	cmd := &rpc.PingCommand{SenderID: s.self.ID, Timestamp: sent.UnixNano(), WantTable: s.roster.Load() == nil}
	cmd.Start = s.newestOf(c.peer)
	if own.Configuration != nil {
		cmd.Known = own.Configuration.Index
	}
	if !c.Connected() {
		cmd.Configuration, cmd.WantStarts = own.Configuration, p == control
	}
	r := round{method: rpc.MethodPing, path: p, ping: true, deadline: sent.Add(pingTimeouts[p])}
	r.done = func(o outcome) { c.pinged(p, visit, sent, o) }
	if err := c.request(r, pingMethod[p], own.Term, cmd); err != nil {
		r.done(outcome{err: err})
	}
}

// pinged makes an event of a ping's outcome.
func (c *client) pinged(p path, visit uint64, sent time.Time, o outcome) {
	rtt := c.service.now().Sub(sent)
	result := &Pinged{Peer: c.peer, Err: o.err}
	if up, since := c.service.buses[control].Up(); up {
		result.Steady = sent.Add(rtt).Sub(since) >= steadyAfter
	}
	if o.header != nil {
		r := c.service.roster.Load()
		result.take(o, sent.Add(rtt/2), r != nil)
		result.Outdated = r != nil && r.cluster == result.Cluster && c.service.forgot(o.body.(*rpc.PingReturn).Start)
		result.RTT = rtt
	}
	e := linkEvent{kind: evPassed, path: p, visit: visit, rtt: rtt}
	if result.Err != nil {
		e.kind, e.err = evFailed, result.Err
	}
	if p != control {
		result = nil
	}
	c.service.post(happening{client: c, event: e, pinged: result})
}

// take fills in what the peer said; middle is when it said it, by this node's clock.
func (r *Pinged) take(o outcome, middle time.Time, haveTable bool) {
	said := o.body.(*rpc.PingReturn)
	r.Instance, r.Boot, r.Cluster, r.Term = o.header.Instance, o.header.Boot, o.header.Cluster, o.header.Term
	r.Leader, r.Lacks, r.NoRoom, r.Configuration, r.Refusal = said.Leader, said.Lacks, said.NoRoom, said.Configuration, said.Refusal
	r.Clock, r.At = said.Timestamp, middle
	switch {
	case r.Err != nil:
	case said.Refusal != "":
		r.Err = fmt.Errorf("%w by %s: %s", ErrRefused, r.Peer, said.Refusal)
	case haveTable && r.Cluster == rpc.ClusterID{}:
		r.Err = fmt.Errorf("%s: %w", r.Peer, ErrNotAdmitted)
	}
}
