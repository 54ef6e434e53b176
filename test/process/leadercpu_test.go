package process

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

var (
	leaderCPU       = flag.Duration("leadercpu", 0, "how long TestLeaderCPU asks each cluster; 0: not at all")
	leaderCPURate   = flag.Int("rate", 1000, "puts per second in TestLeaderCPU")
	leaderCPUSizes  = flag.String("sizes", "3,7", "numbers of nodes in TestLeaderCPU")
	leaderCPURounds = flag.Int("rounds", 1, "how often TestLeaderCPU measures each cluster, in turn")
)

// leaderCost is what puts cost a leader.
type leaderCost struct {
	puts      int
	cpu, idle time.Duration // while clients asked; in a second without any
	messages  [2]float64    // of Raft, per put: sent, received
}

// busy is the processor time of a put in microseconds, less what the leader needs when nobody asks.
func (l leaderCost) busy(length time.Duration) float64 {
	return (l.cpu.Seconds() - l.idle.Seconds()*length.Seconds()) * 1e6 / float64(max(l.puts, 1))
}

// What a put of 256 bytes costs the leader's process, at a fixed rate that 64 clients keep together, with and without multicast. It is
// a measurement: it holds nobody to a figure, since others may want the machine too.
func TestLeaderCPU(t *testing.T) {
	if *leaderCPU == 0 {
		t.Skip("give -leadercpu")
	}
	found := map[string][]float64{}
	for range *leaderCPURounds {
		for _, size := range strings.Split(*leaderCPUSizes, ",") {
			for _, several := range []bool{false, true} {
				nodes, err := strconv.Atoi(size)
				require.NoError(t, err)
				name := fmt.Sprintf("nodes=%d/multicast=%t", nodes, several)
				t.Run(name, func(t *testing.T) {
					cost := measureLeader(t, layout{nodes: nodes, several: several})
					t.Logf("%d puts: %.1f us of the leader's CPU per put, %.1f beyond idling (%v per second); %.1f messages sent, %.1f received per put",
						cost.puts, cost.cpu.Seconds()*1e6/float64(cost.puts), cost.busy(*leaderCPU), cost.idle, cost.messages[0], cost.messages[1])
					found[name] = append(found[name], cost.busy(*leaderCPU))
				})
			}
		}
	}
	for name, list := range found {
		slices.Sort(list)
		t.Logf("%s: median %.1f us beyond idling, of %.1f", name, list[len(list)/2], list)
	}
}

func measureLeader(t *testing.T, l layout) (cost leaderCost) {
	const idling = 3 * time.Second
	c := started(t, l)
	leader := c.leader()
	term, pid := c.term(), c.nodes[leader].cmd.Process.Pid
	c.putAtRate(*leaderCPURate, time.Second) // caches, and goroutines that are made once
	before := cpuOf(t, pid)
	time.Sleep(idling)
	idle := cpuOf(t, pid)
	cost.idle = (idle - before) / time.Duration(idling/time.Second)
	cost.puts = c.putAtRate(*leaderCPURate, *leaderCPU)
	cost.cpu = cpuOf(t, pid) - idle
	cost.messages = c.countMessages(leader)
	if c.term() != term {
		t.Skip("an election disturbed it: nothing was measured")
	}
	return cost
}

// countMessages counts the commands and returns between the leader and its followers, per put. That costs the server something, so it
// is not done while time is measured.
func (c *cluster) countMessages(leader string) (perPut [2]float64) {
	const length = 2 * time.Second
	var counts [2]atomic.Int64
	nc := c.connect()
	_, err := nc.Subscribe("raftbus.rpc.>", func(m *nats.Msg) {
		switch tokens := strings.Split(m.Subject, "."); {
		case tokens[3] == leader && (tokens[4] == "AppendLog" || tokens[4] == "CommitLog"):
			counts[0].Add(1)
		case tokens[2] == leader && tokens[4] == "Return":
			counts[1].Add(1)
		}
	})
	require.NoError(c.t, err)
	require.NoError(c.t, nc.Flush())
	time.Sleep(time.Second)
	idle := counts[1].Load() // answers to pings and heartbeats
	puts := float64(max(1, c.putAtRate(*leaderCPURate, length)))
	return [2]float64{float64(counts[0].Load()) / puts, (float64(counts[1].Load()-idle) - float64(idle)*length.Seconds()) / puts}
}

// putAtRate has 64 clients put so many keys a second, and returns how many were acknowledged.
func (c *cluster) putAtRate(perSecond int, length time.Duration) int {
	const clients = 64
	var done atomic.Int64
	var group sync.WaitGroup
	value, end := strings.Repeat("v", 256), time.Now().Add(length)
	period := clients * time.Second / time.Duration(perSecond)
	for i := range clients {
		group.Go(func() {
			time.Sleep(period * time.Duration(i) / clients)
			tick := time.NewTicker(period)
			defer tick.Stop()
			for now := time.Now(); now.Before(end); now = <-tick.C {
				if r, err := request(c.eyes[0], time.Second, fmt.Sprintf("raftbus.kv.put.app.k%d", i), value, nil); err == nil && r.Error == nil {
					done.Add(1)
				}
			}
		})
	}
	group.Wait()
	return int(done.Load())
}

// cpuOf is what a process has used of the processors since it began, of the system's time too. Linux counts in hundredths of a second.
func cpuOf(t *testing.T, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		require.NoError(t, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
