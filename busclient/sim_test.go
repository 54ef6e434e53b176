package busclient_test

// What a simulator builds on, with nothing but what is exported: two services over a bus of its own, stepped on one goroutine
// with a clock of its own. One seed is one run.

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
)

// world is a bus that loses, repeats and delays messages as its seed says, its clock, and a trace of all that happens.
type world struct {
	t      *testing.T
	random *rand.Rand
	now    time.Time
	flying []flying
	nodes  []*node
	nonces int
	trace  bytes.Buffer
}

// line is one connection, and a busclient.Bus.
type line struct {
	w       *world
	pattern []string
	hear    []func(busclient.Delivery)
}

type flying struct {
	at time.Time
	d  busclient.Delivery
}

func (l *line) Publish(subject, reply string, data []byte) error {
	w := l.w
	digest := fnv.New64a()
	digest.Write(data)
	fmt.Fprintf(&w.trace, "%v sent %s %s %x\n", w.now.UnixMicro(), subject, reply, digest.Sum64())
	for copies := w.random.IntN(8); copies > 0; copies -= 6 { // 1 of 8 is lost, 1 of 8 comes twice
		at := w.now.Add(time.Duration(w.random.IntN(5000)) * time.Microsecond)
		w.flying = append(w.flying, flying{at, busclient.Delivery{Subject: subject, Reply: reply, Data: bytes.Clone(data)}})
	}
	return nil
}

func (l *line) Subscribe(subject string, h func(busclient.Delivery)) (func(), error) {
	l.pattern, l.hear = append(l.pattern, subject), append(l.hear, h)
	return func() {}, nil
}

func (l *line) MaxPayload() int64         { return 1 << 20 }
func (l *line) Up() (bool, time.Time)     { return true, time.Unix(900, 0) }
func (l *line) OnStatus(func(bool))       {}
func (l *line) Flush(time.Duration) error { return nil }

func matches(pattern, subject string) bool {
	return slices.EqualFunc(strings.Split(pattern, "."), strings.Split(subject, "."), func(p, token string) bool { return p == "*" || p == token })
}

// node is a service, and its owner.
type node struct {
	*busclient.Service
	w     *world
	id    rpc.NodeID
	lines [2]*line
	wake  time.Time
}

func (n *node) tell(format string, args ...any) {
	fmt.Fprintf(&n.w.trace, "%v %s %s\n", n.w.now.UnixMicro(), n.id, fmt.Sprintf(format, args...))
}

func (n *node) Receive(m rpc.Message) {
	n.tell("received %s of %s", m.Body.Method(), m.From)
	require.NoError(n.w.t, n.Answer(rpc.Message{From: n.id, To: m.From, Term: m.Term, Call: m.Call, Body: &rpc.HeartbeatReturn{}}))
}

func (n *node) Pinged(p busclient.Pinged) { n.tell("pinged %s: %v %v", p.Peer, p.RTT, p.Err) }
func (n *node) Link(peer rpc.NodeID, up bool, reason error) {
	n.tell("link to %s: %v %v", peer, up, reason)
}
func (n *node) Bus(up bool)                                  { n.tell("bus %v", up) }
func (n *node) Learned(_ rpc.ClusterID, c rpc.Configuration) { n.tell("learned %d", c.Index) }
func (n *node) Booted(who busclient.Identity)                { n.tell("booted %s", who) }

func (w *world) add(id rpc.NodeID, table []rpc.Member) {
	n := &node{w: w, id: id, lines: [2]*line{{w: w}, {w: w}}}
	cfg, err := config.Validate(config.Config{NodeID: id, MemberIDs: []rpc.NodeID{"n1", "n2"}})
	require.NoError(w.t, err)
	n.Service, err = busclient.NewService(busclient.Options{
		Config: cfg, Identity: busclient.Identity{ID: id, Instance: table[len(w.nodes)].Instance, Boot: 1<<32 | 7},
		Control: n.lines[0], Bulk: n.lines[1], Owner: n, Now: func() time.Time { return w.now }, Seed: w.random.Uint64(),
		Nonce: func() string { w.nonces++; return fmt.Sprint("x", w.nonces) },
	})
	require.NoError(w.t, err)
	n.Admit(rpc.ClusterIDOf(table), table)
	require.NoError(w.t, n.Listen())
	w.nodes = append(w.nodes, n)
}

// deliver hands over what is due, and has each service take its turn that wants one.
func (w *world) deliver() {
	slices.SortStableFunc(w.flying, func(a, b flying) int { return a.at.Compare(b.at) })
	for len(w.flying) > 0 && !w.flying[0].at.After(w.now) {
		d := w.flying[0].d
		w.flying = w.flying[1:]
		for _, n := range w.nodes {
			for _, l := range n.lines {
				for i, pattern := range l.pattern {
					if matches(pattern, d.Subject) {
						l.hear[i](d)
					}
				}
			}
		}
	}
	for _, n := range w.nodes {
		for n.Pending() || !n.wake.IsZero() && !n.wake.After(w.now) {
			n.wake = n.Turn(w.now)
		}
	}
}

// simulate runs two services for three seconds and returns all that happened, and how many links are connected at the end.
func simulate(t *testing.T, seed uint64) (trace string, connected int) {
	w := &world{t: t, random: rand.New(rand.NewPCG(seed, 0)), now: time.Unix(1000, 0)}
	table := []rpc.Member{{ID: "n1", Instance: rpc.InstanceID{1}}, {ID: "n2", Instance: rpc.InstanceID{2}}}
	w.add("n1", table)
	w.add("n2", table)
	for end := w.now.Add(3 * time.Second); w.now.Before(end); w.now = w.now.Add(500 * time.Microsecond) {
		if w.random.IntN(20) == 0 {
			n := w.nodes[w.random.IntN(2)]
			_ = n.Using(table[2-slices.Index(w.nodes, n)-1].ID, func(c busclient.IRaftClient) {
				err := c.Heartbeat(1, &rpc.HeartbeatCommand{}, func(r rpc.Reply[*rpc.HeartbeatReturn]) { n.tell("answered by %s: %v", r.From, r.Err) })
				n.tell("called: %v", err)
			})
		}
		w.deliver()
	}
	for _, n := range w.nodes {
		for _, l := range n.Links() {
			if l.State == "connected" {
				connected++
			}
		}
		n.Close()
	}
	return w.trace.String(), connected
}

func TestOneSeedIsOneRunOnOneGoroutine(t *testing.T) {
	before := goleak.IgnoreCurrent()
	traces, connected := map[string]bool{}, 0
	for seed := range uint64(20) {
		trace, links := simulate(t, seed)
		again, _ := simulate(t, seed)
		require.True(t, trace == again, "seed %d is two runs", seed) // they are long
		traces[trace] = true
		connected += links
	}
	require.Len(t, traces, 20, "seeds differ")
	require.Greater(t, connected, 20, "most links are connected")
	for _, what := range []string{"answered by n1: <nil>", "answered by n2: connection to the peer is broken", "received Heartbeat of n1", "booted n2", "link to n2: true", "link to n1: false no answer in time"} {
		require.True(t, slices.ContainsFunc(slices.Collect(maps.Keys(traces)), func(trace string) bool { return strings.Contains(trace, what) }), what)
	}
	goleak.VerifyNone(t, before)
}
