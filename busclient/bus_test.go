package busclient

// The NATS connections themselves: servers that start last, restart, are killed, or hang (F5, F9, F10, F11, F12; K73, K76).

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/stalltest"
)

// freePort is a port that nothing listens on now.
func freePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestNATSMayStartLast(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	url := "nats://" + (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String()
	n1, n2 := newPeer(t, url, "n1"), newPeer(t, url, "n2")
	up, _ := n1.control.Up()
	require.False(t, up)
	started := make(chan error, 2)
	for _, n := range []*peer{n1, n2} {
		go func() { started <- n.Start(t.Context()) }()
	}
	require.ErrorIs(t, n1.to("n2").RequestVote(1, nil, nil), ErrBusDown)
	require.ErrorIs(t, n1.control.Publish("x", "", nil), ErrBusDown)

	startNATS(t, func(o *embedded.Options) { o.Port = port })
	require.NoError(t, await(t, started))
	require.NoError(t, await(t, started))
	awaitEachOther(n1, n2)
	require.Equal(t, []bool{true}, n1.busChanges())
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	n1 := newPeer(t, "nats://127.0.0.1:1", "n1")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	err := n1.Start(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, ErrBusDown, "it says what it waited for")
	_, err = Dial(ctx, ConnOptions{Role: RoleControl})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = Dial(context.Background(), ConnOptions{Role: "other"})
	require.ErrorContains(t, err, "none of control, bulk, client")
}

// F5, L6: calls pass again within 3 s of the return of NATS, and nothing that was asked while it was away arrives (K73).
func TestNATSRestarts(t *testing.T) {
	t.Parallel()
	nats := startNATS(t)
	n1, n2 := pair(t, nats.URL())
	n2.echo()
	for range 2 {
		nats.Shutdown()
		eventually(t, "the reason is told", func() bool { return n1.link("n2").Reason == ErrBusDown.Error() })
		require.ErrorIs(t, n1.to("n2").Heartbeat(1, &rpc.HeartbeatCommand{Read: 666}, nil), ErrConnectionBroken)
		eventually(t, "the other connection too", func() bool { up, _ := n1.bulk.Up(); return !up })
		require.ErrorIs(t, n1.bulk.Publish("raftbus.rpc.n2.n1.Heartbeat", "", []byte("stale")), ErrBusDown)

		nats = restart(t, nats)
		back := stalltest.During(t)
		eventually(t, "calls pass", func() bool {
			replies := make(chan error, 1)
			err := n1.to("n2").Heartbeat(1, &rpc.HeartbeatCommand{}, func(r rpc.Reply[*rpc.HeartbeatReturn]) { replies <- r.Err })
			return err == nil && await(t, replies) == nil
		})
		require.Less(t, back.Took(), 3*time.Second)
	}
	for _, m := range n2.messages() {
		require.Zero(t, m.Body.(*rpc.HeartbeatCommand).Read)
	}
	require.Zero(t, n2.Drops()["malformed"])
	require.Equal(t, []bool{true, false, true, false, true}, n1.busChanges())
	require.Equal(t, uint64(2), n1.control.Stats().Disconnects)
}

// L6: two nodes on two servers of three, the server of one is killed: it moves to another.
func TestOneOfThreeServersIsKilled(t *testing.T) {
	t.Parallel()
	servers, err := embedded.StartCluster(3, embedded.Options{})
	require.NoError(t, err)
	var urls []string
	for _, s := range servers {
		t.Cleanup(s.Shutdown)
		urls = append(urls, s.URL())
	}
	inOrder := func(o *peerOptions) { o.nats = append(o.nats, nats.DontRandomize()) }
	n1 := newPeer(t, strings.Join([]string{urls[0], urls[1], urls[2]}, ","), "n1", inOrder)
	n2 := newPeer(t, strings.Join([]string{urls[1], urls[2], urls[0]}, ","), "n2", inOrder)
	startAdmitted(n1, n2)
	require.NotEqual(t, n1.control.NATS().ConnectedServerName(), n2.control.NATS().ConnectedServerName())
	awaitEachOther(n1, n2)
	n2.echo()
	require.NoError(t, await(t, heartbeat(t, n1.to("n2"), 1)).Err)

	servers[1].Shutdown()
	killed := stalltest.During(t)
	eventually(t, "n2 moved, and calls pass", func() bool {
		replies := make(chan error, 1)
		err := n1.to("n2").Heartbeat(1, &rpc.HeartbeatCommand{}, func(r rpc.Reply[*rpc.HeartbeatReturn]) { replies <- r.Err })
		return n2.control.NATS().ConnectedUrl() != urls[1] && err == nil && await(t, replies) == nil
	})
	require.Less(t, killed.Took(), 3*time.Second)
	n2.awaitLink("n1", "connected")
}

// valve is a dialler whose connections can be made to fail silently.
type valve struct {
	halfOpen atomic.Bool // what is written vanishes, nothing is read, no error
	stuck    atomic.Bool // writes wait, as when the other end does not read
	mu       sync.Mutex
	bell     *sync.Cond
}

func newValve() *valve {
	v := &valve{}
	v.bell = sync.NewCond(&v.mu)
	return v
}

func (v *valve) Dial(network, address string) (net.Conn, error) {
	if v.halfOpen.Load() {
		return nil, errors.New("unreachable")
	}
	c, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return nil, err
	}
	return &valveConn{Conn: c, valve: v}, nil
}

