package delivery

// The store's terms in the hub's.

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/subject"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// The hub hears from a page as of which entry of the log it is: what it is told of later may be in it already.
func TestAPageSaysAsOfWhenItIs(t *testing.T) {
	n := newSolo(t)
	n.bucket("app")
	for i := range 3 {
		n.put("app", fmt.Sprint(i), "v")
	}
	p, err := Page(n.store, &watch.Read{Bucket: "app", Incarnation: 1, From: 2, Count: true, EntriesMax: 1, BytesMax: 1_000}, nil)
	require.NoError(t, err)
	require.Equal(t, uint64(2), p.Entries[0].Sequence)
	p.Entries = nil
	require.Equal(t, watch.Page{From: 2, Next: 3, Count: 2, Last: 3, Applied: 4}, p)
}

// What a hub asks for is what the store is asked: a watch begins where it should, and sees what it is about.
func TestAPageIsOfWhatWasAskedFor(t *testing.T) { // W1, W3
	n := newSolo(t)
	n.do(command.Command{AddBucket: &command.AddBucket{Name: "app", Settings: command.Settings{History: 2}}})
	for _, key := range []string{"l", "k", "k", "k"} {
		n.put("app", key, "value") // of the seconds 2 to 5; the second one makes place for the last
	}
	for about, c := range map[string]struct {
		read watch.Read
		want []uint64
	}{
		"all":                         {watch.Read{}, []uint64{1, 3, 4}},
		"from a time on":              {watch.Read{From: 1, FromTime: int64(4 * time.Second)}, []uint64{3, 4}},
		"the newest":                  {watch.Read{Mode: watch.NewestOfKey}, []uint64{1, 4}},
		"the newest as of a sequence": {watch.Read{Mode: watch.NewestOfKey, AsOf: 3}, []uint64{1, 3, 4}},
		"the last":                    {watch.Read{Mode: watch.NewestOfAll}, []uint64{4}},
		"the last as of a sequence":   {watch.Read{Mode: watch.NewestOfAll, AsOf: 3}, []uint64{3, 4}},
		"some keys":                   {watch.Read{Filter: mustParse(t, "k")}, []uint64{3, 4}},
		"no values":                   {watch.Read{NoValues: true}, []uint64{1, 3, 4}},
	} {
		read := c.read
		read.Bucket, read.Incarnation, read.Count, read.EntriesMax, read.BytesMax = "app", 1, true, 10, 1_000
		p, err := Page(n.store, &read, nil)
		require.NoError(t, err)
		var got []uint64
		for _, e := range p.Entries {
			got = append(got, e.Sequence)
			require.Equal(t, read.NoValues, len(e.Value) == 0, about)
			require.Equal(t, len("value"), e.Size, about)
		}
		require.Equal(t, c.want, got, about)
		require.EqualValues(t, len(c.want), p.Count, about)
	}
}

func mustParse(t *testing.T, patterns ...string) subject.Filter {
	filter, err := subject.Parse(patterns...)
	require.NoError(t, err)
	return filter
}

// The hub and the store each say which entries count, and one is made the other by its number.
func TestTheHubsModesAreTheStores(t *testing.T) {
	require.EqualValues(t, store.Every, watch.Every)
	require.EqualValues(t, store.NewestOfKey, watch.NewestOfKey)
	require.EqualValues(t, store.NewestOfAll, watch.NewestOfAll)
}

// A page that cannot be read says so: what is in it is not all that there is.
func TestAPageThatCannotBeReadSaysSo(t *testing.T) { // W2
	n := newSolo(t)
	n.bucket("app")
	for _, read := range []watch.Read{{Bucket: "none", Incarnation: 1}, {Bucket: "app", Incarnation: 9}} {
		p, err := Page(n.store, &read, nil)
		require.ErrorIs(t, err, store.NoBucket)
		require.Equal(t, watch.Page{Failed: true}, p)
	}
}

