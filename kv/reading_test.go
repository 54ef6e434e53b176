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
					if a, any := q.take(false); any {
						q.done(&a)
						done.Done()
					}
				}
			}
		})
	}
	for range 4 {
		readers.Go(func() {
			for i := range count / 4 {
				if !q.put(todo{request: &request{client: uint16(i % 3)}, work: work{quick: i%4 > 1, search: i%4 == 1}}) {
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
	require.LessOrEqual(t, cap(q.lines[quick].list), 2*count)
}

// Reads are done in the order in which they came.
func TestReadsKeepTheirOrder(t *testing.T) {
	q := newReadQueue(100)
	next, expected := uint64(0), uint64(0)
	for range 50 {
		for range 7 {
			next++
			require.True(t, q.put(todo{request: &request{epoch: next}, work: work{quick: next%2 == 0}}))
		}
		for range 6 {
			a, any := q.take(false)
			q.done(&a)
			expected++
			require.True(t, any)
			require.Equal(t, expected, a.request.epoch)
		}
	}
	require.Equal(t, 50, q.waiting())
}

// Searches have no more than some of the readers, and all slow reads together not the last: however many are asked for, others go on (Q12).
func TestSearchesDoNotHaveAllReaders(t *testing.T) {
	q := newReadQueue(100)
	searches := func(n int) (taken []todo) {
		for range n {
			require.True(t, q.put(todo{request: &request{}, work: work{search: true}}))
			if a, any := q.take(false); any {
				taken = append(taken, a)
			}
		}
		return taken
	}
	first := searches(10)
	require.Len(t, first, searchesMax)
	require.Len(t, q.calls, searchesMax, "nobody is called in vain")
	put(t, q, 2, false)
	require.Len(t, q.calls, slowMax)
	paged, any := q.take(false)
	require.True(t, any)
	require.Equal(t, page, paged.work.pace())
	_, any = q.take(false)
	require.False(t, any, "the last reader is for quick reads")
	put(t, q, 1, true)
	require.Len(t, q.calls, readersCount)
	last, any := q.take(false)
	require.True(t, any)
	require.True(t, last.work.quick)
	q.done(&paged)
	require.False(t, q.leave(), "another waits")
	second, any := q.take(false)
	require.True(t, any)
	require.Equal(t, page, second.work.pace())
	q.done(&second)
	q.done(&first[0])
	_, any = q.take(false)
	require.True(t, any, "a search too")
}

// What waits of one pace leaves no less room for others.
func TestSearchesThatWaitLeaveRoomForReads(t *testing.T) {
	q := newReadQueue(2)
	for range 2 {
		require.True(t, q.put(todo{request: &request{}, work: work{search: true}}))
	}
	require.False(t, q.put(todo{request: &request{}, work: work{search: true}}))
	put(t, q, 2, true)
	require.Equal(t, 4, q.waiting())
}

// A client whose searches wait one behind the other does not have those of others wait for all of them (Q12).
func TestClientsTakeTurnsWithSearches(t *testing.T) {
	q := newReadQueue(100)
	for _, client := range []uint16{1, 1, 1, 1, 2, 3, 2} {
		require.True(t, q.put(todo{request: &request{client: client}, work: work{search: true}}))
	}
	var order []uint16
	var under []todo
	for range 7 {
		if len(under) == searchesMax {
			q.done(&under[0])
			under = under[1:]
		}
		a, any := q.take(false)
		require.True(t, any)
		order, under = append(order, a.request.client), append(under, a)
	}
	require.Equal(t, []uint16{1, 2, 1, 3, 1, 2, 1}, order)
	require.Zero(t, q.waiting())
	for i := range under {
		q.done(&under[i])
	}
	require.Zero(t, q.searching)
}
