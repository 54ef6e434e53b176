package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Apply applies entries in one batch of Pebble, with the state record that names the last of them, so that a crash keeps all
// of it or none (K56). Each result is a Result; that of a no-op is nil. An error means that this node cannot follow the log:
// an entry of a newer version, a gap, or a failed disk.
func (s *Store) Apply(entries []rpc.Entry) ([]any, error) {
	e, _, err := s.use()
	if err != nil {
		return nil, err
	}
	defer e.release()
	if err := e.failed(); err != nil {
		return nil, err
	}
	t := newTxn(e.db, *s.current.Load())
	defer t.close()
	results := make([]any, len(entries))
	for i := range entries {
		if results[i], err = t.apply(&entries[i]); err != nil {
			return nil, fmt.Errorf("entry %v: %w", entries[i].ID(), err)
		}
	}
	size, err := t.commit()
	if err != nil {
		return nil, err
	}
	reached := t.state // a copy, so that the txn is not kept with it
	s.current.Store(&reached)
	s.flusher.wrote(size)
	return results, nil
}

// txn is one Apply under way: the batch, and the records it has read or changed. The records are written once each, at
// commit; until then the maps hold what the batch's later entries must see of the earlier ones.
type txn struct {
	db      *pebble.DB
	batch   *pebble.Batch
	state   state
	buckets map[string]*bucket
}

// bucket is a bucket in a txn; nil in the map stands for one that is not there.
type bucket struct {
	name   string
	record bucketRecord
	stats  statsRecord
	keys   map[string]*keyRecord // read or changed
	isNew  bool
	wrote  bool
}

func newTxn(db *pebble.DB, from state) *txn {
	return &txn{db: db, batch: db.NewBatch(), state: from, buckets: map[string]*bucket{}}
}

func (t *txn) close() {
	if t.batch != nil {
		_ = t.batch.Close() // nothing was committed, so nothing can be lost
	}
}

// apply carries out one entry.
func (t *txn) apply(e *rpc.Entry) (any, error) {
	if e.Index != t.state.applied.Index+1 {
		return nil, fmt.Errorf("follows entry %v in the store: entries are applied in order, without a gap", t.state.applied)
	}
	t.state.applied = e.ID()
	t.state.time = max(t.state.time, e.Time)
	switch e.Kind {
	case rpc.EntryNoop:
		return nil, nil
	case rpc.EntryCommand:
		return t.command(e.Data)
	default:
		return nil, fmt.Errorf("kind %d: %w", e.Kind, command.ErrUnknown)
	}
}

func (t *txn) command(data []byte) (any, error) {
	c, err := command.Decode(data)
	if err != nil {
		return nil, err
	}
	switch {
	case c.AddBucket != nil:
		return t.addBucket(c.AddBucket)
	case c.RemoveBucket != nil:
		return t.removeBucket(c.RemoveBucket)
	default:
		return t.write(c.Write)
	}
}

// bucket finds a bucket; nil if there is none of that name.
func (t *txn) bucket(name string) (*bucket, error) {
	if b, known := t.buckets[name]; known {
		return b, nil
	}
	b, err := readBucket(t.db, name)
	if err == nil {
		t.buckets[name] = b
	}
	return b, err
}

// readBucket reads a bucket's records; nil if there is none of that name.
func readBucket(r pebble.Reader, name string) (*bucket, error) {
	data, err := get(r, bucketKey(name))
	if data == nil || err != nil {
		return nil, err
	}
	b := &bucket{name: name, keys: map[string]*keyRecord{}}
	if b.record, err = decodeBucket(data); err != nil {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	if data, err = get(r, statsKey(b.record.incarnation)); err != nil {
		return nil, err
	}
	if b.stats, err = decodeStats(data); err != nil {
		return nil, fmt.Errorf("counts of bucket %s: %w", name, err)
	}
	return b, nil
}

// key finds a key's record in a bucket; an empty one if the key has none.
func (t *txn) key(b *bucket, name string) (*keyRecord, error) {
	if k, known := b.keys[name]; known {
		return k, nil
	}
	k, err := readKey(t.db, b.record.incarnation, name)
	if err == nil {
		b.keys[name] = k
	}
	return k, err
}

func readKey(r pebble.Reader, incarnation uint64, name string) (*keyRecord, error) {
	data, err := get(r, keyKey(incarnation, name))
	if err != nil {
		return nil, err
	}
	k, err := decodeKey(data)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	return &k, nil
}

// commit writes the changed records and the state, and makes the batch visible. It returns the batch's size in bytes.
func (t *txn) commit() (int, error) {
	for _, b := range t.buckets {
		if b == nil || !b.wrote {
			continue
		}
		if err := t.writeRecords(b); err != nil {
			return 0, err
		}
	}
	if err := t.batch.Set(stateKey, t.state.encode(), nil); err != nil {
		return 0, err
	}
	size := t.batch.Len()
	err := t.batch.Commit(pebble.NoSync)
	t.batch = nil
	return size, err
}

func (t *txn) writeRecords(b *bucket) error {
	if b.isNew {
		if err := t.batch.Set(bucketKey(b.name), b.record.encode(), nil); err != nil {
			return err
		}
	}
	for name, k := range b.keys {
		if !k.changed {
			continue
		}
		if err := t.batch.Set(keyKey(b.record.incarnation, name), k.encode(), nil); err != nil {
			return err
		}
	}
	return t.batch.Set(statsKey(b.record.incarnation), b.stats.encode(), nil)
}
