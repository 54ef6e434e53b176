package process

// A cluster is rolled from the last release to the build under test, and back, under load (F28).

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

var (
	rolls = flag.Bool("upgrade", false, "run TestRollingUpgrade: needs git, and the history back to the last release")
	from  = flag.String("from", "", "what TestRollingUpgrade upgrades from: a tag or commit; empty: that of testdata/last-release")
)

// Each node in turn is stopped as a service manager does, and started with the other build: to the new one, back, and there again. No
// write fails of a client that asks again, every history is linearizable, nothing acknowledged is lost, and the states are equal in the
// end. What the older build does not know is refused, whoever of the clients asks for it, until an administrator finishes the upgrade, which is
// refused while a node of the older build is a member; then there is no way back, and the older build says so instead of doing something else
// than the others.
func TestRollingUpgrade(t *testing.T) {
	if !*rolls {
		t.Skip("builds another revision: give -upgrade")
	}
	older := buildOf(t, lastRelease(t))
	c := newCluster(t, layout{nodes: 3})
	c.runs(older, c.members...)
	c.startAll()
	c.leader()
	c.addBucket("app")
	l := startLoad(c, 4, 20, 5*time.Millisecond)
	l.waitAck(time.Now(), 5*time.Second)
	p := startProbe(c.connect(), true, 0)
	for _, build := range []string{binary, older, binary} {
		for i, id := range c.members {
			c.runs(build, id)
			l.during("restart "+titled(id, c.leader() == id), worstGap, func() { c.restart(id) })
			if build == binary {
				c.refusesFreezing(id)
			}
			if build == binary && i < len(c.members)-1 {
				c.refusesToFinish()
			}
		}
	}
	c.converged(15 * time.Second)
	asked, lost := p.finish()
	t.Logf("a client that asks again: %d requests, the slowest took %v", asked, rounded(p.slowest))
	require.Zero(t, lost, "a request was lost: %s", p.failure)
	require.Empty(t, l.errors())
	l.finish()
	c.freezes()
	c.noWayBack(older)
	c.checkStates()
}

// refusesFreezing asks a leader of the new build for what is new in it, before the upgrade is finished: that opens nothing, also when no node
// of the older build is left.
func (c *cluster) refusesFreezing(leader string) {
	if c.leader() != leader {
		c.command("leader", "transfer", "--to", leader)
		require.Eventually(c.t, func() bool { return c.leader() == leader }, 5*time.Second, 20*time.Millisecond)
	}
	nc := c.connect()
	defer nc.Close()
	r := c.askFreeze(nc)
	require.NotNil(c.t, r.Error, "opened by a client")
	require.Contains(c.t, r.Error.Text, "raftbus upgrade finish", "%+v", r.Error)
}

// refusesToFinish has an administrator try to finish an upgrade while a node of the older build is a member.
func (c *cluster) refusesToFinish() {
	_, err := c.try("upgrade", "finish")
	require.ErrorContains(c.t, err, "not known by all: ")
	require.ErrorContains(c.t, err, "member n")
}

// freezes finishes the upgrade, and uses what is new: the bucket is then read-only everywhere.
func (c *cluster) freezes() {
	c.command("upgrade", "finish")
	nc := c.connect()
	defer nc.Close()
	require.Nil(c.t, c.askFreeze(nc).Error)
	r, err := requestSurely(nc, 10*time.Second, "raftbus.kv.put.app.frozen", "x")
	require.NoError(c.t, err)
	require.NotNil(c.t, r.Error)
	require.Contains(c.t, r.Error.Text, "read-only")
}

func (c *cluster) askFreeze(nc *nats.Conn) reply {
	r, err := requestSurely(nc, 10*time.Second, "raftbus.bucket.update.app", `{"read_only":true}`)
	require.NoError(c.t, err)
	return r
}

// noWayBack starts a follower by the older build, which must end and say what to do, and then by this one again.
func (c *cluster) noWayBack(older string) {
	c.converged(15 * time.Second)
	id := c.followers(c.random(), c.leader())[0]
	c.nodes[id].stop(c.t, 20*time.Second)
	c.runs(older, id)
	p := c.start(id)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		require.Fail(c.t, "the older build runs on data that it does not know", "%s", p.log)
	}
	require.Positive(c.t, p.said("run the version that wrote it, or a later one"), "%s", p.log)
	c.runs(binary, id)
	c.start(id)
	c.converged(15 * time.Second)
}

// runs says by which build nodes are started from now on.
func (c *cluster) runs(build string, ids ...string) {
	for _, id := range ids {
		c.builds[id] = build
	}
}

// lastRelease is the revision to upgrade from. Without the history that has it nothing would be tested, which is no pass.
func lastRelease(t *testing.T) string {
	revision := *from
	if revision == "" {
		file, err := os.ReadFile("testdata/last-release")
		require.NoError(t, err)
		revision = strings.TrimSpace(string(file))
	}
	out, err := exec.Command("git", "rev-parse", "--verify", "--quiet", revision+"^{commit}").Output()
	require.NoError(t, err, "NOT RUN: revision %s is not in this clone: git fetch --unshallow, or name another by -from", revision)
	return strings.TrimSpace(string(out))
}

// buildOf builds a revision of this repository.
func buildOf(t *testing.T, revision string) string {
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	require.NoError(t, err)
	dir := t.TempDir()
	unpack := exec.Command("sh", "-c", `git -C "$1" archive "$2" | tar -x -C "$3"`, "sh", strings.TrimSpace(string(root)), revision, dir)
	out, err := unpack.CombinedOutput()
	require.NoError(t, err, "%s", out)
	built := filepath.Join(dir, "raftbus-"+revision[:12])
	build := exec.Command("go", "build", "-o", built, "./cmd/raftbus")
	build.Dir = dir
	out, err = build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return built
}
