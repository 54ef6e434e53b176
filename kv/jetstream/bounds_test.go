package jetstream

// What each bound lets through, and what is refused field by field: by the sections of the specification, as in spec_test.go.

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/kv/watch"
)

// A message is stored if it can be sent back, headers and all (F11).
func Test41_HowLargeAMessageMayBe(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	const around = len("NATS/1.0\r\nX: \r\n\r\n")
	of := func(bytes int) string { return strings.Repeat("x", bytes-around) }
	w.refused(errHeadersTooLarge, "$KV.a.k", "", "X", of(64<<10))
	w.says(`{"stream":"KV_a","domain":"dom","seq":1}`, "$KV.a.k", "", "X", of(64<<10-1))
	room := strings.Repeat("v", payloadMax-PayloadReserve-1_000)
	w.refused(errMessageTooLarge, "$KV.a.k", room, "X", of(1_001))
	w.says(`{"stream":"KV_a","domain":"dom","seq":2}`, "$KV.a.k", room, "X", of(1_000))
}

// Who sends more in headers than is read hears so, whatever it asks for (Q11).
func Test41_HeadersThatAreTooLongToBeRead(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	for subject, want := range map[string]Reply{
		"$KV.a.k":                 putRefusal("a", errHeadersTooLong),
		"STREAM.INFO.KV_a":        refusal(streamInfo, errHeadersTooLong),
		"DIRECT.GET.KV_a.$KV.a.k": {Status: statusHeaders},
	} {
		require.Equal(t, []Reply{want}, w.carryOut(w.Plan(Request{Subject: subject, Long: true, PayloadMax: payloadMax})))
	}
}

func Test41_HeadersAsTheyMayBeWritten(t *testing.T) {
	w := newWorld(t)
	w.bucket("a", `"max_msgs_per_subject":5`)
	for _, header := range []string{"Nats-Schedule-Next", "Nats-Scheduler"} {
		w.refused(errNoSchedules, "$KV.a.k", "v", header, "1")
	}
	entries := func(want uint64) {
		t.Helper()
		info, err := w.store.Bucket("a")
		require.NoError(t, err)
		require.Equal(t, want, info.Entries)
	}
	for range 3 {
		w.ask("$KV.a.k", "v")
	}
	w.ask("$KV.a.l", "v")
	w.ask("$KV.a.k", "v", headerRollup, "Sub")
	entries(2)
	w.ask("$KV.a.m", "v", headerRollup, "ALL")
	entries(1)
	w.refused(errWrongLast.says("wrong last sequence: 6"), "$KV.a.m", "v", headerExpectedSubject, "5", headerExpectedSubject, "6") // the first counts
	w.ask("$KV.a.n", "v", "X", "a\r\nb\nc\rd")
	require.Equal(t, []string{"a  b c d"}, w.ask("DIRECT.GET.KV_a.$KV.a.n", "").Header["X"])
	w.status("412 Required Api Level", "DIRECT.GET.KV_a", `{"seq":6}`, headerLevel, "x")
	require.Equal(t, "v", string(w.ask("DIRECT.GET.KV_a", `{"seq":6}`, headerLevel, "1").Data))
}

// What would have NATS trace an entry where it is sent, or clients take it for no entry, is not kept; of an earlier release it may be.
func Test41_HeadersThatMeanSomethingToNATS(t *testing.T) { // W2, L9
	w := newWorld(t)
	w.bucket("a")
	for _, value := range []string{"v", ""} {
		w.ask("$KV.a.k", value, "A", "b", "Nats-Trace-Dest", "x", "Description", "c", "Status", "100")
		e, err := w.store.Last("a", "k")
		require.NoError(t, err)
		want := map[string]string{"v": "A: b\r\nDescription: c\r\nStatus: 100\r\n\r\n", "": "A: b\r\n\r\n"}[value]
		require.Equal(t, "NATS/1.0\r\nNats-Trace-Dest: trace disabled\r\n"+want, string(e.Header))
		e.Header = []byte("NATS/1.0\r\nA: b\r\nDescription: c\r\nNats-Trace-Dest: x\r\nStatus: 100\r\n\r\n")
		require.Equal(t, "NATS/1.0\r\nNats-Trace-Dest: trace disabled\r\n"+want, string(HeaderOf(e)))
	}
}

