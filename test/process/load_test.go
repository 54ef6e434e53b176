package process

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/stalltest"
	"github.com/raftbus/raftbus/test/linear"
)

// load is concurrent clients that write, update, delete and read a few keys, one operation after the other, and record what they
// see; and one per NATS server that writes new keys only, so that availability can be measured and nothing acknowledged may be missed.
type load struct {
	c       *cluster
	name    string // of its keys: the history of a key begins with the load
	history *linear.History
	pace    atomic.Int64 // a time.Duration
	stop    chan struct{}
	group   sync.WaitGroup
	stalls  *stalltest.Meter

	mu    sync.Mutex
	acked []ack          // of the writers, in order
	told  map[string]int // errors that the writers were answered, by text
}

type ack struct {
	key  string
	at   time.Time
	took time.Duration // since it was first asked for
}

var loads atomic.Int64

// startLoad begins; the clients share n keys. Each begins an operation when the last is answered, but no sooner than a pace
// after it began; 0: at once.
func startLoad(c *cluster, clients, keys int, pace time.Duration) *load {
	l := &load{c: c, name: fmt.Sprintf("l%d-", loads.Add(1)), history: linear.NewHistory(), stop: make(chan struct{}), told: map[string]int{}}
	l.stalls = stalltest.Until(l.stop)
	l.setPace(pace)
	for i := range clients {
		servers := c.servers
		if c.layout.paired {
			servers = servers[i%len(servers):][:1]
		}
		l.run(servers, func(nc *nats.Conn) { l.client(nc, i, keys) })
	}
	for i := range c.servers {
		l.run(c.servers[i:][:1], func(nc *nats.Conn) { l.writer(nc, i) })
	}
	return l
}

// run runs one client on a connection of its own to one of some servers.
func (l *load) run(servers []*server, client func(*nats.Conn)) {
	nc := l.c.connect(servers...)
	l.group.Go(func() {
		defer nc.Close()
		client(nc)
	})
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
func (l *load) writer(nc *nats.Conn, id int) {
	for i := 0; !l.stopped(); i++ {
		key := fmt.Sprintf("%sw%d-%d", l.name, id, i)
		began := time.Now()
		for !l.stopped() {
			asked := time.Now()
			r, err := request(nc, writerPatience, "raftbus.kv.put.app."+key, key, nil)
			if l.answered(key, began, r, err) {
				l.rest(asked)
				break
			}
			time.Sleep(2 * time.Millisecond) // asking at once again would only spin
		}
	}
}

// answered notes what came of a writer's request, and reports whether that was an acknowledgement.
func (l *load) answered(key string, began time.Time, r reply, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		return false
	case r.Error != nil:
		l.told[r.Error.Text]++
		return false
	}
	l.acked = append(l.acked, ack{key, time.Now(), time.Since(began)})
	return true
}

// slowest is the longest that a writer had to ask for one write.
func (l *load) slowest() (took time.Duration) {
	for _, a := range l.acks() {
		took = max(took, a.took)
	}
	return took
}

// errors are what the writers were answered instead of acknowledgements.
func (l *load) errors() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.told)
}

// client does random operations on shared keys. Every second one only reads: a client whose write nobody answers sees nothing
// meanwhile, above all not what an old leader would still say (C3).
func (l *load) client(nc *nats.Conn, id, keys int) {
	revisions := map[string]uint64{}
	for i := 0; !l.stopped(); i++ {
		in := linear.Input{Key: l.name + "k" + strconv.Itoa(rand.IntN(keys)), Value: fmt.Sprintf("%d.%d", id, i)}
		switch n := rand.IntN(10); {
		case n < 5 || id%2 == 1:
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
		asked := time.Now()
		out := l.history.Record(id, in, func() linear.Output { return do(nc, in) })
		if out.Outcome == linear.NotDone {
			time.Sleep(2 * time.Millisecond) // nobody leads now
			continue
		}
		revisions[in.Key] = out.Revision
		l.rest(asked)
	}
}

// setPace changes the pace from the next operations on.
func (l *load) setPace(pace time.Duration) { l.pace.Store(int64(pace)) }

// rest waits until the next operation's turn comes.
func (l *load) rest(asked time.Time) {
	time.Sleep(time.Until(asked.Add(time.Duration(l.pace.Load()))))
}

// stable codes of the native API's errors.
const (
	codeKeyNotFound   = 30003
	codeCompacted     = 30020
	codeWrongRevision = 30005
	codeBusy          = 30012
	codeFull          = 30013
)

// codeTryAgain is that of errors which say nothing of the key: busy, or a read that no majority confirmed in time.
const codeTryAgain = 503

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
	case r.Error.ErrCode == codeBusy, r.Error.ErrCode == codeFull:
		return linear.Output{Outcome: linear.NotDone} // ERRORS.md says so: if it was done all the same, the checker finds it
	}
	return linear.Output{Outcome: linear.Unknown}
}

