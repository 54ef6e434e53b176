// Package hostile sends a live cluster what somebody would who can publish everything on its bus, and does not have its key: forged,
// replayed and broken messages. No term, no leader and no key may change, and no memory be kept (Q3, Q10, Q11).
package hostile

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/raft/leaktest"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/stalltest"
	"github.com/raftbus/raftbus/test/cluster"
)

var (
	count = flag.Int("messages", 10_000, "how many hostile messages are sent; a release: 1000000")
	flood = flag.Duration("flood", 0, "how long one client asks for more than can be done; 0: not at all, since all is in one process here, and on a busy machine its CPU is what is starved")
	seed  = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of what is sent")
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const (
	batch    = 250      // messages that are sent before the cluster is asked something
	heapSlop = 24 << 20 // bytes that the heap may differ by: caches, and NATS's buffers
)

var key = []byte("0123456789abcdef0123456789abcdef")

// recordedMax is how much of what nodes say is recorded.
const recordedMax = 4_000

func TestHostileMessagesChangeNothing(t *testing.T) {
	t.Logf("-seed %d", *seed)
	c := cluster.Started(t, 3, func(o *replica.Options) { o.ClusterKey, o.DefaultAPI = key, true })
	nc := c.Connect()
	a := &attacker{t: t, c: c, nc: nc, random: rand.New(rand.NewPCG(*seed, 1))}
	a.record(func() {
		c.Must(nc, "raftbus.bucket.add.app", "")
		for i := range 200 {
			c.Must(nc, fmt.Sprintf("raftbus.kv.put.app.k%d", i), "honest")
		}
		old := c.Leader()
		c.Must(nc, "raftbus.admin.transfer", "") // elections, votes and orders to campaign are in the recording
		c.Leader(old)
		c.Must(nc, "raftbus.kv.put.app.k0", "honest")
	})
	require.NotEmpty(t, a.recorded)

	for id := range c.Nodes {
		c.Applied(id)
	}
	state, heap := a.state(), heapBytes()
	electsNobody(t, c, func() error {
		for sent := 0; sent < *count; sent += batch {
			for range min(batch, *count-sent) {
				a.send()
			}
			require.NoError(t, nc.FlushTimeout(10*time.Second))
			require.Equal(t, "honest", c.Must(nc, "raftbus.kv.get.app.k1", "").Value, "clients are served meanwhile")
		}
		return nil
	})
	require.Equal(t, state, a.state())
	require.Less(t, int64(heapBytes())-int64(heap), int64(heapSlop), "memory is kept")
}

// attacker knows everything about the cluster but its key.
type attacker struct {
	t        testing.TB
	c        *cluster.Cluster
	nc       *nats.Conn
	random   *rand.Rand
	recorded []*nats.Msg
	next     int // of recorded, in order
}

// record keeps what nodes say to each other while something is done.
func (a *attacker) record(do func()) {
	var mu sync.Mutex
	over := false // a message may be on its way to us when nothing more is wanted
	sub, err := a.nc.Subscribe("raftbus.rpc.>", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if !over && len(a.recorded) < recordedMax {
			a.recorded = append(a.recorded, m)
		}
	})
	require.NoError(a.t, err)
	require.NoError(a.t, a.nc.Flush())
	do()
	require.NoError(a.t, sub.Unsubscribe())
	require.NoError(a.t, a.nc.Flush())
	mu.Lock()
	defer mu.Unlock()
	over = true
}

func termsOf(c *cluster.Cluster) map[string]uint64 {
	terms := map[string]uint64{}
	for id, n := range c.Nodes {
		terms[id] = n.Status().Term
	}
	return terms
}

// electsNobody requires that nobody is elected while something is done, and that it goes well. It is done anew where the machine stood still: then a
// leader may not have been heard for an election timeout, a second at least, and who asked it is not answered. Many short waits excuse nothing.
func electsNobody(t testing.TB, c *cluster.Cluster, do func() error) {
	for range 5 {
		leader, terms := c.Leader(), termsOf(c)
		ended := make(chan struct{})
		stalls := stalltest.Until(ended)
		err := do()
		same := err == nil && c.Leader() == leader && maps.Equal(terms, termsOf(c))
		close(ended)
		if same {
			return
		}
		require.GreaterOrEqual(t, stalls.Longest(), 300*time.Millisecond, "%v; terms were %v, and are %v", err, terms, termsOf(c))
		t.Logf("%v; terms were %v, and are %v; it is done anew, since %v", err, terms, termsOf(c), stalls)
	}
	require.Fail(t, "this machine is too busy to tell")
}

