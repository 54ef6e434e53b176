package store

import "github.com/raftbus/raftbus/kv/command"

// What commands do. Every outcome is decided here, from the command and the state alone: no clock, no chance, no map order.

func (t *txn) addBucket(c *command.AddBucket) (Result, error) {
	b, err := t.bucket(c.Name)
	if err != nil {
		return Result{}, err
	}
	if b != nil {
		return Result{Code: BucketExists}, nil
	}
	t.state.revision++
	record := bucketRecord{incarnation: t.state.revision, created: t.state.time, settings: c.Settings}
	t.buckets[c.Name] = &bucket{name: c.Name, record: record, keys: map[string]*keyRecord{}, isNew: true, wrote: true}
	return Result{Revision: t.state.revision}, nil
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
	return Result{Revision: t.state.revision}, t.erase(b)
}

// erase removes all records of a bucket, also those that this batch has written so far.
func (t *txn) erase(b *bucket) error {
	if err := t.batch.Delete(bucketKey(b.name), nil); err != nil {
		return err
	}
	if err := t.batch.Delete(statsKey(b.record.incarnation), nil); err != nil {
		return err
	}
	for _, table := range []byte{tableEntry, tableKey} {
		prefix := numbered(table, b.record.incarnation)
		if err := t.batch.DeleteRange(prefix, prefixEnd(prefix), nil); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) write(w *command.Write) (Result, error) {
	b, err := t.bucket(w.Bucket)
	if err != nil {
		return Result{}, err
	}
	if b == nil {
		return Result{Code: NoBucket}, nil
	}
	k, err := t.key(b, w.Key)
	if err != nil {
		return Result{}, err
	}
	size := EntrySize(w.Key, w.Value)
	drop := k.dropped(b.record.settings.History, w.Op)
	if refusal := b.refuse(k, w, size, drop); refusal.Code != Done {
		return refusal, nil
	}
	return t.add(b, k, w, size, drop)
}

// refuse says why a write cannot be done; Done if it can.
func (b *bucket) refuse(k *keyRecord, w *command.Write, size uint64, drop int) Result {
	s := &b.record.settings
	if s.MaxValueSize > 0 && uint64(len(w.Value)) > s.MaxValueSize {
		return Result{Code: ValueTooLarge, Limit: s.MaxValueSize}
	}
	if r := k.check(w); r.Code != Done {
		return r
	}
	// A bucket that is full must still take deletes, or nobody could make room.
	if s.MaxBytes > 0 && w.Op == command.Put && b.stats.bytes-sizes(k.live[:drop])+size > s.MaxBytes {
		return Result{Code: BucketFull, Limit: s.MaxBytes}
	}
	return Result{}
}

// check judges a write's condition.
func (k *keyRecord) check(w *command.Write) Result {
	newest, _ := k.newest()
	switch w.Condition {
	case command.IfAbsent:
		if k.present() {
			return Result{Code: KeyExists, Current: newest.sequence}
		}
	case command.IfPresent:
		if !k.present() {
			return Result{Code: KeyNotFound}
		}
	case command.IfSequence:
		if newest.sequence != w.Sequence {
			return Result{Code: WrongRevision, Current: newest.sequence}
		}
	}
	return Result{}
}

// dropped is how many of the key's oldest entries one more entry displaces.
func (k *keyRecord) dropped(history uint64, op command.Op) int {
	if op == command.Purge {
		return len(k.live)
	}
	if kept := max(history, 1); uint64(len(k.live)) >= kept {
		return len(k.live) - int(kept) + 1
	}
	return 0
}

// add writes the entry, drops those it displaces, and counts.
func (t *txn) add(b *bucket, k *keyRecord, w *command.Write, size uint64, drop int) (Result, error) {
	t.state.revision++
	b.stats.sequence++
	entry := entryRecord{key: w.Key, op: w.Op, value: w.Value, revision: t.state.revision, time: t.state.time}
	if err := t.batch.Set(entryKey(b.record.incarnation, b.stats.sequence), entry.encode(), nil); err != nil {
		return Result{}, err
	}
	for _, old := range k.live[:drop] {
		if err := t.batch.Delete(entryKey(b.record.incarnation, old.sequence), nil); err != nil {
			return Result{}, err
		}
	}
	b.count(k, -1)
	b.stats.entries += 1 - uint64(drop)
	b.stats.bytes += size - sizes(k.live[:drop])
	k.live = append(k.live[drop:], live{sequence: b.stats.sequence, size: size, op: w.Op})
	b.count(k, +1)
	k.changed, b.wrote = true, true
	return Result{Sequence: b.stats.sequence, Revision: t.state.revision}, nil
}

// count counts a key in or out, as present or as deleted. A key without entries is neither.
func (b *bucket) count(k *keyRecord, by int) {
	switch {
	case len(k.live) == 0:
	case k.present():
		b.stats.keys += uint64(by)
	default:
		b.stats.deleted += uint64(by)
	}
}

func sizes(entries []live) uint64 {
	var sum uint64
	for _, l := range entries {
		sum += l.size
	}
	return sum
}
