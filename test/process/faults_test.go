// Package process tests real raftbus processes on a real NATS server: killed, stopped, wiped, cut off. It holds the
// promises that only whole processes can show (C2, F5, F13, F15, F16, F23, L1).
package process

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// kills is how often the leader is killed: more with -kills in longer runs.
var kills = flag.Int("kills", 20, "how often TestLeaderKilled kills the leader")

// traced has the kernel count syncs too.
var traced = flag.Bool("strace", false, "TestGroupCommit runs a node under strace, which must be installed")

func ready(t *testing.T) (*cluster, *nats.Conn) {
	c := newCluster(t, 3)
	c.startAll()
	nc := c.connect()
	c.leader(nc)
	c.addBucket(nc, "app")
	return c, nc
}

// kill -9 of the leader under load: nothing acknowledged is lost, the next write comes soon (L1, F15).
func TestLeaderKilled(t *testing.T) {
	c, nc := ready(t)
	l := startLoad(c, 4, 5)
	var gaps []time.Duration
	for range *kills {
		leader := c.leader(nc)
		l.waitAck(time.Now(), 10*time.Second)
		killed := time.Now()
		c.kill(leader)
		gaps = append(gaps, l.waitAck(killed, 10*time.Second))
		c.start(leader)
		c.caughtUp(nc, leader)
	}
	l.finish(nc)
	t.Logf("time to the next acknowledged write: median %v, all %v", median(gaps), gaps)
	require.Less(t, median(gaps), 500*time.Millisecond)
}

// caughtUp waits until a node has applied what the others had committed when it was asked.
func (c *cluster) caughtUp(nc *nats.Conn, id string) {
	var target uint64
	for other, s := range c.statuses(nc) {
		if other != id {
			target = max(target, s.Commit)
		}
	}
	require.Eventually(c.t, func() bool {
		s, ok := c.statuses(nc)[id]
		return ok && s.Applied >= target && s.Ready
	}, 15*time.Second, 20*time.Millisecond, "%s does not catch up to %d", id, target)
}

// kill -9 of all nodes at once: every acknowledged write is there (C2).
func TestAllKilled(t *testing.T) {
	c, nc := ready(t)
	for range 3 {
		l := startLoad(c, 4, 5)
		l.waitAck(time.Now().Add(500*time.Millisecond), 10*time.Second)
		var group sync.WaitGroup
		for _, id := range c.members {
			group.Go(func() { c.kill(id) })
		}
		group.Wait()
		acked := l.acks()
		c.startAll()
		c.leader(nc)
		checkAcked(t, nc, acked)
		l.finish(nc)
	}
}

// NATS restarted under a running cluster: writes are back within 3 s, terms rise by 2 at most (F5, L6).
func TestNATSRestarted(t *testing.T) {
	c, nc := ready(t)
	l := startLoad(c, 2, 5)
	for _, down := range []time.Duration{300 * time.Millisecond, 3 * time.Second} {
		l.waitAck(time.Now(), 5*time.Second)
		before := maxTerm(c, nc)
		c.nats.Shutdown()
		time.Sleep(down) // the time it is away is what is tested
		c.startNATS(c.port)
		gap := l.waitAck(time.Now(), 10*time.Second)
		c.leader(nc)
		after := maxTerm(c, nc)
		t.Logf("NATS away for %v: writes back after %v, term %d -> %d", down, gap, before, after)
		require.Less(t, gap, 3*time.Second)
		require.LessOrEqual(t, after, before+2)
	}
	l.finish(nc)
}

func maxTerm(c *cluster, nc *nats.Conn) uint64 {
	var term uint64
	for _, s := range c.statuses(nc) {
		term = max(term, s.Term)
	}
	return term
}

// SIGSTOP of the leader for 10 s: another leads within 3 s, no request is lost from then on, the old one serves nothing
// stale when it comes back (F16, C3).
func TestLeaderPaused(t *testing.T) {
	c, nc := ready(t)
	l := startLoad(c, 4, 3)
	leader := c.leader(nc)
	l.waitAck(time.Now(), 5*time.Second)
	paused := time.Now()
	c.signal(leader, syscall.SIGSTOP)
	gap := l.waitAck(paused.Add(100*time.Millisecond), 5*time.Second)
	require.Less(t, gap, 3*time.Second)
	probe := startProbe(c.connect()) // from now on every request is answered
	time.Sleep(time.Until(paused.Add(10 * time.Second)))
	c.signal(leader, syscall.SIGCONT)
	resumed := time.Now()
	c.caughtUp(nc, leader)
	l.waitAck(resumed.Add(2*time.Second), 5*time.Second)
	asked, lost := probe.finish()
	t.Logf("next write %v after the pause began; then %d requests, %d lost", gap, asked, lost)
	require.Positive(t, asked)
	require.Zero(t, lost, "requests got no answer although another node led")
	l.finish(nc)
}