func Test51_GetsSayWhatTheyWere(t *testing.T) {
	w := newWorld(t)
	w.now = w.now.Add(5)
	w.bucket("a")
	w.ask("$KV.a.k", "v")
	w.ask("$KV.a.l", "w", "X", "1")
	const get = "DIRECT.GET.KV_a"
	require.Equal(t, Reply{Block: []byte("NATS/1.0\r\nNats-Sequence: 1\r\nNats-Stream: KV_a\r\nNats-Subject: $KV.a.k\r\nNats-Time-Stamp: 1970-01-12T13:46:42.000000005Z\r\n\r\n"), Data: []byte("v")}, w.ask(get, `{"seq":1}`))
	require.Equal(t, []string{"1970-01-12T13:46:43.000000005Z"}, w.ask(get, `{"seq":2}`).Header[headerTimeStamp])
	for sequence, value := range map[string]string{"1": "v", "2": "w"} {
		require.Equal(t, Reply{Data: []byte(value)}, w.ask(get, `{"no_hdr":true,"seq":`+sequence+`}`))
		require.NotContains(t, string(w.ask("STREAM.MSG.GET.KV_a", `{"no_hdr":true,"seq":`+sequence+`}`).Data), `"hdrs"`)
	}
	for op, header := range map[command.Op]map[string]string{
		command.Delete: {headerOperation: "DEL", headerRollup: ""}, command.Purge: {headerOperation: "PURGE", headerRollup: "sub"},
	} {
		w.apply(command.Command{Write: &command.Write{Bucket: "a", Key: "n", Op: op}}.Encode()) // as by the native API
		marker := w.ask(get+".$KV.a.n", "").Header
		for name, want := range header {
			require.Equal(t, want, Request{Header: marker}.first(name), op)
		}
	}
}

// Whoever asks for two things at a time is told so, and not given one of them.
func Test51_GetsOfTwoThings(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	w.ask("$KV.a.x", "1")
	for _, body := range []string{
		`{"last_by_subj":"$KV.a.x","next_by_subj":"$KV.a.x"}`, `{"last_by_subj":"$KV.a.x","batch":1}`, `{"seq":1,"start_time":"2030-01-01T00:00:00Z"}`, `{"last_by_subj":"$KV.a.x","start_time":"2030-01-01T00:00:00Z"}`,
	} {
		w.status("408 Bad Request", "DIRECT.GET.KV_a", body)
		w.refused(errBadRequest, "STREAM.MSG.GET.KV_a", body)
	}
	for _, body := range []string{
		`{"last_by_subj":"$KV.a.x","multi_last":["$KV.a.x"]}`, `{"next_by_subj":"$KV.a.x","multi_last":["$KV.a.x"]}`, `{"seq":1,"up_to_seq":1,"up_to_time":"2030-01-01T00:00:00Z"}`,
	} {
		w.status("408 Bad Request", "DIRECT.GET.KV_a", body)
		require.Contains(t, string(w.ask("STREAM.MSG.GET.KV_a", body).Data), `"subject":"$KV.a.x","seq":1`, "what is for many is passed over")
	}
	for _, body := range []string{`{"batch":1}`, `{"up_to_seq":1}`, `{"up_to_time":"2030-01-01T00:00:00Z"}`} {
		w.status("408 Bad Request", "DIRECT.GET.KV_a.$KV.a.x", body)
	}
	w.status("408 Malformed Request", "DIRECT.GET.KV_a", `{"seq":1}`+strings.Repeat(" ", bodyBytesMax))
}