func (v *valve) release() {
	v.stuck.Store(false)
	v.halfOpen.Store(false)
	v.bell.Broadcast()
}

type valveConn struct {
	net.Conn
	valve *valve
}

func (c *valveConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.valve.halfOpen.Load() {
			return n, err
		}
	}
}

func (c *valveConn) Write(b []byte) (int, error) {
	c.valve.mu.Lock()
	for c.valve.stuck.Load() {
		c.valve.bell.Wait()
	}
	c.valve.mu.Unlock()
	if c.valve.halfOpen.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// F10: a half-open connection: the link breaks within the deadline of a ping, the connection is given up within 4 s, and
// nothing that was sent into it arrives later.
func TestAHalfOpenConnectionIsNoticed(t *testing.T) {
	t.Parallel() // it mostly waits
	nats1 := startNATS(t)
	v := newValve()
	n1 := startPeer(t, nats1.URL(), "n1", func(o *peerOptions) { o.nats = append(o.nats, nats.SetCustomDialer(v)) })
	n2 := startPeer(t, nats1.URL(), "n2")
	awaitEachOther(n1, n2)

	v.halfOpen.Store(true)
	cut := stalltest.During(t)
	replies := heartbeat(t, n1.to("n2"), 666)
	for _, n := range []*peer{n1, n2} {
		other := map[*peer]rpc.NodeID{n1: "n2", n2: "n1"}[n]
		n.awaitLink(other, "broken")
		require.Less(t, cut.Took(), pingInterval+pingTimeout+sweepInterval+500*time.Millisecond)
	}
	require.ErrorIs(t, await(t, replies).Err, ErrConnectionBroken)
	eventually(t, "the connection is given up", func() bool { up, _ := n1.control.Up(); return !up })
	require.Less(t, cut.Took(), 4*time.Second)

	v.release()
	n1.awaitLink("n2", "connected")
	require.Empty(t, n2.messages())
}

// A server that reads no more must not hold up who publishes: the loop of the node does.
func TestAStuckBulkConnectionHoldsUpNobody(t *testing.T) {
	v := newValve()
	n1 := dial(t, startNATS(t).URL(), "n1", RoleBulk, nats.SetCustomDialer(v))
	eventually(t, "up", func() bool { up, _ := n1.Up(); return up })
	t.Cleanup(v.release)
	v.stuck.Store(true)
	published, data := make(chan error, 1), make([]byte, 1<<20)
	require.NoError(t, n1.Publish("x", "", data))
	n1.lane.conn().outlet.holds(outboxBytesMax - 3*len(data))
	go func() {
		for {
			if err := n1.Publish("x", "", data); err != nil {
				published <- err
				return
			}
		}
	}()
	require.ErrorIs(t, await(t, published), ErrTooManyInFlight, "what waits is bounded")
}

// F11: max_payload is lowered at run time: what was logged can be sent all the same, and the connection is not lost to it.
func TestMaxPayloadIsLowered(t *testing.T) {
	t.Parallel()
	nats := startNATS(t)
	n1, n2 := pair(t, nats.URL())
	nats.Shutdown()
	n1.awaitLink("n2", "broken")
	restart(t, nats, func(o *embedded.Options) { o.MaxPayload = 8 << 10 })
	n1.awaitLink("n2", "connected")
	n2.echo()
	data := []byte(strings.Repeat("blue ", 50_000))
	replies := make(chan rpc.Reply[*rpc.AppendLogReturn], 1)
	cmd := &rpc.AppendLogCommand{Entries: []rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryCommand, Data: data}}}
	eventually(t, "taken", func() bool {
		return n1.to("n2").AppendLog(1, cmd, func(r rpc.Reply[*rpc.AppendLogReturn]) { replies <- r }) == nil
	})
	require.NoError(t, await(t, replies).Err)
	require.Equal(t, data, n2.messages()[0].Body.(*rpc.AppendLogCommand).Entries[0].Data)
	require.Equal(t, uint64(1), n1.bulk.Stats().Disconnects)
}

