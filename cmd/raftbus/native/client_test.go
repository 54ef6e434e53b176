package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/kv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const wait = time.Second

// leader is what a leader says, request by request; nil: nothing.
type leader func(number int32, m *nats.Msg) *nats.Msg

// begin starts a NATS server, whose client on the subject is the leader, and returns a client of it.
func begin(t *testing.T, subject string, l leader) (*Client, *atomic.Int32) {
	server, err := embedded.Start(embedded.Options{})
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	connect := func(o ...nats.Option) *nats.Conn {
		conn, err := nats.Connect(server.URL(), o...)
		require.NoError(t, err)
		t.Cleanup(conn.Close)
		return conn
	}
	asked := &atomic.Int32{}
	listening := connect()
	_, err = listening.Subscribe(subject, func(m *nats.Msg) {
		if answer := l(asked.Add(1), m); answer != nil {
			_ = m.RespondMsg(answer)
		}
	})
	require.NoError(t, err)
	require.NoError(t, listening.Flush())
	return New(connect(Options), "raftbus", wait), asked
}

func says(body string) *nats.Msg { return &nats.Msg{Data: []byte(body)} }

func fails(kind kv.ErrorKind) *nats.Msg {
	m := says(fmt.Sprintf(`{"error":{"err_code":%d,"description":"%s"}}`, kind.ErrCode, kind.Name))
	m.Header = nats.Header{"Nats-Service-Error-Code": {fmt.Sprint(kind.Code)}}
	return m
}

// A lost answer to a write under a message id is asked for again, while the bucket remembers the id.
func TestAWriteUnderAnIDIsSentAgain(t *testing.T) {
	t.Parallel()
	c, asked := begin(t, "raftbus.kv.>", func(number int32, m *nats.Msg) *nats.Msg {
		require.Equal(t, "one", m.Header.Get(nats.MsgIdHdr))
		if number == 1 {
			return nil
		}
		return says(`{"bucket":"app","key":"a","revision":7,"duplicate":true}`)
	})
	window(t, c, "2m")
	done, err := c.Write(context.Background(), "put", "app", "a", nil, nats.Header{nats.MsgIdHdr: {"one"}})
	require.NoError(t, err)
	require.EqualValues(t, 7, done.Revision)
	require.EqualValues(t, 2, asked.Load())
}

// Where the id may be forgotten, or there is none, a second sending could be a second write: the outcome is unknown.
func TestAWriteThatMightBeDoneTwiceIsNotSentAgain(t *testing.T) {
	t.Parallel()
	c, asked := begin(t, "raftbus.kv.>", func(int32, *nats.Msg) *nats.Msg { return nil })
	window(t, c, "100ms")
	_, err := c.Write(context.Background(), "put", "app", "a", nil, nats.Header{nats.MsgIdHdr: {"one"}})
	require.ErrorIs(t, err, ErrUnknown)
	_, err = c.Write(context.Background(), "put", "app", "a", nil, nil)
	require.ErrorIs(t, err, ErrUnknown)
	require.EqualValues(t, 2, asked.Load())
}

// window answers what the bucket is.
func window(t *testing.T, c *Client, window string) {
	_, err := c.conn.Subscribe("raftbus.bucket.info.app", func(m *nats.Msg) {
		_ = m.Respond([]byte(`{"bucket":"app","history":1,"duplicate_window":"` + window + `"}`))
	})
	require.NoError(t, err)
	require.NoError(t, c.conn.Flush())
}

// Once a sending may have been done, that nobody answers any more is no proof that it was not.
func TestSilenceThenNobodyIsUnknown(t *testing.T) {
	t.Parallel()
	var sub *nats.Subscription
	c, _ := begin(t, "raftbus.elsewhere", func(int32, *nats.Msg) *nats.Msg { return nil })
	window(t, c, "2m")
	sub, err := c.conn.Subscribe("raftbus.kv.>", func(*nats.Msg) { _ = sub.Unsubscribe() })
	require.NoError(t, err)
	_, err = c.Write(context.Background(), "put", "app", "a", nil, nats.Header{nats.MsgIdHdr: {"one"}})
	require.ErrorIs(t, err, ErrUnknown)
}

