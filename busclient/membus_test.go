package busclient

// A simulated bus under the services of a whole cluster, stepped on one goroutine with a virtual clock: messages are lost,
// repeated, delayed and reordered as a seed says.

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
)

type simBus struct {
	random  *rand.Rand
	now     time.Time
	faulty  bool
	delay   time.Duration // of each message, unless faulty
	lost    *path         // nothing sent on it arrives; nil: all does
	conns   []*simConn
	flying  []flight
	maximum int64
}

type flight struct {
	at   time.Time
	from *simConn
	d    Delivery
}

// simConn is a Bus on it.
type simConn struct {
	bus   *simBus
	path  path
	subs  []simSub
	up    bool
	since time.Time
}

type simSub struct {
	pattern []string
	h       func(Delivery)
}

func (c *simConn) Publish(subject, reply string, data []byte) error {
	if !c.up {
		return ErrBusDown
	}
	c.bus.send(flight{from: c, d: Delivery{Subject: subject, Reply: reply, Data: bytes.Clone(data)}})
	return nil
}

func (c *simConn) Subscribe(subject string, h func(Delivery)) (func(), error) {
	c.subs = append(c.subs, simSub{strings.Split(subject, "."), h})
	return func() { c.subs = nil }, nil
}

func (c *simConn) MaxPayload() int64         { return c.bus.maximum }
func (c *simConn) Up() (bool, time.Time)     { return c.up, c.since }
func (c *simConn) OnStatus(func(bool))       {}
func (c *simConn) Flush(time.Duration) error { return nil }
func (c *simConn) OnDelivered(func(bool))    {}
func (c *simConn) Cork()                     {}
func (c *simConn) Uncork()                   {}

func (c *simConn) set(up bool) { c.up, c.since = up, c.bus.now }

func (s *simSub) matches(subject string) bool {
	tokens := strings.Split(subject, ".")
	return slices.EqualFunc(s.pattern, tokens, func(p, token string) bool { return p == "*" || p == token })
}

func (b *simBus) send(f flight) {
	if b.lost != nil && *b.lost == f.from.path {
		return
	}
	copies := 1
	f.at = b.now.Add(b.delay)
	if b.faulty {
		f.at = b.now.Add(time.Duration(b.random.ExpFloat64() * float64(20*time.Millisecond)))
		switch r := b.random.Float64(); {
		case r < 0.15:
			copies = 0
		case r < 0.30:
			copies = 2
		}
	}
	for range copies {
		b.flying = append(b.flying, f)
	}
}

// deliver hands over what is due, in order of time, and reports whether there was anything.
func (b *simBus) deliver() (any bool) {
	slices.SortStableFunc(b.flying, func(x, y flight) int { return x.at.Compare(y.at) })
	for len(b.flying) > 0 && !b.flying[0].at.After(b.now) {
		f := b.flying[0]
		b.flying = b.flying[1:]
		b.arrive(f)
		any = true
	}
	return any
}

func (b *simBus) arrive(f flight) {
	heard := false
	for _, c := range b.conns {
		for _, s := range c.subs {
			if c.up && s.matches(f.d.Subject) {
				heard = true
				s.h(f.d)
			}
		}
	}
	if !heard && f.d.Reply != "" && f.from.up {
		b.arrive(flight{from: f.from, d: Delivery{Subject: f.d.Reply, NoResponders: true}})
	}
}

// simulation is a cluster on a simBus.
type simulation struct {
	seed   uint64
	nonces int
	bus    *simBus
	nodes  []*simNode
}

type simNode struct {
	*Service
	*recorder
	conns [paths]*simConn
	wake  time.Time
	conf  *rpc.Configuration // the latest committed one that it knows
}

func simulate(t require.TestingT, log testing.TB, seed uint64) *simulation {
	sim := &simulation{seed: seed, bus: &simBus{random: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1000, 0), maximum: 1 << 20}}
	for i, id := range members {
		n := sim.add(t, configOf(log, id, nil), Identity{id, instanceOf(id), epoch(1, uint32(i))})
		n.Admit(rpc.ClusterIDOf(tableOf(members...)), tableOf(members...))
	}
	return sim
}

