package kvclients

import "strings"

// bucketConfig is what nats.go sends for a bucket, with changes.
func bucketConfig(bucket string, changes ...string) string {
	fields := []string{
		`"name":"KV_` + bucket + `"`, `"subjects":["$KV.` + bucket + `.>"]`, `"retention":"limits"`, `"max_consumers":-1`, `"max_msgs":-1`, `"max_bytes":-1`,
		`"discard":"new"`, `"max_age":0`, `"max_msgs_per_subject":1`, `"max_msg_size":-1`, `"storage":"file"`, `"num_replicas":1`,
		`"duplicate_window":120000000000`, `"deny_delete":true`, `"allow_rollup_hdrs":true`, `"compression":"none"`, `"allow_direct":true`,
		`"mirror_direct":false`, `"consumer_limits":{}`,
	}
	for _, change := range changes {
		name, _, _ := strings.Cut(change, ":")
		for i := range fields {
			if strings.HasPrefix(fields[i], name+":") {
				fields[i] = ""
			}
		}
		fields = append(fields, change)
	}
	kept := fields[:0]
	for _, f := range fields {
		if f != "" {
			kept = append(kept, f)
		}
	}
	return "{" + strings.Join(kept, ",") + "}"
}

const (
	expectSubject = "Nats-Expected-Last-Subject-Sequence"
	expectLast    = "Nats-Expected-Last-Sequence"
	expectMsgID   = "Nats-Expected-Last-Msg-Id"
	msgID         = "Nats-Msg-Id"
	operation     = "KV-Operation"
	rollup        = "Nats-Rollup"
	ttl           = "Nats-TTL"
	apiLevel      = "Nats-Required-Api-Level"
)

func steps() []step {
	var list []step
	for _, part := range [][]step{accountSteps, bucketSteps(), putSteps, getSteps, updateSteps(), listSteps, infoSteps, consumerSteps, malformedSteps(), purgeSteps, deleteSteps, fullSteps()} {
		list = append(list, part...)
	}
	return list
}

var accountSteps = []step{
	{subject: "INFO"},
	{subject: "INFO", body: "{}"},
	{subject: "INFO", headers: []string{apiLevel, "1"}},
	{subject: "INFO", headers: []string{apiLevel, "99"}},
	{subject: "INFO", headers: []string{apiLevel, "x"}},
	{subject: "STREAM.NAMES"},
	{subject: "STREAM.LIST"},
	{subject: "NONSENSE"},
	{subject: "STREAM.NONSENSE.KV_a", silent: true, differs: "a request that nobody knows is answered", ours: `{"status":"503"}`},
	{subject: "STREAM.INFO", silent: true, differs: "a request that nobody knows is answered", ours: `{"status":"503"}`},
	{subject: "STREAM.INFO.KV_a.b", silent: true, differs: "a request that nobody knows is answered", ours: `{"status":"503"}`},
}

