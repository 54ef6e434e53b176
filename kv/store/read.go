package store

// Reads see one moment: what was applied when they began. doc.go says what they wait for.

import (
	"fmt"
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store/engine"
)

// TooManyFiles reports whether a read failed since too many files are open: that passes, and says nothing of what was to be read.
func TooManyFiles(err error) bool { return engine.TooManyFiles(err) }

// Entry is one entry of a key.
type Entry struct {
	Key      string
	Op       command.Op
	Value    []byte        // never nil
	Sequence uint64        // in its bucket: the revision that clients see
	Revision uint64        // cluster-wide
	Time     int64         // of the log's entry, nanoseconds since 1970 UTC
	Header   []byte        // as on the wire of NATS; nil if it has none
	TTL      time.Duration // its own, or command.Never; 0 is the bucket's
}

// BucketInfo describes a bucket.
type BucketInfo struct {
	Name        string
	Settings    command.Settings
	Created     int64  // nanoseconds since 1970 UTC
	Incarnation uint64 // the cluster revision at which it was made
	Changed     uint64 // the cluster revision at which its settings last changed, or it was made
	Sequence    uint64 // of its last entry
	Entries     uint64 // kept, history and deletes included
	Bytes       uint64 // of those entries, as EntrySize counts
	Keys        uint64 // that have a value
	Deleted     uint64 // whose newest entry is a delete or a purge
	Consumers   uint64
	Importing   bool // it takes entries by Import only
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
	return Found(s.Last(bucket, key))
}

// Found is what Get says of what Last has said.
func Found(last Entry, err error) (Entry, error) {
	switch {
	case err == NoEntry, err == nil && last.Op != command.Put:
		return Entry{}, KeyNotFound
	}
	return last, err
}

// Bucket describes a bucket. What its settings refer to is the store's, and not to be changed. The error is NoBucket, ErrClosed, or one of the disk.
func (s *Store) Bucket(name string) (BucketInfo, error) {
	b, err := s.bucket(name)
	if err != nil {
		return BucketInfo{}, err
	}
	return b.info(), nil
}

// bucket finds a bucket's records, as of the last Apply that has ended or a later one.
func (s *Store) bucket(name string) (b *bucket, err error) {
	db, _, err := s.use()
	if err != nil {
		return nil, err
	}
	defer db.release()
	if b, known := s.recent.bucket(name); known {
		return b, nil
	}
	before := s.current.Load()
	err = s.view(func(r engine.Reader) error {
		b, err = mustBucket(r, name)
		return err
	})
	if err == nil {
		s.recent.learn(b, func() bool { return s.current.Load() == before })
	}
	return b, err
}

// incarnation is that of a bucket, found as bucket finds it.
func (s *Store) incarnation(name string) (uint64, error) {
	if incarnation, known := s.recent.incarnation(name); known {
		return incarnation, nil
	}
	b, err := s.bucket(name)
	if err != nil {
		return 0, err
	}
	return b.record.incarnation, nil
}

func (b *bucket) info() BucketInfo {
	return BucketInfo{
		Name: b.name, Settings: b.record.settings, Created: b.record.created, Incarnation: b.record.incarnation, Changed: b.record.lastChanged(),
		Sequence: b.stats.sequence, Entries: b.stats.entries, Bytes: b.stats.bytes, Keys: b.stats.keys, Deleted: b.stats.deleted, Consumers: b.stats.consumers,
		Importing: b.record.importing,
	}
}

// Buckets lists buckets by name, at most limit: those that start with prefix and come after a name.
func (s *Store) Buckets(prefix, after string, limit int) (Page, error) {
	var page Page
	err := s.view(func(r engine.Reader) (err error) {
		page, err = list(r, []byte{tableBucket}, prefix, after, limit, func([]byte) (bool, error) { return true, nil })
		return err
	})
	return page, err
}

// EachBucket visits all buckets as of one moment, by name, and says how each is, and whether it is being imported.
func (s *Store) EachBucket(visit func(name string, settings *command.Settings, importing bool)) error {
	return s.view(func(r engine.Reader) error {
		return r.Scan([]byte{tableBucket}, []byte{tableBucket + 1}, func(key, value []byte) (bool, error) {
			b, err := decodeBucket(value)
			if err == nil {
				visit(string(key[1:]), &b.settings, b.importing)
			}
			return true, err
		})
	})
}

// Keys lists the keys of a bucket that have a value, by name, at most limit: those that start with prefix and come after a
// name. A page may hold fewer than limit, even none, and still have More. The error is as that of Bucket.
func (s *Store) Keys(bucket, prefix, after string, limit int) (Page, error) {
	var page Page
	err := s.view(func(r engine.Reader) error {
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
func (s *Store) view(read func(engine.Reader) error) error {
	db, _, err := s.use()
	if err != nil {
		return err
	}
	defer db.release()
	v := db.NewView()
	err = read(v)
	if closing := v.Close(); err == nil {
		err = closing
	}
	return err
}

func mustBucket(r engine.Reader, name string) (*bucket, error) {
	b, err := readBucket(r, name)
	if err == nil && b == nil {
		return nil, NoBucket
	}
	return b, err
}

// readEntry reads an entry that must be there.
func readEntry(r engine.Reader, incarnation, sequence uint64) (Entry, error) {
	e, err := findEntry(r, incarnation, sequence)
	if err == NoEntry {
		err = fmt.Errorf("entry %d of bucket %d is missing: the store is damaged", sequence, incarnation)
	}
	return e, err
}

// findEntry reads an entry. The error is NoEntry, or one of the disk.
func findEntry(r engine.Reader, incarnation, sequence uint64) (Entry, error) {
	return findAt(r, entryKey(incarnation, sequence))
}

func findAt(r engine.Reader, key []byte) (Entry, error) {
	data, err := r.Get(key)
	if err != nil {
		return Entry{}, err
	}
	if data == nil {
		return Entry{}, NoEntry
	}
	return asEntry(key, data)
}

// asEntry is an entry, from its record, whose bytes it shares.
func asEntry(key, record []byte) (Entry, error) {
	numbers, err := numbersIn(key, 2, false)
	if err != nil {
		return Entry{}, err
	}
	r, err := decodeEntry(record)
	if err != nil {
		return Entry{}, fmt.Errorf("entry %d of bucket %d: %w", numbers[1], numbers[0], err)
	}
	return r.entry(numbers[1]), nil
}

func (r *entryRecord) entry(sequence uint64) Entry {
	return Entry{
		Key: r.key, Op: r.op, Value: r.value, Sequence: sequence, Revision: r.revision, Time: r.time, Header: r.header, TTL: r.ttl,
	}
}

// list reads the names in a table that start with prefix and come after a name, as far as want says of their records.
func list(r engine.Reader, table []byte, prefix, after string, limit int, want func([]byte) (bool, error)) (Page, error) {
	from := append(table[:len(table):len(table)], prefix...)
	to := prefixEnd(from)
	if after != "" && after >= prefix {
		from = append(append(table[:len(table):len(table)], after...), 0)
	}
	var page Page
	scanned := 0
	err := r.Scan(from, to, func(key, record []byte) (bool, error) {
		if len(page.Names) >= limit || scanned >= scanMax {
			page.More = true
			return false, nil
		}
		scanned++
		page.After = string(key[len(table):])
		wanted, err := want(record)
		if wanted {
			page.Names = append(page.Names, page.After)
		}
		return true, err
	})
	return page, err
}