// state is what a client reads: the names of all keys, and the revision of the newest.
func (a *attacker) state() string {
	m, err := a.nc.Request("raftbus.kv.keys.app", []byte(`{"limit":1000}`), 5*time.Second)
	require.NoError(a.t, err)
	info, err := a.nc.Request("raftbus.bucket.info.app", nil, 5*time.Second)
	require.NoError(a.t, err)
	list, err := a.nc.Request("raftbus.bucket.ls", nil, 5*time.Second)
	require.NoError(a.t, err)
	return string(m.Data) + string(info.Data) + string(list.Data)
}

func heapBytes() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// send sends one message.
func (a *attacker) send() {
	kinds := []func() *nats.Msg{a.replay, a.shuffled, a.misdirected, a.flipped, a.cut, a.noise, a.part, a.forged, a.forged, a.request}
	require.NoError(a.t, a.nc.PublishMsg(kinds[a.random.IntN(len(kinds))]()))
}

func (a *attacker) replay() *nats.Msg {
	a.next++
	return again(a.recorded[a.next%len(a.recorded)])
}

func (a *attacker) shuffled() *nats.Msg { return again(a.recorded[a.random.IntN(len(a.recorded))]) }

// again is a copy that nats.go will send.
func again(m *nats.Msg) *nats.Msg {
	return &nats.Msg{Subject: m.Subject, Reply: m.Reply, Data: append([]byte(nil), m.Data...)}
}

// misdirected goes to another, from another, or with another method.
func (a *attacker) misdirected() *nats.Msg {
	m := a.shuffled()
	tokens := strings.Split(m.Subject, ".")
	at := 2 + a.random.IntN(3)
	other := strings.Split(a.shuffled().Subject, ".")
	tokens[at] = other[at]
	m.Subject = strings.Join(tokens, ".")
	return m
}

func (a *attacker) flipped() *nats.Msg {
	m := a.shuffled()
	if len(m.Data) > 0 {
		m.Data[a.random.IntN(len(m.Data))] ^= 1 << a.random.IntN(8)
	}
	return m
}

func (a *attacker) cut() *nats.Msg {
	m := a.shuffled()
	m.Data = m.Data[:a.random.IntN(len(m.Data)+1)]
	return m
}

func (a *attacker) noise() *nats.Msg {
	m := a.shuffled()
	m.Data = a.bytes(a.random.IntN(2048))
	return m
}

// part says that it is a part of a larger message: those begin with a zero.
func (a *attacker) part() *nats.Msg {
	m := a.noise()
	m.Data = append([]byte{0}, m.Data...)
	return m
}

func (a *attacker) bytes(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(a.random.Uint32())
	}
	return out
}

// forged is a message that would depose the leader, or worse, sealed with another key or with none.
func (a *attacker) forged() *nats.Msg {
	to, from := a.node(), a.node()
	term := rpc.Term(1 + a.random.IntN(1_000_000))
	bodies := []rpc.Body{
		&rpc.RequestVoteCommand{}, &rpc.RequestVoteReturn{Granted: true}, &rpc.HeartbeatCommand{}, &rpc.HeartbeatReturn{}, &rpc.AppendLogCommand{},
		&rpc.AppendLogReturn{}, &rpc.CommitLogCommand{}, &rpc.TimeoutNowCommand{}, &rpc.InstallSnapshotCommand{}, &rpc.PingCommand{SenderID: from},
	}
	body := bodies[a.random.IntN(len(bodies))]
	var keys *rpc.Keys
	if a.random.IntN(2) == 0 {
		keys = rpc.NewKeys(a.bytes(32), nil)
	}
	h := rpc.Header{From: from, To: to, Term: term, Round: a.random.Uint64N(1 << 20)}
	m := &nats.Msg{
		Subject: fmt.Sprintf("raftbus.rpc.%s.%s.%s", to, from, body.Method()), Reply: fmt.Sprintf("raftbus.rpc.%s.%s.Return.x.1", from, to),
		Data: rpc.Append(nil, &h, body, keys),
	}
	if body.IsReturn() {
		m.Subject = fmt.Sprintf("raftbus.rpc.%s.%s.Return.x.%d", to, from, h.Round)
	}
	return m
}

func (a *attacker) node() rpc.NodeID { return rpc.NodeID(a.c.Members[a.random.IntN(len(a.c.Members))]) }