func bucketSteps() []step {
	return []step{
		{subject: "STREAM.INFO.KV_a"},
		{subject: "STREAM.DELETE.KV_a"},
		{subject: "STREAM.UPDATE.KV_a", body: bucketConfig("a")},
		{subject: "STREAM.CREATE.KV_a", body: bucketConfig("a")},
		{subject: "STREAM.CREATE.KV_a", body: bucketConfig("a")},
		{subject: "STREAM.CREATE.KV_a", body: bucketConfig("a", `"max_msgs_per_subject":2`)},
		{subject: "STREAM.CREATE.KV_a", body: bucketConfig("a", `"description":"other"`)},
		{subject: "STREAM.CREATE.KV_a", body: bucketConfig("a", `"metadata":{"x":"y"}`)},
		{subject: "STREAM.INFO.KV_a"},
		{subject: "STREAM.CREATE.KV_b", body: bucketConfig("a")},
		{subject: "STREAM.CREATE.KV_b", body: bucketConfig("b", `"max_msgs_per_subject":5`, `"description":"d <&>"`, `"metadata":{"m":"1","_nats.ver":"2.15.2"}`, `"max_bytes":100000`, `"max_msg_size":1000`, `"max_age":3600000000000`, `"compression":"s2"`)},
		{subject: "STREAM.INFO.KV_b"},
		{subject: "STREAM.CREATE.KV_b", body: bucketConfig("b", `"max_msgs_per_subject":5`, `"description":"d <&>"`, `"metadata":{"m":"1"}`, `"max_bytes":100000`, `"max_msg_size":1000`, `"max_age":3600000000000`, `"compression":"s2"`)},
		// What nats.js sends.
		{subject: "STREAM.CREATE.KV_js", body: `{"name":"KV_js","subjects":["$KV.js.>"],"retention":"limits","max_msgs_per_subject":1,"max_bytes":-1,"max_msg_size":-1,"storage":"file","discard":"new","num_replicas":1,"allow_rollup_hdrs":true,"allow_direct":true,"max_age":0}`},
		// What nats.py sends.
		{subject: "STREAM.CREATE.KV_py", body: `{"name":"KV_py","description":null,"subjects":["$KV.py.>"],"retention":"limits","max_consumers":-1,"max_msgs":-1,"max_bytes":-1,"discard":"new","discard_new_per_subject":false,"max_age":0,"max_msgs_per_subject":1,"max_msg_size":-1,"storage":"file","num_replicas":1,"no_ack":false,"duplicate_window":120000000000,"placement":null,"mirror":null,"sources":null,"sealed":false,"deny_delete":true,"deny_purge":false,"allow_rollup_hdrs":true,"allow_direct":false,"mirror_direct":false,"republish":null,"subject_transform":null,"metadata":null}`},
		{subject: "STREAM.CREATE.KV_ttl", body: bucketConfig("ttl", `"allow_msg_ttl":true`, `"subject_delete_marker_ttl":2000000000`)},
		{subject: "STREAM.CREATE.KV_marker", body: bucketConfig("marker", `"subject_delete_marker_ttl":2000000000`, `"allow_rollup_hdrs":false`)},
		{subject: "STREAM.CREATE.KV_rep", body: bucketConfig("rep", `"republish":{"src":">","dest":"out.>","headers_only":true}`)},
		{subject: "STREAM.CREATE.KV_rep", body: bucketConfig("rep", `"republish":{"src":">","dest":"other.>"}`)},
		{subject: "STREAM.CREATE.KV_rep2", body: bucketConfig("rep2", `"republish":{"dest":"out.>"}`)},
		{subject: "STREAM.CREATE.KV_mem", body: bucketConfig("mem", `"storage":"memory"`)},
		{subject: "STREAM.CREATE.KV_place", body: bucketConfig("place", `"placement":{"cluster":""}`)},
		{subject: "STREAM.CREATE.KV_short", body: bucketConfig("short", `"max_age":60000000000`, `"duplicate_window":0`)},
		// Refused.
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"max_age":1000`)},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"max_age":-1`)},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"max_age":1000000000`)},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"duplicate_window":-1`)},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"duplicate_window":1000`)},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"subject_delete_marker_ttl":1000`)},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"subject_delete_marker_ttl":-1000`)},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"num_replicas":6`)},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"num_replicas":-1`)},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"mirror_direct":true`)},
		{subject: "STREAM.CREATE.x", body: `{"name":"x","mirror_direct":true}`},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"republish":{"src":">","dest":"$KV.x.>"}`)},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"republish":{"src":"a.*","dest":"b.*"}`)},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"description":"`+strings.Repeat("d", 4097)+`"`)},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"placement":{"preferred":"n1"}`)},
	}
}

