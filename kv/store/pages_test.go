package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
)

// expectedLasts is what is asked for, the slow way; of is how many keys match.
func expectedLasts(all []Entry, q Lasts, last uint64) (list []uint64, of int, asOf uint64) {
	if asOf = q.AsOf; asOf == 0 {
		asOf = last
	}
	if q.Before != nil {
		asOf = last
		if i := slices.IndexFunc(all, func(e Entry) bool { return e.Time >= *q.Before }); i >= 0 {
			asOf = all[i].Sequence - 1
		}
	}
	seen := map[string]bool{}
	for _, e := range slices.Backward(all) {
		if e.Sequence > asOf || seen[e.Key] || !q.Filter.Match(e.Key) {
			continue
		}
		seen[e.Key] = true
		if e.Sequence >= q.From {
			list = append(list, e.Sequence)
		}
	}
	slices.Reverse(list)
	return list, len(seen), asOf
}

func TestTheNewestEntriesOfManyKeysAreWhatIsAskedFor(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		chance := rand.New(rand.NewPCG(3, 4))
		f := open(t, fresh())
		f.apply(addBucket("app", command.Settings{History: 3}))
		for i := range 300 {
			key := fmt.Sprintf("%c.%c", 'a'+chance.IntN(3), 'a'+chance.IntN(4))
			w := command.Write{Bucket: "app", Key: key, Value: []byte(fmt.Sprint(i)), Header: header}
			if chance.IntN(20) == 0 {
				w = command.Write{Bucket: "app", Key: key, Op: command.Purge, Rollup: command.RollupKey}
			}
			f.apply(write(w))
		}
		all, err := f.store.Page(Query{Bucket: "app", Max: 1_000, MaxBytes: 1 << 20})
		require.NoError(t, err)
		for range 500 {
			q := Lasts{
				Bucket: "app", Filter: pattern(t, [][]string{{">"}, {"a.*"}, {"*.b"}, {"a.a"}, {"a.b", "c.>"}, {"a.b", "a.c", "b.a"}, {"none"}}[chance.IntN(7)]...),
				AsOf: uint64(chance.IntN(320)), From: uint64(chance.IntN(2) * chance.IntN(320)), Most: 1 + chance.IntN(13), MaxBytes: 20 + chance.IntN(300),
			}
			if chance.IntN(3) == 0 {
				before := int64(chance.IntN(320_000))
				q.AsOf, q.Before = 0, &before
			}
			want, of, asOf := expectedLasts(all.Entries, q, all.Last)
			var got []uint64
			pages := 0
			err := f.store.Lasts(q, func(p *EntryPage) bool {
				require.Equal(t, asOf, p.Last)
				require.EqualValues(t, len(want), p.Count)
				bytes := 0
				for _, e := range p.Entries {
					bytes += len(e.Key) + len(e.Header) + len(e.Value)
				}
				require.True(t, bytes <= q.MaxBytes || len(p.Entries) == 1)
				got, pages = append(got, sequences(p.Entries)...), pages+1
				return true
			})
			switch {
			case of == 0:
				require.ErrorIs(t, err, NoEntry)
			case of > q.Most:
				require.ErrorIs(t, err, ErrTooMany)
			default:
				require.NoError(t, err)
				require.Equal(t, want, got, "%+v", q)
				require.Positive(t, pages)
			}
		}
		f.close()
	})
}

// However much is written and removed between two pages, they are of one moment (C1).
func TestPagesAreOfOneMoment(t *testing.T) {
	const keys = 100
	of := func(i int) string { return fmt.Sprintf("k%02d", i) }
	for name, read := range map[string]func(*Store, func(*EntryPage) bool) error{
		"pages": func(s *Store, take func(*EntryPage) bool) error {
			return s.Pages(Query{Bucket: "app", Count: true, Max: 7, MaxBytes: 1 << 20}, take)
		},
		"few match": func(s *Store, take func(*EntryPage) bool) error {
			return s.Pages(Query{Bucket: "app", From: 1, Filter: pattern(t, "*"), Count: true, Max: 7, MaxBytes: 1 << 20}, take)
		},
		"lasts": func(s *Store, take func(*EntryPage) bool) error {
			return s.Lasts(Lasts{Bucket: "app", Most: keys, MaxBytes: 7 * 6}, take)
		},
	} {
		onEachEngine(t, func(t *testing.T, fresh func() disk) {
			f := open(t, fresh())
			defer f.close()
			f.apply(addBucket("app", command.Settings{}))
			var want, got []string
			for i := range keys {
				f.apply(put("app", of(i), "old"))
				want = append(want, of(i)+"old")
			}
			pages := 0
			require.NoError(t, read(f.store, func(p *EntryPage) bool {
				if pages++; pages == 1 {
					require.EqualValues(t, keys, p.Count)
				}
				for _, e := range p.Entries {
					got = append(got, e.Key+string(e.Value))
				}
				f.apply(put("app", of(keys-pages), "new"), put("app", "new", "new"))
				return true
			}), name)
			require.Equal(t, want, got, name)
			require.Equal(t, keys/7+1, pages, name)
		})
	}
}

func TestWhoTakesNoMorePagesIsGivenNone(t *testing.T) {
	f := open(t, newMemory())
	f.apply(addBucket("app", command.Settings{}), put("app", "a", "1"), put("app", "b", "1"), put("app", "c", "1"))
	for name, read := range map[string]func(func(*EntryPage) bool) error{
		"pages": func(take func(*EntryPage) bool) error {
			return f.store.Pages(Query{Bucket: "app", Max: 1, MaxBytes: 1}, take)
		},
		"lasts": func(take func(*EntryPage) bool) error {
			return f.store.Lasts(Lasts{Bucket: "app", Most: 3, MaxBytes: 1}, take)
		},
	} {
		pages := 0
		require.NoError(t, read(func(*EntryPage) bool { pages++; return pages < 2 }), name)
		require.Equal(t, 2, pages, name)
	}
	require.ErrorIs(t, f.store.Lasts(Lasts{Bucket: "none"}, nil), NoBucket)
	require.ErrorIs(t, f.store.Pages(Query{Bucket: "none"}, nil), NoBucket)
	f.close()
}
