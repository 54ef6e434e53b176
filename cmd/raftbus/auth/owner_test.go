package auth_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/auth"
)

// Whatever init given again came to, nodes that are started anew can read their folders.
func TestABrokenOffInitLocksNoNodeOut(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	const owner = 65532
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			t.Parallel()
			o := options(t, layout.change)
			o.Owner = owner
			require.NoError(t, auth.Init(&o))
			requireOwner(t, filepath.Join(o.Dir, "nodes"), owner)
			requireOwner(t, filepath.Join(o.Dir, "users"), owner)
			requireOwner(t, filepath.Join(o.Dir, "settings.json"), 0)
			require.NoError(t, os.WriteFile(filepath.Join(o.Dir, "users", "admin.json"), []byte("{"), 0o600))
			if !o.OneAccount {
				o.Tenants = append(o.Tenants, "team-c")
			}
			require.ErrorContains(t, auth.Init(&o), "admin.json")
			requireOwner(t, filepath.Join(o.Dir, "nodes"), owner)
		})
	}
}

// A node that runs as another user than whoever made its folder is told what to do about it.
func TestAFolderThatTheNodeMayNotReadIsSaid(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	o := options(t, layouts[0].change)
	require.NoError(t, auth.Init(&o))
	folder := filepath.Join(o.Dir, "nodes", "n1")
	require.NoError(t, os.Chmod(folder, 0))
	defer os.Chmod(folder, 0o700)
	_, err := auth.Open(folder)
	require.ErrorContains(t, err, "let the node's user read them")
}

// requireOwner wants a file, or all that is in a folder, to be somebody's.
func requireOwner(t *testing.T, dir string, owner int) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(file string, _ os.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := os.Lstat(file)
		require.NoError(t, err)
		require.EqualValues(t, owner, info.Sys().(*syscall.Stat_t).Uid, file)
		return nil
	}))
}
