package jetstream

// One test per section of the specification that the package was written to, named by its number.

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
)

func Test2_PrefixesAndWildcardsInSubjects(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	w.says(`{"stream":"KV_a","domain":"dom","seq":1}`, "$KV.a.k", "v") // also what follows $JS.dom.API.
	w.refused(errNoHost, "CONSUMER.CREATE.KV_a.c.$KV.a.>", consumerBody("KV_a", `"name":"c","filter_subject":"$KV.a.>"`))
	for _, subject := range []string{"NONSENSE", "STREAM", "STREAM.INFO", "STREAM.INFO.KV_a.x", "STREAM.SNAPSHOT.KV_a", "CONSUMER.MSG.NEXT.KV_a.c", "", ".", "$KV", "$KV.", "$KV.a", "$KV..k", "$KV.b@d.k"} {
		w.status("503", subject, "")
	}
}

func Test3_BodiesAreReadStrictlyAndWhatMeansNothingIsPassedOver(t *testing.T) {
	w := newWorld(t)
	w.refused(errStreamMismatch, "STREAM.CREATE.KV_a", "")
	w.refused(errInvalidJSON.says("invalid JSON: invalid character 'x' looking for beginning of value at offset 1"), "STREAM.CREATE.KV_a", "x")
	w.refused(errInvalidJSON.says(`invalid JSON: json: unknown field "x"`), "STREAM.CREATE.KV_a", config("a", `"x":1`))
	w.refused(errInvalidJSON.says(`invalid JSON: json: unknown field "y"`), "STREAM.CREATE.KV_a", config("a", `"x":0`, `"republish":{"dest":"o.>","y":true}`))
	w.refused(errInvalidJSON.says(`invalid JSON: json: unknown field "x"`), "STREAM.CREATE.KV_a", config("a", `"x":-1`))
	w.bucket("a", `"v":false`, `"w":0`, `"x":""`, `"y":null`, `"z":{"a":[],"b":{}}`)
	w.refused(errBadRequest.says("bad request: the body has 262145 bytes, and may have 262144"), "STREAM.CREATE.KV_a", strings.Repeat(" ", bodyBytesMax+1))
	deep := strings.Repeat(`{"x":`, 9_000) + "1" + strings.Repeat("}", 9_000)
	w.refused(errInvalidJSON.says(`invalid JSON: json: unknown field "x"`), "STREAM.CREATE.KV_a", deep)
	w.refused(errNotEmpty, "STREAM.DELETE.KV_a", "{"+strings.Repeat(" ", bodyBytesMax-1)+"}") // Q11
	w.has(`{"success":true}`, "STREAM.DELETE.KV_a", "{"+strings.Repeat(" ", bodyBytesMax-2)+"}")
	w.says(`{"type":"io.nats.jetstream.api.v1.stream_delete_response","error":{"code":404,"err_code":10059,"description":"stream not found"}}`, "STREAM.DELETE.KV_none", "")
}

func Test41_Puts(t *testing.T) {
	w := newWorld(t)
	w.bucket("a", `"max_msgs_per_subject":3`)
	ack := func(seq string) string { return `{"stream":"KV_a","domain":"dom","seq":` + seq + `}` }
	put := "$KV.a.color"
	w.says(ack("1"), put, "blue")
	w.says(ack("2"), put, "red", headerExpectedSubject, "1")
	w.says(`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 2"},"stream":"KV_a","seq":0}`, put, "x", headerExpectedSubject, "1")
	w.refused(errWrongLast.says("wrong last sequence: 2"), put, "x", headerExpectedSubject, "0")
	w.refused(errWrongLast.says("wrong last sequence: 2"), put, "x", headerExpectedSubject, "none")
	w.refused(errWrongLast.says("wrong last sequence: 0"), "$KV.a.other", "x", headerExpectedSubject, "1")
	w.says(ack("3"), "$KV.a.other", "x", headerExpectedSubject, "0")
	w.says(ack("4"), put, "", headerOperation, "DEL")
	w.refused(errWrongLast.says("wrong last sequence: 4"), put, "x", headerExpectedSubject, "0") // a marker counts
	w.says(ack("5"), put, "", headerOperation, "PURGE", headerRollup, "sub")
	w.has(`{"error":{"code":404,"err_code":10037,"description":"no message found"}}`, "STREAM.MSG.GET.KV_a", `{"seq":1}`) // rolled up
	w.refused(errExpectedStream, put, "x", headerExpectedStream, "KV_b")
	w.says(ack("6"), put, "x", headerExpectedStream, "KV_a")
	w.refused(errWrongLast.says("wrong last sequence: 6"), put, "x", headerExpectedLast, "5")
	w.says(ack("7"), put, "x", headerExpectedLast, "6")
	w.refused(errRollup.says(`rollup value invalid: "x"`), put, "x", headerRollup, "x")
	w.status("503", "$KV.none.k", "v")
	before := w.index
	w.send("$KV.none.k", "v")
	require.Equal(t, before, w.index, "what is put to a bucket that is not there is not logged")
	for header, e := range map[string]*apiError{
		"Nats-Incr": errNoCounters, "Nats-Batch-Id": errNoAtomic, "Nats-Schedule": errNoSchedules, "Nats-Stream-Source": errSourceHeader,
	} {
		w.refused(e, put, "x", header, "1")
	}
	w.refused(errExpectedSubject, put, "x", headerExpectedOfSubject, put)
	require.Equal(t, 10003, putErrorCode(t, w.ask(put, "x", headerExpectedOfSubject, "$KV.a.z", headerExpectedSubject, "1")))
	w.says(ack("8"), put, "x", headerExpectedOfSubject, put, headerExpectedSubject, "7")
}

