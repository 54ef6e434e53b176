package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What no node can serve, or NATS not read, is refused before anything is made for it.
func TestAuthInitRefusesWhatNobodyCanUse(t *testing.T) {
	dir := t.TempDir()
	for _, flag := range []string{"--js-domain=a.b", "--js-domain=API", "--republish=up, down", "--republish=a..b", "--republish=>.a"} {
		text, code := said("auth", "init", "--dir", filepath.Join(dir, "auth"), "--nodes", "n1", flag)
		require.Equal(t, exitUsage, code, "%s: %s", flag, text)
		require.Contains(t, text, strings.SplitN(flag, "=", 2)[0])
	}
	require.Empty(t, namesIn(t, dir))
	text, code := said("auth", "init", "--dir", filepath.Join(dir, "auth"), "--nodes", "n1", "--js-domain=hub", "--republish=up.>,down.*")
	require.Equal(t, exitOK, code, text)
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
