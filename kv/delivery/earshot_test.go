package delivery

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/watch"
)

// Others are silent only for as long as a node hears itself: its own pause, or a connection that is away, is no silence of theirs (F7).
func TestSilenceIsCountedWhileOnesOwnWordComesBack(t *testing.T) {
	var e earshot
	now := time.Now()
	speak := func(times int, every time.Duration) {
		for range times {
			now = now.Add(every)
			e.echo(now)
		}
	}
	e.hear("n2") // nobody has asked
	require.Empty(t, e.heard)
	speak(100, watch.AnnounceEvery)
	require.Zero(t, e.silence("n2"), "it was not asked about before")
	speak(10, watch.AnnounceEvery)
	require.Equal(t, time.Second, e.silence("n2"))
	require.Zero(t, e.silence("n3"))
	now = now.Add(time.Hour)
	require.Equal(t, time.Second, e.silence("n2"))
	speak(1, 0)
	require.Equal(t, time.Second+echoMax, e.silence("n2"))
	e.hear("n2")
	require.Zero(t, e.silence("n2"))
	require.Equal(t, echoMax, e.silence("n3"))
}

// What comes over NATS is heard: one's own word, and another's.
func TestWhoIsHeardIsNotSilent(t *testing.T) {
	r := newRig(t, true)
	silent := func() time.Duration { return r.Silence("n2") }
	silent()
	require.Eventually(t, func() bool { return silent() > 0 }, patience, time.Millisecond, "its own word comes back")
	r.hears(t, "n2")
	require.Less(t, silent(), echoMax)
}