// F11: the same by a reload, of which NATS tells nobody: it ends the connection for the first message that is too large, and what comes after has the
// new size.
func TestMaxPayloadIsLoweredByReload(t *testing.T) {
	t.Parallel() // it mostly waits
	file := filepath.Join(t.TempDir(), "nats.conf")
	limit := func(bytes int) {
		require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "max_payload: %d\n", bytes), 0o600))
	}
	limit(1 << 20)
	server := startNATS(t, func(o *embedded.Options) { o.ConfigFile = file })
	n1, n2 := pair(t, server.URL())
	n2.echo()
	limit(64 << 10)
	require.NoError(t, server.Reload())
	cmd := &rpc.AppendLogCommand{Entries: []rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryCommand, Data: []byte(strings.Repeat("blue ", 50_000))}}}
	eventually(t, "arrived", func() bool {
		replies := make(chan rpc.Reply[*rpc.AppendLogReturn], 1)
		taken := n1.to("n2").AppendLog(1, cmd, func(r rpc.Reply[*rpc.AppendLogReturn]) { replies <- r }) == nil
		return taken && await(t, replies).Err == nil
	})
	require.Equal(t, int64(64<<10), n1.bulk.MaxPayload())
	require.Equal(t, uint64(1), n1.bulk.Stats().Disconnects)
}

// F11: no line is sent that is longer than a server takes. Where somebody sends one all the same, past the bus, the lane has NATS's client connect anew;
// where the lane is shut it does not, and whoever owns the connection is told.
func TestALineThatIsTooLong(t *testing.T) {
	server, long := startNATS(t), strings.Repeat("a", 5000)
	c := dial(t, server.URL(), "n1", RoleClient)
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	require.ErrorIs(t, c.Publish(long, "", nil), nats.ErrBadSubject)
	require.ErrorIs(t, c.Publish("a", long, nil), nats.ErrBadSubject)
	require.NoError(t, c.Publish(strings.Repeat("a", publishSubjectsMax), "", nil))
	require.NoError(t, c.Flush(soon))
	require.Zero(t, c.Stats().Disconnects)
	require.NoError(t, c.NATS().Publish(long, nil))
	eventually(t, "up again", func() bool { up, _ := c.Up(); return up && c.Stats().Disconnects == 1 })

	givenUp := make(chan error, 1)
	c = dialWith(t, ConnOptions{URLs: []string{server.URL()}, Node: "n2", Role: RoleClient, shutLane: true, GivenUp: func(err error) { givenUp <- err }})
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	require.ErrorIs(t, c.Publish("a", long, nil), nats.ErrBadSubject)
	require.ErrorIs(t, c.PublishMsg("a", long, []byte("NATS/1.0\r\nX: y\r\n\r\n"), nil), nats.ErrBadSubject)
	require.NoError(t, c.Flush(soon))
	require.Zero(t, c.Stats().Disconnects)
	require.NoError(t, c.NATS().Publish(long, nil))
	require.ErrorContains(t, await(t, givenUp), "maximum control line exceeded")
	c = dialWith(t, ConnOptions{URLs: []string{server.URL()}, Node: "n3", Role: RoleClient, GivenUp: func(error) { t.Error("it was closed") }})
	c.Close()
}

