package store

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/subject"
)

// large is a bucket of more than one stretch of anything.
func large(f feeder) (keys int) {
	keys = 3 * stretchBytes / recordBytes
	commands := []command.Command{addBucket("app", command.Settings{})}
	for i := range keys {
		commands = append(commands, put("app", "x."+name(i), ""))
	}
	f.apply(append(commands, put("app", "last", ""))...)
	return keys
}

// A search ends soon after it is wanted no more, and one that is wanted has it all (Q12).
func TestASearchEndsWhenItIsWantedNoMore(t *testing.T) {
	f := open(t, newMemory())
	keys := large(f)
	page := func(pattern subject.Filter, which Which, count bool, wanted func() bool) error {
		_, err := f.store.Page(Query{Bucket: "app", Incarnation: 1, Filter: pattern, Which: which, Count: count, Max: 1, MaxBytes: 1, Wanted: wanted})
		return err
	}
	for what, search := range map[string]func(wanted func() bool) error{
		"next": func(wanted func() bool) error {
			_, err := f.store.Next("app", 0, pattern(t, "*.none"), wanted)
			return err
		},
		"last": func(wanted func() bool) error {
			_, err := f.store.LastMatch("app", pattern(t, "*.none"), wanted)
			return err
		},
		"subjects": func(wanted func() bool) error {
			_, _, _, err := f.store.Subjects("app", pattern(t, "*.none"), 0, 1, 1<<30, wanted)
			return err
		},
		"keep": func(wanted func() bool) error {
			_, _, err := f.store.KeepFrom("app", pattern(t, "x.*"), 5, wanted)
			return err
		},
		"next since": func(wanted func() bool) error {
			_, err := f.store.NextSince("app", 0, pattern(t, "*.none"), wanted)
			return err
		},
		"lasts": func(wanted func() bool) error {
			return f.store.Lasts(Lasts{Bucket: "app", Filter: pattern(t, "*.none"), Most: 1, MaxBytes: 1, Wanted: wanted}, nil)
		},
		"pages": func(wanted func() bool) error {
			return f.store.Pages(Query{Bucket: "app", Filter: pattern(t, "*.none"), Max: 1, MaxBytes: 1, Wanted: wanted}, func(*EntryPage) bool { return true })
		},
		"count":         func(wanted func() bool) error { return page(pattern(t, "*.none"), Every, true, wanted) },
		"newest of all": func(wanted func() bool) error { return page(pattern(t, "*.none"), NewestOfAll, false, wanted) },
		"range":         func(wanted func() bool) error { return page(pattern(t, "*.none"), Every, false, wanted) },
	} {
		looks := 0
		require.ErrorIs(t, search(func() bool { looks++; return looks < 2 }), ErrUnwanted, what)
		require.Equal(t, 2, looks, what)
		looks = 0
		if err := search(func() bool { looks++; return true }); err != nil {
			require.ErrorIs(t, err, NoEntry, what)
		}
		require.GreaterOrEqual(t, looks, 3, what)
	}
	err := f.store.Lasts(Lasts{Bucket: "app", Most: 1, Wanted: func() bool { return false }}, nil)
	require.ErrorIs(t, err, ErrTooMany, "nor does one go on when it has found too many")
	for which := range NewestOfAll + 1 {
		require.NoError(t, page(pattern(t, "x"), which, true, func() bool { return false }), "one key is no search, however many begin with it")
		p, err := f.store.Page(Query{
			Bucket: "app", Incarnation: 1, Filter: pattern(t, "last", "none", "x."+name(1)), Which: which, Count: true, Max: 9, MaxBytes: 1_000,
			Wanted: func() bool { return false },
		})
		require.NoError(t, err, "nor are a few")
		require.True(t, p.Done)
		want := []uint64{2, uint64(keys) + 1}
		if which == NewestOfAll {
			want = want[1:]
		}
		require.Equal(t, want, sequences(p.Entries))
		require.EqualValues(t, len(want), p.Count)
	}
	_, list, all, err := f.store.Subjects("app", pattern(t, "last"), 0, 1, 1<<30, nil)
	require.NoError(t, err)
	require.Equal(t, []Subject{{"last", 1}}, list)
	require.Equal(t, 1, all.Keys)
	_, _, all, err = f.store.Subjects("app", pattern(t, "x"), 0, 1, 1<<30, func() bool { return false })
	require.NoError(t, err)
	require.Zero(t, all)
	from, _, err := f.store.KeepFrom("app", pattern(t, "x.*"), 5, nil)
	require.NoError(t, err)
	require.EqualValues(t, keys-4, from)
	f.close()
}

