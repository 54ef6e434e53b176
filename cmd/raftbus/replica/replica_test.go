package replica

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/kv/delivery"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/leaktest"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/stalltest"
)

// patience bounds every wait of which a test says nothing: it is long because it only passes when a test fails.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "10") // those that may run together mostly wait; -parallel says otherwise
	leaktest.Main(m)
}

// ready starts a node, and waits until clients are served with it.
func ready(t *testing.T, o Options) *Replica {
	t.Helper()
	r, err := Start(t.Context(), o)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = r.WaitReady(ctx)
	require.NoError(t, err)
	return r
}

// alone are the options of a node that is a cluster by itself, on a NATS server of its own.
func alone(t *testing.T, fs vfs.FS) Options {
	server := natstest.Run(t, embedded.Options{Host: "127.0.0.1", Port: -1})
	return Options{
		ID: "n1", Members: []string{"n1"}, Dir: filepath.Join(t.TempDir(), "n1"), FS: fs,
		Logger: slog.New(slog.DiscardHandler), NATS: NATSOptions{URLs: []string{server.URL()}},
	}
}

// faulty is the disk. While now is set, each operation that which picks waits for fault, and fails if that returns an error.
func faulty(now *atomic.Bool, which func(op errorfs.Op) bool, fault func() error) vfs.FS {
	return errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if now.Load() && which(op) {
			return fault()
		}
		return nil
	}))
}

func readsTable(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, ".sst")
}

func writesLog(op errorfs.Op) bool {
	return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.Contains(op.Path, "wal")
}

func ioError() error { return syscall.EIO }

// until is a fault that lasts until heal is closed: operations hang.
func until(heal <-chan struct{}) func() error { return func() error { <-heal; return nil } }

func stop(t *testing.T, r *Replica) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	defer cancel()
	require.NoError(t, r.Stop(ctx))
}

// How writes go to the others is the node's to decide, each of the two ways by itself.
func TestTheWaysOfSendingReachTheNode(t *testing.T) {
	for _, o := range []Options{{}, {Eager: true}, {Multicast: true}} {
		o.ID, o.Members = "n1", []string{"n1"}
		r := &Replica{o: o}
		require.NoError(t, r.configure(t.Context()))
		require.Equal(t, o.Eager, r.config.Eager())
		require.Equal(t, o.Multicast, r.config.Multicast())
	}
}

// A start that is refused late leaves nothing behind: neither a goroutine nor the folder's lock.
func TestRefusedStartLeavesNothing(t *testing.T) {
	t.Parallel() // it mostly waits
	o := alone(t, nil)
	stop(t, ready(t, o))
	others := o
	others.Members = []string{"n1", "n2", "n3"}
	_, err := Start(t.Context(), others)
	require.ErrorContains(t, err, "--members n1")
	r, err := Start(t.Context(), o)
	require.NoError(t, err)
	stop(t, r)
}

// Who stops a node while it starts does not wait for what it reads before it runs, a state that it received, say; nor is anything left behind.
func TestAStartEndsWithItsContext(t *testing.T) {
	t.Parallel() // it mostly waits
	o := alone(t, nil)
	stop(t, ready(t, o))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var r *Replica
	var now atomic.Bool
	o.FS = faulty(&now, func(op errorfs.Op) bool {
		return op.Kind == errorfs.OpStat && strings.HasSuffix(op.Path, "snapshot/complete")
	}, func() error {
		cancel()
		select {
		case <-r.node.Ending():
		case <-time.After(patience):
			t.Error("the node goes on")
		}
		return nil
	})
	r = newReplica(o)
	for _, step := range []func(context.Context) error{r.configure, r.openFolder, r.openLog, r.openStore, r.dial, r.join} {
		require.NoError(t, step(ctx))
	}
	now.Store(true)
	require.ErrorIs(t, r.serve(ctx), context.Canceled)
	require.NoError(t, r.close())
	o.FS = nil
	stop(t, ready(t, o))
}

