package leaf

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// messageOverhead is what Room has each message counted with, beside its subject, reply, header and data.
const messageOverhead = 64

// A server that answers each ping is one that lives, however long (F10).
func TestAServerThatAnswersPingsIsNotGivenUp(t *testing.T) {
	o := newOutbound(64 << 10)
	o.begin()
	o.admit()
	for range 3 * missedPingsMax {
		require.True(t, o.keepAlive())
		o.answered()
	}
	for range missedPingsMax {
		require.True(t, o.keepAlive())
	}
	require.False(t, o.keepAlive())
}

// What the protocol itself says has room behind all that callers may send: without it a connection that is full would be given up.
func TestTheProtocolHasRoomOfItsOwn(t *testing.T) {
	o := newOutbound(64 << 10)
	o.begin()
	o.admit()
	o.limit(func(l *limits) { l.payloadMax = 1 << 10 })
	for o.publish("s", "", nil, make([]byte, 1<<10)) == nil {
	}
	for range 100 {
		require.True(t, o.control("LS+ some.subject\r\n"))
	}
	for n := 0; o.control("LS+ some.subject\r\n"); n++ {
		require.Less(t, n, controlBytesMax, "that is bounded too")
	}
}

// Of a connection that is down nobody knows what it takes.
func TestWhatAServerTakesIsForgottenWithIt(t *testing.T) {
	c := &Conn{out: newOutbound(64 << 10)}
	c.out.limit(func(l *limits) { l.payloadMax = 1 << 10 })
	require.Equal(t, 1<<10, c.MaxPayload())
	c.out.end()
	require.Zero(t, c.MaxPayload())
}

func TestWhatRoomPromisesIsTaken(t *testing.T) {
	for _, payloadMax := range []int{1 << 10, 1 << 20} {
		o := newOutbound(64 << 10)
		require.Zero(t, o.room(), "down")
		require.False(t, o.await())
		o.begin()
		o.admit()
		o.limit(func(l *limits) { l.payloadMax, l.headers = payloadMax, true })
		require.False(t, o.await(), "nothing waits")
		before := o.room()
		for size, sent := 0, 0; ; size = (size*7 + 13) % payloadMax {
			subject, reply := strings.Repeat("s", 1+size%100), strings.Repeat("r", size%90)
			cost := len(subject) + len(reply) + size + messageOverhead
			if cost > o.room() {
				require.Greater(t, sent, 0)
				break
			}
			sent++
			require.NoError(t, o.publish(subject, reply, make([]byte, size/2), make([]byte, size-size/2)))
			require.GreaterOrEqual(t, o.room(), before-cost, "a message takes no more than it counts")
			before = o.room()
		}
		require.True(t, o.await())
		_, room := o.take(nil)
		require.True(t, room, "whoever waits is told")
		require.GreaterOrEqual(t, o.room(), payloadMax)
	}
}