// add makes a node that has no table yet.
func (s *simulation) add(t require.TestingT, cfg config.IRaftConfig, who Identity) *simNode {
	return s.addWith(t, cfg, who, nil)
}

// addWith makes one that knows starts of its peers from an earlier life.
func (s *simulation) addWith(t require.TestingT, cfg config.IRaftConfig, who Identity, starts []Identity) *simNode {
	n := &simNode{recorder: &recorder{}}
	for p := range paths {
		n.conns[p] = &simConn{bus: s.bus, path: p}
		s.bus.conns = append(s.bus.conns, n.conns[p])
	}
	var err error
	n.Service, err = NewService(Options{
		Config: cfg, Identity: who, Owner: n.recorder, Control: n.conns[control], Bulk: n.conns[bulk],
		Now: func() time.Time { return s.bus.now }, Seed: s.seed, Starts: starts, Nonce: s.nonce,
		PingContent: func() PingContent { return PingContent{Configuration: n.conf} },
	})
	require.NoError(t, err)
	n.answer(func(m rpc.Message) { _ = n.Answer(returnFor(m)) })
	require.NoError(t, n.Listen())
	s.nodes = append(s.nodes, n)
	return n
}

// nonce counts: those of the product are random, and a run must not be.
func (s *simulation) nonce() string {
	s.nonces++
	return fmt.Sprint("nonce", s.nonces)
}

// run lets time pass, a millisecond at a time, and has each act at each.
func (s *simulation) run(d time.Duration, each func()) {
	for end := s.bus.now.Add(d); s.bus.now.Before(end); s.bus.now = s.bus.now.Add(time.Millisecond) {
		each()
		for busy := true; busy; {
			busy = s.bus.deliver()
			for _, n := range s.nodes {
				if n.Pending() || !n.wake.After(s.bus.now) {
					n.wake = n.Turn(s.bus.now)
					if n.wake.IsZero() {
						n.wake = s.bus.now.Add(time.Hour)
					}
				}
				busy = busy || n.Pending()
			}
		}
	}
}

func (s *simulation) setAll(up bool) {
	for _, c := range s.bus.conns {
		if c.up != up {
			c.set(up)
		}
	}
	s.kick()
}

// kick is what a bus's OnStatus does.
func (s *simulation) kick() {
	for _, n := range s.nodes {
		n.wake = s.bus.now
	}
}

func (s *simulation) connected() bool {
	for _, n := range s.nodes {
		for _, l := range n.Links() {
			if l.State != "connected" {
				return false
			}
		}
	}
	return true
}

func TestSimulatedLinksConnectWithoutAGoroutine(t *testing.T) {
	sim := simulate(t, t, 1)
	sim.run(time.Second, func() {})
	require.False(t, sim.connected())
	sim.setAll(true)
	sim.run(2*time.Millisecond, func() {})
	require.True(t, sim.connected())
	for _, n := range sim.nodes {
		require.Equal(t, []bool{true}, n.busChanges())
		require.Len(t, n.changes(), 2)
	}
}

// A silent peer: nothing says that it is gone, so only the deadline of a ping can.
func TestAPingHasADeadline(t *testing.T) {
	sim := simulate(t, t, 1)
	sim.setAll(true)
	sim.run(time.Second, func() {})
	require.True(t, sim.connected())
	cut := sim.bus.now
	for _, c := range sim.nodes[1].conns {
		for i := range c.subs {
			c.subs[i].h = func(Delivery) {} // swallows all: half open
		}
	}
	sim.run(pingInterval+pingTimeout+sweepInterval+2*time.Millisecond, func() {})
	l := sim.nodes[0].Links()[0]
	require.Equal(t, "broken", l.State)
	require.Equal(t, ErrTimeout.Error(), l.Reason)
	require.Greater(t, l.Since.Sub(cut), pingTimeout-pingInterval)
	require.True(t, slices.ContainsFunc(sim.nodes[0].pings(), func(p Pinged) bool { return p.Peer == "n2" && errors.Is(p.Err, ErrTimeout) }))
	require.Equal(t, "connected", sim.nodes[0].Links()[1].State, "the others are not touched")
}

