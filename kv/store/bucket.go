package store

// What commands on whole buckets do. One command does a bounded part of the work: a purge of many keys is continued by whoever
// asked for it, and what a lower history drops is dropped by Expire, which the leader proposes (see Due).

import (
	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/subject"
)

const (
	// keysMax bounds how many keys one command looks at.
	keysMax = 20_000
	// removedMax bounds how many entries one command removes, but for those of its last key.
	removedMax = 10_000
)

func (t *txn) addBucket(c *command.AddBucket) (Result, error) {
	b, err := t.bucket(c.Name)
	switch {
	case err != nil:
		return Result{}, err
	case b != nil && b.record.importing && !c.Importing:
		return Result{Code: Importing}, nil
	case b != nil && b.record.importing == c.Importing && (c.AcceptEqual || c.Importing) && b.record.settings.Equal(&c.Settings):
		return Result{Again: true, Sequence: b.stats.sequence, Revision: b.record.incarnation}, nil
	case b != nil:
		return Result{Code: BucketExists}, nil
	}
	t.state.revision++
	record := bucketRecord{incarnation: t.state.revision, created: t.state.time, settings: c.Settings, importing: c.Importing}
	b = &bucket{name: c.Name, record: record, keys: map[string]*keyRecord{}, made: true, changed: true, wrote: true}
	t.buckets[c.Name] = b
	t.feed.bucket(BucketAdded, b)
	return Result{Revision: t.state.revision}, nil
}

func (t *txn) updateBucket(c *command.UpdateBucket) (Result, error) {
	b, err := t.bucket(c.Name)
	switch {
	case err != nil:
		return Result{}, err
	case b == nil:
		return Result{Code: NoBucket}, nil
	case b.record.importing:
		return Result{Code: Importing}, nil
	case c.Changed != 0 && c.Changed != b.record.lastChanged():
		return Result{Code: SettingsChanged, Current: b.record.lastChanged()}, nil
	}
	t.state.revision++
	lowered := c.Lowers(&b.record.settings)
	if window := b.record.settings.Window(); c.Settings.Window() > window {
		b.record.idsSince = max(b.record.idsSince, t.state.time-int64(window))
	}
	b.record.settings, b.record.changed = c.Settings, t.state.revision
	b.changed, b.wrote = true, true
	t.feed.bucket(BucketUpdated, b)
	if lowered {
		b.record.trimming, b.record.trimAfter = true, ""
		_, err = t.trim(b)
	}
	return Result{Revision: t.state.revision}, err
}

func (t *txn) removeBucket(c *command.RemoveBucket) (Result, error) {
	b, err := t.bucket(c.Name)
	if err != nil {
		return Result{}, err
	}
	if b == nil {
		return Result{Code: NoBucket}, nil
	}
	t.state.revision++
	t.buckets[c.Name] = nil // and with it the records that this batch would have written
	t.removed = append(t.removed, b.record.incarnation)
	t.erase(b)
	t.feed.bucket(BucketRemoved, b)
	return Result{Revision: t.state.revision}, nil
}

// erase removes all records of a bucket, also those that this batch has written so far.
func (t *txn) erase(b *bucket) {
	t.batch.Delete(bucketKey(b.name))
	t.batch.Delete(statsKey(b.record.incarnation))
	t.eraseEntries(b)
	if b.stats.ids > 0 {
		t.eraseTable(b, tableID)
		t.eraseTable(b, tableIDOrder)
	}
	if b.stats.consumers > 0 {
		t.eraseTable(b, tableConsumer)
	}
}

func (t *txn) eraseEntries(b *bucket) {
	t.eraseTable(b, tableEntry)
	t.eraseTable(b, tableKey)
	if b.stats.due > 0 {
		t.eraseTable(b, tableDue)
	}
}

func (t *txn) eraseTable(b *bucket, table byte) {
	prefix := numbered(table, b.record.incarnation)
	t.batch.DeleteRange(prefix, prefixEnd(prefix))
}

// empty removes all entries of a bucket, and returns how many.
func (t *txn) empty(b *bucket) uint64 {
	count := b.stats.entries
	if count == 0 {
		return 0
	}
	t.eraseEntries(b)
	b.keys, b.emptied = map[string]*keyRecord{}, true
	b.stats.entries, b.stats.bytes, b.stats.keys, b.stats.deleted, b.stats.due, b.stats.lastTime = 0, 0, 0, 0, 0, 0
	b.wrote = true
	t.feed.bucket(BucketPurged, b)
	return count
}

func (t *txn) purgeBucket(c *command.PurgeBucket) (Result, error) {
	b, err := t.bucket(c.Name)
	if err != nil {
		return Result{}, err
	}
	if b == nil || c.Incarnation > 0 && c.Incarnation != b.record.incarnation {
		return Result{Code: NoBucket}, nil
	}
	if b.record.importing {
		return Result{Code: Importing}, nil
	}
	if b.record.settings.ReadOnly {
		return Result{Code: ReadOnly}, nil
	}
	filter, ok := purged(c)
	if !ok {
		return Result{Code: BadFilter}, nil
	}
	through := b.stats.sequence
	if c.Through > 0 {
		through = c.Through
	}
	if c.Below > 0 {
		through = min(through, c.Below-1)
	}
	if through == 0 {
		return Result{}, nil
	}
	if filter.All() && through >= b.stats.sequence {
		return Result{Count: t.empty(b)}, nil
	}
	return t.purgeKeys(b, filter, c.After, c.Keep, through)
}

// purged is the filter of a purge; false if it is none.
func purged(c *command.PurgeBucket) (subject.Filter, bool) {
	if c.Filter == "" {
		return subject.Filter{}, c.Keep == 0
	}
	filter, err := subject.Parse(c.Filter)
	_, literal := filter.Literal()
	return filter, err == nil && (literal || c.Keep == 0)
}

// purgeKeys removes entries up to a sequence, of the next keys that match.
func (t *txn) purgeKeys(b *bucket, filter subject.Filter, after string, keep, through uint64) (Result, error) {
	var count uint64
	next, more, err := t.eachKey(b, filter, after, func(name string, k *keyRecord) (bool, error) {
		n := uint64(len(k.live)) - min(keep, uint64(len(k.live)))
		for n > 0 && k.live[0].sequence <= through {
			if err := t.remove(b, name, k, 0); err != nil {
				return false, err
			}
			count++
			n--
		}
		return count < removedMax, nil
	})
	r := Result{Count: count}
	if more {
		r.Rest = &Rest{After: next, Through: through, Incarnation: b.record.incarnation}
	}
	return r, err
}

// trim drops the next entries that a lower history has no place for, and returns how many.
func (t *txn) trim(b *bucket) (count uint64, err error) {
	kept := b.record.history()
	next, more, err := t.eachKey(b, subject.Filter{}, b.record.trimAfter, func(name string, k *keyRecord) (bool, error) {
		for uint64(len(k.live)) > kept {
			if err := t.remove(b, name, k, 0); err != nil {
				return false, err
			}
			count++
		}
		return count < removedMax, nil
	})
	b.record.trimming, b.record.trimAfter = more, next
	b.changed, b.wrote = true, true
	return count, err
}

// history is how many entries a key keeps.
func (r *bucketRecord) history() uint64 { return max(r.settings.History, 1) }
