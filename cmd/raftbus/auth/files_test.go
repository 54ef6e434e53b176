package auth

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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

// Who owns a folder may put a link in the place of a new file as that is made: it is not followed (Q13).
func TestNoLinkIsFollowedIntoANewFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	require.NoError(t, root.WriteFile("other", []byte("theirs"), 0o600))
	var end atomic.Bool
	var planting sync.WaitGroup
	planting.Go(func() {
		for !end.Load() {
			_ = root.Symlink("other", "seed.new") // mostly it is there
		}
	})
	o := Options{syncs: func(*os.File) error { return nil }}
	met := 0
	for tries := 0; tries < 2000 || met == 0 && tries < 50_000; tries++ { // on one processor the two may take turns
		if err := o.create(root, "seed.new", []byte("ours"), 0o600, -1); err != nil {
			require.ErrorIs(t, err, os.ErrExist)
			met++
		}
	}
	end.Store(true)
	planting.Wait()
	content, err := root.ReadFile("other")
	require.NoError(t, err)
	require.Equal(t, "theirs", string(content))
	require.Positive(t, met, "no link was there in time")
}

func namesIn(t *testing.T, dir string) (list []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}
