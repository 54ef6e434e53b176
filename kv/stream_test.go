package kv

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
)

// streamed asks for an answer of many messages that read sends, on this goroutine, and returns where it comes.
func (r *rig) streamed(read func(q *request, wanted func() bool, send func(...string) bool)) *nats.Subscription {
	r.Helper()
	q, _, inbox := r.inHand("k")
	q.fail = func(f *failure) []reply { return []reply{{status: fmt.Sprintf("500 %d", f.ErrCode)}} }
	replies, next := r.service.streaming(q, func(_ *store.Store, wanted func() bool, send func([]jetstream.Reply) bool) jetstream.Plan {
		read(q, wanted, func(texts ...string) bool {
			var page []jetstream.Reply
			for _, text := range texts {
				page = append(page, jetstream.Reply{Data: []byte(text)})
			}
			return send(page)
		})
		return jetstream.Plan{Replies: []jetstream.Reply{{Status: "204 EOB\r\nX: y"}}}
	})()
	require.Nil(r, next)
	r.service.finish(q, replies, nil)
	r.settled()
	return inbox
}

// heard is all that has come, in order; a status is told as that.
func (r *rig) heard(inbox *nats.Subscription) (list []string) {
	r.Helper()
	for {
		pending, _, err := inbox.Pending()
		require.NoError(r, err)
		if pending == 0 {
			return list
		}
		m, err := inbox.NextMsg(time.Second)
		require.NoError(r, err)
		list = append(list, m.Header.Get("Status")+string(m.Data)+m.Header.Get("X"))
	}
}

// By the connection's client, and by a lane.
func eachWay(t *testing.T, test func(r *rig)) {
	for name, change := range map[string]func(*Options){"NATS's client": nil, "a lane": laned(t)} {
		t.Run(name, func(t *testing.T) { test(newLeader(t, change)) })
	}
}

func TestAnAnswerOfManyMessagesHasAnEnd(t *testing.T) {
	eachWay(t, func(r *rig) {
		inbox := r.streamed(func(_ *request, wanted func() bool, send func(...string) bool) {
			require.True(r, wanted() && send("a", "b") && wanted() && send("c"))
			r.overdue() // it is under way
			require.True(r, wanted())
		})
		require.Equal(r, []string{"a", "b", "c", "204y"}, r.heard(inbox))
		none := r.streamed(func(_ *request, wanted func() bool, _ func(...string) bool) { require.True(r, wanted()) })
		require.Equal(r, []string{"204y"}, r.heard(none))
		require.EqualValues(r, 0, r.service.Figures().Unanswered)
	})
}

// Who has not come to the end knows that it has not all: where an answer takes longer than a client waits, is larger than the bus takes, or the service stops.
func TestAnAnswerOfManyMessagesThatIsCutHasNoEnd(t *testing.T) {
	eachWay(t, func(r *rig) {
		late := r.streamed(func(q *request, wanted func() bool, send func(...string) bool) {
			require.True(r, send("a"))
			q.deadline = time.Now()
			require.False(r, wanted())
			require.False(r, send("b"))
		})
		require.Equal(r, []string{"a"}, r.heard(late))
		large := r.streamed(func(_ *request, _ func() bool, send func(...string) bool) {
			require.False(r, send("a", strings.Repeat("x", int(r.service.maxPayload())+1), "b"))
		})
		require.Equal(r, []string{"a", "500"}, r.heard(large))
		overdue := r.streamed(func(_ *request, wanted func() bool, send func(...string) bool) {
			r.overdue()
			require.False(r, wanted())
			require.False(r, send("a"))
		})
		require.Equal(r, []string{"500"}, r.heard(overdue), "what is overdue before it began is told as that")
		require.EqualValues(r, 2, r.service.Figures().Unanswered)
	})
	s := &Service{stop: make(chan struct{})}
	out := &stream{Service: s, request: &request{deadline: time.Now().Add(time.Hour)}, begun: true}
	require.True(t, out.wanted())
	close(s.stop)
	require.False(t, out.wanted(), "the service stops")
	require.False(t, out.send(nil))
}

// deafConn is a connection that hears nothing while it is deaf.
type deafConn struct {
	net.Conn
	deaf   atomic.Bool
	closed chan struct{}
}

func (c *deafConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.deaf.Load() {
		<-c.closed
	}
	return n, err
}

type deafDialer struct{ conn *deafConn }

func (d *deafDialer) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	d.conn = &deafConn{Conn: c, closed: make(chan struct{})}
	return d.conn, err
}

// What a NATS server has not taken is waited for before there is more: of an answer there is no more than a page on its way (Q12).
func TestAnAnswerOfManyMessagesWaitsForTheServer(t *testing.T) {
	dialer := &deafDialer{}
	r := newLeader(t, func(o *Options) {
		conn, err := nats.Connect(o.Conn.ConnectedUrl(), nats.SkipSubjectValidation(), nats.SetCustomDialer(dialer))
		require.NoError(t, err)
		t.Cleanup(conn.Close)
		o.Conn, o.flushWait = conn, 50*time.Millisecond
	})
	q, _, inbox := r.inHand("k")
	out := &stream{Service: r.service, request: q}
	require.True(t, out.send([]jetstream.Reply{{Data: []byte("a")}}))
	require.True(t, out.send([]jetstream.Reply{{Data: []byte("b")}}))
	dialer.conn.deaf.Store(true)
	require.False(t, out.send([]jetstream.Reply{{Data: []byte("c")}}))
	require.False(t, out.wanted())
	close(dialer.conn.closed)
	r.service.conclude(q, false)
	r.settled()
	require.Equal(t, []string{"a", "b"}, r.heard(inbox))
}

// A bucket is read in batches that nobody holds up, and is as of one moment.
func TestBatchesOfABucket(t *testing.T) {
	eachWay(t, func(r *rig) {
		const keys = 300
		value := strings.Repeat("v", 20_000) // several pages
		for i := range keys {
			require.NotContains(r, string(r.ask(fmt.Sprintf("kv.put.app.k%d", i), value).Data), "error")
		}
		for _, body := range []string{`{"batch":1000,"seq":1}`, `{"multi_last":["$KV.app.>"]}`} {
			inbox := r.sendJS(api+"DIRECT.GET.KV_app", body)
			for i := range keys {
				m, err := inbox.NextMsg(5 * time.Second)
				require.NoError(r, err)
				require.Len(r, m.Data, len(value))
				require.Equal(r, fmt.Sprintf("$KV.app.k%d", i), m.Header.Get("Nats-Subject"))
				require.Equal(r, fmt.Sprint(keys-i-1), m.Header.Get("Nats-Num-Pending"))
			}
			end := r.answered(inbox)
			require.Equal(r, "204", end.Header.Get("Status"))
			require.Equal(r, "EOB", end.Header.Get("Description"))
			require.Equal(r, fmt.Sprint(keys), end.Header.Get("Nats-Last-Sequence"))
		}
		require.NoError(r, r.client.Publish(api+"DIRECT.GET.KV_app", []byte(`{"batch":1000,"seq":1}`))) // nobody waits
		r.settled()
	})
}
