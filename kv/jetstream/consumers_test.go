package jetstream

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// hosted is a world in which n2 serves consumers.
func hosted(t *testing.T) *world {
	w := newWorld(t)
	w.host = func(watch.Wanted) (rpc.NodeID, rpc.BootEpoch, error) { return "n2", 7, nil }
	w.bucket("a")
	w.says(`{"stream":"KV_a","domain":"dom","seq":1}`, "$KV.a.k", "v")
	return w
}

// made requires that a request makes a consumer and is not answered here.
func (w *world) made(name, subject, body string) store.Consumer {
	w.Helper()
	require.Empty(w, w.send(subject, body))
	require.Nil(w, w.asked)
	c, err := w.store.Consumer("a", name)
	require.NoError(w, err)
	return c
}

func Test71_AConsumerIsARecordThatItsHostAnswersFor(t *testing.T) {
	w := hosted(t)
	c := w.made("c", "CONSUMER.CREATE.KV_a.c.$KV.a.>", consumerBody("KV_a", `"name":"c","filter_subject":"$KV.a.>","deliver_policy":"last_per_subject","num_replicas":1`))
	require.Equal(t, store.Consumer{
		Bucket: "a", Incarnation: c.Incarnation, Name: "c", Deliver: "_INBOX.x", Host: "n2", Boot: 7, Generation: 1, Added: 3, Changed: 3,
		Created: c.Created, Start: 1, Answer: "_INBOX.reply",
		Config: []byte(`{"name":"c","deliver_policy":"last_per_subject","ack_policy":"none","max_deliver":-1,"filter_subject":"$KV.a.\u003e","replay_policy":"instant","deliver_subject":"_INBOX.x","inactive_threshold":5000000000,"num_replicas":1}`),
	}, c)
	d := w.made("d", "CONSUMER.CREATE.KV_a.d", consumerBody("KV_a", `"filter_subjects":["$KV.a.x","$KV.a.y"]`))
	require.Contains(t, string(d.Config), `"deliver_policy":"all"`, "who names none is sent everything")
	w.made("e", "CONSUMER.CREATE.KV_a", consumerBody("KV_a", `"name":"e"`))
	require.Empty(t, w.send("CONSUMER.CREATE.KV_a", consumerBody("KV_a", `"deliver_policy":"all"`)))
	names, err := w.store.ConsumerNames("a", "", 10)
	require.NoError(t, err)
	require.Len(t, names.Names, 4)
	require.Regexp(t, `^[A-Z2-7]{8}$`, names.Names[0], "one that was made up")
	require.Empty(t, w.send("CONSUMER.CREATE.KV_a", consumerBody("KV_a", `"deliver_policy":"all"`)))
	names, err = w.store.ConsumerNames("a", "", 10)
	require.NoError(t, err)
	require.Len(t, names.Names, 5, "who asks again without a name has another, though its answers go to the same inbox")
	f := w.made("f", "CONSUMER.CREATE.KV_a.f", consumerBody("KV_a", `"name":"g"`))
	require.Contains(t, string(f.Config), `"name":"f"`, "the subject says which it is: what a client may ask for goes by that")
	w.refused(errBadRequest.says("bad request: the consumer's configuration may have 65536 bytes"), "CONSUMER.CREATE.KV_a.c", consumerBody("KV_a", `"metadata":{"x":"`+strings.Repeat("x", consumerBytesMax)+`"}`))
}

// Q12: a client may ask for a consumer that outlives it for as long as it likes. It is told so, and nodes keep it for an hour.
func Test71_NoConsumerOutlivesItsClientForMoreThanAnHour(t *testing.T) {
	w := hosted(t)
	for _, fields := range []string{"", `"durable_name":"c",`} {
		for threshold, want := range map[time.Duration]time.Duration{5 * time.Minute: 5 * time.Minute, time.Hour: time.Hour, 24 * 365 * time.Hour: time.Hour, math.MaxInt64: time.Hour} {
			told := fmt.Sprintf(`"inactive_threshold":%d`, threshold)
			c := w.made("c", "CONSUMER.CREATE.KV_a.c", consumerBody("KV_a", fields+told))
			require.Contains(t, string(c.Config), told+",")
			config, err := ConsumerConfig("a", c.Config)
			require.NoError(t, err)
			require.EqualValues(t, want, config.Inactive)
		}
	}
}

