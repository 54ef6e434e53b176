package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// after is how many chunks may leave in so many ticks; each is stored after a while.
func (p *pace) after(ticks int, took time.Duration) (chunks int) {
	for range ticks {
		for p.tick(); p.take(); chunks++ {
			p.stored(took)
		}
	}
	return chunks
}

// With nobody beside it a snapshot goes as fast as its window allows; as soon as clients ask something, no faster than leaves
// them their time, and what was saved up does not count (L7).
func TestPaceLeavesRoomForClients(t *testing.T) {
	p := newPace()
	p.after(200, 2*time.Millisecond)
	require.Equal(t, 10*windowChunks, p.after(10, 2*time.Millisecond))
	p.tick()
	p.asked()
	require.True(t, p.take())
	require.False(t, p.take(), "what nobody was there for is not for now")
	for range 10 {
		p.asked()
		require.LessOrEqual(t, p.after(1, 2*time.Millisecond), 1)
	}
	require.LessOrEqual(t, p.after(paceClients-1, 2*time.Millisecond), paceClients-1, "they may ask again")
	require.Greater(t, p.after(200, 2*time.Millisecond), 400, "they are gone")
}

// When chunks take long the rate falls, by half each time, to a least at which a snapshot still comes forward; and it rises again.
func TestPaceYieldsToACongestedPath(t *testing.T) {
	p := newPace()
	p.after(200, 2*time.Millisecond)
	fast := p.after(10, 2*time.Millisecond)
	p.after(200, 60*time.Millisecond)
	slow := p.after(64, 60*time.Millisecond)
	require.Less(t, slow, fast/2, "in more than six times the time")
	require.Positive(t, slow, "it comes to a stop")
	p.after(400, 2*time.Millisecond)
	require.Greater(t, p.after(10, 2*time.Millisecond), fast/2)
	p.stored(-time.Second)
	require.Positive(t, p.least, "a clock that was set back is no round trip")
}

// What was sent before the rate was halved comes back late as well: that is no reason to halve it again.
func TestPaceIsHalvedOnceForWhatWasOnItsWay(t *testing.T) {
	p := newPace()
	p.after(200, 2*time.Millisecond)
	fast := p.rate
	p.lost()
	p.lost()
	require.Equal(t, fast/2, p.rate)
	for range paceRest {
		p.tick()
	}
	p.lost()
	require.Equal(t, fast/4, p.rate)
}

// It begins slowly, and is at its full rate within a second: the first chunks show the way while nobody is in it.
func TestPaceBeginsSlowly(t *testing.T) {
	p := newPace()
	p.asked()
	require.LessOrEqual(t, p.after(20, 2*time.Millisecond), 2)
	p.after(80, 2*time.Millisecond)
	require.Greater(t, p.after(16, 2*time.Millisecond), 10)
}

// A path that becomes longer for good is not taken for congestion for ever.
func TestPaceLearnsALongerPath(t *testing.T) {
	p := newPace()
	p.after(100, time.Millisecond)
	p.after(30_000, 40*time.Millisecond)
	require.Greater(t, p.after(100, 40*time.Millisecond), 50)
}

// A chunk that was sent twice says nothing of the way: which of the two was stored is not known.
func TestPaceIgnoresWhatWasSentTwice(t *testing.T) {
	for sent := 1; sent <= 2; sent++ {
		now := time.Unix(1000, 0)
		s := &streams{pace: newPace(), now: func() time.Time { return now }, send: func(rpc.Message) {}}
		one := &stream{chunks: []chunk{{data: make([]byte, 10)}}, unsent: 1, end: 10}
		for range sent {
			s.sendChunk(one, &one.chunks[0])
			now = now.Add(time.Millisecond)
		}
		s.stored(one, 10)
		require.Equal(t, sent == 1, s.pace.way == time.Millisecond)
		require.EqualValues(t, 10*sent, one.sent)
	}
}
