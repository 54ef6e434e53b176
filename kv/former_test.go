package kv

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

func listensAt(node string, session int) string {
	return fmt.Sprintf("raftbus.node.%s.listens.%d", node, session)
}

// newLooking is a rig whose service looks who else listens: two nodes may.
func newLooking(t *testing.T) *rig {
	r := newRig(t, func(o *Options) {
		o.Listens, o.Peers = listensAt, func() []string { return []string{"n2", "n3"} }
	})
	r.lead()
	r.ask("bucket.add.app", "")
	return r
}

// former is a connection that NATS has not given up, of a node that leads no more, or of one that is paused: it takes what comes, and
// answers nobody.
func (r *rig) former(at string) (nc *nats.Conn, looked *nats.Subscription) {
	nc, err := nats.Connect(r.bus.ClientURL())
	require.NoError(r, err)
	r.Cleanup(nc.Close)
	looked, err = nc.SubscribeSync(at)
	require.NoError(r, err)
	_, err = nc.SubscribeSync("raftbus.kv.>")
	require.NoError(r, err)
	require.NoError(r, nc.Flush())
	return nc, looked
}

// A leader listens on while NATS has the subscriptions of a former one, and a planned move after that loses no request (L2).
func TestALeaderListensUntilNobodyElseDoes(t *testing.T) {
	t.Parallel() // it mostly waits
	r := newLooking(t)
	for _, at := range []string{listensAt("n2", 0), listensAt("n3", sessionsMax-1), listensAt("n1", (r.service.session.number+1)%sessionsMax)} {
		nc, looked := r.former(at)
		asking := startAskers(t, r.bus, 4)
		alone := make(chan error, 1)
		go func() { alone <- r.service.AwaitAlone(t.Context()) }()
		for range 3 {
			_, err := looked.NextMsg(5 * time.Second)
			require.NoError(t, err, "nobody looks at %s", at)
		}
		require.Empty(t, alone, at)
		require.Zero(t, asking.refused.Load(), "it listens no more")
		nc.Close()
		require.NoError(t, <-alone)
		require.NoError(t, r.service.Drain(t.Context()))
		refused := asking.refused.Load()
		require.Eventually(t, func() bool { return asking.refused.Load() > refused }, 5*time.Second, time.Millisecond)
		r.stepDown()
		r.service.Resume()
		r.lead()
		require.NoError(t, asking.finish(), "a client that asks again lost a request")
	}
}

func TestALeaderDoesNotWaitForeverToBeAlone(t *testing.T) {
	r := newLooking(t)
	r.former(listensAt("n2", 1))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, r.service.AwaitAlone(ctx), ErrFormerLeader)
	r.expect(`{"bucket":"app","key":"k","revision":1,"cluster_revision":2}`, "kv.put.app.k", "v")
	require.True(t, r.service.Listens())
}

// Whoever stops listening, by order or since it leads no more, is not seen any more either; nor is it seen as somebody else by itself.
func TestWhoListensIsSeenToListen(t *testing.T) {
	r := newLooking(t)
	seen := func() (seen []string) {
		require.NoError(t, r.service.conn.Flush())
		for number := range sessionsMax {
			if r.bus.GlobalAccount().Interest(listensAt("n1", number)) > 0 {
				seen = append(seen, listensAt("n1", number))
			}
		}
		return seen
	}
	first := seen()
	require.Len(t, first, 1)
	require.NoError(t, r.service.AwaitAlone(t.Context()))
	require.NoError(t, r.service.Drain(t.Context()))
	require.Empty(t, seen())
	r.stepDown()
	r.service.Resume()
	r.lead()
	require.Len(t, seen(), 1)
	require.NotEqual(t, first, seen(), "another session")
	r.stepDown()
	require.Empty(t, seen())
}

// Whatever of a connection's words NATS has heard when it hears no more: where it brings requests, it is seen that somebody listens.
func TestWhoIsBroughtRequestsIsSeenToListen(t *testing.T) {
	said := &wordsDialer{}
	r := newRig(t, func(o *Options) {
		conn, err := nats.Connect(o.Conn.ConnectedUrl(), nats.SkipSubjectValidation(), nats.SetCustomDialer(said))
		require.NoError(t, err)
		t.Cleanup(conn.Close)
		o.Conn, o.Listens, o.Peers = conn, listensAt, func() []string { return nil }
	})
	r.lead()
	r.ask("bucket.add.app", "")
	r.stepDown()
	r.lead()
	require.NoError(t, r.service.Drain(t.Context()))
	doors, seen, most := map[string]bool{}, map[string]bool{}, 0
	for _, line := range strings.Split(said.text(), "\r\n") {
		switch word := strings.Fields(line); {
		case len(word) == 3 && word[0] == "SUB" && strings.Contains(word[1], ".listens."):
			seen[word[2]] = true
		case len(word) == 3 && word[0] == "SUB" && !strings.HasPrefix(word[1], "_INBOX."):
			doors[word[2]] = true
		case len(word) >= 2 && word[0] == "UNSUB":
			delete(doors, word[1])
			delete(seen, word[1])
		}
		require.False(t, len(doors) > 0 && len(seen) == 0, "at %q", line)
		most = max(most, len(doors))
	}
	require.Greater(t, most, 2)
	require.Empty(t, doors)
	require.Empty(t, seen)
}

