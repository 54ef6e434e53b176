package jetstream

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

const next = "CONSUMER.MSG.NEXT.KV_a.c"

// pullBody asks for a pull consumer of the bucket a.
func pullBody(fields string) string {
	return `{"stream_name":"KV_a","config":{"ack_policy":"none"` + fields + `}}`
}

func Test76_PullConsumersAreMade(t *testing.T) {
	w := hosted(t)
	for _, pulls := range []bool{true, false} {
		w.host = func(w watch.Wanted) (rpc.NodeID, rpc.BootEpoch, error) {
			require.Equal(t, pulls, w.Pull)
			return "n2", 7, nil
		}
		if pulls {
			c := w.made("c", "CONSUMER.CREATE.KV_a.c.$KV.a.>", pullBody(`,"filter_subject":"$KV.a.>","deliver_policy":"last_per_subject","max_batch":-1,"idle_heartbeat":-1`))
			require.Equal(t, watch.PullDeliver, c.Deliver, "which no client can give, and no leaf connection takes")
			require.JSONEq(t, `{"name":"c","deliver_policy":"last_per_subject","ack_policy":"none","max_deliver":-1,"filter_subject":"$KV.a.>","replay_policy":"instant",
				"max_waiting":512,"inactive_threshold":5000000000,"num_replicas":0}`, string(c.Config))
		} else {
			w.made("p", "CONSUMER.CREATE.KV_a.p", consumerBody("KV_a", `"deliver_policy":"all"`))
		}
	}
	w.host = nil
	for fields, e := range map[string]*apiError{
		`,"idle_heartbeat":5000000000`:             errHeartbeatOfPull,
		`,"flow_control":true`:                     errFlowOfPull,
		`,"max_expires":1`:                         errSmallExpires,
		`,"num_replicas":-1`:                       errNegativeReplicas,
		`,"durable_name":"d"`:                      notOffered("a durable pull consumer"),
		`,"priority_groups":["a"]`:                 notOffered("a priority group"),
		`,"rate_limit_bps":1`:                      notOffered("rate_limit_bps"),
		`,"filter_subjects":["$KV.a.>","$KV.a.x"]`: errOverlappingFilters,
		`,"max_waiting":9`:                         errNoHost,
	} {
		w.refused(e, "CONSUMER.CREATE.KV_a.d", pullBody(fields))
	}
	for body, e := range map[string]*apiError{ // nats.ex asks for the first
		`{"stream_name":"KV_a","config":{"ack_policy":"all"}}`:                    errNoHost,
		`{"stream_name":"KV_a","config":{"ack_policy":"all","durable_name":"d"}}`: notOffered("a durable pull consumer"),
	} {
		w.refused(e, "CONSUMER.CREATE.KV_a.d", body)
	}
	w.refused(notOffered("ack policy explicit of a pull consumer"), "CONSUMER.CREATE.KV_a.d", `{"stream_name":"KV_a","config":{"ack_policy":"explicit"}}`)
	lists := func(fields string) string {
		return `{"stream_name":"KV_a","config":{"ack_policy":"explicit"` + fields + `}}`
	}
	w.refused(errNoHost, "CONSUMER.CREATE.KV_a", lists(""))                                                                               // nats.php lists so
	for _, more := range []string{`"name":"d"`, `"ack_wait":30000000000`, `"max_deliver":5`, `"max_deliver":-1`, `"max_ack_pending":1`} { // messages would be expected again
		w.refused(notOffered("ack policy explicit of a pull consumer"), "CONSUMER.CREATE.KV_a", lists(","+more))
	}
	w.host = func(watch.Wanted) (rpc.NodeID, rpc.BootEpoch, error) { return "n2", 7, nil }
	w.refused(&apiError{500, 10012, "can not update pull consumer to push based"}, "CONSUMER.CREATE.KV_a.c", consumerBody("KV_a", `"deliver_policy":"all"`))
	w.refused(&apiError{500, 10012, "can not update push consumer to pull based"}, "CONSUMER.CREATE.KV_a.p", pullBody(""))
}