func Test41_HeadersAreStoredAndComeBack(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	w.ask("$KV.a.k", "v", "X-One", "1", "x-one", "2", "X-One", "3 ", "Nats-Request-Info", "secret", "Nats-Sequence", "99")
	block := "NATS/1.0\r\nNats-Sequence: 99\r\nX-One: 1\r\nX-One: 3\r\nx-one: 2\r\n\r\n"
	w.has(`{"message":{"subject":"$KV.a.k","seq":1,"hdrs":"`+base64Of(block)+`","data":"dg==","time":"1970-01-12T13:46:42Z"}}`, "STREAM.MSG.GET.KV_a", `{"seq":1}`)
	require.Equal(t, Reply{Data: []byte("v"), Header: map[string][]string{
		"X-One": {"1", "3"}, "x-one": {"2"},
		"Nats-Stream": {"KV_a"}, "Nats-Subject": {"$KV.a.k"}, "Nats-Sequence": {"1"}, "Nats-Time-Stamp": {"1970-01-12T13:46:42Z"},
	}}, w.ask("DIRECT.GET.KV_a.$KV.a.k", ""))
	w.refused(errHeadersTooLarge, "$KV.a.k", "v", "X", strings.Repeat("x", 64<<10))
}

func Test41_WhatCannotBeReadIsRefused(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	for _, subject := range []string{"$KV.a.k", "STREAM.INFO.KV_a", "DIRECT.GET.KV_a.$KV.a.k"} {
		plan := w.Plan(Request{Subject: subject, Broken: true, PayloadMax: payloadMax})
		require.Nil(t, plan.Write)
		require.Len(t, w.carryOut(plan), 1)
	}
	for _, name := range []string{"", "a b", "a\rb", "a(b", "ä", "a\x00"} {
		require.Equal(t, 10003, putErrorCode(t, w.ask("$KV.a.k", "v", name, "x")), "%q could not be sent back", name)
	}
	for _, key := range []string{"a..b", ".a", "a.", "*", "a.>", "a b", "a\x01", "a\xff", strings.Repeat("k", 769)} {
		w.refused(errBadKey.says(errBadKey.Description, key), "$KV.a."+key, "v")
		w.refused(errBadKey.says(errBadKey.Description, key), "$KV.a."+key, "", headerOperation, headerOperationPurge, headerRollup, headerRollupOfKey)
	}
	w.says(`{"stream":"KV_a","domain":"dom","seq":1}`, "$KV.a.*x.größe:1", "v")
	w.refused(errMessageTooLarge, "$KV.a.k", strings.Repeat("v", payloadMax-PayloadReserve+1))
}

func Test42_TimesToLive(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1s": time.Second, "1m0s": time.Minute, "1h": time.Hour, "5": 5 * time.Second, "1.5s": time.Second, "never": command.Never, "NEVER": command.Never,
		"9223372036854775807": ttlMax, "99999999999": ttlMax,
	} {
		got, ok := ParseTTL(text)
		require.True(t, ok, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"0", "-1", "500ms", "0.5s", "-5s", "x", "5 s", "18446744073709551616", "1e3"} {
		_, ok := ParseTTL(text)
		require.False(t, ok, text)
	}
	w := newWorld(t)
	w.bucket("a", `"allow_msg_ttl":true`)
	w.refused(errTTLInvalid, "$KV.a.k", "v", headerTTL, "x")
	require.NotEmpty(t, w.ask("$KV.a.k", "v", headerTTL, "1h").Data)
}

func Test42_LimitMarkersAndTheLeastTimeToLive(t *testing.T) {
	w := newWorld(t)
	w.bucket("off")
	w.refused(errTTLDisabled, "$KV.off.k", "v", headerTTL, "1h")
	w.bucket("on", `"allow_msg_ttl":true`, `"subject_delete_marker_ttl":5000000000`, `"max_msgs_per_subject":2`)
	w.ask("$KV.on.k", "v", headerTTL, "1s")
	require.Equal(t, []string{"5"}, w.ask("DIRECT.GET.KV_on.$KV.on.k", "").Header[headerTTL], "the marker's is the least")
	w.now = w.now.Add(10 * time.Second)
	items, err := w.store.Due(w.now.UnixNano(), 10)
	require.NoError(t, err)
	require.Len(t, items, 1)
	w.apply(command.Command{Expire: &command.Expire{Items: items}}.Encode())
	marker := w.ask("DIRECT.GET.KV_on.$KV.on.k", "")
	require.Empty(t, marker.Data)
	for name, want := range map[string]string{"Nats-Marker-Reason": "MaxAge", headerTTL: "5s", headerRollup: "sub", headerSequence: "2"} {
		require.Equal(t, []string{want}, marker.Header[name])
	}
}

func Test43_Limits(t *testing.T) {
	w := newWorld(t)
	w.bucket("a", `"max_msg_size":40`, `"max_bytes":100`)
	w.refused(errMessageTooLarge, "$KV.a.k", strings.Repeat("v", 41))
	w.refused(errMessageTooLarge, "$KV.a.k", strings.Repeat("v", 30), "A", "B")
	for i := range 6 {
		w.says(`{"stream":"KV_a","domain":"dom","seq":`+string(rune('1'+i))+`}`, "$KV.a.k", "1234567890") // each makes room for the next
	}
	w.refused(errBucketFull, "$KV.a.l", "1234567890")
	w.refused(errMessageTooLarge, "$KV.a.k", "", "KV-Operation", "DEL", "X", "12345")
	w.says(`{"stream":"KV_a","domain":"dom","seq":7}`, "$KV.a.k", "", headerOperation, "DEL")
}

