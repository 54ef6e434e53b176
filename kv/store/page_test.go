package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
)

// expected is what a query is about, the slow way.
func expected(all []Entry, q Query, last uint64) (list []Entry) {
	asOf := q.AsOf
	if asOf == 0 || asOf > last {
		asOf = last
	}
	for i, e := range all {
		if e.Sequence < q.From || e.Time < q.Since || !q.Filter.Match(e.Key) {
			continue
		}
		newer := false
		for _, other := range all[i+1:] {
			newer = newer || other.Sequence <= asOf && (other.Key == e.Key && q.Which == NewestOfKey || q.Filter.Match(other.Key) && q.Which == NewestOfAll)
		}
		if !newer {
			list = append(list, e)
		}
	}
	return list
}

// readPages reads all pages of a query.
func readPages(t *testing.T, s *Store, q Query) (list []Entry) {
	for {
		p, err := s.Page(q)
		require.NoError(t, err)
		require.LessOrEqual(t, len(p.Entries), q.Max)
		require.Len(t, p.Sizes, len(p.Entries))
		bytes := 0
		for _, e := range p.Entries {
			bytes += len(e.Key) + len(e.Header) + len(e.Value)
		}
		require.True(t, bytes <= q.MaxBytes || len(p.Entries) == 1, "%d bytes in %d entries", bytes, len(p.Entries))
		list = append(list, p.Entries...)
		if p.Done {
			return list
		}
		require.Greater(t, p.Next, p.From)
		q.From, q.Since = p.Next, 0
	}
}

func TestPagesHaveWhatIsAskedFor(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		chance := rand.New(rand.NewPCG(1, 2))
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
		info, err := f.store.Bucket("app")
		require.NoError(t, err)
		all, err := f.store.Page(Query{Bucket: "app", Max: 1_000, MaxBytes: 1 << 20})
		require.NoError(t, err)
		for range 300 {
			q := Query{
				Bucket: "app", Incarnation: info.Incarnation, From: uint64(chance.IntN(320)), AsOf: uint64(chance.IntN(320)), Which: Which(chance.IntN(3)), Count: true,
				Filter: pattern(t, [][]string{{">"}, {"a.*"}, {"*.b"}, {"a.a"}, {"a.b", "c.>"}, {"none"}}[chance.IntN(6)]...), Max: 1 + chance.IntN(10), MaxBytes: 40 + chance.IntN(300),
			}
			if chance.IntN(4) == 0 {
				q.From, q.Since = 0, int64(chance.IntN(320_000))
			}
			want := expected(all.Entries, q, info.Sequence)
			require.Equal(t, want, readPages(t, f.store, q), "%+v", q)
			p, err := f.store.Page(q)
			require.NoError(t, err)
			require.Equal(t, uint64(len(want)), p.Count, "%+v", q)
			require.Equal(t, info.Sequence, p.Last)
		}
		f.close()
	})
}

func TestPagesOfManyKeys(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		const keys = tryKeysMax + 100
		f := open(t, fresh())
		f.apply(addBucket("app", command.Settings{History: 2}))
		for i := range keys {
			f.apply(put("app", fmt.Sprintf("k%05d", keys-i), "old"), put("app", fmt.Sprintf("k%05d", keys-i), "new"))
		}
		info, err := f.store.Bucket("app")
		require.NoError(t, err)
		q := Query{Bucket: "app", Incarnation: info.Incarnation, Which: NewestOfKey, Count: true, NoValues: true, Max: 1_000, MaxBytes: 1 << 20}
		p, err := f.store.Page(q)
		require.NoError(t, err)
		require.EqualValues(t, keys, p.Count)
		require.Equal(t, 3, p.Sizes[0])
		require.Nil(t, p.Entries[0].Value)
		all := readPages(t, f.store, q)
		require.Len(t, all, keys)
		for i, e := range all {
			require.EqualValues(t, 2*i+2, e.Sequence)
		}
		q.Max = 0
		p, err = f.store.Page(q)
		require.NoError(t, err)
		require.False(t, p.Done)
		require.EqualValues(t, keys, p.Count)
		q.Which, q.Max = NewestOfAll, 10
		require.Equal(t, []uint64{2 * keys}, sequences(readPages(t, f.store, q)), "of all there is one newest, however many keys there are")
		q.Incarnation++
		_, err = f.store.Page(q)
		require.ErrorIs(t, err, NoBucket)
		f.close()
	})
}

// Where there are too many keys to look at each of them first, a page has what was newest as of a moment too.
func TestPagesOfManyKeysAreAsOfAMoment(t *testing.T) { // W2
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		chance := rand.New(rand.NewPCG(1, 2))
		f := open(t, fresh())
		const keys, entries = tryKeysMax + 100, tryKeysMax + 2_000
		f.apply(addBucket("app", command.Settings{History: 3}))
		puts := make([]command.Command, entries)
		for i := range puts {
			puts[i] = put("app", fmt.Sprintf("%c.%d", 'a'+i%keys%2, i%keys), "v")
		}
		f.apply(puts...)
		for range 20 {
			q := Query{Bucket: "app", Incarnation: 1, Which: NewestOfKey, From: uint64(chance.IntN(entries)), AsOf: uint64(1 + chance.IntN(entries+100)), Max: 1_000, MaxBytes: 1 << 20}
			q.Filter = pattern(t, []string{">", "a.*"}[chance.IntN(2)])
			var want []uint64
			for s := max(q.From, 1); s <= entries; s++ {
				key, again := (s-1)%keys, s+keys // each key is written once or twice
				if again > min(q.AsOf, entries) && q.Filter.Match(fmt.Sprintf("%c.%d", 'a'+key%2, key)) {
					want = append(want, s)
				}
			}
			require.Equal(t, want, sequences(readPages(t, f.store, q)), "%+v", q)
		}
		f.close()
	})
}

