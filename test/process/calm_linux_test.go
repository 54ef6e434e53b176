package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A node's process begins anew at its start, for the sake of the Go runtime's monitor (cmd/raftbus/monitor.go): who started it notices
// nothing, and what he has set himself is left to him.
func TestNodesBeginCalm(t *testing.T) {
	t.Setenv("GODEBUG", "")
	c := newCluster(t, layout{nodes: 1})
	c.startAll()
	c.leader()
	p := c.nodes["n1"]
	require.Contains(t, ofProcess(t, p, "environ"), "GODEBUG=schedtrace=2147483647")
	require.Equal(t, p.cmd.Args, ofProcess(t, p, "cmdline"), "another command line")
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.cmd.Process.Pid))
	require.NoError(t, err)
	require.Equal(t, p.cmd.Path, path)
	p.stop(t, 20*time.Second)
	require.NoError(t, p.err)

	t.Setenv("GODEBUG", "schedtrace=0")
	c.startAll()
	c.leader()
	require.Contains(t, ofProcess(t, c.nodes["n1"], "environ"), "GODEBUG=schedtrace=0")
}

// A program that was replaced or removed while it started cannot begin anew: it runs as it is.
func TestNodesThatCannotBeginAnewRun(t *testing.T) {
	t.Setenv("GODEBUG", "")
	gone := openGone(t, binary)
	c := newCluster(t, layout{nodes: 1})
	c.builds["n1"] = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), gone.Fd())
	c.startAll()
	c.leader()
	require.Contains(t, ofProcess(t, c.nodes["n1"], "environ"), "GODEBUG=", "it began anew")
	c.addBucket("app")
}

// openGone opens a copy of a program that is in no folder any more.
func openGone(t *testing.T, path string) *os.File {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "raftbus")
	require.NoError(t, os.WriteFile(name, data, 0o700))
	f, err := os.Open(name)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	require.NoError(t, os.Remove(name))
	return f
}

// ofProcess reads a list that the kernel keeps of a process.
func ofProcess(t *testing.T, p *program, what string) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, what))
	require.NoError(t, err)
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}