// A link whose bulk path is silent says so, and goes on asking on the other: each ping there that is heard has a probe leave, and those of the bulk path
// are open for long, so that there were too many (F9).
func TestALinkWithHalfAPathSaysWhatIsWrong(t *testing.T) {
	for _, way := range []time.Duration{0, 10 * time.Millisecond, 12 * time.Millisecond, 15 * time.Millisecond, 40 * time.Millisecond} {
		sim := simulate(t, t, 1)
		sim.bus.delay = way
		sim.setAll(true)
		sim.run(time.Second, func() {})
		require.True(t, sim.connected())
		lost, n := bulk, sim.nodes[0]
		sim.bus.lost = &lost
		sim.run(pingInterval+pingBulkTimeout+sweepInterval+2*time.Millisecond, func() {})
		require.Equal(t, "broken", n.Links()[0].State)
		sim.run(5*time.Second, func() { require.Equal(t, ErrTimeout.Error(), n.Links()[0].Reason, "a way of %v", way) })
		require.False(t, slices.ContainsFunc(n.pings(), func(p Pinged) bool { return p.Err != nil }), "a way of %v", way)
		sim.bus.lost = nil
		sim.run(250*time.Millisecond+4*way, func() {})
		require.True(t, sim.connected(), "a way of %v", way)
	}
}

// Of two silent peers each is found to be so, though something is always asked of the other that may yet be answered (F10).
func TestTheDeadlinesOfEachPeerAreSeen(t *testing.T) {
	sim := simulate(t, t, 1)
	sim.setAll(true)
	sim.run(time.Second, func() {})
	n := sim.nodes[0]
	for _, silent := range sim.nodes[1:] {
		for _, c := range silent.conns {
			for i := range c.subs {
				c.subs[i].h = func(Delivery) {}
			}
		}
	}
	ask := func(c IRaftClient) { // until the link is broken
		_ = c.Heartbeat(1, &rpc.HeartbeatCommand{}, func(rpc.Reply[*rpc.HeartbeatReturn]) {})
	}
	sim.run(pingInterval+pingTimeout+sweepInterval+2*time.Millisecond, func() { require.NoError(t, n.Using("n2", ask)) })
	for _, l := range n.Links() {
		require.Equal(t, "broken", l.State, l.Peer)
		require.Equal(t, ErrTimeout.Error(), l.Reason, l.Peer)
	}
}

// The peer's process is gone: the bus says so about the first call, and no ping is needed to break the link.
func TestNoRespondersToACallBreaksTheLink(t *testing.T) {
	sim := simulate(t, t, 1)
	sim.setAll(true)
	sim.run(time.Second, func() {})
	for _, c := range sim.nodes[1].conns {
		c.subs = nil
	}
	n, ends := sim.nodes[0], []error{}
	done := func(r rpc.Reply[*rpc.HeartbeatReturn]) { ends = append(ends, r.Err) }
	pings := len(n.pings())
	require.NoError(t, n.Using("n2", func(c IRaftClient) { require.NoError(t, c.Heartbeat(1, &rpc.HeartbeatCommand{}, done)) }))
	sim.bus.deliver()
	require.Equal(t, []error{ErrNoResponders}, ends)
	n.Turn(sim.bus.now)
	require.Len(t, n.pings(), pings)
	require.Equal(t, "broken", n.Links()[0].State)
	require.Equal(t, ErrNoResponders, n.changes()[2].reason)
}

// Whoever begins to listen while the service is closed does not.
func TestAClosedServiceListensToNothing(t *testing.T) {
	n := connectedSimulation(t).nodes[0]
	n.Close()
	require.Empty(t, n.conns[control].subs)
	require.ErrorIs(t, n.listen(control, "late", n.receive), ErrClosed)
	require.Empty(t, n.conns[control].subs)
}

