package kv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/stalltest"
)

// The clients are on another NATS server than the leader, and what one server forwards to the other takes its time: there is always
// a request on its way when the leader stops listening. A client that asks again where it hears 'no responders' loses none (L2).
func TestDrainLosesNoRequestBetweenServers(t *testing.T) {
	t.Parallel() // it mostly waits
	// A busy machine takes its time, too.
	drainBetweenServers(t, clustered, 3*time.Millisecond, &hush{lasts: 500 * time.Millisecond, roundTrip: near}, 100)
}

// Nor between a server that is in no cluster and its leafnodes, of which it says nothing.
func TestDrainLosesNoRequestOfALeafnode(t *testing.T) {
	t.Parallel() // it mostly waits
	drainBetweenServers(t, leafnode, 3*time.Millisecond, &hush{lasts: 500 * time.Millisecond, roundTrip: near}, 100)
}

// Servers may be far from each other: then so are nodes, whose round trip tells how long a hush must be.
func TestDrainLosesNoRequestBetweenFarServers(t *testing.T) {
	t.Parallel() // it mostly waits
	const delay = 50 * time.Millisecond
	drainBetweenServers(t, clustered, delay, &hush{lasts: hushTime, roundTrip: func() time.Duration { return 2 * delay }}, 20)
}

// joined is how another server is connected with that of the leader.
type joined struct {
	near func(*server.Options)
	at   func(*server.Server) string
	far  func(o *server.Options, to *url.URL)
}

var clustered = joined{
	near: func(o *server.Options) {
		o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: -1, NoAdvertise: true}
	},
	at: func(s *server.Server) string { return s.ClusterAddr().String() },
	far: func(o *server.Options, to *url.URL) {
		o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: -1, NoAdvertise: true}
		o.Routes = []*url.URL{to}
	},
}

var leafnode = joined{
	near: func(o *server.Options) { o.LeafNode = server.LeafNodeOpts{Host: "127.0.0.1", Port: -1} },
	at: func(s *server.Server) string {
		vars, err := s.Varz(nil)
		if err != nil {
			return err.Error()
		}
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(vars.LeafNode.Port))
	},
	far: func(o *server.Options, to *url.URL) {
		o.LeafNode.Remotes = []*server.RemoteLeafOpts{{URLs: []*url.URL{to}}}
	},
}

func drainBetweenServers(t *testing.T, j joined, delay time.Duration, h *hush, requests int64) {
	r := newRig(t, nil, j.near)
	r.service.hush.lasts, r.service.hush.roundTrip = h.lasts, h.roundTrip
	r.lead()
	r.ask("bucket.add.app", "")
	far := r.farServer(j, delay)
	// An answer and the next request wake about a dozen goroutines, one after the other, and each may be late.
	margin := (h.length() - 2*delay) / 12
	for whole, rounds := 0, 0; whole < 3; rounds++ {
		require.Less(t, rounds, 30, "this machine is too busy to tell")
		stalls := stalltest.During(t)
		err := r.drainWhileAsked(far, requests)
		if err != nil && stalls.Longest() > margin {
			t.Log("a hush is too short where a machine stands still for longer:", stalls.Longest(), err)
			continue
		}
		require.NoError(t, err, "a client that asks again lost a request")
		whole++
	}
}

// drainWhileAsked stops listening while clients ask, and listens again. The error is what they lost.
func (r *rig) drainWhileAsked(far *server.Server, requests int64) error {
	asking := startAskers(r.T, far, 8)
	require.Eventually(r, func() bool { return asking.asked.Load() > requests }, 30*time.Second, time.Millisecond)
	require.NoError(r, r.service.Drain(r.Context()))
	refused := asking.refused.Load()
	require.Eventually(r, func() bool { return asking.refused.Load() > refused }, 30*time.Second, time.Millisecond, "it listens on")
	r.stepDown()
	r.service.Resume()
	r.lead()
	return asking.finish()
}

// farServer is another NATS server, which is connected to that of the leader by a wire that takes its time.
func (r *rig) farServer(j joined, delay time.Duration) *server.Server {
	r.Helper()
	wire := startWire(r.T, j.at(r.bus), delay)
	far := newBus(r.T, func(o *server.Options) { j.far(o, &url.URL{Scheme: "nats", Host: wire}) })
	r.Cleanup(func() { far.Shutdown(); far.WaitForShutdown() })
	nc, err := nats.Connect(far.ClientURL())
	require.NoError(r, err)
	defer nc.Close()
	require.Eventually(r, func() bool { _, err := nc.Request("raftbus.bucket.ls", nil, time.Second); return err == nil },
		10*time.Second, 10*time.Millisecond, "the servers do not find each other")
	return far
}

