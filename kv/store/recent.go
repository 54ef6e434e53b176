package store

// What was read and written lately, decoded, so that the next Apply or read need not ask the engine for it: that is most of what a write to a
// known key would cost. It says what the database says, since Apply, the only one who writes, corrects it after each commit before anybody is
// told of that. Keys are for Apply and Restore alone, which are never at work together; buckets for reads too.

import "sync"

const (
	// recentKeysMax bounds the keys of each of two generations, and recentEntriesMax what they have of entries: with names of 40 bytes both
	// generations take some 8 MB, and with long histories 16 MB more.
	recentKeysMax    = 16 << 10
	recentEntriesMax = 4 * recentKeysMax
	recentBucketsMax = 256
)

type recent struct {
	keys, before map[recentKey][]live // the younger generation, and the one before it
	entries      int                  // of the keys of the younger
	names        names                // which keys there are not

	mu       sync.RWMutex
	buckets  map[string]recentBucket
	changing bool // an Apply is making its batch visible: what is read now may be older than what the next read finds
}

type recentBucket struct {
	record bucketRecord
	stats  statsRecord
}

type recentKey struct {
	incarnation uint64
	name        string
}

func (r *recent) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop()
	r.names = names{}
}

// drop forgets, with mu held, all but the names of keys.
func (r *recent) drop() { r.keys, r.before, r.buckets, r.changing = nil, nil, nil, false }

// commits forgets the buckets that a txn has changed, before its batch can be read: until committed, reads take a view.
func (r *recent) commits(t *txn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changing = true
	for name := range t.buckets {
		delete(r.buckets, name)
	}
}

// bucket returns a copy of a bucket's records, if they are known.
func (r *recent) bucket(name string) (*bucket, bool) {
	r.mu.RLock()
	known, ok := r.buckets[name]
	r.mu.RUnlock()
	return &bucket{name: name, record: known.record, stats: known.stats}, ok
}

func (r *recent) incarnation(name string) (uint64, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	known, ok := r.buckets[name]
	return known.record.incarnation, ok
}

// learn remembers a bucket's records, if they still hold.
func (r *recent) learn(b *bucket, holds func() bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.changing && holds() {
		r.put(b)
	}
}

// put is learn with mu held.
func (r *recent) put(b *bucket) {
	if r.buckets == nil || len(r.buckets) >= recentBucketsMax {
		r.buckets = map[string]recentBucket{}
	}
	r.buckets[b.name] = recentBucket{b.record, b.stats}
}

// key hands over a key's record, if it is known, or that it has none: until the commit it is the txn's. Names come first: of a new key the
// generations know nothing, and to find that is two misses of the processor's cache and more.
func (r *recent) key(incarnation uint64, name string) (*keyRecord, bool) {
	if r.names.lacks(incarnation, name) {
		return &keyRecord{isNew: true}, true
	}
	at := recentKey{incarnation, name}
	entries, ok := r.keys[at]
	if !ok {
		entries, ok = r.before[at]
	}
	return &keyRecord{live: entries}, ok
}

// committed learns what a txn has read and written, in one moment with the state that tells readers of it. What it removed as a whole is
// forgotten with all the rest: that is seldom.
func (r *recent) committed(t *txn, tell func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changing = false
	tell()
	for _, b := range t.buckets {
		if b != nil && b.emptied || len(t.removed) > 0 {
			r.drop()
			break
		}
	}
	for _, incarnation := range t.removed {
		r.names.end(incarnation)
	}
	for _, b := range t.buckets {
		if b != nil {
			r.put(b)
			r.keepKeys(b)
		}
	}
}

func (r *recent) keepKeys(b *bucket) {
	if b.made || b.emptied {
		r.names.begin(b.record.incarnation)
	}
	for key, k := range b.keys {
		if len(k.live) > 0 {
			r.names.add(b.record.incarnation, key)
		}
		if !k.isNew && !r.knownToLack(b, key, k) { // of many new keys few are written again soon, and those the engine has at hand
			r.keep(recentKey{b.record.incarnation, key}, k.live)
		}
	}
}

// knownToLack reports whether the names say already that a key is not there. What would be remembered beside that would still be, and be wrong,
// when the key is new, and is not remembered.
func (r *recent) knownToLack(b *bucket, key string, k *keyRecord) bool {
	return len(k.live) == 0 && r.names.lacks(b.record.incarnation, key)
}

// keep remembers a key's entries as they were stored.
func (r *recent) keep(at recentKey, entries []live) {
	for i := range entries {
		entries[i].own, entries[i].time, entries[i].never = false, 0, false
	}
	switch {
	case r.keys == nil:
		r.keys, r.before, r.entries = map[recentKey][]live{}, map[recentKey][]live{}, 0
	case len(r.keys) >= recentKeysMax || r.entries >= recentEntriesMax:
		clear(r.before) // and filled again, which a map that grows does in many steps
		r.keys, r.before, r.entries = r.before, r.keys, 0
	}
	r.entries += len(entries) - len(r.keys[at])
	r.keys[at] = entries
}