func Test51_DirectGets(t *testing.T) {
	w := newWorld(t)
	w.bucket("a", `"max_msgs_per_subject":5`)
	w.ask("$KV.a.x", "1")
	w.ask("$KV.a.y", "2")
	w.ask("$KV.a.x", "3")
	w.ask("$KV.a.y", "", headerOperation, "DEL")
	const get = "DIRECT.GET.KV_a"
	for body, want := range map[string]string{
		`{"last_by_subj":"$KV.a.x"}`:                      "3",
		`{"last_by_subj":"$KV.*.x"}`:                      "3",
		`{"seq":2}`:                                       "2",
		`{"seq":2,"next_by_subj":"$KV.a.x"}`:              "3",
		`{"next_by_subj":"$KV.a.x"}`:                      "1",
		`{"seq":1,"next_by_subj":"$KV.*.y"}`:              "2",
		`{"seq":3,"next_by_subj":">","x":true,"batch":0}`: "3",
		`{"seq":2,"no_hdr":true}`:                         "2",
	} {
		require.Equal(t, want, string(w.ask(get, body).Data), body)
	}
	deleted := w.ask(get+".$KV.a.y", "")
	require.Empty(t, deleted.Data, "a delete is returned, and is told by its header")
	require.Equal(t, []string{"DEL"}, deleted.Header[headerOperation])
	for body, want := range map[string]string{
		``: "408 Empty Request", `{}`: "408 Empty Request", `x`: "408 Malformed Request", `{"seq":"1"}`: "408 Malformed Request",
		`{"seq":1,"last_by_subj":"$KV.a.x"}`: "408 Bad Request", `{"batch":"2","seq":1}`: "408 Malformed Request", `{"multi_last":[]}`: "408 Empty Request",
		`{"start_time":"2030-01-01T00:00:00Z"}`: "404 Message Not Found",
		`{"seq":9}`:                             "404 Message Not Found", `{"last_by_subj":"$KV.a.z"}`: "404 Message Not Found", `{"last_by_subj":"$KV.b.x"}`: "404 Message Not Found",
		`{"last_by_subj":"$KV.b.>"}`: "404 Message Not Found", `{"last_by_subj":"$KV.a.*.*"}`: "404 Message Not Found", `{"last_by_subj":">.a"}`: "404 Message Not Found",
		`{"seq":4,"next_by_subj":"$KV.a.x"}`: "404 Message Not Found", `{"seq":1,"next_by_subj":"$KV.b.>"}`: "404 Message Not Found", `{"next_by_subj":"a..b"}`: "404 Message Not Found",
	} {
		w.status(want, get, body)
	}
	w.status("404 Message Not Found", get+".$KV.a.z", "")
	w.status("408 Bad Request", get+".$KV.a.x", `{"seq":1}`)
	w.status("503", "DIRECT.GET.KV_none.$KV.none.x", "")
	w.status("503", "DIRECT.GET.none", `{"seq":1}`)
	w.status("412 Required Api Level", get, `{"seq":1}`, headerLevel, "2")
}

// One that may have to look at all keys must not be taken for one that looks at one.
func Test51_TheNewestOfManyKeys(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	for _, key := range []string{"x.1", "y.1", "x.2", "x*"} {
		w.ask("$KV.a."+key, key)
	}
	for subject, c := range map[string]struct {
		want  string
		quick bool
	}{"$KV.a.>": {"x*", false}, "$KV.a.x.*": {"x.2", false}, "$KV.a.*.1": {"y.1", false}, "$KV.a.y.1": {"y.1", true}, "$KV.a.x*": {"x*", false}} {
		require.Equal(t, c.quick, w.Plan(Request{Subject: "DIRECT.GET.KV_a." + subject, PayloadMax: payloadMax}).Tell != nil, subject)
		got := w.ask("DIRECT.GET.KV_a."+subject, "")
		require.Equal(t, c.want, string(got.Data), subject)
	}
	w.has(`{"message":{"subject":"$KV.a.y.1","seq":2,"data":"`+base64Of("y.1")+`","time":"1970-01-12T13:46:43Z"}}`, "STREAM.MSG.GET.KV_a", `{"last_by_subj":"$KV.a.y.>"}`)
}

func Test52_MessageGets(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	w.ask("$KV.a.x", "1")
	w.ask("$KV.a.y", "")
	const get = "STREAM.MSG.GET.KV_a"
	w.has(`{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","message":{"subject":"$KV.a.x","seq":1,"data":"MQ==","time":"1970-01-12T13:46:42Z"}}`, get, `{"last_by_subj":"$KV.a.x"}`)
	w.has(`{"message":{"subject":"$KV.a.y","seq":2,"time":"1970-01-12T13:46:43Z"}}`, get, `{"seq":2}`)
	w.has(`{"message":{"subject":"$KV.a.y","seq":2,"time":"1970-01-12T13:46:43Z"}}`, get, `{"seq":2,"next_by_subj":"$KV.a.>"}`)
	w.refused(errNoMessage, get, `{"seq":3}`)
	w.refused(errNoMessage, get, `{"last_by_subj":"$KV.a.z"}`)
	for _, body := range []string{``, `{}`, `{"seq":1,"last_by_subj":"$KV.a.x"}`, `{"seq":1,"batch":2}`, `{"seq":1,"max_bytes":2}`, `{"multi_last":["$KV.a.x"]}`} {
		w.refused(errBadRequest, get, body)
	}
	w.refused(errNoStream, "STREAM.MSG.GET.KV_none", `{"seq":1}`)
	w.refused(errDeleteForbidden, "STREAM.MSG.DELETE.KV_a", `{"seq":1}`)
	w.refused(errBadRequest, "STREAM.MSG.DELETE.KV_a", `{}`)
	w.refused(errNoStream, "STREAM.MSG.DELETE.KV_none", `{"seq":1}`)
}

