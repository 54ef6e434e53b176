package main

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
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

// Whoever may answer on the bus fills neither the memory nor the time of who asks, and a question leaves nothing behind.
func TestWhoAnswersTooMuchIsNotListenedToForEver(t *testing.T) {
	t.Parallel()
	loud := onBus(t)
	flood := func(id func(i int) string) nats.MsgHandler {
		return func(m *nats.Msg) {
			for i := 0; t.Context().Err() == nil; i++ {
				body := fmt.Sprintf(`{"id":%q,"node":%q}`, id(i), id(i))
				if loud.Publish(m.Reply, []byte(body)) != nil || loud.Flush() != nil {
					return
				}
			}
		}
	}
	_, err := loud.Subscribe(busclient.StatusSubject("many", busclient.AllNodes), flood(func(i int) string { return fmt.Sprintf("n%d", i) }))
	require.NoError(t, err)
	_, err = loud.Subscribe(busclient.StatsSubject("one", busclient.AllNodes), flood(func(int) string { return "n1" }))
	require.NoError(t, err)
	require.NoError(t, loud.Flush())
	conn, err := nats.Connect(loud.ConnectedUrl())
	require.NoError(t, err)
	defer conn.Close()

	c, err := askAll(t.Context(), conn, "many")
	require.NoError(t, err)
	require.Len(t, c.Nodes, observe.NodesMax)
	require.Len(t, (&facts{}).lookAll(t.Context(), conn, "one"), 1)
	require.Zero(t, conn.NumSubscriptions())
}

// A NATS server that goes while the doctor asks is what the doctor finds, in JSON too.
func TestTheDoctorFindsThatNATSGoes(t *testing.T) {
	server, err := embedded.Start(embedded.Options{})
	require.NoError(t, err)
	defer server.Shutdown()
	conn, err := nats.Connect(server.URL(), nats.NoReconnect())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Subscribe(busclient.StatusSubject("raftbus", busclient.AllNodes), func(*nats.Msg) { server.Shutdown() })
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	text, code := said("doctor", "--json", "--nats", server.URL())
	require.Equal(t, exitUnavailable, code, text)
	require.Contains(t, text, `"code":"nats-unreachable"`)
	require.Contains(t, text, "was lost while the nodes were asked")
}