// request is one of a client or an administrator that cannot be carried out.
func (a *attacker) request() *nats.Msg {
	subjects := []string{
		"raftbus.admin.reconfigure", "raftbus.admin.x", "raftbus.bucket.add", "raftbus.bucket.add.a.b", "raftbus.kv.put.app", "raftbus.kv.put.none.k",
		"raftbus.kv.watch.app", "raftbus.kv.x", "$JS.API.STREAM.CREATE.KV_x", "$JS.API.CONSUMER.CREATE.KV_app", "$JS.raftbus.API.x", "$KV.none.k",
	}
	return &nats.Msg{Subject: subjects[a.random.IntN(len(subjects))], Reply: "_INBOX.x", Data: append([]byte("{"), a.bytes(a.random.IntN(256))...)}
}

// The cluster key is changed node by node while clients write: no write fails, and nobody is elected (Q3).
func TestTheClusterKeyChangesUnderLoad(t *testing.T) {
	other := []byte("fedcba9876543210fedcba9876543210")
	c := cluster.Started(t, 3, func(o *replica.Options) { o.ClusterKey = key })
	nc := c.Connect()
	c.Must(nc, "raftbus.bucket.add.app", "")
	current, next := other, key
	electsNobody(t, c, func() error {
		current, next = next, current
		return whileClientsWrite(t, nc, func(more func()) {
			for _, step := range []struct{ current, another []byte }{{current, next}, {next, current}, {next, nil}} {
				for _, id := range c.Members {
					require.NoError(t, c.Nodes[id].Rekey(step.current, step.another))
					more() // while nodes differ
					for _, id := range c.Members {
						c.Applied(id)
					}
				}
			}
		})
	})
	require.Error(t, c.Nodes["n1"].Rekey(nil, nil), "messages cannot go without a code from one moment to the next")
	// The first key is over: who has it is not heard.
	require.NoError(t, c.Nodes["n1"].Rekey(current, nil))
	require.Eventually(t, func() bool {
		for _, l := range c.Nodes["n2"].Status().Links {
			if l.Peer == "n1" {
				return l.State == "broken"
			}
		}
		return false
	}, 10*time.Second, 5*time.Millisecond)
	require.NoError(t, c.Nodes["n1"].Rekey(next, nil))
}

// whileClientsWrite does something while clients write; with more it waits until each has written again. The error is that of a write that failed.
func whileClientsWrite(t *testing.T, nc *nats.Conn, do func(more func())) error {
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	var done [4]atomic.Int64
	failed := make(chan error, len(done))
	for i := range done {
		writers.Go(func() {
			for ctx.Err() == nil {
				r, err := cluster.Ask(nc, 10*time.Second, fmt.Sprintf("raftbus.kv.put.app.k%d", i), "v")
				if errors.Is(err, nats.ErrNoResponders) { // nobody leads: not done
					time.Sleep(2 * time.Millisecond)
					continue
				}
				if err == nil && r.Error != nil {
					err = fmt.Errorf("%+v", r.Error)
				}
				if err != nil {
					failed <- fmt.Errorf("a write failed: %w", err)
					return
				}
				done[i].Add(1)
			}
		})
	}
	do(func() {
		for i := range done {
			enough := done[i].Load() + 3
			require.Eventually(t, func() bool { return done[i].Load() >= enough || len(failed) > 0 }, 30*time.Second, time.Millisecond, "nothing is written")
		}
	})
	cancel()
	writers.Wait()
	close(failed)
	return <-failed
}

// One client that asks for more than can be done, and waits for nothing, does not keep nodes from hearing each other (Q12). Others are
// slowed meanwhile, and served when it ends.
func TestOneClientDoesNotStarveHeartbeats(t *testing.T) {
	if *flood == 0 {
		t.Skip("give -flood; and see TestOverload of test/process, where nodes are processes of their own")
	}
	c := cluster.Started(t, 3)
	flooder, other := c.Connect(), c.Connect()
	c.Must(other, "raftbus.bucket.add.app", "")
	terms := termsOf(c)
	answers := make(chan *nats.Msg, 1<<17)
	inbox := flooder.NewInbox()
	_, err := flooder.ChanSubscribe(inbox, answers)
	require.NoError(t, err)
	asked := 0
	for end := time.Now().Add(*flood); time.Now().Before(end); asked++ {
		require.NoError(t, flooder.PublishRequest("raftbus.kv.put.app.flood", inbox, []byte("x")))
	}
	c.Must(other, "raftbus.kv.put.app.other", "v")
	require.Equal(t, terms, termsOf(c), "a heartbeat was missed")
	require.Eventually(t, func() bool { return len(answers) > 0 }, 5*time.Second, time.Millisecond)
	t.Logf("%d requests, %d answered so far", asked, len(answers))
}
