package store

// Imports: entries of another store, which keep their sequences. What the bucket's settings would refuse is taken all the same, since it was
// taken where it comes from; what they would drop is dropped.

import "github.com/raftbus/raftbus/kv/command"

func (t *txn) importEntries(c *command.Import) (Result, error) {
	b, err := t.bucket(c.Bucket)
	switch {
	case err != nil:
		return Result{}, err
	case b == nil:
		return Result{Code: NoBucket}, nil
	case !b.record.importing:
		return Result{Code: NotImporting, Current: b.stats.sequence}, nil
	case c.After != b.stats.sequence:
		return Result{Code: WrongLastSequence, Current: b.stats.sequence}, nil
	case !ascending(c):
		return Result{Code: BadImport}, nil
	}
	for i := range c.Entries {
		if err := t.importEntry(b, &c.Entries[i]); err != nil {
			return Result{}, err
		}
	}
	t.raise(b, c.Last, c.LastTime)
	if c.Done {
		t.state.revision++
		t.raise(b, b.stats.sequence+b.record.owed, t.state.time)
		b.record.importing, b.record.owed, b.record.changed = false, 0, t.state.revision
		b.changed, b.wrote = true, true
		t.feed.bucket(BucketUpdated, b)
	}
	return Result{Sequence: b.stats.sequence, Revision: t.state.revision}, nil
}

func ascending(c *command.Import) bool {
	last := c.After
	for i := range c.Entries {
		if c.Entries[i].Sequence <= last {
			return false
		}
		last = c.Entries[i].Sequence
	}
	return true
}

func (t *txn) importEntry(b *bucket, i *command.ImportEntry) error {
	if i.Rollup == command.RollupBucket {
		t.empty(b)
	}
	k, err := t.key(b, i.Key)
	if err != nil {
		return err
	}
	e := entryRecord{key: i.Key, op: i.Op, value: i.Value, header: i.Header, ttl: i.TTL, time: t.past(b, i.Time)}
	err = t.add(b, k, &e, i.Sequence, i.Rollup, "")
	b.stats.lastTime = e.time
	return err
}

// past is a time of another clock: not ahead of the log's, and not before that of the bucket's last entry, since entries are looked for in
// the order of their times.
func (t *txn) past(b *bucket, time int64) int64 {
	return min(max(time, b.stats.lastTime), t.state.time)
}

// raise lets no sequence be given again up to one.
func (t *txn) raise(b *bucket, sequence uint64, time int64) {
	if sequence > b.stats.sequence {
		b.stats.sequence, b.stats.lastTime = sequence, max(t.past(b, time), 1) // 0 says that the last entry is there
		b.wrote = true
	}
}
