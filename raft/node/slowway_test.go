package node

// Snapshots over ways of all kinds (L7): what is on them at a time, and what is sent twice.

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// way is the line to a peer that stores at once: it carries so many bytes a tick, one after the other, and each chunk and each answer takes so many
// ticks besides. A call that is not answered within two seconds has failed, and what is answered after that nobody hears.
type way struct {
	*streams
	rate, delay int
	free        int
	tick        int
	going       []*sentChunk
	came        []*sentChunk
	have        uint64
	failures    int
	longest     int
}

type sentChunk struct {
	from, to    uint64
	left, there int
	bytes       int
	next        uint64
}

// wayTo is a stream of so many chunks over a line of so many bytes a second.
func wayTo(rate, delay, chunks int) (*way, *stream) {
	w := &way{rate: rate / 100, delay: delay}
	w.streams = &streams{pace: newPace(), asks: streamInstalling, inbox: newInbox(), logger: quiet(), now: func() time.Time { return time.Unix(1000, 0).Add(time.Duration(w.tick) * 10 * time.Millisecond) }}
	w.streams.cutter = &cutter{worker: newWorker()}
	w.begin("n3", 1)
	t := w.of("n3")
	t.source, t.cutting, t.whole = &source{}, true, true
	for i := range chunks {
		t.chunks = append(t.chunks, chunk{offset: t.end, data: make([]byte, chunkBytesSent)})
		if t.end += chunkBytesSent; i == chunks-1 {
			t.chunks[i].digest = make([]byte, rpc.DigestBytes)
		}
	}
	w.send = func(m rpc.Message) {
		c := m.Body.(*rpc.InstallSnapshotCommand)
		w.going = append(w.going, &sentChunk{from: c.Offset, to: c.Offset + uint64(len(c.Data)), left: w.tick, bytes: len(c.Data)})
	}
	return w, t
}

// step has a tick pass.
func (w *way) step(t *stream) {
	w.tick++
	for w.free = min(w.free+w.rate, 2*w.rate); len(w.going) > 0 && w.going[0].bytes <= w.free; w.going = w.going[1:] {
		c := w.going[0]
		w.free -= c.bytes
		if c.from == w.have {
			w.have = c.to
		}
		c.next, c.there = w.have, w.tick+w.delay
		w.came = append(w.came, c)
	}
	if len(w.going) > 0 {
		w.going[0].bytes, w.free = w.going[0].bytes-w.free, 0
	}
	for len(w.came) > 0 && w.tick >= w.came[0].there {
		c := w.came[0]
		w.came = w.came[1:]
		if w.longest = max(w.longest, w.tick-c.left); w.tick-c.left < 200 {
			w.returned(rpc.Message{From: "n3", Term: 1, Body: &rpc.InstallSnapshotReturn{Transfer: t.transfer, Next: c.next}})
		}
	}
	for _, c := range append(w.going, w.came...) {
		if w.tick-c.left == 200 {
			w.failures++
			w.failed("n3")
		}
	}
	w.streams.tick()
}

// A snapshot uses what the way carries, next to nothing of it is sent twice, and next to no call fails since too much is on the way before it: also where a
// chunk alone takes longer than a second.
func TestASnapshotOverASlowWay(t *testing.T) {
	t.Parallel() // it shares nothing
	for name, c := range map[string]struct{ rate, delay, chunks, failures int }{
		"800 kbit/s":        {100_000, 1, 30, 2},
		"1 Mbit/s":          {125_000, 1, 30, 1},
		"2 Mbit/s":          {250_000, 1, 60, 0},
		"4 Mbit/s":          {500_000, 1, 100, 0},
		"10 Mbit/s":         {1_250_000, 1, 200, 0},
		"10 Mbit/s, 200 ms": {1_250_000, 20, 200, 0},
		"100 Mbit/s, 50 ms": {12_500_000, 5, 500, 0},
		"400 Mbit/s":        {50_000_000, 0, 500, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w, st := wayTo(c.rate, c.delay, c.chunks)
			possible := int(st.end) / (c.rate / 100)
			for !st.done() && w.tick < 2*possible {
				w.step(st)
			}
			require.True(t, st.done(), "%d of %d", st.stored, st.end)
			require.Less(t, w.tick, possible*6/5+100)
			require.LessOrEqual(t, st.sent, st.end*6/5)
			require.LessOrEqual(t, w.failures, c.failures)
		})
	}
}

// A way may become slower while it is used. After a while no more is on it than arrives within a second or so, whether calls failed or not.
func TestASnapshotOverAWayThatBecomesSlow(t *testing.T) {
	for name, rate := range map[string]int{"2 Mbit/s": 250_000, "5 Mbit/s": 625_000} {
		t.Run(name, func(t *testing.T) {
			w, st := wayTo(1_250_000, 1, 200)
			for !st.done() && w.tick < 20_000 {
				switch w.step(st); st.stored {
				case st.end / 2:
					w.rate = rate / 100
				case st.end * 3 / 4:
					w.longest = 0
				}
			}
			require.True(t, st.done(), "%d of %d", st.stored, st.end)
			require.LessOrEqual(t, w.longest, 125)
			require.LessOrEqual(t, st.sent, st.end*6/5)
		})
	}
}

// Where nothing is stored any more, what is sent again is less, and goes slower.
func TestWhatIsSentAgainIsLessAndSlower(t *testing.T) {
	w, st := wayTo(12_500_000, 1, 500)
	for range 200 {
		w.step(st)
	}
	require.Equal(t, windowChunks, st.flight)
	w.rate = 0
	fast := w.pace.rate
	for range streamRetryMax {
		if w.step(st); st.flight < windowChunks {
			break
		}
		fast = w.pace.rate
	}
	require.Equal(t, windowChunks/2, st.flight)
	require.Equal(t, fast/2, w.pace.rate)
}