var putSteps = []step{
	{subject: "$KV.a.color", body: "blue"},
	{subject: "$JS.raftbus.API.$KV.a.color", body: "red"},
	{subject: "$KV.a.color", body: "green", headers: []string{expectSubject, "2"}},
	{subject: "$KV.a.color", body: "green", headers: []string{expectSubject, "2"}},
	{subject: "$KV.a.color", body: "green", headers: []string{expectSubject, "0"}},
	{subject: "$KV.a.color", body: "green", headers: []string{expectSubject, "x"}},
	{subject: "$KV.a.color", body: "green", headers: []string{expectSubject, ""}},
	{subject: "$KV.a.new", body: "1", headers: []string{expectSubject, "0"}},
	{subject: "$KV.a.new", body: "1", headers: []string{expectLast, "5"}},
	{subject: "$KV.a.new", body: "1", headers: []string{expectLast, "5"}},
	{subject: "$KV.a.new", body: "1", headers: []string{"Nats-Expected-Stream", "KV_a"}},
	{subject: "$KV.a.new", body: "1", headers: []string{"Nats-Expected-Stream", "KV_b"}},
	{subject: "$KV.a.new", headers: []string{operation, "DEL"}},
	{subject: "$KV.a.new", body: "2", headers: []string{expectSubject, "0"}},
	{subject: "$KV.a.new", headers: []string{operation, "PURGE", rollup, "sub"}},
	{subject: "$KV.a.new", headers: []string{rollup, "nonsense"}},
	{subject: "$KV.a.empty"},
	{subject: "$KV.a.h", body: "v", headers: []string{"X-One", "1", "x-two", "2", "X-One", "3"}},
	{subject: "$KV.a.ttl", body: "v", headers: []string{ttl, "5s"}},
	{subject: "$KV.a.ttl", body: "v", headers: []string{ttl, "nonsense"}},
	{subject: "$KV.ttl.a", body: "v", headers: []string{ttl, "1h"}},
	{subject: "$KV.ttl.a", body: "v", headers: []string{ttl, "500ms"}},
	{subject: "$KV.ttl.a", body: "v", headers: []string{ttl, "0"}},
	{subject: "$KV.ttl.a", body: "v", headers: []string{ttl, "-1"}},
	{subject: "$KV.ttl.a", body: "v", headers: []string{ttl, "never"}},
	{subject: "$KV.ttl.b", body: "v", headers: []string{ttl, "3600"}},
	{subject: "$KV.a.level", body: "v", headers: []string{apiLevel, "99"}},
	{subject: "$KV.a.incr", body: "v", headers: []string{"Nats-Incr", "1"}},
	{subject: "$KV.a.sched", body: "v", headers: []string{"Nats-Schedule", "@at 2030-01-01T00:00:00Z"}},
	{subject: "$KV.a.src", body: "v", headers: []string{"Nats-Stream-Source", "x"}},
	{subject: "$KV.a.os", body: "v", headers: []string{"Nats-Expected-Last-Subject-Sequence-Subject", "$KV.a.os"}},
	{subject: "$KV.a.id", body: "1", headers: []string{msgID, "one"}},
	{subject: "$KV.a.id", body: "2", headers: []string{msgID, "one"}},
	{subject: "$KV.a.id", body: "2", headers: []string{msgID, "two", expectMsgID, "one"}},
	{subject: "$KV.a.id", body: "2", headers: []string{msgID, "three", expectMsgID, "one"}},
	{subject: "$KV.a.id", body: "2", headers: []string{msgID, "one", expectSubject, "1"}, differs: "a retry hears what the first try did, whatever it expects",
		ours: `{"json":{"domain":"raftbus","duplicate":true,"seq":13,"stream":"KV_a"}}`},
	{subject: "$KV.none.k", body: "v"},
	{subject: "$JS.raftbus.API.$KV.none.k", body: "v"},
	{subject: "$JS.raftbus.API.$KV.a", body: "v"},
	{subject: "$KV.b.big", body: strings.Repeat("x", 1001)},
	{subject: "$KV.b.fits", body: strings.Repeat("x", 900)},
	{subject: "$KV.b.headers", body: strings.Repeat("x", 950), headers: []string{"A", strings.Repeat("y", 60)}},
	{subject: "$KV.b.k", body: "1"},
	{subject: "$KV.b.k", body: "2"},
	{subject: "$KV.b.k", headers: []string{operation, "DEL"}},
	{subject: "$KV.b.k", body: "3"},
	{subject: "$KV.b.dotted.key/with=all-_", body: "3"},
}

