package leaf

import (
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/raft/leaktest"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6") // those that may run together mostly wait; -parallel says otherwise
	leaktest.Main(m)
}

// soon is how long tests wait for what must happen, tick how often they look.
const (
	soon = 10 * time.Second
	tick = 2 * time.Millisecond
)

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, soon, tick, what)
}

func await[T any](t testing.TB, what string, from <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(soon):
		require.FailNow(t, "nothing came", what)
	}
	return value
}

// startNATS runs a server with a leafnode port for the length of the test.
func startNATS(t testing.TB, change ...func(*embedded.Options)) *embedded.Server {
	t.Helper()
	o := embedded.Options{LeafPort: embedded.Random}
	for _, c := range change {
		c(&o)
	}
	s, err := embedded.StartAgain(o)
	require.NoError(t, err)
	t.Cleanup(s.Shutdown)
	return s
}

// events are what a connection says of itself, in order.
type events struct {
	mu   sync.Mutex
	list []string
	room int
}

func (e *events) add(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, fmt.Sprintf(format, args...))
}

func (e *events) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	taken := e.list
	e.list = nil
	return taken
}

func (e *events) rooms() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.room
}

func (e *events) into(o *Options) {
	o.OnStatus = func(up bool) { e.add("up %v", up) }
	o.OnInterest = func(subject string, interested bool) { e.add("%s %v", subject, interested) }
	o.OnRoom = func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.room++
	}
}

var disconnects sync.Map // of connections: how often they were up, and then not

func disconnectsOf(c *Conn) int {
	n, _ := disconnects.Load(c)
	return int(n.(*atomic.Int64).Load())
}

func isUp(c *Conn) bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.up
}

// waiting is how many bytes are not written yet.
func waiting(c *Conn) int {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return len(c.out.pending)
}

// hears has the connection subscribe, and what it hears go to the channel.
func hears[T any](subject string, to chan<- T, what func(Message) T) func(*Options) {
	return func(o *Options) { o.Subject, o.OnMessage = subject, func(m Message) { to <- what(m) } }
}

func subjectOfMessage(m Message) string { return m.Subject }

func dataOf(m Message) string { return string(m.Data) }

// begin dials and does not wait for the connection.
func begin(t testing.TB, url string, change ...func(*Options)) *Conn {
	t.Helper()
	o := Options{URLs: []string{url}, Prefix: "raftbus", Node: "n1"}
	for _, c := range change {
		c(&o)
	}
	ended, told := new(atomic.Int64), o.OnStatus
	o.OnStatus = func(up bool) {
		if !up {
			ended.Add(1)
		}
		if told != nil {
			told(up)
		}
	}
	c, err := Dial(o)
	require.NoError(t, err)
	disconnects.Store(c, ended)
	t.Cleanup(func() { c.Close(); disconnects.Delete(c) })
	return c
}

func dial(t testing.TB, url string, change ...func(*Options)) *Conn {
	t.Helper()
	c := begin(t, url, change...)
	awaitUp(t, c)
	return c
}

func awaitUp(t testing.TB, c *Conn) {
	t.Helper()
	eventually(t, "the connection is up", func() bool { return isUp(c) })
}

func client(t testing.TB, url string, o ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(10 * time.Millisecond), nats.Timeout(soon)}, o...)...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

func subscribe(t testing.TB, nc *nats.Conn, subject string) *nats.Subscription {
	t.Helper()
	sub, err := nc.SubscribeSync(subject)
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	return sub
}

func awaitInterest(t testing.TB, c *Conn, subject string, interested bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("interest in %s is %v", subject, interested), func() bool { return c.interest.interested(subject) == interested })
}

func next(t testing.TB, sub *nats.Subscription) *nats.Msg {
	t.Helper()
	m, err := sub.NextMsg(soon)
	require.NoError(t, err)
	return m
}
