package watches

// Nodes that go while they serve watchers: every watcher gets every event once, in order, and soon.

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/stalltest"
	"github.com/raftbus/raftbus/test/cluster"
)

// follower takes a watcher's updates, and requires that they rise.
type follower struct {
	w jetstream.KeyWatcher

	mu      sync.Mutex
	got     []uint64
	wrong   string
	last    time.Time
	silence time.Duration // the longest
	done    chan struct{}
}

func follow(w jetstream.KeyWatcher) *follower {
	f := &follower{w: w, last: time.Now(), done: make(chan struct{})}
	go func() {
		defer close(f.done)
		for e := range w.Updates() {
			if e != nil {
				f.take(e.Revision())
			}
		}
	}()
	return f
}

func (f *follower) take(revision uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.got); n > 0 && revision <= f.got[n-1] {
		f.wrong = fmt.Sprintf("%d after %d", revision, f.got[n-1])
	}
	f.silence = max(f.silence, time.Since(f.last))
	f.last = time.Now()
	f.got = append(f.got, revision)
}

func (f *follower) state() (count int, wrong string, silence time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.got), f.wrong, max(f.silence, time.Since(f.last)) // that one hears nothing any more is silence too
}

func (f *follower) restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.silence = time.Now(), 0
}

func (f *follower) stop(t testing.TB) {
	require.NoError(t, f.w.Stop())
	<-f.done
}

// crowd is watchers of one bucket, over several connections.
func crowd(t testing.TB, c *cluster.Cluster, kv jetstream.KeyValue, n int) []*follower {
	var list []*follower
	const perConnection = 25
	var own jetstream.KeyValue
	for i := range n {
		if i%perConnection == 0 {
			js, err := jetstream.NewWithDomain(c.Connect(), "raftbus")
			require.NoError(t, err)
			own = soon(t, func(ctx context.Context) (jetstream.KeyValue, error) { return js.KeyValue(ctx, kv.Bucket()) })
		}
		list = append(list, follow(watchNew(t, own)))
	}
	return list
}

// watchNew watches what is new, until it is stopped.
func watchNew(t testing.TB, kv jetstream.KeyValue) jetstream.KeyWatcher {
	return soon(t, func(context.Context) (jetstream.KeyWatcher, error) {
		return kv.WatchAll(t.Context(), jetstream.UpdatesOnly())
	})
}

// writer writes, each key fewer times than history keeps, until it is stopped. It tells how many of its puts were acknowledged, in
// order; one whose outcome it does not know it does again.
type writer struct {
	kv   jetstream.KeyValue
	stop chan struct{}
	done chan struct{}
}

func write(kv jetstream.KeyValue, every time.Duration) *writer {
	w := &writer{kv, make(chan struct{}), make(chan struct{})}
	go func() {
		defer close(w.done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-w.stop:
				return
			case <-tick.C:
			}
			w.put(i)
		}
	}()
	return w
}

func (w *writer) put(i int) {
	for {
		select {
		case <-w.stop:
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		_, err := w.kv.Put(ctx, fmt.Sprintf("k%d", i/32), []byte(fmt.Sprint(i)))
		cancel()
		if err == nil {
			return
		}
	}
}

func (w *writer) end() {
	close(w.stop)
	<-w.done
}

// awaitAll waits until all followers have got what is in the bucket now, which is all that was ever written, and returns how much that is.
func awaitAll(t testing.TB, kv jetstream.KeyValue, list []*follower) (want int) {
	t.Helper()
	want = int(soon(t, kv.Status).Values())
	for i, f := range list {
		require.Eventually(t, func() bool { n, _, _ := f.state(); return n >= want }, patience, 10*time.Millisecond, "watcher %d does not get all %d", i, want)
	}
	return want
}

// requireAll requires that all followers get all, once it is not written any more, and nothing twice.
func requireAll(t testing.TB, kv jetstream.KeyValue, list []*follower) {
	t.Helper()
	want := awaitAll(t, kv, list)
	for i, f := range list {
		n, wrong, _ := f.state()
		require.Equal(t, want, n, "watcher %d", i)
		require.Empty(t, wrong, "watcher %d", i)
	}
}

func longest(list []*follower) (silence time.Duration) {
	for _, f := range list {
		_, _, s := f.state()
		silence = max(silence, s)
	}
	return silence
}

// busiest is the node that serves the most watchers. Those who came back from one that went are on the others.
func busiest(c *cluster.Cluster) (busiest string) {
	most := 0
	for id, n := range c.Nodes {
		if serves := n.Status().Watches.Consumers; serves > most {
			busiest, most = id, serves
		}
	}
	return busiest
}

// A watcher of what is new that has got nothing yet hears what is written before another node serves it, and nothing older.
func TestAWatcherThatHasNothingYetMissesNothing(t *testing.T) { // W2, W3; specification 7.7
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	c.AwaitWatches()
	kv, nc := open(t, c, jetstream.KeyValueConfig{Bucket: "app", History: 64})
	put(t, nc, "old", "")
	var list []jetstream.KeyWatcher
	for range c.Members {
		list = append(list, watchNew(t, kv))
	}
	leader := c.Leader()
	for _, id := range c.Members {
		if id != leader {
			require.Eventually(t, func() bool { return c.Nodes[id].Status().Watches.Consumers == 1 }, patience, time.Millisecond, "each serves one")
			c.Wires[id].Cut()
			defer c.Wires[id].Heal()
			break
		}
	}
	for _, key := range []string{"gap", "after"} {
		put(t, nc, key, "")
		for _, w := range list {
			require.Equal(t, key, next(t, w).Key())
		}
	}
}

func TestWatchersOutliveTheNodeThatServesThem(t *testing.T) { // W1, W2; specification 7.7
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	stalls := stalltest.During(t)
	c.AwaitWatches()
	kv, _ := open(t, c, jetstream.KeyValueConfig{Bucket: "app", History: 64})
	list := crowd(t, c, kv, 30)
	w := write(kv, 10*time.Millisecond) // each of which is thirty events
	for range 2 {
		leader, victim := c.Leader(), busiest(c)
		lost := stalls.Lost()
		for _, f := range list {
			f.restart()
		}
		c.Wires[victim].Cut()
		time.Sleep(3 * time.Second)
		t.Logf("%s, leader %v: longest silence %v", victim, victim == leader, longest(list))
		c.Wires[victim].Heal()
		require.Less(t, longest(list), 2*time.Second+stalls.Lost()-lost, "%v", stalls)
		c.AwaitWatches()
	}
	w.end()
	requireAll(t, kv, list)
	for _, f := range list {
		f.stop(t)
	}
}
