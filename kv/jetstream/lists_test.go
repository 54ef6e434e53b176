package jetstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// A page that has no room for all that it might hold says how many it holds: nats.java goes on after as many as the limit says, and
// would pass over the rest.
func TestPagesThatAreCutSaySo(t *testing.T) {
	w := newWorld(t)
	var streams, consumers []string
	for i := range 100 {
		bucket, large := fmt.Sprintf("b%03d", i), strings.Repeat("m", 16<<10-1)
		w.bucket(bucket, `"metadata":{"x":"`+large+`"}`)
		streams = append(streams, "KV_"+bucket)
	}
	w.host = func(watch.Wanted) (rpc.NodeID, rpc.BootEpoch, error) { return "n2", 7, nil }
	for i := range 100 {
		name, large := fmt.Sprintf("c%03d", i), strings.Repeat("m", 32<<10)
		w.send("CONSUMER.CREATE.KV_b000."+name, consumerBody("KV_b000", `"name":"`+name+`","metadata":{"m":"`+large+`"}`))
		consumers = append(consumers, name)
	}
	list := func(subject string) (names []string, pages int) {
		for total := 1; len(names) < total; pages++ {
			var page struct {
				Total, Limit int
				Streams      []struct{ Config struct{ Name string } }
				Consumers    []struct{ Name string }
			}
			require.NoError(w, json.Unmarshal(w.ask(subject, fmt.Sprintf(`{"offset":%d}`, len(names))).Data, &page))
			total = page.Total
			for _, s := range page.Streams {
				names = append(names, s.Config.Name)
			}
			for _, c := range page.Consumers {
				names = append(names, c.Name)
			}
			if got := len(page.Streams) + len(page.Consumers); len(names) < total {
				require.Equal(w, got, page.Limit, subject)
			}
		}
		return names, pages
	}
	for subject, want := range map[string][]string{"STREAM.LIST": streams, "CONSUMER.LIST.KV_b000": consumers} {
		got, pages := list(subject)
		require.True(t, slices.Equal(want, got), "%s: %v", subject, got)
		require.Greater(t, pages, 1, subject)
	}
}

// Pages of subjects are as long as the first one says, whatever each holds: nats.js asks for the others at multiples of its limit, and ends with one that
// has fewer, without an error.
func TestPagesOfSubjectsAreOfOneLength(t *testing.T) {
	const keys, payload = 300, replyReserve + 20_000
	w := newWorld(t)
	w.bucket("b")
	page := func(offset int) (p infoReply) {
		body := fmt.Appendf(nil, `{"subjects_filter":">","offset":%d}`, offset)
		reply := w.carryOut(w.Plan(Request{Subject: "STREAM.INFO.KV_b", Data: body, PayloadMax: payload, Now: w.now.Add(time.Duration(offset))}))[0]
		require.LessOrEqual(t, len(reply.Data), payload)
		require.NoError(t, json.Unmarshal(reply.Data, &p))
		require.Equal(t, keys, p.Total)
		return p
	}
	for i := range keys {
		w.ask(fmt.Sprintf("$KV.b.k%03d%s", i, strings.Repeat("<", i/4)), "v")
	}
	told, limit := map[string]bool{}, 0
	for i := 0; ; i++ {
		p := page(i * limit)
		if i == 0 {
			limit = p.Limit
		}
		for subject := range p.State.Subjects {
			told[subject] = true
		}
		if len(p.State.Subjects) < limit {
			break
		}
		w.ask("$KV.b.k000", strings.Repeat("v", 1<<10)) // the state gets longer meanwhile
	}
	require.Equal(t, keys, len(told))
}

// Subjects that fit are told in one page, though so many that are as long as the longest would not.
func TestSubjectsThatFitAreOnePage(t *testing.T) {
	const keys = 100
	w := newWorld(t)
	w.bucket("b")
	w.ask("$KV.b."+strings.Repeat("<", 700), "v")
	for i := range keys - 1 {
		w.ask(fmt.Sprintf("$KV.b.k%d", i), "v")
	}
	reply := w.carryOut(w.Plan(Request{Subject: "STREAM.INFO.KV_b", Data: []byte(`{"subjects_filter":">"}`), PayloadMax: replyReserve + 20_000}))[0]
	var page infoReply
	require.NoError(t, json.Unmarshal(reply.Data, &page))
	require.Equal(t, [3]int{keys, keys, subjectsMax}, [3]int{page.Total, len(page.State.Subjects), page.Limit})
}

