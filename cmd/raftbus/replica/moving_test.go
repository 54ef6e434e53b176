package replica

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// F8: the NATS server of all nodes says that it is about to go: they move to the other one before it cuts them, and no put of clients that ask again
// where nobody listens is left without an answer.
func TestWhenItsNATSServerGoesALeaderMoves(t *testing.T) {
	servers, err := embedded.StartCluster(2, embedded.Options{LeafPort: embedded.Random})
	require.NoError(t, err)
	var gone sync.WaitGroup
	t.Cleanup(func() {
		for _, s := range servers {
			s.Shutdown()
		}
		gone.Wait()
	})
	nodes, leads := startOn(t, NATSOptions{
		URLs: []string{servers[0].URL(), servers[1].URL()}, LeafURLs: []string{servers[1].LeafURL()}, Options: []nats.Option{nats.DontRandomize()},
	}, "n1", "n2", "n3")
	nc, err := nats.Connect(servers[0].URL()) // what is on its way between servers a hush is for
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	p := startPutters(t, nc)
	term := nodes[leads].Status().Term
	gone.Go(servers[0].Retire)
	require.Eventually(t, func() bool {
		for _, r := range nodes {
			for _, c := range r.conns {
				if c.NATS().ConnectedServerName() != servers[1].Name() {
					return false
				}
			}
		}
		return nodes[leads].first().kv.Listens()
	}, 9*time.Second, time.Millisecond, "the server goes in ten")
	p.end()
	require.Equal(t, term, nodes[leads].Status().Term, "it leads on")
}

// F7: a node's connections to its peers are of use only together, so the one follows the other.
func TestConnectionsToPeersAreAtOneServer(t *testing.T) {
	t.Parallel()
	servers, err := embedded.StartCluster(3, embedded.Options{LeafPort: embedded.Random})
	require.NoError(t, err)
	var where NATSOptions
	for _, s := range servers {
		t.Cleanup(s.Shutdown)
		where.URLs, where.LeafURLs = append(where.URLs, s.URL()), append(where.LeafURLs, s.LeafURL())
	}
	nodes, _ := startOn(t, where, "n1", "n2", "n3")
	for _, r := range nodes {
		control, bulk := r.conns[busclient.RoleControl], r.conns[busclient.RoleBulk].NATS()
		require.Equal(t, control.NATS().ConnectedServerName(), bulk.ConnectedServerName())
		before := bulk.ConnectedServerName()
		control.Renew()
		require.Eventually(t, func() bool {
			at := bulk.ConnectedServerName()
			return at != before && at == control.NATS().ConnectedServerName()
		}, patience, time.Millisecond)
	}
}

// As when its server goes, on a server that stays, since NATS may grant by now what it refused: who moves listens no more before, and anew after.
func TestAConnectionIsMadeAnewWithNothingUnderWay(t *testing.T) {
	nodes, leads, nc := three(t)
	p := startPutters(t, nc)
	r := nodes[leads]
	nobody := func(session int) bool {
		_, err := nc.Request(busclient.ListensSubject("raftbus", r.o.ID, session), nil, 300*time.Millisecond)
		return errors.Is(err, nats.ErrNoResponders)
	}
	session := 0
	for nobody(session) {
		session++
	}
	r.first().noteMove()
	require.Eventually(t, func() bool { return r.first().conn.NATS().Stats().Reconnects == 1 }, patience, time.Millisecond)
	p.goOn()
	require.Eventually(t, func() bool { return nobody(session) }, patience, time.Millisecond)
	p.end()
}

// moving is a leader whose connection to the team is to be made anew, and waits for a former leader, until that ends.
func moving(t *testing.T) (r *Replica, team *served, former *nats.Subscription) {
	nodes, client := startServed(t, "n1", "n2", "n3")
	leads := ""
	require.Eventually(t, func() bool { leads = nodes[0].Status().Leader; return leads != "" }, patience, time.Millisecond)
	for _, n := range nodes {
		if n.o.ID == leads {
			r = n
		}
	}
	hears(t, r, true, func() {})
	former, err := client.Subscribe(busclient.ListensSubject("raftbus", busclient.NodeIn("team", r.peers()[0]), 1), func(*nats.Msg) {})
	require.NoError(t, err)
	require.NoError(t, client.Flush())
	team = r.further()[0]
	team.noteMove()
	require.Eventually(t, func() bool { return !r.idle() }, patience, time.Millisecond)
	return r, team, former
}

// idle reports whether nobody hands over or moves.
func (r *Replica) idle() bool {
	free := r.handing.TryLock()
	if free {
		r.handing.Unlock()
	}
	return free
}

