package leaf

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// messageOverhead is what Room has each message counted with, beside its subject, reply, header and data.
const messageOverhead = 64

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
