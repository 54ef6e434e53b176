package busclient

// The lane over real NATS servers, and where there can be none: TLS, websockets, a stream that it does not understand.

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/raft/rpc"
)

// dialUp dials and awaits the connection.
func dialUp(t testing.TB, url string, role Role, o ...nats.Option) *Conn {
	c := dial(t, url, "n1", role, o...)
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	return c
}

// inbox subscribes, and returns where the messages come.
func inbox(t testing.TB, c *Conn, subject string) (<-chan Delivery, func()) {
	came := make(chan Delivery, 4096)
	unsubscribe, err := c.Subscribe(subject, func(d Delivery) { came <- d })
	require.NoError(t, err)
	return came, unsubscribe
}

// certificate makes one for this machine; the files' names are for NATS's configuration and its client.
func certificate(t testing.TB) (certificateFile, keyFile string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pemFile(t, "CERTIFICATE", der), pemFile(t, "PRIVATE KEY", secret)
}

func pemFile(t testing.TB, kind string, der []byte) string {
	return textFile(t, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

func textFile(t testing.TB, text string) string {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// withTLS is a server's configuration, and the option of those who connect to it.
func withTLS(t testing.TB, more string) (func(*embedded.Options), nats.Option) {
	certificateFile, keyFile := certificate(t)
	file := textFile(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q, timeout: 5, %s }", certificateFile, keyFile, more))
	return func(o *embedded.Options) { o.ConfigFile = file }, nats.RootCAs(certificateFile)
}

// inForceOn reports whether the lane carries the connection's messages.
func inForceOn(c *Conn) bool {
	lane := c.lane.conn()
	return lane != nil && lane.greeted.Load()
}

func requireServes(t testing.TB, n1, n2 *peer) {
	n2.echo()
	defer stopClocks(n1, n2)()
	require.NoError(t, await(t, heartbeat(t, n1.to("n2"), 1)).Err)
	data := bytes.Repeat([]byte("blue "), 500_000)
	replies := make(chan error, 1)
	cmd := &rpc.AppendLogCommand{Entries: []rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryCommand, Data: data}}}
	require.NoError(t, n1.to("n2").AppendLog(1, cmd, func(r rpc.Reply[*rpc.AppendLogReturn]) { replies <- r.Err }))
	require.NoError(t, await(t, replies))
	last := n2.messages()[len(n2.messages())-1]
	require.True(t, bytes.Equal(data, last.Body.(*rpc.AppendLogCommand).Entries[0].Data))
}

func TestTheLaneIsInForceOnPlainConnections(t *testing.T) {
	n1, n2 := pair(t, startNATS(t).URL())
	for _, c := range []*Conn{n1.control, n1.bulk, n2.control, n2.bulk} {
		require.True(t, inForceOn(c))
	}
	requireServes(t, n1, n2)
	require.Zero(t, n1.bulk.NATS().Stats().OutMsgs, "no message went by NATS's client")
	require.Zero(t, n2.bulk.NATS().Stats().InMsgs)
}

func TestWithTLSTheLaneLetsAllPass(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, c := range []struct {
		name, config string
		option       []nats.Option
	}{
		{"after INFO", "", nil},
		{"handshake first", "handshake_first: auto", []nats.Option{nats.TLSHandshakeFirst()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, trust := withTLS(t, c.config)
			n1, n2 := pair(t, startNATS(t, server).URL(), func(o *peerOptions) { o.nats = append(c.option, trust) })
			require.False(t, inForceOn(n1.control) || inForceOn(n1.bulk))
			_, err := n1.bulk.NATS().TLSConnectionState()
			require.NoError(t, err)
			requireServes(t, n1, n2)
			require.NotZero(t, n1.bulk.NATS().Stats().OutMsgs)
		})
	}
}

func TestOverAWebsocketTheLaneLetsAllPass(t *testing.T) {
	port := freePort(t)
	file := textFile(t, fmt.Sprintf("websocket { host: \"127.0.0.1\", port: %d, no_tls: true }", port))
	startNATS(t, func(o *embedded.Options) { o.ConfigFile = file })
	n1, n2 := pair(t, fmt.Sprintf("ws://127.0.0.1:%d", port))
	require.False(t, inForceOn(n1.control) || inForceOn(n1.bulk))
	requireServes(t, n1, n2)
}

// Whether there is a lane is found out with each connection anew.
func TestALaneComesAndGoesWithTLS(t *testing.T) {
	server, trust := withTLS(t, "")
	plain := startNATS(t)
	c := dialUp(t, plain.URL(), RoleControl, trust, func(o *nats.Options) error { o.Secure = false; return nil })
	came, _ := inbox(t, c, "x")
	pass := func(text string) {
		require.NoError(t, c.Flush(soon))
		require.NoError(t, c.Publish("x", "", []byte(text)))
		require.Equal(t, text, string(await(t, came).Data))
	}
	require.True(t, inForceOn(c))
	pass("plain")
	plain.Shutdown()
	eventually(t, "down", func() bool { up, _ := c.Up(); return !up })
	secure := restart(t, plain, server)
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	require.False(t, inForceOn(c))
	pass("secret")
	secure.Shutdown()
	require.Empty(t, came)
}

func TestALaneDeliversAsTheClientDoes(t *testing.T) {
	for _, role := range []Role{RoleControl, RoleBulk} {
		t.Run(string(role), func(t *testing.T) {
			server := startNATS(t, func(o *embedded.Options) { o.MaxPayload = 8 << 20 })
			c, other := dialUp(t, server.URL(), role), dialUp(t, server.URL(), role)
			came, _ := inbox(t, c, "a.*.c")
			large := bytes.Repeat([]byte("0123456789"), 700_000)
			require.NoError(t, c.Flush(soon))
			for _, data := range [][]byte{nil, []byte("x\r\nMSG a.b.c 1 1\r\n"), large} {
				require.NoError(t, other.Publish("a.b.c", "r.s", data))
				d := await(t, came)
				require.True(t, bytes.Equal(data, d.Data))
				require.Equal(t, Delivery{Subject: "a.b.c", Reply: "r.s", Data: d.Data}, d)
			}
			require.NoError(t, c.Publish("nobody.listens", "a.no.c", []byte("x")))
			require.Equal(t, Delivery{Subject: "a.no.c", Data: []byte{}, NoResponders: true}, await(t, came))
			require.Equal(t, int64(8<<20), c.MaxPayload())
			require.ErrorContains(t, c.Publish("a.b.c", "", make([]byte, 8<<20+1)), "maximum payload exceeded")
			require.ErrorContains(t, c.Publish("a b", "", nil), "invalid subject")
			require.ErrorContains(t, c.Publish("a", "\r\n", nil), "invalid subject")
			require.Empty(t, came)
		})
	}
}

// What others subscribe and publish on the connection goes by NATS's client, as the answers of a request do.
func TestALaneLeavesTheClientItsOwn(t *testing.T) {
	c := dialUp(t, startNATS(t).URL(), RoleControl)
	own := make(chan *nats.Msg, 1)
	_, err := c.NATS().ChanSubscribe("own", own)
	require.NoError(t, err)
	_, err = c.Subscribe("asked", func(d Delivery) { _ = c.Publish(d.Reply, "", d.Data) })
	require.NoError(t, err)
	require.NoError(t, c.Publish("own", "", []byte("1")))
	require.Equal(t, "1", string(await(t, own).Data))
	answer, err := c.NATS().Request("asked", []byte("2"), soon)
	require.NoError(t, err)
	require.Equal(t, "2", string(answer.Data))
}

// Of two subscriptions on one subject each is called; when one ends the other goes on, also when they were told to the server
// in no order, with a reconnect.
func TestSubscriptionsOnOneSubjectEndAlone(t *testing.T) {
	server := startNATS(t)
	c := dialUp(t, server.URL(), RoleControl)
	var came [4]<-chan Delivery
	var unsubscribe [4]func()
	for i := range came {
		came[i], unsubscribe[i] = inbox(t, c, "x")
	}
	for round := range came {
		require.NoError(t, c.Publish("x", "", []byte{byte(round)}))
		for _, each := range came[round:] {
			require.Equal(t, []byte{byte(round)}, await(t, each).Data)
		}
		unsubscribe[round]()
		require.NoError(t, c.NATS().ForceReconnect())
		eventually(t, "again", func() bool { return c.NATS().Stats().Reconnects == uint64(round+1) && inForceOn(c) })
		eventually(t, "told", func() bool { up, _ := c.Up(); return up && c.Flush(soon) == nil })
		unsubscribe[round]()
	}
	require.NoError(t, c.Publish("x", "", []byte("last")))
	require.NoError(t, c.Flush(soon))
	for _, each := range came {
		require.Empty(t, each)
	}
}

func TestWhatIsCorkedLeavesTogether(t *testing.T) {
	n1, n2 := pair(t, startNATS(t).URL())
	n2.echo()
	replies := make(chan error, 10)
	done := func(r rpc.Reply[*rpc.HeartbeatReturn]) { replies <- r.Err }
	lane := n1.control.lane.conn()
	n1.Corked(func() {
		for range cap(replies) {
			require.NoError(t, n1.to("n2").Heartbeat(1, &rpc.HeartbeatCommand{}, done))
		}
		lane.outlet.mu.Lock()
		defer lane.outlet.mu.Unlock()
		require.GreaterOrEqual(t, lane.outlet.waiting.messages, cap(replies))
	})
	for range cap(replies) {
		require.NoError(t, await(t, replies))
	}
}

// The owner is told once all that arrived at once is handed out, on the same goroutine; where the lane is shut after each message.
func TestTheOwnerIsToldWhenAllIsHandedOut(t *testing.T) {
	for _, c := range []struct {
		name  string
		plain bool
	}{{"lane", false}, {"client", true}} {
		t.Run(c.name, func(t *testing.T) {
			server := startNATS(t)
			n1, n2 := newPeer(t, server.URL(), "n1"), newPeer(t, server.URL(), "n2", func(o *peerOptions) { o.shutLane = c.plain })
			var wholes, others atomic.Int32
			told := make(chan int, 100)
			n2.OnDelivered(func(whole bool) {
				if whole {
					wholes.Add(1)
				} else {
					others.Add(1)
				}
				if n := len(n2.messages()); n > 0 {
					told <- n
				}
			}, func(bool) {})
			startAdmitted(n1, n2)
			awaitEachOther(n1, n2)
			n1.Corked(func() {
				for range 10 {
					require.NoError(t, n1.to("n2").Heartbeat(1, &rpc.HeartbeatCommand{}, func(rpc.Reply[*rpc.HeartbeatReturn]) {}))
				}
			})
			for n := 0; n < 10; n = await(t, told) {
			}
			require.Equal(t, c.plain, wholes.Load() == 0)
			require.Equal(t, c.plain, others.Load() > 0)
		})
	}
}

// Who waits for a disk when log entries were handed out holds up what comes on the bulk connection, and no heartbeat (L5, F22).
func TestWhoWaitsOnTheBulkConnectionHoldsUpNoHeartbeat(t *testing.T) {
	server := startNATS(t)
	n1, n2 := newPeer(t, server.URL(), "n1"), newPeer(t, server.URL(), "n2")
	release, waits := make(chan struct{}), make(chan struct{}, 100)
	n2.OnDelivered(func(bool) {}, func(bool) {
		if len(n2.messages()) > 0 {
			waits <- struct{}{}
			<-release
		}
	})
	defer close(release)
	startAdmitted(n1, n2)
	awaitEachOther(n1, n2)
	require.NoError(t, n1.to("n2").AppendLog(1, &rpc.AppendLogCommand{}, func(rpc.Reply[*rpc.AppendLogReturn]) {}))
	await(t, waits)
	for k := range 10 {
		require.NoError(t, n1.to("n2").Heartbeat(1, &rpc.HeartbeatCommand{}, func(rpc.Reply[*rpc.HeartbeatReturn]) {}))
		require.Eventually(t, func() bool { return len(n2.messages()) == k+2 }, soon, time.Millisecond)
	}
	require.Empty(t, waits)
}

// After Close has returned no handler runs, and none begins.
func TestNothingIsDeliveredAfterClose(t *testing.T) {
	server := startNATS(t)
	c, other := dialUp(t, server.URL(), RoleControl), dialUp(t, server.URL(), RoleControl)
	var closed atomic.Bool
	late := make(chan string, 1<<16)
	_, err := c.Subscribe("x", func(Delivery) {
		if closed.Load() {
			late <- "called"
		}
	})
	require.NoError(t, err)
	require.NoError(t, c.Flush(soon))
	for range 2000 {
		require.NoError(t, other.Publish("x", "", []byte("x")))
	}
	c.Close()
	closed.Store(true)
	require.NoError(t, other.Flush(soon))
	require.Empty(t, late)
	require.ErrorIs(t, c.Publish("x", "", nil), ErrBusDown)
}

// A handler that runs when Close is called has returned when Close does: what it uses may be closed then.
func TestCloseAwaitsTheHandlerThatRuns(t *testing.T) {
	server := startNATS(t)
	c, other := dialUp(t, server.URL(), RoleControl), dialUp(t, server.URL(), RoleControl)
	begun, release, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	_, err := c.Subscribe("x", func(Delivery) { close(begun); <-release })
	require.NoError(t, err)
	require.NoError(t, c.Flush(soon))
	require.NoError(t, other.Publish("x", "", nil))
	await(t, begun)
	go func() { c.Close(); close(closed) }()
	select {
	case <-closed:
		t.Error("it has not returned")
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
	await(t, closed)
}

// greets is a server's side that one client connects to: it is greeted, and served.
func greets(t *testing.T, serve func(net.Conn)) (url string) {
	return greetsSaying(t, `{"max_payload":1048576,"headers":true}`, serve)
}

func greetsSaying(t *testing.T, info string, serve func(net.Conn)) (url string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprintf(c, "INFO %s\r\n", info)
		serve(c)
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "nats://" + l.Addr().String()
}

// answersPings serves a client that wants no more than that.
func answersPings(c net.Conn) {
	for lines := bufio.NewScanner(c); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "PING") {
			fmt.Fprintf(c, "PONG\r\n")
		}
	}
}