func Test62_EachFieldOfAConfiguration(t *testing.T) {
	w := newWorld(t)
	for text, changes := range map[string][]string{
		"stream description is too long, maximum allowed is 4096": {`"description":"` + strings.Repeat("d", command.DescriptionBytesMax+1) + `"`},
		"preferred server not permitted in placement":             {`"placement":{"cluster":"c","preferred":"n1"}`},
		"max age can not be negative":                             {`"max_age":-1`},
		"duplicates window can not be negative":                   {`"duplicate_window":-1`},
		"duplicates window can not be larger then max age":        {`"max_age":1000000000`, `"duplicate_window":1000000001`},
		"duplicates window needs to be >= 100ms":                  {`"duplicate_window":99999999`},
		"subject delete marker TTL must not be negative":          {`"subject_delete_marker_ttl":-1`},
	} {
		w.refused(invalid("%s", text), "STREAM.CREATE.KV_a", config("a", changes...))
	}
	w.refused(errInvalidJSON.says("invalid JSON: unknown compression algorithm"), "STREAM.CREATE.KV_a", config("a", `"compression":"zip"`))
	w.refused(errInvalidJSON.says(`invalid JSON: can not unmarshal "\"tape\""`), "STREAM.CREATE.KV_a", config("a", `"storage":"tape"`))
	for i, c := range []struct{ change, told string }{
		{`"max_age":100000000,"duplicate_window":0`, `"max_age":100000000,"max_msgs_per_subject":1,`},
		{`"mirror":null`, `"mirror_direct":false`},
		{`"sources":[]`, `"mirror_direct":false`},
		{`"first_seq":1`, `"mirror_direct":false`},
		{`"placement":{}`, `"duplicate_window":120000000000,"compression":"none"`},
		{`"max_age":1000000000,"duplicate_window":0`, `"duplicate_window":1000000000`},
		{`"max_msg_size":0`, `"max_msg_size":-1`},
		{`"subject_delete_marker_ttl":1000000000`, `"allow_msg_ttl":true,"subject_delete_marker_ttl":1000000000,"metadata":{"_nats.level":"1","_nats.req.level":"1"`},
		{`"subject_delete_marker_ttl":1000000000,"allow_rollup_hdrs":false`, `"allow_rollup_hdrs":true`},
	} {
		name := fmt.Sprintf("b%d", i)
		body := config(name, strings.Split(c.change, ",")...)
		require.Contains(t, string(w.ask("STREAM.CREATE.KV_"+name, body).Data), `"did_create":true`, c.change)
		require.Contains(t, string(w.ask("STREAM.INFO.KV_"+name, "").Data), c.told, c.change)
	}
	w.apply(command.Command{AddBucket: &command.AddBucket{Name: "large", Settings: command.Settings{MaxValueSize: 3 << 30}}}.Encode())
	require.Contains(t, string(w.ask("STREAM.INFO.KV_large", "").Data), `"max_msg_size":2147483647`)
}

// What a bound allows is taken.
func Test62_ConfigurationsAtTheirBounds(t *testing.T) {
	w := newWorld(t)
	for name, fields := range map[string]string{
		"replicas":    `"num_replicas":5`,
		"history":     fmt.Sprintf(`"max_msgs_per_subject":%d`, command.HistoryMax),
		"description": `"description":"` + strings.Repeat("d", command.DescriptionBytesMax) + `"`,
		"metadata":    `"metadata":{"a":"` + strings.Repeat("d", command.MetadataBytesMax-1) + `"}`,
	} {
		w.bucket(name, fields)
		w.ask("$KV."+name+".k", "v")
	}
	w.refused(invalid("max_msgs_per_subject must be 1 to 64: it is the bucket's history"), "STREAM.CREATE.KV_none", config("none", `"max_msgs_per_subject":0`))
}

// A list and an answer hold whatever a bucket may be, at the max_payload that NATS has unless it is told another.
func Test62_BucketsAtAllTheirBoundsAreTold(t *testing.T) { // L9, Q11
	w := newWorld(t)
	long := func(bytes int) string { return strings.Repeat("<", bytes) } // JSON writes six bytes for each
	placed := func(bytes int) string { return `"placement":{"cluster":"` + long(bytes-8) + `","tags":["<","<"]}` }
	w.refused(invalid("stream placement has 1025 bytes, its tags counted with 3 more each: raftbus takes 1024 at most"), "STREAM.CREATE.KV_a", config("a", placed(placementBytesMax+1)))
	w.bucket("a", `"description":"`+long(command.DescriptionBytesMax)+`"`, `"metadata":{"a":"`+long(command.MetadataBytesMax-1)+`"}`, placed(placementBytesMax),
		`"republish":{"src":"`+long(SourceMax)+`","dest":"`+long(destinationMax)+`"}`)
	w.tellsAll(`"placement":{"cluster":"\u003c`, `"republish":{"src":"\u003c`)
}