// A search is of the bucket that was there when it began: one that is made anew under the name meanwhile is another.
func TestASearchIsOfOneMoment(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		large(f)
		anew := false
		_, err := f.store.Next("app", 0, pattern(t, "y.*"), func() bool {
			if !anew {
				anew = true
				f.apply(removeBucket("app"), addBucket("app", command.Settings{}), put("app", "y.first", ""))
				large := make([]command.Command, 2*stretchBytes/recordBytes)
				for i := range large {
					large[i] = put("app", "y."+name(i), "")
				}
				f.apply(large...)
			}
			return true
		})
		require.ErrorIs(t, err, NoEntry)
		require.True(t, anew)
		f.close()
	})
}

func TestSubjects(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		mixed(f)
		for _, c := range []struct {
			pattern    string
			after, max int
			want       []Subject
			all        Matched
		}{
			{">", 0, 9, []Subject{{"a.x", 3}, {"a.y", 1}, {"b", 1}, {"c", 1}, {"gone", 1}}, Matched{5, 22, 6}},
			{">", 1, 2, []Subject{{"a.y", 1}, {"b", 1}}, Matched{5, 22, 6}},
			{"*", 2, 9, []Subject{{"gone", 1}}, Matched{3, 12, 6}},
			{">", 5, 9, nil, Matched{5, 22, 6}},
			{"none", 0, 9, nil, Matched{}},
		} {
			_, list, all, err := f.store.Subjects("app", pattern(t, c.pattern), c.after, c.max, 1<<30, nil)
			require.NoError(t, err)
			require.Equal(t, c.want, list, c)
			require.Equal(t, c.all, all, c)
		}
		_, _, _, err := f.store.Subjects("none", pattern(t), 0, 1, 1<<30, nil)
		require.ErrorIs(t, err, NoBucket)
		f.close()
	})
}

// A reply tells a page of the subjects: beside it no memory is taken for all that a bucket has, and they are counted all the same (Q12).
func TestOfSubjectsNoMoreAreKeptThanAReplyTells(t *testing.T) {
	const keys, bytes, room = 3_000, 700, 100_000
	f := open(t, newMemory())
	commands := []command.Command{addBucket("app", command.Settings{})}
	for i := range keys {
		commands = append(commands, put("app", fmt.Sprintf("%0*d", bytes, i), ""))
	}
	f.apply(commands...)
	of := func(after, room int) ([]Subject, Matched) {
		_, list, all, err := f.store.Subjects("app", pattern(t, ">"), after, keys, room, nil)
		require.NoError(t, err)
		return list, all
	}
	whole, all := of(0, 1<<30)
	require.Len(t, whole, keys)
	require.Equal(t, Matched{keys, keys * (bytes + 2), bytes + 2}, all)
	for _, after := range []int{0, 1, keys / 2, keys - 10} {
		list, counted := of(after, room)
		require.Equal(t, all, counted)
		require.Len(t, list, min(room/(bytes+2)+1, keys-after))
		require.Equal(t, whole[after:after+len(list)], list)
	}
	list, _ := of(0, 0)
	require.Len(t, list, 1, "a page has one at least")
	f.close()
}

// C1: the state of a bucket and what its keys have are told together, and are of one moment, whatever is written meanwhile.
func TestSubjectsAreOfTheStateThatTheyAreToldWith(t *testing.T) {
	f := open(t, newMemory())
	large(f)
	looks := 0
	state, list, _, err := f.store.Subjects("app", pattern(t, ">"), 0, 1<<30, 1<<30, func() bool {
		looks++
		f.one(put("app", fmt.Sprint("meanwhile", looks), "v"))
		return true
	})
	require.NoError(t, err)
	require.Positive(t, looks)
	for _, k := range list {
		state.Entries -= k.Entries
	}
	require.Zero(t, state.Entries)
	f.close()
}

// The newest so many of sequences that come in any order are found as sorting finds them, in memory for the ranges alone.
func TestATallyFindsTheNthNewest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		last := rapid.SampledFrom([]uint64{1, 2, tallyRanges - 1, tallyRanges, tallyRanges + 1, 3 * tallyRanges, 1 << 32, 1<<40 + 3}).Draw(t, "last")
		sequences := rapid.SliceOfNDistinct(rapid.OneOf(rapid.Uint64Range(1, last), rapid.Uint64Range(max(last/2, 1), min(last, last/2+5))), 0, 20, rapid.ID).Draw(t, "sequences")
		k := &keyRecord{}
		for _, s := range sequences {
			k.live = append(k.live, live{sequence: s})
		}
		slices.Sort(sequences)
		slices.Reverse(sequences)
		for i, want := range append(sequences, 0) {
			require.Equal(t, want, tallied(t, k, last, uint64(i+1)))
		}
	})
}

func tallied(t require.TestingT, k *keyRecord, last, nth uint64) uint64 {
	tally := tally{last: last}
	for {
		tally.begin()
		require.LessOrEqual(t, len(tally.counts), tallyRanges+1)
		tally.count("", k)
		var found bool
		if nth, found = tally.narrow(nth); !found || tally.width == 1 {
			return tally.last
		}
	}
}
