package integration

import (
	"errors"
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
	l := &load{t: t, history: linear.NewHistory(), stop: make(chan struct{})}
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
	r, err := cluster.Ask(nc, time.Second, put+key, key)
	for ; err != nil && time.Since(began) < writeGivesUp; r, err = cluster.Ask(nc, time.Second, put+key, key) {
		if !errors.Is(err, nats.ErrNoResponders) {
			lost++
		}
		time.Sleep(2 * time.Millisecond) // a client's retry, not a wait for an event
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost += lost
	switch {
	case err != nil:
		l.fails = append(l.fails, key+": "+err.Error())
	case r.Error != nil:
		l.fails = append(l.fails, key+": "+r.Error.Text)
	default:
		l.acked = append(l.acked, key)
		l.times = append(l.times, time.Since(began))
	}
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
		in := linear.Input{Key: "k" + strconv.Itoa(rand.IntN(loadKeys)), Value: fmt.Sprintf("%d.%d", id, i)}
		in.Kind = []linear.Kind{linear.Get, linear.Get, linear.Put, linear.Update, linear.Delete}[rand.IntN(5)]
		if in.Expected = revisions[in.Key]; in.Kind == linear.Update && in.Expected == 0 {
			in.Kind = linear.Get
		}
		out := l.history.Record(id, in, func() linear.Output { return operate(nc, in) })
		if out.Outcome != linear.NotDone {
			revisions[in.Key] = out.Revision
		}
	}
}

// operate carries out one operation, once.
func operate(nc *nats.Conn, in linear.Input) linear.Output {
	m := &nats.Msg{Subject: "raftbus.kv." + in.Kind.String() + ".app." + in.Key, Header: nats.Header{}}
	if in.Kind == linear.Put || in.Kind == linear.Update {
		m.Data = []byte(in.Value)
	}
	if in.Kind == linear.Update {
		m.Header.Set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(in.Expected, 10))
	}
	r, err := cluster.AskMsg(nc, time.Second, m)
	switch found := in.Kind == linear.Get; {
	case errors.Is(err, nats.ErrNoResponders):
		return linear.Output{Outcome: linear.NotDone}
	case err != nil:
		return linear.Output{Outcome: linear.Unknown}
	case r.Error == nil:
		return linear.Output{Outcome: linear.Done, Found: found, Value: r.Value, Revision: r.Revision}
	case r.Error.Code == 404 && found:
		return linear.Output{Outcome: linear.Done}
	case r.Error.Code == 404, r.Error.Code == 409:
		return linear.Output{Outcome: linear.Refused}
	}
	return linear.Output{Outcome: linear.Unknown}
}

// finish stops the load, and holds what the cluster has against what was acknowledged and seen.
func (l *load) finish(c *cluster.Cluster, nc *nats.Conn) {
	close(l.stop)
	l.group.Wait()
	require.NotEmpty(l.t, l.times)
	slices.Sort(l.times)
	all, unknown := l.history.Count()
	l.t.Logf("%d new keys written, none failed: %d, attempts without an answer: %d, median %v, the slowest %v; %d operations on shared keys, %d unknown",
		len(l.acked), len(l.fails), l.lost, l.times[len(l.times)/2], l.times[max(0, len(l.times)-5):], all, unknown)
	require.Empty(l.t, l.fails, "writes failed")
	for _, key := range l.acked {
		require.Equal(l.t, key, c.Must(nc, get+key, "").Value, "an acknowledged write is lost")
	}
	require.NoError(l.t, l.history.Check(2*time.Minute))
}
