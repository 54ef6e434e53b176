package main

// What commands say that lose NATS once they have it: exit code 5, and neither that a node is overloaded nor that none is there.

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/cmd/raftbus/backup"
	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/cmd/raftbus/top"
)

// shaky is a NATS server that goes during a test, and a client that speaks in the place of nodes.
type shaky struct {
	server *embedded.Server
	nc     *nats.Conn
}

func newShaky(t *testing.T) shaky {
	server := natstest.Run(t, embedded.Options{})
	nc := natstest.Connect(t, server)
	return shaky{server, nc}
}

// The connection of some commands is closed then, and that of others is made anew: an answer that is awaited comes in neither case.
func TestNATSIsLostWhileAnAnswerIsAwaited(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, args := range [][]string{
		{"health", "--id", "n9"},
		{"backup", filepath.Join(t.TempDir(), "state.rbb"), "--local", "--from", "n9", "--patience", "2s"},
		{"kv", "get", "app", "color", "--timeout", "2s"},
	} {
		p := newShaky(t)
		for _, subject := range []string{busclient.StatusSubject("raftbus", "n9"), backup.Subject("raftbus", "n9"), "raftbus.kv.get.app.color"} {
			_, err := p.nc.Subscribe(subject, func(*nats.Msg) { p.server.Shutdown() })
			require.NoError(t, err)
		}
		require.NoError(t, p.nc.Flush())
		requireLost(t, p.server.URL(), args...)
	}
}

func requireLost(t *testing.T, url string, args ...string) {
	t.Helper()
	text, code := said(append(args, "--nats", url)...)
	require.Equal(t, exitUnavailable, code, "%v: %s", args, text)
	require.Contains(t, text, "the connection to NATS was lost", args)
}

// Chunks are asked for without waiting for each: that NATS is gone is a silence too.
func TestNATSIsLostWhileABackupComes(t *testing.T) {
	t.Parallel() // it mostly waits
	p := newShaky(t)
	_, err := p.nc.Subscribe(backup.Subject("raftbus", "n1"), func(m *nats.Msg) {
		if string(m.Data) == `{}` {
			_ = m.Respond([]byte(`{"backup":"b1","ahead":1}`))
			return
		}
		p.server.Shutdown()
	})
	require.NoError(t, err)
	require.NoError(t, p.nc.Flush())
	requireLost(t, p.server.URL(), "backup", filepath.Join(t.TempDir(), "state.rbb"), "--local", "--from", "n1", "--patience", "2s")
}

// That nothing could be sent says nothing of the node.
func TestABackupThatCannotBeAskedFor(t *testing.T) {
	p := newShaky(t)
	for err, says := range map[error]string{
		nats.ErrNoResponders: "the node is not on the bus",
		nats.ErrDisconnected: "the connection to NATS was lost",
		fmt.Errorf("%w: %w", native.ErrNoLeader, nats.ErrReconnectBufExceeded): "the connection to NATS was lost",
		fmt.Errorf("%w: %w", native.ErrNoLeader, context.DeadlineExceeded):     "the connection to NATS was lost",
	} {
		err = backupFailure(p.nc, err)
		require.Equal(t, exitUnavailable, exitCode(err))
		require.ErrorContains(t, err, says)
	}
}

// Neither look of top --once takes a NATS that is gone for nodes that are.
func TestTopLosesNATS(t *testing.T) {
	server := natstest.Run(t, embedded.Options{})
	connect := func() *nats.Conn {
		return natstest.Connect(t, server)
	}
	node, asks := connect(), connect()
	subject, asked := busclient.StatsSubject("raftbus", busclient.AllNodes), 0
	_, err := node.Subscribe(subject, func(m *nats.Msg) {
		if asked++; asked == 2 {
			asks.Close()
		}
		_ = m.Respond([]byte(`{"node":"n1"}`))
	})
	require.NoError(t, err)
	require.NoError(t, node.Flush())
	w := &topWatch{conn: asks, subject: subject, interval: time.Millisecond}
	var seen []top.View
	for range 2 { // with a connection that goes for the second look, and one that is gone
		err = w.once(t.Context(), func(v top.View) error { seen = append(seen, v); return nil })
		require.Equal(t, exitUnavailable, exitCode(err), err)
		require.ErrorContains(t, err, "the connection to NATS was lost")
	}
	require.Len(t, seen, 1)
	require.Contains(t, seen[0].Trouble, "NATS cannot be asked")
}