// Q12: a durable consumer outlives those who listen, and not for ever.
func Test71_ADurableConsumerOutlivesItsClientByAnHour(t *testing.T) {
	w := hosted(t)
	const create = "CONSUMER.DURABLE.CREATE.KV_a."
	for fields, want := range map[string]time.Duration{`"inactive_threshold":null`: time.Hour, `"inactive_threshold":90000000000`: 90 * time.Second} {
		c := w.made("c", create+"c", consumerBody("KV_a", `"durable_name":"c","max_ack_pending":-1,`+fields))
		require.Contains(t, string(c.Config), `{"durable_name":"c","name":"c",`)
		require.Contains(t, string(c.Config), fmt.Sprintf(`"inactive_threshold":%d,`, want))
		config, err := ConsumerConfig("a", c.Config)
		require.NoError(t, err)
		require.True(t, config.Durable)
		require.EqualValues(t, want, config.Inactive)
	}
	w.made("d", "CONSUMER.CREATE.KV_a.d.$KV.a.>", consumerBody("KV_a", `"durable_name":"d","filter_subject":"$KV.a.>"`))
	w.refused(notOffered("ack policy explicit of a durable consumer"), create+"e", `{"stream_name":"KV_a","config":{"durable_name":"e","deliver_subject":"d","ack_policy":"explicit"}}`)
	w.refused(notOffered("a durable pull consumer"), create+"e", `{"stream_name":"KV_a","config":{"durable_name":"e","ack_policy":"none"}}`)
}

// Who subscribes acknowledges unless it says otherwise, and keeps to its consumer: where all of it may be lost it is sent again. One that is durable, or
// pulls, is refused: its client would rely on it for what is not acknowledged.
func Test71_WhoAcknowledgesIsSentEverythingOnce(t *testing.T) {
	w := hosted(t)
	body := func(policy, fields string) string {
		return `{"stream_name":"KV_a","config":{"ack_policy":"` + policy + `"` + fields + `}}`
	}
	const create, push = "CONSUMER.CREATE.KV_a.", `,"deliver_subject":"d","idle_heartbeat":5000000000,"flow_control":true`
	for _, policy := range []string{"explicit", "all"} {
		c := w.made(policy, create+policy, body(policy, push))
		require.Contains(t, string(c.Config), `"ack_policy":"`+policy+`","ack_wait":30000000000,"max_deliver":-1,"replay_policy":"instant","max_ack_pending":1000,`)
		config, err := ConsumerConfig("a", c.Config)
		require.NoError(t, err)
		require.True(t, config.Durable)
		w.refused(notOffered("ack policy "+policy+" of a durable consumer"), create+"d", body(policy, push+`,"durable_name":"d"`))
		w.refused(notOffered("deliver_group"), create+"g", body(policy, push+`,"deliver_group":"g"`))
	}
	c := w.made("waits", create+"waits", body("explicit", push+`,"ack_wait":1000000000,"max_ack_pending":1000`))
	require.Contains(t, string(c.Config), `"ack_wait":1000000000,"max_deliver":-1,"replay_policy":"instant","max_ack_pending":1000,`)
	w.refused(notOffered("a max_ack_pending that nobody waits for"), create+"few", body("explicit", push+`,"max_ack_pending":999`))
	w.made("unbounded", create+"unbounded", body("explicit", push+`,"max_ack_pending":-1`))
}

func action(action, fields string) string {
	return strings.Replace(consumerBody("KV_a", fields), "{", `{"action":"`+action+`",`, 1)
}

