package kvclients

// Each field and header of a request, with values at and beyond what it takes, asked of a JetStream and of us: the answers are the same, down to the
// configuration that is said back.

import (
	"fmt"
	"strings"
	"testing"
)

// consumerFields are what a consumer of the bucket z may say beside who it is.
func consumerFields() []string {
	return []string{
		`"max_waiting":1`, `"max_waiting":-1`, `"max_ack_pending":1000`, `"max_ack_pending":-1`, `"max_ack_pending":-2`,
		`"description":"` + strings.Repeat("d", 4096) + `"`, `"description":"` + strings.Repeat("d", 4097) + `"`,
		`"ack_wait":-1`, `"ack_wait":5000000000`, `"max_deliver":0`, `"max_deliver":-2`, `"max_deliver":5`, `"backoff":[]`, `"replay_policy":"instant"`, `"replay_policy":"x"`, `"rate_limit_bps":-1`,
		`"sample_freq":"50"`, `"sample_freq":"200%"`, `"sample_freq":"x"`, `"sample_freq":"-1"`, `"sample_freq":"%"`, `"sample_freq":""`,
		`"flow_control":true`, `"flow_control":true,"idle_heartbeat":1000000000`, `"idle_heartbeat":1`, `"idle_heartbeat":-1`, `"idle_heartbeat":99999999`, `"idle_heartbeat":100000000`,
		`"headers_only":true`, `"headers_only":1`, `"max_batch":1`, `"max_batch":-1`, `"max_expires":1`, `"max_expires":1000000`, `"max_expires":-1`, `"max_bytes":1`, `"max_bytes":-1`,
		`"inactive_threshold":10000000000`, `"inactive_threshold":-1`, `"num_replicas":1`, `"num_replicas":-1`, `"mem_storage":true`, `"direct":false`,
		`"metadata":{"a":"b"}`, `"metadata":{}`, `"metadata":{"a":1}`, `"priority_groups":[]`, `"priority_policy":"none"`, `"deliver_group":""`,
		`"pause_until":"2001-01-01T00:00:00Z"`, `"pause_until":"2001-01-01T00:00:00+01:00"`, `"pause_until":"0001-01-01T00:00:00Z"`, `"pause_until":null`,
		`"filter_subject":"$KV.z.a"`, `"filter_subject":">"`, `"filter_subject":"$KV.*.a"`, `"filter_subjects":[]`, `"filter_subjects":["$KV.z.a","$KV.z.b"]`, `"filter_subjects":["","$KV.z.a"]`, `"filter_subjects":["$KV.z.>","$KV.z.a"]`,
		`"filter_subject":"$KV.z.a","filter_subjects":["$KV.z.b"]`, `"opt_start_seq":1`, `"opt_start_time":"2001-01-01T00:00:00Z"`, `"deliver_policy":"last"`, `"deliver_policy":"new"`, `"deliver_policy":"last_per_subject"`,
		`"deliver_policy":"last_per_subject","opt_start_seq":1`, `"deliver_policy":"by_start_sequence"`, `"deliver_policy":"by_start_sequence","opt_start_seq":3`, `"deliver_policy":"by_start_sequence","opt_start_seq":99`,
		`"deliver_policy":"by_start_sequence","opt_start_seq":1,"opt_start_time":"2001-01-01T00:00:00Z"`, `"deliver_policy":"by_start_time"`, `"deliver_policy":"by_start_time","opt_start_time":"2001-01-01T00:00:00+02:00"`,
		`"deliver_policy":"by_start_time","opt_start_time":"2099-01-01T00:00:00Z"`, `"name":"other"`, `"name":"a/b"`, `"durable_name":"other"`, `"unknown":1`,
	}
}

