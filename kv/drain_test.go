package kv

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/rpc"
)

// newReturning is a leader whose connection soon comes back when NATS does.
func newReturning(t *testing.T, change func(*Options)) *rig {
	return newLeader(t, func(o *Options) {
		conn, err := nats.Connect(o.Conn.ConnectedUrl(), nats.SkipSubjectValidation(), nats.ReconnectWait(10*time.Millisecond), nats.MaxReconnects(-1))
		require.NoError(t, err)
		t.Cleanup(conn.Close)
		if o.Conn = conn; change != nil {
			change(o)
		}
	})
}

// stopNATS returns when the service's connection is away.
func (r *rig) stopNATS() {
	r.bus.Shutdown()
	r.bus.WaitForShutdown()
	require.Eventually(r, r.service.conn.IsReconnecting, 5*time.Second, time.Millisecond)
}

// startNATS has NATS come back where it was, and returns when the service's connection is there again. The client is another.
func (r *rig) startNATS(change ...func(*server.Options)) {
	at, err := url.Parse(r.bus.ClientURL())
	require.NoError(r, err)
	port, err := strconv.Atoi(at.Port())
	require.NoError(r, err)
	free := func() bool {
		l, err := net.Listen("tcp", at.Host)
		return err == nil && l.Close() == nil
	}
	r.bus = nil
	for end := time.Now().Add(30 * time.Second); r.bus == nil; { // somebody's connection may have the port for a moment, or take it before NATS does
		require.Eventually(r, free, 30*time.Second, 10*time.Millisecond)
		require.True(r, time.Now().Before(end), "it does not listen")
		r.bus = startBus(r.T, busOptions(append(change, func(o *server.Options) { o.Port = port })...))
	}
	r.Cleanup(func() { r.bus.Shutdown(); r.bus.WaitForShutdown() })
	require.Eventually(r, r.service.conn.IsConnected, 5*time.Second, time.Millisecond)
	require.NoError(r, r.service.conn.Flush())
	client, err := nats.Connect(r.bus.ClientURL())
	require.NoError(r, err)
	r.client = client
	r.Cleanup(client.Close)
}

// stuck has the service be in the middle of a request, until it is told to go on.
func (r *rig) stuck() (goOn func()) {
	r.node.mu.Lock()
	r.send("kv.put.app.k", "v")
	require.Eventually(r, func() bool {
		r.service.inflight.mu.Lock()
		defer r.service.inflight.mu.Unlock()
		return r.service.inflight.count == 1
	}, 5*time.Second, time.Millisecond)
	return r.node.mu.Unlock
}

// A subscription that is drained while the connection is away is not there again when that comes back: it would swallow what clients ask
// of the next leader's, and have each request done twice once the service listens anew (L2).
func TestDrainWhileTheConnectionIsAway(t *testing.T) {
	r := newReturning(t, nil)
	r.stopNATS()
	require.NoError(t, r.service.Drain(t.Context()))
	r.startNATS()
	_, err := r.request("kv.get.app.k", "")
	require.ErrorIs(t, err, nats.ErrNoResponders)
	r.service.Resume()
	r.awaitListening(true)
	r.expect(`{"bucket":"app","key":"k","revision":1,"cluster_revision":2}`, "kv.put.app.k", "v")
	r.expect(`{"bucket":"app","key":"k","revision":2,"cluster_revision":3}`, "kv.put.app.k", "v")
}

// Nor is one that was being drained when the connection went away; and nobody is waited for then.
func TestTheConnectionGoesAwayDuringADrain(t *testing.T) {
	r := newReturning(t, nil)
	goOn := r.stuck()
	drained := make(chan error, 1)
	go func() { drained <- r.service.drainSubscriptions(t.Context()) }()
	require.Eventually(t, func() bool { return !r.service.Listens() }, 5*time.Second, time.Millisecond)
	r.stopNATS()
	require.NoError(t, <-drained)
	r.startNATS()
	goOn()
	_, err := r.request("kv.get.app.k", "")
	require.ErrorIs(t, err, nats.ErrNoResponders)
}

// What NATS's client had subscribed anew and then forgotten, while nobody looked, is with the server as long as the connection is.
func TestAForgottenSubscriptionIsGivenUp(t *testing.T) {
	r := newReturning(t, func(o *Options) { o.lookEvery = time.Hour })
	goOn := r.stuck()
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, r.service.Drain(short), context.DeadlineExceeded)
	r.service.listenMu.Lock()
	subs := slices.Clone(r.service.session.leaving)
	r.service.listenMu.Unlock()
	require.NotEmpty(t, subs)
	r.unseen(func() {
		r.stopNATS()
		r.startNATS()
		goOn()
		for _, sub := range subs {
			require.Eventually(t, func() bool { return !sub.IsValid() }, 5*time.Second, time.Millisecond)
		}
	})
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := r.client.RequestWithContext(ctx, "raftbus.kv.get.app.k", nil)
		return errors.Is(err, nats.ErrNoResponders)
	}, 5*time.Second, 10*time.Millisecond)
}