func Test71_Actions(t *testing.T) {
	w := hosted(t)
	const create = "CONSUMER.CREATE.KV_a.c"
	w.refused(errConsumerMissing, create, action("update", `"description":"1"`))
	first := w.made("c", create, action("create", `"description":"1"`))
	require.Empty(t, w.send(create, action("create", `"description":"1"`)))
	require.Equal(t, &Ask{first, true}, w.asked, "it is there, as it was asked for")
	w.refused(errConsumerExists, create, action("create", `"description":"2"`))
	for _, a := range []string{"", "update"} {
		c := w.made("c", create, action(a, `"description":"3`+a+`"`))
		require.Contains(t, string(c.Config), `"3`+a+`"`)
		require.Equal(t, first.Added, c.Added)
		require.Greater(t, c.Changed, first.Changed)
	}
	w.refused(errInvalidJSON.says(`invalid JSON: unknown consumer action: "none"`), create, action("none", `"description":"2"`))
	w.refused(errNoStream, "CONSUMER.CREATE.KV_none.c", consumerBody("KV_none", `"name":"c"`))
	require.Equal(t, errTooManyConsumers.ErrCode, 10023, "and not 10026, which would end an ordered client of nats.go that comes back")
	c := call{verb: consumerCreate}
	require.Equal(t, c.refuse(errTooManyConsumers), c.added(w.store, store.Result{Code: store.TooManyConsumers}, &command.AddConsumer{}))
}

func Test71_WhoAsksForAConsumerAgainChangesNothing(t *testing.T) { // W1
	w := hosted(t)
	const create = "CONSUMER.CREATE.KV_a.c"
	first := w.made("c", create, action("", `"deliver_policy":"new"`))
	for _, a := range []string{"", "create", "update"} {
		require.Empty(t, w.send(create, action(a, `"deliver_policy":"new"`)))
		require.Equal(t, &Ask{first, true}, w.asked)
	}
	c, err := w.store.Consumer("a", "c")
	require.NoError(t, err)
	require.Equal(t, first, c)
	w.made("t", "CONSUMER.CREATE.KV_a.t", consumerBody("KV_a", `"deliver_policy":"by_start_time","opt_start_time":"2020-01-01T00:00:00Z"`))
	w.made("t", "CONSUMER.CREATE.KV_a.t", consumerBody("KV_a", `"deliver_policy":"by_start_time","opt_start_time":"2020-01-01T01:00:00+01:00"`))
}

func Test71_WhereAConsumerBeganIsNotChanged(t *testing.T) {
	w := hosted(t)
	was := `"deliver_policy":"by_start_sequence","opt_start_seq":5,"idle_heartbeat":5000000000,"flow_control":true`
	w.made("c", "CONSUMER.CREATE.KV_a.c", consumerBody("KV_a", was))
	w.made("t", "CONSUMER.CREATE.KV_a.t", consumerBody("KV_a", `"deliver_policy":"by_start_time","opt_start_time":"2020-01-01T00:00:00Z"`))
	for _, c := range []struct{ what, name, fields string }{
		{"deliver policy", "c", `"deliver_policy":"all","mem_storage":true`},
		{"storage type", "c", was + `,"mem_storage":true`},
		{"start sequence", "c", strings.Replace(was, "5", "6", 1)},
		{"start time", "t", `"deliver_policy":"by_start_time","opt_start_time":"2020-01-01T00:00:01Z"`},
		{"heart beats", "c", strings.Replace(was, "5000000000", "6000000000", 1)},
		{"flow control", "c", strings.Replace(was, "true", "false", 1)},
	} {
		for _, a := range []string{"", "update"} {
			w.refused(errConsumerChange.says("%s can not be updated", c.what), "CONSUMER.CREATE.KV_a."+c.name, action(a, c.fields))
		}
	}
	w.made("p", "CONSUMER.CREATE.KV_a.p", pullBody(""))
	w.refused(errConsumerChange.says("max waiting can not be updated"), "CONSUMER.CREATE.KV_a.p", pullBody(`,"max_waiting":6`))
	require.Equal(t, store.Done, w.apply((&command.Command{AddConsumer: &command.AddConsumer{Bucket: "a", Name: "native", Config: []byte("native {}")}}).Encode()).Code)
	w.refused(errConsumerExists, "CONSUMER.CREATE.KV_a.native", consumerBody("KV_a", was))
}

