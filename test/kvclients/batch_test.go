package kvclients

// Gets of many messages, of a JetStream and of us, side by side: those that the table names, and any.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/cluster"
)

// manyKeys is one more than JetStream answers at a time.
const manyKeys = 1025

// written has a bucket with a history, gaps and markers, of each storage: they find messages in ways of their own.
func written(t testing.TB, nc *nats.Conn) {
	ask := func(subject, body string, headers ...string) {
		a := step{subject: subject, body: body, headers: headers}.send(t, nc)
		require.NotContains(t, a.String(), `"error"`, subject)
	}
	for _, bucket := range []string{"file", "memory"} {
		ask("STREAM.CREATE.KV_"+bucket, bucketConfig(bucket, `"max_msgs_per_subject":3`, `"storage":"`+bucket+`"`))
		put := func(key, body string, headers ...string) { ask("$KV."+bucket+"."+key, body, headers...) }
		for i := range 12 {
			put(fmt.Sprintf("k%d", i%3), fmt.Sprint("v", i))
		}
		put("x.1", "one", "A", "b")
		put("x.2", strings.Repeat("2", 300))
		put("x.y.3", "")
		put("k1", "", operation, "DEL")
		put("k2", "", operation, "PURGE", rollup, "sub")
		put("x.1", "two", "A", "c")
		put("x.1", "three")
		put("k0", "last")
		put("gone", "", operation, "PURGE", rollup, "sub")
		put("gone", "", operation, "PURGE", rollup, "sub")
	}
	ask("STREAM.CREATE.KV_many", bucketConfig("many"))
	for i := range manyKeys {
		require.NoError(t, nc.Publish(fmt.Sprintf("$KV.many.%d.%d", i%2, i), []byte("v")))
	}
	require.Eventually(t, func() bool {
		a := step{subject: "DIRECT.GET.KV_many", body: fmt.Sprintf(`{"seq":%d}`, manyKeys)}.send(t, nc)
		return a.Status == ""
	}, 15*time.Second, 10*time.Millisecond)
}

// all sends a get, in which {t3} stands for when message 3 was written, and collects what is answered.
func all(t testing.TB, nc *nats.Conn, bucket, body string) (list []string) {
	for strings.Contains(body, "{t") {
		before, rest, _ := strings.Cut(body, "{t")
		sequence, after, _ := strings.Cut(rest, "}")
		m, err := nc.Request(apiPrefix+"DIRECT.GET.KV_"+bucket, []byte(`{"seq":`+sequence+`}`), 15*time.Second)
		require.NoError(t, err)
		require.NotEmpty(t, m.Header.Get("Nats-Time-Stamp"), sequence)
		body = before + m.Header.Get("Nats-Time-Stamp") + after
	}
	sub, err := nc.SubscribeSync(nc.NewRespInbox())
	require.NoError(t, err)
	defer func() { require.NoError(t, sub.Unsubscribe()) }()
	require.NoError(t, nc.PublishRequest(apiPrefix+"DIRECT.GET.KV_"+bucket, sub.Subject, []byte(body)))
	for {
		m, err := sub.NextMsg(15 * time.Second)
		if errors.Is(err, nats.ErrNoResponders) {
			return append(list, "nobody")
		}
		require.NoError(t, err, "%s: %s", body, list)
		a := normal(m)
		list = append(list, a.String())
		if a.Status != "" || !strings.Contains(body, `"batch"`) && !strings.Contains(body, `"multi_last"`) {
			return list
		}
	}
}