func Test61_Account(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	w.ask("$KV.a.k", "v")
	reply := w.ask("INFO", "")
	require.Equal(t, []string{"raftbus"}, reply.Header[HeaderPrefix])
	require.Equal(t, `{"type":"io.nats.jetstream.api.v1.account_info_response","memory":0,"storage":42,"reserved_memory":0,"reserved_storage":0,"streams":1,"consumers":0,`+
		`"limits":{"max_memory":-1,"max_storage":-1,"max_streams":-1,"max_consumers":-1,"max_ack_pending":-1,"memory_max_stream_bytes":-1,"storage_max_stream_bytes":-1,"max_bytes_required":false},`+
		`"domain":"dom","api":{"level":1,"total":0,"errors":0}}`, string(reply.Data))
}

func Test62_CreateIsDoneOnceForEqualConfigurations(t *testing.T) {
	w := newWorld(t)
	want := `{"type":"io.nats.jetstream.api.v1.stream_create_response","config":{"name":"KV_a","subjects":["$KV.a.\u003e"],"retention":"limits","max_consumers":-1,"max_msgs":-1,"max_bytes":-1,` +
		`"max_age":0,"max_msgs_per_subject":1,"max_msg_size":-1,"discard":"new","storage":"file","num_replicas":1,"duplicate_window":120000000000,"compression":"none","allow_direct":true,` +
		`"mirror_direct":false,"sealed":false,"deny_delete":true,"deny_purge":false,"allow_rollup_hdrs":true,"consumer_limits":{},"allow_msg_ttl":false,"metadata":{"_nats.level":"1","_nats.req.level":"0","_nats.ver":"2.11.0"}},"created":"1970-01-12T13:46:41Z",` +
		`"state":{"messages":0,"bytes":0,"first_seq":0,"first_ts":"0001-01-01T00:00:00Z","last_seq":0,"last_ts":"0001-01-01T00:00:00Z","consumer_count":0},"ts":"`
	body := config("a")
	w.says(want+`1970-01-12T13:46:40Z","did_create":true}`, "STREAM.CREATE.KV_a", body)
	w.says(want+`1970-01-12T13:46:41Z","did_create":true}`, "STREAM.CREATE.KV_a", body)
	w.says(want+`1970-01-12T13:46:42Z","did_create":true}`, "STREAM.CREATE.KV_a", config("a", `"metadata":{"_nats.ver":"2"}`, `"duplicate_window":0`, `"max_bytes":0`, `"num_replicas":0`))
	for _, change := range []string{`"max_msgs_per_subject":2`, `"description":"d"`, `"metadata":{"x":"y"}`, `"storage":"memory"`, `"num_replicas":3`, `"max_age":3600000000000`,
		`"republish":{"dest":"o.>"}`, `"allow_msg_ttl":true`, `"compression":"s2"`, `"deny_delete":false`, `"allow_direct":false`, `"placement":{"tags":["x"]}`, `"max_msg_size":5`, `"max_bytes":5`} {
		w.refused(errStreamExists, "STREAM.CREATE.KV_a", config("a", change))
	}
	w.refused(errStreamMismatch, "STREAM.CREATE.KV_b", body)
	w.refused(errLevel, "STREAM.CREATE.KV_c", config("c"), headerLevel, "2")
}

func Test62_ConfigurationsComeBackWhole(t *testing.T) {
	w := newWorld(t)
	changes := []string{`"max_msgs_per_subject":64`, `"description":"d"`, `"metadata":{"x":"y"}`, `"storage":"memory"`, `"num_replicas":3`, `"max_age":3600000000000`, `"duplicate_window":1000000000`,
		`"republish":{"src":"$KV.a.*","dest":"o.$1","headers_only":true}`, `"allow_msg_ttl":true`, `"subject_delete_marker_ttl":2000000000`, `"compression":"s2"`, `"deny_delete":false`,
		`"allow_direct":false`, `"placement":{"cluster":"c","tags":["x","y"]}`, `"max_msg_size":5000`, `"max_bytes":100000`}
	w.bucket("a", changes...)
	told := append(changes, `"metadata":{"x":"y","_nats.level":"1","_nats.req.level":"1","_nats.ver":"2.11.0"}`, `"sealed":false`, `"deny_purge":false`)
	w.has(`{"config":`+config("a", told...)+`}`, "STREAM.INFO.KV_a", "")
	kept, err := w.store.Bucket("a")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"x": "y"}, kept.Settings.Metadata, "what the server adds is told, and not kept")
	w.bucket("old", `"discard":"old"`, `"allow_rollup_hdrs":false`)
	w.has(`{"config":`+config("old", `"discard":"old"`, `"allow_rollup_hdrs":false`, `"sealed":false`, `"deny_purge":false`, `"allow_msg_ttl":false`,
		`"metadata":{"_nats.level":"1","_nats.req.level":"0","_nats.ver":"2.11.0"}`)+`}`, "STREAM.INFO.KV_old", "")
}

func Test62_Updates(t *testing.T) {
	w := newWorld(t)
	w.refused(errNoStream, "STREAM.UPDATE.KV_a", config("a"))
	w.bucket("a", `"allow_msg_ttl":true`)
	reply := w.ask("STREAM.UPDATE.KV_a", config("a", `"allow_msg_ttl":true`, `"description":"new"`))
	require.Contains(t, string(reply.Data), `"description":"new"`)
	require.Contains(t, string(reply.Data), `"domain":"dom"`)
	w.refused(invalid("stream configuration update can not change storage type"), "STREAM.UPDATE.KV_a", config("a", `"storage":"memory"`))
	w.refused(invalid("stream configuration update can not cancel deny message deletes"), "STREAM.UPDATE.KV_a", config("a", `"deny_delete":false`))
	w.refused(invalid("message TTL status can not be disabled"), "STREAM.UPDATE.KV_a", config("a"))
	w.refused(errStreamMismatch, "STREAM.UPDATE.KV_a", config("b"))
	w.refused(invalid(`stream name is required and can not contain '.', '*', '>', '\', '/'`), "STREAM.UPDATE.KV_a", "")
}

