package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
)

// What is remembered of keys is bounded by what they have, and not only by how many they are.
func TestRecentKeysWithLongHistoriesAreBounded(t *testing.T) {
	var r recent
	for i := range recentKeysMax {
		r.keep(recentKey{1, name(i)}, make([]live, 64))
	}
	kept := 0
	for _, generation := range []map[recentKey][]live{r.keys, r.before} {
		for _, entries := range generation {
			kept += len(entries)
		}
	}
	require.LessOrEqual(t, kept, 2*(recentEntriesMax+64))
	require.Greater(t, kept, recentEntriesMax, "it forgets no more than it must")
	last, ok := r.key(1, name(recentKeysMax-1))
	require.True(t, ok)
	require.Len(t, last.live, 64)
}

// However many buckets there are, those that are remembered have a bound; of the others nothing is lost.
func TestRecentBucketsAreBounded(t *testing.T) {
	f := open(t, newMemory())
	const buckets = 2*recentBucketsMax + 1
	for i := range buckets {
		f.one(addBucket(name(i), command.Settings{}))
		require.LessOrEqual(t, len(f.store.recent.buckets), recentBucketsMax)
	}
	for i := range buckets {
		info, err := f.store.Bucket(name(i))
		require.NoError(t, err)
		require.EqualValues(t, i+1, info.Incarnation)
		require.LessOrEqual(t, len(f.store.recent.buckets), recentBucketsMax, "reads remember too")
	}
	f.close()
}

func TestARecentKeyCountsOnce(t *testing.T) {
	var r recent
	r.keep(recentKey{1, "first"}, make([]live, 1))
	for range recentEntriesMax {
		r.keep(recentKey{1, "again"}, make([]live, 2))
	}
	require.Equal(t, 3, r.entries)
	require.Empty(t, r.before, "no generation has begun")
}

// Of a bucket that is made in the same breath nothing is known by name yet: that a key was not there then is not believed once it is.
func TestAKeyThatWasLookedForBeforeItCameIsFound(t *testing.T) {
	f := open(t, newMemory())
	looked := write(command.Write{Bucket: "app", Key: "color", Condition: command.IfSequence, Sequence: 7})
	require.Equal(t, WrongRevision, f.apply(addBucket("app", command.Settings{}), looked)[1].Code)
	first := f.one(put("app", "color", "blue"))
	again := f.one(write(command.Write{Bucket: "app", Key: "color", Condition: command.IfSequence, Sequence: first.Sequence}))
	require.Equal(t, Done, again.Code)
	f.close()
}