// The store tells a thousand names at a time: who asks is told of all, each once, and so many are counted.
func TestListsGoOnAfterWhatIsReadAtATime(t *testing.T) {
	w := newWorld(t)
	const many = 2*namesAt + 1
	var streams, consumers []string
	for i := range many {
		name := fmt.Sprintf("b%04d", i)
		w.apply(command.Command{AddBucket: &command.AddBucket{Name: name}}.Encode())
		streams = append(streams, "KV_"+name)
	}
	for i := range many {
		name := fmt.Sprintf("c%04d", i)
		w.apply((&command.Command{AddConsumer: &command.AddConsumer{Bucket: "b0000", Name: name, Config: []byte("{}")}}).Encode())
		consumers = append(consumers, name)
	}
	for subject, want := range map[string][]string{"STREAM.NAMES": streams, "CONSUMER.NAMES.KV_b0000": consumers} {
		var got []string
		for pages := 0; len(got) < many; pages++ {
			require.Less(t, pages, 3, subject)
			var page struct {
				Total              int
				Streams, Consumers []string
			}
			require.NoError(t, json.Unmarshal(w.ask(subject, fmt.Sprintf(`{"offset":%d}`, len(got))).Data, &page))
			require.Equal(t, many, page.Total, subject)
			require.LessOrEqual(t, len(page.Streams)+len(page.Consumers), namesMax, subject)
			got = append(append(got, page.Streams...), page.Consumers...)
		}
		require.True(t, slices.Equal(want, got), subject)
	}
	w.has(fmt.Sprintf(`{"streams":%d,"consumers":%[1]d}`, many), "INFO", "")
}

// A name that went since the names were read is passed over, and what cannot be read is told as that: neither a list of fewer that says it is whole, nor none.
func TestAListWhoseNamesGoMeanwhile(t *testing.T) {
	list := newListed(0, 10)
	for _, name := range []string{"a", "b", "c"} {
		list.take(name)
	}
	c, failed := call{Request: Request{PayloadMax: payloadMax}, verb: streamList}, errors.New("the disk fails")
	for _, err := range []error{store.NoBucket, store.NoConsumer, failed} {
		page, told, got := c.fill(nil, list, func(_ *store.Store, name string) (json.RawMessage, error) {
			if name == "b" {
				return nil, err
			}
			return json.RawMessage(name), nil
		})
		if err == failed {
			require.Equal(t, failed, got)
			require.Empty(t, told)
			continue
		}
		require.NoError(t, got)
		require.Equal(t, paged{3, 0, 10}, page)
		require.Equal(t, []json.RawMessage{json.RawMessage("a"), json.RawMessage("c")}, told)
	}
}

// What a list is asked for and cannot be read is refused: the first page would be taken for another.
func TestAListThatIsAskedForInAnotherWay(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	for _, list := range []string{"STREAM.NAMES", "STREAM.LIST", "CONSUMER.NAMES.KV_a", "CONSUMER.LIST.KV_a"} {
		for _, body := range []string{`{"offset":"1"}`, `{"offset":`, `{"beyond":1}`} {
			require.Contains(t, string(w.ask(list, body).Data), `"err_code":10025`, "%s %s", list, body)
		}
	}
	w.refused(errInvalidJSON.says(`invalid JSON: json: unknown field "subject"`), "CONSUMER.NAMES.KV_a", `{"subject":"$KV.a.>"}`)
}

// Q12: a subject of 250 KB took a reader five seconds, with 900 buckets.
func TestTheSubjectOfAListIsBounded(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	of := func(size int) string { return `{"subject":"$KV.a.` + strings.Repeat("k", size-len("$KV.a.")) + `"}` }
	w.has(`{"streams":["KV_a"]}`, "STREAM.NAMES", of(DeliverBytesMax))
	for _, list := range []string{"STREAM.NAMES", "STREAM.LIST"} {
		w.refused(errBadRequest.says("bad request: the subject has 1025 bytes, and may have 1024"), list, of(DeliverBytesMax+1))
	}
}

// Q12: who lists few names looks, and is not to wait for who searches. A list of many is a search, which ends when nobody wants it.
func TestListsOfManyNamesAreSearches(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	after := func(subject string) Plan {
		return w.Plan(Request{Subject: subject, PayloadMax: payloadMax}).Look(w.store)
	}
	lists := []string{"INFO", "STREAM.NAMES", "STREAM.LIST", "CONSUMER.NAMES.KV_a", "CONSUMER.LIST.KV_a"}
	add := func(from, to int) {
		for i := from; i < to; i++ {
			name := fmt.Sprintf("b%04d", i)
			w.apply(command.Command{AddBucket: &command.AddBucket{Name: name}}.Encode())
			w.apply((&command.Command{AddConsumer: &command.AddConsumer{Bucket: "a", Name: name, Config: []byte("{}")}}).Encode())
		}
	}
	add(0, namesAt-1)
	for _, subject := range lists {
		require.Len(t, after(subject).Replies, 1, subject)
	}
	add(namesAt-1, 2*namesAt+1)
	for _, subject := range lists {
		plan, asked := after(subject), 0
		require.NotNil(t, plan.Search, subject)
		plan.Search(w.store, func() bool {
			asked++
			return false
		})
		require.Equal(t, 1, asked, subject)
	}
}