var batches = []string{
	`{"batch":3,"seq":1}`, `{"batch":3,"seq":6}`, `{"batch":1,"seq":13}`, `{"batch":100,"seq":10}`, `{"batch":100,"seq":22}`, `{"batch":1,"seq":100}`, `{"batch":2,"seq":100}`, `{"batch":2}`,
	`{"batch":5,"next_by_subj":"$KV.*.x.>"}`, `{"batch":5,"seq":16,"next_by_subj":"$KV.*.x.1"}`, `{"batch":2,"next_by_subj":"$KV.*.none"}`, `{"batch":2,"next_by_subj":"a..b"}`, `{"batch":2,"next_by_subj":">"}`,
	`{"batch":2,"next_by_subj":"other"}`, `{"batch":100,"seq":1,"max_bytes":1}`, `{"batch":100,"seq":1,"max_bytes":30}`, `{"batch":100,"seq":1,"max_bytes":-1}`, `{"batch":2,"seq":1,"no_hdr":true}`,
	`{"batch":-1,"seq":1}`, `{"batch":-1,"seq":15,"next_by_subj":"$KV.*.x.>"}`, `{"batch":2,"seq":1,"up_to_seq":1}`,
	`{"batch":2,"start_time":"{t14}"}`, `{"batch":100,"start_time":"{t20}"}`, `{"batch":2,"start_time":"1970-01-01T00:00:00Z"}`, `{"batch":2,"start_time":"2100-01-01T00:00:00Z"}`, `{"batch":2,"start_time":"{t15}","next_by_subj":"$KV.*.x.*"}`,
	`{"batch":2,"start_time":"now"}`, `{"start_time":"{t15}"}`, `{"start_time":"{t15}","next_by_subj":"$KV.*.x.1"}`, `{"start_time":"2100-01-01T00:00:00Z"}`, `{"start_time":"1970-01-01T00:00:00Z","no_hdr":true}`,
	`{"batch":2,"last_by_subj":"$KV.file.k0"}`, `{"batch":-2,"last_by_subj":"$KV.file.k0"}`, `{"batch":2,"seq":1,"start_time":"{t15}"}`, `{"batch":"2","seq":1}`, `{"batch":1.5,"seq":1}`,
	`{"multi_last":[]}`, `{"multi_last":[""]}`, `{"multi_last":[null]}`, `{"multi_last":["a..b"]}`, `{"multi_last":"$KV.*.k0"}`, `{"multi_last":[">"]}`, `{"multi_last":["$KV.*.>"]}`, `{"multi_last":["$KV.*.*"]}`, `{"multi_last":["$KV.>",">"]}`,
	`{"multi_last":["$KV.*.k0","$KV.*.k0","$KV.*.x.*"]}`, `{"multi_last":["$KV.*.none"]}`, `{"multi_last":["other.>"]}`, `{"multi_last":["$KV.*.none","$KV.*.k1"]}`,
	`{"multi_last":[">"],"up_to_seq":8}`, `{"multi_last":[">"],"up_to_seq":13}`, `{"multi_last":[">"],"up_to_seq":4}`, `{"multi_last":[">"],"up_to_seq":1}`, `{"multi_last":[">"],"up_to_seq":16}`, `{"multi_last":[">"],"up_to_seq":22}`,
	`{"multi_last":[">"],"up_to_time":"{t14}"}`, `{"multi_last":[">"],"up_to_time":"{t16}"}`, `{"multi_last":[">"],"up_to_time":"2100-01-01T00:00:00Z"}`, `{"multi_last":[">"],"up_to_time":"1970-01-01T00:00:00Z"}`,
	`{"multi_last":[">"],"up_to_seq":5,"up_to_time":"{t14}"}`, `{"multi_last":[">"],"seq":17}`, `{"multi_last":[">"],"seq":100}`, `{"multi_last":[">"],"seq":19,"up_to_seq":18}`, `{"multi_last":[">"],"batch":2}`, `{"multi_last":[">"],"batch":-1}`,
	`{"multi_last":[">"],"batch":2,"seq":17}`, `{"multi_last":[">"],"max_bytes":1}`, `{"multi_last":[">"],"max_bytes":320}`, `{"multi_last":[">"],"max_bytes":-5}`, `{"multi_last":[">"],"no_hdr":true}`,
	`{"multi_last":[">"],"start_time":"{t14}"}`, `{"multi_last":[">"],"next_by_subj":"$KV.*.k0"}`, `{"multi_last":[">"],"last_by_subj":"$KV.file.k0"}`,
}

func TestGetsOfManyMessagesAreThoseOfJetStream(t *testing.T) {
	t.Parallel() // it mostly waits
	theirs, ours := realJetStream(t), connected(t, 1)
	written(t, theirs)
	written(t, ours)
	same := func(bucket, body string) {
		t.Helper()
		if want, got := all(t, theirs, bucket, body), all(t, ours, bucket, body); !slices.Equal(want, got) {
			t.Errorf("%s %s\n theirs %s\n   ours %s", bucket, body, want, got)
		}
	}
	for _, bucket := range []string{"file", "memory"} {
		for _, body := range batches {
			same(bucket, body)
		}
	}
	for _, body := range []string{`{"multi_last":[">"]}`, `{"multi_last":["$KV.*.0.*","$KV.*.1.*"]}`, `{"multi_last":[">"],"up_to_seq":1025}`, `{"multi_last":[">"],"up_to_seq":1024}`, `{"multi_last":["$KV.many.0.*"]}`, `{"batch":2000,"seq":1}`} {
		same("many", body)
	}
	chance := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	for range 500 {
		same([]string{"file", "memory"}[chance.IntN(2)], anyGet(chance))
	}
	for _, body := range []string{`{"batch":1,"seq":1}`, `{"multi_last":[">"]}`} {
		same("none", body)
	}
	beyond := `{"multi_last":["$KV.*.k0"],"up_to_seq":23}`
	same("memory", beyond)
	require.Equal(t, []string{`{"status":"404 No Results"}`}, all(t, theirs, "file", beyond), "of a stream in a file; of one in memory there are some")
	require.Len(t, all(t, ours, "file", beyond), 2)
}

