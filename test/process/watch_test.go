package process

// Nodes that serve watchers are killed: every watcher has every event once, in order, and soon (W1, W2).

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/stalltest"
)

var watchKills = flag.Int("watch-kills", 2, "how often TestWatchersOutliveKills kills a node")

// witness is a watcher of everything, and what it saw.
type witness struct {
	mu        sync.Mutex
	revisions []uint64
	last      time.Time
	silence   time.Duration // the longest
	disorder  string
}

func (w *witness) see(e jetstream.KeyValueEntry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.revisions); n > 0 && e.Revision() <= w.revisions[n-1] {
		w.disorder = fmt.Sprintf("%d after %d", e.Revision(), w.revisions[n-1])
	}
	w.silence, w.last = max(w.silence, time.Since(w.last)), time.Now()
	w.revisions = append(w.revisions, e.Revision())
}

// reset forgets how long it heard nothing.
func (w *witness) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last, w.silence = time.Now(), 0
}

func (w *witness) state() (count int, silence time.Duration, disorder string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.revisions), max(w.silence, time.Since(w.last)), w.disorder // that one hears nothing any more is silence too
}

// witnesses begin to watch the bucket w, over several connections.
func (c *cluster) witnesses(n int) (list []*witness) {
	var kv jetstream.KeyValue
	for i := range n {
		if i%25 == 0 {
			kv = c.keyValue()
		}
		watcher, err := kv.WatchAll(c.t.Context(), jetstream.UpdatesOnly())
		require.NoError(c.t, err)
		w := &witness{last: time.Now()}
		list = append(list, w)
		go func() {
			for e := range watcher.Updates() {
				if e != nil {
					w.see(e)
				}
			}
		}()
	}
	return list
}

func (c *cluster) keyValue() jetstream.KeyValue {
	js, err := jetstream.NewWithDomain(c.connect(), "raftbus")
	require.NoError(c.t, err)
	kv, err := js.CreateOrUpdateKeyValue(c.t.Context(), jetstream.KeyValueConfig{Bucket: "w", History: 64})
	require.NoError(c.t, err)
	return kv
}

// write puts one value after the other, none of a key more often than history keeps, until it is stopped.
func (c *cluster) writeSlowly(kv jetstream.KeyValue) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			ctx, cancel := contextWithin(300 * time.Millisecond)
			_, _ = kv.Put(ctx, fmt.Sprintf("k%d", i/32), []byte(fmt.Sprint(i))) // what is lost is written later
			cancel()
			select {
			case <-quit:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() { close(quit); <-done }
}

// awaitHosts waits until so many nodes can serve watchers.
func (c *cluster) awaitHosts(n int) {
	require.Eventually(c.t, func() bool {
		all := c.statuses()
		for _, s := range all {
			if s.Watches.Hosts != n {
				return false
			}
		}
		return len(all) == n
	}, 15*time.Second, 20*time.Millisecond, "not all nodes have a leaf connection")
}

// busiest is the node that serves the most watchers, of those that answer.
func (c *cluster) busiest() (busiest string) {
	require.Eventually(c.t, func() bool {
		most := -1
		for id, s := range c.statuses() {
			if s.Watches.Consumers > most {
				busiest, most = id, s.Watches.Consumers
			}
		}
		return busiest != ""
	}, 15*time.Second, 20*time.Millisecond, "no node says anything")
	return busiest
}

func TestWatchersOutliveKills(t *testing.T) {
	t.Parallel()                          // it mostly waits
	for _, servers := range []int{1, 3} { // with 3, watchers and nodes are on different servers of one NATS cluster
		t.Run(fmt.Sprintf("%d NATS servers", servers), func(t *testing.T) {
			t.Parallel()
			watchersOutliveKills(t, layout{nodes: 3, servers: servers})
		})
	}
}

func watchersOutliveKills(t *testing.T, l layout) {
	c := started(t, l)
	c.awaitHosts(3)
	stalls := stalltest.During(t)
	kv := c.keyValue()
	list := c.witnesses(100)
	stop := c.writeSlowly(kv)
	var worst time.Duration
	for round := range *watchKills {
		leader := c.leader()
		victim := leader
		if round%3 > 0 {
			victim = c.busiest()
		}
		lost := stalls.Lost()
		for _, w := range list {
			w.reset()
		}
		c.kill(victim)
		time.Sleep(2500 * time.Millisecond)
		var silence time.Duration
		for _, w := range list {
			_, s, _ := w.state()
			silence = max(silence, s)
		}
		t.Logf("%s killed, leader %v: longest silence %v", victim, victim == leader, silence)
		worst = max(worst, silence-(stalls.Lost()-lost)) // what the machine took is nobody's silence
		c.start(victim)
		c.awaitHosts(3)
	}
	stop()
	require.Less(t, worst, 2*time.Second, "%v", stalls)
	status, err := kv.Status(t.Context())
	require.NoError(t, err)
	for i, w := range list {
		require.Eventually(t, func() bool { n, _, _ := w.state(); return n >= int(status.Values()) }, 15*time.Second, 10*time.Millisecond, "watcher %d", i)
		n, _, disorder := w.state()
		require.EqualValues(t, status.Values(), n)
		require.Empty(t, disorder)
	}
}

func contextWithin(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
