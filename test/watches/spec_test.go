package watches

// Section 7 of the specification on the wire, by hand: what clients other than nats.go do.

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/test/cluster"
)

// heard is the next message of a subscription.
func heard(t testing.TB, sub *nats.Subscription) *nats.Msg {
	t.Helper()
	m, err := sub.NextMsg(patience)
	require.NoError(t, err)
	return m
}

// delivery is subject, revision, consumer sequence and what is to come of a delivery.
func delivery(t testing.TB, m *nats.Msg) string {
	t.Helper()
	tokens := strings.Split(m.Reply, ".")
	require.Len(t, tokens, 9, "%s %q %v", m.Subject, m.Reply, m.Header)
	return strings.Join([]string{m.Subject, tokens[5], tokens[6], tokens[8]}, " ")
}

// bucketOf makes the bucket app with three keys.
func bucketOf(t testing.TB, c *cluster.Cluster) (jetstream.KeyValue, *nats.Conn) {
	kv, nc := open(t, c, jetstream.KeyValueConfig{Bucket: "app", History: 5})
	for _, key := range []string{"a", "b", "c"} {
		put(t, nc, key, "hello")
	}
	return kv, nc
}

func TestAConsumerMadeBeforeItsSubscriptionWaits(t *testing.T) { // nats.js, nats.rs
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	c.AwaitWatches()
	_, nc := bucketOf(t, c)
	for i := range 6 { // on each node twice
		deliver := fmt.Sprintf("_INBOX.late%d", i)
		a := consume(t, nc, "app", fmt.Sprintf("c%d", i), deliver, fields{"idle_heartbeat": time.Second, "flow_control": true, "headers_only": true})
		require.Nil(t, a.Error)
		require.EqualValues(t, 3, a.Pending)
		require.Zero(t, a.Delivered.Consumer)
		require.False(t, a.Bound)
		sub, err := nc.SubscribeSync(deliver)
		require.NoError(t, err)
		m := heard(t, sub)
		require.Equal(t, "$KV.app.a 1 1 2", delivery(t, m))
		require.Empty(t, m.Data)
		require.Equal(t, "5", m.Header.Get("Nats-Msg-Size"))
		require.Equal(t, "$KV.app.b 2 2 1", delivery(t, heard(t, sub)))
		require.Equal(t, "$KV.app.c 3 3 0", delivery(t, heard(t, sub)))
		m = heard(t, sub)
		require.Equal(t, deliver, m.Subject)
		require.Equal(t, "3", m.Header.Get("Nats-Last-Consumer"))
		require.Equal(t, "3", m.Header.Get("Nats-Last-Stream"))
		require.NoError(t, sub.Unsubscribe())
	}
}

func TestConsumerInfoAnswersWithWhatWasSentBefore(t *testing.T) { // nats.py, nats.java
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	c.AwaitWatches()
	_, nc := bucketOf(t, c)
	for i := range 6 {
		name, deliver := fmt.Sprintf("c%d", i), fmt.Sprintf("_INBOX.d%d", i)
		sub, err := nc.SubscribeSync(deliver)
		require.NoError(t, err)
		a := consume(t, nc, "app", name, deliver, fields{"idle_heartbeat": time.Second, "flow_control": true, "deliver_policy": "last_per_subject"})
		require.Nil(t, a.Error)
		require.Equal(t, "io.nats.jetstream.api.v1.consumer_create_response", a.Type)
		info := ask(t, nc, "CONSUMER.INFO.KV_app."+name, nil)
		require.Nil(t, info.Error)
		require.Equal(t, "io.nats.jetstream.api.v1.consumer_info_response", info.Type)
		pending, _, err := sub.Pending()
		require.NoError(t, err)
		require.GreaterOrEqual(t, uint64(pending), info.Delivered.Consumer, "the answer must not overtake what it counts")
		require.EqualValues(t, 3, info.Delivered.Consumer+info.Pending)
		for range 3 {
			heard(t, sub)
		}
		info = ask(t, nc, "CONSUMER.INFO.KV_app."+name, nil)
		require.EqualValues(t, 3, info.Delivered.Consumer)
		require.EqualValues(t, 3, info.Delivered.Stream)
		require.Zero(t, info.Pending)
		require.True(t, info.Bound)
	}
	require.Equal(t, 10014, ask(t, nc, "CONSUMER.INFO.KV_app.none", nil).Error.ErrCode)
	require.Equal(t, 10059, ask(t, nc, "CONSUMER.INFO.KV_none.c1", nil).Error.ErrCode)
	require.Nil(t, ask(t, nc, "CONSUMER.DELETE.KV_app.c1", nil).Error)
	require.Equal(t, 10014, ask(t, nc, "CONSUMER.DELETE.KV_app.c1", nil).Error.ErrCode)
	require.Equal(t, 10014, ask(t, nc, "CONSUMER.INFO.KV_app.c1", nil).Error.ErrCode)
}

