package watch

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Those that take too long are looked for once a second at most, however many requests find no room: all are looked at (Q12).
func TestWhatTakesTooLongIsLookedForNowAndThen(t *testing.T) {
	m, now := making{of: map[string]made{}}, int64(2*makingMax)
	m.begin(Wanted{Name: "a", Weight: 1}, 1)
	m.begin(Wanted{Name: "b", Weight: 2}, now-makingMax)
	m.sweep(now)
	require.Equal(t, 2, m.weight, "one has time yet")
	m.sweep(now + sweepEvery - 1)
	require.Equal(t, 2, m.weight)
	m.sweep(now + sweepEvery)
	require.Zero(t, m.weight)
	require.Empty(t, m.of)
}

// A consumer that is made anew before it is there weighs once.
func TestWhatIsMadeOtherwiseWeighsOnce(t *testing.T) { // Q12
	m := making{of: map[string]made{}}
	m.begin(Wanted{Name: "a", Weight: 1}, 1)
	m.begin(Wanted{Name: "a", Weight: 5}, 2)
	require.Equal(t, 5, m.weight)
	m.end("a")
	m.end("a")
	require.Zero(t, m.weight)
}
