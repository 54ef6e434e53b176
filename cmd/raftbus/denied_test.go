package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// What NATS refuses is neither an overload nor a leader that is away: who asks is told at once, and what helps.
func TestWhatNATSRefusesIsSaidSo(t *testing.T) {
	server := natstest.Run(t, embedded.Options{StoreDir: t.TempDir(), Users: []embedded.User{
		{Name: "mute", Password: "secret", Publish: []string{"other.>"}},
		{Name: "half", Password: "secret", Publish: []string{"$JS.API.>"}},
		{Name: "deaf", Password: "secret", Subscribe: []string{"_INBOX_deaf.>"}},
	}})
	file := filepath.Join(t.TempDir(), "state.rbb")
	for _, c := range []struct {
		user, says string
		args       []string
	}{
		{"mute", `Publish to "raftbus.node.n1.status"`, []string{"health", "--id", "n1"}},
		{"deaf", "give the --inbox-prefix of this user", []string{"health", "--id", "n1"}},
		{"mute", `Publish to "$JS.API.STREAM.INFO.KV_app"`, []string{"import", "--from-js", "app"}},
		{"half", `Publish to "raftbus.bucket.info.app"`, []string{"import", "--from-js", "app", "--finish"}},
		{"deaf", "give the --inbox-prefix of this user", []string{"import", "--from-js", "app", "--finish"}},
		{"deaf", "give the --inbox-prefix of this user", []string{"top", "--once"}},
		{"mute", `Publish to "raftbus.node.n1.backup"`, []string{"backup", file, "--local", "--from", "n1"}},
		{"deaf", "give the --inbox-prefix of this user", []string{"backup", file, "--local", "--from", "n1"}},
	} {
		text, code := said(append(c.args, "--nats", server.URL(), "--user", c.user, "--password", "secret")...)
		require.Equal(t, exitError, code, "%v: %s", c.args, text)
		require.Contains(t, text, c.says)
		require.Contains(t, text, "nothing was done")
	}
	require.NoFileExists(t, file)
}

// It is said once, and by the command: nats.go prints each refusal by itself if it is let.
func TestWhatNATSRefusesIsSaidOnce(t *testing.T) {
	t.Parallel() // it mostly waits
	url, _ := guarded(t, "other.>", "_INBOX_guest.>")
	for _, args := range [][]string{{"doctor"}, {"top", "--once"}, {"health", "--id", "n1"}, {"kv", "ls", "app"}} {
		cmd := exec.Command("raftbus", append(args, "--nats", url, "--user", "guest", "--password", "guest")...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		require.Error(t, cmd.Run())
		require.Regexp(t, `^raftbus: error: [^\n]+\n$`, stderr.String(), args)
	}
}