func TestEachFieldOfAConsumerIsAnsweredAsByJetStream(t *testing.T) {
	t.Parallel() // it mostly waits
	list := []step{{subject: "STREAM.CREATE.KV_z", body: bucketConfig("z", `"max_msgs_per_subject":3`)}}
	for i := range 6 {
		list = append(list, step{subject: fmt.Sprintf("$KV.z.%c", 'a'+i%3), body: "v"})
	}
	ask := func(fields string) step {
		name := fmt.Sprintf("c%d", len(list)/2)
		return step{subject: "CONSUMER.CREATE.KV_z." + name, body: fmt.Sprintf(`{"stream_name":"KV_z","config":{"name":%q,%s}}`, name, fields)}
	}
	for _, kind := range []string{`"ack_policy":"none","deliver_subject":"D.c"`, `"ack_policy":"explicit","deliver_subject":"D.c"`, `"ack_policy":"none"`, `"ack_policy":"all"`} {
		for _, fields := range consumerFields() {
			made := ask(kind + "," + fields)
			list = append(list, made, step{subject: strings.Replace(made.subject, "CREATE", "DELETE", 1)})
		}
	}
	for _, path := range []string{"a/b", `a\b`} {
		list = append(list, step{subject: "CONSUMER.CREATE.KV_z." + path, body: `{"stream_name":"KV_z","config":{"ack_policy":"none","deliver_subject":"D.c"}}`})
	}
	compare(t, list)
}