// Q12: the bound is of consumers, not of requests for them.
func TestWhereThereAreTooManyConsumersThoseThatAreThereGoOn(t *testing.T) {
	w := hosted(t)
	const create = "CONSUMER.CREATE.KV_a.c"
	first := w.made("c", create, action("create", `"description":"1"`))
	w.host = func(watch.Wanted) (rpc.NodeID, rpc.BootEpoch, error) { return "", 0, watch.ErrTooMany }
	require.Empty(t, w.send(create, action("create", `"description":"1"`)))
	require.Equal(t, &Ask{first, true}, w.asked, "asked for again")
	c := w.made("c", create, action("update", `"description":"2"`))
	require.Contains(t, string(c.Config), `"2"`)
	require.Equal(t, first.Host, c.Host)
	w.refused(errTooManyConsumers, "CONSUMER.CREATE.KV_a", consumerBody("KV_a", `"description":"1"`))
	w.Account = "b"
	w.refused(errTooManyConsumers, create, action("", `"description":"2"`))
}

// Q12: nor may those that are there ask for more once all ask for as much as they may.
func TestWhereConsumersAskForTooMuchThoseThatAreThereAskForNoMore(t *testing.T) {
	w := hosted(t)
	there := w.host
	const create = "CONSUMER.CREATE.KV_a.c"
	first := w.made("c", create, action("", `"description":"12"`))
	w.host = func(watch.Wanted) (rpc.NodeID, rpc.BootEpoch, error) { return "", 0, watch.ErrTooLarge }
	require.Empty(t, w.send(create, action("", `"description":"12"`)))
	require.Equal(t, &Ask{first, true}, w.asked, "asked for again")
	c := w.made("c", create, action("", `"description":"21"`))
	require.Contains(t, string(c.Config), `"21"`)
	require.Equal(t, first.Host, c.Host)
	w.refused(errLargeConsumers, create, action("", `"description":"123"`))
	const patterns = `"filter_subjects":["$KV.a.*.1","$KV.a.*.2","$KV.a.*.3","$KV.a.*.4","$KV.a.*.5"]`
	w.host = there
	w.made("long", "CONSUMER.CREATE.KV_a.long", action("", `"description":"`+strings.Repeat("1", len(patterns))+`"`))
	w.host = func(watch.Wanted) (rpc.NodeID, rpc.BootEpoch, error) { return "", 0, watch.ErrTooLarge }
	w.refused(errLargeConsumers, "CONSUMER.CREATE.KV_a.long", action("", patterns)) // fewer bytes that cost more
	w.made("long", "CONSUMER.CREATE.KV_a.long", action("", strings.Replace(patterns, `,"$KV.a.*.5"`, "", 1)))
	w.refused(errLargeConsumers, "CONSUMER.CREATE.KV_a.d", action("", `"description":"1"`))
}

func Test75_ConsumersAreTold(t *testing.T) {
	w := hosted(t)
	c := w.made("c", "CONSUMER.CREATE.KV_a.c", consumerBody("KV_a", `"deliver_policy":"new"`))
	w.made("b", "CONSUMER.CREATE.KV_a.b", consumerBody("KV_a", `"deliver_policy":"new"`))
	require.Empty(t, w.send("CONSUMER.INFO.KV_a.c", ""))
	require.Equal(t, &Ask{c, false}, w.asked)
	w.says(`{"type":"io.nats.jetstream.api.v1.consumer_names_response","total":2,"offset":0,"limit":1024,"consumers":["b","c"]}`, "CONSUMER.NAMES.KV_a", "")
	w.says(`{"type":"io.nats.jetstream.api.v1.consumer_names_response","total":2,"offset":1,"limit":1024,"consumers":["c"]}`, "CONSUMER.NAMES.KV_a", `{"offset":1}`)
	w.says(`{"type":"io.nats.jetstream.api.v1.consumer_names_response","total":2,"offset":2,"limit":1024,"consumers":[]}`, "CONSUMER.NAMES.KV_a", `{"offset":9}`)
	w.has(`{"total":2,"offset":0}`, "CONSUMER.LIST.KV_a", "")
	var list struct{ Consumers []consumerInfoReply }
	require.NoError(t, json.Unmarshal(w.ask("CONSUMER.LIST.KV_a", `{"offset":1}`).Data, &list))
	require.Len(t, list.Consumers, 1)
	require.Equal(t, consumerInfoReply{Stream: "KV_a", Name: "c", Created: time.Unix(0, c.Created).UTC(), Config: c.Config, Time: w.now.UTC()}, list.Consumers[0])
	w.bucket("b")
	w.counted(2)
	w.says(`{"type":"io.nats.jetstream.api.v1.consumer_delete_response","success":true}`, "CONSUMER.DELETE.KV_a.c", "")
	w.counted(1)
	w.refused(errNoConsumer, "CONSUMER.DELETE.KV_a.c", "")
	w.refused(errNotEmpty, "CONSUMER.DELETE.KV_a.c", "x")
	w.refused(errNotEmpty, "CONSUMER.INFO.KV_a.c", "x")
	w.refused(errNoConsumer, "CONSUMER.INFO.KV_a.c", "")
	w.says(`{"type":"io.nats.jetstream.api.v1.stream_delete_response","success":true}`, "STREAM.DELETE.KV_a", "")
	w.refused(errNoStream, "CONSUMER.DELETE.KV_a.b", "")
	w.refused(errNoStream, "CONSUMER.NAMES.KV_a", "")
}