// F9: a subscription whose handler does not return drops what is over its limit; it is counted, said once a minute however often it begins anew, and the
// others go on. With a lane handlers run where messages are read: they must return, and those of a node do. Where little may wait, so that nobody fills a
// node's memory by asking, no node was slow (Q12).
func TestASlowConsumerIsCounted(t *testing.T) {
	log := &countingHandler{}
	c, err := Dial(t.Context(), ConnOptions{URLs: []string{startNATS(t).URL()}, Node: "n1", Role: RoleControl, Logger: slog.New(log), shutLane: true})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	hold, began, others := make(chan struct{}), make(chan struct{}, pendingLimits[RoleControl].messages+200), make(chan Delivery, 1)
	_, err = c.Subscribe("slow", func(Delivery) { began <- struct{}{}; <-hold })
	require.NoError(t, err)
	_, err = c.Subscribe("other", func(d Delivery) { others <- d })
	require.NoError(t, err)
	few, err := c.NATS().Subscribe("asked", func(*nats.Msg) { <-t.Context().Done() })
	require.NoError(t, err)
	require.NoError(t, few.SetPendingLimits(64, 1<<20))
	send := func(subject string, messages int) {
		for range messages {
			require.NoError(t, c.Publish(subject, "", []byte("x")))
		}
		require.NoError(t, c.Flush(soon))
	}
	send("asked", 100)
	send("slow", pendingLimits[RoleControl].messages+100)
	send("other", 1)
	await(t, others)
	eventually(t, "counted", func() bool { return c.Stats().SlowConsumer == 1 })
	await(t, began)
	hold <- struct{}{}
	await(t, began)
	send("slow", 2)
	eventually(t, "counted again", func() bool { return c.Stats().SlowConsumer == 2 })
	require.Equal(t, 1, log.count("messages dropped"))
	require.Equal(t, 1, log.count("questions dropped"))
	close(hold)
}

// F12, K76: refused credentials are an error with a name, and end nothing: once they are good, the connection is there.
func TestCredentialsAreRenewed(t *testing.T) {
	user := func(password string) func(*embedded.Options) {
		return func(o *embedded.Options) { o.Users = []embedded.User{{Name: "n1", Password: password}} }
	}
	server := startNATS(t, user("old"))
	c := dial(t, server.URL(), "n1", RoleControl, nats.UserInfo("n1", "new"))
	eventually(t, "the reason is told", func() bool { return strings.Contains(c.Stats().LastError, "Authorization Violation") })
	up, _ := c.Up()
	require.False(t, up)
	server.Shutdown()
	restart(t, server, user("new"))
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	require.Empty(t, c.Stats().LastError)
}

// A handler that has ended takes nothing, nor what was on its way to it.
func TestAHandlerThatHasEndedTakesNothing(t *testing.T) {
	taken := 0
	s := newSubscriber(func(Delivery, []byte) { taken++ })
	s.take(Delivery{}, nil)
	require.True(t, s.end(soon))
	s.take(Delivery{}, nil)
	require.Equal(t, 1, taken)
}

func TestAnUnsubscribedHandlerRunsNoMore(t *testing.T) {
	c := dial(t, startNATS(t).URL(), "n1", RoleControl)
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	var ended atomic.Bool
	entered, leave := make(chan struct{}), make(chan struct{})
	unsubscribe, err := c.Subscribe("x", func(Delivery) {
		entered <- struct{}{}
		<-leave
		ended.Store(true)
	})
	require.NoError(t, err)
	require.NoError(t, c.Publish("x", "", []byte("x")))
	await(t, entered)
	go close(leave)
	unsubscribe()
	require.True(t, ended.Load(), "unsubscribe waits for a handler that runs")
}

