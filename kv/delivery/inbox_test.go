package delivery

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
)

// What waits is counted with all its bytes, and keeps nothing of the messages that it came in, which may be far larger (Q12).
func TestTheInboxKeepsWhatItCounts(t *testing.T) {
	b := newInbox()
	b.take()
	mine := func(*store.Consumer) bool { return true }
	const entry, config = "headvalue", `{"deliver_subject":"x"}`
	message := []byte(entry + config)
	b.applied(store.Batch{At: 1, Events: []store.Event{
		{Kind: store.Stored, Entry: store.Entry{Key: "k", Header: message[:4], Value: message[4:9]}},
		{Kind: store.ConsumerAdded, Consumer: &store.Consumer{Bucket: "app", Name: "c", Config: message[9:]}},
	}}, mine)
	require.Equal(t, 2*eventBytes+len("k"+entry+config), b.bytes)
	clear(message)
	changes := Changes(b.take().items[0].batch, slog.New(slog.DiscardHandler))
	stored, placed := changes[0].(watch.Stored), changes[1].(watch.Placed)
	require.Equal(t, entry, string(stored.Entry.Header)+string(stored.Entry.Value))
	require.Equal(t, config, string(placed.Record.Echo.(jetstream.ConsumerEcho).Config), "the record stays as long as it is served")

	large := store.Batch{At: 1, Events: []store.Event{{Kind: store.ConsumerMoved, Consumer: &store.Consumer{Config: make([]byte, 64<<10)}}}}
	for range 2_000 {
		large.At++
		b.applied(large, mine)
		require.LessOrEqual(t, b.bytes, appliedBytesMax)
	}
	require.True(t, b.take().stale)
}

// Who was away may have lost what was sent, however soon it was back (W2).
func TestWhoWasAwayIsHeardOf(t *testing.T) {
	b := newInbox()
	hear := func(listened ...bool) {
		for _, l := range listened {
			b.hear(watch.Interest{Subject: "s", Listened: l})
		}
	}
	hear(false, true)
	away := b.take()
	require.Equal(t, []watch.Event{watch.Interest{Subject: "s", Listened: true, Away: true}}, told(away.items))
	b.again(away)
	hear(true)
	require.Equal(t, []watch.Event{watch.Interest{Subject: "s", Listened: true, Away: true}}, told(b.take().items))
	hear(true, false, true, false)
	require.Equal(t, []watch.Event{watch.Interest{Subject: "s"}}, told(b.take().items))
}

// Who waits for an index is woken once that is applied, also by what nobody wants.
func TestWhatIsAppliedWakesWhoWaitsForIt(t *testing.T) {
	for _, waits := range []bool{false, true} {
		b := newInbox()
		at := b.take().at
		require.True(t, b.want(nil, waits, at))
		b.applied(store.Batch{At: at + 1}, nil)
		require.Equal(t, waits, len(b.bell) == 1)
	}
}
