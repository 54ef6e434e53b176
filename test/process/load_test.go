package process

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/linear"
)

// load is concurrent clients that write, update, delete and read a few keys, at once again after every answer, and record what
// they see; and one that writes new keys only, so that availability can be measured and nothing acknowledged may be missed.
type load struct {
	c       *cluster
	name    string // of its keys: the history of a key begins with the load
	history *linear.History
	stop    chan struct{}
	group   sync.WaitGroup

	mu    sync.Mutex
	acked []ack // of the writer, in order
}

type ack struct {
	key string
	at  time.Time
}

var loads atomic.Int64

// startLoad begins; readers and writers share n keys.
func startLoad(c *cluster, clients, keys int) *load {
	l := &load{c: c, name: fmt.Sprintf("l%d-", loads.Add(1)), history: linear.NewHistory(), stop: make(chan struct{})}
	for i := range clients {
		nc := c.connect()
		l.group.Go(func() { l.client(nc, i, keys) })
	}
	nc := c.connect()
	l.group.Go(func() { l.writer(nc) })
	return l
}

func (l *load) stopped() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// writerPatience is how long the writer waits for an answer before it asks again: what a dead leader had received nobody
// answers.
const writerPatience = 100 * time.Millisecond

// writer puts new keys, one after the other, each until it is acknowledged.
func (l *load) writer(nc *nats.Conn) {
	for i := 0; !l.stopped(); i++ {
		key := l.name + "w" + strconv.Itoa(i)
		for !l.stopped() {
			r, err := request(nc, writerPatience, "raftbus.kv.put.app."+key, key, nil)
			if err == nil && r.Error == nil {
				l.mu.Lock()
				l.acked = append(l.acked, ack{key, time.Now()})
				l.mu.Unlock()
				break
			}
			time.Sleep(2 * time.Millisecond) // asking at once again would only spin
		}
	}
}

// client does random operations on shared keys.
func (l *load) client(nc *nats.Conn, id, keys int) {
	revisions := map[string]uint64{}
	for i := 0; !l.stopped(); i++ {
		in := linear.Input{Key: l.name + "k" + strconv.Itoa(rand.IntN(keys)), Value: fmt.Sprintf("%d.%d", id, i)}
		switch n := rand.IntN(10); {
		case n < 5:
			in.Kind = linear.Get
		case n < 7:
			in.Kind = linear.Put
		case n < 9:
			in.Kind, in.Expected = linear.Update, revisions[in.Key]
		default:
			in.Kind = linear.Delete
		}
		if in.Kind == linear.Update && in.Expected == 0 {
			in.Kind = linear.Get
		}
		out := l.history.Record(id, in, func() linear.Output { return do(nc, in) })
		if out.Outcome == linear.NotDone {
			time.Sleep(2 * time.Millisecond) // nobody leads now
			continue
		}
		revisions[in.Key] = out.Revision
	}
}

// stable codes of the native API's errors.
const (
	codeKeyNotFound   = 30003
	codeWrongRevision = 30005
)

// do carries out one operation through the native API.
func do(nc *nats.Conn, in linear.Input) linear.Output {
	var header nats.Header
	if in.Kind == linear.Update {
		header = nats.Header{"Nats-Expected-Last-Subject-Sequence": {strconv.FormatUint(in.Expected, 10)}}
	}
	body := in.Value
	if in.Kind == linear.Get || in.Kind == linear.Delete {
		body = ""
	}
	r, err := request(nc, time.Second, "raftbus.kv."+in.Kind.String()+".app."+in.Key, body, header)
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrReconnectBufExceeded):
		return linear.Output{Outcome: linear.NotDone}
	case err != nil:
		return linear.Output{Outcome: linear.Unknown}
	case r.Error == nil:
		return linear.Output{Outcome: linear.Done, Found: in.Kind == linear.Get, Value: r.Value, Revision: r.Revision}
	case r.Error.ErrCode == codeKeyNotFound && in.Kind == linear.Get:
		return linear.Output{Outcome: linear.Done}
	case r.Error.ErrCode == codeKeyNotFound, r.Error.ErrCode == codeWrongRevision:
		return linear.Output{Outcome: linear.Refused}
	}
	return linear.Output{Outcome: linear.Unknown}
}

// acks is what the writer got acknowledged so far.
func (l *load) acks() []ack {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.acked)
}

// probe is a client that writes one key after the other and counts the requests that fail, for whatever reason.
type probe struct {
	stop        chan struct{}
	done        chan struct{}
	asked, lost int
}

func startProbe(nc *nats.Conn) *probe {
	p := &probe{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for {
			select {
			case <-p.stop:
				return
			default:
			}
			p.asked++
			if r, err := request(nc, 5*time.Second, "raftbus.kv.put.app.probe", strconv.Itoa(p.asked), nil); err != nil || r.Error != nil {
				p.lost++
			}
		}
	}()
	return p
}

// finish ends the probe after its last request.
func (p *probe) finish() (asked, lost int) {
	close(p.stop)
	<-p.done
	return p.asked, p.lost
}

// waitAck waits for a write acknowledged after a moment, and returns how long after it that was.
func (l *load) waitAck(since time.Time, within time.Duration) time.Duration {
	var gap time.Duration
	require.Eventually(l.c.t, func() bool {
		all := l.acks()
		if len(all) == 0 || !all[len(all)-1].at.After(since) {
			return false
		}
		first := slices.IndexFunc(all, func(a ack) bool { return a.at.After(since) })
		gap = all[first].at.Sub(since)
		return true
	}, within, time.Millisecond, "no write was acknowledged")
	return gap
}

// finish stops the load, and holds what the cluster has against what was acknowledged and seen.
func (l *load) finish(nc *nats.Conn) {
	close(l.stop)
	l.group.Wait()
	checkAcked(l.c.t, nc, l.acks())
	all, unknown := l.history.Count()
	l.c.t.Logf("%d operations on shared keys, %d unknown; %d acknowledged new keys", all, unknown, len(l.acks()))
	require.NoError(l.c.t, l.history.Check(2*time.Minute))
}

// checkAcked reads every acknowledged key back.
func checkAcked(t *testing.T, nc *nats.Conn, acked []ack) {
	require.NotEmpty(t, acked)
	for _, a := range acked {
		var r reply
		require.Eventually(t, func() bool {
			var err error
			r, err = request(nc, time.Second, "raftbus.kv.get.app."+a.key, "", nil)
			return err == nil
		}, 15*time.Second, 20*time.Millisecond, "%s cannot be read", a.key)
		require.Nil(t, r.Error, "acknowledged write of %s is lost: %+v", a.key, r.Error)
		require.Equal(t, a.key, r.Value)
	}
}

// median of some durations.
func median(list []time.Duration) time.Duration {
	sorted := slices.Clone(list)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}
