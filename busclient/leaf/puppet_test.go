package leaf

// Against servers that are none, or that misbehave: what is said, and that nothing grows or hangs.

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/logtest"
	"github.com/raftbus/raftbus/raft/stalltest"
)

const greetingLine = `INFO {"server_id":"S","server_name":"puppet","headers":true,"max_payload":65536,"client_id":7,"info_on_connect":true}` + "\r\n"

const welcomeLine = `INFO {"server_id":"S","server_name":"puppet","headers":true,"max_payload":65536,"client_id":7,"connect_info":true}` + "\r\n"

// puppet is one connection of a server that a test plays.
type puppet struct {
	net.Conn
	lines *bufio.Scanner
}

// play listens, and plays each connection that comes on a goroutine of its own, until the test ends.
func play(t testing.TB, part func(puppet)) (url string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			part(puppet{c, bufio.NewScanner(c)})
			c.Close()
		}
	}()
	return "nats-leaf://" + l.Addr().String()
}

func (p puppet) say(text string) { _, _ = p.Write([]byte(text)) }

// hear reads the next line; empty: there is none.
func (p puppet) hear() string {
	if !p.lines.Scan() {
		return ""
	}
	return p.lines.Text()
}

// welcome plays the handshake, and says what stands before the first pong.
func (p puppet) welcome(before string) {
	p.say(greetingLine)
	p.greeted(before)
}

// greeted plays the handshake after the greeting.
func (p puppet) greeted(before string) {
	p.hear() // CONNECT
	p.say(welcomeLine)
	for line := p.hear(); line != "PING" && line != ""; line = p.hear() {
	}
	p.say(before + "PONG\r\n")
}

// welcomeSlowly plays the handshake up to what it ends with, and says meanwhile for so long who listens.
func (p puppet) welcomeSlowly(d time.Duration) {
	p.say(greetingLine)
	p.hear()
	p.say(welcomeLine)
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(handshakeTimeout / 40) {
		p.say("LS+ a\r\n")
	}
}

// drain answers pings until the connection ends.
func (p puppet) drain() {
	for line := p.hear(); line != ""; line = p.hear() {
		if line == "PING" {
			p.say("PONG\r\n")
		}
	}
}

func TestWhatIsNoLeafnodePortIsSaid(t *testing.T) {
	t.Parallel() // it mostly waits
	hear := func(text string) func(puppet) {
		return func(p puppet) {
			p.say(text)
			p.hear()
		}
	}
	for _, c := range []struct {
		name string
		part func(puppet)
		says string
	}{
		{"ssh", hear("SSH-2.0-OpenSSH\r\n"), "unlike a NATS server"},
		{"http", hear("HTTP/1.1 400 Bad Request\r\n\r\n"), "unlike a NATS server"},
		{"nothing", func(p puppet) { p.hear() }, "the server said nothing"},
		{"an end", func(puppet) {}, "the server said nothing"},
		{"a broken greeting", func(p puppet) { p.say("INFO {") }, "said nothing"},
		{"a pong", hear("PONG\r\n"), "unlike a NATS server"},
		{"no json", hear("INFO {\r\n"), "its INFO is no JSON"},
		{"a port for clients", hear(`INFO {"server_id":"S","client_id":7,"max_payload":1}` + "\r\n"), "no leafnode port"},
		{"full", hear("-ERR 'maximum connections exceeded'\r\n"), "raise the limit"},
		{"a voice before TLS", hear(`INFO {"client_id":7,"info_on_connect":true,"tls_required":true}` + "\r\nINFO {}\r\n"), "before TLS"},
		{"no answer to CONNECT", func(p puppet) { p.say(greetingLine); p.drain() }, "did not answer in time"},
		{"silence after some of who listens", func(p puppet) {
			p.welcomeSlowly(100 * time.Millisecond)
			for p.hear() != "" {
			}
		}, "did not answer in time"},
		{"an end, long after an error", func(p puppet) {
			p.welcome("")
			p.say("-ERR 'Permissions Violation'\r\nPING\r\n")
			p.hear() // PONG
		}, "the server closed the connection"},
		{"a loop", hear(greetingLine + welcomeLine + "-ERR 'Loop detected for leafnode account=\"$G\"'\r\n"), "remove one"},
		{"a word", func(p puppet) { p.welcome("MSG a 1 0\r\n\r\n"); p.hear() }, `unlike a NATS server: give`},
		{"a size", func(p puppet) { p.welcome("LMSG a 99999999999\r\n"); p.hear() }, "as a message"},
		{"a long line", func(p puppet) { p.welcome(strings.Repeat("x", lineBytesMax+1)); p.hear() }, "a line longer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := begin(t, play(t, c.part))
			eventually(t, c.says, func() bool { return strings.Contains(conn.LastError(), c.says) })
		})
	}
}