// That nobody heard a ping is the ping's to say: of one of an earlier stay it says nothing (K75).
func TestAnOldPingThatNobodyHeardBreaksNoLink(t *testing.T) {
	sim := connectedSimulation(t)
	n := sim.nodes[0]
	c, err := n.client("n2")
	require.NoError(t, err)
	c.sendPing(control, c.fields.visit-1)
	c.unheard(control, n.lastRound.Load())
	n.Turn(sim.bus.now)
	require.True(t, c.Connected())
}

// severed is a connection on which nothing leaves, as its link breaks.
type severed struct {
	Bus
	breaks func()
}

func (s severed) Publish(string, string, []byte) error {
	s.breaks()
	return ErrBusDown
}

// A call has one end, also if its link breaks while it is sent.
func TestACallThatDoesNotLeaveAsItsLinkBreaksEndsOnce(t *testing.T) {
	sim := connectedSimulation(t)
	n := sim.nodes[0]
	c, err := n.client("n2")
	require.NoError(t, err)
	n.buses[control] = severed{n.buses[control], func() { c.rounds.refuse(ErrConnectionBroken) }}
	replies := n.openHeartbeat(t, "n2")
	require.Len(t, *replies, 1)
	require.ErrorIs(t, (*replies)[0].Err, ErrConnectionBroken)
}

// A loss of the connection between two turns, back already when the next one comes, ends what was in flight all the same.
func TestALossBetweenTwoTurnsIsNoticed(t *testing.T) {
	sim := simulate(t, t, 1)
	sim.setAll(true)
	sim.run(time.Second, func() {})
	n := sim.nodes[0]
	n.conns[bulk].set(false)
	sim.bus.now = sim.bus.now.Add(time.Microsecond)
	n.conns[bulk].set(true)
	n.wake = sim.bus.now
	sim.run(2*time.Millisecond, func() {})
	require.Equal(t, []bool{true, false, true}, n.busChanges())
	require.ErrorIs(t, n.changes()[2].reason, ErrBusDown)
	require.True(t, sim.connected())
}

// What was asked when the connection was lost is not waited for: calls and pings end at once.
func TestALostConnectionEndsWhatIsInFlight(t *testing.T) {
	sim := simulate(t, t, 1)
	sim.setAll(true)
	sim.run(time.Second, func() {})
	n, ends := sim.nodes[0], []error{}
	require.NoError(t, n.Using("n2", func(c IRaftClient) {
		require.NoError(t, c.Ping())
		require.NoError(t, c.AppendLog(1, &rpc.AppendLogCommand{}, func(r rpc.Reply[*rpc.AppendLogReturn]) { ends = append(ends, r.Err) }))
	}))
	n.Turn(sim.bus.now)
	pings := len(n.pings())
	sim.setAll(false)
	n.Turn(sim.bus.now)
	n.Turn(sim.bus.now)
	require.Len(t, ends, 1)
	require.ErrorIs(t, ends[0], ErrBusDown)
	require.ErrorIs(t, ends[0], ErrConnectionBroken)
	require.Len(t, n.pings(), pings+1)
	require.ErrorIs(t, n.pings()[pings].Err, ErrBusDown)
}

// tally counts how calls ended.
type tally struct{ begun, ended, good, twice int }

func (s *simulation) call(t require.TestingT, n *simNode, to rpc.NodeID, all *tally) {
	require.NoError(t, n.Using(to, func(c IRaftClient) {
		was, ends := c.Connected(), 0
		deadline := s.bus.now.Add(callTimeout + pingInterval + sweepInterval)
		done := func(err error) {
			if ends++; ends > 1 {
				all.twice++
				return
			}
			all.ended++
			require.False(t, s.bus.now.After(deadline), "a call ends by its deadline")
			if err == nil {
				all.good++
			}
		}
		var err error
		if s.bus.random.IntN(2) == 0 {
			err = c.Heartbeat(1, &rpc.HeartbeatCommand{}, func(r rpc.Reply[*rpc.HeartbeatReturn]) { done(r.Err) })
		} else {
			err = c.AppendLog(1, &rpc.AppendLogCommand{}, func(r rpc.Reply[*rpc.AppendLogReturn]) { done(r.Err) })
		}
		if err == nil {
			require.True(t, was, "a broken link takes no call")
			all.begun++
			return
		}
		require.Zero(t, ends, "refused and ended")
		if !was {
			require.ErrorIs(t, err, ErrConnectionBroken)
		}
	}))
}

