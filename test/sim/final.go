package sim

// The state at the end against the ledger: which buckets there are, each entry of each, history, deletes and markers too, and which keys a list has (C2, C6).

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
)

// finish compares what a store holds, in every way that clients read it, with the ledger.
func (t *trade) finish(s *store.Store) {
	for i := range t.world.plan.buckets {
		bucket := bucketName(i)
		page, err := s.Page(store.Query{Bucket: bucket, From: 1, Max: math.MaxInt32, MaxBytes: math.MaxInt32})
		t.world.must(err == nil && t.ledger.buckets[bucket] || errors.Is(err, store.NoBucket) && !t.ledger.buckets[bucket],
			"C2", "%s at the end: %v, the bucket should be there: %v", bucket, err, t.ledger.buckets[bucket])
		if err != nil {
			continue
		}
		t.entries(bucket, &page)
		var found []string
		for k := range t.world.plan.keys {
			if t.key(s, bucket, keyName(k)) {
				found = append(found, keyName(k))
			}
		}
		slices.Sort(found)
		list, err := s.Keys(bucket, "", "", len(found)+1)
		t.world.must(err == nil && slices.Equal(list.Names, found), "C2", "the keys of %s are %v (%v) at the end, they should be %v", bucket, list.Names, err, found)
	}
}

// entries: all of a bucket, in order, and the last sequence that it gave.
func (t *trade) entries(bucket string, page *store.EntryPage) {
	var want []living
	keys := map[uint64]string{}
	for k := range t.world.plan.keys {
		for _, e := range t.ledger.live[place(bucket, keyName(k))] {
			want, keys[e.sequence] = append(want, e), keyName(k)
		}
	}
	slices.SortFunc(want, func(a, b living) int { return cmp.Compare(a.sequence, b.sequence) })
	same := slices.EqualFunc(page.Entries, want, func(e store.Entry, w living) bool {
		return e.Key == keys[w.sequence] && e.Sequence == w.sequence && e.Revision == w.revision && e.Op == w.op && string(e.Value) == w.value && e.Time == w.at
	})
	t.world.must(same && page.Done && page.Last == t.ledger.last[bucket],
		"C2", "%s holds %+v at the end, up to %d; it should be %+v of %v, up to %d", bucket, page.Entries, page.Last, want, keys, t.ledger.last[bucket])
}

// key compares what a key is. It reports whether it has a value.
func (t *trade) key(s *store.Store, bucket, key string) bool {
	want := t.ledger.current(bucket, key)
	got, err := s.Get(bucket, key)
	t.world.must((err == nil) == want.found && (err != nil || got.Op == command.Put && string(got.Value) == want.value && got.Sequence == want.sequence),
		"C2", "%s.%s is %+v (%v) at the end, it should be %+v", bucket, key, got, err, want)
	return err == nil
}
