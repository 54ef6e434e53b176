// Package library uses raft and busclient as somebody would who brings his own state machine: nodes, logs and connections
// put together by hand, no key-value store. It is also where the write path is measured without one.
package library

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// counter is a state machine: it adds numbers up.
type counter struct {
	total   atomic.Uint64
	others  atomic.Uint64 // entries that carry no command
	applied atomic.Pointer[rpc.EntryID]
}

func (c *counter) Apply(entries []rpc.Entry) ([]any, error) {
	results := make([]any, len(entries))
	for i := range entries {
		if entries[i].Kind == rpc.EntryCommand {
			results[i] = c.total.Add(binary.BigEndian.Uint64(entries[i].Data))
		} else {
			c.others.Add(1)
		}
	}
	last := entries[len(entries)-1].ID()
	c.applied.Store(&last)
	return results, nil
}

func (c *counter) Applied() rpc.EntryID {
	if id := c.applied.Load(); id != nil {
		return *id
	}
	return rpc.EntryID{}
}

func (c *counter) Durable() rpc.Index               { return 0 } // it keeps nothing: a restart replays the log
func (c *counter) Snapshot() (node.Snapshot, error) { return nil, io.EOF }
func (c *counter) Restore(io.Reader) error          { return io.EOF }
func (c *counter) Close() error                     { return nil }

// startNode puts one node together, with the log on that file system, and returns it with its state machine.
func startNode(t testing.TB, fs vfs.FS, url string, id rpc.NodeID, members []rpc.NodeID, change ...func(*config.Config)) (*node.Node, *counter) {
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	c := config.Config{NodeID: id, MemberIDs: members}
	for _, change := range change {
		change(&c)
	}
	conf, err := config.Validate(c)
	require.NoError(t, err)
	data, err := folder.Open(vfs.Default, t.TempDir(), id)
	require.NoError(t, err)
	require.NoError(t, fs.MkdirAll(data.Path(""), 0o700))
	log, err := wal.Open(fs, data.Path("wal"), wal.Options{})
	require.NoError(t, err)
	conns := map[busclient.Role]*busclient.Conn{}
	for _, role := range []busclient.Role{busclient.RoleControl, busclient.RoleBulk} {
		conns[role], err = busclient.Dial(context.Background(), busclient.ConnOptions{URLs: []string{url}, Prefix: conf.Prefix(), Node: string(id), Role: role, Logger: logger})
		require.NoError(t, err)
	}
	machine := &counter{}
	n := node.New(node.Options{Config: conf, Folder: data, Log: log, Machine: machine, Logger: logger})
	bus, err := busclient.NewService(busclient.Options{
		Config: conf, Identity: busclient.Identity{ID: id, Instance: data.Instance, Boot: data.Boot},
		Control: conns[busclient.RoleControl], Bulk: conns[busclient.RoleBulk], Owner: n, PingContent: n.PingContent, Logger: logger,
	})
	require.NoError(t, err)
	require.NoError(t, n.Start(bus))
	require.NoError(t, bus.Start(context.Background()))
	t.Cleanup(func() {
		bus.Close()
		require.NoError(t, n.Stop(context.Background()))
		for _, c := range conns {
			c.Close()
		}
		require.NoError(t, log.Close())
		require.NoError(t, data.Close())
	})
	return n, machine
}

// startGroup starts nodes on a server of their own and returns them with the one that leads.
func startGroup(t testing.TB, size int) (leader *node.Node, machines []*counter) {
	return startGroupOn(t, startNATS(t), size, func() vfs.FS { return vfs.Default })
}

func startNATS(t testing.TB) (url string) {
	server := natstest.Run(t, embedded.Options{})
	return server.URL()
}

// startGroupOn is startGroup on a server, with each log on a file system of its own.
func startGroupOn(t testing.TB, url string, size int, fs func() vfs.FS, change ...func(*config.Config)) (leader *node.Node, machines []*counter) {
	var members []rpc.NodeID
	for i := range size {
		members = append(members, rpc.NodeID(fmt.Sprintf("n%d", i+1)))
	}
	var nodes []*node.Node
	for _, id := range members {
		n, m := startNode(t, fs(), url, id, members, change...)
		nodes, machines = append(nodes, n), append(machines, m)
	}
	require.Eventually(t, func() bool {
		for _, n := range nodes {
			if n.Status().Serving {
				leader = n
				return true
			}
		}
		return false
	}, 30*time.Second, time.Millisecond, "no leader")
	return leader, machines
}

