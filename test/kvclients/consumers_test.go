package kvclients

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// consumerRequest asks for a consumer of a bucket that delivers to D.<name>.
func consumerRequest(bucket, name, action, fields string) step {
	return step{
		subject: "CONSUMER.CREATE.KV_" + bucket + "." + name,
		body:    fmt.Sprintf(`{"stream_name":"KV_%s","action":%q,"config":{"name":%q,"ack_policy":"none","deliver_subject":"D.%s",%s}}`, bucket, action, name, name, fields),
	}
}

// delivered is what came until so many have, and nothing more does: subject, consumer and stream sequence, what is to come, headers and value.
func delivered(t *testing.T, sub *nats.Subscription, want int) (list []string) {
	for {
		wait := 10 * time.Second
		if len(list) >= want {
			wait = 300 * time.Millisecond
		}
		m, err := sub.NextMsg(wait)
		if err != nil {
			require.ErrorIs(t, err, nats.ErrTimeout)
			require.GreaterOrEqual(t, len(list), want, "%v", list)
			return list
		}
		at := strings.Split(m.Reply, ".")
		require.Len(t, at, 9, m.Reply)
		list = append(list, fmt.Sprintf("%s %s/%s/%s %v %q", m.Subject, at[5], at[6], at[8], m.Header, m.Data))
	}
}

// lastActive is told by nats-server only.
var lastActive = regexp.MustCompile(`"last_active":"[^"]*",`)

// W1: asked for again a consumer goes on where it is, with the same configuration or with another; where it began stays.
func TestAConsumerAskedForAgainGoesOn(t *testing.T) {
	t.Parallel() // it mostly waits
	run := func(nc *nats.Conn) (log []string) {
		send := func(s step) {
			log = append(log, s.body, lastActive.ReplaceAllString(s.send(t, nc).String(), ""))
		}
		sub, err := nc.SubscribeSync("D.c")
		require.NoError(t, err)
		require.NoError(t, nc.Flush())
		ask := func(action, fields string) {
			send(consumerRequest("g", "c", action, fields))
			log = append(log, delivered(t, sub, 0)...)
		}
		send(step{subject: "STREAM.CREATE.KV_g", body: bucketConfig("g")})
		for _, key := range []string{"a", "b.c", "d"} {
			send(step{subject: "$KV.g." + key, body: "value of " + key})
		}
		consumerRequest("g", "c", "", `"deliver_policy":"all"`).send(t, nc) // what it says of its state depends on how far it is by then
		log = append(log, delivered(t, sub, 3)...)
		for _, action := range []string{"", "update"} {
			ask(action, `"deliver_policy":"all"`)
		}
		ask("create", `"deliver_policy":"all","headers_only":true`)
		ask("", `"deliver_policy":"all","headers_only":true`)
		send(step{subject: "$KV.g.a", body: "another"})
		log = append(log, delivered(t, sub, 1)...)
		ask("update", `"deliver_policy":"all","filter_subject":"$KV.g.b.>"`)
		send(step{subject: "$KV.g.a", body: "no more"})
		send(step{subject: "$KV.g.b.x", body: "but this"})
		log = append(log, delivered(t, sub, 1)...)
		ask("", `"deliver_policy":"new"`)
		ask("", `"deliver_policy":"by_start_sequence","opt_start_seq":1`)
		ask("update", `"deliver_policy":"all","idle_heartbeat":5000000000`)
		for _, subject := range []string{"STREAM.INFO.KV_g", "STREAM.LIST", "INFO"} { // which count it
			send(step{subject: subject})
		}
		return log
	}
	requireAlike(t, connected(t, 1), run)
}

func TestMarkersAreDeliveredAsTheyAreStored(t *testing.T) {
	t.Parallel() // it mostly waits
	run := func(nc *nats.Conn) (log []string) {
		sub, err := nc.SubscribeSync("D.m")
		require.NoError(t, err)
		require.NoError(t, nc.Flush())
		step{subject: "STREAM.CREATE.KV_m", body: bucketConfig("m", `"allow_msg_ttl":true`, `"subject_delete_marker_ttl":60000000000`)}.send(t, nc)
		consumerRequest("m", "m", "", `"deliver_policy":"all"`).send(t, nc)
		step{subject: "$KV.m.k", body: "v", headers: []string{ttl, "1s"}}.send(t, nc)
		for range 2 { // the value, and its marker
			m, err := sub.NextMsg(10 * time.Second)
			require.NoError(t, err)
			log = append(log, fmt.Sprintf("%v %q", m.Header, m.Data))
		}
		return append(log, step{subject: "DIRECT.GET.KV_m.$KV.m.k"}.send(t, nc).String())
	}
	requireAlike(t, connected(t, 1), run)
}

