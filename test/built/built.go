// Package built makes the raftbus command for tests that run it. Go keeps the result of a test for as long as what it is made of and the files that
// it reads stay the same, and a command that a test has built is neither: so its source is read.
package built

import (
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Raftbus builds the command into a folder, and returns its path.
func Raftbus(dir string, flags ...string) (string, error) {
	path := filepath.Join(dir, "raftbus")
	args := append([]string{"build", "-o", path}, flags...)
	if out, err := exec.Command("go", append(args, "github.com/raftbus/raftbus/cmd/raftbus")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// root is the module's, from the folder of a package in test.
const root = "../.."

// Seen has a test's result last until the command's source changes, or what else a program reads that the test runs: of a folder that is read Go
// looks at the times of its files. Only what a test reads counts, not what TestMain does.
func Seen(t testing.TB, more ...string) {
	t.Helper()
	for _, path := range append(more, "go.mod", "go.sum", "raft", "busclient", "kv", "cmd") {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, path), func(_ string, _ fs.DirEntry, err error) error { return err }))
	}
}