func TestNobodyListensIsNotDone(t *testing.T) {
	t.Parallel()
	c, asked := begin(t, "raftbus.elsewhere", func(int32, *nats.Msg) *nats.Msg { return nil })
	_, err := c.Write(context.Background(), "put", "app", "a", nil, nil)
	require.ErrorIs(t, err, ErrNoLeader)
	require.Zero(t, asked.Load())
}

// A refusal that passes by itself is asked about again, whatever the request; one that stays is told at once.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, kind := range []kv.ErrorKind{kv.Busy, kv.Unavailable, kv.SettingsChanged} {
		c, asked := begin(t, "raftbus.kv.>", func(number int32, _ *nats.Msg) *nats.Msg {
			if number < 3 {
				return fails(kind)
			}
			return says(`{"revision":1}`)
		})
		_, err := c.Write(context.Background(), "put", "app", "a", nil, nil)
		require.NoError(t, err)
		require.EqualValues(t, 3, asked.Load())
	}
	c, asked := begin(t, "raftbus.kv.>", func(int32, *nats.Msg) *nats.Msg { return fails(kv.Full) })
	_, err := c.Write(context.Background(), "put", "app", "a", nil, nil)
	var f *Failure
	require.ErrorAs(t, err, &f)
	require.True(t, f.OfKind(kv.Full))
	require.EqualValues(t, 1, asked.Load())

	c, asked = begin(t, "raftbus.kv.>", func(int32, *nats.Msg) *nats.Msg { return fails(kv.OutcomeUnknown) })
	_, err = c.Write(context.Background(), "put", "app", "a", nil, nil)
	require.ErrorIs(t, err, ErrUnknown)
	require.EqualValues(t, 1, asked.Load())
}

// A watch that misses an event, or hears that one is missing, begins again after the last that came.
func TestAWatchBeginsAgainAfterAGap(t *testing.T) {
	t.Parallel()
	var c *Client
	send := func(to, name, key string, sequence, revision int) {
		m := &nats.Msg{Subject: to, Data: []byte("x"), Header: nats.Header{"Rb-Watch": {name}, "Rb-Sequence": {fmt.Sprint(sequence)}}}
		if key != "" {
			m.Header["Rb-Key"], m.Header["Rb-Revision"], m.Header["Rb-Operation"] = []string{key}, []string{fmt.Sprint(revision)}, []string{"put"}
		}
		require.NoError(t, c.conn.PublishMsg(m))
	}
	var requests []string
	c, _ = begin(t, "raftbus.kv.watch.app", func(number int32, m *nats.Msg) *nats.Msg {
		var to string
		var request struct{ Deliver, First string }
		require.NoError(t, json.Unmarshal(m.Data, &request))
		to, requests = request.Deliver, append(requests, string(m.Data))
		name := fmt.Sprint("w", number)
		switch number {
		case 1: // 1, and then 3
			send(to, name, "a", 1, 4)
			send(to, name, "a", 3, 6)
		case 2: // a mark tells of one that did not come
			send(to, "w1", "a", 4, 7) // of the watch before
			send(to, name, "a", 1, 5)
			send(to, name, "", 2, 0)
		default:
			send(to, name, "b", 1, 6)
		}
		return says(`{"watch":"` + name + `","pending":1}`)
	})
	var seen []uint64
	enough := errors.New("enough")
	err := c.Watch(context.Background(), Watch{Bucket: "app", First: "newest", Event: func(e Entry) error {
		if seen = append(seen, e.Revision); e.Key == "b" {
			return enough
		}
		return nil
	}})
	require.ErrorIs(t, err, enough)
	require.Equal(t, []uint64{4, 5, 6}, seen)
	require.Contains(t, requests[0], `"first":"newest"`)
	require.Contains(t, requests[1], `"from":5`)
	require.Contains(t, requests[2], `"from":6`)
}

// What NATS refuses is said at once, and not waited for.
func TestWhatNATSRefusesIsNotDone(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(embedded.Options{Users: []embedded.User{{Name: "guest", Password: "guest", Publish: []string{"raftbus.kv.get.>"}, Subscribe: []string{"_INBOX.>"}}}})
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	conn, err := nats.Connect(server.URL(), Options, nats.UserInfo("guest", "guest"))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	c := New(conn, "raftbus", time.Minute)
	_, err = c.Write(context.Background(), "put", "app", "a", nil, nil)
	require.ErrorIs(t, err, ErrDenied)
	require.ErrorContains(t, err, "raftbus.kv.put.app.a")
}
