package busclient

// Connections whose messages a lane cannot read, with TLS or over a websocket, on ways that are slow, or go silent: its outlet and its watch for life
// are theirs too (F9, F10).

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/stalltest"

	"github.com/raftbus/raftbus/busclient/embedded"
)

// way leads to a server, carries 400 KiB in a second to it, and loses all, without a word, once it is cut.
type way struct {
	to  string
	cut atomic.Bool
}

// newWay leads to where url does, and returns the url to go by it.
func newWay(t *testing.T, to string) (_ *way, through string) {
	u, err := url.Parse(to)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &way{to: u.Host}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.carry(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	u.Host = l.Addr().String()
	return w, u.String()
}

func (w *way) carry(client *net.TCPConn) {
	defer client.Close()
	_ = client.SetReadBuffer(64 << 10) // a way has no room for what waits
	server, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer server.Close()
	back := make(chan struct{})
	go func() {
		defer close(back)
		defer client.Close()
		w.copy(client, server)
	}()
	w.copy(server, newPaced(client, 8<<10))
	server.Close()
	<-back
}

func (w *way) copy(to io.Writer, from io.Reader) {
	for b := make([]byte, 32<<10); ; {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if w.cut.Load() {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// blind are servers that a lane cannot follow a client to: their urls, and what their clients need to be told.
func blind(t *testing.T) map[string]func() (url string, trust nats.Option) {
	return map[string]func() (string, nats.Option){
		"TLS": func() (string, nats.Option) {
			server, trust := withTLS(t, "")
			return startNATS(t, server).URL(), trust
		},
		"websocket": func() (string, nats.Option) {
			port := freePort(t)
			file := textFile(t, fmt.Sprintf("websocket { host: \"127.0.0.1\", port: %d, no_tls: true }", port))
			startNATS(t, func(o *embedded.Options) { o.ConfigFile = file })
			return fmt.Sprintf("ws://127.0.0.1:%d", port), nil
		},
	}
}

// A message that needs longer than any write may stand still arrives, and costs no connection: what is taken of it is progress, and nobody waits for it,
// NATS's client neither, which locks its connection.
func TestALargeMessageOnASlowWayWithoutALane(t *testing.T) {
	t.Parallel() // it mostly waits
	for name, server := range blind(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, trust := server()
			_, slow := newWay(t, url)
			c, other := dialUp(t, slow, RoleClient, trust), dialUp(t, url, RoleClient, trust)
			came, _ := inbox(t, other, "x")
			require.NoError(t, other.Flush(soon))
			data := bytes.Repeat([]byte("x"), 1<<20)
			watch, began := stalltest.During(t), time.Now()
			require.NoError(t, c.Publish("x", "", data))
			require.Positive(t, c.MaxPayload())
			require.Less(t, watch.Took(), writeTimeout/2)
			require.True(t, bytes.Equal(data, await(t, came).Data))
			require.Greater(t, time.Since(began), writeTimeout)
			require.Zero(t, c.Stats().Disconnects)
		})
	}
}

// lockClient has NATS's client of a connection without a lane wait, with its connection locked, as for a way that takes nothing.
func lockClient(t *testing.T, c *Conn) (release func()) {
	out := &c.lane.now.Load().outlet
	out.mu.Lock()
	out.draining = true // as if a goroutine wrote
	out.mu.Unlock()
	out.holds(shutBytesMax + 1)
	release = func() { out.giveUp(net.ErrClosed) }
	t.Cleanup(release)
	for range 4 {
		require.NoError(t, c.Publish("x", "", make([]byte, 1<<20)))
	}
	eventually(t, "it is locked", func() bool {
		asks, asked := make(chan bool), make(chan int64, 1)
		go func() {
			asks <- true
			asked <- c.nc.MaxPayload()
		}()
		<-asks
		select {
		case <-asked:
			return false
		case <-time.After(200 * time.Millisecond):
			return true
		}
	})
	return release
}

// isKnownAtOnce asks what may be sent. It would be released after a while if it waited for NATS's client.
func isKnownAtOnce(t *testing.T, c *Conn, release func()) {
	defer time.AfterFunc(2*writeTimeout, release).Stop()
	watch := stalltest.During(t)
	require.EqualValues(t, 1<<20, c.MaxPayload())
	require.Less(t, watch.Took(), writeTimeout)
}

// Whoever sends learns how much he may without waiting, though NATS's client has locked its connection: it is a node's loop.
func TestWhatMayBeSentIsKnownWhileTheClientWaits(t *testing.T) {
	t.Parallel() // servers take a while
	for name, server := range blind(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, trust := server()
			c := dialUp(t, url, RoleBulk, trust)
			isKnownAtOnce(t, c, lockClient(t, c))
		})
	}
}