var getSteps = []step{
	{subject: "DIRECT.GET.KV_a.$KV.a.color"},
	{subject: "DIRECT.GET.KV_a.$KV.a.new"},
	{subject: "DIRECT.GET.KV_a.$KV.a.empty"},
	{subject: "DIRECT.GET.KV_a.$KV.a.h"},
	{subject: "DIRECT.GET.KV_a.$KV.a.none"},
	{subject: "DIRECT.GET.KV_a.$KV.b.k"},
	{subject: "DIRECT.GET.KV_a.$KV.a.color", body: `{"seq":1}`},
	{subject: "DIRECT.GET.KV_a.$KV.a.color", body: `x`},
	{subject: "DIRECT.GET.KV_none.$KV.none.k"},
	{subject: "DIRECT.GET.KV_none", body: `{"seq":1}`},
	{subject: "DIRECT.GET.KV_a", body: `{"last_by_subj":"$KV.a.color"}`},
	{subject: "DIRECT.GET.KV_a.$KV.a.>"},
	{subject: "DIRECT.GET.KV_a.$KV.a.c*"},
	{subject: "DIRECT.GET.KV_a.$KV.*.color"},
	{subject: "DIRECT.GET.KV_a.$KV.a.color.>"},
	{subject: "DIRECT.GET.KV_a.$KV.b.>"},
	{subject: "DIRECT.GET.KV_b", body: `{"last_by_subj":"$KV.b.dotted.>"}`},
	{subject: "DIRECT.GET.KV_js", body: `{"last_by_subj":">"}`},
	{subject: "DIRECT.GET.KV_none", body: `{"last_by_subj":">"}`},
	{subject: "STREAM.MSG.GET.KV_b", body: `{"last_by_subj":"$KV.b.*"}`},
	{subject: "STREAM.MSG.GET.KV_b", body: `{"last_by_subj":"$KV.b.*.*"}`},
	{subject: "DIRECT.GET.KV_a", body: `{"seq":3}`},
	{subject: "DIRECT.GET.KV_a", body: `{"seq":1}`},
	{subject: "DIRECT.GET.KV_a", body: `{"seq":1000}`},
	{subject: "DIRECT.GET.KV_a", body: `{"seq":1,"next_by_subj":"$KV.a.color"}`},
	{subject: "DIRECT.GET.KV_a", body: `{"seq":1,"next_by_subj":"$KV.a.>"}`},
	{subject: "DIRECT.GET.KV_a", body: `{"seq":4,"next_by_subj":"$KV.a.color"}`},
	{subject: "DIRECT.GET.KV_a", body: `{"next_by_subj":"$KV.a.color"}`},
	{subject: "DIRECT.GET.KV_a", body: `{"next_by_subj":"$KV.b.>"}`},
	{subject: "DIRECT.GET.KV_a", body: `{"seq":3,"no_hdr":true}`},
	{subject: "DIRECT.GET.KV_a"},
	{subject: "DIRECT.GET.KV_a", body: `{}`},
	{subject: "DIRECT.GET.KV_a", body: `x`},
	{subject: "DIRECT.GET.KV_a", body: `{"seq":-1}`},
	{subject: "DIRECT.GET.KV_a", body: `{"seq":3,"last_by_subj":"$KV.a.color"}`},
	{subject: "DIRECT.GET.KV_a", body: `{"last_by_subj":"$KV.a.color","next_by_subj":"$KV.a.color"}`},
	{subject: "DIRECT.GET.KV_a", body: `{"unknown":true,"seq":3}`},
	{subject: "DIRECT.GET.KV_a", body: `{"seq":3}`, headers: []string{apiLevel, "99"}},
	{subject: "DIRECT.GET.KV_b", body: `{"seq":4}`},
	{subject: "STREAM.MSG.GET.KV_a", body: `{"seq":3}`},
	{subject: "STREAM.MSG.GET.KV_a", body: `{"last_by_subj":"$KV.a.empty"}`},
	{subject: "STREAM.MSG.GET.KV_a", body: `{"last_by_subj":"$KV.a.color"}`},
	{subject: "STREAM.MSG.GET.KV_a", body: `{"last_by_subj":"$KV.a.none"}`},
	{subject: "STREAM.MSG.GET.KV_a", body: `{"seq":1,"next_by_subj":"$KV.a.*"}`},
	{subject: "STREAM.MSG.GET.KV_a", body: `{"seq":1000}`},
	{subject: "STREAM.MSG.GET.KV_a", body: `{"seq":3,"no_hdr":true}`},
	{subject: "STREAM.MSG.GET.KV_a", body: `{}`},
	{subject: "STREAM.MSG.GET.KV_a"},
	{subject: "STREAM.MSG.GET.KV_a", body: `x`},
	{subject: "STREAM.MSG.GET.KV_a", body: `{"seq":1,"last_by_subj":"$KV.a.color"}`},
	{subject: "STREAM.MSG.GET.KV_a", body: `{"batch":2,"seq":1}`},
	{subject: "STREAM.MSG.GET.KV_none", body: `{"seq":1}`},
	{subject: "STREAM.MSG.GET.none", body: `{"seq":1}`},
	{subject: "STREAM.MSG.DELETE.KV_a", body: `{"seq":3}`},
	{subject: "STREAM.MSG.DELETE.KV_a", body: `{}`},
	{subject: "STREAM.MSG.DELETE.KV_a"},
	{subject: "STREAM.MSG.DELETE.KV_none", body: `{"seq":3}`},
}

