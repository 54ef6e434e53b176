package kvclients

// Each field of what a request may say, with values at and beyond what it takes, asked of a JetStream and of us: the answers are the same, down to the
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
		list = append(list, step{subject: "$KV." + bucket + ".x.y", body: "xy", headers: []string{"A", "b"}}, step{subject: "$KV." + bucket + ".b", headers: []string{operation, "PURGE", rollup, "sub"}})
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
