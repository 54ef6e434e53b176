package jetstream

// Gets of many messages. That they are those of JetStream is shown beside one, in test/kvclients; here, what they say, and their bounds.

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
)

const directGetOfA = "DIRECT.GET.KV_a"

func Test51_Batches(t *testing.T) {
	w := newWorld(t)
	w.bucket("a", `"max_msgs_per_subject":5`)
	w.ask("$KV.a.x", "1")
	w.ask("$KV.a.y", "2", "A", "b")
	w.ask("$KV.a.x", "3")
	w.ask("$KV.a.z", "4")
	plain := Reply{Block: []byte("NATS/1.0\r\nNats-Sequence: 1\r\nNats-Stream: KV_a\r\nNats-Subject: $KV.a.x\r\nNats-Time-Stamp: 1970-01-12T13:46:42Z\r\nNats-Num-Pending: 3\r\nNats-Last-Sequence: 0\r\n\r\n"), Data: []byte("1")}
	own := Reply{Header: map[string][]string{
		"A": {"b"}, headerStream: {"KV_a"}, headerSubject: {"$KV.a.y"}, headerSequence: {"2"}, headerTimeStamp: {"1970-01-12T13:46:43Z"}, headerPending: {"2"}, headerLastSequence: {"1"},
	}, Data: []byte("2")}
	require.Equal(t, []Reply{plain, own, {Status: "204 EOB\r\nNats-Num-Pending: 2\r\nNats-Last-Sequence: 2"}}, w.send(directGetOfA, `{"batch":2,"seq":1}`))
	require.Equal(t, []Reply{{Data: []byte("1")}, {Status: "204 EOB\r\nNats-Num-Pending: 4\r\nNats-Last-Sequence: 1"}}, w.send(directGetOfA, `{"batch":1,"seq":1,"no_hdr":true}`))
	lasts := w.send(directGetOfA, `{"multi_last":["$KV.a.x","$KV.*.y"],"up_to_seq":3}`)
	require.Len(t, lasts, 3)
	require.Equal(t, []string{"1"}, lasts[0].Header[headerPending])
	require.Equal(t, Reply{Status: "204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 3\r\nNats-UpTo-Sequence: 3"}, lasts[2])
	require.Len(t, w.send(directGetOfA, `{"multi_last":["$KV.a.x"],"up_to_seq":9}`), 2, "beyond the end")
	for body, want := range map[string]string{
		`{"batch":1,"seq":5}`: "404 Message Not Found", `{"batch":2,"next_by_subj":"a..b"}`: "404 Message Not Found", `{"multi_last":["$KV.b.>"]}`: "404 No Results", `{"multi_last":["a..b"]}`: "404 No Results",
		`{"multi_last":["$KV.a.x"],"up_to_time":"1970-01-12T13:46:42Z"}`: "404 No Results",
	} {
		w.status(want, directGetOfA, body)
	}
	for _, body := range []string{`{"batch":1,"seq":1}`, `{"multi_last":[">"]}`} {
		w.status("503", "DIRECT.GET.KV_none", body)
	}
}

// By time a message is found in the same ways, by both forms.
func Test51_GetsByTime(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	for _, key := range []string{"x", "x", "y", "x"} { // 2 and 1 are gone
		w.ask("$KV.a."+key, key)
	}
	for body, want := range map[string]string{
		`{"start_time":"1970-01-12T13:46:42Z"}`: "y", `{"start_time":"1970-01-12T13:46:44Z"}`: "y", `{"start_time":"1970-01-12T13:46:44.1Z"}`: "x",
		`{"start_time":"1970-01-12T13:46:44Z","next_by_subj":"$KV.a.x"}`: "x", `{"start_time":"1970-01-12T13:46:44Z","next_by_subj":"$KV.*.x"}`: "x",
	} {
		require.Equal(t, want, string(w.ask(directGetOfA, body).Data), body)
		require.Contains(t, string(w.ask("STREAM.MSG.GET.KV_a", body).Data), `"subject":"$KV.a.`+want+`"`, body)
	}
	for _, body := range []string{`{"start_time":"1970-01-12T13:46:46Z"}`, `{"start_time":"1970-01-12T13:46:45Z","next_by_subj":"$KV.a.y"}`, `{"start_time":"1970-01-12T13:46:42Z","next_by_subj":"a..b"}`} {
		w.status("404 Message Not Found", directGetOfA, body)
		w.refused(errNoMessage, "STREAM.MSG.GET.KV_a", body)
	}
}

// fill puts as many keys at once, by a number, each with a value of so many bytes.
func (w *world) fill(bucket string, keys, bytes int) {
	entries := make([]rpc.Entry, keys)
	for i := range entries {
		w.index++
		c := command.Command{Write: &command.Write{Bucket: bucket, Key: fmt.Sprint(i), Value: make([]byte, bytes)}}
		entries[i] = rpc.Entry{Index: w.index, Term: 1, Kind: rpc.EntryCommand, Time: w.now.UnixNano(), Data: c.Encode()}
	}
	_, err := w.store.Apply(entries)
	require.NoError(w, err)
}