// mute takes what is said to it, and says nothing until it is closed, whatever the deadline.
type mute struct {
	net.Conn
	ended chan struct{}
	end   func()
}

func newMute(t *testing.T) *mute {
	m := &mute{ended: make(chan struct{})}
	m.end = sync.OnceFunc(func() { close(m.ended) })
	t.Cleanup(m.end)
	return m
}

func (m *mute) Read([]byte) (int, error)         { <-m.ended; return 0, io.EOF }
func (m *mute) Write(b []byte) (int, error)      { return len(b), nil }
func (m *mute) SetDeadline(time.Time) error      { return nil }
func (m *mute) SetReadDeadline(time.Time) error  { return nil }
func (m *mute) SetWriteDeadline(time.Time) error { return nil }
func (m *mute) Close() error                     { return nil }

// reconnecting dials the first time, and comes upon a mute server then.
type reconnecting struct {
	*mute
	dials atomic.Int64
}

func (r *reconnecting) Dial(network, address string) (net.Conn, error) {
	if r.dials.Add(1) == 1 {
		return net.Dial(network, address)
	}
	return r.mute, nil
}

// The same where NATS's client connects anew, to who says nothing.
func TestWhatMayBeSentIsKnownWhileTheClientConnects(t *testing.T) {
	server, way := startNATS(t), &reconnecting{mute: newMute(t)}
	c := dial(t, server.URL(), "n1", RoleBulk, nats.SetCustomDialer(way))
	t.Cleanup(way.end) // before its Close, which waits for the client
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	before := c.lane.now.Load()
	c.Renew()
	eventually(t, "it connects", func() bool { return c.lane.now.Load() != before })
	isKnownAtOnce(t, c, way.end)
}

// slowDialler dials the first time, and takes its time then.
type slowDialler struct {
	dials atomic.Int64
	goOn  chan struct{}
}

func (d *slowDialler) Dial(network, address string) (net.Conn, error) {
	if d.dials.Add(1) > 1 {
		<-d.goOn
	}
	return net.Dial(network, address)
}

// Nor does who sends wait for that, on either connection between nodes, though nobody has been told yet that the connection is gone.
func TestWhoSendsDoesNotWaitWhileTheClientConnects(t *testing.T) {
	t.Parallel() // it mostly waits
	server := startNATS(t)
	for _, role := range []Role{RoleControl, RoleBulk} {
		way := &slowDialler{goOn: make(chan struct{})}
		c := dialWith(t, ConnOptions{URLs: []string{server.URL()}, Node: "n1", Role: role, Options: []nats.Option{nats.SetCustomDialer(way)}, shutLane: true})
		release := sync.OnceFunc(func() { close(way.goOn) })
		t.Cleanup(release) // before its Close, which waits for the client
		eventually(t, "up", func() bool { up, _ := c.Up(); return up })
		c.OnStatus(func(bool) { <-way.goOn }) // nothing else that follows from the loss is done meanwhile
		c.Renew()
		eventually(t, "it connects", func() bool { up, _ := c.Up(); return !up && way.dials.Load() > 1 })
		c.mu.Lock()
		c.up = true // as it is until the loss is told
		c.mu.Unlock()
		published := make(chan error, 1)
		go func() { published <- c.Publish("x", "", nil) }()
		require.NoError(t, await(t, published), role)
	}
}

// What NATS's client hears meanwhile is known once something is sent, and with each connection.
func TestWhatMayBeSentIsLearntAnew(t *testing.T) {
	c := dialShut(t, startNATS(t).URL(), "n1", RoleBulk)
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	for _, learn := range []func(){func() { require.NoError(t, c.Publish("x", "", nil)) }, c.Renew} {
		c.maxPayload.Store(1)
		learn()
		eventually(t, "learnt", func() bool { return c.MaxPayload() == 1<<20 })
	}
}