// wordsDialer keeps what is written on its connections.
type wordsDialer struct {
	mu   sync.Mutex
	said []byte
}

func (d *wordsDialer) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return wordsConn{c, d}, nil
}

func (d *wordsDialer) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return string(d.said)
}

type wordsConn struct {
	net.Conn
	to *wordsDialer
}

func (c wordsConn) Write(b []byte) (int, error) {
	c.to.mu.Lock()
	c.to.said = append(c.to.said, b...)
	c.to.mu.Unlock()
	return c.Conn.Write(b)
}

// On another connection a node that listens is in another session: what the one before has left is a former leader's too.
func TestAReconnectBeginsASession(t *testing.T) {
	r := newLooking(t)
	before := r.service.session.number
	require.NoError(t, r.service.conn.ForceReconnect())
	require.Eventually(t, func() bool { return r.service.conn.Stats().Reconnects > 0 && r.service.conn.IsConnected() }, 5*time.Second, time.Millisecond)
	require.NoError(t, r.service.AwaitAlone(t.Context()))
	require.NotEqual(t, before, r.service.session.number)
	r.former(listensAt("n1", before))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, r.service.AwaitAlone(ctx), ErrFormerLeader)
}

// NATS may be slow to say that nobody is there, after a partition of all times: it is asked again before it is believed to say nothing, and a former
// leader is looked for (L2).
func TestASlowWordOfNobodyIsAskedForAgain(t *testing.T) {
	r := newLooking(t)
	_, looked := r.former(listensAt("n2", 1))
	slow, err := r.client.Subscribe(listensAt("n1", sessionsMax), func(m *nats.Msg) { _ = m.Sub.Unsubscribe() }) // it says nothing the first time
	require.NoError(t, err)
	require.NoError(t, r.client.Flush())
	ctx, cancel := context.WithCancel(t.Context())
	alone := make(chan error, 1)
	go func() { alone <- r.service.AwaitAlone(ctx) }()
	_, err = looked.NextMsg(5 * time.Second)
	require.NoError(t, err, "nobody looks")
	require.False(t, slow.IsValid(), "it was asked")
	cancel()
	require.ErrorIs(t, <-alone, ErrFormerLeader)
}

// lateDialer is a way on which what NATS says comes late, once it is switched on.
type lateDialer struct{ on atomic.Bool }

func (d *lateDialer) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	return lateConn{c, d}, err
}

type lateConn struct {
	net.Conn
	by *lateDialer
}

func (c lateConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.by.on.Load() {
		time.Sleep(50 * time.Millisecond)
	}
	return n, err
}

// From far away the word that nobody is there takes a while: it is waited for, and a former leader is looked for (L2).
func TestWhoIsFarFromNATSLooksForAFormerLeader(t *testing.T) {
	t.Parallel() // it mostly waits
	late := &lateDialer{}
	r := newRig(t, func(o *Options) {
		conn, err := nats.Connect(o.Conn.ConnectedUrl(), nats.SkipSubjectValidation(), nats.SetCustomDialer(late))
		require.NoError(t, err)
		t.Cleanup(conn.Close)
		o.Conn, o.Listens, o.Peers = conn, listensAt, func() []string { return []string{"n2", "n3"} }
	})
	r.lead()
	_, looked := r.former(listensAt("n2", 1))
	late.on.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	alone := make(chan error, 1)
	go func() { alone <- r.service.AwaitAlone(ctx) }()
	_, err := looked.NextMsg(5 * time.Second)
	require.NoError(t, err, "nobody looks")
	cancel()
	require.ErrorIs(t, <-alone, ErrFormerLeader)
	late.on.Store(false)
}

// A process does not take the sessions that the one before has left with NATS: it most likely begins with another.
func TestAProcessBeginsWithASessionOfItsOwn(t *testing.T) {
	var o Options
	newRig(t, func(given *Options) { o = *given })
	began := map[int]bool{}
	for range 20 {
		s, err := New(o)
		require.NoError(t, err)
		began[s.session.number] = true
		s.Close()
	}
	require.Greater(t, len(began), 1)
}

// Where NATS lets a node ask nobody, nobody waits: credentials of an earlier release do not allow it.
func TestWhoMayNotLookDoesNotWait(t *testing.T) {
	t.Parallel() // it mostly waits
	r := newLooking(t)
	nc, err := nats.Connect(r.bus.ClientURL())
	require.NoError(t, err)
	defer nc.Close()
	_, err = nc.SubscribeSync("raftbus.node.*.listens.*") // NATS says of nothing that nobody is there
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	require.NoError(t, r.service.AwaitAlone(t.Context()))
}
