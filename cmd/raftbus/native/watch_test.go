package native

// Where a watch goes on after its host is gone, and that the events of a long one do not stop.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/kv"
)

// host serves watches of the bucket app: what it does at each request is said by the test.
type host struct {
	*testing.T
	*Client
	requests []string
}

// watching starts a host, which answers a request after it was told of it, and of where the events are to go.
func watching(t *testing.T, answer func(h *host, number int32, to string) *nats.Msg) *host {
	h := &host{T: t}
	h.Client, _ = begin(t, "raftbus.kv.watch.app", func(number int32, m *nats.Msg) *nats.Msg {
		var request struct{ Deliver string }
		require.NoError(t, json.Unmarshal(m.Data, &request))
		h.requests = append(h.requests, string(m.Data))
		return answer(h, number, request.Deliver)
	})
	return h
}

// mark sends what says how many events there were.
func (h *host) mark(to, watch string, sequence int, reply string) {
	header := nats.Header{"Rb-Watch": {watch}, "Rb-Sequence": {fmt.Sprint(sequence)}}
	require.NoError(h, h.conn.PublishMsg(&nats.Msg{Subject: to, Reply: reply, Header: header}))
}

// progress sends a mark that says how far they go.
func (h *host) progress(to, watch string, sequence, revision int) {
	header := nats.Header{"Rb-Watch": {watch}, "Rb-Sequence": {fmt.Sprint(sequence)}, "Rb-Progress": {fmt.Sprint(revision)}}
	require.NoError(h, h.conn.PublishMsg(&nats.Msg{Subject: to, Header: header}))
}

// event sends an event that is the last of what was there.
func (h *host) event(to, watch, key string, sequence, revision int) {
	require.NoError(h, h.conn.PublishMsg(&nats.Msg{Subject: to, Header: nats.Header{
		"Rb-Watch": {watch}, "Rb-Sequence": {fmt.Sprint(sequence)}, "Rb-Pending": {"0"},
		"Rb-Key": {key}, "Rb-Revision": {fmt.Sprint(revision)}, "Rb-Operation": {"put"},
	}}))
}

var errEnough = errors.New("enough")

func enough(Entry) error { return errEnough }

// A host stops after some megabytes that nobody says have arrived: it asks, and is answered.
func TestAWatchAnswersForFlow(t *testing.T) { // W2
	t.Parallel()
	h := watching(t, func(h *host, _ int32, to string) *nats.Msg {
		h.mark(to, "w", 0, "flow.1")
		h.event(to, "w", "k", 1, 1)
		return says(`{"watch":"w","pending":1}`)
	})
	flow, err := h.conn.SubscribeSync("flow.1")
	require.NoError(t, err)
	require.NoError(t, h.conn.Flush())
	require.NoError(t, h.Watch(t.Context(), Watch{Bucket: "app", First: "newest", Current: true, Event: func(Entry) error { return nil }}))
	_, err = flow.NextMsg(5 * time.Second)
	require.NoError(t, err)
}

// A watch is begun again when nothing at all has come for long, and not before: where there are no events, there are marks (W2).
func TestAWatchIsBegunAgainAfterASilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const marks = 10
		arrived := make(chan *nats.Msg)
		go func() {
			for range marks {
				time.Sleep(silence / 3)
				arrived <- &nats.Msg{Header: nats.Header{"Rb-Watch": {"w"}, "Rb-Sequence": {"0"}}}
			}
		}()
		began := time.Now()
		require.ErrorIs(t, (&Client{}).follow(t.Context(), &Watch{}, arrived, beginning{Watch: "w"}), errAgain)
		require.Equal(t, marks*(silence/3)+silence, time.Since(began))
	})
}