// First boot with a member missing: the others say whom they wait for and vote for nobody. A start of the third ends it.
func TestFirstBootWaitsForAll(t *testing.T) {
	c := newCluster(t, 3)
	c.start("n1")
	c.start("n2")
	nc := c.connect()
	for _, id := range []string{"n1", "n2"} {
		c.nodes[id].logged(t, 5*time.Second, "waiting", "\"n3\"")
	}
	_, err := request(nc, time.Second, "raftbus.kv.get.app.x", "", nil)
	require.ErrorIs(t, err, nats.ErrNoResponders)
	for id, s := range c.statuses(nc) {
		require.Equal(t, []string{"n3"}, s.WaitingFor, id)
		require.Zero(t, s.Term, id)
	}
	c.start("n3")
	c.leader(nc)
}

// A node whose folder was wiped comes back as another instance: refused, with the reason, by all; it votes for nobody
// (F23, D3, K11). The others serve on.
func TestWipedNodeIsRefused(t *testing.T) {
	c, nc := ready(t)
	c.kill("n3")
	require.NoError(t, os.RemoveAll(c.dirs["n3"]))
	p := c.start("n3")
	for _, peer := range []string{"n1", "n2"} {
		p.logged(t, 10*time.Second, "refused", peer, "wiped")
		c.nodes[peer].logged(t, 10*time.Second, "n3", "wiped")
	}
	s := c.statuses(nc)["n3"]
	require.Len(t, s.RefusedBy, 2)
	require.Zero(t, s.Term)
	require.Eventually(t, func() bool {
		r, err := request(nc, time.Second, "raftbus.kv.put.app.still", "served", nil)
		return err == nil && r.Error == nil
	}, 5*time.Second, 20*time.Millisecond)
	c.kill("n2")
	require.Never(t, func() bool {
		r, err := request(nc, time.Second, "raftbus.kv.put.app.nobody", "votes", nil)
		return err == nil && r.Error == nil
	}, 4*time.Second, 100*time.Millisecond, "a wiped node helped to make a majority")
}

// A second process with the same id, or the same folder, is refused with the reason (F13).
func TestSecondProcessIsRefused(t *testing.T) {
	c, nc := ready(t)
	first := c.nodes["n1"]
	p := c.start("n1")
	<-p.done
	require.Error(t, p.err)
	require.Contains(t, p.log.String(), "in use")

	c.dirs["n1"] = filepath.Join(t.TempDir(), "other")
	p = c.start("n1")
	<-p.done
	require.Error(t, p.err)
	require.Contains(t, p.log.String(), "another process")
	c.nodes["n1"] = first
	c.leader(nc)
}

// Many entries share a sync under concurrent writers (group commit). The node counts its syncs; with -strace the kernel
// counts them too.
func TestGroupCommit(t *testing.T) {
	c := newCluster(t, 3)
	report := filepath.Join(t.TempDir(), "strace")
	if *traced {
		c.start("n1", "strace", "-f", "-c", "-e", "trace=fdatasync,fsync", "-o", report)
	} else {
		c.start("n1")
	}
	c.start("n2")
	c.start("n3")
	nc := c.connect()
	c.leader(nc)
	c.addBucket(nc, "app")
	const writers, each = 64, 50
	writeTogether(c, writers, each)
	c.caughtUp(nc, "n1")
	disk := c.statuses(nc)["n1"].Disk
	t.Logf("%d entries, %d syncs on one node", disk.Entries, disk.Syncs)
	require.GreaterOrEqual(t, disk.Entries, uint64(writers*each))
	require.Greater(t, disk.Syncs, uint64(10), "a node that never syncs")
	require.Less(t, disk.Syncs, uint64(writers*each/4), "entries do not share syncs")
	if *traced {
		stopTraced(t, c.nodes["n1"])
		raw, err := os.ReadFile(report)
		require.NoError(t, err)
		syncs := countCalls(t, string(raw))
		t.Logf("%d syncs by the kernel's count", syncs)
		require.GreaterOrEqual(t, syncs, int(disk.Syncs), "the node counts syncs that the kernel never saw")
		require.Less(t, syncs, writers*each/4)
	}
}

// writeTogether has writers put their own key so many times each, at the same time.
func writeTogether(c *cluster, writers, each int) {
	var group sync.WaitGroup
	for w := range writers {
		client := c.connect()
		group.Go(func() {
			for i := 0; i < each; {
				if r, err := request(client, time.Second, "raftbus.kv.put.app.g"+strconv.Itoa(w), strconv.Itoa(i), nil); err == nil && r.Error == nil {
					i++
				}
			}
		})
	}
	group.Wait()
}

// stopTraced asks a process under strace to stop: the signal is for the child of strace.
func stopTraced(t *testing.T, p *process) {
	out, err := exec.Command("pgrep", "-P", strconv.Itoa(p.cmd.Process.Pid)).Output()
	require.NoError(t, err)
	child, err := strconv.Atoi(regexp.MustCompile(`\d+`).FindString(string(out)))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(child, syscall.SIGTERM))
	<-p.done
}

// countCalls sums the calls column of `strace -c`.
func countCalls(t *testing.T, report string) int {
	total := 0
	for _, m := range regexp.MustCompile(`(?m)^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(?:fsync|fdatasync)$`).FindAllStringSubmatch(report, -1) {
		n, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		total += n
	}
	require.Positive(t, total, report)
	return total
}
