package raft

// The log's cursors and its part in memory.

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

func TestEvictCopiesNothingWhileNothingIsDurable(t *testing.T) {
	l := raftLog{}
	l.append(run(1, 1, 1, 1, 1))
	l.submit(nil, nil, nil, 0)
	require.Zero(t, testing.AllocsPerRun(10, func() { l.evict(1) }), "a hung disk must not make every turn copy the cache")
	require.Len(t, l.cache, 4)
	l.complete(1, 1, 0)
	l.evict(1)
	require.Empty(t, l.cache)
}

// What is forgotten can be freed: what is left is not a piece of it.
func TestForgetFreesWhatIsForgotten(t *testing.T) {
	l := raftLog{}
	l.append(run(1, 1, 1, 1, 1))
	before := l.cache
	l.forget(rpc.EntryID{Term: 1, Index: 3})
	require.Len(t, l.cache, 1)
	require.NotSame(t, &before[3], &l.cache[0])
}

// The runs of terms begin where the log does, once each: where all is forgotten there is none.
func TestForgettingCutsTheRuns(t *testing.T) {
	for to, want := range map[rpc.Index][]rpc.TermRun{
		1: {{First: 2, Term: 1}, {First: 3, Term: 2}, {First: 5, Term: 3}},
		2: {{First: 3, Term: 2}, {First: 5, Term: 3}},
		3: {{First: 4, Term: 2}, {First: 5, Term: 3}},
		4: {{First: 5, Term: 3}},
		5: nil,
	} {
		l := raftLog{}
		l.append(run(1, 1, 1, 2, 2, 3))
		term, _ := l.term(to)
		l.forget(rpc.EntryID{Term: term, Index: to})
		require.Equal(t, want, l.runs, "up to %d", to)
	}
}

// Whoever asks for what is not there yet, or for nothing, gets nothing (K24).
func TestTheCacheGivesWhatItHas(t *testing.T) {
	l := raftLog{}
	l.append(run(1, 1, 1, 1))
	require.Equal(t, run(2, 1, 1), l.cached(2, 9, 1<<20))
	for _, c := range [][2]rpc.Index{{2, 2}, {3, 2}, {4, 4}, {4, 9}, {6, 9}} {
		require.Nil(t, l.cached(c[0], c[1], 1<<20), "%v", c)
	}
}

// A write of a vote alone has no entries.
func TestAWriteHasWhatIsNew(t *testing.T) {
	l, vote := raftLog{}, &rpc.HardState{Term: 1, Vote: "n1"}
	l.append(run(1, 1, 1))
	require.Equal(t, Write{Seq: 1, Entries: run(1, 1, 1)}, l.submit(nil, nil, nil, 0))
	require.Equal(t, Write{Seq: 2, HardState: vote}, l.submit(nil, vote, nil, 0))
	require.Equal(t, Write{}, l.submit(nil, nil, nil, 0))
}

// Some of a write's entries may be durable before the rest; what was cut off the log since is not, and what is told of an earlier write says nothing of the next.
func TestAPartOfAWriteIsDurable(t *testing.T) {
	l := raftLog{}
	l.append(run(1, 1, 1, 1, 1))
	l.submit(nil, nil, nil, 0)
	l.complete(0, 1, 2)
	require.Equal(t, rpc.Index(2), l.synced)
	l.truncate(2)
	l.append(run(2, 2, 2))
	l.submit(nil, nil, nil, 0)
	l.complete(0, 1, 3)
	require.Equal(t, rpc.Index(1), l.synced, "the entry that was there is not the one that is")
	l.complete(1, 1, 0)
	l.complete(0, 1, 3)
	require.Equal(t, rpc.Index(1), l.synced)
	l.complete(2, 2, 0)
	require.Equal(t, rpc.Index(3), l.synced)
}

// The cache is moved once for many entries, not for each: when it is full, half of it goes.
func TestAFullCacheIsSeldomMoved(t *testing.T) {
	l, moved := raftLog{}, 0
	step := func(i rpc.Index) {
		l.append(run(i, 1))
		l.submit(nil, nil, nil, 0)
		l.complete(l.seq, l.seq, 0)
		first := l.cacheFirst()
		if l.evict(400 * rpc.EntryOverheadBytes); l.cacheFirst() != first {
			moved++
		}
	}
	for i := rpc.Index(1); moved == 0; i++ {
		step(i)
	}
	for i := range rpc.Index(100) {
		step(l.last + 1)
		require.LessOrEqual(t, moved, 2, "after %d entries more", i+1)
	}
}

// Nor is it moved for each entry while it grows.
func TestAGrowingCacheIsSeldomMoved(t *testing.T) {
	l, moved := raftLog{}, 0
	for i := range rpc.Index(10_000) {
		before := cap(l.cache)
		if l.append(run(i+1, 1)); cap(l.cache) != before {
			moved++
		}
	}
	require.Less(t, moved, 40)
}
