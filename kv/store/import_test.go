package store

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
)

func imports(i command.Import) command.Command {
	i.Bucket = "app"
	return command.Command{Import: &i}
}

// An import, from its beginning to what comes after it: revisions and times are those that entries had, nothing expires meanwhile, and
// then everything does that is over.
func TestImport(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		type told struct {
			kind      EventKind
			importing bool
		}
		var feed []told
		f.store.Follow(func(b Batch) {
			for _, e := range b.Events {
				feed = append(feed, told{e.Kind, e.Importing})
			}
		})
		begin := command.Command{AddBucket: &command.AddBucket{Name: "app", Settings: command.Settings{History: 2, MarkerTTL: time.Second, AllowTTL: true}, Importing: true}}
		f.at(time.Hour, begin)
		second := int64(time.Second)
		require.Equal(t, []Result{{Sequence: 9, Revision: 4}}, f.at(time.Hour, imports(command.Import{Last: 9, LastTime: 5 * second, Entries: []command.ImportEntry{
			{Key: "k", Sequence: 2, Value: []byte("v"), Time: second},
			{Key: "gone", Sequence: 4, TTL: time.Second, Time: 3 * second, Header: header},
			{Key: "k", Sequence: 7, Op: command.Delete, Time: 2 * second},
		}})))
		require.Equal(t, []Result{{Again: true, Sequence: 9, Revision: 1}}, f.at(time.Hour, begin))
		page, err := f.store.Page(Query{Bucket: "app", Max: 100, MaxBytes: 1000})
		require.NoError(t, err)
		require.Equal(t, []uint64{2, 4, 7}, sequences(page.Entries))
		require.Equal(t, []int64{second, 3 * second, 3 * second}, []int64{page.Entries[0].Time, page.Entries[1].Time, page.Entries[2].Time}, "in the order of time")
		state, err := f.store.State("app")
		require.NoError(t, err)
		require.Equal(t, [4]int64{2, second, 5 * second, 5}, [4]int64{int64(state.First), state.FirstTime, state.LastTime, int64(state.Gaps)})

		gone := command.ExpireItem{Bucket: "app", Incarnation: 1, Sequence: 4, Key: "gone"}
		require.Empty(t, f.due(2*time.Hour, 10))
		require.Equal(t, []Result{{}}, f.at(time.Hour, expire(gone)), "its marker would take a sequence of those that are still to come")
		for _, c := range []command.Command{
			put("app", "k", "v"), addBucket("app", command.Settings{}), purge(command.PurgeBucket{}),
			{UpdateBucket: &command.UpdateBucket{Name: "app"}},
		} {
			require.Equal(t, []Result{{Code: Importing}}, f.at(time.Hour, c))
		}
		require.Equal(t, []Result{{Code: WrongLastSequence, Current: 9}}, f.at(time.Hour, imports(command.Import{After: 7, Done: true})))
		require.Equal(t, []Result{{Code: BadImport}}, f.at(time.Hour, imports(command.Import{After: 9, Entries: []command.ImportEntry{{Key: "k", Sequence: 9}}})))

		require.Equal(t, []Result{{Sequence: 9, Revision: 5}}, f.at(time.Hour, imports(command.Import{After: 9, Done: true})))
		require.Equal(t, []Result{{Code: NotImporting, Current: 9}}, f.at(time.Hour, imports(command.Import{After: 9, Done: true})))
		require.Equal(t, []command.ExpireItem{gone}, f.due(time.Hour, 10))
		f.at(time.Hour, expire(gone))
		marker, err := f.store.Last("app", "gone")
		require.NoError(t, err)
		require.EqualValues(t, 10, marker.Sequence)
		require.Equal(t, []told{{BucketAdded, true}, {Stored, true}, {Stored, true}, {Stored, true}, {BucketUpdated, false}, {Removed, false}, {Stored, false}}, feed)
		f.close()
	})
}

// What was imported as of the beginning of time, and went before anything came after it, leaves a state that can be told.
func TestTheLastOfAnImportGoes(t *testing.T) {
	f := open(t, newMemory())
	f.at(time.Hour, command.Command{AddBucket: &command.AddBucket{Name: "app", Settings: command.Settings{History: 1}, Importing: true}},
		imports(command.Import{Entries: []command.ImportEntry{{Key: "k", Sequence: 1}, {Key: "l", Sequence: 2}}}), imports(command.Import{After: 2, Done: true}))
	require.EqualValues(t, 1, f.at(time.Hour, purge(command.PurgeBucket{Filter: "l"}))[0].Count)
	state, err := f.store.State("app")
	require.NoError(t, err)
	require.Equal(t, [3]uint64{1, 2, 1}, [3]uint64{state.First, state.Sequence, state.Entries})
	f.close()
}