// Who moves listens on while a former leader does, as in a hand-over (L2); other accounts do not wait for that.
func TestWhoMovesWaitsForAFormerLeaderOfItsAccount(t *testing.T) {
	t.Parallel() // it mostly waits
	r, team, former := moving(t)
	r.first().noteMove()
	require.Eventually(t, func() bool { return r.first().reconnects() == 1 }, patience, time.Millisecond)
	require.True(t, team.listens())
	require.Zero(t, team.reconnects())
	require.NoError(t, former.Unsubscribe())
	require.Eventually(t, func() bool { return team.reconnects() == 1 }, patience, time.Millisecond)
}

// A connection that was lost meanwhile is a new one, maybe to another server: it is not cut again.
func TestAConnectionThatWasLostIsNotMadeAnewOnceMore(t *testing.T) {
	t.Parallel() // it mostly waits
	r, team, former := moving(t)
	team.conn.Renew()
	require.Eventually(t, func() bool { return team.reconnects() == 1 }, patience, time.Millisecond)
	require.NoError(t, former.Unsubscribe())
	require.Eventually(t, r.idle, patience, time.Millisecond)
	hears(t, r, true, func() {})
	require.EqualValues(t, 1, team.reconnects())
	up, _ := team.conn.Up()
	require.True(t, up)
}

// A server may say more than once that it is about to go. A connection that is made anew has left it, and does so once.
func TestAConnectionThatIsAskedForTwiceIsMadeAnewOnce(t *testing.T) {
	server := natstest.Run(t, embedded.Options{})
	conn, err := busclient.Dial(t.Context(), busclient.ConnOptions{URLs: []string{server.URL()}, Role: busclient.RoleClient})
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	require.Eventually(t, func() bool { up, _ := conn.Up(); return up }, patience, time.Millisecond)
	s := &served{conn: conn, moves: make(chan struct{}, 1)}
	s.noteMove() // while it moves
	s.renew()
	require.Empty(t, s.moves)
	require.Eventually(t, func() bool { return s.reconnects() == 1 }, patience, time.Millisecond)
}

// A stop waits for no connection to be made anew, and loses none by it.
func TestAStopEndsAMove(t *testing.T) {
	r, team, _ := moving(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	finished := make(chan error, 1)
	go func() { finished <- r.finish(ctx) }()
	select {
	case <-finished:
	case <-time.After(formerWait / 2):
		require.Fail(t, "the stop waits for the move")
	}
	require.Zero(t, team.reconnects())
	require.True(t, team.conn.NATS().IsConnected())
	r.handing.Unlock() // which finish keeps
}

// While leadership is handed over no connection is made anew: the service would listen again, and finish nothing.
func TestAMoveWaitsForAHandOver(t *testing.T) {
	t.Parallel() // it mostly waits
	nodes, leads, _ := three(t)
	s := nodes[leads].first()
	nodes[leads].handing.Lock()
	s.noteMove()
	require.Never(t, func() bool { return s.reconnects() > 0 || !s.listens() }, 2*moveRetry, time.Millisecond)
	nodes[leads].handing.Unlock()
	require.Eventually(t, func() bool { return s.reconnects() == 1 }, patience, time.Millisecond)
}

// putters are clients that put, or get, and ask again where nobody listens.
type putters struct {
	t    *testing.T
	done atomic.Int64
	stop context.CancelFunc
	ends chan error
}

func startPutters(t *testing.T, nc *nats.Conn) *putters {
	t.Helper()
	m, err := nc.Request("raftbus.bucket.add.app", nil, patience)
	require.NoError(t, err)
	require.NotContains(t, string(m.Data), "error")
	ctx, stop := context.WithCancel(t.Context())
	p := &putters{t: t, stop: stop, ends: make(chan error, 32)}
	for i := range cap(p.ends) {
		go func() { p.ends <- p.ask(ctx, nc, []string{"raftbus.kv.put.app.k", "raftbus.kv.get.app.k"}[i%2]) }()
	}
	p.goOn()
	return p
}

// ask returns what came of a request beside an answer and nobody listening.
func (p *putters) ask(ctx context.Context, nc *nats.Conn, subject string) error {
	body := []byte("v")
	if strings.Contains(subject, ".get.") {
		body = nil
	}
	for ctx.Err() == nil {
		_, err := nc.Request(subject, body, patience)
		switch {
		case err == nil:
			p.done.Add(1)
		case errors.Is(err, nats.ErrNoResponders):
			time.Sleep(time.Millisecond) // not done: many that ask at once again take the time of those who are to listen
		default:
			return err
		}
	}
	return nil
}

// goOn waits for more puts to be done.
func (p *putters) goOn() {
	p.t.Helper()
	before := p.done.Load()
	require.Eventually(p.t, func() bool { return p.done.Load() > before+50 }, patience, time.Millisecond)
}

// end has each put be answered.
func (p *putters) end() {
	p.t.Helper()
	p.goOn()
	p.stop()
	for range cap(p.ends) {
		require.NoError(p.t, <-p.ends)
	}
}
