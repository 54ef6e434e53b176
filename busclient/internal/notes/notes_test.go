package notes

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatRepeatsIsNewsOnceAMinute(t *testing.T) {
	var n Notes
	now := time.Unix(1000, 0)
	require.True(t, n.IsNews("a", now))
	require.True(t, n.IsNews("b", now.Add(time.Second)), "another kind is news")
	require.False(t, n.IsNews("a", now.Add(Interval-1)))
	require.True(t, n.IsNews("a", now.Add(Interval)))
	require.False(t, n.IsNews("a", now.Add(Interval+1)))
	told := 0
	for i := range 10 * KindsMax {
		if n.IsNews(fmt.Sprint(i), now.Add(3*Interval)) {
			told++
		}
	}
	require.Equal(t, KindsMax, told, "what is remembered is bounded, and so is the log")
	require.True(t, n.IsNews("a", now.Add(4*Interval)), "and room is made by time")
}