// fakeServer greets one client, and sends what the test has it send.
func fakeServer(t *testing.T) (url string, send func(string)) {
	clients := make(chan net.Conn, 1)
	url = greets(t, func(c net.Conn) {
		clients <- c
		answersPings(c)
	})
	var client net.Conn
	return url, func(text string) {
		if client == nil {
			client = await(t, clients)
			t.Cleanup(func() { client.Close() })
		}
		_, err := client.Write([]byte(text))
		require.NoError(t, err)
	}
}

// From what a lane does not understand on, NATS's client delivers, in its order, to the same handlers.
func TestWhatALaneDoesNotUnderstandIsTheClients(t *testing.T) {
	url, send := fakeServer(t)
	c := dialUp(t, url, RoleControl)
	came, _ := inbox(t, c, "x")
	for _, piece := range []string{"MSG x 1 1\r\n1\r\nM", "SG x 1 2\r\n2", "2\r\nmsg x 1 1\r\n", "3\r\nMSG x 1 1\r\n4\r\n"} {
		send(piece)
	}
	for _, want := range []string{"1", "22", "3", "4"} {
		require.Equal(t, want, string(await(t, came).Data))
	}
	require.Equal(t, uint64(2), c.NATS().Stats().InMsgs)
	require.NoError(t, c.Publish("x", "", nil), "sending goes on by the lane")
}

