package busclient

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// retire has a server go as an operator has it: in ten seconds, of which it tells.
func retire(t testing.TB, s *embedded.Server) {
	var gone sync.WaitGroup
	gone.Go(s.Retire)
	t.Cleanup(func() {
		s.Shutdown()
		gone.Wait()
	})
}

// F8: a server that says that it is about to go is left for another one before it does.
func TestAServerThatGoesIsLeft(t *testing.T) {
	servers, err := embedded.StartCluster(2, embedded.Options{})
	require.NoError(t, err)
	for _, s := range servers {
		t.Cleanup(s.Shutdown)
	}
	urls := []string{servers[0].URL(), servers[1].URL()}
	asked := make(chan struct{}, 1)
	at := ConnOptions{URLs: urls, Node: "n1", Role: RoleControl, Options: []nats.Option{nats.DontRandomize()}}
	left := dialWith(t, at)
	at.Node, at.Move = "n2", func() { asked <- struct{}{} }
	owned := dialWith(t, at)
	for _, c := range []*Conn{left, owned} {
		eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	}
	retire(t, servers[0])
	eventually(t, "moved", func() bool { return left.NATS().ConnectedServerName() == "s2" })
	await(t, asked)
	require.Equal(t, "s1", owned.NATS().ConnectedServerName(), "who owns it says when")
	owned.Renew()
	eventually(t, "moved", func() bool { return owned.NATS().ConnectedServerName() == "s2" })
	eventually(t, "up", func() bool { up, _ := owned.Up(); return up })
	require.Zero(t, owned.Stats().Disconnects, "it was not lost")
}

// proxied dials as through a proxy, which takes connections for a server that takes none.
type proxied struct{}

func (proxied) Dial(network, address string) (net.Conn, error) {
	if socket, err := net.Dial(network, address); err == nil {
		return socket, nil
	}
	near, _ := net.Pipe()
	return near, nil
}

// The only server is of use until it goes, however it is named.
func TestTheOnlyServerIsNotLeft(t *testing.T) {
	for _, form := range []string{"nats://%s", "nats://n1:n1@%s", "nats://%s/"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			server := startNATS(t)
			stays(t, server, ConnOptions{
				URLs:    []string{fmt.Sprintf(form, strings.TrimPrefix(server.URL(), "nats://"))},
				Options: []nats.Option{nats.SetCustomDialer(proxied{})},
			})
		})
	}
}

// The only one that is there is too.
func TestAServerIsNotLeftForOneThatIsDown(t *testing.T) {
	server := startNATS(t)
	stays(t, server, ConnOptions{URLs: []string{server.URL(), "nats://" + unused(t)}})
}

// stays connects to a server that is about to go, and stays there.
func stays(t *testing.T, server *embedded.Server, o ConnOptions) {
	c := dialRetired(t, server, o)
	require.NoError(t, c.Flush(soon))
	require.Zero(t, c.NATS().Stats().Reconnects)
}