// unseen has something happen before the service sees to what is being drained.
func (r *rig) unseen(happen func()) {
	r.service.listenMu.Lock()
	defer r.service.listenMu.Unlock()
	happen()
}

// leavingSubs is how many subscriptions are being drained.
func (r *rig) leavingSubs() int {
	r.service.listenMu.Lock()
	defer r.service.listenMu.Unlock()
	return len(r.service.session.leaving)
}

// newHalfDrained is a leader that nothing but an event has look, whose drain has failed while it is in the middle of a request.
func newHalfDrained(t *testing.T) (r *rig, said *wordsDialer, goOn func()) {
	said = &wordsDialer{}
	r = newReturning(t, func(o *Options) {
		conn, err := nats.Connect(o.Conn.ConnectedUrl(), nats.SkipSubjectValidation(), nats.ReconnectWait(10*time.Millisecond), nats.MaxReconnects(-1), nats.SetCustomDialer(said))
		require.NoError(t, err)
		t.Cleanup(conn.Close)
		o.Conn, o.lookEvery = conn, time.Hour
	})
	goOn = r.stuck()
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, r.service.Drain(short), context.DeadlineExceeded)
	return r, said, goOn
}

// Who listens anew gives up first what NATS's client had subscribed anew: each request would be handled twice until it is gone (L2, C4).
func TestWhoResumesListensOnce(t *testing.T) {
	r, said, goOn := newHalfDrained(t)
	r.unseen(func() {
		r.stopNATS()
		r.startNATS()
		r.service.draining = false // as Resume has it
	})
	r.awaitListening(true)
	goOn()
	r.ask("kv.put.app.k", "v")
	require.Equal(t, 1, mostOpen(said.text(), "raftbus.kv.>"))
}

// Who has resumed before all is drained, and loses the connection then, gives that up before there is the next: that would have both, and each
// request would be handled twice until somebody looks (L2, C4).
func TestWhoHasResumedListensOnce(t *testing.T) {
	r, said, goOn := newHalfDrained(t)
	r.service.Resume()
	r.awaitListening(true)
	require.NotZero(t, r.leavingSubs())
	r.stopNATS()
	require.Eventually(t, func() bool { return r.leavingSubs() == 0 }, 5*time.Second, time.Millisecond)
	r.startNATS()
	goOn()
	r.ask("kv.put.app.k", "v")
	require.Equal(t, 1, mostOpen(said.text(), "raftbus.kv.>"))
}

// newDraining is who leads no more and has nothing to answer, and drains a subscription.
func newDraining(t *testing.T, lookEvery time.Duration) (*rig, *nats.Subscription) {
	r := newReturning(t, func(o *Options) { o.lookEvery = lookEvery })
	sub, err := r.service.conn.Subscribe("raftbus.kv.>", func(*nats.Msg) {})
	require.NoError(t, err)
	reconnects := r.service.conn.Stats().Reconnects
	r.service.listenMu.Lock()
	r.service.session.leaving = []leaving{{subscription{sub, make(chan struct{})}, reconnects}} // as while NATS does not say that it is drained
	r.service.listenMu.Unlock()
	r.stepDown() // the last that wakes the keeper
	return r, sub
}

// Who neither leads nor has anything to answer sees to it still that what is being drained goes with its connection: the next would have it anew, and
// it would swallow what clients ask (L2).
func TestWhoSleepsGivesUpWhatIsBeingDrained(t *testing.T) {
	r, sub := newDraining(t, time.Hour)
	require.NoError(t, r.service.conn.ForceReconnect())
	require.Eventually(t, func() bool { return !sub.IsValid() }, 5*time.Second, time.Millisecond)
}

// Nor does it keep what is drained.
func TestWhoSleepsForgetsWhatIsDrained(t *testing.T) {
	r, sub := newDraining(t, 5*time.Millisecond)
	require.Equal(t, 1, r.leavingSubs())
	require.NoError(t, sub.Unsubscribe())
	require.Eventually(t, func() bool { return r.leavingSubs() == 0 }, 5*time.Second, time.Millisecond)
}

// mostOpen is how many subscriptions to a subject a connection, or those that came in its place, had at a time.
func mostOpen(said, subject string) (most int) {
	open := map[string]bool{}
	for _, line := range strings.Split(said, "\r\n") {
		switch word := strings.Fields(line); {
		case len(word) > 0 && word[0] == "CONNECT":
			clear(open)
		case len(word) == 3 && word[0] == "SUB" && word[1] == subject:
			open[word[2]] = true
		case len(word) == 2 && word[0] == "UNSUB":
			delete(open, word[1])
		}
		most = max(most, len(open))
	}
	return most
}

// distant has a rig's service reach NATS by a wire that takes its time.
func distant(t *testing.T, o *Options) {
	at, err := url.Parse(o.Conn.ConnectedUrl())
	require.NoError(t, err)
	conn, err := nats.Connect("nats://"+startWire(t, at.Host, 10*time.Millisecond), nats.SkipSubjectValidation())
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	o.Conn = conn
}