func Test62_AnUpdateThatWasForestalledIsCheckedAgain(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	plan := w.Plan(Request{Subject: "STREAM.UPDATE.KV_a", Data: []byte(config("a", `"description":"late"`)), PayloadMax: payloadMax})
	plan = plan.Look(w.store)
	w.ask("STREAM.UPDATE.KV_a", config("a", `"allow_msg_ttl":true`))
	replies := w.carryOut(plan)
	require.Contains(t, string(replies[0].Data), "message TTL status can not be disabled")
}

func Test63_Info(t *testing.T) {
	w := newWorld(t)
	w.bucket("a", `"max_msgs_per_subject":2`)
	w.refused(errNoStream, "STREAM.INFO.KV_none", "")
	w.refused(errNoStream, "STREAM.INFO.none", "")
	for range 3 {
		w.ask("$KV.a.x", "v")
	}
	w.ask("$KV.a.y", "v")
	w.has(`{"total":0,"offset":0,"limit":0,"domain":"dom","cluster":{"name":"raftbus","leader":"n1"},
		"state":{"messages":3,"bytes":126,"first_seq":2,"first_ts":"1970-01-12T13:46:43Z","last_seq":4,"last_ts":"1970-01-12T13:46:45Z","num_subjects":2,"consumer_count":0}}`, "STREAM.INFO.KV_a", "")
	w.has(`{"total":2,"offset":0,"limit":100000}`, "STREAM.INFO.KV_a", `{"subjects_filter":">"}`)
	require.Contains(t, string(w.ask("STREAM.INFO.KV_a", `{"subjects_filter":"$KV.a.x"}`).Data), `"subjects":{"$KV.a.x":2}`)
	require.Contains(t, string(w.ask("STREAM.INFO.KV_a", `{"subjects_filter":">","offset":1}`).Data), `"subjects":{"$KV.a.y":1}`)
	w.has(`{"total":0,"offset":0,"limit":0}`, "STREAM.INFO.KV_a", `{"subjects_filter":"a..b"}`)
	w.refused(errInvalidJSON.says(`invalid JSON: json: unknown field "x"`), "STREAM.INFO.KV_a", `{"x":1}`)
}

func Test64_Lists(t *testing.T) {
	w := newWorld(t)
	w.says(`{"type":"io.nats.jetstream.api.v1.stream_names_response","total":0,"offset":0,"limit":1024,"streams":null}`, "STREAM.NAMES", "")
	w.says(`{"type":"io.nats.jetstream.api.v1.stream_list_response","total":0,"offset":0,"limit":256,"streams":[]}`, "STREAM.LIST", "")
	for _, name := range []string{"b", "a", "c"} {
		w.bucket(name)
	}
	w.has(`{"total":3,"offset":0,"limit":1024,"streams":["KV_a","KV_b","KV_c"]}`, "STREAM.NAMES", "")
	w.has(`{"total":3,"offset":2,"streams":["KV_c"]}`, "STREAM.NAMES", `{"offset":2}`)
	w.has(`{"total":3,"offset":3,"streams":null}`, "STREAM.NAMES", `{"offset":9}`)
	w.has(`{"total":1,"streams":["KV_b"]}`, "STREAM.NAMES", `{"subject":"$KV.b.x"}`)
	w.has(`{"total":3}`, "STREAM.NAMES", `{"subject":"$KV.*.>"}`)
	w.has(`{"total":0}`, "STREAM.NAMES", `{"subject":"other"}`)
	require.Equal(t, 3, strings.Count(string(w.ask("STREAM.LIST", "").Data), `"config":`))
}

func Test64_ListsAreCutToThePayload(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		w.bucket("b"+strings.Repeat("x", 100)+string(rune('a'+i)), `"description":"`+strings.Repeat("d", 1000)+`"`)
	}
	for _, verb := range []string{"STREAM.NAMES", "STREAM.LIST"} {
		var seen int
		for pages := 0; ; pages++ {
			plan := w.Plan(Request{Subject: verb, Data: []byte(`{"offset":` + strconv.Itoa(seen) + `}`), PayloadMax: replyReserve + 500})
			reply := w.carryOut(plan)[0]
			var page struct {
				Total, Limit int
				Streams      []any
			}
			require.NoError(t, json.Unmarshal(reply.Data, &page))
			require.Equal(t, 20, page.Total)
			require.NotEmpty(t, page.Streams)
			require.LessOrEqual(t, len(reply.Data), replyReserve+500)
			if seen += len(page.Streams); seen == page.Total {
				require.Greater(t, pages, 2)
				break
			}
			require.Len(t, page.Streams, page.Limit, "some go on after as many as the limit says")
		}
	}
	for i := range 20 {
		w.ask("$KV.b"+strings.Repeat("x", 100)+"a.k"+strconv.Itoa(100+i), "v")
	}
	var keys []string
	for pages := 0; ; pages++ {
		plan := w.Plan(Request{Subject: "STREAM.INFO.KV_b" + strings.Repeat("x", 100) + "a", Data: fmt.Appendf(nil, `{"subjects_filter":">","offset":%d}`, len(keys)), PayloadMax: replyReserve + 4000})
		reply := w.carryOut(plan)[0]
		require.LessOrEqual(t, len(reply.Data), replyReserve+4000)
		var page infoReply
		require.NoError(t, json.Unmarshal(reply.Data, &page))
		require.Equal(t, [2]int{20, len(keys)}, [2]int{page.Total, page.Offset})
		require.NotEmpty(t, page.State.Subjects)
		if len(keys)+len(page.State.Subjects) < page.Total {
			require.Equal(t, len(page.State.Subjects), page.Limit, "nats.java and NATS.Client go on at offset and limit")
		}
		for subject, n := range page.State.Subjects {
			keys = append(keys, subject[len(subject)-3:])
			require.EqualValues(t, 1, n)
		}
		if len(keys) == page.Total {
			require.Positive(t, pages)
			break
		}
	}
	slices.Sort(keys)
	for i, key := range keys {
		require.Equal(t, strconv.Itoa(100+i), key, "each is told once")
	}
}

