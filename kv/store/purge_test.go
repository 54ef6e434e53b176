package store

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
)

func name(i int) string { return fmt.Sprintf("k%06d", i) }

func purge(p command.PurgeBucket) command.Command {
	p.Name = "app"
	return command.Command{PurgeBucket: &p}
}

func TestPurge(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		for _, c := range []struct {
			purge command.PurgeBucket
			want  Result
			left  []uint64
		}{
			{command.PurgeBucket{}, Result{Count: 7}, nil},
			{command.PurgeBucket{Filter: ">"}, Result{Count: 7}, nil},
			{command.PurgeBucket{Filter: "a.x"}, Result{Count: 3}, []uint64{3, 6, 8, 9}},
			{command.PurgeBucket{Filter: "a.*"}, Result{Count: 4}, []uint64{3, 8, 9}},
			{command.PurgeBucket{Filter: "none.>"}, Result{}, []uint64{1, 3, 5, 6, 7, 8, 9}},
			{command.PurgeBucket{Filter: "a.x", Keep: 1}, Result{Count: 2}, []uint64{3, 6, 7, 8, 9}},
			{command.PurgeBucket{Filter: "a.x", Keep: 3}, Result{}, []uint64{1, 3, 5, 6, 7, 8, 9}},
			{command.PurgeBucket{Below: 6}, Result{Count: 3}, []uint64{6, 7, 8, 9}},
			{command.PurgeBucket{Below: 1}, Result{}, []uint64{1, 3, 5, 6, 7, 8, 9}},
			{command.PurgeBucket{Below: 100}, Result{Count: 7}, nil},
			{command.PurgeBucket{Filter: "a.>", Below: 6}, Result{Count: 2}, []uint64{3, 6, 7, 8, 9}},
			{command.PurgeBucket{Filter: "a..b"}, Result{Code: BadFilter}, []uint64{1, 3, 5, 6, 7, 8, 9}},
			{command.PurgeBucket{Filter: "a.*", Keep: 1}, Result{Code: BadFilter}, []uint64{1, 3, 5, 6, 7, 8, 9}},
			{command.PurgeBucket{Keep: 1}, Result{Code: BadFilter}, []uint64{1, 3, 5, 6, 7, 8, 9}},
		} {
			f := open(t, fresh())
			require.Equal(t, Result{Code: NoBucket}, f.one(purge(c.purge)))
			mixed(f)
			require.Equal(t, c.want, f.one(purge(c.purge)), c)
			page, err := f.store.Page(Query{Bucket: "app", Max: 100, MaxBytes: 1000})
			require.NoError(t, err)
			require.Equal(t, c.left, sequences(page.Entries), c)
			require.Equal(t, Result{Sequence: 10, Revision: 11}, f.one(put("app", "new", "v")), "no purge takes a sequence or gives one back")
			f.close()
		}
	})
}

func TestTheLastTimeOutlivesTheLastEntry(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.apply(addBucket("app", command.Settings{}), put("app", "k", "v"), put("app", "l", "v"))
		f.one(purge(command.PurgeBucket{Filter: "l"}))
		state, err := f.store.State("app")
		require.NoError(t, err)
		require.Equal(t, [4]int64{1, 2000, 3000, 1}, [4]int64{int64(state.First), state.FirstTime, state.LastTime, int64(state.Gaps)})
		f.one(purge(command.PurgeBucket{}))
		state, err = f.store.State("app")
		require.NoError(t, err)
		require.Equal(t, [4]int64{3, 0, 0, 0}, [4]int64{int64(state.First), state.FirstTime, state.LastTime, int64(state.Gaps)})
		require.EqualValues(t, 2, state.Sequence)
		f.close()
	})
}

