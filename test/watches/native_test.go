package watches

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/cluster"
)

// nativeAnswer is what kv.watch answers.
type nativeAnswer struct {
	Bucket   string `json:"bucket"`
	Watch    string `json:"watch"`
	Sequence uint64 `json:"sequence"`
	Revision uint64 `json:"revision"`
	Pending  uint64 `json:"pending"`
	Error    *struct {
		ErrCode int `json:"err_code"`
	} `json:"error"`
}

func askNative(t testing.TB, nc *nats.Conn, subject string, body any) (a nativeAnswer) {
	t.Helper()
	data, err := json.Marshal(body)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(request(t, nc, "raftbus."+subject, data), &a))
	return a
}

// event is an event in short: its number, what is to come, revision, operation, key, value; or a progress mark.
func event(t testing.TB, sub *nats.Subscription) string {
	t.Helper()
	h := heard(t, sub)
	if progress := h.Header.Get("Rb-Progress"); progress != "" {
		return "progress " + progress
	}
	return fmt.Sprintf("%s/%s %s %s %s=%s", h.Header.Get("Rb-Sequence"), h.Header.Get("Rb-Pending"), h.Header.Get("Rb-Revision"), h.Header.Get("Rb-Operation"), h.Header.Get("Rb-Key"), h.Data)
}

func TestNativeWatch(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	c.AwaitWatches()
	kv, nc := open(t, c, jetstream.KeyValueConfig{Bucket: "app", History: 2})
	for i, key := range []string{"a.x", "b", "a.x", "a.y", "a.x"} {
		put(t, nc, key, fmt.Sprint(i+1))
	}
	require.NoError(t, kv.Delete(within(t), "b")) // 6
	for first, want := range map[string][]string{
		"newest":  {"1/2 4 put a.y=4", "2/1 5 put a.x=5", "3/0 6 delete b="},
		"history": {"1/4 2 put b=2", "2/3 3 put a.x=3", "3/2 4 put a.y=4", "4/1 5 put a.x=5", "5/0 6 delete b="},
		"nothing": {},
	} {
		sub, err := nc.SubscribeSync("my.events." + first)
		require.NoError(t, err)
		a := askNative(t, nc, "kv.watch.app", fields{"deliver": "my.events." + first, "first": first, "heartbeat": "200ms"})
		require.Nil(t, a.Error)
		require.EqualValues(t, len(want), a.Pending)
		require.EqualValues(t, 6, a.Revision)
		for _, w := range want {
			require.Equal(t, w, event(t, sub))
		}
		require.Equal(t, "progress 6", event(t, sub))
		require.Nil(t, askNative(t, nc, "kv.unwatch.app", fields{"watch": a.Watch}).Error)
		require.Equal(t, 30022, askNative(t, nc, "kv.unwatch.app", fields{"watch": a.Watch}).Error.ErrCode)
	}

	sub, err := nc.SubscribeSync("my.events")
	require.NoError(t, err)
	ask := func(body fields) nativeAnswer {
		body["deliver"] = "my.events"
		return askNative(t, nc, "kv.watch.app", body)
	}
	require.Equal(t, 30020, ask(fields{"from": 1}).Error.ErrCode, "W3: it was displaced")
	a := ask(fields{"from": 4, "keys": []string{"a.*"}, "no_values": true})
	require.Nil(t, a.Error)
	require.Equal(t, "1/1 4 put a.y=", event(t, sub))
	require.Equal(t, "2/0 5 put a.x=", event(t, sub))
	require.Nil(t, askNative(t, nc, "kv.unwatch.app", fields{"watch": a.Watch}).Error)
	require.Nil(t, ask(fields{"from": 9, "keys": []string{"k"}}).Error, "of the future")
	for range 3 {
		put(t, nc, "k", "v")
	}
	require.Equal(t, "1/0 9 put k=v", event(t, sub))
	for _, bad := range []fields{{"first": "x"}, {"from": 4, "first": "newest"}, {"keys": []string{"a..b"}}, {"heartbeat": "1ms"}, {"x": 1}} {
		require.Equal(t, 30010, ask(bad).Error.ErrCode, bad)
	}
	require.Equal(t, 30010, askNative(t, nc, "kv.watch.app", fields{"deliver": "a.*"}).Error.ErrCode)
	require.Equal(t, 30001, askNative(t, nc, "kv.watch.none", fields{"deliver": "a"}).Error.ErrCode)
}

func TestANativeWatcherNoticesWhatItMisses(t *testing.T) { // W2, in the native form
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	c.AwaitWatches()
	kv, nc := open(t, c, jetstream.KeyValueConfig{Bucket: "app", History: 64})
	sub, err := nc.SubscribeSync("my.events")
	require.NoError(t, err)
	var watch string
	var sequence, revision uint64
	begin := func(body fields) {
		body["deliver"], body["heartbeat"] = "my.events", "500ms"
		a := askNative(t, nc, "kv.watch.app", body)
		require.Nil(t, a.Error)
		watch, sequence = a.Watch, 0
	}
	begin(fields{})
	var last uint64
	put := func() { // until it is acknowledged: who leads may just have gone
		require.Eventually(t, func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			last, err = kv.Put(ctx, "k", []byte("v"))
			return err == nil
		}, patience, time.Millisecond)
	}
	// take is what a native client does: it notices a number that is not the next, and begins again after the last revision that it has.
	take := func() {
		h := heard(t, sub).Header
		n, is := number(t, h.Get("Rb-Sequence")), h.Get("Rb-Revision") != ""
		switch {
		case h.Get("Rb-Watch") != watch: // of an earlier watch, which begins anew on another node too
		case is && n == sequence+1:
			require.Greater(t, number(t, h.Get("Rb-Revision")), revision)
			sequence, revision = n, number(t, h.Get("Rb-Revision"))
		case is || n > sequence:
			begin(fields{"from": revision + 1})
		}
	}
	put()
	for revision < 1 {
		take()
	}
	for _, id := range c.Members {
		if c.Nodes[id].Status().Watches.Consumers > 0 {
			c.Wires[id].Cut()
			defer c.Wires[id].Heal()
		}
	}
	start := time.Now()
	for range 5 {
		put()
	}
	for revision < last {
		take()
	}
	t.Logf("all events after %v", time.Since(start))
}

func number(t testing.TB, text string) (n uint64) {
	_, err := fmt.Sscan(text, &n)
	require.NoError(t, err, text)
	return n
}