func updateSteps() []step {
	return []step{
		{subject: "STREAM.UPDATE.KV_none", body: bucketConfig("none")},
		{subject: "STREAM.UPDATE.KV_a", body: bucketConfig("b")},
		{subject: "STREAM.UPDATE.KV_b", body: bucketConfig("b", `"max_msgs_per_subject":2`, `"description":"new"`), eventually: true},
		{subject: "STREAM.INFO.KV_b"},
		{subject: "STREAM.UPDATE.KV_b", body: bucketConfig("b", `"storage":"memory"`)},
		{subject: "STREAM.UPDATE.KV_b", body: bucketConfig("b", `"deny_delete":false`)},
		{subject: "STREAM.UPDATE.KV_b", body: bucketConfig("b", `"max_age":1`)},
		{subject: "STREAM.UPDATE.KV_ttl", body: bucketConfig("ttl")},
		{subject: "STREAM.UPDATE.KV_ttl", body: bucketConfig("ttl", `"allow_msg_ttl":true`, `"republish":{"src":">","dest":"x.>"}`)},
		{subject: "STREAM.UPDATE.KV_ttl", body: bucketConfig("ttl", `"allow_msg_ttl":true`)},
		{subject: "STREAM.UPDATE.KV_a", body: ""},
		{subject: "STREAM.UPDATE.KV_a", body: "x"},
	}
}

var listSteps = []step{
	{subject: "STREAM.NAMES"},
	{subject: "STREAM.NAMES", body: `{"offset":2}`},
	{subject: "STREAM.NAMES", body: `{"offset":1000}`},
	{subject: "STREAM.NAMES", body: `{"offset":-1}`},
	{subject: "STREAM.NAMES", body: `{"subject":"$KV.*.>"}`},
	{subject: "STREAM.NAMES", body: `{"subject":"$KV.a.>"}`},
	{subject: "STREAM.NAMES", body: `{"subject":"$KV.a.color"}`},
	{subject: "STREAM.NAMES", body: `{"subject":"nothing"}`},
	{subject: "STREAM.NAMES", body: `{"subject":">"}`},
	{subject: "STREAM.NAMES", body: `text`},
	{subject: "STREAM.LIST", body: `{"subject":"$KV.a.>"}`},
	{subject: "STREAM.LIST", body: `{"offset":1}`},
	{subject: "STREAM.LIST", body: `{"offset":1000}`},
	{subject: "INFO"},
}

var infoSteps = []step{
	{subject: "STREAM.INFO.KV_a"},
	{subject: "STREAM.INFO.KV_a", body: `{"subjects_filter":"$KV.a.>"}`},
	{subject: "STREAM.INFO.KV_a", body: `{"subjects_filter":"$KV.a.color"}`},
	{subject: "STREAM.INFO.KV_a", body: `{"subjects_filter":"$KV.a.none"}`},
	{subject: "STREAM.INFO.KV_a", body: `{"subjects_filter":">","offset":2}`},
	{subject: "STREAM.INFO.KV_b"},
	{subject: "STREAM.INFO.KV_js"},
	{subject: "STREAM.INFO.none"},
}