// What waits for a connection that is lost is not sent on the next (K73).
func TestWhatWaitsInALaneIsDroppedWithTheConnection(t *testing.T) {
	server := startNATS(t)
	c, other := dialUp(t, server.URL(), RoleBulk), dialUp(t, server.URL(), RoleControl)
	came, _ := inbox(t, other, "x")
	require.NoError(t, other.Flush(soon))
	c.Cork()
	require.NoError(t, c.Publish("x", "", []byte("stale")))
	before := c.lane.conn()
	require.NoError(t, c.NATS().ForceReconnect())
	eventually(t, "again", func() bool { up, _ := c.Up(); return up && inForceOn(c) && c.lane.conn() != before })
	c.Uncork()
	require.NoError(t, c.Publish("x", "", []byte("new")))
	require.Equal(t, "new", string(await(t, came).Data))
	require.True(t, before.outlet.waiting.empty())
}

// The dialler that the caller brings is the one that dials, and one that does TLS itself is believed. What was still being dialled at the end is
// closed with it.
func TestALaneDialsAsItsCallerWants(t *testing.T) {
	v := newValve()
	c := dialUp(t, startNATS(t).URL(), RoleControl, nats.SetCustomDialer(v))
	_, wrapped := c.lane.conn().Conn.(*valveConn)
	require.True(t, wrapped)
	require.False(t, c.lane.SkipTLSHandshake())
	came, _ := inbox(t, c, "x")
	require.NoError(t, c.Publish("x", "", []byte("by the goroutine that writes")))
	await(t, came)
	l, err := newLane([]nats.Option{nats.Timeout(7 * time.Second), nil}, nil, nil)
	require.NoError(t, err)
	require.Equal(t, 7*time.Second, l.dialer.(*net.Dialer).Timeout)
	l.close()
	url, ended := listener(t)
	_, err = l.Dial("tcp", strings.TrimPrefix(url, "nats://"))
	require.ErrorIs(t, err, net.ErrClosed)
	await(t, ended)
	_, err = newLane([]nats.Option{nats.RootCAs("/no such file")}, nil, nil)
	require.Error(t, err)
}

