package kvclients

// Who subscribes to the stream of a bucket, and not to the bucket, has a push consumer that acknowledges unless it says otherwise.

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// javaSubscribe is what nats.java sends for js.subscribe("$KV.p.>").
const javaSubscribe = `{"stream_name":"KV_p","config":{"name":"aVkvvG4Y8P","deliver_subject":"D.java","deliver_policy":"all","ack_policy":"explicit","replay_policy":"instant","filter_subject":"$KV.p.>"}}`

func TestNatsJavaSubscribes(t *testing.T) {
	t.Parallel() // it mostly waits
	run := func(nc *nats.Conn) []string {
		p := &puller{t: t, nc: nc}
		step{subject: "STREAM.CREATE.KV_p", body: bucketConfig("p")}.send(t, nc)
		sub, err := nc.SubscribeSync("D.java")
		require.NoError(t, err)
		require.NoError(t, nc.Flush())
		p.api("STREAM.NAMES", `{"subject":"$KV.p.>"}`)
		made := step{subject: "CONSUMER.CREATE.KV_p.aVkvvG4Y8P.$KV.p.>", body: javaSubscribe}.send(t, nc).String()
		p.say("%s", strings.Replace(made, `"push_bound":true,`, "", 1)) // ours may not know yet that somebody listens
		for _, key := range []string{"a", "b", "c"} {
			p.put(key, "v")
			m, err := sub.NextMsg(5 * time.Second)
			require.NoError(t, err)
			p.heard(m)
			_, err = nc.Request(m.Reply, []byte("+ACK"), 5*time.Second) // the answer is not the same
			require.NotErrorIs(t, err, nats.ErrTimeout)
		}
		p.api("CONSUMER.INFO.KV_p.aVkvvG4Y8P", "")
		p.api("CONSUMER.DELETE.KV_p.aVkvvG4Y8P", "")
		return p.log
	}
	requireAlike(t, connected(t, 1), run)
}

// Nobody waits for what an acknowledgement says, and who waits for an answer hears so at once (L9).
func TestWhoAcknowledgesIsToldThatNobodyListens(t *testing.T) {
	t.Parallel() // it mostly waits
	nc := connected(t, 1)
	step{subject: "STREAM.CREATE.KV_p", body: bucketConfig("p")}.send(t, nc)
	js, err := nc.JetStream(nats.Domain("raftbus"))
	require.NoError(t, err)
	sub, err := js.SubscribeSync("$KV.p.>")
	require.NoError(t, err)
	for _, key := range []string{"a", "b"} {
		step{subject: "$KV.p." + key, body: "v"}.send(t, nc)
		m, err := sub.NextMsg(5 * time.Second)
		require.NoError(t, err)
		require.Equal(t, "$KV.p."+key, m.Subject)
		require.NoError(t, m.Respond([]byte("+WPI")))
		require.ErrorIs(t, m.AckSync(), nats.ErrNoResponders)
	}
	info, err := sub.ConsumerInfo()
	require.NoError(t, err)
	require.Equal(t, nats.AckExplicitPolicy, info.Config.AckPolicy)
	require.Zero(t, info.NumAckPending)
	require.EqualValues(t, 2, info.AckFloor.Consumer)
}