// startWire is an address that forwards connections to another, all that passes a while later.
func startWire(t *testing.T, to string, delay time.Duration) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				a.Close()
				continue
			}
			wg.Go(func() { forward(a, b, delay) })
			wg.Go(func() { forward(b, a, delay) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

// forward moves bytes until a side ends, then ends the other. Nothing waits for what came before it.
func forward(from, to net.Conn, delay time.Duration) {
	type piece struct {
		bytes []byte
		due   time.Time
	}
	pieces := make(chan piece, 10_000)
	go func() {
		defer close(pieces)
		for buffer := make([]byte, 1<<16); ; {
			n, err := from.Read(buffer)
			if n > 0 {
				pieces <- piece{append([]byte{}, buffer[:n]...), time.Now().Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range pieces {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.bytes); err != nil {
			from.Close()
		}
	}
	to.Close()
}

// askers are clients that put one key after the other, and ask again where nobody listens.
type askers struct {
	asked   atomic.Int64
	refused atomic.Int64 // nobody listened
	stop    context.CancelFunc
	wg      sync.WaitGroup
	mu      sync.Mutex
	err     error
}

func startAskers(t *testing.T, s *server.Server, count int) *askers {
	ctx, stop := context.WithCancel(t.Context())
	a := &askers{stop: stop}
	for i := range count {
		nc, err := nats.Connect(s.ClientURL())
		require.NoError(t, err)
		a.wg.Go(func() {
			defer nc.Close()
			for ctx.Err() == nil {
				a.ask(nc, "raftbus.kv.put.app.k"+strconv.Itoa(i))
			}
		})
	}
	return a
}

func (a *askers) ask(nc *nats.Conn, subject string) {
	_, err := nc.Request(subject, []byte("v"), 5*time.Second)
	if errors.Is(err, nats.ErrNoResponders) {
		a.refused.Add(1)
		time.Sleep(time.Millisecond)
		return
	}
	a.asked.Add(1)
	if err != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.err = errors.Join(a.err, fmt.Errorf("%s: %w", subject, err))
	}
}

func (a *askers) finish() error {
	a.stop()
	a.wg.Wait()
	return a.err
}

// What was held is not carried out if another has led meanwhile: it may have had a copy (C1).
func TestHeldRequestIsForgottenWhenLeadershipChanged(t *testing.T) {
	r := newLeader(t, nil)
	r.service.hush.begin()
	put := r.send("kv.put.app.k", "v")
	pull := r.sendJS(nextOfC, patient)
	require.Eventually(t, func() bool {
		r.service.hush.mu.Lock()
		defer r.service.hush.mu.Unlock()
		return len(r.service.hush.held) == 2
	}, 5*time.Second, time.Millisecond)
	r.node.lead(false)
	r.node.lead(true)
	r.service.hush.end()
	r.silent(put)
	require.Equal(t, deposed, r.told(pull), "who waits for messages is told: that changes nothing")
	_, err := r.store.Get("app", "k")
	require.ErrorIs(t, err, store.KeyNotFound)
}

// What comes while held messages are taken is taken after them.
func TestAHushEndsInOrder(t *testing.T) {
	h, taken := hush{on: true}, []int{}
	take := func(n int) func() { return func() { taken = append(taken, n) } }
	require.True(t, h.holds(&nats.Msg{}, func() {
		take(1)()
		require.True(t, h.holds(&nats.Msg{}, take(3)), "it would overtake the second")
	}))
	require.True(t, h.holds(&nats.Msg{}, take(2)))
	h.end()
	require.Equal(t, []int{1, 2, 3}, taken)
	require.False(t, h.holds(&nats.Msg{}, nil), "it is over")
}

func TestHushIsBounded(t *testing.T) {
	h := hush{on: true, held: make([]func(), pendingMax-1)}
	m := &nats.Msg{}
	require.True(t, h.holds(m, nil))
	require.False(t, h.holds(m, nil), "too many")
	h = hush{on: true, bytes: pendingBytesMax - 10}
	require.True(t, h.holds(&nats.Msg{Data: make([]byte, 10)}, func() {}))
	require.False(t, h.holds(&nats.Msg{Data: make([]byte, 1)}, nil), "too much")
	h.end()
	h.begin()
	require.True(t, h.holds(&nats.Msg{Data: make([]byte, pendingBytesMax)}, func() {}), "the next hush begins empty")
}

// However far the nodes are from each other, a planned move leaves nobody unserved for long (L2).
func TestAHushIsShortWhateverTheRoundTrip(t *testing.T) {
	for roundTrip, want := range map[time.Duration]time.Duration{0: hushTime, 20 * time.Millisecond: 80 * time.Millisecond, time.Hour: hushMax} {
		h := hush{lasts: hushTime, roundTrip: func() time.Duration { return roundTrip }}
		require.Equal(t, want, h.length())
	}
}