// What was to come may be gone before it is sent: a mark at what there was says that nothing is left. A host that waits for an answer may have something.
func TestAWatchOfWhatIsThereEndsWithAMark(t *testing.T) { // W4, L9
	t.Parallel()
	mark := func(sequence, progress, reply string) *nats.Msg {
		return &nats.Msg{Reply: reply, Header: nats.Header{"Rb-Sequence": {sequence}, "Rb-Progress": {progress}}}
	}
	for _, c := range []struct {
		m       *nats.Msg
		current bool
		whole   bool
	}{
		{mark("1", "5", ""), true, true},
		{mark("1", "9", ""), true, true},
		{mark("1", "9", ""), false, false},
		{mark("1", "4", ""), true, false},
		{mark("0", "9", ""), true, false},
		{mark("1", "9", "flow"), true, false},
		{mark("1", "", ""), true, false},
	} {
		whole, err := (&Watch{Current: c.current}).take(c.m, &beginning{Sequence: 1, Revision: 5, Pending: 1})
		require.NoError(t, err)
		require.Equal(t, c.whole, whole, "%+v", c)
	}
	h := watching(t, func(h *host, _ int32, to string) *nats.Msg {
		h.progress(to, "w", 0, 5)
		return says(`{"watch":"w","pending":1,"revision":5}`)
	})
	require.NoError(t, h.Watch(t.Context(), Watch{Bucket: "app", First: "history", Current: true, Event: enough}))
}

// A watch that was begun for the same request, since its answer was late, is ended: it is told at once, and at each mark, since that may be lost. It is no sign of
// life of the one that is followed, and what it asks is not answered (W2, Q12).
func TestAStrayWatchIsEnded(t *testing.T) {
	t.Parallel()
	c, _ := begin(t, "no.leader", nil)
	ended, err := c.conn.SubscribeSync("raftbus.kv.unwatch.app")
	require.NoError(t, err)
	flow, err := c.conn.SubscribeSync("flow")
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		arrived := make(chan *nats.Msg, 5)
		go func() {
			for _, key := range []string{"a", "b", "", ""} {
				arrived <- &nats.Msg{Sub: flow, Reply: "flow", Header: nats.Header{"Rb-Watch": {"stray"}, "Rb-Key": {key}}}
				time.Sleep(silence / 4)
			}
			arrived <- &nats.Msg{}
		}()
		began := time.Now()
		require.ErrorIs(t, c.follow(t.Context(), &Watch{Bucket: "app"}, arrived, beginning{Watch: "w"}), errAgain)
		require.Equal(t, silence, time.Since(began))
		synctest.Wait()
	})
	require.NoError(t, c.conn.Flush())
	for range 3 {
		m, err := ended.NextMsg(wait)
		require.NoError(t, err)
		require.JSONEq(t, `{"watch":"stray"}`, string(m.Data))
	}
	for _, sub := range []*nats.Subscription{ended, flow} {
		pending, _, err := sub.Pending()
		require.NoError(t, err)
		require.Zero(t, pending)
	}
}

// Who wanted only what is new and has had nothing yet misses nothing that came since it began (W3).
func TestAWatchOfWhatIsNewGoesOnWhereItBegan(t *testing.T) {
	t.Parallel()
	h := watching(t, func(h *host, number int32, to string) *nats.Msg {
		if number == 1 {
			h.mark(to, "w1", 5, "")
			return says(`{"watch":"w1","revision":7}`)
		}
		h.event(to, "w2", "b", 1, 9)
		return says(`{"watch":"w2","revision":9}`)
	})
	require.ErrorIs(t, h.Watch(t.Context(), Watch{Bucket: "app", First: "nothing", Event: enough}), errEnough)
	require.Len(t, h.requests, 2)
	require.Contains(t, h.requests[0], `"first":"nothing"`)
	require.Contains(t, h.requests[1], `"from":8`)
}