func Test64_Purges(t *testing.T) {
	w := newWorld(t)
	w.bucket("a", `"max_msgs_per_subject":10`)
	purged := func(n string) string {
		return `{"type":"io.nats.jetstream.api.v1.stream_purge_response","success":true,"purged":` + n + `}`
	}
	for range 3 {
		for _, key := range []string{"x", "y.1", "y.2"} {
			w.ask("$KV.a."+key, "v")
		}
	}
	const purge = "STREAM.PURGE.KV_a"
	w.says(`{"type":"io.nats.jetstream.api.v1.stream_purge_response","error":{"code":404,"err_code":10059,"description":"stream not found"},"purged":0}`, "STREAM.PURGE.KV_none", "")
	w.refused(errBadRequest, purge, `{"keep":1,"seq":2}`)
	w.says(purged("0"), purge, `{"filter":"$KV.b.>"}`)
	w.says(purged("0"), purge, `{"filter":"$KV.a.none"}`)
	w.says(purged("2"), purge, `{"filter":"$KV.a.x","keep":1}`)
	w.says(purged("2"), purge, `{"filter":"$KV.a.y.*","seq":5}`)
	w.says(purged("1"), purge, `{"filter":"$KV.a.>","keep":4}`)
	w.says(purged("0"), purge, `{"keep":100}`)
	w.has(`{"state":{"messages":4,"bytes":174,"first_seq":6,"first_ts":"1970-01-12T13:46:47Z","last_seq":9,"last_ts":"1970-01-12T13:46:50Z","num_subjects":3,"consumer_count":0}}`, "STREAM.INFO.KV_a", "")
	w.says(purged("4"), purge, ``)
	w.says(`{"stream":"KV_a","domain":"dom","seq":10}`, "$KV.a.x", "v")
	w.says(purged("0"), purge, `{"filter":"a..b"}`) // what is no pattern matches nothing
	w.refused(errInvalidJSON.says(`invalid JSON: json: unknown field "x"`), purge, `{"x":1}`)
}

func Test64_Deletes(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	w.ask("$KV.a.k", "v")
	for _, body := range []string{`{"x":1}`, `null`, `[]`} {
		w.refused(errNotEmpty, "STREAM.DELETE.KV_a", body)
	}
	w.says(`{"type":"io.nats.jetstream.api.v1.stream_delete_response","success":true}`, "STREAM.DELETE.KV_a", "")
	w.refused(errNoStream, "STREAM.DELETE.KV_a", "")
	w.refused(errNoStream, "STREAM.DELETE.other", "")
	w.bucket("a")
	w.says(`{"stream":"KV_a","domain":"dom","seq":1}`, "$KV.a.k", "v")
}

func consumerBody(stream, fields string) string {
	return `{"stream_name":"` + stream + `","config":{"deliver_subject":"_INBOX.x","ack_policy":"none",` + fields + `}}`
}

