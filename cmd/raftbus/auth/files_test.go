package auth

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// K54: when Init returns, all that it made is there after a power loss too: each file before it had its name, and each name in the end.
func TestWhatInitMakesIsDurable(t *testing.T) {
	t.Parallel()
	contents, names := map[string]bool{}, map[string][]string{}
	o := Options{
		Dir: t.TempDir(), Nodes: []string{"n1"}, Prefix: "raftbus", Tenants: []string{"team"}, Owner: -1,
		Listen: "127.0.0.1:4222", ListenLeaf: "127.0.0.1:7422", URL: "nats://127.0.0.1:4222",
		syncs: func(file *os.File) error {
			info, err := os.Stat(file.Name()) // by the name that it has then
			require.NoError(t, err)
			if info.IsDir() {
				names[filepath.Clean(file.Name())] = namesIn(t, file.Name())
			} else {
				contents[strings.TrimSuffix(file.Name(), ".new")] = true
			}
			return file.Sync()
		},
	}
	require.NoError(t, Init(&o))
	made := 0
	require.NoError(t, filepath.WalkDir(o.Dir, func(name string, e fs.DirEntry, err error) error {
		require.NoError(t, err)
		if made++; e.IsDir() {
			require.Equal(t, namesIn(t, name), names[name], name)
		} else {
			require.True(t, contents[name], name)
		}
		return nil
	}))
	require.Greater(t, made, 10)
}

func namesIn(t *testing.T, dir string) (list []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}
