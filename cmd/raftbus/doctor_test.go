package main

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// A NATS server that goes while the doctor asks is what the doctor finds, in JSON too.
func TestTheDoctorFindsThatNATSGoes(t *testing.T) {
	server := natstest.Run(t, embedded.Options{})
	conn := natstest.Connect(t, server, nats.NoReconnect())
	_, err := conn.Subscribe(busclient.StatusSubject("raftbus", busclient.AllNodes), func(*nats.Msg) { server.Shutdown() })
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	text, code := said("doctor", "--json", "--nats", server.URL())
	require.Equal(t, exitUnavailable, code, text)
	require.Contains(t, text, `"code":"nats-unreachable"`)
	require.Contains(t, text, "was lost while the nodes were asked")
}