// However much of a bucket is others': what is counted by the keys is taken by them too, and nothing is passed over.
func TestAPageThatIsCountedPassesOverNothing(t *testing.T) { // W2
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.apply(addBucket("app", command.Settings{History: 2}))
		f.apply(put("app", "a.cfg", "old"), put("app", "b.cfg", "v"), put("app", "a.cfg", "new"))
		others := make([]command.Command, tryKeysMax)
		for i := range others {
			others[i] = put("app", fmt.Sprint(i), strings.Repeat("x", rangeBytesMax/tryKeysMax+1))
		}
		f.apply(others...)
		for which, want := range map[Which][]uint64{Every: {1, 2, 3}, NewestOfKey: {2, 3}} {
			q := Query{Bucket: "app", Incarnation: 1, Which: which, Filter: pattern(t, "*.cfg"), Count: true, Max: 3, MaxBytes: 1_000}
			p, err := f.store.Page(q)
			require.NoError(t, err)
			require.Equal(t, want, sequences(p.Entries))
			require.EqualValues(t, len(want), p.Count)
			require.True(t, p.Done)
			q.Max = 1
			p, err = f.store.Page(q)
			require.NoError(t, err)
			require.Equal(t, want[:1], sequences(p.Entries))
			require.EqualValues(t, len(want), p.Count)
			require.False(t, p.Done)
			require.Equal(t, want[1], p.Next)
		}
		f.close()
	})
}

func TestLowest(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	for range 1_000 {
		l := lowest{most: 1 + chance.IntN(5)}
		all := chance.Perm(chance.IntN(40))
		for _, s := range all {
			l.add(uint64(s + 1))
			require.Less(t, len(l.list), 2*l.most)
		}
		got := l.sorted()
		for i := range min(l.most, len(all)) {
			require.EqualValues(t, i+1, got[i])
		}
	}
}

// However large the entries are that a page passes over: it comes to an end, and the next one goes on there.
func TestAPagePassesOverABoundedNumberOfBytes(t *testing.T) { // Q12
	f := open(t, newMemory())
	f.apply(addBucket("app", command.Settings{History: 64}))
	for range 20 {
		f.apply(put("app", "large", strings.Repeat("x", 1<<20)))
	}
	f.apply(put("app", "z.z", "v"))
	q := Query{Bucket: "app", Incarnation: 1, Filter: pattern(t, "z.*"), Max: 10, MaxBytes: 1_000}
	first, err := f.store.Page(q)
	require.NoError(t, err)
	require.Empty(t, first.Entries)
	require.EqualValues(t, rangeBytesMax>>20+1, first.Next)
	require.Equal(t, []uint64{21}, sequences(readPages(t, f.store, q)))
	f.close()
}

// Nor is more counted one by one: the keys tell it.
func TestACountPassesOverABoundedNumberOfBytes(t *testing.T) { // Q12
	f := open(t, newMemory())
	f.apply(addBucket("app", command.Settings{History: 64}))
	for range 40 {
		f.apply(put("app", "large", strings.Repeat("x", 1<<20)))
	}
	f.apply(put("app", "z.z", "v"), put("app", "z.z", "w"))
	for _, c := range []struct {
		Query
		want uint64
	}{{Query{From: 2, Filter: pattern(t, "z.*")}, 2}, {Query{From: 2}, 41}, {Query{Which: NewestOfKey, AsOf: 10}, 33}} {
		asked := 0
		c.Bucket, c.Incarnation, c.Count, c.Wanted = "app", 1, true, func() bool { asked++; return true }
		p, err := f.store.Page(c.Query)
		require.NoError(t, err)
		require.Equal(t, c.want, p.Count)
		require.InDelta(t, rangeBytesMax>>20, asked, 2, "as often as an entry is read")
	}
	f.close()
}

// Nor what it lists by their keys: headers only are wanted.
func TestAPageOfHeadersLooksAtABoundedNumberOfBytes(t *testing.T) { // Q12
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.apply(addBucket("app", command.Settings{}))
		for i := range 20 {
			f.apply(write(command.Write{Bucket: "app", Key: fmt.Sprint(i), Value: make([]byte, 1<<20), Header: header}))
		}
		asked := 0
		q := Query{
			Bucket: "app", Incarnation: 1, Which: NewestOfKey, NoValues: true, Max: 1_000, MaxBytes: 256 << 10,
			Wanted: func() bool { asked++; return true },
		}
		first, err := f.store.Page(q)
		require.NoError(t, err)
		require.False(t, first.Done)
		require.EqualValues(t, len(first.Entries)+1, first.Next)
		require.InDelta(t, rangeBytesMax>>20, len(first.Entries), 1)
		require.GreaterOrEqual(t, asked, len(first.Entries), "each is more than is read between two looks at whether it is wanted")
		require.Len(t, readPages(t, f.store, q), 20)
		q.Wanted = func() bool { return false }
		_, err = f.store.Page(q)
		require.ErrorIs(t, err, ErrUnwanted)
		f.close()
	})
}

// A header that is a part of its record would keep its value, however large.
func TestAPageOfHeadersKeepsNoRecords(t *testing.T) { // Q12
	record := []byte("header, value")
	c := pager{q: &Query{NoValues: true, Max: 1, MaxBytes: 100}, p: &EntryPage{}}
	require.True(t, c.add(Entry{Header: record[:6], Value: record[8:]}, false))
	clear(record)
	require.Equal(t, []byte("header"), c.p.Entries[0].Header)
	require.Equal(t, []int{5}, c.p.Sizes)
}
