package store

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/raftbus/raftbus/kv/command"
)

// Reads see one moment: what was applied when they began. They never wait for Apply.

// Entry is one entry of a key.
type Entry struct {
	Key      string
	Op       command.Op
	Value    []byte // never nil
	Sequence uint64 // in its bucket: the revision that clients see
	Revision uint64 // cluster-wide
	Time     int64  // of the log's entry, nanoseconds since 1970 UTC
}

// BucketInfo describes a bucket.
type BucketInfo struct {
	Name        string
	Settings    command.Settings
	Created     int64  // nanoseconds since 1970 UTC
	Incarnation uint64 // the cluster revision at which it was made
	Sequence    uint64 // of its last entry
	Entries     uint64 // kept, history and deletes included
	Bytes       uint64 // of those entries, as EntrySize counts
	Keys        uint64 // that have a value
	Deleted     uint64 // whose newest entry is a delete or a purge
}

// Page is a part of a list of names. When More is set, the rest comes after After.
type Page struct {
	Names []string
	More  bool
	After string
}

// scanMax bounds how many records one page looks at, so that a page of a bucket full of deleted keys ends too.
const scanMax = 20_000

// Get returns a key's newest entry. The error is NoBucket, KeyNotFound if it has none or the newest is a delete, ErrClosed, or
// one of the disk.
func (s *Store) Get(bucket, key string) (Entry, error) {
	var entry Entry
	err := s.view(func(r pebble.Reader) error {
		b, err := mustBucket(r, bucket)
		if err != nil {
			return err
		}
		k, err := readKey(r, b.record.incarnation, key)
		if err != nil {
			return err
		}
		if !k.present() {
			return KeyNotFound
		}
		newest, _ := k.newest()
		entry, err = readEntry(r, b.record.incarnation, newest.sequence)
		return err
	})
	return entry, err
}

// Bucket describes a bucket. The error is NoBucket, ErrClosed, or one of the disk.
func (s *Store) Bucket(name string) (BucketInfo, error) {
	var info BucketInfo
	err := s.view(func(r pebble.Reader) error {
		b, err := mustBucket(r, name)
		if err != nil {
			return err
		}
		info = BucketInfo{
			Name: name, Settings: b.record.settings, Created: b.record.created, Incarnation: b.record.incarnation,
			Sequence: b.stats.sequence, Entries: b.stats.entries, Bytes: b.stats.bytes, Keys: b.stats.keys, Deleted: b.stats.deleted,
		}
		return nil
	})
	return info, err
}

// Buckets lists buckets by name, at most limit: those that start with prefix and come after a name.
func (s *Store) Buckets(prefix, after string, limit int) (Page, error) {
	var page Page
	err := s.view(func(r pebble.Reader) (err error) {
		page, err = list(r, []byte{tableBucket}, prefix, after, limit, func([]byte) (bool, error) { return true, nil })
		return err
	})
	return page, err
}

// Keys lists the keys of a bucket that have a value, by name, at most limit: those that start with prefix and come after a
// name. A page may hold fewer than limit, even none, and still have More. The error is as that of Bucket.
func (s *Store) Keys(bucket, prefix, after string, limit int) (Page, error) {
	var page Page
	err := s.view(func(r pebble.Reader) error {
		b, err := mustBucket(r, bucket)
		if err != nil {
			return err
		}
		page, err = list(r, numbered(tableKey, b.record.incarnation), prefix, after, limit, func(record []byte) (bool, error) {
			k, err := decodeKey(record)
			return k.present(), err
		})
		return err
	})
	return page, err
}

// view runs a read on one moment of the state.
func (s *Store) view(read func(pebble.Reader) error) error {
	e, _, err := s.use()
	if err != nil {
		return err
	}
	defer e.release()
	snapshot := e.db.NewSnapshot()
	err = read(snapshot)
	if closing := snapshot.Close(); err == nil {
		err = closing
	}
	return err
}

func mustBucket(r pebble.Reader, name string) (*bucket, error) {
	b, err := readBucket(r, name)
	if err == nil && b == nil {
		return nil, NoBucket
	}
	return b, err
}

func readEntry(r pebble.Reader, incarnation, sequence uint64) (Entry, error) {
	data, err := get(r, entryKey(incarnation, sequence))
	if err != nil {
		return Entry{}, err
	}
	if data == nil {
		return Entry{}, fmt.Errorf("entry %d of bucket %d is missing: the store is damaged", sequence, incarnation)
	}
	record, err := decodeEntry(data)
	if err != nil {
		return Entry{}, fmt.Errorf("entry %d of bucket %d: %w", sequence, incarnation, err)
	}
	return Entry{Key: record.key, Op: record.op, Value: record.value, Sequence: sequence, Revision: record.revision, Time: record.time}, nil
}

// list reads the names in a table that start with prefix and come after a name, as far as want says of their records.
func list(r pebble.Reader, table []byte, prefix, after string, limit int, want func([]byte) (bool, error)) (Page, error) {
	lower := append(table[:len(table):len(table)], prefix...)
	bounds := &pebble.IterOptions{LowerBound: lower, UpperBound: prefixEnd(lower)}
	if after != "" && after >= prefix {
		bounds.LowerBound = append(append(table[:len(table):len(table)], after...), 0)
	}
	if bytes.Compare(bounds.LowerBound, bounds.UpperBound) >= 0 {
		return Page{}, nil // after the last of them
	}
	iter, err := r.NewIter(bounds)
	if err != nil {
		return Page{}, err
	}
	page, err := readPage(iter, len(table), limit, want)
	if closing := iter.Close(); err == nil {
		err = closing
	}
	return page, err
}

func readPage(iter *pebble.Iterator, skip, limit int, want func([]byte) (bool, error)) (Page, error) {
	var page Page
	scanned := 0
	for valid := iter.First(); valid; valid = iter.Next() {
		if len(page.Names) >= limit || scanned >= scanMax {
			page.More = true
			break
		}
		scanned++
		page.After = string(iter.Key()[skip:])
		record, err := iter.ValueAndErr()
		if err != nil {
			return Page{}, err
		}
		wanted, err := want(record)
		if err != nil {
			return Page{}, err
		}
		if wanted {
			page.Names = append(page.Names, page.After)
		}
	}
	return page, iter.Error()
}