// Earlier releases had no bound for some texts. Such a bucket is told without them, is listed with the others, and can be changed.
func Test62_ABucketWithLongerTextsIsTold(t *testing.T) { // L9
	long, together := strings.Repeat("<", 200_000), strings.Repeat("<", 100_000) // one of them is more than an answer holds, or two
	for again, cluster := range map[command.Republish]string{
		{Source: long, Destination: "again"}: long, {Source: ">", Destination: long}: long, {Source: ">", Destination: together}: together,
	} {
		echo, err := json.Marshal(echo{Placement: &placement{Cluster: cluster}})
		require.NoError(t, err)
		w := newWorld(t)
		w.apply(command.Command{AddBucket: &command.AddBucket{Name: "a", Settings: command.Settings{History: 2, Echo: echo, Republish: &again}}}.Encode())
		w.bucket("b")
		w.tellsAll(`"name":"KV_b"`)
		w.ask("$KV.a.k", "v")
		require.Contains(t, string(w.ask("STREAM.UPDATE.KV_a", config("a", `"max_msgs_per_subject":3`)).Data), `"max_msgs_per_subject":3`)
		b, err := w.store.Bucket("a")
		require.NoError(t, err)
		require.Equal(t, command.Settings{History: 3}, b.Settings)
	}
}

// tellsAll requires a list, and what is told of the bucket a, that a message can hold.
func (w *world) tellsAll(parts ...string) {
	w.Helper()
	list, info := w.ask("STREAM.LIST", "").Data, w.ask("STREAM.INFO.KV_a", "").Data
	require.LessOrEqual(w, max(len(list), len(info)), payloadMax-PayloadReserve)
	require.Contains(w, string(info), `"name":"KV_a"`)
	for _, part := range append(parts, `"name":"KV_a"`) {
		require.Contains(w, string(list), part)
	}
}

// A bound of messages takes the place of the one of values that the native API gave.
func Test62_ABoundOfMessagesReplacesThatOfValues(t *testing.T) {
	w := newWorld(t)
	w.apply(command.Command{AddBucket: &command.AddBucket{Name: "a", Settings: command.Settings{History: 1, MaxValueSize: 3}}}.Encode())
	w.has(`{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"}}`, "$KV.a.k", "four")
	w.ask("STREAM.UPDATE.KV_a", config("a", `"max_msg_size":100`))
	w.says(`{"stream":"KV_a","domain":"dom","seq":1}`, "$KV.a.k", "four")
}

// async-nats leaves out what it does not name. To be made, a bucket must say that it is one.
func Test62_AnUpdateThatNamesNoSubjectsKeepsThem(t *testing.T) {
	w := newWorld(t)
	w.bucket("a", `"max_msgs_per_subject":10`)
	const body = `{"name":"KV_a","max_bytes":0,"max_msgs":0,"max_msgs_per_subject":10,"discard":"old","retention":"limits","max_consumers":0,"max_age":0,"storage":"file","num_replicas":0,"deny_delete":true`
	for _, subjects := range []string{``, `,"subjects":null`, `,"subjects":[]`} {
		require.Contains(t, string(w.ask("STREAM.UPDATE.KV_a", body+subjects+"}").Data), `"config":{"name":"KV_a","subjects":["$KV.a.\u003e"],"retention":"limits"`)
	}
	w.says(`{"stream":"KV_a","domain":"dom","seq":1}`, "$KV.a.k", "v", headerRollup, "sub") // nor does it know of rollups, without which nobody could purge
	none := invalid("only key-value buckets are supported: stream KV_<bucket> with the subject $KV.<bucket>.>")
	w.refused(none, "STREAM.CREATE.KV_b", `{"name":"KV_b","max_msgs_per_subject":10}`)
	w.refused(none, "STREAM.UPDATE.KV_a", body+`,"subjects":["KV_a"]}`)
	w.refused(none, "STREAM.UPDATE.orders", `{"name":"orders"}`)
}

// nats.php asks for the keys of one token, of a bucket that is the same as others.
func Test61_ABucketOfKeysOfOneTokenIsOneLikeOthers(t *testing.T) {
	w := newWorld(t)
	for _, op := range []string{"STREAM.CREATE.KV_a", "STREAM.UPDATE.KV_a"} {
		for _, subjects := range []string{`"subjects":["$KV.a.*"]`, `"subjects":["$KV.a.>"]`} {
			require.Contains(t, string(w.ask(op, config("a", subjects)).Data), `"config":{"name":"KV_a","subjects":["$KV.a.\u003e"]`, op)
		}
	}
	w.says(`{"stream":"KV_a","domain":"dom","seq":1}`, "$KV.a.k.l", "v")
	_, err := ImportSettings("raftbus", []byte(config("a", `"subjects":["$KV.a.*"]`)))
	require.NoError(t, err)
	w.refused(invalid("only key-value buckets are supported: stream KV_<bucket> with the subject $KV.<bucket>.>"), "STREAM.CREATE.KV_x", config("x", `"subjects":["$KV.x.a.*"]`))
}

