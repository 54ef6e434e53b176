package process

import (
	"encoding/json"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

var overload = flag.Duration("overload", 0, "how long TestOverload asks for more than the cluster can do; 0: not at all")

// Clients ask for three times what the cluster can do, without waiting for answers: they hear of an acknowledgement, of 'busy', or
// nothing, since those that wait to be refused are bounded too; nobody is elected meanwhile, and nothing acknowledged is
// lost (F26).
func TestOverload(t *testing.T) {
	if *overload == 0 {
		t.Skip("give -overload")
	}
	c := started(t, layout{nodes: 3})
	capacity := c.capacity()
	term := c.term()
	l := startLoad(c, 2, 20, 50*time.Millisecond)
	f := &flood{answers: map[string]int{}}
	var group sync.WaitGroup
	const sources = 4
	for i := range sources {
		nc := c.connect()
		group.Go(func() { f.run(nc, i, 3*capacity/sources, *overload) })
	}
	group.Wait()
	f.quiet()
	t.Logf("%d writes/s is what it can do; asked for %d/s for %v: %s", capacity, 3*capacity, *overload, f)
	require.Equal(t, term, c.term(), "overload caused an election")
	for text := range f.answers {
		require.Contains(t, []string{"", "30012"}, text, "%s", f)
	}
	l.waitAck(time.Now(), 10*time.Second)
	c.converged(time.Minute)
	l.finish()
	c.checkKeys(f.acked)
	c.checkStates()
}

// capacity measures how many writes a second are done for many clients that wait for each answer.
func (c *cluster) capacity() int {
	const writers, length = 512, 3 * time.Second
	var done atomic.Int64
	var group sync.WaitGroup
	var conns []*nats.Conn
	for range 4 {
		conns = append(conns, c.connect())
	}
	until := time.Now().Add(length)
	for w := range writers {
		group.Go(func() {
			for i := 0; time.Now().Before(until); i++ {
				if r, err := request(conns[w%len(conns)], time.Second, fmt.Sprintf("raftbus.kv.put.app.c%d", w), "", nil); err == nil && r.Error == nil {
					done.Add(1)
				}
			}
		})
	}
	group.Wait()
	return int(float64(done.Load()) / length.Seconds())
}

// flood is requests that do not wait for each other.
type flood struct {
	asked, answered atomic.Int64

	mu      sync.Mutex
	answers map[string]int // by code of the error; empty: acknowledged
	acked   []ack
}

func (f *flood) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprintf("%d asked, %d answered, by error code: %v", f.asked.Load(), f.answered.Load(), f.answers)
}

// quiet waits until answers come no more: none for longer than the node gives a request.
func (f *flood) quiet() {
	for before := int64(-1); before != f.answered.Load() && f.answered.Load() < f.asked.Load(); {
		before = f.answered.Load()
		time.Sleep(6 * time.Second)
	}
}

// floodStep is how often a source sends what is due.
const floodStep = 5 * time.Millisecond

func (f *flood) run(nc *nats.Conn, source, perSecond int, length time.Duration) {
	inbox := nc.NewInbox()
	sub, err := nc.Subscribe(inbox+".*", func(m *nats.Msg) { f.take(m.Subject[len(inbox)+1:], m) })
	if err != nil || sub.SetPendingLimits(-1, -1) != nil {
		return
	}
	tick := time.NewTicker(floodStep)
	defer tick.Stop()
	began, sent := time.Now(), 0
	for now := range tick.C {
		if now.Sub(began) > length {
			break
		}
		for due := int(now.Sub(began).Seconds() * float64(perSecond)); sent < due; sent++ {
			key := fmt.Sprintf("flood%d-%d", source, sent)
			f.asked.Add(1)
			if nc.PublishRequest("raftbus.kv.put.app."+key, inbox+"."+key, []byte(key)) != nil {
				f.take(key, &nats.Msg{Data: []byte(`{"error":{"err_code":-1}}`)})
			}
		}
	}
	_ = nc.Flush()
}

func (f *flood) take(key string, m *nats.Msg) {
	var r reply
	code := "unreadable"
	if json.Unmarshal(m.Data, &r) == nil {
		code = ""
	}
	if r.Error != nil {
		code = fmt.Sprint(r.Error.ErrCode)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[code]++
	if code == "" {
		f.acked = append(f.acked, ack{key: key})
	}
	f.answered.Add(1)
}
