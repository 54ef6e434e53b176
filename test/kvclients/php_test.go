package kvclients

// What nats.php sends, the client of PHP (basis-company/nats 1.2.3): it makes a bucket with the keys of one token, reads with MSG.GET, and lists a bucket
// with a pull consumer that acknowledges each message, which it asks for one at a time, and deletes afterwards.

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

const (
	phpBucket = `{"allow_rollup_hdrs":true,"deny_delete":false,"discard":"new","duplicate_window":0,"max_age":0,"max_consumers":-1,"max_msgs_per_subject":1,"name":"KV_x","num_replicas":1,"retention":"limits","storage":"file","subjects":["$KV.x.*"]}`
	phpList   = `{"stream_name":"KV_x","config":{"ack_policy":"explicit","deliver_policy":"all","replay_policy":"instant"}}`
)

// one asks for a message as nats.php does, and acknowledges it. No message came if it has no reply.
func (p *puller) one(consumer string, sub *nats.Subscription) (came bool) {
	require.NoError(p.t, p.nc.PublishRequest(apiPrefix+"CONSUMER.MSG.NEXT.KV_x."+consumer, sub.Subject, []byte(`{"batch":1,"expires":2000000000}`)))
	m, err := sub.NextMsg(10 * time.Second)
	require.NoError(p.t, err)
	if p.heard(m); m.Reply == "" {
		return false
	}
	require.NoError(p.t, p.nc.PublishRequest(m.Reply, p.nc.NewInbox(), []byte("+ACK")))
	return true
}

func TestNatsPhpMakesAndListsABucket(t *testing.T) {
	t.Parallel() // it mostly waits
	run := func(nc *nats.Conn) string {
		p := &puller{t: t, nc: nc}
		p.api("STREAM.NAMES", "")
		p.api("STREAM.CREATE.KV_x", phpBucket)
		p.api("STREAM.NAMES", "")
		for _, put := range []step{
			{subject: "$KV.x.first", body: "v"}, {subject: "$KV.x.a", body: "v"}, {subject: "$KV.x.b", body: "v"}, {subject: "$KV.x.gone", body: "v"},
			{subject: "$KV.x.a", body: "w", headers: []string{"Nats-Expected-Last-Subject-Sequence", "2"}},
			{subject: "$KV.x.a", body: "w", headers: []string{"Nats-Expected-Last-Subject-Sequence", "2"}},
			{subject: "$KV.x.gone", headers: []string{"KV-Operation", "DEL"}},
			{subject: "$KV.x.b", headers: []string{"KV-Operation", "PURGE", "Nats-Rollup", "sub"}},
		} {
			p.say("%s", put.send(t, nc))
		}
		p.api("STREAM.MSG.GET.KV_x", `{"last_by_subj":"$KV.x.a"}`)
		p.api("STREAM.MSG.GET.KV_x", `{"last_by_subj":"$KV.x.none"}`)
		p.api("STREAM.INFO.KV_x", "")
		made := step{subject: "CONSUMER.CREATE.KV_x", body: phpList}.send(t, nc)
		require.NotContains(t, made.String(), "error")
		name := made.JSON.(map[string]any)["name"].(string)
		p.say("%s", made)
		sub, err := nc.SubscribeSync("handler.1a2b3c4d")
		require.NoError(t, err)
		for p.one(name, sub) {
		}
		p.api("CONSUMER.DELETE.KV_x."+name, "")
		p.api("STREAM.DELETE.KV_x", "")
		log := strings.ReplaceAll(strings.Join(p.log, "\n"), name, "NAME")
		log = strings.ReplaceAll(log, `$KV.x.*`, `$KV.x.\u003e`) // ours is a bucket like others
		return strings.Replace(log, `"name":"NAME","num_replicas"`, `"num_replicas"`, 1)
	}
	requireAlike(t, connected(t, 1), run)
}