// The hub hears of all that concerns watchers, as it was, and in order. A consumer whose configuration cannot be read is left out.
func TestChangesAreWhatABatchHasChanged(t *testing.T) { // W1, W2
	consumer := &store.Consumer{Incarnation: 5, Name: "c", Bucket: "app", Config: []byte(`{"deliver_policy":"new"}`), Generation: 1, Added: 7}
	list := Changes(&store.Batch{Events: []store.Event{
		{Kind: store.BucketAdded, Incarnation: 5},
		{Kind: store.Removed, Incarnation: 5, Entry: store.Entry{Key: "k", Sequence: 2}, Next: 4},
		{Kind: store.Stored, Incarnation: 5, Entry: store.Entry{Key: "k", Sequence: 4, Time: 6, Value: []byte("value"), Revision: 8}},
		{Kind: store.BucketPurged, Incarnation: 5},
		{Kind: store.ConsumerAdded, Incarnation: 5, Consumer: &store.Consumer{Name: "bad", Config: []byte("{")}},
		{Kind: store.ConsumerAdded, Incarnation: 5, Consumer: consumer},
		{Kind: store.ConsumerRemoved, Incarnation: 5, Consumer: consumer},
		{Kind: store.BucketRemoved, Incarnation: 5},
	}}, slog.New(slog.DiscardHandler))
	require.Len(t, list, 6)
	require.EqualValues(t, 7, list[3].(watch.Placed).Record.Created)
	list[3] = nil
	require.Equal(t, []watch.Change{
		watch.Dropped{Incarnation: 5, Key: "k", Sequence: 2, NextOfThisKey: 4},
		watch.Stored{Incarnation: 5, Entry: watch.Entry{Key: "k", Sequence: 4, Time: 6, Value: []byte("value"), Size: 5, Operation: "put", Revision: 8}},
		watch.Purged{Incarnation: 5},
		nil,
		watch.Removed{Ref: watch.Ref{Incarnation: 5, Name: "c"}},
		watch.BucketGone{Incarnation: 5},
	}, list)
}

// Each account of a node has a service, and none holds another's consumers: of twenty accounts each would hold them all.
func TestTheConsumersOfAnAccountAreLoaded(t *testing.T) { // Q12
	n := newSolo(t)
	n.bucket("app")
	for _, name := range []string{"c", watch.In("a", "c"), watch.In("b", "c"), watch.In("b", "d")} {
		n.consumer("app", name)
	}
	for node, want := range map[string][]string{"n1": {"c"}, "n1@a": {"c@a"}, "n1@b": {"c@b", "d@b"}, "n1@c": nil} {
		reset, err := Load(n.store, node, 7, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		require.EqualValues(t, n.store.Applied().Index, reset.Index)
		var got []string
		for _, r := range reset.Records {
			got = append(got, r.Name)
		}
		require.Equal(t, want, got, node)
	}
}

// Of what those consumers ask for that others serve, or another life of this node, a node that starts keeps how much it is, and no more: all nodes would
// hold all of it.
func TestWhatOthersServeIsLoadedWithoutWhatItAsksFor(t *testing.T) { // Q12
	n := newSolo(t)
	n.bucket("app")
	n.consumerOf("app", "c", `{"deliver_policy":"all","idle_heartbeat":1000000000,"filter_subjects":["$KV.app.*.1","$KV.app.*.2","$KV.app.*.3","$KV.app.*.4","$KV.app.*.5"]}`)
	load := func(node string, boot rpc.BootEpoch) watch.Record {
		reset, err := Load(n.store, node, boot, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		require.Len(t, reset.Records, 1)
		return reset.Records[0]
	}
	mine := load("n1", 7)
	require.True(t, mine.Config.Heartbeat > 0 && mine.Echo != nil && mine.Deliver != "" && mine.Answer != "")
	c, err := n.store.Consumer("app", "c")
	require.NoError(t, err)
	bare := watch.Record{
		Ref: watch.Ref{Incarnation: c.Incarnation, Name: "c"}, Bucket: "app", Echoed: len(c.Config), Weight: len(c.Config) + 4<<10, Created: uint64(c.Added), Changed: uint64(c.Changed), Host: "n1", Boot: 7,
	}
	require.Equal(t, bare, load("n2", 7))
	require.Equal(t, bare, load("n1", 8))
}

// A consumer that this release cannot read is not placed when it is moved: it is not loaded either, or a leader would move it again each second (F28).
func TestAConsumerThatCannotBeReadIsNotLoaded(t *testing.T) {
	n := newSolo(t)
	n.bucket("app")
	n.consumerOf("app", "c", `{"deliver_policy":1}`)
	for _, node := range []string{"n1", "n2"} {
		reset, err := Load(n.store, node, 7, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		require.Empty(t, reset.Records, node)
	}
}

// Who makes a consumer, or changes it, still waits for the answer where its host was lost before it answered, and the consumer was moved meanwhile.
func TestAConsumerThatIsMovedBeforeItIsAnsweredIsAnswered(t *testing.T) {
	for after, want := range map[time.Duration]string{0: "answer.c", 10*time.Second - 1: "answer.c", 10 * time.Second: ""} { // no client waits longer
		moved := &store.Consumer{
			Bucket: "app", Name: "c", Config: []byte(`{"deliver_policy":"all"}`), Deliver: "deliver.c", Generation: 2, Created: 5, MovedAt: 5 + int64(after), Answer: "answer.c",
		}
		for range 2 {
			r, ok := record(moved, slog.New(slog.DiscardHandler))
			require.True(t, ok)
			require.Equal(t, want, r.Answer, after)
			moved.ChangedAt, moved.MovedAt = moved.Created+int64(time.Hour), moved.MovedAt+int64(time.Hour)
		}
	}
}
