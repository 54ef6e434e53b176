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
	inprocess "github.com/raftbus/raftbus/test/cluster"
	"github.com/raftbus/raftbus/test/linear"
)

// load is concurrent clients that write, update, delete and read a few keys, one operation after the other, and record what they
// see; and one per NATS server that writes new keys only, so that availability can be measured and nothing acknowledged may be missed. Half of the
// writes have message ids: they are sent again until it is known what came of them, and are done once (C4, C5).
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
	wrong []string       // what the writers were answered and no writer may be
	found int            // writes of the clients that had been done when they were sent again, since nobody had heard what came of them
}

type ack struct {
	key      string
	at       time.Time
	took     time.Duration // since it was first asked for
	revision uint64        // of the only write of the key; 0: it may have been written more than once
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

// writer writes new keys, one after the other, each until it is acknowledged: puts, which may be done more than once, and creates with a message
// id, which are done once, so that none is refused since its key is there.
func (l *load) writer(nc *nats.Conn, id int) {
	for i := 0; !l.stopped(); i++ {
		in := linear.Input{Key: fmt.Sprintf("app.%sw%d-%d", l.name, id, i)}
		if in.Value = in.Key[len("app."):]; i%2 == 1 {
			in.Kind, in.ID = linear.Create, in.Value
		}
		began := time.Now()
		for !l.stopped() {
			asked := time.Now()
			if l.answered(in, began, inprocess.Operate(nc, writerPatience, in)) {
				l.rest(asked)
				break
			}
			time.Sleep(2 * time.Millisecond) // asking at once again would only spin
		}
	}
}

// answered notes what came of a writer's request, and reports whether that was an acknowledgement.
func (l *load) answered(in linear.Input, began time.Time, out linear.Output) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if out.Said != "" {
		l.told[out.Said]++
	}
	switch out.Outcome {
	case linear.Done:
		a := ack{key: in.Value, at: time.Now(), took: time.Since(began)}
		if in.ID != "" {
			a.revision = out.Revision
		}
		l.acked = append(l.acked, a)
		return true
	case linear.Unknown, linear.NotDone:
		return false
	}
	l.wrong = append(l.wrong, fmt.Sprintf("%+v: %s", in, out.Said))
	return false
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
		in := linear.Input{Key: "app." + l.name + "k" + strconv.Itoa(rand.IntN(keys)), Value: fmt.Sprintf("%s%d.%d", l.name, id, i)}
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
		if in.Kind != linear.Get && rand.IntN(2) == 0 {
			in.ID = in.Value
		}
		asked := time.Now()
		out := l.operate(nc, id, in)
		if out.Outcome == linear.NotDone {
			time.Sleep(2 * time.Millisecond) // nobody leads now
			continue
		}
		revisions[in.Key] = out.Revision
		l.rest(asked)
	}
}

// A write with a message id is sent again for triesLength at most: what is under way longer than that is still far from the end of the window, which is two
// minutes. One that is known to be done is sent again one time in triesAgain.
const (
	triesLength = 30 * time.Second
	triesAgain  = 4
)

// operate carries out one operation through the native API. Where a write with a message id may have been done, it is sent again until that is known.
func (l *load) operate(nc *nats.Conn, id int, in linear.Input) linear.Output {
	ask := func() linear.Output {
		return l.history.Record(id, in, func() linear.Output { return inprocess.Operate(nc, time.Second, in) })
	}
	out := ask()
	if in.ID == "" || out.Outcome == linear.NotDone {
		return out
	}
	lost := out.Outcome == linear.Unknown
	for first := time.Now(); (out.Outcome == linear.Unknown || out.Outcome == linear.NotDone) && !l.stopped() && time.Since(first) < triesLength; out = ask() {
		time.Sleep(2 * time.Millisecond) // asking at once again would only spin
	}
	if lost && out.Again {
		l.mu.Lock()
		l.found++
		l.mu.Unlock()
	}
	if out.Outcome == linear.Done && rand.IntN(triesAgain) == 0 {
		ask()
	}
	return out
}

// setPace changes the pace from the next operations on.
func (l *load) setPace(pace time.Duration) { l.pace.Store(int64(pace)) }

// rest waits until the next operation's turn comes.
func (l *load) rest(asked time.Time) {
	time.Sleep(time.Until(asked.Add(time.Duration(l.pace.Load()))))
}

// codeTryAgain is that of errors which say nothing of the key: busy, or a read that no majority confirmed in time.
const codeTryAgain = 503

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

// finish stops the load where no fault is under way any more, and holds what the cluster has against what was acknowledged and seen.
func (l *load) finish() {
	l.calm()
	l.end()
	l.c.checkAcked(l.acks())
}

// calm waits until nearly all operations of a stretch are answered. What a fault has left, as an election, may spoil the first ones.
func (l *load) calm() {
	since := time.Now()
	require.Eventually(l.c.t, func() bool {
		enough, well := l.history.Tally(since).Calm()
		if enough && !well {
			l.c.t.Logf("not calm yet: %v", l.history.Tally(since))
			since = time.Now()
		}
		return enough && well
	}, time.Minute, 5*time.Millisecond, "without a fault too many operations are not answered")
}

// leastDone is how many operations of each kind must have been done: else a history shows nothing of that kind.
const leastDone = 3

// end stops the load once there is something to judge, and judges what its clients saw.
func (l *load) end() {
	kinds := []linear.Kind{linear.Put, linear.Update, linear.Delete, linear.Get}
	require.Eventually(l.c.t, func() bool { return l.history.TallyAll().Lacks(leastDone, kinds...) == "" }, 30*time.Second, 5*time.Millisecond, "too little was done")
	close(l.stop)
	l.group.Wait()
	l.c.t.Logf("%v; %d writes found done when they were sent again; %d acknowledged new keys", l.history.TallyAll(), l.found, len(l.acks()))
	require.Empty(l.c.t, l.wrong, "what a writer may not be answered")
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
				problems[i] = errors.Join(problems[i], readBack(nc, a))
			}
		})
	}
	group.Wait()
	require.NoError(c.t, errors.Join(problems...))
}

// readBack reads a key that is its own value, trying again while nobody answers or the read cannot be confirmed.
func readBack(nc *nats.Conn, a ack) error {
	key := a.key
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
		case a.revision > 0 && r.Revision != a.revision:
			return fmt.Errorf("%s was written once, at revision %d, and has %d (C4)", key, a.revision, r.Revision)
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
