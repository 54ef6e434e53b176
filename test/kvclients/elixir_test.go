package kvclients

// What nats.ex, the client of Elixir, sends (1.16.0): it lists a bucket with a pull consumer that says that it acknowledges all, and does so after
// each page but the last, and watches with a durable push consumer.

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

const (
	exBucket = `{"allow_rollup_hdrs":true,"deny_delete":true,"discard":"new","duplicate_window":120000000000,"max_age":0,"max_bytes":-1,"max_msg_size":-1,"max_msgs_per_subject":3,"name":"KV_x","num_replicas":1,"storage":"file","subject_delete_marker_ttl":0,"subjects":["$KV.x.>"]}`
	exPager  = `{"config":{"ack_policy":"all","ack_wait":30000000000,"backoff":null,"deliver_group":null,"deliver_policy":"all","deliver_subject":null,"description":"ephemeral consumer","durable_name":null,"filter_subject":null,"flow_control":null,"headers_only":true,"idle_heartbeat":null,"inactive_threshold":30000000000,"max_ack_pending":20000,"max_batch":null,"max_deliver":-1,"max_expires":null,"max_waiting":null,"opt_start_seq":null,"opt_start_time":null,"rate_limit_bps":null,"replay_policy":"instant","sample_freq":null},"stream_name":"KV_x"}`
	exWatch  = `{"config":{"ack_policy":"none","ack_wait":30000000000,"backoff":null,"deliver_group":null,"deliver_policy":"all","deliver_subject":"_INBOX.c0R7Eo1ZC9M63Gt9","description":null,"durable_name":"all_key_values_watcher_8eF_pO1kZ8z4QPnx","filter_subject":null,"flow_control":true,"headers_only":null,"idle_heartbeat":5000000000,"inactive_threshold":null,"max_ack_pending":-1,"max_batch":null,"max_deliver":1,"max_expires":null,"max_waiting":null,"opt_start_seq":null,"opt_start_time":null,"rate_limit_bps":null,"replay_policy":"instant","sample_freq":null},"stream_name":"KV_x"}`
)

// exBucketOf makes a bucket with three keys and a deleted one.
func exBucketOf(t *testing.T, nc *nats.Conn) {
	require.NotContains(t, step{subject: "STREAM.CREATE.KV_x", body: exBucket}.send(t, nc).String(), "error")
	for _, key := range []string{"a", "b", "c", "gone"} {
		step{subject: "$KV.x." + key, body: "v"}.send(t, nc)
	}
	step{subject: "$KV.x.gone", headers: []string{"KV-Operation", "DEL"}}.send(t, nc)
}

// page asks for two messages as nats.ex does, and acknowledges them if so many came.
func (p *puller) page(consumer string, sub *nats.Subscription) (more bool) {
	require.NoError(p.t, p.nc.PublishRequest(apiPrefix+"CONSUMER.MSG.NEXT.KV_x."+consumer, sub.Subject, []byte(`{"batch":2,"no_wait":true}`)))
	var last *nats.Msg
	for range 2 {
		m, err := sub.NextMsg(5 * time.Second)
		require.NoError(p.t, err)
		if p.heard(m); m.Reply == "" {
			return false
		}
		last = m
	}
	require.NoError(p.t, p.nc.Publish(last.Reply, nil))
	return true
}

func TestNatsExListsABucket(t *testing.T) {
	t.Parallel() // it mostly waits
	run := func(nc *nats.Conn) string {
		exBucketOf(t, nc)
		p := &puller{t: t, nc: nc}
		made := step{subject: "CONSUMER.CREATE.KV_x", body: exPager}.send(t, nc)
		require.NotContains(t, made.String(), "error")
		name := made.JSON.(map[string]any)["name"].(string)
		p.say("%s", made)
		sub, err := nc.SubscribeSync(nc.NewInbox())
		require.NoError(t, err)
		for p.page(name, sub) {
		}
		p.api("CONSUMER.DELETE.KV_x."+name, "")
		p.api("CONSUMER.CREATE.KV_x.d", `{"stream_name":"KV_x","config":{"name":"d","ack_policy":"all"}}`) // with what is filled in
		p.api("CONSUMER.CREATE.KV_x.d", `{"stream_name":"KV_x","config":{"name":"d","ack_policy":"none"}}`)
		log := strings.ReplaceAll(strings.Join(p.log, "\n"), name, "NAME")
		return strings.Replace(log, `"name":"NAME","num_replicas"`, `"num_replicas"`, 1) // in its configuration JetStream does not name it
	}
	requireAlike(t, connected(t, 1), run)
}

// threshold is where ours differs: a durable consumer does not outlive its clients for ever.
var threshold = regexp.MustCompile(`"inactive_threshold":3600000000000,`)

func TestNatsExWatchesABucket(t *testing.T) {
	t.Parallel() // it mostly waits
	run := func(nc *nats.Conn) string {
		exBucketOf(t, nc)
		p := &puller{t: t, nc: nc}
		const name = "all_key_values_watcher_8eF_pO1kZ8z4QPnx"
		sub, err := nc.SubscribeSync("_INBOX.c0R7Eo1ZC9M63Gt9")
		require.NoError(t, err)
		require.NoError(t, nc.Flush())
		require.NotContains(t, step{subject: "CONSUMER.DURABLE.CREATE.KV_x." + name, body: exWatch}.send(t, nc).String(), "error") // how far it is by then depends
		for range 5 {
			m, err := sub.NextMsg(5 * time.Second)
			require.NoError(t, err)
			p.heard(m)
		}
		p.api("CONSUMER.INFO.KV_x."+name, "")
		p.api("CONSUMER.DURABLE.CREATE.KV_x."+name, exWatch) // as it is
		p.api("CONSUMER.NAMES.KV_x", "")
		step{subject: "$KV.x.a", body: "w"}.send(t, nc)
		m, err := sub.NextMsg(5 * time.Second)
		require.NoError(t, err)
		p.heard(m)
		p.api("CONSUMER.DELETE.KV_x."+name, "")
		p.api("CONSUMER.INFO.KV_x."+name, "")
		return threshold.ReplaceAllString(strings.Join(p.log, "\n"), "")
	}
	requireAlike(t, connected(t, 1), run)
}
