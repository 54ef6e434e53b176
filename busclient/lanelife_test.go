package busclient

// When the other end of a connection is taken for dead, and when not (F9, F10; the silent one: TestAHalfOpenConnectionIsNoticed).

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/stalltest"
)

// longerThanSilence is for how long no answer to a ping comes in what is no silence all the same.
const longerThanSilence = lookInterval*silentLooksMax + 2*time.Second

// played is a server's side on a slow way: serve is given what the client writes once it is let in.
func played(t *testing.T, serve func(c net.Conn, lines *bufio.Scanner)) (url string) {
	return greets(t, func(c net.Conn) {
		defer c.Close()
		if err := c.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil { // a way has no room for what waits
			return
		}
		lines := bufio.NewScanner(newPaced(c, 16<<10))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() && lines.Text() != "PING" {
		}
		fmt.Fprint(c, "PONG\r\n")
		serve(c, lines)
		_, _ = io.Copy(io.Discard, c)
	})
}

// paced reads fifty times as many bytes in a second, or less.
type paced struct {
	net.Conn
	bytes int
	beat  <-chan time.Time
}

func newPaced(c net.Conn, bytes int) paced { return paced{c, bytes, time.Tick(20 * time.Millisecond)} }

func (c paced) Read(b []byte) (int, error) {
	<-c.beat // the way's, of which the other end knows nothing
	return c.Conn.Read(b[:min(len(b), c.bytes)])
}

// One that is closed is not looked at for ever: with each that was lost its buffers would stay.
func TestAConnectionThatIsClosedIsForgotten(t *testing.T) {
	t.Parallel() // it mostly waits
	near, far := net.Pipe()
	defer far.Close()
	c := newLaneConn(&lane{}, near)
	require.NoError(t, c.Close())
	held := weak.Make(c)
	eventually(t, "forgotten", func() bool { runtime.GC(); return held.Value() == nil })
}

// Of a flood the answers to pings are behind: what comes is a sign of life.
func TestAFloodIsNoSilence(t *testing.T) {
	t.Parallel() // it mostly waits
	over := make(chan error, 1)
	c := dialUp(t, played(t, func(c net.Conn, _ *bufio.Scanner) {
		began := time.Now()
		for time.Since(began) < longerThanSilence {
			if _, err := fmt.Fprint(c, "MSG x 1 1\r\n1\r\n"); err != nil {
				over <- err
				return
			}
			time.Sleep(100 * time.Millisecond) // rarer than messages are, more often than looks
		}
		over <- nil
	}), RoleClient)
	require.NoError(t, await(t, over))
	up, _ := c.Up()
	require.True(t, up)
	require.Zero(t, c.Stats().Disconnects)
}

// On a slow way pings, and what is answered, wait behind what was sent before: what is taken of it is a sign of life.
func TestASlowWayIsNoSilence(t *testing.T) {
	t.Parallel() // it mostly waits
	const messages = 9
	for range 5 {
		watch := stalltest.During(t)
		came, disconnects := takenOnASlowWay(t, messages)
		if (came < messages || disconnects > 0) && watch.Lost() > writeTimeout/2 {
			continue // the machine was slower than the way
		}
		require.Equal(t, messages, came)
		require.Zero(t, disconnects)
		return
	}
	require.Fail(t, "this machine is too busy to tell")
}

// takenOnASlowWay is how many messages a server takes, and how often the connection is lost by then.
func takenOnASlowWay(t *testing.T, messages int) (came int, disconnects uint64) {
	all := make(chan int, 1)
	c := dialUp(t, played(t, func(c net.Conn, lines *bufio.Scanner) {
		n := 0
		for n < messages && lines.Scan() {
			switch line := lines.Text(); {
			case line == "PING":
				fmt.Fprint(c, "PONG\r\n")
			case strings.HasPrefix(line, "PUB "):
				n++
			}
		}
		all <- n
	}), RoleClient)
	for range messages { // in all more than 5 s of it
		require.NoError(t, c.Publish("x", "", []byte(strings.Repeat("x", 500_000))))
	}
	came = await(t, all)
	disconnects = c.Stats().Disconnects
	c.Close()
	return came, disconnects
}

// A server that refuses a client may leave the connection open, and NATS's client does: each attempt ends the one before.
func TestAConnectionThatWasRefusedIsClosed(t *testing.T) {
	t.Parallel() // it mostly waits
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan struct{}, 100)
	var attempts sync.WaitGroup
	attempts.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			attempts.Go(func() {
				defer c.Close()
				fmt.Fprint(c, "INFO {}\r\n-ERR 'Authorization Violation'\r\n")
				if c.SetReadDeadline(time.Now().Add(soon/2)) != nil {
					return
				}
				if _, err := io.Copy(io.Discard, c); !errors.Is(err, os.ErrDeadlineExceeded) {
					ended <- struct{}{}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); attempts.Wait() })
	dial(t, "nats://"+l.Addr().String(), "n1", RoleClient)
	for range 3 { // the first is closed by NATS's client
		await(t, ended)
	}
}

// Silence is counted while it is listened to, and from the last sign on.
func TestSilenceIsCounted(t *testing.T) {
	silence := func(l *life) (looks int) {
		for looks = 1; !l.ended(); looks++ {
			require.LessOrEqual(t, looks, silentLooksMax)
		}
		return looks
	}
	l := &life{}
	for range 2 * silentLooksMax {
		require.False(t, l.ended(), "nobody reads: it is this end that is slow")
	}
	l.reading.Store(true)
	require.Equal(t, silentLooksMax, silence(l))

	l = &life{}
	l.reading.Store(true)
	for range silentLooksMax {
		require.False(t, l.ended())
		require.False(t, l.ended())
		l.sign()
	}
	require.Equal(t, silentLooksMax+1, silence(l), "the first look finds the sign")
}

// To stop listening to one of many subjects takes no look at all of them, with NATS's client locked: only at what is listed under its subject. Another that is not is not found.
func TestOneOfManySubscriptionsEndsByItsSubject(t *testing.T) {
	c := &laneConn{sids: map[string]sidOwner{}, byName: map[string][]string{"$KV.app.>": {"1"}}, named: map[*subscriber]struct{}{}}
	ends, unlisted := &subscriber{}, &subscriber{}
	unlisted.ended.Store(true)
	c.sids["1"], c.sids["2"] = sidOwner{"$KV.app.>", ends}, sidOwner{"$KV.app.>", unlisted}
	c.named[ends], c.named[unlisted] = struct{}{}, struct{}{}
	c.unsubscribed("1")
	require.Equal(t, map[string]sidOwner{"2": {"$KV.app.>", unlisted}}, c.sids)
	require.Equal(t, map[*subscriber]struct{}{unlisted: {}}, c.named)
	require.Empty(t, c.byName)
}