func Test71_ConsumersAreCheckedAndThenRefusedWithoutALeaf(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	const create = "CONSUMER.CREATE.KV_a.c"
	for _, good := range []string{`"deliver_policy":"all"`, `"deliver_policy":"new","flow_control":true,"idle_heartbeat":5000000000`, `"deliver_policy":"by_start_sequence","opt_start_seq":8`,
		`"deliver_policy":"last_per_subject","filter_subjects":["$KV.a.x","$KV.a.y"],"headers_only":true`, `"filter_subjects":["$KV.a.x.*","$KV.a.*.y"]`, `"num_replicas":1,"mem_storage":true,"ack_wait":79200000000000,"max_deliver":1,"inactive_threshold":300000000000`} {
		w.refused(errNoHost, create, consumerBody("KV_a", good))
	}
	w.refused(errNoHost, "CONSUMER.CREATE.KV_a", consumerBody("KV_a", `"deliver_policy":"all"`))
	w.refused(errNoStream, "CONSUMER.CREATE.KV_none.c", consumerBody("KV_none", `"name":"c"`))
	for body, e := range map[string]*apiError{
		consumerBody("KV_b", `"name":"c"`):                                                                            errStreamMismatch,
		consumerBody("KV_a", `"filter_subjects":["$KV.a.>","$KV.a.x"]`):                                               errOverlappingFilters,
		consumerBody("KV_a", `"filter_subjects":[""]`):                                                                errEmptyFilter,
		consumerBody("KV_a", `"filter_subject":"$KV.a.>","filter_subjects":["$KV.a.x"]`):                              errBothFilters,
		consumerBody("KV_a", `"idle_heartbeat":99999999`):                                                             errSmallHeartbeat,
		consumerBody("KV_a", `"flow_control":true`):                                                                   errFlowWithoutHeartbeat,
		consumerBody("KV_a", `"deliver_policy":"by_start_sequence"`):                                                  errStartPolicy.says("consumer delivery policy is deliver by start sequence, but optional start sequence is not set"),
		consumerBody("KV_a", `"deliver_policy":"all","opt_start_seq":1`):                                              errStartPolicy.says("consumer delivery policy is deliver all, but optional start sequence is also set"),
		consumerBody("KV_a", `"deliver_policy":"last_per_subject"`):                                                   errStartPolicy.says("consumer delivery policy is deliver last per subject, but optional filter subject is not set"),
		consumerBody("KV_a", `"durable_name":"d"`):                                                                    errDurableMismatch,
		consumerBody("KV_a", `"deliver_group":"d"`):                                                                   notOffered("deliver_group"),
		`{"stream_name":"KV_a","config":{"deliver_subject":"_INBOX.x","ack_policy":"flow_control"}}`:                  notOffered("ack policy flow_control"),
		`{"stream_name":"KV_a","config":{"ack_policy":"none","deliver_subject":"$KV.a.x"}}`:                           errDeliverCycle,
		`{"stream_name":"KV_a","config":{"ack_policy":"none","deliver_subject":"a.*"}}`:                               errDeliverWildcards,
		`{"stream_name":"KV_a","config":{"ack_policy":"none","deliver_subject":"a..b"}}`:                              errDeliverInvalid,
		`{"stream_name":"KV_a","config":{"ack_policy":"none","deliver_subject":"a\u0001b"}}`:                          errDeliverInvalid,
		`{"stream_name":"KV_a","config":{"ack_policy":"none","deliver_subject":"a.\u007f"}}`:                          errDeliverInvalid,
		`{"stream_name":"KV_a","config":{"ack_policy":"none","deliver_subject":"` + strings.Repeat("a", 1025) + `"}}`: errDeliverInvalid.says("invalid push consumer deliver subject: it may have 1024 bytes"),
		`{"stream_name":"KV_a","config":{"ack_policy":"none","deliver_subject":"a` + strings.Repeat(".a", 64) + `"}}`: errDeliverInvalid.says("invalid push consumer deliver subject: it may have 64 tokens"),
	} {
		w.refused(e, create, body)
	}
	w.refused(errFilterMismatch, create+".$KV.a.x", consumerBody("KV_a", `"filter_subject":"$KV.a.y"`))
	w.refused(errFiltersInSubject, create+".$KV.a.x", consumerBody("KV_a", `"filter_subjects":["$KV.a.x","$KV.a.y"]`))
	w.refused(errConsumerName, "CONSUMER.CREATE.KV_a", consumerBody("KV_a", `"name":"a.b"`))
	w.refused(errDurableNotSet, "CONSUMER.DURABLE.CREATE.KV_a.c", consumerBody("KV_a", `"name":"c"`))
	w.refused(errDurableUnnamed, "CONSUMER.CREATE.KV_a", consumerBody("KV_a", `"durable_name":"c"`))
}

func Test71_AConsumerHasManyFilters(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	asked := func(keys, patterns int) string {
		var list []string
		for i := range keys {
			list = append(list, fmt.Sprintf(`"$KV.a.%d"`, i))
		}
		for i := range patterns {
			list = append(list, fmt.Sprintf(`"$KV.a.*.%d"`, i))
		}
		return consumerBody("KV_a", `"filter_subjects":[`+strings.Join(list, ",")+`]`)
	}
	const create = "CONSUMER.CREATE.KV_a.c"
	w.refused(errNoHost, create, asked(consumerFiltersMax-consumerWildMax, consumerWildMax))
	w.refused(errBadRequest.says("bad request: 257 filters with wildcards, and there may be 256"), create, asked(0, consumerWildMax+1))
	w.refused(errBadRequest.says("bad request: 4097 filters, and there may be 4096"), create, asked(consumerFiltersMax+1, 0))
	w.refused(errOverlappingFilters, create, strings.Replace(asked(2_000, 200), "[", `["$KV.a.x.100",`, 1))
	long := fmt.Sprintf(`["$KV.a.x.100","$KV.a.%s",`, strings.Repeat("x", consumerBytesMax))
	w.refused(errConsumerBytes, create, strings.Replace(asked(2_000, 200), "[", long, 1)) // before they are compared (Q12)
}

func Test75_ThereAreNoConsumers(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	w.refused(errNoConsumer, "CONSUMER.INFO.KV_a.c", "")
	w.refused(errNoConsumer, "CONSUMER.DELETE.KV_a.c", "")
	w.refused(errNoStream, "CONSUMER.INFO.KV_none.c", "")
	w.refused(errNoStream, "CONSUMER.DELETE.KV_none.c", "")
	w.says(`{"type":"io.nats.jetstream.api.v1.consumer_names_response","total":0,"offset":0,"limit":1024,"consumers":[]}`, "CONSUMER.NAMES.KV_a", "")
	w.says(`{"type":"io.nats.jetstream.api.v1.consumer_list_response","total":0,"offset":0,"limit":256,"consumers":[]}`, "CONSUMER.LIST.KV_a", "")
}

