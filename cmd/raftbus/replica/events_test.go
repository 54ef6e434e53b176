package replica

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
)

// listener collects events, as a subscriber hears them.
type listener struct {
	t    *testing.T
	mu   sync.Mutex
	list []observe.Event
}

func listen(t *testing.T, nc *nats.Conn) *listener {
	t.Helper()
	l := &listener{t: t}
	_, err := nc.Subscribe("raftbus.event.>", func(m *nats.Msg) {
		var e observe.Event
		l.mu.Lock()
		defer l.mu.Unlock()
		if json.Unmarshal(m.Data, &e) == nil && m.Subject == "raftbus.event."+e.Kind {
			l.list = append(l.list, e)
		}
	})
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	return l
}

// await waits for an event that fits, and returns it.
func (l *listener) await(what string, fits func(observe.Event) bool) (found observe.Event) {
	l.t.Helper()
	require.Eventually(l.t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, e := range l.list {
			if fits(e) {
				found = e
				return true
			}
		}
		return false
	}, patience, 5*time.Millisecond, "no event: %s", what)
	require.WithinDuration(l.t, time.Now(), found.Time, time.Minute)
	return found
}

// Whoever subscribes hears of another leader, of links that break and come back, and of the members.
func TestEventsTellWhatHappens(t *testing.T) {
	t.Parallel() // it mostly waits
	nodes, leads, nc := three(t)
	l := listen(t, nc)
	to := (leads + 1) % 3
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.Eventually(t, func() bool { // one may be refused
		for _, r := range nodes {
			if r != nodes[to] && r.Status().Role == "leader" {
				_ = r.TransferLeadership(ctx, nodes[to].o.ID)
			}
		}
		return nodes[to].Status().Role == "leader"
	}, patience, 10*time.Millisecond)
	for _, r := range nodes {
		l.await(r.o.ID+" follows another leader", func(e observe.Event) bool {
			return e.Kind == observe.KindLeader && e.Node == r.o.ID && e.Peer == nodes[to].o.ID && e.Term > 0
		})
	}
	l.await("who leads", func(e observe.Event) bool {
		return e.Kind == observe.KindRole && e.Node == nodes[to].o.ID && e.State == "leader"
	})

	gone := nodes[leads]
	stop(t, gone)
	broken := l.await("a link breaks", func(e observe.Event) bool {
		return e.Kind == observe.KindLink && e.State == "broken" && e.Node == nodes[to].o.ID && e.Peer == gone.o.ID
	})
	require.NotEmpty(t, broken.Reason)
	require.Eventually(t, func() bool {
		h := nodes[to].Health()
		return h.Ready && slices.ContainsFunc(h.Warnings, func(w string) bool { return strings.Contains(w, gone.o.ID) })
	}, patience, 10*time.Millisecond, "a node that serves warns of a peer that is away")
	again, err := Start(t.Context(), gone.o)
	require.NoError(t, err)
	defer stop(t, again)
	l.await("it is back", func(e observe.Event) bool {
		return e.Kind == observe.KindLink && e.State == "connected" && e.Node == nodes[to].o.ID && e.Peer == gone.o.ID
	})
	l.await("the members, as it finds them", func(e observe.Event) bool {
		return e.Kind == observe.KindMembers && e.State == "committed" && e.Node == gone.o.ID && strings.Contains(e.Members, "n1,n2,n3")
	})
	require.Eventually(t, func() bool {
		s := nodes[to].Stats()
		return s.LeaderChanges >= 2 && s.Events.Published > 0 && s.Events.Dropped == 0
	}, patience, 10*time.Millisecond)
	for _, p := range nodes[to].Stats().Peers {
		if p.ID == gone.o.ID {
			require.Positive(t, p.LinkBreaks)
		}
	}
}

// A disk that hangs is told of while it hangs, and the node lives and says so.
func TestEventOfASlowDisk(t *testing.T) {
	t.Parallel() // it mostly waits
	var hung atomic.Bool
	heal := make(chan struct{})
	o := alone(t, faulty(&hung, writesLog, until(heal)))
	nc, err := nats.Connect(o.NATS.URLs[0])
	require.NoError(t, err)
	defer nc.Close()
	l := listen(t, nc)
	r := ready(t, o)
	hung.Store(true)
	require.NoError(t, nc.Publish("raftbus.bucket.add.app", nil))
	e := l.await("slow", func(e observe.Event) bool { return e.Kind == observe.KindDisk && e.State == "slow" })
	require.GreaterOrEqual(t, e.Seconds, observe.SlowSync.Seconds())
	require.Eventually(t, func() bool { return r.Stats().Disk.Slow && r.Stats().Disk.SyncUnderWay > 0 }, patience, time.Millisecond)
	require.Contains(t, strings.Join(r.Health().Warnings, "; "), "the disk is slow")
	require.True(t, r.Health().Live)
	close(heal)
	stop(t, r)
	require.False(t, r.Health().Live)
	require.Equal(t, []string{"the node was stopped"}, r.Health().Reasons)
}

// crowded is a file system that has as much room left as it is told.
type crowded struct {
	vfs.FS
	full *atomic.Bool
}

func (c crowded) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	usage, err := c.FS.GetDiskUsage(path)
	if c.full.Load() {
		usage.AvailBytes = 1 << 20
	}
	return usage, err
}

// A full disk is told of, by event, figures, metrics and health, and so is that it has room again. The node serves reads all the while.
func TestEventOfAFullDisk(t *testing.T) {
	t.Parallel() // it mostly waits
	var full atomic.Bool
	o := alone(t, crowded{vfs.Default, &full})
	nc, err := nats.Connect(o.NATS.URLs[0])
	require.NoError(t, err)
	defer nc.Close()
	l := listen(t, nc)
	r := ready(t, o)
	defer stop(t, r)
	full.Store(true)
	l.await("full", func(e observe.Event) bool { return e.Kind == observe.KindDisk && e.State == "full" })
	require.Eventually(t, func() bool { // figures are given again for a tenth of a second
		return strings.Contains(request(t, nc, busclient.NodeSubject("raftbus", "n1", "metrics"), ""), `raftbus_disk_full{cluster="raftbus",node="n1"} 1`)
	}, patience, 10*time.Millisecond)
	require.Contains(t, strings.Join(r.Health().Warnings, "; "), "the disk is full")
	require.True(t, r.Health().Ready)
	require.Contains(t, request(t, nc, "raftbus.bucket.ls", ""), "buckets")
	full.Store(false)
	l.await("room", func(e observe.Event) bool { return e.Kind == observe.KindDisk && e.State == "room" })
}