// listening dials connections that tell when they are read from.
type listening chan struct{}

func (l listening) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	return listener{c, l}, err
}

type listener struct {
	net.Conn
	begins chan struct{}
}

func (l listener) Read(b []byte) (int, error) {
	l.begins <- struct{}{}
	return l.Conn.Read(b)
}

// A close does not wait for a server that says nothing.
func TestACloseWaitsForNoGreeting(t *testing.T) {
	reads := make(listening, 1)
	c := begin(t, play(t, func(p puppet) { p.hear() }), with(nats.SetCustomDialer(reads)))
	await(t, "a read", reads)
	began := time.Now()
	c.Close()
	require.Less(t, time.Since(began), handshakeTimeout/2)
}

// Interest is chosen by clients: beyond its bound the connection is given up, and says what to do.
func TestInterestIsBounded(t *testing.T) {
	url := play(t, func(p puppet) {
		var subjects strings.Builder
		for i := range 100 {
			fmt.Fprintf(&subjects, "LS+ _INBOX.%d.*\r\n", i)
		}
		p.welcome(subjects.String())
		p.drain()
	})
	few := begin(t, url, func(o *Options) { o.InterestBytesMax = 20 << 10 })
	eventually(t, "given up", func() bool { return strings.Contains(few.LastError(), "too many subjects") })
	few.Close()
	require.Zero(t, few.interest.size(), "and forgotten")
	many := dial(t, url, func(o *Options) { o.InterestBytesMax = 200 << 10 })
	require.Equal(t, 100, many.interest.size())
}

// A client may listen on patterns of thousands of tokens, each of which costs memory. Where watches are delivered none of them takes a message.
func TestPatternsThatNoWatchedSubjectHasAreNotKept(t *testing.T) { // Q12
	url := play(t, func(p puppet) {
		var subjects strings.Builder
		for i := range 700 {
			fmt.Fprintf(&subjects, "LS+ _INBOX_%d%s\r\n", i, strings.Repeat(".*", 2_000))
		}
		p.welcome(subjects.String() + "LS+ _INBOX.other\r\n")
		p.drain()
	})
	conn := dial(t, url)
	require.True(t, conn.Watch("_INBOX.other"))
	require.Equal(t, 1, conn.interest.size())
	require.Less(t, conn.interest.bytes, 1_000)
}

// F9: a server that stops reading fills the buffer to its bound, then costs the connection; what waited is not sent later (K73).
func TestASlowServerFillsABoundedBuffer(t *testing.T) {
	t.Parallel() // it mostly waits
	heard := make(chan string, 1)
	release := make(chan struct{})
	first := true
	url := play(t, func(p puppet) {
		p.welcome("")
		if first {
			first = false
			<-release
			return
		}
		for line := p.hear(); line != ""; line = p.hear() {
			if strings.HasPrefix(line, "LMSG") {
				heard <- line
				return
			}
		}
	})
	var e events
	c := dial(t, url, e.into, func(o *Options) { o.OutboundBytesMax = 128 << 10 })
	value := make([]byte, 32<<10)
	var err error
	for range 100_000 { // the system buffers some megabytes first
		if err = c.Publish("a", "", nil, value); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, ErrFull)
	eventually(t, "told of the room that the writer makes", func() bool {
		if e.rooms() > 0 {
			return true
		}
		_ = c.Publish("a", "", nil, value)
		return !isUp(c)
	})
	fill(t, c, value)
	require.LessOrEqual(t, waiting(c), 128<<10+controlBytesMax)
	eventually(t, "given up", func() bool { return !isUp(c) })
	close(release)
	awaitUp(t, c)
	require.LessOrEqual(t, waiting(c), len("PING\r\n"), "what the last server did not take is forgotten")
	require.NoError(t, c.Publish("b", "", nil, nil))
	require.Equal(t, "LMSG b 0", await(t, "the first message", heard))
}