func TestKeepFrom(t *testing.T) {
	f := open(t, newMemory())
	mixed(f)
	for _, c := range []struct {
		pattern string
		keep    uint64
		want    uint64
	}{{">", 1, 9}, {">", 3, 7}, {">", 7, 1}, {">", 8, 0}, {">", 0, 0}, {"a.*", 2, 6}} {
		from, _, err := f.store.KeepFrom("app", pattern(t, c.pattern), c.keep, nil)
		require.NoError(t, err)
		require.Equal(t, c.want, from, c)
	}
	f.close()
}

// A purge of many keys is done in steps, each of which says where the next goes on. What was written since it began stays, also if the purge
// is of all below a sequence that is still to come.
func TestAPurgeOfManyKeysIsDoneInSteps(t *testing.T) {
	t.Parallel()
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.one(addBucket("app", command.Settings{}))
		const keys = 2*removedMax + 5
		var batch []command.Command
		for i := range keys {
			batch = append(batch, put("app", "p."+name(i), "v"))
		}
		f.apply(batch...)
		first := f.one(purge(command.PurgeBucket{Filter: "p.*", Below: 2 * keys}))
		require.Equal(t, Result{Count: removedMax, Rest: &Rest{After: "p." + name(removedMax-1), Through: keys, Incarnation: 1}}, first)
		f.apply(put("app", "p."+name(0), "new"), put("app", "p."+name(keys-1), "new"))
		total := first.Count
		for r := first; r.Rest != nil; total += r.Count {
			r = f.one(purge(command.PurgeBucket{Filter: "p.*", Below: 2 * keys, After: r.Rest.After, Through: r.Rest.Through}))
		}
		require.EqualValues(t, keys-1, total, "the last key's old entry was displaced")
		page, err := f.store.Keys("app", "", "", 10)
		require.NoError(t, err)
		require.Equal(t, []string{"p." + name(0), "p." + name(keys-1)}, page.Names)
		f.close()
	})
}

// Keys that do not match count too: one step looks at a bounded number. What it looks at is the same, whether the keys are in the
// database already or come in the same batch (I5).
func TestAPurgeLooksAtABoundedNumberOfKeys(t *testing.T) {
	t.Parallel()
	var sums []string
	for _, batched := range []bool{true, false} {
		f := open(t, newMemory())
		batch := []command.Command{addBucket("app", command.Settings{})}
		for i := range keysMax + 10 {
			batch = append(batch, put("app", name(i)+".x", "v"))
		}
		batch = append(batch, put("app", "z.y", "v"), purge(command.PurgeBucket{Filter: name(5) + ".x"}))
		step := purge(command.PurgeBucket{Filter: "*.y"})
		var r Result
		if batched {
			all := f.apply(append(batch, step)...)
			r = all[len(all)-1]
		} else {
			f.apply(batch...)
			r = f.one(step)
		}
		require.Equal(t, Result{Rest: &Rest{After: name(keysMax) + ".x", Through: keysMax + 11, Incarnation: 1}}, r)
		r = f.one(purge(command.PurgeBucket{Filter: "*.y", After: r.Rest.After, Through: r.Rest.Through}))
		require.Equal(t, Result{Count: 1}, r)
		sums = append(sums, sumOf(t, f.store))
		f.close()
	}
	require.Equal(t, sums[0], sums[1])
}

func TestRollups(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		mixed(f)
		f.one(write(command.Write{Bucket: "app", Key: "a.x", Rollup: command.RollupKey}))
		page, err := f.store.Page(Query{Bucket: "app", Max: 100, MaxBytes: 1000})
		require.NoError(t, err)
		require.Equal(t, []uint64{3, 6, 8, 9, 10}, sequences(page.Entries))
		f.one(write(command.Write{Bucket: "app", Key: "c", Op: command.Purge, Rollup: command.RollupNone}))
		f.one(write(command.Write{Bucket: "app", Key: "d", Rollup: command.RollupBucket}))
		page, err = f.store.Page(Query{Bucket: "app", Max: 100, MaxBytes: 1000})
		require.NoError(t, err)
		require.Equal(t, []uint64{12}, sequences(page.Entries))
		require.EqualValues(t, 1, f.entries("app"))
		f.close()
	})
}
