package integration

import (
	"flag"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/leaktest"
	"github.com/raftbus/raftbus/test/built"
	"github.com/raftbus/raftbus/test/cluster"
)

// binary is the raftbus command, built once by TestMain: what an operator gives is given by it.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "raftbus-integration")
	if err != nil {
		panic(err)
	}
	if binary, err = built.Raftbus(dir, "-ldflags=-s"); err != nil {
		panic(err)
	}
	_ = flag.Set("test.parallel", "4") // those that may run together mostly wait; -parallel says otherwise
	code := leaktest.Run(m)
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// raftbus runs a command that must succeed, and returns what it prints.
func raftbus(t *testing.T, c *cluster.Cluster, args ...string) string {
	t.Helper()
	built.Seen(t)
	cmd := exec.Command(binary, append(args, "--nats", c.NATS.URL(), "--no-context")...)
	var diagnosis strings.Builder
	cmd.Stderr = &diagnosis
	out, err := cmd.Output()
	require.NoError(t, err, "raftbus %s: %s%s", strings.Join(args, " "), out, diagnosis.String())
	t.Logf("raftbus %s: %s", strings.Join(args, " "), strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "; "))
	return string(out)
}

// A cluster under load grows from one to three to five nodes and shrinks to three, each node is replaced once, by its own id or
// another, and the leader is removed: all by commands. No write of a client that retries fails, none is lost, and the
// history is linearizable (C1, C2, I11).
func TestMembersChangeUnderLoad(t *testing.T) {
	t.Parallel() // it mostly waits
	c, nc := serving(t, 1)
	l := startLoad(c, t, 4, 4)

	for _, pair := range [][]string{{"n2", "n3"}, {"n4", "n5"}} {
		c.Join(pair[0])
		c.Join(pair[1])
		raftbus(t, c, "member", "add", pair[0], pair[1])
	}
	for _, id := range []string{"n1", "n2", "n3", "n4"} {
		c.Stop(id) // which hands over if it leads
		c.Wipe(id)
		c.StartJoining(id)
		raftbus(t, c, "member", "replace", id)
	}
	c.Join("n6")
	raftbus(t, c, "member", "replace", "n5", "n6")
	c.Gone("n5")

	leader := c.Leader()
	raftbus(t, c, "member", "remove", leader)
	c.Gone(leader)
	c.Leader()
	last := c.Members[0]
	require.Contains(t, raftbus(t, c, "member", "remove", last), "voters: "+strings.Join(c.Members[1:], ", "))
	c.Gone(last)
	require.Len(t, c.Members, 3)

	c.Leader()
	for _, id := range c.Members {
		c.Applied(id)
	}
	l.finish(c, nc)
	require.Eventually(t, func() bool { return strings.Contains(raftbus(t, c, "status"), "3 of 3 nodes answer") }, 30*time.Second, 100*time.Millisecond)
}

// A member that is removed while it is away learns it from its peers when it is back, not from its log, and so asks for votes still. It
// says that it is removed all the same, whenever it is asked.
func TestRemovedWhileAwayIsRemovedForGood(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	leader := c.Leader()
	away := slices.DeleteFunc(slices.Clone(c.Members), func(id string) bool { return id == leader })[0]
	c.Wires[away].Cut()
	raftbus(t, c, "member", "remove", away)
	c.Wires[away].Heal()
	role := func() string { return c.Nodes[away].Status().Role }
	require.Eventually(t, func() bool { return role() == "removed" }, 10*time.Second, 5*time.Millisecond, "%s never learns it", away)
	// Longer than an election timeout may be: it has tried by then.
	require.Never(t, func() bool { return role() != "removed" }, 2500*time.Millisecond, 5*time.Millisecond, "%s says something else now", away)
	c.Gone(away)
}
