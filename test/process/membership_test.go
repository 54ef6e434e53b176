package process

// Members that come, go and are replaced, by the commands an operator gives, on nodes that die without a word.

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var memberTests = flag.Bool("members", false, "run TestMembersChange and TestPlannedMoves, under load")

// command runs a raftbus command that must succeed, and returns what it prints.
func (c *cluster) command(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	require.NoError(c.t, err)
	return out
}

// try runs a raftbus command, and returns what it prints; its diagnosis is in the error.
func (c *cluster) try(args ...string) (string, error) {
	cmd := exec.Command(binary, append(args, "--nats", urls(c.servers), "--no-context")...)
	var diagnosis strings.Builder
	cmd.Stderr = &diagnosis
	began := time.Now()
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("raftbus %s: %w: %s%s", strings.Join(args, " "), err, out, diagnosis.String())
	}
	c.t.Logf("raftbus %s: %s (%v)", strings.Join(args, " "), strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "; "), rounded(time.Since(began)))
	return string(out), nil
}

// join starts a node with an empty folder, which waits to be added.
func (c *cluster) join(id string) {
	c.prepareHost(id)
	c.launch(id, nil, "--join")
	c.nodes[id].logged(c.t, 15*time.Second, "waiting to be added")
}

// wipe kills a node and loses its disk.
func (c *cluster) wipe(id string) {
	c.kill(id)
	require.NoError(c.t, os.RemoveAll(c.dirs[id]))
}

// gone counts a node no more that was removed.
func (c *cluster) gone(id string) {
	c.wipe(id)
	delete(c.nodes, id)
	c.members = slices.DeleteFunc(c.members, func(other string) bool { return other == id })
}

// refusedAs waits until peers refuse a node for a reason, and it knows, and tells the operator what to do (D3, F23).
func (c *cluster) refusedAs(id, reason string) {
	c.nodes[id].logged(c.t, 15*time.Second, "refused", reason, "raftbus member replace "+id)
}

// A cluster on three NATS servers grows from one to three to five nodes and shrinks to three; each node is killed and its
// disk lost once, the leader's too, and replaced by its own id or by another; the leader is removed. No write fails of a client
// that asks again, nothing acknowledged is lost, and the history is linearizable (C1, C2, D3, F23, I11).
func TestMembersChange(t *testing.T) {
	if !*memberTests {
		t.Skip("long: give -members")
	}
	c := started(t, layout{nodes: 1, servers: 3, hosts: *namespaces})
	l := startLoad(c, 4, 20, 5*time.Millisecond)
	l.waitAck(time.Now(), 5*time.Second)
	for _, pair := range [][]string{{"n2", "n3"}, {"n4", "n5"}} {
		l.during("grow", 0, func() { c.grow(pair...) })
	}
	leader := c.leader()
	for _, id := range append([]string{leader}, c.followers(c.random(), leader)...) {
		l.during("replace "+id, worstGap, func() { c.replaceWiped(id) })
	}
	l.during("replace n5 by n6", worstGap, func() {
		c.kill("n5")
		c.join("n6")
		c.command("member", "replace", "n5", "n6")
		c.members = append(c.members, "n6")
		c.gone("n5")
	})
	l.during("remove the leader", time.Second, func() { c.shrink(c.leader()) })
	l.during("remove another", time.Second, func() { c.shrink(c.members[0]) })
	require.Len(t, c.members, 3)
	c.converged(15 * time.Second)
	require.Eventually(t, func() bool { return strings.Contains(c.command("status"), "3 of 3 nodes answer") }, 30*time.Second, 100*time.Millisecond)
	t.Logf("the slowest write of a client that asks again: %v; errors it was told: %v", rounded(l.slowest()), l.errors())
	l.finish()
	c.checkStates()
}

func (c *cluster) grow(ids ...string) {
	for _, id := range ids {
		c.join(id)
	}
	c.command(append([]string{"member", "add"}, ids...)...)
	c.members = append(c.members, ids...)
}

func (c *cluster) shrink(ids ...string) {
	c.command(append([]string{"member", "remove"}, ids...)...)
	for _, id := range ids {
		c.gone(id)
	}
}

// replaceWiped loses a node's disk, and has it come back with an empty one.
func (c *cluster) replaceWiped(id string) {
	c.wipe(id)
	c.join(id)
	c.command("member", "replace", id)
}