// A stop is bounded when the disk hangs, and the folder stays locked: what still writes there must stay alone (F13, F22).
func TestStopWithAHungDisk(t *testing.T) {
	t.Parallel() // it mostly waits
	var hung atomic.Bool
	heal := make(chan struct{})
	o := alone(t, faulty(&hung, writesLog, until(heal)))
	r, err := Start(t.Context(), o)
	require.NoError(t, err)
	_, err = r.WaitReady(t.Context())
	require.NoError(t, err)
	client := r.first().conn.NATS()
	_, err = client.Request("raftbus.bucket.add.app", nil, patience)
	require.NoError(t, err)
	hung.Store(true)
	require.NoError(t, client.Publish("raftbus.kv.put.app.k", nil)) // what it begins is waited for
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	stalls, began := stalltest.During(t), time.Now()
	require.ErrorIs(t, r.Stop(ctx), context.DeadlineExceeded)
	require.Less(t, time.Since(began), 3*time.Second+stalls.Lost(), "%v", stalls)
	_, err = Start(t.Context(), o)
	require.ErrorIs(t, err, folder.ErrInUse)
	close(heal)
	require.Eventually(t, func() bool {
		again, err := Start(t.Context(), o)
		if err != nil {
			require.True(t, errors.Is(err, folder.ErrInUse), "%v", err)
			return false
		}
		stop(t, again)
		return true
	}, patience, 10*time.Millisecond, "the folder is never let go")
}

// A node that fails while its disk hangs is over at once, for who is to start it again, for health checks, and for its peers: what waits for the
// disk may never end (F22, L1).
func TestANodeThatFailsWhileItsDiskHangsIsOver(t *testing.T) {
	t.Parallel() // it mostly waits
	var hung atomic.Bool
	reached, heal := make(chan struct{}, 1), make(chan struct{})
	r, err := Start(t.Context(), alone(t, faulty(&hung, writesLog, func() error {
		select {
		case reached <- struct{}{}:
		default:
		}
		<-heal
		return nil
	})))
	require.NoError(t, err)
	_, err = r.WaitReady(t.Context())
	require.NoError(t, err)
	require.True(t, r.Health().Live)
	hung.Store(true)
	require.NoError(t, r.first().conn.NATS().Publish("raftbus.bucket.add.app", nil))
	<-reached
	r.noteGivenUp(errors.New("the wire is cut"))
	select {
	case <-r.Done():
	case <-time.After(patience):
		require.Fail(t, "it goes on for as long as the disk hangs")
	}
	h := r.Health()
	require.False(t, h.Live)
	require.Contains(t, h.Reasons[0], "the wire is cut")
	require.Eventually(t, func() bool { return r.node.PingContent().Leader == "" }, patience, time.Millisecond, "it says that it leads")
	close(heal)
	require.ErrorContains(t, r.Stop(t.Context()), "the wire is cut")
}

// Whoever started a node may ask it at once: an operator's next command is the one that adds it.
func TestAStartedNodeAnswers(t *testing.T) {
	t.Parallel() // it mostly waits
	o := alone(t, nil)
	nc, err := nats.Connect(o.NATS.URLs[0])
	require.NoError(t, err)
	defer nc.Close()
	r, err := Start(t.Context(), o)
	require.NoError(t, err)
	defer stop(t, r)
	_, err = nc.Request(busclient.StatusSubject("raftbus", o.ID), nil, patience)
	require.NoError(t, err)
}

// Nodes tell each other whether clients are heard there: while a leader drains, and a connection is back, nobody's watchers are to ask for another
// consumer (W2).
func TestANodeThatDrainsSaysThatItHearsNobody(t *testing.T) {
	t.Parallel() // it mostly waits
	r := ready(t, alone(t, nil))
	defer stop(t, r)
	announced, err := r.first().conn.NATS().SubscribeSync(delivery.Subject("raftbus", "_all", "n1"))
	require.NoError(t, err)
	says := func(deaf bool) {
		require.Eventually(t, func() bool {
			m, err := announced.NextMsg(patience)
			require.NoError(t, err)
			var told struct{ Announcement watch.Announcement }
			require.NoError(t, json.Unmarshal(m.Data, &told))
			return told.Announcement.Deaf == deaf
		}, patience, time.Millisecond)
	}
	says(false)
	require.NoError(t, r.drain(t.Context()))
	says(true)
	r.resume()
	says(false)
}

