package process

// Faults of whole processes, on the loopback: no privileges needed.

import (
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

// kill -9 of the leader under load: nothing acknowledged is lost, the next write comes soon (L1, F15).
func TestLeaderKilled(t *testing.T) {
	c := started(t, layout{nodes: 3})
	l := startLoad(c, 4, 5, 0)
	var gaps []time.Duration
	for range *kills {
		leader := c.leader()
		l.waitAck(time.Now(), 10*time.Second)
		killed := time.Now()
		c.kill(leader)
		gaps = append(gaps, l.waitAck(killed, 10*time.Second))
		c.start(leader)
		c.caughtUp(leader)
	}
	l.finish()
	t.Logf("time to the next acknowledged write: median %v, all %v", median(gaps), gaps)
	if *kills >= medianKills {
		require.Less(t, median(gaps), 500*time.Millisecond)
	}
}

// medianKills is how many kills it takes for a median that a few elections of two rounds do not move: CI's long checks have as many.
const medianKills = 20

// kill -9 of all nodes at once: every acknowledged write is there (C2).
func TestAllKilled(t *testing.T) {
	t.Parallel() // it mostly waits
	c := started(t, layout{nodes: 3})
	for range 3 {
		l := startLoad(c, 4, 5, 0)
		l.waitAck(time.Now().Add(500*time.Millisecond), 10*time.Second)
		var group sync.WaitGroup
		for _, id := range c.members {
			group.Go(func() { c.kill(id) })
		}
		group.Wait()
		acked := l.acks()
		c.startAll()
		c.leader()
		c.checkAcked(acked)
		l.finish()
	}
}

// NATS restarted under a running cluster: writes are back within 3 s, terms rise by 2 at most (F5, L6).
func TestNATSRestarted(t *testing.T) { // alone: terms are counted: no other test may take the leader's time
	c := started(t, layout{nodes: 3})
	l := startLoad(c, 2, 5, 3*time.Millisecond)
	for _, down := range []time.Duration{0, 300 * time.Millisecond, 2100 * time.Millisecond} { // the last is longer than any election timeout
		l.waitAck(time.Now(), 5*time.Second)
		before := c.term()
		c.servers[0].kill()
		time.Sleep(down) // the time it is away is what is tested
		c.startServer(c.servers[0])
		lost := l.stalls.Lost()
		gap := l.waitAck(time.Now(), 10*time.Second)
		lost = l.stalls.Lost() - lost
		c.leader()
		after := c.term()
		t.Logf("NATS away for %v: writes back after %v, term %d -> %d", down, gap, before, after)
		require.Less(t, gap, 3*time.Second+lost, "%v", l.stalls)
		require.LessOrEqual(t, after, before+2)
	}
	l.finish()
}

// term is the highest that a node is in, of a majority that answers.
func (c *cluster) term() (term uint64) {
	require.Eventually(c.t, func() bool {
		all := c.statuses()
		for _, s := range all {
			term = max(term, s.Term)
		}
		return len(all) > len(c.members)/2
	}, 10*time.Second, 50*time.Millisecond, "no majority says its term")
	return term
}

// SIGSTOP of the leader for 4 s, longer than its peers and its own pings wait: another leads within 3 s, no request is lost from then on, the old one serves nothing
// stale when it comes back (F16, C3).
func TestLeaderPaused(t *testing.T) { // alone: requests are counted: no other test may take the leader's time
	c := started(t, layout{nodes: 3})
	l := startLoad(c, 4, 3, 0)
	leader := c.leader()
	l.waitAck(time.Now(), 5*time.Second)
	paused, taken := time.Now(), l.stalls.Lost()
	c.signal(leader, syscall.SIGSTOP)
	gap := l.waitAck(paused.Add(100*time.Millisecond), 5*time.Second)
	require.Less(t, gap, 3*time.Second+l.stalls.Lost()-taken, "%v", l.stalls)
	probe := startProbe(c.connect(), false, 5*time.Millisecond) // from now on every request is answered
	l.setPace(20 * time.Millisecond)
	time.Sleep(time.Until(paused.Add(3800 * time.Millisecond)))
	l.setPace(0) // many ask when the old leader comes back
	time.Sleep(time.Until(paused.Add(4 * time.Second)))
	c.signal(leader, syscall.SIGCONT)
	resumed := time.Now()
	c.caughtUp(leader)
	l.setPace(20 * time.Millisecond)
	l.waitAck(resumed.Add(2*time.Second), 5*time.Second)
	asked, lost := probe.finish()
	t.Logf("next write %v after the pause began; then %d requests, %d lost", gap, asked, lost)
	require.Positive(t, asked)
	require.Zero(t, lost, "requests got no answer although another node led")
	l.finish()
}

// First boot with a member missing: the others say whom they wait for and vote for nobody. A start of the third ends it.
func TestFirstBootWaitsForAll(t *testing.T) {
	t.Parallel() // it mostly waits
	c := newCluster(t, layout{nodes: 3})
	c.start("n1")
	c.start("n2")
	nc := c.connect()
	for _, id := range []string{"n1", "n2"} {
		c.nodes[id].logged(t, 15*time.Second, "waiting", "\"n3\"")
	}
	_, err := request(nc, time.Second, "raftbus.kv.get.app.x", "", nil)
	require.ErrorIs(t, err, nats.ErrNoResponders)
	for _, id := range []string{"n1", "n2"} {
		s := c.status(id)
		require.Equal(t, []string{"n3"}, s.WaitingFor, id)
		require.Zero(t, s.Term, id)
	}
	c.start("n3")
	c.leader()
}

// A second process with the same id, or the same folder, is refused with the reason (F13).
func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel() // it mostly waits
	c := started(t, layout{nodes: 3})
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
	c.leader()
}

// Many entries share a sync under concurrent writers (group commit). The node counts its syncs; with -strace the kernel
// counts them too.
func TestGroupCommit(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{nodes: 3})
	report := filepath.Join(t.TempDir(), "strace")
	if *traced {
		c.start("n1", "strace", "-f", "-c", "-e", "trace=fdatasync,fsync", "-o", report)
	} else {
		c.start("n1")
	}
	c.start("n2")
	c.start("n3")
	c.leader()
	c.addBucket("app")
	const writers, each = 64, 50
	writeTogether(c, writers, each)
	c.caughtUp("n1")
	disk := c.status("n1").Disk
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
func stopTraced(t *testing.T, p *program) {
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