// dialRetired returns when the connection has found no other server to move to.
func dialRetired(t *testing.T, server *embedded.Server, o ConnOptions) *Conn {
	log := &countingHandler{}
	o.Prefix, o.Node, o.Role, o.Logger = "raftbus", "n1", RoleControl, slog.New(log)
	c, err := Dial(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	retire(t, server)
	eventually(t, "told", func() bool { return log.count("no other NATS server answers") == 1 })
	return c
}

// service is an address that leads to whichever server listens.
type service []string

func (s service) Dial(network, _ string) (socket net.Conn, err error) {
	for _, address := range s {
		if socket, err = net.Dial(network, address); err == nil {
			return socket, nil
		}
	}
	return nil, err
}

// As behind a Service of Kubernetes, whose servers say nothing of each other.
func TestAServerThatGoesIsLeftForAnotherBehindItsAddress(t *testing.T) {
	goes, stays := startNATS(t), startNATS(t)
	c := dialWith(t, ConnOptions{URLs: []string{goes.URL()}, Node: "n1", Role: RoleControl, Options: []nats.Option{
		nats.SetCustomDialer(service{strings.TrimPrefix(goes.URL(), "nats://"), strings.TrimPrefix(stays.URL(), "nats://")}),
	}})
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	require.Equal(t, goes.Name(), c.NATS().ConnectedServerName())
	retire(t, goes)
	eventually(t, "moved", func() bool { return c.NATS().ConnectedServerName() == stays.Name() })
	require.Zero(t, c.Stats().Disconnects, "it was not lost")
}

// Where it leads to the same one, that is of use until it goes.
func TestAServerIsNotLeftForItself(t *testing.T) {
	server := startNATS(t)
	nc := natstest.Connect(t, server)
	for id, another := range map[string]bool{nc.ConnectedServerId(): false, "another": true} {
		socket, err := net.Dial("tcp", strings.TrimPrefix(server.URL(), "nats://"))
		require.NoError(t, err)
		require.Equal(t, another, isAnother(socket, id))
		require.NoError(t, socket.Close())
	}
}

// What answers there may be no server: no more of what it says is kept than a server says of itself (Q12).
func TestAnAnswerWithoutAnEndIsNotKept(t *testing.T) {
	near, far := net.Pipe()
	said := make(chan int, 1)
	go func() {
		total := 0
		for total < 4*infoBytesMax {
			n, err := far.Write(make([]byte, 4<<10))
			if total += n; err != nil {
				break
			}
		}
		far.Close()
		said <- total
	}()
	require.False(t, isAnother(near, "x"))
	near.Close()
	require.LessOrEqual(t, await(t, said), infoBytesMax+4<<10)
}

// Where the other one comes up meanwhile, it is moved to then.
func TestAServerThatGoesIsLeftOnceAnotherIsThere(t *testing.T) {
	server, other, asked := startNATS(t), unused(t), make(chan struct{}, 1)
	dialRetired(t, server, ConnOptions{URLs: []string{server.URL(), "nats://" + other}, Move: func() { asked <- struct{}{} }})
	l, err := net.Listen("tcp", other)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	await(t, asked)
}

// Who has left it meanwhile, as it was lost, stays where it is.
func TestAServerThatWasLeftIsNotLeftAgain(t *testing.T) {
	moved := make(chan struct{}, 1)
	urls := []string{startNATS(t).URL(), startNATS(t).URL()}
	c := dialWith(t, ConnOptions{URLs: urls, Node: "n1", Role: RoleControl, Move: func() { moved <- struct{}{} }})
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	c.lameDuck(c.NATS())
	await(t, moved)
	before := c.NATS().Stats().Reconnects
	c.Renew()
	eventually(t, "elsewhere", func() bool { return c.NATS().IsConnected() && c.NATS().Stats().Reconnects > before })
	c.leave(c.NATS(), before)
	require.Empty(t, moved)
	c.lameDuck(c.NATS()) // the next one goes too
	await(t, moved)
}

// timed dials one server, and says when it was to dial another, of which none answers.
type timed struct {
	server string
	asked  chan time.Time
}

func (d timed) Dial(network, address string) (net.Conn, error) {
	if address == d.server {
		return net.Dial(network, address)
	}
	d.asked <- time.Now()
	return nil, errors.New("no answer")
}

// A server that goes says so again whenever something else of its cluster changes: who looks for another goes on, and no others look beside.
func TestAServerThatSaysAgainThatItGoesIsLeftOnce(t *testing.T) {
	t.Parallel() // it mostly waits
	url, send := fakeServer(t)
	d := timed{strings.TrimPrefix(url, "nats://"), make(chan time.Time, 100)}
	c := dialWith(t, ConnOptions{URLs: []string{url, "nats://127.0.0.1:1"}, Node: "n1", Role: RoleControl, Options: []nats.Option{nats.DontRandomize(), nats.SetCustomDialer(d)}})
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	send(strings.Repeat("INFO {\"max_payload\":1048576,\"headers\":true,\"ldm\":true}\r\n", 3))
	first, second := await(t, d.asked), await(t, d.asked)
	require.GreaterOrEqual(t, second.Sub(first), otherRetry)
}

// blackHoled dials one server, and has all others take their time, until let go on, to answer nothing.
type blackHoled struct {
	server string
	asked  chan struct{}
	goOn   chan struct{}
}

func (d blackHoled) Dial(network, address string) (net.Conn, error) {
	if address == d.server {
		return net.Dial(network, address)
	}
	d.asked <- struct{}{}
	<-d.goOn
	return nil, errors.New("no answer")
}

// Who is closed asks no more servers whether they are there: each may take its time.
func TestACloseWaitsForOneServerAtMost(t *testing.T) {
	server := startNATS(t)
	urls := []string{server.URL()}
	for port := range 5 {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", port+1))
	}
	d := blackHoled{strings.TrimPrefix(server.URL(), "nats://"), make(chan struct{}, 100), make(chan struct{})}
	c := dialWith(t, ConnOptions{URLs: urls, Node: "n1", Role: RoleControl, Options: []nats.Option{nats.DontRandomize(), nats.SetCustomDialer(d)}})
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	retire(t, server)
	await(t, d.asked)
	closed := make(chan struct{})
	go func() { c.Close(); close(closed) }()
	eventually(t, "it closes", c.closing.Load)
	close(d.goOn)
	await(t, closed)
	require.Empty(t, d.asked)
}

// unused is an address at which nobody listens.
func unused(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// A server may say it while NATS's client has only just connected, and its owner does not have it yet.
func TestAConnectionThatIsOnlyBeingMadeIsNotMadeAnew(t *testing.T) {
	require.NotPanics(t, (&Conn{}).Renew)
}
