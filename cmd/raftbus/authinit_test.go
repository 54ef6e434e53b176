package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What no node can serve, or NATS not read, is refused before anything is made for it.
func TestAuthInitRefusesWhatNobodyCanUse(t *testing.T) {
	dir := t.TempDir()
	unusable := []string{
		"--js-domain=a.b", "--js-domain=API", "--republish=up, down", "--republish=a..b", "--republish=>.a", "--listen=4222", "--listen=", "--listen=bus:nats",
		"--listen-leaf=0.0.0.0", "--listen-leaf=0.0.0.0:65536", "--url=nats://bus:nats", "--url=nats://bus:4222,,", "--url=nats://user:secret@",
	}
	for _, flag := range unusable {
		text, code := said("auth", "init", "--dir", filepath.Join(dir, "auth"), "--nodes", "n1", flag)
		require.Equal(t, exitUsage, code, "%s: %s", flag, text)
		require.Contains(t, text, strings.SplitN(flag, "=", 2)[0])
		require.NotContains(t, text, "secret")
	}
	require.Empty(t, namesIn(t, dir))
	text, code := said("auth", "init", "--dir", filepath.Join(dir, "auth"), "--nodes", "n1", "--js-domain=hub", "--republish=up.>,down.*",
		"--listen=:4222", "--listen-leaf=[::]:-1", "--url=bus-1,nats://bus-2:4222, tls://[::1]:4222")
	require.Equal(t, exitOK, code, text)
	conf := filepath.Join(dir, "auth", "nats", "nats.conf")
	made, err := os.ReadFile(conf)
	require.NoError(t, err)
	for _, flag := range unusable {
		text, code := said("auth", "init", "--dir", filepath.Join(dir, "auth"), flag)
		require.Equal(t, exitUsage, code, "%s: %s", flag, text)
		now, err := os.ReadFile(conf)
		require.NoError(t, err)
		require.Equal(t, string(made), string(now), flag)
	}
}

// Whoever removes a node or an account hears which connections go on in spite of that.
func TestAuthInitTellsOfLeafConnectionsThatAreLeft(t *testing.T) {
	for _, c := range []struct {
		jwt  string
		left string // after n2 and team-a are gone
	}{
		{"--jwt=false", "leaf connections of nodes/n2, nodes/n1/tenants/team-a, nodes/n2/tenants/team-a that stand outlive a reload of NATS"},
		{"--jwt", "leaf connections of nodes/n1/tenants/team-a, nodes/n2/tenants/team-a that stand outlive a reload of NATS"},
	} {
		dir := filepath.Join(t.TempDir(), "auth")
		for _, flags := range [][]string{{"--nodes", "n1,n2", "--tenants", "team-a", c.jwt}, {}} {
			text, code := said(append([]string{"auth", "init", "--dir", dir}, flags...)...)
			require.Equal(t, exitOK, code, text)
			require.NotContains(t, text, "leaf connections")
		}
		text, code := said("auth", "init", "--dir", dir, "--remove", "n2,team-a")
		require.Equal(t, exitOK, code, text)
		require.Contains(t, text, c.left)
	}
}