func TestAConsumerWithoutANameOrFilter(t *testing.T) { // nats.py, nats.c
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 1)
	c.AwaitWatches()
	_, nc := bucketOf(t, c)
	sub, err := nc.SubscribeSync("_INBOX.x")
	require.NoError(t, err)
	a := ask(t, nc, "CONSUMER.CREATE.KV_app", fields{"stream_name": "KV_app", "config": fields{"deliver_subject": "_INBOX.x", "ack_policy": "none", "deliver_policy": "all"}})
	require.Nil(t, a.Error)
	require.Len(t, a.Name, 8)
	require.Equal(t, "$KV.app.a 1 1 2", delivery(t, heard(t, sub)))
}

func TestAskingAgainForTheSameConsumer(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	c.AwaitWatches()
	_, nc := bucketOf(t, c)
	for range 3 {
		a := consume(t, nc, "app", "c", "_INBOX.x", nil)
		require.Nil(t, a.Error)
		require.EqualValues(t, 3, a.Pending)
	}
	require.Equal(t, 10148, consume(t, nc, "app", "c", "_INBOX.x", fields{"headers_only": true}).Error.ErrCode)
}

func TestAConsumerWithoutASubscriberGoes(t *testing.T) { // 7.2
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	c.AwaitWatches()
	_, nc := bucketOf(t, c)
	require.Nil(t, consume(t, nc, "app", "c", "_INBOX.x", fields{"inactive_threshold": time.Second}).Error)
	require.Nil(t, consume(t, nc, "app", "d", "_INBOX.y", fields{"inactive_threshold": time.Hour}).Error)
	require.Eventually(t, func() bool {
		e := ask(t, nc, "CONSUMER.INFO.KV_app.c", nil).Error
		return e != nil && e.ErrCode == 10014
	}, patience, 50*time.Millisecond)
	require.Nil(t, ask(t, nc, "CONSUMER.INFO.KV_app.d", nil).Error)
}

func TestABucketRemovedEndsItsConsumersSilently(t *testing.T) { // 6.4
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	c.AwaitWatches()
	_, nc := bucketOf(t, c)
	sub, err := nc.SubscribeSync("_INBOX.x")
	require.NoError(t, err)
	require.Nil(t, consume(t, nc, "app", "c", "_INBOX.x", fields{"idle_heartbeat": 200 * time.Millisecond}).Error)
	for range 4 {
		heard(t, sub)
	}
	require.Nil(t, ask(t, nc, "STREAM.DELETE.KV_app", nil).Error)
	require.Eventually(t, func() bool {
		served := 0
		for _, n := range c.Nodes {
			served += n.Status().Watches.Consumers
		}
		return served == 0
	}, patience, 5*time.Millisecond)
	require.Eventually(t, func() bool { // what was on its way from a leaf comes first
		_, err := sub.NextMsg(time.Second)
		return errors.Is(err, nats.ErrTimeout)
	}, patience, time.Millisecond)
	require.Equal(t, 10059, ask(t, nc, "CONSUMER.DELETE.KV_app.c", nil).Error.ErrCode)
}

func TestWithoutALeafConnectionWatchesAreRefusedAndTheRestWorks(t *testing.T) { // specification 1
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3, func(o *replica.Options) { o.NATS.LeafURLs = []string{"nats://127.0.0.1:1"} })
	_, nc := bucketOf(t, c)
	a := consume(t, nc, "app", "c", "_INBOX.x", nil)
	require.Equal(t, 503, a.Error.Code)
	require.Equal(t, 10008, a.Error.ErrCode)
	require.Contains(t, a.Error.Description, "--leaf")
}