func Test8_WhatIsNoBucketIsRefusedByName(t *testing.T) {
	w := newWorld(t)
	for change, text := range map[string]string{
		`"mirror":{"name":"KV_b"}`: "mirror is not supported by raftbus", `"sources":[{"name":"KV_b"}]`: "sources are not supported by raftbus",
		`"subjects":["a.>"]`: "only key-value buckets are supported: stream KV_<bucket> with the subject $KV.<bucket>.>", `"subjects":["$KV.y.*"]`: "only key-value buckets are supported: stream KV_<bucket> with the subject $KV.<bucket>.>",
		`"subjects":["$KV.x.>","$KV.y.>"]`:                 "only key-value buckets are supported: stream KV_<bucket> with the subject $KV.<bucket>.>",
		`"sealed":true`:                                    "sealed is not supported by raftbus",
		`"deny_purge":true`:                                "deny_purge is not supported by raftbus",
		`"no_ack":true`:                                    "no_ack is not supported by raftbus",
		`"retention":"interest"`:                           "retention other than limits is not supported by raftbus",
		`"first_seq":7`:                                    "first_seq is not supported by raftbus",
		`"subject_transform":{"src":"a"}`:                  "subject_transform is not supported by raftbus",
		`"allow_msg_counter":true`:                         "allow_msg_counter is not supported by raftbus",
		`"allow_atomic":true`:                              "allow_atomic is not supported by raftbus",
		`"allow_batched":true`:                             "allow_batched is not supported by raftbus",
		`"allow_msg_schedules":true`:                       "allow_msg_schedules is not supported by raftbus",
		`"persist_mode":"async"`:                           "persist_mode is not supported by raftbus",
		`"discard_new_per_subject":true`:                   "discard_new_per_subject is not supported by raftbus",
		`"max_msgs":7`:                                     "max_msgs is not supported by raftbus",
		`"max_consumers":7`:                                "max_consumers is not supported by raftbus",
		`"consumer_limits":{"max_ack_pending":1}`:          "consumer_limits is not supported by raftbus",
		`"mirror_direct":true`:                             "stream has no mirror but does have mirror direct",
		`"num_replicas":6`:                                 "maximum replicas is 5",
		`"max_msgs_per_subject":65`:                        "max_msgs_per_subject must be 1 to 64: it is the bucket's history",
		`"max_msgs_per_subject":-1`:                        "max_msgs_per_subject must be 1 to 64: it is the bucket's history",
		`"republish":{"dest":"$KV.x.>"}`:                   "stream configuration for republish destination forms a cycle",
		`"republish":{"dest":"raftbus.kv.put.>"}`:          "republish destination 'raftbus.kv.put.>' is refused by raftbus: messages on $... and on raftbus.> are orders to NATS and to nodes; use another subject",
		`"republish":{"src":"$KV.x.*","dest":"$SYS.$1"}`:   "republish destination '$SYS.$1' is refused by raftbus: messages on $... and on raftbus.> are orders to NATS and to nodes; use another subject",
		`"republish":{"src":"$KV.x.*","dest":"$SRV.PING"}`: "republish destination '$SRV.PING' is refused by raftbus: messages on $... and on raftbus.> are orders to NATS and to nodes; use another subject",
		`"republish":{"dest":"a"}`:                         "stream configuration for republish with transform from '>' to 'a' not valid",
		`"max_age":1`:                                      "max age needs to be >= 100ms",
		`"subject_delete_marker_ttl":1`:                    "subject delete marker TTL must be at least 1 second",
	} {
		w.refused(invalid("%s", text), "STREAM.CREATE.KV_x", config("x", change))
	}
	w.refused(invalid("max_bytes with discard old is not supported by raftbus"), "STREAM.CREATE.KV_x", config("x", `"max_bytes":7`, `"discard":"old"`))
	w.refused(errNegativeReplicas, "STREAM.CREATE.KV_x", config("x", `"num_replicas":-1`))
	long := strings.Repeat("b", 129)
	w.refused(invalid("the name of a bucket may have 128 characters in raftbus, and this one has 129"), "STREAM.CREATE.KV_"+long, `{"name":"KV_`+long+`","subjects":["$KV.`+long+`.>"]}`)
	w.bucket(long[1:])
	w.refused(invalid("only key-value buckets are supported: stream KV_<bucket> with the subject $KV.<bucket>.>"), "STREAM.CREATE.orders", `{"name":"orders","subjects":["orders.>"]}`)
	w.refused(invalid("stream metadata exceeds maximum size of 16384 bytes"), "STREAM.CREATE.KV_x", config("x", `"metadata":{"a":"`+strings.Repeat("x", 16<<10)+`"}`))
}

func Test9_Troubles(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	for subject, want := range map[string][4]string{
		"$KV.a.k":                 {"10008", "10047", "10054", "10065"},
		"STREAM.CREATE.KV_b":      {"10008", "10047", "10054", "10065"},
		"CONSUMER.CREATE.KV_a.c":  {"10008", "10023", "10054", "10065"}, // 10047 would end an ordered client of nats.go that comes back
		"DIRECT.GET.KV_a.$KV.a.k": {"503", "503", "500 Message Too Large", "503"},
	} {
		plan := w.Plan(Request{Subject: subject, Data: []byte(bodyFor(subject)), PayloadMax: payloadMax})
		for trouble, text := range want {
			reply := plan.Trouble(Trouble(trouble))
			require.Contains(t, reply.Status+string(reply.Data), text, subject)
		}
	}
}

func bodyFor(subject string) string {
	if strings.HasPrefix(subject, "STREAM.CREATE") {
		return config("b")
	}
	return ""
}

func TestNumbersThatAreNoneMatchNoSequence(t *testing.T) {
	require.EqualValues(t, 7, number("7"))
	for _, text := range []string{"", "x", "-1", "1.5", "18446744073709551616", " 1"} {
		require.EqualValues(t, uint64(math.MaxUint64), number(text))
	}
}

func putErrorCode(t *testing.T, r Reply) int {
	t.Helper()
	_, code, _ := strings.Cut(string(r.Data), `"err_code":`)
	code, _, _ = strings.Cut(code, ",")
	n := number(code)
	require.NotEqual(t, uint64(math.MaxUint64), n, "%s", r.Data)
	return int(n)
}