// Where what came after the last event is not kept any more, that is said, and what is there now follows (W3).
func TestAWatchSaysThatEventsMayBeMissing(t *testing.T) {
	t.Parallel()
	h := watching(t, func(h *host, number int32, to string) *nats.Msg {
		switch number {
		case 1:
			h.event(to, "w", "a", 1, 4)
			h.mark(to, "w", 5, "")
		case 2:
			return fails(kv.Compacted)
		default:
			h.event(to, "w", "b", 1, 9)
		}
		return says(`{"watch":"w","pending":1}`)
	})
	var said []string
	require.ErrorIs(t, h.Watch(t.Context(), Watch{
		Bucket: "app", First: "history",
		Event: func(e Entry) error {
			if said = append(said, e.Key); e.Key == "b" {
				return errEnough
			}
			return nil
		},
		Missed: func() { said = append(said, "missed") },
	}), errEnough)
	require.Equal(t, []string{"a", "missed", "b"}, said)
	require.Len(t, h.requests, 3)
	require.Contains(t, h.requests[1], `"from":5`)
	require.Contains(t, h.requests[2], `"first":"newest"`)
}

// Who watches a key that is seldom written goes on after the last mark: what follows the last event is another key's, and gone with the next of that. Where
// what follows the mark is gone, it may be there all the same (W3, W4).
func TestAWatchGoesOnAfterTheLastMark(t *testing.T) {
	t.Parallel()
	h := watching(t, func(h *host, number int32, to string) *nats.Msg {
		switch number {
		case 1:
			h.event(to, "w", "a", 1, 4)
			h.progress(to, "w", 1, 9)
			h.progress(to, "w", 0, 20) // of a host that has not sent what this one has
			h.mark(to, "w", 1, "")     // which asks how far it is
			h.mark(to, "w", 5, "")
		case 2:
			return fails(kv.Compacted)
		default:
			h.event(to, "w", "a", 1, 12)
		}
		return says(`{"watch":"w"}`)
	})
	last := uint64(0)
	require.ErrorIs(t, h.Watch(t.Context(), Watch{
		Bucket: "app", First: "newest",
		Event: func(e Entry) error {
			if last = e.Revision; last == 12 {
				return errEnough
			}
			return nil
		},
		Missed: func() { t.Error("nothing is missing") },
	}), errEnough)
	require.Len(t, h.requests, 3)
	require.Contains(t, h.requests[1], `"from":10`)
	require.Contains(t, h.requests[2], `"from":5`)
}

// What came after the mark does not come again.
func TestAWatchGoesOnAfterWhatCameAfterTheMark(t *testing.T) { // W1
	t.Parallel()
	h := watching(t, func(h *host, number int32, to string) *nats.Msg {
		if number == 1 {
			h.event(to, "w", "a", 1, 4)
			h.progress(to, "w", 1, 9)
			h.event(to, "w", "a", 2, 12)
			h.mark(to, "w", 5, "")
		} else {
			h.event(to, "w", "a", 1, 13)
		}
		return says(`{"watch":"w"}`)
	})
	require.ErrorIs(t, h.Watch(t.Context(), Watch{Bucket: "app", First: "newest", Event: func(e Entry) error {
		if e.Revision == 13 {
			return errEnough
		}
		return nil
	}}), errEnough)
	require.Len(t, h.requests, 2)
	require.Contains(t, h.requests[1], `"from":13`)
}

// Where the bucket is another of the name, that is said, and what is there now follows: its revisions begin anew, and what comes after the last event may be
// long to come, or a part of what there is (W2, W3).
func TestAWatchOfABucketMadeAnewBeginsAnew(t *testing.T) {
	t.Parallel()
	for name, revision := range map[string]int{"behind": 3, "ahead": 2_000} {
		t.Run(name, func(t *testing.T) {
			missed := 0
			h := watching(t, func(h *host, number int32, to string) *nats.Msg {
				switch number {
				case 1:
					h.event(to, "w1", "a", 1, 1_000)
					h.progress(to, "w1", 1, 1_500) // of which nothing holds in the new one
					h.mark(to, "w1", 5, "")
					return says(`{"watch":"w1","revision":999,"cluster_revision":7}`)
				case 2: // of an older release
					h.mark(to, "w2", 5, "")
					return says(`{"watch":"w2","revision":1000}`)
				case 4:
					h.event(to, "w4", "b", 1, 2)
				}
				return says(fmt.Sprintf(`{"watch":"w%d","revision":%d,"cluster_revision":2048}`, number, revision))
			})
			require.ErrorIs(t, h.Watch(t.Context(), Watch{Bucket: "app", First: "newest", Missed: func() { missed++ }, Event: func(e Entry) error {
				if e.Key == "b" {
					return errEnough
				}
				return nil
			}}), errEnough)
			require.Equal(t, 1, missed)
			require.Len(t, h.requests, 4)
			require.Contains(t, h.requests[2], `"from":1501`)
			require.Contains(t, h.requests[3], `"first":"newest"`)
		})
	}
}

