package busclient

import (
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
)

// An outage is a line or two in the log, and not one for each attempt, though each has another port.
func TestAnOutageIsSaidOnce(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var attempts atomic.Int64
	var all sync.WaitGroup
	all.Go(func() {
		for socket, err := l.Accept(); err == nil; socket, err = l.Accept() {
			endAtOnce(socket)
			socket.Close()
			attempts.Add(1)
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	log := &countingHandler{}
	c, err := Dial(t.Context(), ConnOptions{URLs: []string{l.Addr().String()}, Node: "n1", Role: RoleControl, Logger: slog.New(log)})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	const cut = "read: connection reset by peer"
	eventually(t, "attempts", func() bool { return attempts.Load() > 10 && log.count(cut) > 0 })
	require.LessOrEqual(t, log.count(cut), 2, "at the first attempt, and then")
}

// What a node says of a connection goes into its log, which more may read than the password in the address.
func TestErrorsOfDialHaveNoPasswords(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(notPEM, []byte("no certificate"), 0o600))
	for _, url := range []string{"nats://alice:hunter2@127.0.0.1:1", "alice:hunter2@127.0.0.1:1", "nats://n1:4222,tls://hunter2@127.0.0.1:1"} {
		_, err := Dial(t.Context(), ConnOptions{URLs: []string{url}, Node: "n1", Role: RoleClient, Options: []nats.Option{nats.RootCAs(notPEM)}})
		require.ErrorContains(t, err, "check the ")
		require.NotContains(t, err.Error(), "hunter2")
	}
	_, err := Dial(t.Context(), ConnOptions{URLs: []string{"ws://alice:hunter2@127.0.0.1:1", "nats://127.0.0.1:1"}, Node: "n1", Role: RoleClient})
	require.ErrorContains(t, err, "check the URLs")
	require.NotContains(t, err.Error(), "hunter2")
	for _, url := range []string{"nats://alice:hunter2@host:x", "alice:hunter2@host:x", "nats://n1:4222,nats://alice:hunter2/@host:1", "nats://alice:%hunter2@host"} {
		_, err := Dial(t.Context(), ConnOptions{URLs: strings.Split(url, ","), Node: "n1", Role: RoleClient})
		require.ErrorContains(t, err, fmt.Sprintf("URL number %d is not valid", 1+strings.Count(url, ",")), "the last one")
		require.NotContains(t, err.Error(), "hu")
	}
}

// What came with the message whose handler closes the connection is not handed out any more.
func TestNothingIsHandedOutOfAConnectionThatIsClosed(t *testing.T) {
	url, send := fakeServer(t)
	c := dialUp(t, url, RoleControl)
	eventually(t, "in force", func() bool { return inForceOn(c) })
	on := c.lane.conn()
	var came atomic.Int32
	_, err := c.Subscribe("x", func(Delivery) {
		came.Add(1)
		_ = on.Close()
	})
	require.NoError(t, err)
	send(strings.Repeat("MSG x 1 1\r\n1\r\n", 2))
	eventually(t, "the first", func() bool { return came.Load() > 0 })
	require.True(t, on.handing.await(soon))
	require.EqualValues(t, 1, came.Load())
}

func TestWhoIsNotLetInIsKnownByWhatTheServerSays(t *testing.T) {
	for _, text := range []string{"Authorization Violation", "User Authentication Expired", "User Authentication Revoked", "Account Authentication Expired"} {
		require.True(t, NotLetIn(errors.New("nats: "+text)), text)
	}
	require.False(t, NotLetIn(errors.New("nats: maximum account active connections exceeded")))
}

// Whom no server lets in asks ever more seldom, and whoever meets none, or is refused for what passes, goes on as quickly as before (F5).
func TestWhoIsNotLetInAsksMoreSeldom(t *testing.T) {
	denied := errors.New("nats: Authorization Violation")
	for tries, want := range map[int]time.Duration{-1: 100, 0: 100, 1: 200, 2: 400, 3: 800, 4: 1000, 1 << 40: 1000} {
		require.Equal(t, want*time.Millisecond, waitAfter(tries, denied))
		require.Equal(t, reconnectWait, waitAfter(tries, nil))
		require.Equal(t, reconnectWait, waitAfter(tries, nats.ErrMaxConnectionsExceeded))
	}
}