// A connection that goes silent is given up in time, though the system takes what NATS's client says (F10).
func TestAHalfOpenConnectionWithoutALaneIsNoticed(t *testing.T) {
	t.Parallel() // it mostly waits
	for name, server := range blind(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, trust := server()
			w, through := newWay(t, url)
			c := dialUp(t, through, RoleClient, trust)
			w.cut.Store(true)
			cut := stalltest.During(t)
			eventually(t, "it is given up", func() bool { up, _ := c.Up(); return !up })
			require.Less(t, cut.Took(), 4*time.Second)
		})
	}
}

// Where NATS's client sends all, its pings too, little is kept for it: it waits for its server to take that.
func TestLittleWaitsWithoutALane(t *testing.T) {
	near, _ := socketPair(t)
	c := &laneConn{Conn: near}
	c.mode.Store(shut)
	c.outlet.init(near, &sync.WaitGroup{}, &c.life)
	c.outlet.draining = true // as if a goroutine wrote
	write := func() <-chan error {
		ended := make(chan error, 1)
		go func() {
			_, err := c.Write(make([]byte, 1<<20))
			ended <- err
		}()
		return ended
	}
	for range shutBytesMax/(1<<20) + 1 {
		require.NoError(t, await(t, write()))
	}
	written := write()
	require.Never(t, func() bool { return len(written) > 0 }, 20*time.Millisecond, tick)
	c.outlet.next(nil, nil)
	require.NoError(t, await(t, written))
}

// On a way that carries 100 KB in a second, more than what leaves must, a server is asked for a sign of life in time: behind all that may wait, and the
// piece that is leaving. NATS's client would give up a connection that does all it can.
func TestPingsAreInTimeWithoutALane(t *testing.T) {
	const second = 100_000
	require.Greater(t, second, drainBytes/int(writeTimeout/time.Second))
	require.Less(t, (shutBytesMax+bufferKeptMax)/second, keepAliveMissed)
}

// NATS's client has a deadline for each of its writes, and lifts it at their end: what is still leaving then would have none, or one too soon.
func TestTheClientSetsNoDeadlineForWhatLeaves(t *testing.T) {
	near, _ := socketPair(t)
	for mode, heeded := range map[int32]bool{unknown: true, inForce: false, shut: false} {
		socket := &lastDeadline{TCPConn: near}
		c := &laneConn{Conn: socket}
		c.mode.Store(mode)
		for _, set := range []func(time.Time) error{c.SetDeadline, c.SetWriteDeadline} {
			socket.last.Store(0)
			require.NoError(t, set(time.Now().Add(time.Hour)))
			require.Equal(t, heeded, socket.last.Load() != 0, mode)
		}
	}
}

// laneOn is a connection on a lane that no server is behind.
func laneOn(t *testing.T) (*Conn, *laneConn) {
	near, _ := socketPair(t)
	c := &Conn{lane: &lane{}}
	on := newLaneConn(c.lane, near)
	t.Cleanup(func() { on.Close() })
	c.lane.now.Store(on)
	return c, on
}

// What is said before it is known whether there is a lane is corked by nobody: nobody would uncork it where there comes to be none.
func TestNothingIsCorkedBeforeThereIsALane(t *testing.T) {
	c, before := laneOn(t)
	c.Cork()
	require.Zero(t, before.outlet.corks)
	before.greeted.Store(true)
	c.Cork()
	require.Equal(t, 1, before.outlet.corks)
}

// Who subscribes does not wait for a connection that is gone: the next one asks for it.
func TestWhoSubscribesWaitsForNoConnectionThatIsGone(t *testing.T) {
	c, on := laneOn(t)
	on.greeted.Store(true)
	watch, over := stalltest.During(t), make(chan struct{})
	go func() { c.lane.await(newSubscriber(nil)); close(over) }()
	require.NoError(t, on.Close())
	await(t, over)
	require.Less(t, watch.Took(), writeTimeout/2)
}

// A lane whose connection is gone takes no answers at once, before there is the next one.
func TestALaneWithoutAConnectionIsNotDirect(t *testing.T) {
	c, on := laneOn(t)
	require.False(t, c.Direct(), "not before the server has let it in")
	on.greeted.Store(true)
	require.True(t, c.Direct())
	require.NoError(t, on.Close())
	require.False(t, c.Direct())
}