var consumerSteps = []step{
	{subject: "CONSUMER.NAMES.KV_a"},
	{subject: "CONSUMER.LIST.KV_a"},
	{subject: "CONSUMER.NAMES.KV_none"},
	{subject: "CONSUMER.LIST.KV_none"},
	{subject: "CONSUMER.INFO.KV_a.c"},
	{subject: "CONSUMER.INFO.KV_none.c"},
	{subject: "CONSUMER.DELETE.KV_a.c"},
	{subject: "CONSUMER.DELETE.KV_none.c"},
	{subject: "CONSUMER.DELETE.KV_a.c", body: "x"},
	{subject: "CONSUMER.DELETE.KV_none.c", body: `{"name":"c"}`},
	{subject: "CONSUMER.DELETE.KV_a.c", body: "{ }"},
	{subject: "CONSUMER.INFO.KV_a.c", body: "x"},
	{subject: "CONSUMER.CREATE.KV_a.c", body: `{"stream_name":"KV_b","action":"foo","config":{"name":"c","deliver_subject":"d","ack_policy":"none"}}`},
	{subject: "CONSUMER.CREATE.KV_none.c", body: `{"stream_name":"KV_none","config":{"name":"c","deliver_subject":"d","ack_policy":"none"}}`},
	{subject: "CONSUMER.CREATE.KV_a.c", body: `{"stream_name":"KV_b","config":{"name":"c","deliver_subject":"d","ack_policy":"none"}}`},
	{subject: "CONSUMER.CREATE.KV_a.c.$KV.a.>", body: `{"stream_name":"KV_a","config":{"name":"c","deliver_subject":"d","ack_policy":"none","filter_subject":"$KV.a.x"}}`},
	{subject: "CONSUMER.CREATE.KV_a.c.$KV.a.>", body: `{"stream_name":"KV_a","config":{"name":"c","deliver_subject":"d","ack_policy":"none","filter_subjects":["$KV.a.x","$KV.a.y"]}}`},
	{subject: "CONSUMER.CREATE.KV_a.c", body: `{"stream_name":"KV_a","config":{"name":"c","deliver_subject":"d","ack_policy":"none","filter_subjects":["$KV.a.x","$KV.a.>"]}}`},
	{subject: "CONSUMER.CREATE.KV_a.c", body: `{"stream_name":"KV_a","config":{"name":"c","deliver_subject":"d","ack_policy":"none","filter_subjects":["$KV.a.>","$KV.a.*.x"]}}`},
	{subject: "CONSUMER.CREATE.KV_a.c", body: `{"stream_name":"KV_a","config":{"name":"c","deliver_subject":"d","ack_policy":"none","filter_subjects":["$KV.a.*","$KV.a.*"]}}`},
	{subject: "CONSUMER.CREATE.KV_a.c", body: `{"stream_name":"KV_a","config":{"name":"c","deliver_subject":"d","ack_policy":"none","filter_subject":"$KV.a.z","filter_subjects":["$KV.a.x","$KV.a.y"]}}`},
	{subject: "CONSUMER.CREATE.KV_a.c", body: `{"stream_name":"KV_a","config":{"name":"c","deliver_subject":"d","ack_policy":"none","deliver_policy":"by_start_sequence"}}`},
	{subject: "CONSUMER.CREATE.KV_a.c", body: `{"stream_name":"KV_a","config":{"name":"c","deliver_subject":"d","ack_policy":"none","deliver_policy":"last_per_subject"}}`},
	{subject: "CONSUMER.CREATE.KV_a.c", body: `{"stream_name":"KV_a","config":{"name":"c","deliver_subject":"d","ack_policy":"none","deliver_policy":"all","opt_start_seq":1}}`},
	{subject: "CONSUMER.CREATE.KV_a.c", body: `{"stream_name":"KV_a","config":{"name":"c","deliver_subject":"d","ack_policy":"none","deliver_policy":"nonsense"}}`},
	{subject: "CONSUMER.CREATE.KV_a.c", body: `{"stream_name":"KV_a","config":{"name":"c","deliver_subject":"d","ack_policy":"none","idle_heartbeat":1000}}`},
	{subject: "CONSUMER.CREATE.KV_a.c", body: `{"stream_name":"KV_a","config":{"name":"c","deliver_subject":"d","ack_policy":"none","flow_control":true}}`},
	{subject: "CONSUMER.CREATE.KV_a.c", body: `{"stream_name":"KV_a","config":{"name":"c","deliver_subject":"d.*","ack_policy":"none"}}`},
	{subject: "CONSUMER.CREATE.KV_a.c", body: `{"stream_name":"KV_a","config":{"name":"c","deliver_subject":"$KV.a.x","ack_policy":"none"}}`},
	{subject: "CONSUMER.CREATE.KV_a.c", body: `{"stream_name":"KV_a","config":{"name":"c","deliver_subject":"d","ack_policy":"none","filter_subjects":[""]}}`},
	{subject: "CONSUMER.DURABLE.CREATE.KV_a.c", body: `{"stream_name":"KV_a","config":{"name":"c","deliver_subject":"d","ack_policy":"none"}}`},
	{subject: "CONSUMER.DURABLE.CREATE.KV_a.c", body: `{"stream_name":"KV_a","config":{"durable_name":"e","deliver_subject":"d","ack_policy":"none"}}`},
	{subject: "CONSUMER.DURABLE.CREATE.KV_none.c", body: `{"stream_name":"KV_none","config":{"durable_name":"c","deliver_subject":"d","ack_policy":"none"}}`},
	{subject: "CONSUMER.DURABLE.CREATE.KV_a.c"},
	{subject: "CONSUMER.CREATE.KV_a.c", body: `{"stream_name":"KV_a","config":{"durable_name":"e","deliver_subject":"d","ack_policy":"none"}}`},
	{subject: "CONSUMER.CREATE.KV_a", body: `{"stream_name":"KV_a","config":{"durable_name":"c","deliver_subject":"d","ack_policy":"none"}}`},
	{subject: "CONSUMER.CREATE.KV_a.c", body: `x`},
	{subject: "CONSUMER.CREATE.KV_a.c"},
	{subject: "CONSUMER.CREATE.KV_a", body: `{"stream_name":"KV_a","config":{"name":"a.b","deliver_subject":"d","ack_policy":"none"}}`},
	{subject: "CONSUMER.CREATE.KV_a.pager.>", body: viewRequest, differs: "not offered: nats stream view", ours: `{"json":{"error":{"code":400,"description":"bad request: a durable pull consumer is not offered for key-value buckets","err_code":10003},"type":"io.nats.jetstream.api.v1.consumer_create_response"}}`},
	{subject: "CONSUMER.DELETE.KV_a.pager", differs: "ours was not made", ours: `{"json":{"error":{"code":404,"description":"consumer not found","err_code":10014},"type":"io.nats.jetstream.api.v1.consumer_delete_response"}}`},
}