// TestWhatIsThereIsToldAsByJetStream asks for pages, messages, counts and purges of what is there, and of what is not, in odd ways.
func TestWhatIsThereIsToldAsByJetStream(t *testing.T) {
	t.Parallel() // it mostly waits
	var list []step
	ask := func(subject string, bodies ...string) {
		for _, body := range bodies {
			list = append(list, step{subject: subject, body: body})
		}
	}
	for _, bucket := range []string{"e", "f"} {
		ask("STREAM.CREATE.KV_"+bucket, bucketConfig(bucket, `"max_msgs_per_subject":3`))
		for i := range 12 {
			ask(fmt.Sprintf("$KV.%s.%c", bucket, 'a'+i%3), fmt.Sprint(i))
		}
		list = append(list, step{subject: "$KV." + bucket + ".x.y", body: "xy", headers: []string{"A", "b"}}, step{subject: "$KV." + bucket + ".b", headers: []string{rollup, "sub"}}) // one header each: nats.go sends more in any order
	}
	for i := range 4 {
		list = append(list, consumerRequest("e", fmt.Sprintf("c%d", i), "", `"inactive_threshold":60000000000`))
	}
	pages := []string{
		"", "{}", "[]", "null", "x", `""`, "1", " {}", "{} x", "{}{}", `{"offset":1}`, `{"offset":4}`, `{"offset":5}`, `{"offset":-5}`, `{"offset":1.5}`, `{"offset":"1"}`, `{"offset":null}`,
		`{"offset":9223372036854775807}`, `{"offset":9223372036854775808}`, `{"limit":1}`, `{"subject":"$KV.e.>"}`,
	}
	for _, op := range []string{"STREAM.NAMES", "STREAM.LIST", "STREAM.INFO.KV_e", "CONSUMER.NAMES.KV_e", "CONSUMER.NAMES.KV_f", "CONSUMER.LIST.KV_f", "CONSUMER.NAMES.KV_none", "CONSUMER.INFO.KV_e.none", "INFO"} {
		ask(op, pages...)
	}
	for _, op := range []string{"STREAM.NAMES", "STREAM.LIST"} {
		ask(op, `{"subject":""}`, `{"subject":null}`, `{"subject":1}`, `{"subject":"$KV.e.*"}`, `{"subject":"$KV.*.a"}`, `{"subject":"$KV.e"}`, `{"subject":"*"}`, `{"subject":"a..b"}`, `{"subject":"$KV.e.>","offset":1}`)
	}
	ask("STREAM.INFO.KV_e", `{"subjects_filter":""}`, `{"subjects_filter":null}`, `{"subjects_filter":1}`, `{"subjects_filter":"a..b"}`, `{"subjects_filter":"$KV.e.>.b"}`, `{"subjects_filter":"$KV.e.*"}`,
		`{"subjects_filter":"$KV.e.>","offset":4}`, `{"subjects_filter":"$KV.e.>","offset":5}`, `{"subjects_filter":"$KV.e.>","offset":-1}`, `{"subjects_filter":"$KV.f.>"}`)
	gets := []string{
		"", "{}", "[]", "null", "x", `""`, "1", "{", `{"seq":0}`, `{"seq":null}`, `{"seq":-1}`, `{"seq":1.5}`, `{"seq":"1"}`, `{"seq":18446744073709551615}`, `{"seq":18446744073709551616}`, `{"seq":1}`, `{"seq":7}`, `{"seq":13}`, `{"seq":14}`,
		`{"seq":15}`, `{"seq":13,"no_hdr":true}`, `{"seq":7,"no_hdr":1}`, `{"no_hdr":true}`, `{"seq":7}x`, `{"seq":7}{"seq":8}`, ` {"seq":7} `, `{"SEQ":7}`, `{"seq":7,"max_bytes":1}`, `{"max_bytes":1}`, `{"seq":7,"up_to_seq":3}`, `{"up_to_seq":3}`,
		`{"last_by_subj":""}`, `{"last_by_subj":null}`, `{"last_by_subj":1}`, `{"last_by_subj":"$KV.e.b","no_hdr":true}`, `{"last_by_subj":"$KV.e.none"}`, `{"last_by_subj":"a..b"}`, `{"last_by_subj":"$KV.e.>.b"}`, `{"last_by_subj":"*"}`, `{"last_by_subj":"$KV.e."}`,
		`{"last_by_subj":"$KV.e.a","seq":1}`, `{"last_by_subj":"$KV.e.a","next_by_subj":"$KV.e.a"}`, `{"next_by_subj":""}`, `{"next_by_subj":"$KV.e.a","seq":9}`, `{"next_by_subj":"$KV.e.a","seq":14}`, `{"next_by_subj":"$KV.e.a","seq":100}`,
		`{"next_by_subj":"$KV.e.a","seq":18446744073709551615}`, `{"next_by_subj":"$KV.e.*","seq":12}`, `{"next_by_subj":"a..b"}`, `{"next_by_subj":"$KV.e.>.b"}`, `{"next_by_subj":"$KV.e.x.y","seq":2,"no_hdr":true}`,
		`{"start_time":null}`, `{"start_time":"x"}`, `{"start_time":"2099-01-01T00:00:00Z"}`, `{"start_time":"2001-01-01T00:00:00Z","seq":1}`, `{"start_time":"2001-01-01T00:00:00Z","next_by_subj":"$KV.e.x.*"}`, `{"start_time":"2001-01-01T00:00:00Z","last_by_subj":"$KV.e.a"}`,
	}
	for _, op := range []string{"DIRECT.GET.KV_e", "STREAM.MSG.GET.KV_e", "STREAM.MSG.GET.KV_none", "DIRECT.GET.KV_none"} {
		ask(op, gets...)
	}
	for _, key := range []string{"$KV.e.a", "$KV.e.*", ">", "*", "$KV.e.none", "$KV.f.a", "$KV.e"} {
		ask("DIRECT.GET.KV_e."+key, "", "{}", "x", "null", "[]", `{"seq":1}`, `{"no_hdr":true}`, `{"last_by_subj":"$KV.e.a"}`, `{"start_time":"2001-01-01T00:00:00Z"}`, `{"max_bytes":1}`, `{"unknown":1}`)
	}
	for _, op := range []string{"STREAM.MSG.DELETE.KV_e", "STREAM.MSG.DELETE.KV_none"} {
		ask(op, "", "{}", " {} ", "null", "x", "[]", `{"seq":0}`, `{"seq":-1}`, `{"seq":"1"}`, `{"seq":1}`, `{"no_erase":true}`, `{"seq":1,"unknown":1}`)
	}
	for _, body := range []string{
		"x", "[]", "null", `""`, `{"filter":1}`, `{"seq":-1}`, `{"keep":-1}`, `{"seq":1.5}`, `{"seq":1,"keep":1}`, `{"filter":"a..b"}`, `{"filter":"a..b","keep":1}`, `{"filter":"$KV.f.>.b"}`, `{"filter":"$KV.e.a"}`, `{"seq":1}`, `{"keep":100}`, `{"filter":"$KV.f.c","seq":7}`,
		`{"filter":"$KV.f.*","keep":5}`, `{"filter":"$KV.f.c","keep":1}`, `{"filter":"$KV.f.none","keep":1}`, `{"filter":"$KV.f.>","seq":9}`, `{"seq":11}`, `{"keep":2}`, `{"filter":"$KV.f.x.>"}`, `{"filter":">","keep":1}`, `{"filter":"$KV.f.>"}`, `{"seq":15}`, `{"seq":0,"keep":0,"filter":""}`,
	} {
		ask("STREAM.PURGE.KV_f", body)
		ask("STREAM.INFO.KV_f", "", `{"subjects_filter":">"}`)
	}
	compare(t, list)
}