// pages are how many messages of an answer are sent together, and its end.
func (w *world) pages(body string) (pages [][]Reply, end Reply) {
	w.Helper()
	plan := w.Plan(Request{Subject: directGetOfA, Data: []byte(body), Reply: "r", PayloadMax: payloadMax})
	require.NotNil(w, plan.Stream)
	last := plan.Stream(w.store, always, func(page []Reply) bool {
		pages = append(pages, page)
		return true
	})
	require.Len(w, last.Replies, 1)
	return pages, last.Replies[0]
}

// Whatever is asked for, an answer has so many messages and bytes at most, and says what is left; of it no more than a page is in memory (Q12).
func Test51_HowMuchABatchIs(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	const over = 10
	w.fill("a", batchMessagesMax+over, 0)
	pages, end := w.pages(`{"batch":1000000000,"seq":1}`)
	sent := 0
	for _, page := range pages {
		require.LessOrEqual(t, len(page), batchPage)
		sent += len(page)
	}
	require.Equal(t, batchMessagesMax, sent)
	require.Equal(t, fmt.Sprintf("204 EOB\r\nNats-Num-Pending: %d\r\nNats-Last-Sequence: %d", over, batchMessagesMax), end.Status)

	w = newWorld(t)
	w.bucket("a")
	const size = 300 << 10
	w.fill("a", 2*batchBytesMax/size, size)
	for _, body := range []string{`{"batch":1000000000,"seq":1}`, `{"multi_last":[">"]}`, `{"multi_last":[">"],"max_bytes":1000000000}`} {
		pages, end := w.pages(body)
		bytes := 0
		for _, page := range pages {
			require.LessOrEqual(t, len(page), batchPageBytes/size)
			bytes += size * len(page)
		}
		require.InDelta(t, batchBytesMax, bytes, size)
		require.Contains(t, end.Status, fmt.Sprintf("Nats-Num-Pending: %d\r\n", 2*batchBytesMax/size-bytes/size))
	}
}

// Who does not take a page is read no more.
func Test51_ABatchThatNobodyTakesEnds(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	w.fill("a", lastsMax, 10<<10)
	for _, body := range []string{`{"batch":10000,"seq":1}`, `{"multi_last":[">"]}`} {
		plan := w.Plan(Request{Subject: directGetOfA, Data: []byte(body), PayloadMax: payloadMax})
		sent := 0
		plan.Stream(w.store, always, func([]Reply) bool { sent++; return sent < 2 })
		require.Equal(t, 2, sent, body)
		sent = 0
		looks := 0
		plan.Stream(w.store, func() bool { looks++; return false }, func([]Reply) bool { sent++; return true })
		require.Equal(t, 1, looks, "once it is wanted no more it ends")
		require.Less(t, sent, 2)
	}
}

// What patterns cost, each key or each message, is bounded as it is for consumers (Q12).
func Test51_PatternsOfABatch(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	w.fill("a", lastsMax+1, 0)
	lasts := func(patterns int, pattern string) string {
		list := make([]string, patterns)
		for i := range list {
			list[i] = fmt.Sprintf(pattern, i)
		}
		body, err := json.Marshal(map[string]any{"multi_last": list})
		require.NoError(t, err)
		return string(body)
	}
	w.status("404 No Results", directGetOfA, lasts(consumerFiltersMax, "$KV.b.%d"))
	w.status("408 Bad Request", directGetOfA, lasts(consumerFiltersMax+1, "$KV.b.%d"))
	w.status("404 No Results", directGetOfA, lasts(consumerWildMax, "$KV.a.%d.*"))
	w.status("408 Bad Request", directGetOfA, lasts(consumerWildMax+1, "$KV.a.%d.*"))
	require.Len(t, w.send(directGetOfA, lasts(lastsMax, "$KV.a.%d")), lastsMax+1)
	w.status("413 Too Many Results", directGetOfA, lasts(lastsMax+1, "$KV.a.%d"))
	w.status("413 Too Many Results", directGetOfA, `{"multi_last":["$KV.a.*"]}`)
}

// A message that could be put can be sent in a batch (F11).
func Test51_TheLargestMessageFitsWithWhatABatchSays(t *testing.T) {
	w := newWorld(t)
	bucket, key := strings.Repeat("b", 128), strings.Repeat("k", 768)
	w.bucket(bucket)
	headers := []string{"A", "b"}
	w.ask("$KV."+bucket+"."+key, strings.Repeat("v", payloadMax-PayloadReserve-len("NATS/1.0\r\nA: b\r\n\r\n")), headers...)
	for _, body := range []string{`{"batch":1,"seq":1}`, `{"multi_last":[">"]}`} {
		replies := w.send("DIRECT.GET.KV_"+bucket, body)
		require.Len(t, replies, 2)
		require.LessOrEqual(t, len(Block(replies[0].Header))+len(replies[0].Data), payloadMax)
	}
}