// L2: when a planned stop is over NATS has the answers, and not only the connection, which may end with the node.
func TestADrainEndsWhenTheAnswersHaveArrived(t *testing.T) {
	r := newLeader(t, func(o *Options) { distant(t, o) })
	r.node.set(func(n *solo) { n.hold = true })
	put := r.sendHeld("kv.put.app.k", "v")
	drained := make(chan error, 1)
	go func() { drained <- r.service.Drain(t.Context()) }()
	require.Eventually(t, func() bool { return !r.service.Listens() && len(r.service.letGo()) == 0 }, 5*time.Second, time.Millisecond)
	r.node.release() // it has nothing else to wait for
	require.NoError(t, <-drained)
	require.NoError(t, r.client.Flush())
	pending, _, err := put.Pending()
	require.NoError(t, err)
	require.Equal(t, 1, pending)
}

// L2: who was held in a hush is answered when NATS knows that nobody listens any more: the next request of a client that was answered before
// would be swallowed.
func TestNobodyIsAnsweredBeforeNATSKnowsThatALeaderLeaves(t *testing.T) {
	lane := &knownLane{interest: make(chan int, 1)}
	r := newRig(t, func(o *Options) {
		distant(t, o)
		lane.directLane, o.Lane, o.Node = directLane{o.Conn}, lane, prompted{o.Node.(*solo)}
	}, func(o *server.Options) {
		o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: -1, NoAdvertise: true}
	})
	lane.bus = r.bus
	r.lead()
	r.ask("bucket.add.app", "")
	require.Positive(t, <-lane.interest)
	r.settled()
	r.service.hush.begin()
	r.send("kv.put.app.k", "v")
	require.Eventually(t, func() bool {
		r.service.hush.mu.Lock()
		defer r.service.hush.mu.Unlock()
		return len(r.service.hush.held) == 1
	}, 5*time.Second, time.Millisecond)
	require.NoError(t, r.service.Drain(t.Context()))
	require.Zero(t, <-lane.interest)
}

// knownLane is a lane that sees what NATS knows of who listens when an answer is given to it.
type knownLane struct {
	directLane
	bus      *server.Server
	interest chan int
}

func (l *knownLane) PublishMsg(subject, reply string, header, data []byte) error {
	l.interest <- l.bus.GlobalAccount().Interest("raftbus.kv.put.app.k")
	return l.directLane.PublishMsg(subject, reply, header, data)
}

// parted is a node on which every purge has another part.
type parted struct {
	*solo
	parts atomic.Int64
	rests atomic.Int64 // of parts, those that go on with a purge
}

func (n *parted) Propose(data []byte, done func(any, rpc.EntryID)) error {
	c, err := command.Decode(data)
	if err != nil || c.PurgeBucket == nil {
		return n.solo.Propose(data, done)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.parts.Add(1)
	if c.PurgeBucket.After != "" {
		n.rests.Add(1)
	}
	info, err := n.store.Bucket(c.PurgeBucket.Name)
	n.run(func() {
		done(store.Result{Count: 1, Rest: &store.Rest{After: "k", Through: 1, Incarnation: info.Incarnation}}, rpc.EntryID{})
	})
	return err
}

// L2: nobody is served while a planned move waits, so it waits for the part of a purge that is logged, and not for all that follow. It is not
// answered then, being done in part (C5).
func TestAPlannedMoveDoesNotWaitForThePartsOfAPurge(t *testing.T) {
	t.Parallel()
	node := &parted{}
	r := newLeader(t, func(o *Options) { node.solo, o.Node, o.hurryAfter = o.Node.(*solo), node, time.Millisecond })
	r.ask("kv.put.app.k", "v")
	r.node.set(func(n *solo) { n.hold = true })
	purge := r.sendJS(api+"STREAM.PURGE.KV_app", `{"filter":"$KV.app.k.>"}`)
	for range 3 { // it goes on while there is no hurry
		<-r.node.heldMax
		r.node.step()
	}
	<-r.node.heldMax
	drained := make(chan error, 1)
	go func() { drained <- r.service.Drain(t.Context()) }()
	require.Eventually(t, r.service.hurries.Load, 5*time.Second, time.Millisecond)
	r.node.step()
	select {
	case err := <-drained:
		require.NoError(t, err)
	case <-r.node.heldMax:
		require.Fail(t, "the next part is logged")
	}
	require.EqualValues(t, 4, node.parts.Load())
	r.silent(purge)
	r.service.Resume()
	r.awaitListening(true)
	r.sendJS(api+"STREAM.PURGE.KV_app", `{"filter":"$KV.app.k.>"}`)
	r.awaitHeld() // its turn is over
}

// A Drain that nobody bounds ends all the same, when what it waits for does not.
func TestADrainHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := bounded(context.Background())
		defer cancel()
		<-ctx.Done()
		require.Equal(t, drainWait, time.Since(began))
	})
}