// fill publishes until nothing more is taken.
func fill(t testing.TB, c *Conn, value []byte) {
	t.Helper()
	eventually(t, "full or down", func() bool {
		for range 1000 {
			if c.Publish("a", "", nil, value) != nil {
				return c.Publish("a", "", nil, value) != nil
			}
		}
		return false
	})
}

// F10: a server that is not there any more, without an end of the connection, is noticed within 4 s.
func TestAServerThatAnswersNoPingsIsGivenUp(t *testing.T) {
	t.Parallel() // it mostly waits
	url := play(t, func(p puppet) {
		p.welcome("")
		for p.hear() != "" {
		}
	})
	c := dial(t, url)
	watch := stalltest.During(t)
	eventually(t, "given up", func() bool { return disconnectsOf(c) > 0 })
	require.Less(t, watch.Took(), 4*time.Second)
	eventually(t, "said", func() bool { return isUp(c) || strings.Contains(c.LastError(), "pings") })
}

// F10: nor is one waited for that takes no more in the midst of a write, behind which pings are not even sent.
func TestAServerThatTakesNoMoreIsGivenUp(t *testing.T) {
	t.Parallel() // it mostly waits
	ca := newAuthority(t)
	certificate, err := tls.LoadX509KeyPair(ca.issue(t, x509.ExtKeyUsageServerAuth))
	require.NoError(t, err)
	secured := func(p puppet) puppet {
		p.say(strings.Replace(greetingLine, "{", `{"tls_required":true,`, 1))
		c := tls.Server(p.Conn, &tls.Config{Certificates: []tls.Certificate{certificate}})
		return puppet{c, bufio.NewScanner(c)}
	}
	plain := func(p puppet) puppet {
		p.say(greetingLine)
		return p
	}
	for name, c := range map[string]struct {
		greet   func(puppet) puppet
		options []nats.Option
	}{"plain": {plain, nil}, "TLS": {secured, []nats.Option{nats.RootCAs(ca.file)}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			defer close(release)
			url := play(t, func(p puppet) {
				require.NoError(t, p.Conn.(*net.TCPConn).SetReadBuffer(32<<10))
				c.greet(p).greeted("")
				<-release
			})
			conn := dial(t, url, with(c.options...), func(o *Options) { o.OutboundBytesMax = 16 << 20 })
			fill(t, conn, make([]byte, 32<<10))
			watch := stalltest.During(t)
			eventually(t, "given up", func() bool { return disconnectsOf(conn) > 0 })
			require.Less(t, watch.Took(), 4*time.Second)
		})
	}
}

// paced is a connection over which little comes at a time.
type paced struct {
	net.Conn
	beat *time.Ticker
}

func (c paced) Read(b []byte) (int, error) {
	<-c.beat.C
	return c.Conn.Read(b[:min(len(b), 16<<10)])
}

// F9: a slow way is not taken for a server that is gone. What is sent at once may take longer than pings may, and they do not wait behind all of it.
func TestASlowWayIsNoDeadServer(t *testing.T) {
	t.Parallel()                                                          // it mostly waits
	for _, c := range []struct{ kib, messages int }{{800, 60}, {64, 6}} { // in a second; in all more than 4 s of it
		t.Run(fmt.Sprint(c.kib, " KiB"), func(t *testing.T) {
			t.Parallel()
			for range 5 {
				watch := stalltest.During(t)
				conn := sendOnASlowWay(t, c.kib, c.messages)
				if disconnectsOf(conn) == 0 {
					return
				}
				require.Greater(t, watch.Lost(), writeTimeout/2, conn.LastError()) // else it was the machine that was slow
			}
			require.Fail(t, "this machine is too busy to tell")
		})
	}
}

