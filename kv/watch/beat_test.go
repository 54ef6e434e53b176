package watch

// When heartbeats go: so long after the last that a client got, and not earlier.

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const idleBeat = "Idle Heartbeat|Nats-Last-Consumer: 0|Nats-Last-Stream: 0"

// Who begins to listen has got nothing yet, however long the consumer has been there.
func TestTheFirstHeartbeatComesAfterItsTime(t *testing.T) { // 7.3
	o := newHost(t, 1)
	o.consumer(Config{Heartbeat: second})
	require.Empty(t, o.sent())
	o.pass(4 * second)
	o.listen(true)
	require.Empty(t, o.sent())
	o.pass(second - 1)
	require.Empty(t, o.sent())
	o.pass(1)
	require.Equal(t, []string{idleBeat}, o.sent())
}

// A message says as much as a heartbeat, also to who pulls.
func TestAPulledMessageTakesThePlaceOfAHeartbeat(t *testing.T) { // 7.6
	o := newPulled(t)
	o.pull(Pulled{Batch: 9, Expires: 10 * second, Heartbeat: second})
	require.Len(t, o.pulled(), 5)
	o.pass(second / 2)
	o.put("5", "v")
	require.Equal(t, []string{"6/6/0"}, o.pulled())
	o.pass(second - 1)
	require.Empty(t, o.pulled())
	o.pass(1)
	require.Equal(t, []string{"100 Idle Heartbeat|Nats-Last-Consumer: 6|Nats-Last-Stream: 6"}, o.pulled())
}

// Who pulls has heartbeats no oftener than who is pushed to may have them, whatever is asked for, and however many requests go to one inbox: many may wait, and others
// have to get through.
func TestHeartbeatsOfPullsHavePauses(t *testing.T) { // Q12
	const pulls = 512
	o := newHost(t, 1)
	o.puller(Config{Filter: patterns("nobody")})
	o.listen(true)
	for range pulls {
		o.pull(Pulled{Batch: 1, Expires: 3_600 * second, Heartbeat: 1})
	}
	o.pulled()
	beats := 0
	for range 1_000 {
		o.pass(second / 1_000)
		o.step(o.peer)
		beats += len(o.peer.effects.Send)
		o.peer.room = 1 << 20
	}
	require.Equal(t, 10, beats)
}

// A heartbeat that finds no room goes as soon as there is some: clients begin again after two or three that do not come.
func TestAHeartbeatThatFindsNoRoomIsTriedAgainSoon(t *testing.T) { // W2, 7.3
	o := newHost(t, 1)
	o.consumer(Config{Heartbeat: second})
	o.listen(true)
	require.Empty(t, o.sent())
	o.pass(second)
	o.peer.room = 0
	require.Empty(t, o.sent())
	o.pass(second / 4)
	o.peer.room = 1 << 20
	require.Equal(t, []string{idleBeat}, o.sent())
}

// So does the question how far a client is.
func TestAFlowRequestTakesThePlaceOfAHeartbeat(t *testing.T) { // 7.3
	o := newHost(t, 64, func(l *Limits) { l.Window = 1_000 })
	o.consumer(Config{FlowControl: true, Heartbeat: second})
	o.listen(true)
	o.sent()
	c := o.hub().all[0]
	for range 10 {
		if c.window.request == "" {
			o.put("a", strings.Repeat("x", 100))
			o.sent()
		}
	}
	o.put("a", strings.Repeat("x", 600))
	require.Len(t, o.sent(), 1)
	o.pass(second / 2)
	o.tell(Processed{c.window.request})
	require.Equal(t, []string{"FlowControl Request"}, o.sent(), "half a window is under way still")
	o.pass(second - 1)
	require.Empty(t, o.sent())
	o.pass(1)
	require.Len(t, o.sent(), 1)
}

// What is read for a client is no more than it may be sent.
func TestAPageIsNoLargerThanTheWindow(t *testing.T) { // 7.4
	o := newHost(t, 64, func(l *Limits) { l.Window = 1_000 })
	for range 12 {
		o.put("a", strings.Repeat("x", 100))
	}
	o.consumer(Config{FlowControl: true, Heartbeat: second})
	o.listen(true)
	for range 5 {
		o.step(o.peer)
	}
	require.NotEmpty(t, o.peer.reads)
	require.Equal(t, 1_000, o.peer.reads[0].BytesMax)
}

func TestAWindowIsFullAtItsSize(t *testing.T) { // 7.4
	require.True(t, (&window{sent: 2_010, processed: 10}).full(2_000))
	require.False(t, (&window{sent: 2_009, processed: 10}).full(2_000))
}