// acks is what the writer got acknowledged so far.
func (l *load) acks() []ack {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.acked)
}

// probe is a client that writes one key after the other and counts the requests that fail, for whatever reason. It waits
// long for each answer, so that a request which nobody answers shows.
type probe struct {
	stop        chan struct{}
	done        chan struct{}
	retries     bool // 'no responders' is no failure: it asks again
	asked, lost int
	slowest     time.Duration // from the first time that it asked to the answer
	failure     string        // of the last that was lost
}

// startProbe begins. The probe rests after each answer.
func startProbe(nc *nats.Conn, retries bool, rest time.Duration) *probe {
	p := &probe{stop: make(chan struct{}), done: make(chan struct{}), retries: retries}
	go func() {
		defer close(p.done)
		for {
			select {
			case <-p.stop:
				return
			default:
			}
			p.ask(nc)
			time.Sleep(rest)
		}
	}()
	return p
}

func (p *probe) ask(nc *nats.Conn) {
	p.asked++
	began := time.Now()
	for {
		r, err := request(nc, 5*time.Second, "raftbus.kv.put.app.probe", strconv.Itoa(p.asked), nil)
		if p.retries && errors.Is(err, nats.ErrNoResponders) && time.Since(began) < 5*time.Second {
			time.Sleep(2 * time.Millisecond)
			continue
		}
		p.slowest = max(p.slowest, time.Since(began))
		if err != nil || r.Error != nil {
			p.lost++
			p.failure = fmt.Sprintf("%v %+v", err, r.Error)
		}
		return
	}
}

// finish ends the probe after its last request.
func (p *probe) finish() (asked, lost int) {
	close(p.stop)
	<-p.done
	return p.asked, p.lost
}

// waitAck waits for a write acknowledged after a moment, and returns how long after it that was.
func (l *load) waitAck(since time.Time, within time.Duration) time.Duration {
	var at time.Time
	require.Eventually(l.c.t, func() (ok bool) {
		at, ok = l.ackAfter(since)
		return ok
	}, within, 5*time.Millisecond, "no write was acknowledged")
	return at.Sub(since)
}

// ackAfter is when the first write after a moment was acknowledged.
func (l *load) ackAfter(since time.Time) (at time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := sort.Search(len(l.acked), func(i int) bool { return l.acked[i].at.After(since) })
	if first == len(l.acked) {
		return at, false
	}
	return l.acked[first].at, true
}

// longestGap is the longest time between two moments in which no write was acknowledged.
func (l *load) longestGap(from, to time.Time) (gap time.Duration) {
	last := from
	for _, a := range l.acks() {
		if a.at.After(from) && a.at.Before(to) {
			gap = max(gap, a.at.Sub(last))
			last = a.at
		}
	}
	return max(gap, to.Sub(last))
}

// finish stops the load, and holds what the cluster has against what was acknowledged and seen.
func (l *load) finish() {
	l.end()
	l.c.checkAcked(l.acks())
}

// end stops the load, and judges what its clients saw.
func (l *load) end() {
	close(l.stop)
	l.group.Wait()
	all, unknown := l.history.Count()
	l.c.t.Logf("%d operations on shared keys, %d unknown; %d acknowledged new keys", all, unknown, len(l.acks()))
	require.NoError(l.c.t, l.history.Check(2*time.Minute))
}

// checkAcked reads every acknowledged key back.
func (c *cluster) checkAcked(acked []ack) {
	require.NotEmpty(c.t, acked)
	const readers = 8
	nc := c.connect()
	defer nc.Close()
	problems := make([]error, readers)
	var group sync.WaitGroup
	for i := range readers {
		group.Go(func() {
			for _, a := range acked[i*len(acked)/readers : (i+1)*len(acked)/readers] {
				problems[i] = errors.Join(problems[i], readBack(nc, a.key))
			}
		})
	}
	group.Wait()
	require.NoError(c.t, errors.Join(problems...))
}

// readBack reads a key that is its own value, trying again while nobody answers or the read cannot be confirmed.
func readBack(nc *nats.Conn, key string) error {
	for since := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		r, err := request(nc, time.Second, "raftbus.kv.get.app."+key, "", nil)
		again := err != nil || r.Error != nil && r.Error.Code == codeTryAgain
		switch {
		case again && time.Since(since) > 15*time.Second:
			return fmt.Errorf("%s cannot be read: %v %+v", key, err, r.Error)
		case again:
		case r.Error != nil:
			return fmt.Errorf("acknowledged write of %s is lost: %+v", key, *r.Error)
		case r.Value != key:
			return fmt.Errorf("%s has another value: %q", key, r.Value)
		default:
			return nil
		}
	}
}

// median of some durations.
func median(list []time.Duration) time.Duration {
	sorted := slices.Clone(list)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}
