package main

// What commands say whose credentials are revoked while they go on.

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/cmd/raftbus/backup"
)

const (
	usersWithGuest    = "authorization { users = [{user: node, password: x}, {user: guest, password: y}] }"
	usersWithoutGuest = "authorization { users = [{user: node, password: x}] }"
)

// revoking is a NATS server that knows its guest no more once what is asked there is answered, each as here.
func revoking(t *testing.T, answers map[string]string) (url string) {
	file := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(file, []byte(usersWithGuest), 0o600))
	server := natstest.Run(t, embedded.Options{ConfigFile: file, Host: "127.0.0.1", Port: embedded.Random})
	node := natstest.Connect(t, server, nats.UserInfo("node", "x"))
	for subject, answer := range answers {
		_, err := node.Subscribe(subject, func(m *nats.Msg) {
			if answer != "" {
				_ = m.Respond([]byte(answer))
				_ = node.Flush()
			}
			if os.WriteFile(file, []byte(usersWithoutGuest), 0o600) == nil {
				_ = server.Reload()
			}
		})
		require.NoError(t, err)
	}
	require.NoError(t, node.Flush())
	return server.URL()
}

// NATS is there, and lets the user in no more: neither is waited for what will not come, nor is NATS said to be lost.
func TestCredentialsAreRevokedWhileACommandGoesOn(t *testing.T) {
	for _, args := range [][]string{
		{"kv", "watch", "app"},
		{"top"},
		{"backup", filepath.Join(t.TempDir(), "state.rbb"), "--local", "--from", "n1"},
	} {
		t.Run(strings.Join(args[:1], " "), func(t *testing.T) {
			url := revoking(t, map[string]string{
				"raftbus.kv.watch.app":                                `{"watch":"w1","pending":1}`,
				busclient.StatsSubject("raftbus", busclient.AllNodes): `{"node":"n1"}`,
				backup.Subject("raftbus", "n1"):                       `{"backup":"b1","ahead":1}`,
			})
			began := time.Now()
			text, code := said(append(args, "--nats", url, "--user", "guest", "--password", "y")...)
			require.Equal(t, exitError, code, text)
			require.Contains(t, text, "error: NATS at "+url+" refuses these credentials")
			require.Less(t, time.Since(began), 5*time.Second, "a watch is begun anew, and a backup given up, later")
		})
	}
}

// A write that was sent may have been done, whatever became of the connection.
func TestCredentialsAreRevokedBeforeAWriteIsAnswered(t *testing.T) {
	url := revoking(t, map[string]string{"raftbus.kv.put.app.color": ""})
	text, code := said("kv", "put", "app", "color", "blue", "--nats", url, "--user", "guest", "--password", "y")
	require.Equal(t, exitTimeout, code, text)
	require.Contains(t, text, "the outcome is unknown")
}