// F1, F2, F5, F9 on the bus: whatever it does, each call ends once and in time, and when it heals all links connect.
func chaos(t require.TestingT, log testing.TB, seed uint64) (all tally, trace []linkChange) {
	sim := simulate(t, log, seed)
	r := sim.bus.random
	sim.setAll(true)
	sim.bus.faulty = true
	sim.run(3*time.Second, func() {
		if r.IntN(200) == 0 {
			c := sim.bus.conns[r.IntN(len(sim.bus.conns))]
			c.set(!c.up)
			sim.kick()
		}
		n := sim.nodes[r.IntN(len(sim.nodes))]
		if to := members[r.IntN(len(members))]; to != n.self.ID {
			sim.call(t, n, to, &all)
		}
	})
	sim.bus.faulty = false
	sim.setAll(true)
	sim.run(callTimeout+time.Second, func() {})
	require.True(t, sim.connected(), "healed")
	require.Equal(t, all.begun, all.ended)
	require.Zero(t, all.twice)
	for _, n := range sim.nodes {
		trace = append(trace, n.changes()...)
	}
	return all, trace
}

func TestSimulatedChaos(t *testing.T) {
	t.Parallel()
	var sum tally
	for seed := range uint64(15) {
		all, _ := chaos(t, t, seed)
		sum.good += all.good
		sum.ended += all.ended
	}
	require.Greater(t, sum.good, 1000, "the simulation is not all failures")
	require.Greater(t, sum.ended-sum.good, 1000, "nor all luck")
}

func TestASimulatedRunCanBeHadAgain(t *testing.T) {
	all, trace := chaos(t, t, 42)
	again, traceAgain := chaos(t, t, 42)
	require.Equal(t, all, again)
	require.Equal(t, trace, traceAgain)
}

// F11: what is larger than max_payload arrives all the same, and its return too.
func TestLargeMessagesTravelInParts(t *testing.T) {
	sim := simulate(t, t, 1)
	sim.bus.maximum = 4 << 10
	sim.setAll(true)
	sim.run(time.Second, func() {})
	data := bytes.Repeat([]byte("0123456789"), 10_000)
	var got *rpc.Reply[*rpc.AppendLogReturn]
	require.NoError(t, sim.nodes[0].Using("n2", func(c IRaftClient) {
		cmd := &rpc.AppendLogCommand{Entries: []rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryCommand, Data: data}}}
		require.NoError(t, c.AppendLog(1, cmd, func(r rpc.Reply[*rpc.AppendLogReturn]) { got = &r }))
	}))
	require.Greater(t, len(sim.bus.flying), 20)
	sim.run(2*time.Millisecond, func() {})
	require.NotNil(t, got)
	require.NoError(t, got.Err)
	require.Equal(t, data, sim.nodes[1].messages()[0].Body.(*rpc.AppendLogCommand).Entries[0].Data)
}

func TestTooLargeACallIsRefused(t *testing.T) {
	sim := simulate(t, t, 1)
	sim.setAll(true)
	sim.run(time.Second, func() {})
	require.NoError(t, sim.nodes[0].Using("n2", func(c IRaftClient) {
		cmd := &rpc.AppendLogCommand{Entries: []rpc.Entry{{Index: 1, Term: 1, Data: make([]byte, MessageBytesMax)}}}
		require.ErrorIs(t, c.AppendLog(1, cmd, nil), ErrTooLarge)
	}))
}
