package native

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/kv"
	"github.com/raftbus/raftbus/raft/leaktest"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // they mostly wait; -parallel says otherwise
	leaktest.Main(m)
}

const wait = 5 * time.Second

// leader is what a leader says, request by request; nil: nothing.
type leader func(number int32, m *nats.Msg) *nats.Msg

// begin starts a NATS server, whose client on the subject is the leader, and returns a client of it.
func begin(t *testing.T, subject string, l leader) (*Client, *atomic.Int32) {
	server := natstest.Run(t, embedded.Options{})
	connect := func(o ...nats.Option) *nats.Conn {
		return natstest.Connect(t, server, o...)
	}
	asked := &atomic.Int32{}
	listening := connect()
	_, err := listening.Subscribe(subject, func(m *nats.Msg) {
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

// Half of the time that the bucket remembers an id is used: it counts by the cluster's clock, and from when the write was done (C4).
func TestAWriteIsNotSentAgainNearTheEndOfItsID(t *testing.T) {
	t.Parallel()
	c, asked := begin(t, "raftbus.kv.>", func(int32, *nats.Msg) *nats.Msg { return nil })
	window(t, c, "800ms") // the first sending is given up after 500 ms
	_, err := c.Write(context.Background(), "put", "app", "a", nil, nats.Header{nats.MsgIdHdr: {"one"}})
	require.ErrorIs(t, err, ErrUnknown)
	require.EqualValues(t, 1, asked.Load())
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

// Who is interrupted once a write was sent does not know what became of it; a read has done nothing.
func TestAnInterruptedWriteMayBeDone(t *testing.T) {
	t.Parallel()
	for _, header := range []nats.Header{nil, {nats.MsgIdHdr: {"one"}}} {
		ctx, cancel := context.WithCancel(context.Background())
		c, asked := begin(t, "raftbus.kv.>", func(int32, *nats.Msg) *nats.Msg { cancel(); return nil })
		c.wait = time.Minute
		_, err := c.Write(ctx, "put", "app", "a", nil, header)
		require.ErrorIs(t, err, ErrUnknown)
		require.NotErrorIs(t, err, context.Canceled)
		_, err = c.Write(ctx, "put", "app", "a", nil, header)
		require.ErrorIs(t, err, context.Canceled, "it was not sent")
		require.EqualValues(t, 1, asked.Load())
	}
	ctx, cancel := context.WithCancel(context.Background())
	c, _ := begin(t, "raftbus.kv.>", func(int32, *nats.Msg) *nats.Msg { cancel(); return nil })
	c.wait = time.Minute
	_, err := c.Get(ctx, "app", "a", false)
	require.ErrorIs(t, err, context.Canceled)
}

// A refusal that passes by itself is asked about again, whatever the request; one that stays is told at once.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, kind := range []kv.ErrorKind{kv.Busy, kv.Unavailable, kv.SettingsChanged} {
		c, asked := begin(t, "raftbus.kv.>", func(number int32, _ *nats.Msg) *nats.Msg {
			if number < 3 {
				return fails(kind)
			}
			return says(`{"bucket":"app","revision":1}`)
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

	for _, then := range []kv.ErrorKind{kv.Full, kv.TooLarge} {
		c, _ = begin(t, "raftbus.>", func(number int32, msg *nats.Msg) *nats.Msg {
			switch {
			case !strings.HasPrefix(msg.Subject, "raftbus.kv."):
				return says(`{"bucket":"app","duplicate_window":"2m"}`)
			case number == 1:
				return fails(kv.OutcomeUnknown)
			}
			return fails(then)
		})
		_, err = c.Write(context.Background(), "put", "app", "a", nil, nats.Header{nats.MsgIdHdr: {"x"}})
		require.ErrorIs(t, err, ErrUnknown, "what was sent first may be in the log")
	}

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

// A watch that was served waits for whoever can serve it next, and says so once, and once when it goes on; one that is to end, or was never served, does not.
func TestAWatchWaitsForWhoeverServesIt(t *testing.T) {
	t.Parallel()
	var c *Client
	missing := func(number int32) bool { return number == 2 || number == 3 || number > 4 }
	c, asked := begin(t, "raftbus.kv.watch.app", func(number int32, m *nats.Msg) *nats.Msg {
		if missing(number) {
			return fails(kv.NoWatches)
		}
		var request struct{ Deliver string }
		require.NoError(t, json.Unmarshal(m.Data, &request))
		name := fmt.Sprint("w", number)
		gap := &nats.Msg{Subject: request.Deliver, Header: nats.Header{"Rb-Watch": {name}, "Rb-Sequence": {"5"}}}
		require.NoError(t, c.conn.PublishMsg(gap))
		return says(`{"watch":"` + name + `","pending":1}`)
	})
	ctx, cancel := context.WithCancel(t.Context())
	var waits []string
	w := Watch{Bucket: "app", First: "newest", Waits: func(err error) {
		if waits = append(waits, fmt.Sprint(err)); len(waits) == 3 {
			cancel()
		}
	}}
	require.ErrorIs(t, c.Watch(ctx, w), context.Canceled)
	require.Equal(t, []string{kv.NoWatches.Name, "<nil>", kv.NoWatches.Name}, waits)
	require.EqualValues(t, 5, asked.Load(), "1, then nobody twice, then 4, then nobody")

	var f *Failure
	require.ErrorAs(t, c.Watch(t.Context(), w), &f, "it was never served")
	require.Len(t, waits, 3)
	asked.Store(0)
	w.Current = true
	require.ErrorAs(t, c.Watch(t.Context(), w), &f, "it is to end")
	require.Len(t, waits, 3)
}

// restricted starts a NATS server on which a guest may publish and subscribe to these only, and returns a client as the guest. asked counts
// what comes to a leader, which answers.
func restricted(t *testing.T, publish, subscribe string) (c *Client, asked *atomic.Int32) {
	server := natstest.Run(t, embedded.Options{Users: []embedded.User{
		{Name: "leader", Password: "leader"},
		{Name: "guest", Password: "guest", Publish: []string{publish}, Subscribe: []string{subscribe}},
	}})
	connect := func(name string) *nats.Conn {
		return natstest.Connect(t, server, Options, nats.UserInfo(name, name))
	}
	leader, asked := connect("leader"), &atomic.Int32{}
	_, err := leader.Subscribe("raftbus.>", func(m *nats.Msg) {
		asked.Add(1)
		_ = m.Respond([]byte(`{"bucket":"app","revision":1}`))
	})
	require.NoError(t, err)
	require.NoError(t, leader.Flush())
	return New(connect("guest"), "raftbus", 2*time.Second), asked
}

// What NATS refuses is said at once, and not waited for.
func TestWhatNATSRefusesIsNotDone(t *testing.T) {
	t.Parallel()
	c, asked := restricted(t, "raftbus.kv.get.>", "_INBOX.>")
	c.wait = time.Minute
	_, err := c.Write(context.Background(), "put", "app", "a", nil, nil)
	require.ErrorIs(t, err, ErrDenied)
	require.ErrorContains(t, err, "raftbus.kv.put.app.a")
	require.Zero(t, asked.Load())
}

// Where NATS would carry a write to the leader, and not its answer back, the write is not sent (C5).
func TestAWriteWhoseAnswerCannotBeHeardIsNotDone(t *testing.T) {
	t.Parallel()
	c, asked := restricted(t, "raftbus.>", "_INBOX_guest.>")
	_, err := c.Write(context.Background(), "put", "app", "a", nil, nil)
	require.ErrorIs(t, err, ErrUnheard)
	require.NotErrorIs(t, err, ErrDenied)
	require.ErrorContains(t, err, `Subscription to "_INBOX.`)
	require.NoError(t, c.conn.Publish("raftbus.last", nil))
	require.Eventually(t, func() bool { return asked.Load() > 0 }, 5*time.Second, time.Millisecond)
	require.EqualValues(t, 1, asked.Load(), "the write was sent")
}

// That NATS refuses something else meanwhile says nothing of a write: it is done.
func TestAnotherRefusalSaysNothingOfAWrite(t *testing.T) {
	t.Parallel()
	var c *Client
	c, _ = begin(t, "raftbus.kv.>", func(int32, *nats.Msg) *nats.Msg {
		for _, refused := range []string{`Subscription to "_INBOX.a"`, `Publish to "$JS.FC.a"`} {
			c.conn.Opts.AsyncErrorCB(c.conn, nil, fmt.Errorf("%w: Permissions Violation for %s", nats.ErrPermissionViolation, refused))
		}
		return says(`{"bucket":"app","revision":1}`)
	})
	_, err := c.Write(context.Background(), "put", "app", "a", nil, nil)
	require.NoError(t, err)
}

// Nothing is sent of what no message holds, and how large it may be is said.
func TestWhatNoMessageHoldsIsRefused(t *testing.T) {
	client, asked := begin(t, "raftbus.kv.put.app.k", func(int32, *nats.Msg) *nats.Msg { return says(`{"bucket":"app","revision":1}`) })
	_, err := client.Write(t.Context(), "put", "app", "k", make([]byte, 1<<20+1), nil)
	var refused *Failure
	require.ErrorAs(t, err, &refused)
	require.True(t, refused.OfKind(kv.TooLarge))
	require.EqualError(t, err, "too large: 1048577 bytes, and the bus allows 1040384: split it, or raise max_payload of the NATS server")
	require.Zero(t, asked.Load())
}

// Of a read whose last try the time cuts short, it is told what was said of those before.
func TestAReadIsToldWhatWasSaidBeforeItsTimeWasOver(t *testing.T) {
	t.Parallel()
	var began time.Time
	c, _ := begin(t, "raftbus.kv.>", func(number int32, _ *nats.Msg) *nats.Msg {
		if number == 1 {
			began = time.Now()
		}
		if time.Since(began) > wait-answerTime/2 {
			return nil
		}
		return fails(kv.Unavailable)
	})
	_, err := c.Ask(t.Context(), Request{Subject: "kv.ls.app", Read: true})
	var f *Failure
	require.ErrorAs(t, err, &f)
	require.True(t, f.OfKind(kv.Unavailable))
}

// A JetStream may keep what is asked for in a stream, and be the first to answer. A write is not sent again, which the stream would keep too: raftbus's answer is on its
// way, or never comes. A value that reads like a stream's word is a value.
func TestAStreamsWordIsNoAnswer(t *testing.T) { // C5
	t.Parallel()
	const word = `{"stream":"ALL","seq":7}`
	c, asked := begin(t, "raftbus.>", func(_ int32, m *nats.Msg) *nats.Msg {
		_ = m.Respond([]byte(word))
		return says(`{"bucket":"app","key":"a","revision":7,"cluster_revision":9}`)
	})
	_, err := c.Write(t.Context(), "put", "app", "a", nil, nats.Header{nats.MsgIdHdr: {"one"}})
	require.ErrorIs(t, err, ErrCaptured)
	require.ErrorIs(t, err, ErrUnknown)
	_, err = c.Get(t.Context(), "app", "a", true)
	require.ErrorIs(t, err, ErrCaptured)
	require.NotErrorIs(t, err, ErrUnknown)
	require.EqualValues(t, 2, asked.Load())

	c, _ = begin(t, "raftbus.>", func(int32, *nats.Msg) *nats.Msg {
		return &nats.Msg{Data: []byte(word), Header: nats.Header{"Rb-Revision": {"7"}, "Rb-Cluster-Revision": {"9"}}}
	})
	e, err := c.Get(t.Context(), "app", "a", false)
	require.NoError(t, err)
	require.Equal(t, word, string(e.Value()))
}

// Who answers something else on raftbus's subjects is no leader, whatever JSON it is: a write that nobody did is not told done, nor a list empty. Whether a leader had
// the write too is not known.
func TestAStrangersWordIsNoAnswer(t *testing.T) { // C5
	t.Parallel()
	for _, word := range []string{`{}`, `[]`, `ok`, ``, `{"bucket":"other","revision":7}`, `{"keys":null,"entries":[],"revision":7}`, `null`} {
		c, asked := begin(t, "raftbus.>", func(int32, *nats.Msg) *nats.Msg { return says(word) })
		_, err := c.Write(t.Context(), "put", "app", "a", nil, nats.Header{nats.MsgIdHdr: {"one"}})
		require.ErrorIs(t, err, ErrStranger, word)
		require.ErrorIs(t, err, ErrUnknown, word)
		_, err = c.Bucket(t.Context(), "add", "app", nil)
		require.ErrorIs(t, err, ErrStranger, word)
		require.ErrorIs(t, err, ErrUnknown, word)
		_, err = c.Info(t.Context(), "app")
		require.ErrorIs(t, err, ErrStranger, word)
		require.NotErrorIs(t, err, ErrUnknown, word)
		_, err = c.Get(t.Context(), "app", "a", false)
		require.ErrorIs(t, err, ErrStranger, word)
		_, _, err = c.History(t.Context(), "app", "a", 0, 10)
		require.ErrorIs(t, err, ErrStranger, word)
		for _, bucket := range []string{"", "app"} {
			_, _, err = c.Names(t.Context(), Page{Bucket: bucket})
			require.ErrorIs(t, err, ErrStranger, word)
		}
		require.ErrorIs(t, c.Watch(t.Context(), Watch{Bucket: "app"}), ErrStranger, word)
		require.EqualValues(t, 8, asked.Load(), "nothing is asked again")
	}
}