// viewRequest is what jsm.go v0.5.1 sends for nats stream view, but for the consumer's name.
const viewRequest = `{"stream_name":"KV_a","config":{"description":"JSM Stream Pager","ack_policy":"explicit","ack_wait":30000000000,"deliver_policy":"all","durable_name":"pager","name":"pager","filter_subject":">","replay_policy":"instant","inactive_threshold":3600000000000,"num_replicas":1,"mem_storage":true,"pause_until":"0001-01-01T00:00:00Z"},"action":""}`

func malformedSteps() []step {
	return []step{
		{subject: "STREAM.CREATE.KV_x"},
		{subject: "STREAM.CREATE.KV_x", body: "x"},
		{subject: "STREAM.CREATE.KV_x", body: "{"},
		{subject: "STREAM.CREATE.KV_x", body: "[]"},
		{subject: "STREAM.CREATE.KV_x", body: "null"},
		{subject: "STREAM.CREATE.KV_x", body: `{"name":"KV_x","nonsense":true}`},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"max_age":"1h"`)},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"storage":"tape"`)},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"discard":"some"`)},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"compression":"zip"`)},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"retention":"some"`)},
		{subject: "STREAM.CREATE.KV_x", body: bucketConfig("x", `"num_replicas":"3"`)},
		{subject: "STREAM.INFO.KV_a", body: `{"x":1}`},
		{subject: "STREAM.INFO.KV_a", body: `{`},
		{subject: "STREAM.INFO.KV_a", body: `hello`},
		{subject: "STREAM.NAMES", body: `{`},
		{subject: "STREAM.NAMES", body: `[]`},
		{subject: "STREAM.LIST", body: `{"nonsense":1}`},
		{subject: "STREAM.DELETE.KV_a", body: `{"x":1}`},
		{subject: "STREAM.DELETE.KV_a", body: `x`},
	}
}

var purgeSteps = []step{
	{subject: "STREAM.PURGE.KV_none"},
	{subject: "STREAM.PURGE.KV_none", body: `{"filter":"$KV.none.k"}`},
	{subject: "STREAM.PURGE.KV_b", body: `{"filter":"$KV.b.k","keep":1}`},
	{subject: "STREAM.PURGE.KV_b", body: `{"filter":"$KV.b.none"}`},
	{subject: "STREAM.PURGE.KV_b", body: `{"filter":"$KV.other.>"}`},
	{subject: "STREAM.PURGE.KV_b", body: `{"keep":1,"seq":2}`},
	{subject: "STREAM.PURGE.KV_b", body: `{"seq":2}`},
	{subject: "STREAM.PURGE.KV_b", body: `{"seq":1000,"filter":"$KV.b.dotted.>"}`},
	{subject: "STREAM.PURGE.KV_b", body: `x`},
	{subject: "STREAM.PURGE.KV_b", body: `{"x":1}`},
	{subject: "STREAM.INFO.KV_b"},
	{subject: "$KV.b.k", body: "after"},
	{subject: "STREAM.PURGE.KV_b"},
	{subject: "STREAM.PURGE.KV_b", body: `{}`},
	{subject: "STREAM.INFO.KV_b"},
	{subject: "$KV.b.k", body: "after"},
}

var deleteSteps = []step{
	{subject: "STREAM.CREATE.KV_kept", body: bucketConfig("kept", `"allow_rollup_hdrs":false`)},
	{subject: "$KV.kept.k", body: "v"},
	{subject: "$KV.kept.k", body: "v", headers: []string{rollup, "all"}},
	{subject: "$KV.kept.k", headers: []string{operation, "PURGE", rollup, "sub"}},
	{subject: "STREAM.DELETE.KV_kept"},
	{subject: "STREAM.DELETE.KV_a", body: "{}"},
	{subject: "STREAM.INFO.KV_a"},
	{subject: "STREAM.DELETE.KV_a"},
	{subject: "$KV.a.k", body: "v"},
	{subject: "STREAM.CREATE.KV_a", body: bucketConfig("a")},
	{subject: "$KV.a.k", body: "v"},
	{subject: "STREAM.INFO.KV_a"},
	// What async-nats sends. In JetStream the stream has the subject KV_a then, and the bucket takes no more puts.
	{subject: "STREAM.UPDATE.KV_a", body: `{"name":"KV_a","max_bytes":0,"max_msgs":0,"max_msgs_per_subject":10,"discard":"old","retention":"limits","max_consumers":0,"max_age":0,"storage":"file","num_replicas":0,"deny_delete":true}`, differs: "a bucket keeps its subjects and its rollups", ours: `{"json":{"config":{"allow_direct":false,"allow_msg_ttl":false,"allow_rollup_hdrs":true,"compression":"none","consumer_limits":{},"deny_delete":true,"deny_purge":false,"discard":"old","duplicate_window":120000000000,"max_age":0,"max_bytes":-1,"max_consumers":-1,"max_msg_size":-1,"max_msgs":-1,"max_msgs_per_subject":10,"mirror_direct":false,"name":"KV_a","num_replicas":1,"retention":"limits","sealed":false,"storage":"file","subjects":["$KV.a.\u003e"]},"created":"*","domain":"raftbus","state":{"bytes":"*","consumer_count":0,"first_seq":1,"first_ts":"*","last_seq":1,"last_ts":"*","messages":1,"num_subjects":1},"ts":"*","type":"io.nats.jetstream.api.v1.stream_update_response"}}`},
	{subject: "$KV.a.k", body: "w", differs: "a bucket keeps its subjects", ours: `{"json":{"domain":"raftbus","seq":2,"stream":"KV_a"}}`},
}

// fullSteps are of a bucket with more than its max_bytes.
func fullSteps() []step {
	large := strings.Repeat("v", 1000)
	return []step{
		{subject: "STREAM.CREATE.KV_full", body: bucketConfig("full", `"max_bytes":10000`)},
		{subject: "$KV.full.k", body: large},
		{subject: "$KV.full.l", body: large},
		{subject: "$KV.full.m", body: "v"},
		{subject: "STREAM.UPDATE.KV_full", body: bucketConfig("full", `"max_bytes":100`)},
		{subject: "$KV.full.k", body: large},
		{subject: "$KV.full.k", body: large + "v"},
		{subject: "$KV.full.new"},
		{subject: "$KV.full.new", headers: []string{operation, "DEL"}},
		{subject: "$KV.full.k", body: large[1:]},
		{subject: "$KV.full.k", headers: []string{operation, "DEL"}},
		{subject: "$KV.full.l", headers: []string{operation, "PURGE", rollup, "sub"}},
		{subject: "$KV.full.m", headers: []string{operation, "PURGE", rollup, "sub"}, differs: "a bucket that is full takes deletes, though a marker has more bytes than what it displaces",
			ours: `{"json":{"domain":"raftbus","seq":8,"stream":"KV_full"}}`},
		{subject: "$KV.full.m", body: large, headers: []string{rollup, "all"}},
		{subject: "STREAM.DELETE.KV_full"},
	}
}