// Three nodes over NATS replicate a state machine that is not ours.
func TestOwnStateMachine(t *testing.T) {
	leader, machines := startGroup(t, 3)
	for i := range uint64(100) {
		require.NotNil(t, propose(t, leader, i))
	}
	for _, m := range machines {
		require.Eventually(t, func() bool { return m.total.Load() == 4950 }, 20*time.Second, time.Millisecond)
	}
}

// A change of the members is given to state machines, as an entry that counts and carries no command.
func TestAStateMachineIsGivenChangesOfTheMembers(t *testing.T) {
	leader, machines := startGroup(t, 3)
	propose(t, leader, 40)
	gone := rpc.NodeID("n1")
	if leader.Status().ID == gone {
		gone = "n2"
	}
	changed := make(chan error, 1)
	require.NoError(t, leader.Reconfigure(raft.Change{Remove: []rpc.NodeID{gone}}, func(_ rpc.EntryID, err error) { changed <- err }))
	require.NoError(t, <-changed)
	require.Equal(t, uint64(42), propose(t, leader, 2))
	for i, m := range machines {
		if clusterOf(3)[i] == gone {
			continue
		}
		require.Eventually(t, func() bool { return m.total.Load() == 42 && uint64(m.Applied().Index) == m.others.Load()+2 }, 20*time.Second, time.Millisecond,
			"all that was logged, without a gap")
		require.Greater(t, m.others.Load(), uint64(1), "an election's, and that of the change")
	}
}

// Five nodes with multicast: what the leader logs goes to its followers as one message, and what a follower alone lacks does not.
func TestMulticast(t *testing.T) {
	url := startNATS(t)
	nc, err := nats.Connect(url)
	require.NoError(t, err)
	defer nc.Close()
	var together, alone atomic.Int64
	_, err = nc.Subscribe("raftbus.rpc.*.*.AppendLog", func(m *nats.Msg) {
		if strings.HasPrefix(m.Subject, "raftbus.rpc._all.") {
			together.Add(1)
		} else {
			alone.Add(1)
		}
	})
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	// On one slow disk five logs would have a follower fall behind for moments. So would a busy machine, and it would elect anew: a follower that has not
	// answered for a heartbeat is spoken to alone.
	leader, machines := startGroupOn(t, url, 5, func() vfs.FS { return vfs.NewMem() }, func(c *config.Config) {
		c.Multicast = true
		c.Periods = config.Timing{Heartbeat: time.Second, ElectionMin: 5 * time.Second, ElectionMax: 10 * time.Second}
	})
	for i := range uint64(100) {
		require.NotNil(t, propose(t, leader, i))
	}
	for _, m := range machines {
		require.Eventually(t, func() bool { return m.total.Load() == 4950 }, 20*time.Second, time.Millisecond)
	}
	require.NoError(t, nc.Flush())
	t.Logf("%d AppendLogs to several, %d to one", together.Load(), alone.Load())
	require.Greater(t, together.Load(), int64(50))
	require.Less(t, alone.Load(), int64(100), "twice as many and more would leave without multicast")
}

func propose(t testing.TB, leader *node.Node, x uint64) any {
	answer := make(chan any, 1)
	require.NoError(t, leader.Propose(binary.BigEndian.AppendUint64(nil, x), func(r any, _ rpc.EntryID) { answer <- r }))
	select {
	case r := <-answer:
		return r
	case <-time.After(30 * time.Second):
		require.FailNow(t, "a proposal is not answered")
		return nil
	}
}

// BenchmarkPropose is the write path without clients and store: log, bus, majority, apply.
func BenchmarkPropose(b *testing.B) {
	leader, _ := startGroup(b, 3)
	for _, clients := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			var left atomic.Int64
			left.Store(int64(b.N))
			var group sync.WaitGroup
			for range clients {
				group.Go(func() {
					answer := make(chan any, 1)
					for left.Add(-1) >= 0 {
						data := make([]byte, 256)
						if leader.Propose(data, func(r any, _ rpc.EntryID) { answer <- r }) == nil {
							<-answer
						}
					}
				})
			}
			group.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
		})
	}
}
