package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

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
