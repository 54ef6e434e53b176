package integration

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/cluster"
	"github.com/raftbus/raftbus/test/linear"
)

// load is clients that write, update, delete and read a few keys and record what they see, and writers of new keys, each until it is
// acknowledged: so that nothing acknowledged may be missed, and no write may fail.
type load struct {
	t       *testing.T
	history *linear.History
	stop    chan struct{}
	group   sync.WaitGroup
	givesUp time.Duration // of a writer: nobody has answered one write for so long

	mu    sync.Mutex
	acked []string        // keys of the writers; the value is the key
	times []time.Duration // that each of those writes took, with all its attempts
	lost  int             // attempts that got no answer in time: the outcome was unknown, and the write was tried again
	fails []string        // writes given up, or refused
}

const (
	loadKeys     = 5
	loadPause    = 3 * time.Millisecond // the machine has other things to do than this load
	writeGivesUp = 10 * time.Second
)

func startLoad(c *cluster.Cluster, t *testing.T, clients, writers int) *load {
	return startPatientLoad(c, t, clients, writers, writeGivesUp)
}

// startPatientLoad is startLoad where nobody may be there for longer.
func startPatientLoad(c *cluster.Cluster, t *testing.T, clients, writers int, givesUp time.Duration) *load {
	l := &load{t: t, history: linear.NewHistory(), stop: make(chan struct{}), givesUp: givesUp}
	for i := range clients {
		nc := c.Connect()
		l.group.Go(func() { l.client(nc, i) })
	}
	for i := range writers {
		nc := c.Connect()
		l.group.Go(func() { l.writer(nc, i) })
	}
	return l
}

// goesOn waits, and reports whether there is more to do.
func (l *load) goesOn(pause time.Duration) bool {
	select {
	case <-l.stop:
		return false
	case <-time.After(pause):
		return true
	}
}

func (l *load) writer(nc *nats.Conn, id int) {
	for i := 0; l.goesOn(loadPause); i++ {
		l.write(nc, fmt.Sprintf("w%d-%d", id, i))
	}
}

// write puts a key until it is acknowledged.
func (l *load) write(nc *nats.Conn, key string) {
	began, lost := time.Now(), 0
	in := linear.Input{Key: "app." + key, Value: key}
	out := cluster.Operate(nc, time.Second, in)
	for ; (out.Outcome == linear.Unknown || out.Outcome == linear.NotDone) && time.Since(began) < l.givesUp; out = cluster.Operate(nc, time.Second, in) {
		if out.Outcome == linear.Unknown {
			lost++
		}
		time.Sleep(2 * time.Millisecond) // a client's retry, not a wait for an event
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost += lost
	if out.Outcome != linear.Done {
		l.fails = append(l.fails, key+": "+out.Said)
		return
	}
	l.acked = append(l.acked, key)
	l.times = append(l.times, time.Since(began))
}

// ackedSoFar are the keys whose writes were acknowledged.
func (l *load) ackedSoFar() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.acked)
}

// client does random operations on shared keys.
func (l *load) client(nc *nats.Conn, id int) {
	revisions := map[string]uint64{}
	for i := 0; l.goesOn(loadPause); i++ {
		in := linear.Input{Key: "app.k" + strconv.Itoa(rand.IntN(loadKeys)), Value: fmt.Sprintf("%d.%d", id, i)}
		in.Kind = []linear.Kind{linear.Get, linear.Get, linear.Put, linear.Update, linear.Delete}[rand.IntN(5)]
		if in.Expected = revisions[in.Key]; in.Kind == linear.Update && in.Expected == 0 {
			in.Kind = linear.Get
		}
		out := l.history.Record(id, in, func() linear.Output { return cluster.Operate(nc, time.Second, in) })
		if out.Outcome != linear.NotDone {
			revisions[in.Key] = out.Revision
		}
	}
}

// leastDone is how many operations of each kind must have been done: else a history shows nothing of that kind.
const leastDone = 3

// end stops the load once nearly all operations of a stretch are answered, as they are where no fault is under way any more, and there is something to judge of
// each kind; and judges what the clients saw. What a fault has left, as an election, may spoil the first ones.
func (l *load) end(kinds ...linear.Kind) {
	since := time.Now()
	require.Eventually(l.t, func() bool {
		enough, well := l.history.Tally(since).Calm()
		if enough && !well {
			l.t.Logf("not calm yet: %v", l.history.Tally(since))
			since = time.Now()
		}
		return enough && well && l.history.TallyAll().Lacks(leastDone, kinds...) == ""
	}, time.Minute, 5*time.Millisecond, "without a fault too many operations are not answered, or too little was done")
	close(l.stop)
	l.group.Wait()
	l.t.Logf("%v", l.history.TallyAll())
	require.NoError(l.t, l.history.Check(2*time.Minute))
}

// finish stops the load, and holds what the cluster has against what was acknowledged and seen.
func (l *load) finish(c *cluster.Cluster, nc *nats.Conn) {
	l.end(linear.Put, linear.Update, linear.Delete, linear.Get)
	require.NotEmpty(l.t, l.times)
	slices.Sort(l.times)
	l.t.Logf("%d new keys written, none failed: %d, attempts without an answer: %d, median %v, the slowest %v",
		len(l.acked), len(l.fails), l.lost, l.times[len(l.times)/2], l.times[max(0, len(l.times)-5):])
	require.Empty(l.t, l.fails, "writes failed")
	for _, key := range l.acked {
		require.Equal(l.t, key, c.Must(nc, get+key, "").Value, "an acknowledged write is lost")
	}
}
