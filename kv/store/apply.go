package store

// How the log's entries are applied: many in one batch of the engine, of which the records are read once and written
// once.

import (
	"fmt"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Apply applies entries in one batch of the engine, with the state record that names the last of them, so that a crash keeps all
// of it or none (K56). Each result is a Result; that of an entry of another kind than command is nil. An error means that this node
// cannot follow the log: a command of a newer version, a gap, or a failed disk. With node.ErrNotApplied the store is as it was: only what came of
// a commit that failed nobody knows.
func (s *Store) Apply(entries []rpc.Entry) ([]any, error) {
	db, _, err := s.use()
	if err != nil {
		return nil, err
	}
	defer db.release()
	if err := s.broken(db); err != nil {
		return nil, err
	}
	t := newTxn(db, *s.current.Load(), &s.recent)
	t.feed = s.feed.begin()
	defer t.batch.Close()
	results := make([]any, len(entries))
	for i := range entries {
		if results[i], err = t.apply(&entries[i]); err != nil {
			s.recent.forget()
			return nil, fmt.Errorf("entry %v: %w: %w", entries[i].ID(), node.ErrNotApplied, err)
		}
	}
	s.recent.commits(t)
	size, err := t.commit()
	if err != nil {
		s.recent.forget()
		return nil, err
	}
	reached := t.state // a copy, so that the txn is not kept with it
	s.recent.committed(t, func() { s.current.Store(&reached) })
	s.schedule.news.committed(t)
	s.flusher.wrote(size)
	s.feed.tell(t)
	return results, nil
}

// txn is one Apply under way: the batch, and the records it has read or changed. The records are written once each, at
// commit; until then the maps hold what the batch's later entries must see of the earlier ones.
type txn struct {
	db      engine.Reader // as it was before the batch
	recent  *recent       // what is known of it
	batch   engine.Batch
	state   state
	buckets map[string]*bucket
	removed []uint64 // the incarnations of buckets removed
	gone    []place  // entries that are to be deleted at commit, some of them written by this batch
	feed    *events  // what the follower is told; nil if there is none
	room    []byte   // for records, which the batch copies; reused
	place   []byte   // for their keys, likewise
}

// bucket is a bucket in a txn; nil in the map stands for one that is not there.
type bucket struct {
	name   string
	record bucketRecord
	stats  statsRecord
	keys   map[string]*keyRecord // read or changed
	made   bool                  // by this txn
	// emptied says that in the database all keys are as they were before this txn removed them.
	emptied   bool
	ids       ids
	consumers map[string]*Consumer // read or changed; nil stands for one that is not there
	// changed says that its record must be written, wrote that its counts and keys must.
	changed, wrote bool
	// firstTime is when the txn's first entry was written, firstDue the first time of their own that is over of its entries; 0: none.
	firstTime, firstDue int64
}

func newTxn(db engine.DB, from state, r *recent) *txn {
	return &txn{db: db, recent: r, batch: db.NewBatch(), state: from, buckets: map[string]*bucket{}}
}

// apply carries out one entry.
func (t *txn) apply(e *rpc.Entry) (any, error) {
	if e.Index != t.state.applied.Index+1 {
		return nil, fmt.Errorf("follows entry %v in the store: entries are applied in order, without a gap", t.state.applied)
	}
	t.state.applied = e.ID()
	t.state.time = max(t.state.time, e.Time)
	if e.Kind != rpc.EntryCommand {
		return nil, nil // it is for Raft, and counts. One of a kind not known has stopped the node before it came here (F28)
	}
	return t.command(e.Data)
}

func (t *txn) command(data []byte) (any, error) {
	c, err := command.Decode(data)
	if err != nil {
		return nil, err
	}
	if c.Raise == nil && command.Needs(data) > t.state.version() {
		return Result{Code: NotOpen}, nil
	}
	switch {
	case c.Write != nil:
		return t.write(c.Write)
	case c.AddBucket != nil:
		return t.addBucket(c.AddBucket)
	case c.RemoveBucket != nil:
		return t.removeBucket(c.RemoveBucket)
	case c.UpdateBucket != nil:
		return t.updateBucket(c.UpdateBucket)
	case c.PurgeBucket != nil:
		return t.purgeBucket(c.PurgeBucket)
	case c.Expire != nil:
		return t.expire(c.Expire)
	case c.AddConsumer != nil:
		return t.addConsumer(c.AddConsumer)
	case c.MoveConsumers != nil:
		return t.moveConsumers(c.MoveConsumers)
	case c.RemoveConsumer != nil:
		return t.removeConsumer(c.RemoveConsumer)
	case c.Raise != nil:
		t.state.raised = max(t.state.raised, c.Raise.Version)
		return Result{Revision: t.state.revision}, nil
	default:
		return t.importEntries(c.Import)
	}
}

// bucket finds a bucket; nil if there is none of that name.
func (t *txn) bucket(name string) (*bucket, error) {
	if b, known := t.buckets[name]; known {
		return b, nil
	}
	b, known := t.recent.bucket(name)
	b.keys = map[string]*keyRecord{}
	var err error
	if !known {
		b, err = readBucket(t.db, name)
	}
	if err == nil {
		t.buckets[name] = b
	}
	return b, err
}

// readBucket reads a bucket's records; nil if there is none of that name.
func readBucket(r engine.Reader, name string) (*bucket, error) {
	data, err := r.Get(bucketKey(name))
	if data == nil || err != nil {
		return nil, err
	}
	b := &bucket{name: name, keys: map[string]*keyRecord{}}
	if b.record, err = decodeBucket(data); err != nil {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	if data, err = r.Get(statsKey(b.record.incarnation)); err != nil {
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
	if b.emptied {
		b.keys[name] = &keyRecord{}
		return b.keys[name], nil
	}
	k, known := t.recent.key(b.record.incarnation, name)
	var err error
	if !known {
		k, err = readKey(t.db, b.record.incarnation, name)
	}
	if err == nil {
		b.keys[name] = k
	}
	return k, err
}

func readKey(r engine.Reader, incarnation uint64, name string) (*keyRecord, error) {
	data, err := r.Get(keyKey(incarnation, name))
	if err != nil {
		return nil, err
	}
	k, err := decodeKey(data)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	return &k, nil
}

// place is where an entry is.
type place struct{ incarnation, sequence uint64 }

// commit writes the changed records and the state, and makes the batch visible. It returns the batch's size in bytes.
func (t *txn) commit() (int, error) {
	for _, at := range t.gone {
		t.place = appendEntryKey(t.place[:0], at.incarnation, at.sequence)
		t.batch.Delete(t.place)
	}
	for _, b := range t.buckets {
		if b != nil && b.wrote {
			t.writeRecords(b)
		}
	}
	t.batch.Set(stateKey, t.state.encode())
	size := t.batch.Len()
	return size, t.batch.Commit()
}

func (t *txn) writeRecords(b *bucket) {
	if b.changed {
		t.batch.Set(bucketKey(b.name), b.record.encode())
	}
	for name, k := range b.keys {
		switch {
		case !k.changed:
		case len(k.live) == 0:
			t.batch.Delete(keyKey(b.record.incarnation, name))
		default:
			t.room, t.place = k.append(t.room[:0]), appendKeyKey(t.place[:0], b.record.incarnation, name)
			t.batch.Set(t.place, t.room)
		}
	}
	t.batch.Set(statsKey(b.record.incarnation), b.stats.encode())
}
