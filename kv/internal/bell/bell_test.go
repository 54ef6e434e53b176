package bell

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is rung while nobody listens is heard by who comes later, and once.
func TestBell(t *testing.T) {
	b := New()
	for range 3 {
		b.Ring()
		b.Ring()
		require.Len(t, b, 1)
		<-b
		require.Empty(t, b)
	}
}
