package busclient

import (
	"log/slog"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
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

// The only server is of use until it goes.
func TestTheOnlyServerIsNotLeft(t *testing.T) {
	server, log := startNATS(t), &countingHandler{}
	c, err := Dial(t.Context(), ConnOptions{URLs: []string{server.URL()}, Prefix: "raftbus", Node: "n1", Role: RoleControl, Logger: slog.New(log)})
	require.NoError(t, err)
	defer c.Close()
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	retire(t, server)
	eventually(t, "told", func() bool { return log.count("no other is known") == 1 })
	require.NoError(t, c.Flush(soon))
	require.Zero(t, c.NATS().Stats().Reconnects)
}