// anyGet has any of the fields, with any values that mean something.
func anyGet(chance *rand.Rand) string {
	of := func(list ...string) string { return list[chance.IntN(len(list))] }
	sequence := func() string { return fmt.Sprint(chance.IntN(23)) }
	at := func() string { return `"{t` + of("10", "11", "13", "14", "15", "18", "19", "20", "22") + `}"` }
	subject := func() string {
		return `"` + of(">", "$KV.*.>", "$KV.*.*", "$KV.*.k0", "$KV.*.k1", "$KV.*.x.1", "$KV.*.x.*", "$KV.*.x.>", "$KV.*.*.1", "$KV.*.none", "$KV.file.k2", "$KV.memory.gone") + `"`
	}
	fields := []string{`"batch":` + of("1", "2", "3", "7", "30")}
	if chance.IntN(2) == 0 {
		fields = []string{`"multi_last":[` + subject() + `,` + subject() + `]`}
	}
	for name, value := range map[string]func() string{
		"seq": sequence, "up_to_seq": sequence, "start_time": at, "up_to_time": at, "next_by_subj": subject, "max_bytes": func() string { return of("1", "40", "300", "900") }, "no_hdr": func() string { return "true" },
	} {
		if chance.IntN(3) == 0 {
			fields = append(fields, `"`+name+`":`+value())
		}
	}
	return "{" + strings.Join(fields, ",") + "}"
}

// C1, C3: what is answered with many messages is of one moment, and that moment is not before the request, whoever leads by then.
func TestGetsOfManyMessagesAreLinearizable(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	js := client(t, c.Connect(), "raftbus")
	_, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "app"})
	require.NoError(t, err)
	writing, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	var written atomic.Int64
	t.Cleanup(func() { stop(); writer.Wait() })
	writer.Go(func() {
		for n := 1; writing.Err() == nil; n++ { // first is never behind second, nor more than one before it
			for _, key := range []string{"first", "second"} {
				put := func() error {
					_, err := js.Publish(writing, "$KV.app."+key, []byte(strconv.Itoa(n)), jetstream.WithMsgID(key+strconv.Itoa(n)))
					return err
				}
				for put() != nil && writing.Err() == nil {
				}
			}
			if writing.Err() == nil {
				written.Store(int64(n))
			}
		}
	})
	require.Eventually(t, func() bool { return written.Load() > 0 }, 15*time.Second, time.Millisecond)
	nc := c.Connect()
	for moves := range 4 {
		if moves > 0 {
			c.Transfer("")
		}
		for read := 0; read < 100; {
			before := written.Load()
			values, whole := valuesOf(t, nc, []string{`{"multi_last":["$KV.app.first","$KV.app.>"]}`, `{"batch":10,"seq":1}`}[read%2])
			if !whole { // who led has gone
				continue
			}
			read++
			first, second := values["first"], values["second"]
			require.GreaterOrEqual(t, second, before, "what was acknowledged before")
			require.Contains(t, []int64{second, second + 1}, first, "of one moment")
		}
	}
}

// valuesOf are the numbers that the keys of a bucket are at, if the answer came to its end.
func valuesOf(t *testing.T, nc *nats.Conn, body string) (values map[string]int64, whole bool) {
	sub, err := nc.SubscribeSync(nc.NewRespInbox())
	require.NoError(t, err)
	defer func() { require.NoError(t, sub.Unsubscribe()) }()
	require.NoError(t, nc.PublishRequest(apiPrefix+"DIRECT.GET.KV_app", sub.Subject, []byte(body)))
	values = map[string]int64{}
	for {
		m, err := sub.NextMsg(time.Second)
		if err != nil || m.Header.Get("Status") != "" {
			return values, err == nil && m.Header.Get("Status") == "204"
		}
		_, key, _ := strings.Cut(m.Header.Get("Nats-Subject"), "$KV.app.")
		values[key], err = strconv.ParseInt(string(m.Data), 10, 64)
		require.NoError(t, err)
	}
}
