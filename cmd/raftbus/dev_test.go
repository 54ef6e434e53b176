package main

import (
	"log/slog"
	"net/url"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/leaf"
)

// A node that is started beside dev, and told nothing, finds the leafnodes port of dev or nobody's; a port that another process has does no harm
// unless it was asked for.
func TestWhereDevListensForLeafnodes(t *testing.T) {
	require.Equal(t, []int{leaf.DefaultPort, embedded.Random}, (&devFlags{port: usualPort}).leafPorts())
	require.Equal(t, []int{embedded.Random}, (&devFlags{port: 4333}).leafPorts())
	require.Equal(t, []int{7000}, (&devFlags{port: usualPort, leafPort: 7000}).leafPorts())

	other := onBus(t)
	taken, err := url.Parse(other.ConnectedUrl())
	require.NoError(t, err)
	port, err := strconv.Atoi(taken.Port())
	require.NoError(t, err)
	f := &devFlags{host: "127.0.0.1"}
	server, err := f.startNATS(slog.New(slog.DiscardHandler), []int{port, embedded.Random})
	require.NoError(t, err)
	defer server.Shutdown()
	require.NotEmpty(t, server.LeafURL())
	_, err = f.startNATS(slog.New(slog.DiscardHandler), []int{port})
	require.ErrorContains(t, err, "(--host, --port, --leaf-port)")
}
