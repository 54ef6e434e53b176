package watches

// Pull consumers whose nodes go: who pulls is told soon, by an answer, and ordered consumers get every event once and in order.

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/stalltest"
	"github.com/raftbus/raftbus/test/cluster"
)

// pullers are ordered consumers of nats.go. They have heartbeats every 15 seconds only, which would tell them after 30.
func pullers(t testing.TB, c *cluster.Cluster, n int) (list []*follower) {
	for range n {
		js, err := jetstream.NewWithDomain(c.Connect(), "raftbus")
		require.NoError(t, err)
		consumer := soon(t, func(ctx context.Context) (jetstream.Consumer, error) {
			return js.OrderedConsumer(ctx, "KV_app", jetstream.OrderedConsumerConfig{})
		})
		// A request that a leader has, which is cut off before it passes it on, has no answer before that is back: a client with heartbeats notices in
		// two of them. Of a leader that is only deposed it is told (kv.TestWhoWaitsForMessagesIsToldThatItsLeaderIsGone).
		messages, err := consumer.Messages(jetstream.PullExpiry(2*time.Second), jetstream.PullHeartbeat(500*time.Millisecond))
		require.NoError(t, err)
		t.Cleanup(messages.Stop)
		f := &follower{last: time.Now(), done: make(chan struct{})}
		go func() {
			for {
				m, err := messages.Next()
				if err != nil {
					return
				}
				if about, err := m.Metadata(); err == nil {
					f.take(about.Sequence.Stream)
				}
			}
		}()
		list = append(list, f)
	}
	return list
}

func TestOrderedPullConsumersOutliveTheNodeThatServesThem(t *testing.T) { // W1, W2; specification 7.6, 7.7
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	stalls := stalltest.During(t)
	c.AwaitWatches()
	kv, _ := open(t, c, jetstream.KeyValueConfig{Bucket: "app", History: 64})
	list := pullers(t, c, 12)
	w := write(kv, 5*time.Millisecond)
	for range 2 {
		leader, victim := c.Leader(), busiest(c)
		lost := stalls.Lost()
		for _, f := range list {
			f.restart()
		}
		before := soon(t, kv.Status).Values()
		c.Wires[victim].Cut()
		time.Sleep(3 * time.Second) // from then on nobody hears what is new but from the others
		require.Eventually(t, func() bool { return soon(t, kv.Status).Values() > before+50 }, patience, 10*time.Millisecond, "nobody writes")
		awaitAll(t, kv, list)
		t.Logf("%s, leader %v: longest silence %v", victim, victim == leader, longest(list))
		c.Wires[victim].Heal()
		require.Less(t, longest(list), 9*time.Second+stalls.Lost()-lost, "%v", stalls)
		c.AwaitWatches()
	}
	w.end()
	requireAll(t, kv, list)
}

// Some clients have no heartbeats, and wait for an answer for as long as there is none. Those of a node that is gone have one too.
func TestWhoPullsFromANodeThatIsGoneIsAnswered(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	_, nc := open(t, c, jetstream.KeyValueConfig{Bucket: "app"})
	for range 5 {
		ended := make(chan struct{})
		stalls := stalltest.Until(ended)
		told := pullFromOneThatGoes(t, c, nc)
		close(ended)
		if told == 1 {
			return
		}
		// A node that is there is taken for one that is gone when nothing is heard of it for 600 ms. Many short waits excuse nothing.
		require.GreaterOrEqual(t, stalls.Longest(), 300*time.Millisecond, "%d were told: those of the others wait", told)
		t.Logf("%d were told; it is done anew, since %v", told, stalls)
	}
	require.Fail(t, "this machine is too busy to tell")
}

// pullFromOneThatGoes has each node serve one who waits for messages, cuts off the one that leads, and returns how many are told.
func pullFromOneThatGoes(t *testing.T, c *cluster.Cluster, nc *nats.Conn) int {
	const api = "$JS.raftbus.API.CONSUMER."
	ask := func(subject, body string) {
		require.Eventually(t, func() bool { _, err := nc.Request(api+subject, []byte(body), time.Second); return err == nil }, patience, 5*time.Millisecond, subject)
	}
	each := func(n int) bool {
		return !slices.ContainsFunc(c.Members, func(id string) bool { return c.Nodes[id].Status().Watches.Consumers != n })
	}
	c.AwaitWatches()
	names := []string{"a", "b", "d"}
	for _, name := range names {
		ask("DELETE.KV_app."+name, "") // one that another round left
	}
	require.Eventually(t, func() bool { return each(0) }, patience, 5*time.Millisecond, "consumers are left")
	waiting := map[string]*nats.Subscription{}
	for _, name := range names { // nodes take turns
		ask("CREATE.KV_app."+name, `{"stream_name":"KV_app","config":{"ack_policy":"none","deliver_policy":"new","inactive_threshold":60000000000}}`)
		sub, err := nc.SubscribeSync(nc.NewInbox())
		require.NoError(t, err)
		defer func() { require.NoError(t, sub.Unsubscribe()) }()
		require.NoError(t, nc.PublishRequest(api+"MSG.NEXT.KV_app."+name, sub.Subject, []byte(`{"batch":1,"expires":60000000000}`)))
		waiting[name] = sub
	}
	for end := time.Now().Add(patience); !each(1); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return 0 // a node was not heard when it was its turn
		}
	}
	for name := range waiting {
		require.Eventually(t, func() bool {
			m, err := nc.Request(api+"INFO.KV_app."+name, nil, time.Second)
			return err == nil && strings.Contains(string(m.Data), `"num_waiting":1`)
		}, patience, 5*time.Millisecond, "the request is passed on")
	}
	victim := c.Leader()
	c.Wires[victim].Cut()
	defer c.Wires[victim].Heal()
	told := func() (n int) {
		for _, sub := range waiting {
			pending, _, _ := sub.Pending()
			n += pending
		}
		return n
	}
	require.Eventually(t, func() bool { return told() > 0 }, patience, 5*time.Millisecond, "nobody is told")
	time.Sleep(3 * time.Second) // others would be told by then
	count := told()
	for _, sub := range waiting {
		if n, _, _ := sub.Pending(); n > 0 {
			m := heard(t, sub)
			require.Equal(t, "409 Consumer Deleted", m.Header.Get("Status")+" "+m.Header.Get("Description"))
		}
	}
	return count
}
