package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
)

// However much is over in a bucket, what is over in another waits for one command of each, and so does what the bucket's TTL ends for what is over by
// a time of its own. Commands are no smaller for it.
func TestWhatIsOverTakesTurns(t *testing.T) {
	const much, max = 97, 10
	f := open(t, newMemory())
	f.at(time.Second, addBucket("full", command.Settings{AllowTTL: true, TTL: time.Minute}), put("full", "aged", "v"),
		addBucket("other", command.Settings{AllowTTL: true}), putTTL("other", "lease", time.Second), addBucket("next", command.Settings{TTL: time.Second}), put("next", "k", "v"))
	for i := range much {
		f.at(time.Second, putTTL("full", name(i), time.Second))
	}
	commands := 0
	named := map[command.ExpireItem]int{} // by which command
	for items := f.due(time.Hour, max); len(items) > 0; items = f.due(time.Hour, max) {
		commands++
		for _, item := range items {
			require.NotContains(t, named, item)
			named[item] = commands
		}
		require.Equal(t, []Result{{Count: uint64(len(items))}}, f.at(time.Hour, expire(items...)))
	}
	require.Equal(t, (much+3)/max, commands, "each as large as it may be")
	require.LessOrEqual(t, named[command.ExpireItem{Bucket: "full", Incarnation: 1, Sequence: 1, Key: "aged"}], 2)
	require.LessOrEqual(t, named[command.ExpireItem{Bucket: "other", Incarnation: 3, Sequence: 1, Key: "lease"}], 3)
	require.LessOrEqual(t, named[command.ExpireItem{Bucket: "next", Incarnation: 5, Sequence: 1, Key: "k"}], 3)
	f.close()
}

// An entry that is over by both times is named once, whichever is looked for first.
func TestWhatIsOverTwiceIsNamedOnce(t *testing.T) {
	f := open(t, newMemory())
	f.at(time.Second, addBucket("app", command.Settings{AllowTTL: true, TTL: time.Minute}), putTTL("app", "a", time.Second), putTTL("app", "b", 2*time.Second))
	f.at(time.Hour, putTTL("app", "c", time.Second), putTTL("app", "d", time.Second))
	first := f.due(time.Hour+time.Second, 3)
	require.Len(t, first, 3)
	require.Equal(t, first, f.due(time.Hour+time.Second, 3), "the bucket's TTL first, and then what is over besides")
	require.Len(t, f.due(time.Hour+time.Second, 10), 4)
	f.close()
}

// A look passes so much of entries that never end and no more, in however many buckets they are; what is over elsewhere has its turn meanwhile.
func TestALookPassesABoundedPartOfAllBuckets(t *testing.T) {
	f := open(t, newMemory())
	for _, bucket := range []string{"first", "second"} {
		f.at(time.Second, addBucket(bucket, command.Settings{TTL: time.Second, AllowTTL: true}))
		for i := range 2 {
			f.at(time.Second, write(command.Write{Bucket: bucket, Key: name(i), Value: make([]byte, passedBytesMax), TTL: command.Never}))
		}
	}
	f.at(time.Second, addBucket("third", command.Settings{AllowTTL: true}), putTTL("third", "lease", time.Second))
	require.Empty(t, f.due(time.Hour, 10))
	require.Zero(t, f.store.schedule.tables[4].agedSeq, "not looked at yet")
	require.Empty(t, f.due(time.Hour, 10))
	require.NotZero(t, f.store.schedule.tables[4].agedSeq)
	require.Len(t, f.due(time.Hour, 10), 1)
	f.close()
}

// A history that was lowered goes on being lowered while leases end all the time.
func TestALowerHistoryDoesNotWaitForLeases(t *testing.T) {
	t.Parallel()
	f := open(t, newMemory())
	f.at(time.Second, addBucket("app", command.Settings{History: 2, AllowTTL: true}))
	for i := range removedMax + 1 {
		f.at(time.Second, put("app", name(i), "v"), put("app", name(i), "w"))
	}
	f.at(time.Second, command.Command{UpdateBucket: &command.UpdateBucket{Name: "app", Settings: command.Settings{History: 1, AllowTTL: true}}})
	f.at(time.Second, putTTL("app", "lease", time.Second))
	require.Contains(t, f.due(time.Hour, 10), command.ExpireItem{Bucket: "app", Incarnation: 1})
	f.close()
}

// Each step of a lower history removes as much as one command may: of many buckets one takes a step with each look, in turn, and nothing else waits for
// that (F26).
func TestLowerHistoriesTakeTurns(t *testing.T) {
	const buckets, keys, history = 3, 420, 50
	f := open(t, newMemory())
	f.at(0, addBucket("leases", command.Settings{AllowTTL: true}), putTTL("leases", "k", time.Second))
	for b := range buckets {
		name := fmt.Sprint("b", b)
		made := []command.Command{addBucket(name, command.Settings{History: history})}
		for i := range keys * history {
			made = append(made, put(name, fmt.Sprint(i%keys), "v"))
		}
		f.at(0, made...)
		f.at(0, command.Command{UpdateBucket: &command.UpdateBucket{Name: name, Settings: command.Settings{History: 1}}})
	}
	trimmed := map[string]int{}
	for range buckets {
		items := f.due(2*time.Second, 512)
		steps := 0
		for _, item := range items {
			if item.Sequence == 0 {
				trimmed[item.Bucket]++
				steps++
			}
		}
		require.Equal(t, 1, steps)
		if len(trimmed) == 1 {
			require.Len(t, items, 2, "the lease waits for no history")
		}
		removed := f.at(2*time.Second, expire(items...))[0].Count
		require.Greater(t, removed, uint64(1))
		require.LessOrEqual(t, removed, uint64(removedMax+history+1))
	}
	require.Len(t, trimmed, buckets)
	f.close()
}