// sendOnASlowWay returns once all messages have come, or the connection is lost.
func sendOnASlowWay(t *testing.T, kib, messages int) *Conn {
	all := make(chan bool, 1)
	url := play(t, func(p puppet) {
		require.NoError(t, p.Conn.(*net.TCPConn).SetReadBuffer(32<<10)) // else what comes late is made room for at once
		p.welcome("")
		beat := time.NewTicker(16 * time.Second / time.Duration(kib))
		defer beat.Stop()
		p.lines = bufio.NewScanner(paced{p.Conn, beat})
		n := 0
		for line := p.hear(); line != ""; line = p.hear() {
			if line == "PING" {
				p.say("PONG\r\n")
			} else if strings.HasPrefix(line, "LMSG") {
				n++
			}
			if n == messages {
				all <- true
				break
			}
		}
		p.drain()
	})
	conn := dial(t, url)
	for range messages {
		require.NoError(t, conn.Publish("a", "", nil, make([]byte, 60_000)))
	}
	require.Eventually(t, func() bool { return len(all) > 0 || disconnectsOf(conn) > 0 }, 3*soon, 10*time.Millisecond)
	return conn
}

// F9: nor is one that has more to say of who listens than a slow way carries within the time that a dead server is waited for.
func TestWhoListensMayTakeLongToSay(t *testing.T) {
	t.Parallel() // it mostly waits
	url := play(t, func(p puppet) {
		p.welcomeSlowly(3 * handshakeTimeout / 2)
		p.say("PONG\r\n")
		p.drain()
	})
	require.Equal(t, 1, dial(t, url).interest.size())
}

// A message larger than max_payload, from a server of the cluster that takes larger ones, costs the message only.
func TestAMessageThatIsTooLargeIsDropped(t *testing.T) {
	url := play(t, func(p puppet) {
		p.welcome("")
		p.say(fmt.Sprintf("LMSG a %d\r\n%s\r\nLMSG a 2\r\nok\r\n", 65537, make([]byte, 65537)))
		p.drain()
	})
	got := make(chan string, 2)
	c := dial(t, url, hears("a", got, dataOf))
	require.Equal(t, "ok", await(t, "the next one", got))
	require.Contains(t, c.LastError(), "max_payload")
}

// INFO comes at any time: limits follow it, and so do the servers to try.
func TestInfoIsFollowed(t *testing.T) {
	say := make(chan string)
	defer close(say)
	url := play(t, func(p puppet) {
		p.welcome("")
		for text := range say {
			p.say(text)
		}
		p.drain()
	})
	c := dial(t, url)
	require.Equal(t, 65536, c.MaxPayload())
	say <- `INFO {"headers":true,"max_payload":100,"ldm":true,"leafnode_urls":["10.0.0.1:7422","nonsense://x"]}` + "\r\n"
	eventually(t, "lowered", func() bool { return c.MaxPayload() == 100 })
	require.ErrorIs(t, c.Publish("a", "", nil, make([]byte, 101)), ErrTooLarge)
	say <- `INFO {"headers":false,"max_payload":1099511627776,"export":{"allow":["a"]}}` + "\r\n"
	eventually(t, "raised, to what is a bound of our own", func() bool { return c.MaxPayload() == messageBytesMax })
	require.ErrorIs(t, c.Publish("a", "", []byte("NATS/1.0\r\n\r\n"), nil), ErrHeaders)
	require.ErrorIs(t, c.Publish("b", "", nil, nil), ErrPermission)
	require.NoError(t, c.Publish("a", "", nil, nil))
	say <- `INFO {"headers":true,"max_payload":200}` + "\r\n"
	eventually(t, "lowered again", func() bool { return c.MaxPayload() == 200 })
	require.ErrorIs(t, c.Publish("b", "", nil, nil), ErrPermission, "what it does not say is as before")
	say <- `INFO {"headers":true,"max_payload":300,"connect_info":true}` + "\r\n"
	eventually(t, "raised again", func() bool { return c.MaxPayload() == 300 })
	require.NoError(t, c.Publish("b", "", nil, nil), "of a user who may all, nothing is said")
}

