package kv

import (
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/rpc"
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
	require.Zero(t, r.service.republishing.bytes.Load(), "what was sent takes no room any more")
	r.service.Close()
	require.Equal(t, 1, strings.Count(log.String(), "would be orders"))
}

// What finds no room leaves none taken: once the bus has taken what waits, entries are published again as before. Nor does it fill the log.
func TestWhatIsNotPublishedAgainTakesNoRoom(t *testing.T) {
	var log strings.Builder
	s := &Service{
		prefix: "raftbus", protocol: &jetstream.Protocol{}, logger: slog.New(slog.NewTextHandler(&log, nil)),
		republishing: republishing{waiting: make(chan *nats.Msg, 1), known: map[string]republication{}},
	}
	again := &command.Republish{Source: ">", Destination: "again.>"}
	entry := store.Event{Kind: store.Stored, Bucket: "app", Republish: again, Entry: store.Entry{Key: "k", Sequence: 1, Value: []byte("v")}}
	for range 101 {
		s.republish(&entry)
	}
	require.EqualValues(t, 100, s.republishing.drops.Load())
	require.Equal(t, 7, strings.Count(log.String(), "takes them too slowly"), "the first, and whenever they are twice as many")
	require.EqualValues(t, (<-s.republishing.waiting).Size(), s.republishing.bytes.Load())
}

// Where an entry is published again follows from the log, and not from what this leader has looked up: one that was elected just now, and has
// listed no bucket, publishes what it applies, and each where its bucket said at that place.
func TestWhatIsAppliedBeforeTheBucketsAreListedIsPublishedAgain(t *testing.T) {
	r := newRig(t, nil)
	r.service.Withhold(true)
	r.node.lead(true)
	sub, err := r.client.SubscribeSync("again.>")
	require.NoError(t, err)
	require.NoError(t, r.client.Flush())
	to := func(destination string) command.Settings {
		return command.Settings{History: 1, Republish: &command.Republish{Source: ">", Destination: "again." + destination + ".>"}}
	}
	write := command.Command{Write: &command.Write{Bucket: "app", Key: "k", Value: []byte("v")}}
	for _, c := range []command.Command{
		{AddBucket: &command.AddBucket{Name: "app", Settings: to("one")}}, write, write,
		{UpdateBucket: &command.UpdateBucket{Name: "app", Settings: to("two")}}, write,
		{RemoveBucket: &command.RemoveBucket{Name: "app"}},
	} {
		require.NoError(t, r.node.Propose(c.Encode(), func(any, rpc.EntryID) {}))
	}
	for _, want := range []string{"again.one.$KV.app.k", "again.one.$KV.app.k", "again.two.$KV.app.k"} {
		m, err := sub.NextMsg(5 * time.Second)
		require.NoError(t, err)
		require.Equal(t, want, m.Subject)
	}
}

// What waits to be published again is bounded in bytes too: a bus that takes nothing does not fill the leader's memory.
func TestWhatIsPublishedAgainIsBoundedInBytes(t *testing.T) {
	s := &Service{
		prefix: "raftbus", protocol: &jetstream.Protocol{}, logger: slog.New(slog.DiscardHandler),
		republishing: newRepublishing(),
	}
	again := &command.Republish{Source: ">", Destination: "again.>"}
	entry := store.Event{Kind: store.Stored, Bucket: "app", Republish: again, Entry: store.Entry{Key: "k", Sequence: 1, Value: make([]byte, 1<<20)}}
	for range 2 * republishBytesMax >> 20 {
		s.republish(&entry)
	}
	require.LessOrEqual(t, s.republishing.bytes.Load(), int64(republishBytesMax))
	require.Len(t, s.republishing.waiting, republishBytesMax>>20-1, "each is a little more than its value")
	require.EqualValues(t, republishBytesMax>>20+1, s.republishing.drops.Load())
}

// Nor are small ones kept without a bound, nor what was looked up of however many buckets (Q12).
func TestWhatIsPublishedAgainIsBoundedInNumber(t *testing.T) {
	s := &Service{prefix: "raftbus", protocol: &jetstream.Protocol{}, logger: slog.New(slog.DiscardHandler), republishing: newRepublishing()}
	again := &command.Republish{Source: ">", Destination: "again.>"}
	for i := range republishMax + 10 {
		s.republish(&store.Event{Kind: store.Stored, Bucket: "b" + strconv.Itoa(i), Republish: again, Entry: store.Entry{Key: "k", Sequence: 1}})
		require.LessOrEqual(t, len(s.republishing.known), republicationsMax)
	}
	long := &command.Republish{Source: strings.Repeat("a.", jetstream.SourceMax/2) + ">", Destination: "again.>"} // as earlier releases took it
	clear(s.republishing.known)
	s.republish(&store.Event{Kind: store.Stored, Bucket: "b", Republish: long, Entry: store.Entry{Key: "k", Sequence: 1}})
	require.Empty(t, s.republishing.known)
	require.Len(t, s.republishing.waiting, republishMax)
	require.EqualValues(t, 10, s.republishing.drops.Load())
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

// thinLink is a dialler of ways that carry 4 MiB in a second to NATS.
type thinLink struct{}

func (thinLink) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	return thinConn{c}, err
}

type thinConn struct{ net.Conn }

func (c thinConn) Write(b []byte) (int, error) {
	time.Sleep(time.Duration(len(b)) * time.Second / (4 << 20)) // the way's, of which the other end knows nothing
	return c.Conn.Write(b)
}

// Where more is published again than the leader's way to NATS carries, requests are answered all the same, and a planned move is made: neither waits
// behind all of that (L9, L2, F26).
func TestWhatIsPublishedAgainHoldsUpNobody(t *testing.T) {
	t.Parallel() // it mostly waits
	r := newRig(t, func(o *Options) {
		laned(t, nats.SetCustomDialer(thinLink{}))(o)
		o.flushWait = 5 * time.Second
	})
	r.lead()
	r.ask("bucket.add.app", "")
	again := &command.Republish{Source: ">", Destination: "again.>"}
	entry := store.Event{Kind: store.Stored, Bucket: "big", Republish: again, Entry: store.Entry{Key: "k", Sequence: 1, Value: make([]byte, 1<<19)}}
	for range republishBytesMax>>19 - 1 { // for eight seconds
		r.service.republish(&entry)
	}
	require.Zero(t, r.service.republishing.drops.Load())
	r.ask("kv.put.app.k", "v")
	require.NoError(t, r.service.Drain(t.Context()))
	require.NotEmpty(t, r.service.republishing.waiting, "it was answered at the end of all that")
}