func TestEachHeaderOfAPutIsAnsweredAsByJetStream(t *testing.T) {
	t.Parallel() // it mostly waits
	const ofSubject, stream = "Nats-Expected-Last-Subject-Sequence-Subject", "Nats-Expected-Stream"
	var list []step
	put := func(key string, headers ...string) {
		list = append(list, step{subject: "$KV." + key, body: "v", headers: headers})
	}
	each := func(header string, values ...string) {
		for i, v := range values {
			put(fmt.Sprintf("p.%s%d", strings.ToLower(header), i), header, v)
			put(fmt.Sprintf("m.%s%d", strings.ToLower(header), i), header, v)
		}
	}
	for bucket, fields := range map[string]string{"p": `"max_msgs_per_subject":5`, "m": `"subject_delete_marker_ttl":5000000000`, "r": `"allow_rollup_hdrs":false`} {
		list = append(list, step{subject: "STREAM.CREATE.KV_" + bucket, body: bucketConfig(bucket, fields)})
	}
	put("p.a")
	numbers := []string{"", "0", "1", "2", "x", "-1", "+1", "01", "1.0", " 1", "1 ", "0x1", "18446744073709551615", "9223372036854775808", "1 2", "1_0"}
	each(expectSubject, numbers...)
	each(expectLast, numbers...)
	for _, ofKey := range []string{"", "0", "1", "99", "x"} {
		for _, ofBucket := range []string{"", "0", "1", "99", "x"} {
			put("p.q", expectSubject, ofKey, expectLast, ofBucket)
			put("p.q", expectSubject, ofKey, expectLast, ofBucket, ofSubject, "$KV.p.q")
		}
	}
	put("p.q", ofSubject, "")
	put("p.q", ofSubject, "$KV.p.a")
	put("p.q", expectSubject, "1", expectSubject, "2")
	each(stream, "", "KV_p", "KV_q", "kv_p", " KV_p")
	each(ttl, "", "0", "1", "-1", "0s", "1.5s", "999ms", "1000ms", "1d", "never", "NEVER", "x", " 5", "+5", "-5s", "05", "1e3", "9223372036854775807", "9223372036854775808", "2562047h", "2562048h", "0.5")
	for i := range 22 {
		list = append(list, step{subject: fmt.Sprintf("DIRECT.GET.KV_m.$KV.m.nats-ttl%d", i)})
	}
	each(rollup, "", "sub", "SUB", "x", " sub", "sub,all", "all")
	for _, v := range []string{"", "sub", "all"} {
		put("r.k", rollup, v)
	}
	for _, id := range []string{"", "one", "one", "two", "ONE", " one", strings.Repeat("i", 1024)} {
		put("p.id", msgID, id)
	}
	for _, last := range []string{"", "one", "two", "x"} {
		put("p.id", expectMsgID, last)
		put("p.id", expectMsgID, last, msgID, "then "+last)
		put("p.id", expectMsgID, last, msgID, "two")
	}
	put("p.id", msgID, "two", stream, "KV_x")
	put("p.id", msgID, "fresh", rollup, "x")
	put("p.id", msgID, "fresh", ttl, "5s")
	put("p.id", msgID, "fresh")
	each("Nats-Incr", "", "1", "+1", "-1", "0")
	for _, name := range []string{"Nats-Schedule", "Nats-Schedule-Next", "Nats-Scheduler", "Nats-Stream-Source", "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit", "Nats-Marker-Reason", "KV-Operation", "A"} {
		put("p.empty", name, "")
	}
	each("Nats-Schedule", "x", "@at 2099-01-01T00:00:00Z")
	each("Nats-Schedule-TTL", "5s")
	each("Nats-Schedule-Target", "$KV.p.x")
	each("Nats-Stream-Source", "x")
	each(apiLevel, "1", "99", "x")
	each("Nats-Batch-Id", "b", strings.Repeat("b", 65))
	put("p.batch", "Nats-Batch-Id", "b", "Nats-Batch-Sequence", "1")
	put("p.batch", "Nats-Batch-Id", "b", "Nats-Batch-Sequence", "1", "Nats-Batch-Commit", "1")
	each("Nats-Batch-Sequence", "1")
	each("Nats-Batch-Commit", "1", "eob")
	each(operation, "del", "x", "DEL", "PURGE")
	put("p.two", stream, "KV_x", ttl, "5s")
	put("p.two", ttl, "5s", expectSubject, "99")
	put("p.two", expectSubject, "99", expectLast, "98")
	put("p.two", expectSubject, "99", expectMsgID, "x")
	put("p.two", expectLast, "99", expectMsgID, "x")
	put("p.two", ofSubject, "x", expectLast, "99")
	for _, bucket := range []string{"p", "m", "r"} {
		list = append(list, step{subject: "STREAM.INFO.KV_" + bucket, body: `{"subjects_filter":">"}`})
	}
	compare(t, list)
}

