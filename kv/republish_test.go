package kv

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
)

// What would be an order to nodes or to NATS is not published again: a bucket that says so is refused as far as that can be told from its
// settings, and what only an entry shows is counted, and said once (Q1).
func TestNoEntryIsPublishedAgainAsAnOrder(t *testing.T) {
	var log strings.Builder
	r := newRig(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	r.lead()
	config := func(republish string) string {
		return `{"name":"KV_app","subjects":["$KV.app.>"],"max_msgs_per_subject":1,"discard":"new","republish":` + republish + `}`
	}
	for _, to := range []string{"raftbus.>", "raftbus.$1.>", "$SYS.>", "$SRV.>", strings.Repeat("a", 1023) + ".>"} {
		bad := config(`{"src":"$KV.*.>","dest":"` + to + `"}`)
		requireJSError(t, 10052, r.js(api+"STREAM.CREATE.KV_app", bad))
		r.expectError(BadRequest, "bucket.import_begin.app", bad)
	}
	require.Contains(t, string(r.js(api+"STREAM.CREATE.KV_app", config(`{"src":"$KV.app.*","dest":"$1.order"}`)).Data), `"did_create":true`)
	requireJSError(t, 10052, r.js(api+"STREAM.UPDATE.KV_app", config(`{"src":"$KV.app.*","dest":"raftbus.$1"}`)))
	sub, err := r.client.SubscribeSync("*.order")
	require.NoError(t, err)
	for _, key := range []string{"raftbus", "raftbus", "mine"} {
		r.ask("kv.put.app."+key, "v")
	}
	m, err := sub.NextMsg(5 * time.Second)
	require.NoError(t, err)
	require.Equal(t, "mine.order", m.Subject, "nothing came before it")
	require.EqualValues(t, 2, r.service.Figures().Unrepublished)
	require.Zero(t, r.service.republishing.Load(), "what was sent takes no room any more")
	r.service.Close()
	require.Equal(t, 1, strings.Count(log.String(), "would be orders"))
}

// What finds no room leaves none taken: once the bus has taken what waits, entries are published again as before.
func TestWhatIsNotPublishedAgainTakesNoRoom(t *testing.T) {
	to := jetstream.NewRepublication("app", command.Settings{Republish: &command.Republish{Source: ">", Destination: "again.>"}})
	s := &Service{
		prefix: "raftbus", protocol: &jetstream.Protocol{}, logger: slog.New(slog.DiscardHandler), republished: make(chan *nats.Msg, 1),
		buckets: buckets{known: map[string]*jetstream.Republication{"app": to}},
	}
	entry := store.Event{Kind: store.Stored, Bucket: "app", Entry: store.Entry{Key: "k", Sequence: 1, Value: []byte("v")}}
	for range 3 {
		s.republish(&entry)
	}
	require.EqualValues(t, 2, s.republishDrops.Load())
	require.EqualValues(t, (<-s.republished).Size(), s.republishing.Load())
}

// F11: NATS ends the connection of who sends a line that is too long, and a leader would answer nobody any more.
func TestNothingIsPublishedAgainOnASubjectThatIsTooLong(t *testing.T) {
	var log strings.Builder
	r := newRig(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	r.lead()
	repeated := "again" + strings.Repeat(".$1", 8)
	config := `{"name":"KV_app","subjects":["$KV.app.>"],"max_msgs_per_subject":1,"discard":"new","republish":{"src":"$KV.app.*","dest":"` + repeated + `"}}`
	require.Contains(t, string(r.js(api+"STREAM.CREATE.KV_app", config).Data), `"did_create":true`)
	sub, err := r.client.SubscribeSync("again.>")
	require.NoError(t, err)
	r.ask("kv.put.app."+strings.Repeat("k", KeyMax), "v")
	r.ask("kv.put.app.mine", "v")
	m, err := sub.NextMsg(5 * time.Second)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(m.Subject, "again.mine.mine"), "nothing came before it")
	require.EqualValues(t, 1, r.service.Figures().Unrepublished)
	r.service.Close()
	require.Equal(t, 1, strings.Count(log.String(), "longer than NATS takes"))
}