// during does something under load, and holds how long no write was acknowledged meanwhile against a bound; 0: none.
func (l *load) during(what string, bound time.Duration, do func()) time.Duration {
	began := time.Now()
	do()
	l.waitAck(time.Now(), worstGap)
	gap := l.longestGap(began, time.Now())
	l.c.t.Logf("%s: %v without an acknowledged write", what, rounded(gap))
	if bound > 0 {
		require.Less(l.c.t, gap, bound, what)
	}
	return gap
}

// Leadership handed over by command, and every node restarted gracefully, the leader too: no request of a client that asks again
// is lost, and the service is hardly away (L2).
func TestPlannedMoves(t *testing.T) {
	if !*memberTests {
		t.Skip("needs a machine that is not busy: give -members")
	}
	c := started(t, layout{nodes: 3, hosts: *namespaces})
	l := startLoad(c, 4, 20, 5*time.Millisecond)
	l.waitAck(time.Now(), 5*time.Second)
	p := startProbe(c.connect(), true, 0)
	var gaps []time.Duration
	for range 5 {
		from := c.leader()
		gaps = append(gaps, l.during("transfer", worstGap, func() { c.command("leader", "transfer") }))
		c.leader(from)
	}
	for range 2 {
		for _, id := range c.members {
			leads := c.leader() == id
			gap := l.during("restart "+titled(id, leads), worstGap, func() { c.restart(id) })
			if leads {
				gaps = append(gaps, gap)
			}
		}
	}
	c.converged(15 * time.Second)
	asked, lost := p.finish()
	t.Logf("without an acknowledged write: median %v, all %v; a client that asks again: %d requests, the slowest took %v",
		rounded(median(gaps)), gaps, asked, rounded(p.slowest))
	require.Zero(t, lost, "a planned move lost a request: %s", p.failure)
	require.Empty(t, l.errors())
	require.Less(t, median(gaps), 200*time.Millisecond)
	l.finish()
	c.checkStates()
}

// restart stops a node as a service manager does, and starts it again.
func (c *cluster) restart(id string) {
	c.nodes[id].stop(c.t, 20*time.Second)
	require.NoError(c.t, c.nodes[id].err, "%s", c.nodes[id].log)
	c.start(id)
	c.caughtUp(id)
}

// A node whose folder was wiped comes back as another instance: refused by all, with the reason and the remedy; it votes for
// nobody (F23, D3, K11). The others serve on. `member replace` makes it a voter again.
func TestWipedNodeIsRefusedThenReplaced(t *testing.T) {
	t.Parallel() // it mostly waits
	c := started(t, layout{nodes: 3})
	l := startLoad(c, 4, 5, 5*time.Millisecond)
	l.waitAck(time.Now(), 5*time.Second)
	c.wipe("n3")
	p := c.start("n3")
	for _, peer := range []string{"n1", "n2"} {
		p.logged(t, 10*time.Second, "refused", peer, "wiped", "raftbus member replace n3")
		c.nodes[peer].logged(t, 10*time.Second, "n3", "wiped", "raftbus member replace n3")
	}
	s := c.status("n3")
	require.Len(t, s.RefusedBy, 2)
	require.Zero(t, s.Term)
	l.waitAck(time.Now(), 5*time.Second)
	l.finish()

	c.kill("n2")
	nc := c.connect()
	require.Never(t, func() bool {
		r, err := request(nc, time.Second, "raftbus.kv.put.app.nobody", "votes", nil)
		return err == nil && r.Error == nil
	}, 4*time.Second, 100*time.Millisecond, "a wiped node helped to make a majority")
	c.start("n2")
	c.leader()

	require.Contains(t, c.command("member", "replace", "n3"), "n3 is a voter")
	c.converged(15 * time.Second)
	c.kill(c.leader())
	require.Eventually(t, func() bool {
		r, err := request(nc, time.Second, "raftbus.kv.put.app.again", "votes", nil)
		return err == nil && r.Error == nil
	}, 10*time.Second, 20*time.Millisecond, "n3 does not count")
	c.startAllMissing()
	c.checkAcked(l.acks())
	c.checkStates()
}

// startAllMissing starts the nodes that do not run.
func (c *cluster) startAllMissing() {
	for _, id := range c.members {
		if c.nodes[id].ended() {
			c.start(id)
		}
	}
}
