package raft

// The log's cursors and its part in memory.

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEvictCopiesNothingWhileNothingIsDurable(t *testing.T) {
	l := raftLog{}
	l.append(run(1, 1, 1, 1, 1))
	l.submit(nil, nil, nil, 0)
	require.Zero(t, testing.AllocsPerRun(10, func() { l.evict(1) }), "a hung disk must not make every turn copy the cache")
	require.Len(t, l.cache, 4)
	l.complete(1)
	l.evict(1)
	require.Empty(t, l.cache)
}
