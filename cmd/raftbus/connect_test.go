package main

// What a connection that cannot be made is called.

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
)

// onBus is a connection to a NATS server of the test's own.
func onBus(t *testing.T) *nats.Conn {
	t.Helper()
	server, err := embedded.Start(embedded.Options{})
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	conn, err := nats.Connect(server.URL())
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return conn
}

// A host that is down, unknown or silent is no wrong flag: scripts are told to try again later.
func TestAHostThatIsNotThereIsUnavailable(t *testing.T) {
	for name, err := range map[string]error{
		"unknown":  &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}},
		"no route": &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH},
		"silent":   &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded},
		"reset":    &net.OpError{Op: "read", Err: syscall.ECONNRESET},
		"slow":     fmt.Errorf("%w: of the dialogue", nats.ErrTimeout),
	} {
		require.True(t, unreachable(err), name)
	}
	require.False(t, unreachable(&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}))
	require.False(t, unreachable(nats.ErrSecureConnRequired))

	for _, err := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired} {
		require.True(t, refusesUser(fmt.Errorf("%w: at bus", err)), "%v: it was not let in", err)
	}

	text, code := said("kv", "get", "app", "color", "--nats", "nats://nats.invalid:4222", "--timeout", "2s")
	require.Equal(t, exitUnavailable, code, text)
	require.Contains(t, text, "no NATS server answers at nats://nats.invalid:4222: start one, or name it with --nats: ")
}

// A server that takes the connection and says nothing is not there either.
func TestAServerThatSaysNothingIsUnavailable(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	text, code := said("status", "--nats", "nats://"+silent.Addr().String(), "--timeout", "100ms")
	require.Equal(t, exitUnavailable, code, text)
	require.Contains(t, text, "no NATS server answers at ")
}
