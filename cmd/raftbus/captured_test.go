package main

// What commands say where a JetStream of the clients' account keeps what they ask for, and answers so.

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// A stream's word that it keeps a request, or does not, is no answer of raftbus. The outcome of a write is unknown then: a leader may have it too.
func TestAStreamIsNoLeader(t *testing.T) { // C5
	t.Parallel()
	server := natstest.Run(t, embedded.Options{StoreDir: t.TempDir()})
	conn := natstest.Connect(t, server)
	js, err := conn.JetStream()
	require.NoError(t, err)
	_, err = js.AddStream(&nats.StreamConfig{Name: "ALL", Subjects: []string{"raftbus.>"}})
	require.NoError(t, err)
	for code, commands := range map[int][][]string{
		exitTimeout: {
			{"kv", "put", "app", "k", "v"}, {"kv", "create", "app", "k", "v"}, {"kv", "update", "app", "k", "v", "--revision", "77"}, {"kv", "del", "app", "k"},
			{"bucket", "add", "app"}, {"upgrade", "finish"},
		},
		exitError: {
			{"kv", "get", "app", "k"}, {"kv", "get", "app", "k", "--raw"}, {"kv", "get", "app", "k", "--level", "local"}, {"kv", "ls", "app"},
			{"kv", "history", "app", "k"}, {"kv", "watch", "app", "--current"}, {"bucket", "ls"}, {"bucket", "info", "app"}, {"bucket", "rm", "app", "--force"},
			{"member", "list"}, {"member", "remove", "n1"}, {"leader"}, {"leader", "transfer"}, {"health", "--id", "n1"}, {"import", "--from-js", "app", "--finish"},
			{"backup", filepath.Join(t.TempDir(), "state.rbb")},
		},
	} {
		for _, args := range commands {
			text, got := said(append(args, "--nats", server.URL())...)
			require.Equal(t, code, got, "%v: %s", args, text)
			require.Contains(t, text, "what answers is not raftbus, but a JetStream: its stream ALL captures raftbus.", args)
			require.Contains(t, text, "out of that stream's subjects, or check --prefix", args)
			require.Equal(t, code == exitTimeout, strings.Contains(text, "the outcome is unknown"), args)
		}
	}
}

// Who answers `{}` on raftbus's subjects is no leader either: what was not done is not told done.
func TestAStrangerIsNoLeader(t *testing.T) { // C5
	conn := onBus(t)
	_, err := conn.Subscribe("raftbus.>", func(m *nats.Msg) { _ = m.Respond([]byte("{}")) })
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	for code, commands := range map[int][]string{
		exitTimeout: {"kv put app k v", "kv del app k", "bucket add app", "upgrade finish"},
		exitError:   {"kv get app k", "kv get app k --raw", "kv ls app", "kv history app k", "kv watch app --current", "bucket ls", "bucket info app", "member list", "leader"},
	} {
		for _, args := range commands {
			text, got := said(append(strings.Fields(args), "--nats", conn.ConnectedUrl())...)
			require.Equal(t, code, got, "%v: %s", args, text)
			require.Contains(t, text, "what answers is no raftbus leader: check --prefix", args)
			require.Equal(t, code == exitTimeout, strings.Contains(text, "the outcome is unknown"), args)
		}
	}
}
