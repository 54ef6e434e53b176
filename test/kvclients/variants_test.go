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
