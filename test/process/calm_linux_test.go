package process

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A node's process begins anew at its start, for the sake of the Go runtime's monitor (cmd/raftbus/monitor.go): who started it notices
// nothing, and what he has set himself is left to him.
func TestNodesBeginCalm(t *testing.T) {
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

// ofProcess reads a list that the kernel keeps of a process.
func ofProcess(t *testing.T, p *program, what string) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, what))
	require.NoError(t, err)
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}