// An update that others forestall again and again is given up.
func Test62_AnUpdateIsNotTriedForEver(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	plan := w.Plan(Request{Subject: "STREAM.UPDATE.KV_a", Data: []byte(config("a", `"description":"late"`)), PayloadMax: payloadMax})
	for i := range updatesMax {
		require.NotNil(t, plan.Look, i)
		plan = plan.Look(w.store)
		w.ask("STREAM.UPDATE.KV_a", config("a", `"description":"`+strconv.Itoa(i)+`"`))
		plan = plan.Write.Done(w.store, w.apply(plan.Write.Command.Encode()))
	}
	require.Len(t, plan.Replies, 1)
	require.Contains(t, string(plan.Replies[0].Data), "settings changed")
}

// A bucket that goes before its maker is told is told as it was asked for: clients read the configuration in the answer.
func Test62_ABucketThatIsGoneAtOnceIsTold(t *testing.T) {
	w := newWorld(t)
	made := w.Plan(Request{Subject: "STREAM.CREATE.KV_a", Data: []byte(config("a")), Now: w.now, PayloadMax: payloadMax}).Write
	result := w.apply(made.Command.Encode())
	w.ask("STREAM.DELETE.KV_a", "")
	reply := made.Done(w.store, result).Replies[0]
	require.Contains(t, string(reply.Data), `"config":{"name":"KV_a","subjects":["$KV.a.\u003e"]`)
	require.Contains(t, string(reply.Data), `"did_create":true`)
}

// What cannot be read is not told to be missing: who hears that may make it anew, or take it for gone (C5, F20).
func TestWhatCannotBeReadIsNotMissing(t *testing.T) {
	w := newWorld(t)
	closed, err := store.Open(store.Options{Engine: memengine.New(), ManualFlush: true})
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	w.store = closed
	for subject, body := range map[string]string{
		"INFO": "", "STREAM.NAMES": "", "STREAM.LIST": "", "STREAM.INFO.KV_a": "", "STREAM.UPDATE.KV_a": config("a"), "STREAM.MSG.GET.KV_a": `{"seq":1}`,
		"CONSUMER.INFO.KV_a.c": "", "CONSUMER.NAMES.KV_a": "", "CONSUMER.LIST.KV_a": "",
	} {
		require.Contains(t, string(w.ask(subject, body).Data), `"code":503,"err_code":10008`, subject)
	}
	w.status(statusNone, "DIRECT.GET.KV_a", `{"seq":1}`)
	w.status(statusNone, "DIRECT.GET.KV_a.$KV.a.k", "")
	w.status(statusNone, next, "")
}

func Test63_GapsAreCounted(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	for _, key := range []string{"x", "y", "y", "y"} {
		w.ask("$KV.a."+key, "v")
	}
	w.has(`{"state":{"messages":2,"bytes":84,"first_seq":1,"first_ts":"1970-01-12T13:46:42Z","last_seq":4,"last_ts":"1970-01-12T13:46:45Z","num_subjects":2,"num_deleted":2,"consumer_count":0}}`,
		"STREAM.INFO.KV_a", "")
}

func Test64_ListsOfOddPlaces(t *testing.T) {
	w := hosted(t)
	w.bucket("b")
	w.says(`{"stream":"KV_b","domain":"dom","seq":1}`, "$KV.b.k", "v")
	w.made("c", "CONSUMER.CREATE.KV_a.c", consumerBody("KV_a", `"name":"c"`))
	w.has(`{"total":2,"offset":0,"streams":["KV_a","KV_b"]}`, "STREAM.NAMES", `{"offset":-1}`)
	w.has(`{"total":1,"offset":0,"consumers":["c"]}`, "CONSUMER.NAMES.KV_a", `{"offset":-1}`)
	w.has(`{"total":1,"offset":0}`, "STREAM.INFO.KV_a", `{"subjects_filter":">","offset":-1}`)
	w.has(`{"storage":84,"streams":2,"consumers":1}`, "INFO", "")
	w.says(`{"type":"io.nats.jetstream.api.v1.stream_info_response","error":{"code":404,"err_code":10059,"description":"stream not found"},"total":0,"offset":0,"limit":0}`, "STREAM.INFO.KV_c", "")
	w.says(`{"type":"io.nats.jetstream.api.v1.consumer_names_response","error":{"code":404,"err_code":10059,"description":"stream not found"},"total":0,"offset":0,"limit":0,"consumers":[]}`, "CONSUMER.NAMES.KV_c", "")
}