func Test76_RequestsForMessagesArePassedOn(t *testing.T) {
	w := hosted(t)
	c := w.made("c", "CONSUMER.CREATE.KV_a.c", pullBody(""))
	for body, want := range map[string]watch.Pulled{
		"":      {Batch: 1},
		" 12\n": {Batch: 12},
		"what":  {Batch: 1},
		"{}":    {},
		`{"batch":500,"expires":3000000000,"idle_heartbeat":1000000000,"no_wait":true,"max_bytes":9,"group":"g"}`: {
			Batch: 500, Expires: int64(3 * time.Second), Heartbeat: int64(time.Second), NoWait: true, Bytes: 9,
		},
		`{"expires":9223372036854775807,"max_bytes":-1}`: {Expires: int64(ttlMax)},
	} {
		want.Reply, want.Waiting = "_INBOX.reply", 512
		require.Empty(t, w.send(next, body), body)
		require.NotNil(t, w.pulls, body)
		require.Equal(t, &Pull{c, want}, w.pulls, body)
	}
	require.Equal(t, []Reply{status(statusNone)}, w.Plan(Request{Subject: next, Reply: "_INBOX.reply", Now: w.now}).Look(w.store).Replies, "what is said for a host that knows no pulls")
}

func Test76_RequestsForMessagesAreRefused(t *testing.T) {
	w := hosted(t)
	w.made("c", "CONSUMER.CREATE.KV_a.c", pullBody(`,"max_batch":5,"max_expires":2000000000,"max_bytes":100`))
	w.made("p", "CONSUMER.CREATE.KV_a.p", consumerBody("KV_a", `"deliver_policy":"all"`))
	for body, want := range map[string]string{
		`{"batch":6}`:            "409 Exceeded MaxRequestBatch of 5",
		`{"expires":2000000001}`: "409 Exceeded MaxRequestExpires of 2s",
		`{"max_bytes":101}`:      "409 Exceeded MaxRequestMaxBytes of 100",
		`{"min_ack_pending":1}`:  "400 Bad Request - Not a Overflow Priority consumer",
		`{"id":"x"}`:             "400 Bad Request - Not a Pinned Client Priority consumer",
		`{"priority":10}`:        "400 Bad Request - Priority must be between 0 and 9",
		`{"batch":`:              "400 Bad Request - unexpected end of JSON input",
		`{"expires":1000000000,"idle_heartbeat":500000001}`:           "400 Bad Request - heartbeat value too large",
		`{"expires":1000000000,"idle_heartbeat":9223372036854775807}`: "400 Bad Request - heartbeat value too large",
	} {
		w.status(want, next, body)
	}
	w.status(statusPush, "CONSUMER.MSG.NEXT.KV_a.p", "")
	w.status(statusNone, "CONSUMER.MSG.NEXT.KV_a.none", "")
	w.status(statusNone, "CONSUMER.MSG.NEXT.KV_none.c", "")
	w.status(statusNone, "CONSUMER.MSG.NEXT.other.c", "")
	w.status(statusNone, "CONSUMER.MSG.NEXT.KV_a", "")
	w.status(statusLevel, next, "", headerLevel, "9")
	for _, reply := range []string{strings.Repeat("r", DeliverBytesMax+1), "r" + strings.Repeat(".r", DeliverTokensMax), "_INBOX.*"} {
		replies := w.carryOut(w.Plan(Request{Subject: next, Reply: reply, Now: w.now}))
		require.Equal(t, []Reply{status("400 Bad Request - the reply subject may have no wildcards, 1024 bytes and 64 tokens")}, replies)
	}
	require.Equal(t, status(statusNone), w.Plan(Request{Subject: next, Now: w.now}).Trouble(Unavailable))
}

func Test76_ThePullersOfAConsumerAreCounted(t *testing.T) {
	state := ConsumerState(&watch.State{Record: &watch.Record{Ref: watch.Ref{Name: "c"}, Bucket: "a", Config: watch.Config{Pull: true}}, Pulls: 3, Pending: 4}, time.Unix(0, 0))
	require.Contains(t, string(state), `"num_waiting":3,"num_pending":4,"ts"`)
}