// What NATS's client does by default suits applications, not consensus; and whoever dials cannot undo what does.
func TestConnectionsAreSetUpForConsensus(t *testing.T) {
	o := dial(t, startNATS(t).URL(), "n1", RoleBulk, nats.ReconnectBufSize(1<<20), nats.MaxReconnects(1)).NATS().Opts
	require.Equal(t, "raftbus/raftbus/n1/bulk", o.Name)
	require.Equal(t, -1, o.ReconnectBufSize, "nothing is kept to be sent when it is stale (K73)")
	require.Equal(t, -1, o.MaxReconnect)
	require.True(t, o.IgnoreAuthErrorAbort, "K76")
	require.True(t, o.PermissionErrOnSubscribe)
	delays := map[time.Duration]bool{}
	for range 50 {
		delay := o.CustomReconnectDelayCB(1)
		require.LessOrEqual(t, delay, 200*time.Millisecond)
		delays[delay] = true
	}
	require.Greater(t, len(delays), 1, "not all nodes come back to a server at one moment")
	require.LessOrEqual(t, o.PingInterval, time.Second, "F10: a server has something to say")
	require.LessOrEqual(t, lookInterval*(silentLooksMax+1), 4*time.Second, "F10: and if it says nothing, is given up")
	require.LessOrEqual(t, o.FlusherTimeout, writeTimeout, "a server that reads no more holds up nobody for long, where the lane is shut")
	require.True(t, o.ReconnectOnFlusherError, "and what it did not take is of a connection that is given up")
	require.NotNil(t, o.LameDuckModeHandler)
}

// What waits when the connection is lost is not sent when it is back (K73).
func TestWhatWaitsIsDroppedWithTheConnection(t *testing.T) {
	c := &Conn{log: testLog(t), lane: &lane{}, outbox: newOutbox(), up: true}
	for range 3 {
		require.NoError(t, c.Publish("x", "", make([]byte, outboxBytesMax/4)))
	}
	c.disconnected(&nats.Conn{}, nil)
	require.Empty(t, c.outbox.waiting)
	require.Zero(t, c.outbox.bytes)
	require.ErrorIs(t, c.Publish("x", "", nil), ErrBusDown)
	c.outbox.close()
	require.ErrorIs(t, c.outbox.put("x", "", nil), ErrBusDown)
}

// Nor is the rest of what it was lost in the midst of, which NATS's client would write to the next one (K73).
func TestWhatIsBeingWrittenIsDroppedWithTheConnection(t *testing.T) {
	o, writing, goOn := newOutbox(), make(chan string, 4), make(chan struct{})
	c := &Conn{log: testLog(t), lane: &lane{}, outbox: o, up: true}
	for _, subject := range []string{"1", "2", "3"} {
		require.NoError(t, c.Publish(subject, "", nil))
	}
	o.run(func(m outgoing) { writing <- m.subject; <-goOn }, func() {})
	defer o.close()
	require.Equal(t, "1", await(t, writing))
	c.disconnected(&nats.Conn{}, nil)
	require.NoError(t, o.put("4", "", nil))
	close(goOn)
	require.Equal(t, "4", await(t, writing))
}

