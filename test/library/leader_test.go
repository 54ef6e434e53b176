package library

// What replicating costs a leader: it alone is in this process, its followers and the NATS server are in another, so that the
// processor time of this one is the leader's, whoever else is busy on the machine.

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// followersVariable has a process be the followers: how many, and whether they have multicast.
const followersVariable = "RAFTBUS_TEST_FOLLOWERS"

// clusterOf are the ids of a cluster; n1 is the one that leads.
func clusterOf(size int) (ids []rpc.NodeID) {
	for i := range size {
		ids = append(ids, rpc.NodeID(fmt.Sprintf("n%d", i+1)))
	}
	return ids
}

// TestFollowers is no test but the other process: it says where its server is, and ends when nobody listens to it any more.
func TestFollowers(t *testing.T) {
	size, multicast, asked := strings.Cut(os.Getenv(followersVariable), " ")
	if !asked {
		t.Skip("run by BenchmarkLeader")
	}
	n, err := strconv.Atoi(size)
	require.NoError(t, err)
	url, ids := startNATS(t), clusterOf(n)
	for _, id := range ids[1:] {
		startNode(t, vfs.NewMem(), url, id, ids, func(c *config.Config) {
			c.Multicast = multicast == "true"
			c.Periods = config.Timing{Heartbeat: 10 * time.Second, ElectionMin: time.Minute, ElectionMax: 2 * time.Minute} // they never campaign
		})
	}
	fmt.Printf("server %s\n", url)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// startLeader starts followers in a process of their own, and the node that leads them in this one.
func startLeader(b *testing.B, size int, multicast bool) *node.Node {
	cmd := exec.Command(os.Args[0], "-test.run=^TestFollowers$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %t", followersVariable, size, multicast))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "server ") {
	}
	url := strings.TrimPrefix(lines.Text(), "server ")
	require.NotEmpty(b, url)
	leader, _ := startNode(b, vfs.NewMem(), url, "n1", clusterOf(size), func(c *config.Config) { c.Multicast = multicast })
	require.Eventually(b, func() bool { return leader.Status().Serving }, 30*time.Second, time.Millisecond)
	require.Eventually(b, func() bool {
		links := leader.Status().Links
		return len(links) == size-1 && !slices.ContainsFunc(links, func(l busclient.LinkStatus) bool { return l.State != "connected" })
	}, 30*time.Second, time.Millisecond)
	return leader
}

// BenchmarkLeader says what a put of 256 bytes costs the leader, beyond what it needs when nobody asks: one client that waits for each
// answer, so that each put is a turn of its own, and 64 that ask at a fixed rate. Logs are in memory, so that no disk sets the pace.
func BenchmarkLeader(b *testing.B) {
	for _, size := range []int{3, 5, 7} {
		for _, multicast := range []bool{false, true} {
			b.Run(fmt.Sprintf("nodes=%d/multicast=%t", size, multicast), func(b *testing.B) {
				leader := startLeader(b, size, multicast)
				const idling = 2 * time.Second
				before := processorTime(b)
				time.Sleep(idling)
				idle := (processorTime(b) - before).Seconds() / idling.Seconds()
				b.Run("clients=1", func(b *testing.B) { askAtPace(b, leader, 1, 0, idle) })
				b.Run("clients=64/rate=1000", func(b *testing.B) { askAtPace(b, leader, 64, 64*time.Millisecond, idle) })
			})
		}
	}
}

// askAtPace has clients propose b.N commands, each of them one in a period at most, and reports the processor time of this process, less
// the part of the time that it uses when it idles.
func askAtPace(b *testing.B, leader *node.Node, clients int, period time.Duration, idle float64) {
	var left atomic.Int64
	var group sync.WaitGroup
	left.Store(int64(b.N))
	data, before := make([]byte, 256), processorTime(b)
	b.ResetTimer()
	for i := range clients {
		group.Go(func() {
			time.Sleep(period * time.Duration(i) / time.Duration(clients))
			answer, next := make(chan any, 1), time.Now()
			for left.Add(-1) >= 0 {
				if leader.Propose(data, func(r any, _ rpc.EntryID) { answer <- r }) == nil {
					<-answer
				}
				next = next.Add(period)
				time.Sleep(time.Until(next))
			}
		})
	}
	group.Wait()
	spent := (processorTime(b) - before).Seconds() - idle*b.Elapsed().Seconds()
	b.ReportMetric(spent*1e6/float64(b.N), "cpu-us/put")
}

// processorTime is what this process has used of the processors, of the system's time too.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
