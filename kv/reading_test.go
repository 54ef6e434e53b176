package kv

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func read(quick bool) todo { return todo{work: work{quick: quick}} }

func put(t *testing.T, q *readQueue, n int, quick bool) {
	for range n {
		require.True(t, q.put(read(quick)))
	}
}

// What comes together is one reader's, and more are called where more has come than one had better do.
func TestReadsTogetherAreOneReaders(t *testing.T) {
	q := newReadQueue(1000)
	put(t, q, readsTogether, true)
	require.Len(t, q.calls, 1)
	put(t, q, 1, true)
	require.Len(t, q.calls, 2)
	put(t, q, 10*readsTogether, true)
	require.Len(t, q.calls, readersCount, "there are no more")
	require.Equal(t, 11*readsTogether+1, q.waiting())
}

// A quick read does not wait for one that takes long, or may: another reader is called to it.
func TestAQuickReadDoesNotWaitForASlowOne(t *testing.T) {
	for name, c := range map[string]struct{ quick, help bool }{"may take long": {false, false}, "took long": {true, true}} {
		q := newReadQueue(10)
		put(t, q, 1, c.quick)
		put(t, q, 1, true)
		require.Len(t, q.calls, 1, name)
		_, any := q.take(c.help)
		require.True(t, any)
		require.Len(t, q.calls, 2, name)
	}
	q := newReadQueue(10)
	put(t, q, 2, true)
	q.take(false)
	require.Len(t, q.calls, 1)
}

// Nor does one that comes while a slow one is under way, and nothing waits.
func TestAQuickReadDoesNotWaitForASlowOneUnderWay(t *testing.T) {
	q := newReadQueue(100)
	put(t, q, 1, false)
	slow, _ := q.take(false)
	put(t, q, readsTogether, true)
	require.Len(t, q.calls, 2)
	q.done(&slow)
	put(t, q, readsTogether, true)
	require.Len(t, q.calls, 2, "two can do that many")
}

func TestReadsThatWaitAreBounded(t *testing.T) {
	q := newReadQueue(3)
	put(t, q, 3, true)
	require.False(t, q.put(read(true)))
	_, any := q.take(false)
	require.True(t, any)
	put(t, q, 1, true)
	require.False(t, q.put(read(true)))
}

// A reader leaves only when nothing waits, and what comes after that calls one again: nothing is left waiting, whoever comes when.
func TestNoReadIsForgotten(t *testing.T) {
	const count = 100_000
	q := newReadQueue(count)
	var done sync.WaitGroup
	done.Add(count)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range readersCount {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-q.calls:
				}
				for !q.leave() {
					if _, any := q.take(false); any {
						done.Done()
					}
				}
			}
		})
	}
	for range 4 {
		readers.Go(func() {
			for range count / 4 {
				if !q.put(read(true)) {
					panic("full")
				}
			}
		})
	}
	done.Wait()
	close(stop)
	readers.Wait()
	require.Zero(t, q.waiting())
	require.Zero(t, q.readers)
	require.LessOrEqual(t, cap(q.list), 2*count)
}

// Reads are done in the order in which they came.
func TestReadsKeepTheirOrder(t *testing.T) {
	q := newReadQueue(100)
	next, expected := uint64(0), uint64(0)
	for range 50 {
		for range 7 {
			next++
			require.True(t, q.put(todo{request: &request{epoch: next}}))
		}
		for range 6 {
			a, any := q.take(false)
			expected++
			require.True(t, any)
			require.Equal(t, expected, a.request.epoch)
		}
	}
	require.Equal(t, 50, q.waiting())
}