// What a consumer here does not do is refused: it would be done otherwise than its client believes.
func Test71_EachFieldOfAConsumer(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	const create = "CONSUMER.CREATE.KV_a.c"
	for fields, e := range map[string]*apiError{
		`"replay_policy":"original"`:                                     notOffered("a replay policy other than instant"),
		`"backoff":[1]`:                                                  notOffered("backoff"),
		`"rate_limit_bps":1`:                                             notOffered("rate_limit_bps"),
		`"direct":true`:                                                  notOffered("direct"),
		`"priority_policy":"overflow"`:                                   notOffered("a priority group"),
		`"num_replicas":-1`:                                              errNegativeReplicas,
		`"deliver_policy":"yesterday"`:                                   errInvalidJSON.says(`invalid JSON: can not unmarshal "\"yesterday\""`),
		`"deliver_policy":"new"`:                                         errNoHost,
		`"priority_policy":"none"`:                                       errNoHost,
		`"idle_heartbeat":100000000`:                                     errNoHost,
		`"idle_heartbeat":-100`:                                          errNoHost,
		`"flow_control":true,"idle_heartbeat":-1`:                        errFlowWithoutHeartbeat,
		`"deliver_policy":"by_start_time"`:                               errStartPolicy.says("consumer delivery policy is deliver by start time, but optional start time is not set"),
		`"pause_until":"2030-01-01T00:00:00Z"`:                           notOffered("pause_until in the future"),
		`"pause_until":"1970-01-12T13:46:41.000000001Z"`:                 notOffered("pause_until in the future"),
		`"pause_until":"1970-01-12T13:46:41Z"`:                           errNoHost, // that is now
		`"ack_wait":-1`:                                                  errNegativeAckWait,
		`"max_waiting":1`:                                                errWaitingOfPush,
		`"max_ack_pending":1`:                                            errPendingWithoutAcks,
		`"max_ack_pending":1,"ack_policy":"all","max_deliver":-9`:        notOffered("a max_ack_pending that nobody waits for"),
		`"max_ack_pending":1000,"ack_policy":"all"`:                      errNoHost,
		`"description":"` + strings.Repeat("d", 4096) + `"`:              errNoHost,
		`"description":"` + strings.Repeat("d", 4097) + `"`:              errConsumerDescription.says("consumer description is too long, maximum allowed is 4096"),
		`"sample_freq":"100%"`:                                           errNoHost,
		`"sample_freq":"x"`:                                              errSampling.says(`failed to parse consumer sampling configuration: strconv.Atoi: parsing "x": invalid syntax`),
		`"sample_freq":"-1"`:                                             errSampling.says("failed to parse consumer sampling configuration: <nil>"),
		`"filter_subject":"a..b"`:                                        invalid(`invalid subject: bad subject pattern: use tokens joined by single dots, * for any one token, > as the last for all the rest: "a..b"`),
		`"deliver_policy":"last_per_subject","opt_start_seq":1`:          errStartPolicy.says("consumer delivery policy is deliver last per subject, but optional start sequence is also set"),
		`"pause_until":"0001-01-01T00:00:00Z"`:                           errNoHost, // jsm.go, and so the nats CLI, cannot leave it out
		`"deliver_policy":"new","opt_start_time":"2030-01-01T00:00:00Z"`: errStartPolicy.says("consumer delivery policy is deliver new, but optional start time is also set"),
	} {
		w.refused(e, create, consumerBody("KV_a", fields))
	}
	for _, order := range []string{"$SYS.x", "$SRV.PING", "raftbus.kv.put.a.k", "raftbus.node.n1"} { // the host would give it in its own name (Q2)
		w.refused(&apiError{400, 10081, "consumer deliver subject forms a cycle: raftbus delivers to no subject that begins with $ or with raftbus."}, create, `{"stream_name":"KV_a","config":{"ack_policy":"none","deliver_subject":"`+order+`"}}`)
	}
	for name, e := range map[string]*apiError{"a@b": errConsumerName, "a b": errConsumerName, "a/b": errConsumerPath, `a\\b`: errConsumerPath, strings.Repeat("n", consumerNameMax+1): errConsumerName} {
		w.refused(e, "CONSUMER.CREATE.KV_a", consumerBody("KV_a", `"name":"`+name+`"`))
		w.refused(e, "CONSUMER.CREATE.KV_a."+strings.ReplaceAll(name, `\\`, `\`), consumerBody("KV_a", `"deliver_policy":"all"`))
		w.refused(errNoHost, create, consumerBody("KV_a", `"name":"`+name+`"`)) // that of the subject counts
	}
	for _, name := range []string{"a\x01", "a\x7f", "\xff"} { // no delivery could bear it, and in what nodes tell each other of it it would be another
		w.refused(errConsumerName, "CONSUMER.CREATE.KV_a."+name, consumerBody("KV_a", `"deliver_policy":"all"`))
	}
	for _, name := range []string{`a\u0001`, `a\u007f`} {
		w.refused(errConsumerName, "CONSUMER.CREATE.KV_a", consumerBody("KV_a", `"name":"`+name+`"`))
	}
	w.refused(errNoHost, "CONSUMER.CREATE.KV_a.\u00e9", consumerBody("KV_a", `"deliver_policy":"all"`))
	w.refused(errNoHost, "CONSUMER.CREATE.KV_a."+strings.Repeat("n", consumerNameMax), consumerBody("KV_a", `"deliver_policy":"all"`))
	w = hosted(t)
	c := w.made("c", create, consumerBody("KV_a", `"max_deliver":-5,"idle_heartbeat":-100,"max_ack_pending":-2,"max_waiting":-1,"max_batch":-1,"max_expires":-1,"max_bytes":-1,"inactive_threshold":-1,"priority_policy":"none","pause_until":"1970-01-12T14:46:40+01:00"`))
	require.JSONEq(t, `{"name":"c","deliver_policy":"all","ack_policy":"none","max_deliver":-1,"replay_policy":"instant","max_ack_pending":-1,"deliver_subject":"_INBOX.x","inactive_threshold":5000000000,"num_replicas":0,"pause_until":"1970-01-12T14:46:40+01:00"}`, string(c.Config))
	w.made("p", "CONSUMER.CREATE.KV_a.p", pullBody(""))
	w.refused(errConsumerChange.says("ack policy can not be updated"), "CONSUMER.CREATE.KV_a.p", `{"stream_name":"KV_a","config":{"ack_policy":"all"}}`)
}

func Test71_ADeliverSubjectAtItsBounds(t *testing.T) {
	w := hosted(t)
	for name, longest := range map[string]string{"b": strings.Repeat("d", DeliverBytesMax), "t": "d" + strings.Repeat(".d", DeliverTokensMax-1)} {
		c := w.made(name, "CONSUMER.CREATE.KV_a."+name, consumerBody("KV_a", `"deliver_subject":"`+longest+`"`))
		require.Equal(t, longest, c.Deliver)
	}
}

// A request at each bound of its consumer, and whose answer goes to as long a subject as may be, is passed on.
func Test76_ARequestForMessagesAtItsBounds(t *testing.T) {
	w := hosted(t)
	c := w.made("c", "CONSUMER.CREATE.KV_a.c", pullBody(`,"max_batch":5,"max_expires":2000000000,"max_bytes":100`))
	long := strings.Repeat("r.", DeliverTokensMax-1)
	long += strings.Repeat("r", DeliverBytesMax-len(long))
	body := `{"batch":5,"expires":2000000000,"idle_heartbeat":1000000000,"max_bytes":100,"priority":9}`
	require.Empty(t, w.carryOut(w.Plan(Request{Subject: next, Data: []byte(body), Reply: long, Now: w.now})))
	require.Equal(t, &Pull{c, watch.Pulled{Reply: long, Batch: 5, Bytes: 100, Waiting: waitingDefault, Expires: int64(2 * time.Second), Heartbeat: int64(time.Second)}}, w.pulls)
}

func Test76_EachFieldOfARequestForMessages(t *testing.T) {
	w := hosted(t)
	c := w.made("c", "CONSUMER.CREATE.KV_a.c", pullBody(`,"max_batch":5,"max_bytes":-1,"max_expires":-1,"max_waiting":9`))
	require.NotContains(t, string(c.Config), `"max_bytes"`)
	require.NotContains(t, string(c.Config), `"max_expires"`)
	require.Empty(t, w.send(next, `{"batch":5,"idle_heartbeat":-1,"max_bytes":7}`))
	require.Equal(t, [4]int64{5, 0, 7, 9}, [4]int64{int64(w.pulls.Request.Batch), w.pulls.Request.Heartbeat, int64(w.pulls.Request.Bytes), int64(w.pulls.Request.Waiting)})
	for body, want := range map[string]string{
		`{"min_pending":1}`: "400 Bad Request - Not a Overflow Priority consumer",
		`{"priority":-1}`:   "400 Bad Request - Priority must be between 0 and 9",
	} {
		w.status(want, next, body)
	}
}

// What is published again says what it was, and what came before it; who wants headers only learns how large it was.
func TestWhatIsPublishedAgainSaysWhatItWas(t *testing.T) {
	entry := store.Entry{Key: "k", Sequence: 9, Time: 5, Value: []byte("value"), Header: []byte("NATS/1.0\r\nStatus: 100\r\nX: 1\r\n\r\n")}
	for _, headersOnly := range []bool{false, true} {
		r := NewRepublication("a", command.Settings{Republish: &command.Republish{Source: "$KV.a.*", Destination: "o.$1", HeadersOnly: headersOnly}})
		subject, m, matches := r.Message(entry, 7)
		require.True(t, matches)
		require.Equal(t, "o.k", subject)
		want := map[string][]string{"X": {"1"}, headerStream: {"KV_a"}, headerSubject: {"$KV.a.k"}, headerSequence: {"9"}, headerLastSequence: {"7"}, headerTimeStamp: {"1970-01-01T00:00:00.000000005Z"}}
		if headersOnly {
			want[headerSize] = []string{"5"}
			require.Empty(t, m.Data)
		} else {
			want["Status"] = []string{"100"}
			require.Equal(t, "value", string(m.Data))
		}
		require.Equal(t, want, m.Header)
	}
}

// A message that is imported is here what it was there.
func TestImportedMessages(t *testing.T) {
	for _, c := range []struct {
		header map[string][]string
		want   command.ImportEntry
	}{
		{nil, command.ImportEntry{}},
		{map[string][]string{headerTTL: {"5s"}}, command.ImportEntry{TTL: 5 * time.Second}},
		{map[string][]string{headerTTL: {"x"}}, command.ImportEntry{}},
		{map[string][]string{headerRollup: {"SUB"}}, command.ImportEntry{Rollup: command.RollupKey}},
		{map[string][]string{headerRollup: {"all"}}, command.ImportEntry{Rollup: command.RollupBucket}},
		{map[string][]string{headerOperation: {"DEL"}}, command.ImportEntry{Op: command.Delete}},
		{map[string][]string{headerOperation: {"PURGE"}, headerRollup: {"sub"}}, command.ImportEntry{Op: command.Purge, Rollup: command.RollupKey}},
	} {
		c.want.Key, c.want.Sequence, c.want.Value, c.want.Header, c.want.Time = "k.l", 7, []byte("v"), Block(c.header), 5
		e, err := ImportMessage("old", "$KV.old.k.l", c.header, []byte("v"), 7, time.Unix(0, 5))
		require.NoError(t, err)
		require.Equal(t, c.want, e)
		require.True(t, ImportFits(&e))
	}
	for _, subject := range []string{"$KV.other.k", "$KV.old.", "$KV.old", "$KV.old.a..b"} {
		_, err := ImportMessage("old", subject, nil, nil, 1, time.Unix(0, 1))
		require.Error(t, err, subject)
	}
}

// Q2: what a node says in its own name is never an order to nodes, nor to NATS.
func TestWhatIsAnOrder(t *testing.T) {
	orders := []string{"$SYS.x", "$JS.API.INFO", "$KV.a.k", "raftbus.kv.put.a.k", "raftbus.node.n1", "raftbus.node.n1.x", "raftbus.node._inbox.x", "raftbus.rpc.n1._inbox.x", "raftbus.node.n1._inbox"}
	for _, to := range append(slices.Clone(orders), "_INBOX.x", "raftbus", "raftbusy.x", "raft", "raftbus.node.n1._inbox.x", "a.$1", "") {
		require.Equal(t, slices.Contains(orders, to), IsOrder("raftbus", to), to)
		require.Equal(t, !slices.Contains(orders, to), MayAnswer("raftbus", to), to)
	}
	require.True(t, MayAnswer("raftbus", strings.Repeat("a", answerSubjectMax)))
	require.False(t, MayAnswer("raftbus", strings.Repeat("a", answerSubjectMax+1)), "it may cost the connection (F11)")
	require.Less(t, len("HPUB  65536 1048576")+answerSubjectMax, 4<<10, "the longest line that NATS takes")
}