func TestEachFieldOfABucketIsAnsweredAsByJetStream(t *testing.T) {
	t.Parallel() // it mostly waits
	var list []step
	for i, fields := range [][]string{
		{`"description":null`}, {`"description":1`}, {`"description":"` + strings.Repeat("d", 4096) + `"`}, {`"subjects":"$KV.x.>"`}, {`"max_consumers":0`}, {`"max_consumers":-2`}, {`"max_msgs":0`}, {`"max_msgs":-2`},
		{`"max_bytes":0`}, {`"max_bytes":-2`}, {`"max_bytes":1`}, {`"max_bytes":9223372036854775808`}, {`"max_age":1`}, {`"max_age":99999999`}, {`"max_age":-1`}, {`"max_age":100000000`}, {`"max_age":100000000`, `"duplicate_window":0`},
		{`"max_age":9223372036854775807`}, {`"max_age":60000000000`, `"duplicate_window":60000000001`}, {`"max_msgs_per_subject":64`}, {`"max_msgs_per_subject":1.5`}, {`"max_msg_size":0`}, {`"max_msg_size":-2`}, {`"max_msg_size":2147483647`},
		{`"max_msg_size":2147483648`}, {`"discard":"old"`}, {`"storage":"any"`}, {`"num_replicas":0`}, {`"num_replicas":6`}, {`"num_replicas":-1`}, {`"no_ack":false`}, {`"duplicate_window":1`}, {`"duplicate_window":99999999`}, {`"duplicate_window":100000000`},
		{`"duplicate_window":-1`}, {`"duplicate_window":9223372036854775807`}, {`"placement":null`}, {`"placement":{}`}, {`"placement":{"preferred":"x"}`}, {`"mirror":null`}, {`"sources":null`}, {`"sources":[]`}, {`"compression":"s2"`}, {`"compression":"S3"`},
		{`"first_seq":0`}, {`"first_seq":-1`}, {`"subject_transform":null`}, {`"republish":null`}, {`"republish":{"src":"$KV.*.*","dest":"rep.{{wildcard(2)}}"}`}, {`"republish":{"src":">","dest":">"}`}, {`"republish":{"src":"a..b","dest":"rep.a"}`},
		{`"republish":{"src":"$KV.*.*","dest":"rep.$3"}`}, {`"allow_direct":false`}, {`"allow_direct":null`}, {`"sealed":false`}, {`"deny_delete":false`}, {`"deny_purge":false`}, {`"allow_rollup_hdrs":false`}, {`"consumer_limits":null`},
		{`"consumer_limits":{"inactive_threshold":0}`}, {`"allow_msg_ttl":true`}, {`"subject_delete_marker_ttl":999999999`}, {`"subject_delete_marker_ttl":1500000000`}, {`"subject_delete_marker_ttl":-1`}, {`"subject_delete_marker_ttl":1000000000`, `"allow_rollup_hdrs":false`},
		{`"persist_mode":"default"`}, {`"metadata":null`}, {`"metadata":{"a":"b"}`}, {`"metadata":{"_nats.level":"99"}`}, {`"metadata":{"a":null}`}, {`"metadata":{"a":1}`}, {`"unknown":1`}, {`"name":""`}, {`"name":"KV_other"`}, {`"name":1`},
	} {
		made, changed := fmt.Sprintf("made%d", i), fmt.Sprintf("changed%d", i) // a JetStream may be unable to make one again that was just deleted
		list = append(list, step{subject: "STREAM.CREATE.KV_" + made, body: bucketConfig(made, fields...)}, step{subject: "STREAM.CREATE.KV_" + changed, body: bucketConfig(changed)},
			step{subject: "STREAM.UPDATE.KV_" + changed, body: bucketConfig(changed, fields...)}, step{subject: "STREAM.INFO.KV_" + changed})
	}
	compare(t, list)
}
