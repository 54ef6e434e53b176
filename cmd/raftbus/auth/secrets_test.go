package auth_test

// Who may read what was made.

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/auth"
)

// Q13: what is secret can be read by nobody else, no two of those that connect have one in common, and the server's configuration holds nothing
// that is.
func TestSecretsAreKept(t *testing.T) {
	t.Parallel()
	for _, layout := range layouts {
		o := options(t, layout.change)
		require.NoError(t, auth.Init(&o))
		requireClosedFolders(t, o.Dir)
		whose := map[string]string{}
		for name, content := range files(t, o.Dir) {
			if seed := regexp.MustCompile(`\bS[UAO][A-Z2-7]{50,}`).FindString(content); seed != "" {
				require.Empty(t, whose[seed], name)
				whose[seed] = name
			}
			info, err := os.Stat(filepath.Join(o.Dir, name))
			require.NoError(t, err)
			if strings.HasPrefix(name, "nats/") {
				require.NotRegexp(t, `\bS[UAO][A-Z2-7]{50}`, content, "a seed")
				if others := info.Mode().Perm()&0o004 != 0; others && strings.Contains(content, "password") {
					require.Contains(t, content, "chmod 0600 server.conf", "where a password is to be, who may read it is said")
				}
				continue
			}
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
		}
	}
}

// requireClosedFolders: nobody else looks into any folder but that of the NATS server, which is a user of its own.
func requireClosedFolders(t testing.TB, dir string) {
	folders, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	nested, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	require.NoError(t, err)
	for _, folder := range append(folders, nested...) {
		info, err := os.Stat(folder)
		require.NoError(t, err)
		if info.IsDir() && filepath.Base(folder) != "nats" {
			require.Equal(t, os.FileMode(0o700), info.Mode().Perm(), folder)
		}
	}
}