// What is said to a server: who we are, before anything else; what we subscribe to; and no more.
func TestWhatIsSaidToAServer(t *testing.T) {
	lines := make(chan string, 100)
	url := play(t, func(p puppet) {
		p.say(greetingLine)
		lines <- p.hear()
		p.say("PING\r\n" + welcomeLine)
		for p.lines.Scan() {
			lines <- p.lines.Text()
			if p.lines.Text() == "PING" {
				p.say("PONG\r\n")
			}
		}
	})
	c := begin(t, url, asUser("leaf", `p"w`), func(o *Options) { o.Subject = "$JS.FC.>" })
	hello := await(t, "CONNECT", lines)
	require.Regexp(t, `^CONNECT \{"version":"[0-9.]+","user":"leaf","pass":"p\\"w","server_id":"\w+","name":"raftbus/raftbus/n1/leaf","cluster":"raftbus-\w+","headers":true\}$`, hello)
	require.Equal(t, "PONG", await(t, "an answer", lines))
	require.Equal(t, "LS+ $JS.FC.>", await(t, "the subscription", lines))
	require.Equal(t, "PING", await(t, "the barrier", lines))
	awaitUp(t, c)
	require.NoError(t, c.Publish("b", "r", []byte("NATS/1.0\r\n\r\n"), []byte("x")))
	for _, want := range []string{"HMSG b r 12 13", "NATS/1.0", "", "x"} {
		require.Equal(t, want, awaitNoPing(t, lines))
	}
}

func awaitNoPing(t testing.TB, lines <-chan string) string {
	t.Helper()
	for {
		if line := await(t, "a line", lines); line != "PING" {
			return line
		}
	}
}

// countingDialer refuses everything, with another port each time as the system does.
type countingDialer struct{ dialled atomic.Int64 }

func (d *countingDialer) Dial(network, address string) (net.Conn, error) {
	n := d.dialled.Add(1)
	return nil, &net.OpError{Op: "read", Net: network, Source: &net.TCPAddr{Port: int(n)}, Err: errors.New("connection reset by peer")}
}

// cutting is a connection whose writes fail once it is cut. What it reads from then on comes a moment later, if it is not closed by then.
type cutting struct {
	net.Conn
	cut, closed atomic.Bool
	late        chan struct{}
	failed      sync.Once
}

func (c *cutting) Dial(network, address string) (_ net.Conn, err error) {
	if c.late != nil {
		return nil, errors.New("once only")
	}
	c.late = make(chan struct{})
	c.Conn, err = net.Dial(network, address)
	return c, err
}

func (c *cutting) Write(b []byte) (int, error) {
	if !c.cut.Load() {
		return c.Conn.Write(b)
	}
	c.failed.Do(func() { time.AfterFunc(writeLook/5, func() { close(c.late) }) })
	return 0, errors.New("cut")
}

func (c *cutting) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.cut.Load() {
		<-c.late
	}
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *cutting) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

// A server that ends the connection has said why, though a write fails before that is read.
func TestWhyAServerEndedIsSaidThoughAWriteFails(t *testing.T) {
	t.Parallel() // it mostly waits
	why := func() string {
		end := make(chan struct{})
		url := play(t, func(p puppet) {
			p.welcome("")
			<-end
			p.say("-ERR 'this account is closed'\r\n")
		})
		var log logtest.Buffer
		d := &cutting{}
		c := dial(t, url, with(nats.SetCustomDialer(d)), func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		d.cut.Store(true)
		close(end)
		require.NoError(t, c.Publish("a", "", nil, nil))
		eventually(t, "ended", func() bool { return disconnectsOf(c) > 0 })
		return log.String()
	}
	for range 5 { // on a busy machine it may not be read in time
		if strings.Contains(why(), "this account is closed") {
			return
		}
	}
	require.Fail(t, "it was not said")
}

// An outage is one line in the log, and the attempts go on.
func TestAnOutageIsSaidOnce(t *testing.T) {
	t.Parallel() // it mostly waits
	var d countingDialer
	var log logtest.Buffer
	begin(t, "127.0.0.1:1", with(nats.SetCustomDialer(&d)), func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	eventually(t, "several attempts", func() bool { return d.dialled.Load() >= 4 })
	require.Equal(t, 1, strings.Count(log.String(), "no leaf connection to NATS, retrying"), log.String())
	require.Contains(t, log.String(), "connection=raftbus/raftbus/n1/leaf")
}
