package leaf

// Messages over a leaf, to a client of the same server, and what publishing costs its caller.

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// open returns an outbound that takes messages, without a connection.
func openOutbound(bytesMax int) *outbound {
	o := newOutbound(bytesMax)
	o.begin()
	o.limit(func(l *limits) { l.payloadMax, l.headers = 1<<20, true })
	o.admit()
	return o
}

func TestPublishingAllocatesNothing(t *testing.T) {
	c := &Conn{out: openOutbound(8 << 20)}
	reply, header, value := ack(5, "$KV.app.the.key"), []byte("NATS/1.0\r\nA: b\r\n\r\n"), make([]byte, 128)
	var batch []byte
	round := func() {
		for range 100 {
			require.NoError(t, c.Publish("_INBOX.x", reply, header, value))
		}
		batch, _ = c.out.take(batch)
	}
	round()
	round()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for range 100 {
			if c.Publish("_INBOX.x", reply, header, value) != nil {
				t.Fatal("refused")
			}
		}
		batch, _ = c.out.take(batch)
	}))
}

func TestOutboundIsBounded(t *testing.T) {
	o := openOutbound(outboundBytesMin)
	o.limit(func(l *limits) { l.payloadMax = 1000 }) // else the largest message is the bound
	value := make([]byte, 1000)
	n := 0
	for o.publish("a", "", nil, value) == nil {
		n++
		require.LessOrEqual(t, n*len(value), o.bound())
	}
	require.ErrorIs(t, o.publish("a", "", nil, value), ErrFull)
	require.LessOrEqual(t, len(o.pending), o.bound())
	batch, room := o.take(nil)
	require.True(t, room)
	require.Len(t, batch, n*(len("LMSG a 1000\r\n\r\n")+1000))
	_, room = o.take(batch)
	require.False(t, room, "told once")
	o.limit(func(l *limits) { l.payloadMax = 1 << 20 })
	require.NoError(t, o.publish("a", "", nil, make([]byte, 1<<20)), "the largest message finds room in an empty buffer")
	for o.control("PONG\r\n") {
		require.LessOrEqual(t, len(o.pending), o.bytesMax+controlBytesMax+1<<20)
	}
	large, _ := o.take(nil)
	require.NoError(t, o.publish("a", "", nil, value))
	_, _ = o.take(large)
	require.LessOrEqual(t, cap(o.pending), bufferBytesKept, "much is not kept for little")
}

// BenchmarkMessages is a leaf's way to a client, and for comparison that of an ordinary connection, which cannot send these replies.
func BenchmarkMessages(b *testing.B) {
	s := startNATS(b)
	header, value := []byte("NATS/1.0\r\nA: b\r\n\r\n"), make([]byte, 128)
	b.Run("leaf", func(b *testing.B) {
		room := make(chan struct{}, 1)
		c := dial(b, s.LeafURL(), func(o *Options) {
			o.OnRoom = func() {
				select {
				case room <- struct{}{}:
				default:
				}
			}
		})
		reply := ack(5, "$KV.app.the.key")
		carry(b, s.URL(), func() {
			for err := c.Publish("_INBOX.x", reply, header, value); err != nil; err = c.Publish("_INBOX.x", reply, header, value) {
				if !errors.Is(err, ErrFull) {
					b.Fatal(err)
				}
				<-room
			}
		}, func() {})
	})
	b.Run("client", func(b *testing.B) {
		c := client(b, s.URL())
		m := &nats.Msg{Subject: "_INBOX.x", Reply: "another.reply.of.about.the.same.length.as.that.of.a.delivery", Header: nats.Header{"A": {"b"}}, Data: value}
		carry(b, s.URL(), func() { require.NoError(b, c.PublishMsg(m)) }, func() { require.NoError(b, c.Flush()) })
	})
}

// carry publishes, and waits until a client has all.
func carry(b *testing.B, url string, publish, end func()) {
	nc := client(b, url)
	var got atomic.Int64
	all := make(chan struct{})
	sub, err := nc.Subscribe("_INBOX.x", func(*nats.Msg) {
		if got.Add(1) == int64(b.N) {
			close(all)
		}
	})
	require.NoError(b, err)
	require.NoError(b, sub.SetPendingLimits(-1, -1))
	require.NoError(b, nc.Flush())
	b.SetBytes(int64(128))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		publish()
	}
	end()
	<-all
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}
