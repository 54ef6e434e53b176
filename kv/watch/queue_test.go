package watch

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A queue that is never empty has first in first out, and takes no more memory than what is in it asks for.
func TestAQueueThatIsNeverEmptyDoesNotGrow(t *testing.T) {
	var q queue[int]
	for i := range 100_000 {
		q.push(i)
		if i >= 100 {
			require.Equal(t, i-100, q.pop())
		}
	}
	require.Equal(t, 100, q.len())
	require.LessOrEqual(t, cap(q.items), 4_096)
}