// A node whose disk fails leaves the bus at once, though a request is under way: nobody will answer that, and its peers are to see that it
// is gone (L1, D5).
func TestAFailedNodeLeavesTheBusAtOnce(t *testing.T) {
	t.Parallel() // it mostly waits
	var failing atomic.Bool
	o := alone(t, faulty(&failing, writesLog, func() error { return errors.New("no disk") }))
	nc, err := nats.Connect(o.NATS.URLs[0])
	require.NoError(t, err)
	defer nc.Close()
	r := ready(t, o)
	failing.Store(true)
	require.NoError(t, nc.PublishRequest("raftbus.bucket.add.app", nc.NewInbox(), nil))
	<-r.Done()
	require.ErrorContains(t, r.Err(), "no disk")
	stopped := make(chan error, 1)
	go func() { stopped <- r.Stop(t.Context()) }()
	require.Eventually(t, func() bool {
		_, err := nc.Request("raftbus.rpc.n1.n2.Ping", nil, 100*time.Millisecond)
		return errors.Is(err, nats.ErrNoResponders)
	}, 5*time.Second, time.Millisecond)
	require.ErrorContains(t, <-stopped, "no disk")
}

// A planned stop hushes for as long as the way between nodes asks for (L2).
func TestTheWayBetweenNodesIsMeasured(t *testing.T) {
	t.Parallel() // it mostly waits
	nodes, _, _ := three(t)
	for _, r := range nodes {
		require.Eventually(t, func() bool { return r.roundTrip() > 0 }, patience, 5*time.Millisecond)
	}
}

// F11, F12: a connection that NATS's client has given up comes back with a new start of the node only.
func TestANodeWhoseConnectionIsGivenUpStops(t *testing.T) {
	t.Parallel() // it mostly waits
	r, err := Start(t.Context(), alone(t, nil))
	require.NoError(t, err)
	defer func() { _ = r.Stop(context.Background()) }()
	for range 2 {
		r.noteGivenUp(errors.New("the wire is cut"))
	}
	<-r.Done()
	require.ErrorContains(t, r.Err(), "the wire is cut. Start the node again")
}

// Who is about to end says so, so that others deliver to its watchers at once (W2); and it hands over to nobody for an administrator: its
// services would listen again if that failed, and then go (L2).
func TestWhoStopsIsDone(t *testing.T) {
	t.Parallel() // it mostly waits
	nodes, leads, nc := three(t)
	r := nodes[leads]
	said, err := nc.SubscribeSync(busclient.ConsumersSubject("raftbus", busclient.AllNodes, r.o.ID))
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var asked error
	require.NoError(t, r.end(ctx, func(ctx context.Context) error {
		err := r.leave(ctx)
		asked = r.TransferLeadership(ctx, "")
		return err
	}))
	require.ErrorIs(t, asked, node.ErrBusy)
	for text := ""; !strings.Contains(text, `"Leaving":true`); {
		m, err := said.NextMsg(patience)
		require.NoError(t, err)
		text = string(m.Data)
	}
}

// A node that waits to be added is of no cluster, and so keeps none from beginning (F14).
func TestWhoJoinsKeepsNobodyFromFounding(t *testing.T) {
	t.Parallel() // it mostly waits
	o := alone(t, nil)
	joiner := o
	joiner.ID, joiner.Members, joiner.Join, joiner.Dir = "n2", nil, true, filepath.Join(t.TempDir(), "n2")
	waits, err := Start(t.Context(), joiner)
	require.NoError(t, err)
	defer stop(t, waits)
	defer stop(t, ready(t, o))
	require.True(t, waits.Status().Joining)
}
