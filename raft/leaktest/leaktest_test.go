package leaktest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { Main(m) }

// What ends later than goleak waits for is no leak; what does not end is one.
func TestWhatEndsByItselfIsNoLeak(t *testing.T) {
	end := make(chan struct{})
	go func() { <-end }()
	require.ErrorContains(t, find(0), "TestWhatEndsByItselfIsNoLeak")
	time.AfterFunc(1200*time.Millisecond, func() { close(end) })
	require.NoError(t, find(patience))
}
