package store

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
)

func TestNamesKnowWhatIsThereAndMostOfWhatIsNot(t *testing.T) {
	var n names
	const many = 300_000
	n.begin(7)
	wrong := 0
	for i := range many {
		name := "key." + strconv.Itoa(i)
		if !n.lacks(7, name) {
			wrong++
		}
		n.add(7, name)
		require.False(t, n.lacks(7, name))
	}
	require.Less(t, wrong, many/250, "new keys taken for known ones")
	for i := range many {
		require.False(t, n.lacks(7, "key."+strconv.Itoa(i)), i)
	}
	require.Equal(t, 4, len(n.of[7].filters))

	require.False(t, n.lacks(8, "key.0"), "a bucket of which nothing is known")
	n.add(8, "key.0")
	n.begin(7)
	require.True(t, n.lacks(7, "key.0"))
	require.Zero(t, n.blocks)
}

func TestNamesAreBounded(t *testing.T) {
	n := names{blocks: nameBlocksMax - firstNames/blockNames - 1}
	n.begin(1)
	n.begin(2)
	n.add(1, "a")
	require.Equal(t, nameBlocksMax, n.blocks)
	n.add(2, "a")
	require.False(t, n.lacks(2, "b"), "there is no room, so nothing is known")
	require.True(t, n.lacks(1, "b"))
	n.end(1)
	require.Less(t, n.blocks, nameBlocksMax)
}

func TestNamesAreOfSoManyBucketsOnly(t *testing.T) {
	var n names
	for i := range uint64(nameBucketsMax + 1) {
		n.begin(i)
	}
	require.Equal(t, nameBucketsMax, len(n.of))
	require.False(t, n.lacks(nameBucketsMax, "a"), "one bucket too many: nothing is known of it")
	n.end(0)
	n.begin(nameBucketsMax)
	require.True(t, n.lacks(nameBucketsMax, "a"))
}

// Buckets come and go: of those that are gone nothing is kept.
func TestNamesOfABucketThatIsGoneGo(t *testing.T) {
	f := open(t, newMemory())
	f.one(addBucket("app", command.Settings{}))
	f.one(put("app", "k", "v"))
	require.Positive(t, f.store.recent.names.blocks)
	f.one(removeBucket("app"))
	require.Empty(t, f.store.recent.names.of)
	require.Zero(t, f.store.recent.names.blocks)
	f.close()
}