// Who subscribes beside one on the same subject that is being drained gets what comes from then on.
func TestASubscriptionBesideADrainedOne(t *testing.T) {
	c := dialUp(t, startNATS(t).URL(), RoleClient)
	came := make(chan string, 20)
	for _, name := range []string{"first", "second", "third"} {
		sub, err := c.SubscribeMsgs("x.y", func(*nats.Msg) { came <- name })
		require.NoError(t, err)
		require.NoError(t, c.Publish("x.y", "", []byte("1")))
		require.Equal(t, name, await(t, came))
		require.NoError(t, sub.Drain())
	}
}

// What NATS's client has ended is not kept for ever by the lane.
func TestALaneForgetsWhatHasEnded(t *testing.T) {
	c := dialUp(t, startNATS(t).URL(), RoleClient)
	for i := range 10 * sweepMin {
		sub, err := c.SubscribeMsgs(fmt.Sprintf("x.%d", i), func(*nats.Msg) {})
		require.NoError(t, err)
		if i > 0 { // the first stays
			require.NoError(t, sub.Unsubscribe())
		}
	}
	require.LessOrEqual(t, len(c.lane.subscribers), sweepMin)
	require.Contains(t, c.lane.subscribers, "x.0")
	require.NoError(t, c.Flush(soon)) // NATS's client has said all of it
	now := c.lane.now.Load()
	now.sidsMu.RLock()
	defer now.sidsMu.RUnlock()
	require.Len(t, now.sids, 1)
	require.Len(t, now.named, 1)
	require.Len(t, now.byName, 1)
}