// What two filters match comes once, and is counted once. Of what is new a JetStream says that one more is to come: it counts it for each filter.
func TestFiltersThatOverlapInPart(t *testing.T) {
	t.Parallel() // it mostly waits
	run := func(nc *nats.Conn, more string) {
		for policy, want := range map[string][]string{"all": {"a.b 1/1/3", "a.x 2/2/2", "y.b 3/3/1", "a.b 6/4/0"}, "last_per_subject": {"a.x 2/1/2", "y.b 3/2/1", "a.b 6/3/0"}, "last": {"a.b 6/1/0"}} {
			step{subject: "STREAM.CREATE.KV_" + policy, body: bucketConfig(policy, `"max_msgs_per_subject":2`)}.send(t, nc)
			put := func(key string) { step{subject: "$KV." + policy + "." + key}.send(t, nc) }
			for _, key := range []string{"a.b", "a.x", "y.b", "z.z", "a.b.c", "a.b"} {
				put(key)
			}
			made := consumerRequest(policy, "c", "", fmt.Sprintf(`"deliver_policy":%q,"filter_subjects":["$KV.%[1]s.a.*","$KV.%[1]s.*.b"]`, policy)).send(t, nc).String()
			require.Contains(t, made, fmt.Sprintf(`"num_pending":%d,`, len(want)))
			sub, err := nc.SubscribeSync("D.c")
			require.NoError(t, err)
			got := delivered(t, sub, len(want))
			put("a.b")
			got = append(got, delivered(t, sub, 1)...)
			want = append(want, fmt.Sprintf("a.b 7/%d/%s", len(want)+1, more))
			for i := range want {
				want[i] = "$KV." + policy + "." + want[i] + ` map[] ""`
			}
			require.Equal(t, want, got)
			require.NoError(t, sub.Unsubscribe())
		}
	}
	run(realJetStream(t), "1")
	run(connected(t, 1), "0")
}

func TestManyFilters(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, nc := range []*nats.Conn{connected(t, 1), realJetStream(t)} {
		js, err := jetstream.NewWithDomain(nc, "raftbus")
		require.NoError(t, err)
		kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "f"})
		require.NoError(t, err)
		var patterns, keys []string
		for i := range 1_500 {
			keys = append(keys, fmt.Sprintf("t%d.a", i))
		}
		for i := range 200 {
			patterns = append(patterns, fmt.Sprintf("t%d.>", i))
		}
		for i := range 40 {
			_, err := kv.Put(t.Context(), fmt.Sprintf("t%d.a", i*10), nil)
			require.NoError(t, err)
		}
		list, err := kv.ListKeysFiltered(t.Context(), patterns...)
		require.NoError(t, err)
		found := 0
		for range list.Keys() {
			found++
		}
		require.Equal(t, 20, found)
		watcher, err := kv.WatchFiltered(t.Context(), keys)
		require.NoError(t, err)
		for range 40 {
			require.NotNil(t, <-watcher.Updates())
		}
		require.Nil(t, <-watcher.Updates())
		_, err = kv.Put(t.Context(), "t1499.a", nil)
		require.NoError(t, err)
		require.Equal(t, "t1499.a", (<-watcher.Updates()).Key())
		require.NoError(t, watcher.Stop())
	}
}

func TestMoreConsumersThanAMessageTellsOf(t *testing.T) {
	t.Parallel() // it mostly waits
	nc := connected(t, 1)
	js, err := jetstream.NewWithDomain(nc, "raftbus")
	require.NoError(t, err)
	_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "many"})
	require.NoError(t, err)
	var filters []string
	for i := range 300 {
		filters = append(filters, fmt.Sprintf(`"$KV.many.some.service.instance.%d"`, i))
	}
	for i := range 120 { // of some 11 KiB each
		fields := `"inactive_threshold":60000000000,"filter_subjects":[` + strings.Join(filters, ",") + `]`
		require.Contains(t, consumerRequest("many", fmt.Sprintf("c%d", i), "", fields).send(t, nc).String(), "created")
	}
	stream, err := js.Stream(t.Context(), "KV_many")
	require.NoError(t, err)
	list := stream.ListConsumers(t.Context())
	seen := map[string]bool{}
	for info := range list.Info() {
		seen[info.Name] = true
	}
	require.NoError(t, list.Err())
	require.Len(t, seen, 120)
}