// A Flush is over when NATS has what was published, where that leaves by an outbox too; what is dropped with the connection it does not wait for.
func TestAFlushWaitsForTheOutbox(t *testing.T) {
	c := dialShut(t, startNATS(t).URL(), "n1", RoleBulk)
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	writing, goOn := make(chan string, 4), make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(release)
	c.outbox.close()
	c.outbox = newOutbox()
	c.outbox.run(func(m outgoing) { writing <- m.subject; <-goOn; c.writeOut(m) }, func() {})
	flush := func() <-chan error {
		flushed := make(chan error, 1)
		go func() { flushed <- c.Flush(soon) }()
		eventually(t, "it waits", func() bool {
			c.outbox.mu.Lock()
			defer c.outbox.mu.Unlock()
			waiting := c.outbox.waiting
			return len(waiting) > 0 && waiting[len(waiting)-1].mark != nil || len(flushed) > 0
		})
		require.Empty(t, flushed)
		return flushed
	}
	require.NoError(t, c.Publish("1", "", nil))
	require.Equal(t, "1", await(t, writing))
	require.ErrorIs(t, c.Flush(tick), ErrBusDown, "in vain")
	c.outbox.clear()
	require.NoError(t, c.outbox.put("2", "", nil))
	flushed := flush()
	c.outbox.clear()
	require.NoError(t, await(t, flushed))
	require.NoError(t, c.outbox.put("3", "", nil))
	flushed = flush()
	release()
	require.Equal(t, "3", await(t, writing))
	require.NoError(t, await(t, flushed))
	c.outbox.close()
	require.NoError(t, c.Flush(soon))
}

// What waits for a connection is bounded, by bytes and by messages, and what was taken to be written waits no more.
func TestTheOutboxIsBounded(t *testing.T) {
	o := newOutbox()
	data := make([]byte, 1<<20)
	for range 3 {
		o.bytes += outboxBytesMax - 2*len(data) // as if so much waited: to copy it takes a busy machine a second
		require.NoError(t, o.put("x", "", data))
		require.NoError(t, o.put("x", "", data))
		require.ErrorIs(t, o.put("x", "", []byte{1, 2}), ErrTooManyInFlight)
		batch, _ := o.take(nil)
		require.Len(t, batch, 2)
	}
	for range outboxMessagesMax {
		require.NoError(t, o.put("x", "", nil))
	}
	require.ErrorIs(t, o.put("x", "", nil), ErrTooManyInFlight)
}

// What was written is not kept by the room that is there for what comes.
func TestTheOutboxForgetsWhatWasWritten(t *testing.T) {
	o := newOutbox()
	for range 2 {
		require.NoError(t, o.put("x", "y", []byte("z")))
	}
	batch, _ := o.take(nil)
	require.Len(t, batch, 2)
	require.NoError(t, o.put("x", "y", []byte("z")))
	_, _ = o.take(batch)
	require.Equal(t, make([]outgoing, 2), batch)
}

// What was large once takes no memory for ever (F30).
func TestLargeBuffersAreNotKept(t *testing.T) {
	o, s := newOutbox(), &Service{}
	s.buffers.New = func() any { return new([]byte) }
	for range 20 { // with the race detector a pool keeps not all
		for size, pool := range map[int]*sync.Pool{copyKeptMax + 1: &o.copies, bufferKeptMax + 1: &s.buffers} {
			large := make([]byte, size)
			if pool == &o.copies {
				o.recycle(outgoing{data: &large})
			} else {
				s.recycle(&large)
			}
			require.Zero(t, cap(*pool.Get().(*[]byte)))
		}
	}
}

// L9: what comes by the lane before anybody is told that the connection is back can be answered.
func TestWhatComesBeforeTheConnectionIsToldToBeBackIsAnswered(t *testing.T) {
	server := startNATS(t)
	c := dialUp(t, server.URL(), RoleClient)
	told, goOn := make(chan struct{}), make(chan struct{})
	tell := sync.OnceFunc(func() { close(told) })
	c.OnStatus(func(up bool) {
		if !up {
			tell()
			<-goOn
		}
	})
	release := sync.OnceFunc(func() { close(goOn) })
	defer release()
	server.Shutdown()
	<-told
	server = restart(t, server)
	eventually(t, "the lane is in force", c.Direct)
	up, _ := c.Up()
	require.False(t, up)
	other := dialUp(t, server.URL(), RoleClient)
	came, _ := inbox(t, other, "answer")
	require.NoError(t, other.NATS().Flush())
	require.NoError(t, c.Publish("answer", "", []byte("plain")))
	require.Equal(t, "plain", string(await(t, came).Data))
	require.NoError(t, c.PublishMsg("answer", "", []byte("NATS/1.0\r\n\r\n"), []byte("with a header")))
	require.Equal(t, "with a header", string(await(t, came).Data))
	release()
}