// Once they do not fit into a message they are told in parts, as streams are.
func Test75_ManyConsumersAreToldInPages(t *testing.T) {
	w := hosted(t)
	for i := range 20 {
		name := fmt.Sprintf("c%02d%s", i, strings.Repeat("x", 100))
		w.made(name, "CONSUMER.CREATE.KV_a."+name, consumerBody("KV_a", `"description":"`+strings.Repeat("d", 1_000)+`"`))
	}
	for _, verb := range []string{"CONSUMER.NAMES.KV_a", "CONSUMER.LIST.KV_a"} {
		seen := map[string]bool{}
		for pages := 1; len(seen) < 20; pages++ {
			reply := w.carryOut(w.Plan(Request{Subject: verb, Data: fmt.Appendf(nil, `{"offset":%d}`, len(seen)), PayloadMax: replyReserve + 500}))[0]
			require.LessOrEqual(t, len(reply.Data), replyReserve+500)
			var page struct {
				Total, Limit int
				Consumers    []json.RawMessage
			}
			require.NoError(t, json.Unmarshal(reply.Data, &page))
			require.Equal(t, 20, page.Total)
			require.NotEmpty(t, page.Consumers)
			for _, c := range page.Consumers {
				seen[string(c)] = true
			}
			require.LessOrEqual(t, pages, 20)
			require.Less(t, len(page.Consumers), 20)
			if len(seen) < 20 {
				require.Len(t, page.Consumers, page.Limit, "some go on after as many as the limit says")
			}
		}
	}
}

func Test75_ANativeWatchSpoilsNoList(t *testing.T) {
	w := hosted(t)
	w.apply((&command.Command{AddConsumer: &command.AddConsumer{Bucket: "a", Name: "n", Config: []byte("native {}")}}).Encode())
	w.made("z", "CONSUMER.CREATE.KV_a.z", consumerBody("KV_a", `"deliver_policy":"new"`))
	var list struct{ Consumers []consumerInfoReply }
	require.NoError(t, json.Unmarshal(w.ask("CONSUMER.LIST.KV_a", "").Data, &list))
	require.Len(t, list.Consumers, 2)
	require.Equal(t, [2]string{"n", "z"}, [2]string{list.Consumers[0].Name, list.Consumers[1].Name})
}

// counted requires that the first bucket, and so the account, is told to have so many consumers.
func (w *world) counted(want uint64) {
	w.Helper()
	var (
		info    infoReply
		account accountReply
		list    struct{ Streams []streamInfoReply }
	)
	require.NoError(w, json.Unmarshal(w.ask("STREAM.INFO.KV_a", "").Data, &info))
	require.NoError(w, json.Unmarshal(w.ask("STREAM.LIST", "").Data, &list))
	require.NoError(w, json.Unmarshal(w.ask("INFO", "").Data, &account))
	require.Equal(w, [4]uint64{want, want, 0, want}, [4]uint64{info.State.Consumers, list.Streams[0].State.Consumers, list.Streams[1].State.Consumers, account.Consumers})
}