// A watch that was served waits for what keeps it from being served again, and passes.
func TestAWatchWaitsForWhatPasses(t *testing.T) {
	t.Parallel()
	for _, kind := range []kv.ErrorKind{kv.NoWatches, kv.Full, kv.TooManyWatches} {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			h := watching(t, func(h *host, number int32, to string) *nats.Msg {
				switch number {
				case 1:
					h.mark(to, "w1", 5, "") // a gap
					return says(`{"watch":"w1","revision":7}`)
				case 2:
					return fails(kind)
				}
				h.event(to, "w3", "b", 1, 9)
				return says(`{"watch":"w3","revision":9}`)
			})
			require.ErrorIs(t, h.Watch(t.Context(), Watch{Bucket: "app", First: "nothing", Event: enough}), errEnough)
			require.Len(t, h.requests, 3)
			require.Contains(t, h.requests[2], `"from":8`)
		})
	}
}

// An answer without a watch, as to one that went before it was answered, is none of a watch that has shown all there is.
func TestAWatchThatWentBeforeItBeganIsNotDone(t *testing.T) { // L9
	t.Parallel()
	for name, current := range map[string]bool{"what is there": true, "what comes": false} {
		t.Run(name, func(t *testing.T) {
			h := watching(t, func(*host, int32, string) *nats.Msg { return says(`{"error":{"code":503}}`) })
			var f *Failure
			require.ErrorAs(t, h.Watch(t.Context(), Watch{Bucket: "app", Current: current, Event: enough}), &f)
			require.True(t, f.OfKind(kv.Unavailable))
			require.Len(t, h.requests, 1)
		})
	}
}

// While NATS is away that is what a watch waits for, and no leader; it goes on when NATS is back.
func TestAWatchTellsThatNATSIsAway(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(embedded.Options{})
	require.NoError(t, err)
	address, err := url.Parse(server.URL())
	require.NoError(t, err)
	port, err := strconv.Atoi(address.Port())
	require.NoError(t, err)
	serve := func(answer func(conn *nats.Conn, m *nats.Msg)) {
		conn := natstest.Connect(t, server, nats.NoReconnect())
		_, err = conn.Subscribe("raftbus.kv.watch.app", func(m *nats.Msg) { answer(conn, m) })
		require.NoError(t, err)
		require.NoError(t, conn.Flush())
	}
	var all sync.WaitGroup
	defer all.Wait()
	asked := 0
	serve(func(conn *nats.Conn, m *nats.Msg) {
		if asked++; asked == 2 {
			all.Go(server.Shutdown)
			return
		}
		var request struct{ Deliver string }
		_ = json.Unmarshal(m.Data, &request)
		_ = m.Respond([]byte(`{"watch":"w","pending":1}`))
		_ = conn.PublishMsg(&nats.Msg{Subject: request.Deliver, Header: nats.Header{"Rb-Watch": {"w"}, "Rb-Sequence": {"5"}}}) // a gap
	})
	conn := natstest.Connect(t, server, Options)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var said []string
	err = New(conn, "raftbus", wait).Watch(ctx, Watch{Bucket: "app", First: "newest", Waits: func(why error) {
		if said = append(said, fmt.Sprint(why)); why == nil {
			cancel()
			return
		}
		all.Wait()
		server, err = embedded.StartAgain(embedded.Options{Port: port})
		require.NoError(t, err)
		t.Cleanup(server.Shutdown)
		serve(func(_ *nats.Conn, m *nats.Msg) { _ = m.Respond([]byte(`{"watch":"again","pending":0}`)) })
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"NATS cannot be reached", "<nil>"}, said)
}