// NATS hears at once of the end of a connection that has failed, also where what was written does not get through, so that it brings nothing to
// who is not there (L2). What a connection had to say that is closed is heard.
func TestAConnectionThatFailedIsReset(t *testing.T) {
	for name, end := range map[string]func(*Conn){
		"failed": func(c *Conn) { require.NoError(t, c.NATS().ForceReconnect()) },
		"closed": (*Conn).Close,
	} {
		t.Run(name, func(t *testing.T) {
			url, ended := listener(t)
			end(dialUp(t, url, RoleClient))
			err := await(t, ended)
			require.Equal(t, name == "failed", errors.Is(err, syscall.ECONNRESET), "%v", err)
		})
	}
}

// A server that takes no headers is sent none: it would end the connection, and with it all that is on its way (F11).
func TestNoHeadersWhereTheServerTakesNone(t *testing.T) {
	c := dialUp(t, greetsSaying(t, `{"max_payload":1048576}`, answersPings), RoleClient)
	eventually(t, "in force", func() bool { return inForceOn(c) })
	require.ErrorIs(t, c.PublishMsg("x", "", []byte("NATS/1.0\r\n\r\n"), nil), nats.ErrHeadersNotSupported)
	require.NoError(t, c.PublishMsg("x", "", nil, nil))
}

// listener is a server for one client, and tells how the connection ended; nil: in order.
func listener(t *testing.T) (url string, ended <-chan error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	how := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		l.Close()
		if err != nil {
			how <- err
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "INFO {\"max_payload\":1048576,\"headers\":true}\r\n")
		lines := bufio.NewScanner(c)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "PING") {
				fmt.Fprintf(c, "PONG\r\n")
			}
		}
		how <- lines.Err()
	}()
	return "nats://" + l.Addr().String(), how
}
