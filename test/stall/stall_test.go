package stall

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatTheMachineTakes(t *testing.T) {
	m := &Meter{}
	m.note(period) // as ever
	require.Zero(t, m.Lost())
	m.note(300 * time.Millisecond)
	m.note(200 * time.Millisecond)
	require.Equal(t, 500*time.Millisecond, m.Lost())
	require.Contains(t, m.String(), "300ms at most, for 500ms in all")
}
