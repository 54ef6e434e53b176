// Package natstest gives tests a real NATS server and connections to it, which end with the test.
package natstest

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
)

// Run starts a server.
func Run(t testing.TB, o embedded.Options) *embedded.Server {
	t.Helper()
	server, err := embedded.Start(o)
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	return server
}

// Connect connects to a server.
func Connect(t testing.TB, server *embedded.Server, options ...nats.Option) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(server.URL(), options...)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return conn
}