func Test75_TheAnswerOfAHost(t *testing.T) {
	created, now := time.Unix(1, 5).UTC(), time.Unix(2, 0)
	s := watch.State{
		Made: true, Record: &watch.Record{Ref: watch.Ref{Name: "c"}, Bucket: "a", Echo: ConsumerEcho{json.RawMessage(`{"name":"c"}`), created.UnixNano()}},
		Sequence: 3, Stream: 9, Pending: 4, Bound: true,
	}
	const fields = `"stream_name":"KV_a","name":"c","created":"1970-01-01T00:00:01.000000005Z","config":{"name":"c"},"delivered":{"consumer_seq":3,"stream_seq":9},"ack_floor":{"consumer_seq":3,"stream_seq":9},"num_ack_pending":0,"num_redelivered":0,"num_waiting":0,"num_pending":4`
	require.Equal(t, `{"type":"io.nats.jetstream.api.v1.consumer_create_response",`+fields+`,"push_bound":true,"ts":"1970-01-01T00:00:02Z"}`, string(ConsumerState(&s, now)))
	s.Made, s.Bound = false, false
	require.Equal(t, `{"type":"io.nats.jetstream.api.v1.consumer_info_response",`+fields+`,"ts":"1970-01-01T00:00:02Z"}`, string(ConsumerState(&s, now)))
	s.Sequence, s.Base = s.Sequence+7<<32, s.Base+7<<32
	require.Contains(t, string(ConsumerState(&s, now)), fields, "of one that was moved, what this host has sent")
	require.Contains(t, string(ConsumerState(&watch.State{Missing: true}, now)), `"err_code":10008`)
}

func TestConfigurationsInTheHubsTerms(t *testing.T) {
	at := time.Unix(5, 7)
	for body, want := range map[string]watch.Config{
		`{"deliver_policy":"all"}`:                     {},
		`{"deliver_policy":"last"}`:                    {Policy: watch.DeliverLast},
		`{"deliver_policy":"new","headers_only":true}`: {Policy: watch.DeliverNew, HeadersOnly: true},
		`{"deliver_policy":"last_per_subject"}`:        {Policy: watch.DeliverLastPerSubject},
		`{"deliver_policy":"by_start_sequence","opt_start_seq":8,"idle_heartbeat":5,"flow_control":true,"inactive_threshold":6}`: {
			Policy: watch.DeliverByStartSequence, StartSequence: 8, Heartbeat: 5, FlowControl: true, Inactive: 6,
		},
		// Times that no entry has, and spans that are for ever: nothing wraps around.
		`{"deliver_policy":"by_start_time","opt_start_time":"9999-01-01T00:00:00Z"}`:                             {Policy: watch.DeliverByStartTime, StartTime: math.MaxInt64},
		`{"deliver_policy":"by_start_time","opt_start_time":"0001-01-01T00:00:00Z"}`:                             {Policy: watch.DeliverByStartTime, StartTime: math.MinInt64},
		`{"deliver_policy":"all","idle_heartbeat":9223372036854775807,"inactive_threshold":9223372036854775807}`: {Heartbeat: int64(ttlMax), Inactive: int64(time.Hour)},
		fmt.Sprintf(`{"deliver_policy":"by_start_time","opt_start_time":%q}`, at.Format(time.RFC3339Nano)):       {Policy: watch.DeliverByStartTime, StartTime: at.UnixNano()},
	} {
		got, err := ConsumerConfig("a", []byte(body))
		require.NoError(t, err)
		require.True(t, got.Filter.All())
		got.Filter = want.Filter
		require.Equal(t, want, got, body)
	}
	for filters, match := range map[string][3]bool{
		`"filter_subject":"$KV.a.x.>"`:              {true, false, false},
		`"filter_subjects":["$KV.a.x.*","$KV.*.z"]`: {true, false, true},
		`"filter_subject":"$KV.other.>"`:            {false, false, false},
		`"filter_subject":">"`:                      {true, true, true},
	} {
		got, err := ConsumerConfig("a", []byte(`{"deliver_policy":"all",`+filters+`}`))
		require.NoError(t, err)
		require.Equal(t, match, [3]bool{got.Filter.Match("x.y"), got.Filter.Match("x"), got.Filter.Match("z")}, filters)
	}
	for _, bad := range []string{`{`, `{"filter_subject":"a..b"}`} {
		_, err := ConsumerConfig("a", []byte(bad))
		require.Error(t, err)
	}
}
