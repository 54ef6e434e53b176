package node

import (
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever takes in a snapshot rests seven times as long as it has worked, in short steps, and not for ever after a stall (L7).
func TestInstallingRestsBesideOthers(t *testing.T) {
	now, rests := time.Unix(1000, 0), []time.Duration{}
	var count atomic.Uint64
	r := &throttledReader{from: strings.NewReader("123456"), count: &count, now: func() time.Time { return now }, since: now, rest: func(d time.Duration) {
		rests = append(rests, d)
		now = now.Add(d)
	}}
	for _, work := range []time.Duration{3, 3, 3, 1, 500, 0} { // in milliseconds, before each read
		now = now.Add(work * time.Millisecond)
		n, err := r.Read(make([]byte, 1))
		require.NoError(t, err)
		require.Equal(t, 1, n)
	}
	require.Equal(t, []time.Duration{42 * time.Millisecond, 28 * time.Millisecond, 100 * time.Millisecond}, rests)
	_, err := r.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.EqualValues(t, 6, count.Load())
}
