package store

// The state as whoever keeps copies of it sees it: backups, and what becomes of them. This file reads records and writes one batch; the copies
// are snapshots (snapshot.go), and who makes them is cmd's.

import (
	"errors"
	"fmt"
	"io"

	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Moment is one point in a state's history.
type Moment struct {
	ID       rpc.EntryID // the last entry applied
	Revision uint64      // of the cluster
	Time     int64       // of the log, nanoseconds since 1970 UTC
}

// Contents count what a state holds.
type Contents struct {
	Buckets uint64 `json:"buckets"`
	Keys    uint64 `json:"keys"`    // with entries, deletes and purges among them
	Entries uint64 `json:"entries"` // the histories
}

// Moment is the present one.
func (s *Store) Moment() Moment { return s.current.Load().moment() }

func (s *state) moment() Moment { return Moment{s.applied, s.revision, s.time} }

// Still takes a snapshot, and says of which moment it is and what it holds. Close it before the store.
func (s *Store) Still() (node.Snapshot, Moment, Contents, error) {
	view, err := s.snapshot()
	if err != nil {
		return nil, Moment{}, Contents{}, err
	}
	at, err := readState(view.view)
	var holds Contents
	if err == nil {
		holds, err = contents(view.view)
	}
	if err != nil {
		return nil, Moment{}, Contents{}, errors.Join(err, view.Close())
	}
	return view, at.moment(), holds, nil
}

// contents adds up what the buckets count.
func contents(r engine.Reader) (c Contents, err error) {
	err = eachBucket(r, func(_ string, _ *bucketRecord, b *statsRecord) error {
		c.Buckets, c.Keys, c.Entries = c.Buckets+1, c.Keys+b.keys+b.deleted, c.Entries+b.entries
		return nil
	})
	return c, err
}

// eachBucket calls f for the names and records of all buckets.
func eachBucket(r engine.Reader, f func(string, *bucketRecord, *statsRecord) error) error {
	return r.Scan([]byte{tableBucket}, []byte{tableBucket + 1}, func(key, value []byte) (bool, error) {
		record, err := decodeBucket(value)
		if err != nil {
			return false, err
		}
		counts, err := r.Get(statsKey(record.incarnation))
		if err != nil {
			return false, err
		}
		stats, err := decodeStats(counts)
		if err == nil {
			err = f(string(key[1:]), &record, &stats)
		}
		return true, err
	})
}

// Foresee says which moment the state would come to by what next returns, entry by entry until there are none, and changes nothing. What the
// entries would write is in memory meanwhile.
func (s *Store) Foresee(next func() ([]rpc.Entry, error)) (Moment, error) {
	db, _, err := s.use()
	if err != nil {
		return Moment{}, err
	}
	defer db.release()
	defer s.recent.forget()
	t := newTxn(db, *s.current.Load(), &s.recent)
	defer t.batch.Close()
	for {
		entries, err := next()
		if err != nil || len(entries) == 0 {
			return t.state.moment(), err
		}
		for i := range entries {
			if err := entries[i].Understood(); err != nil {
				return Moment{}, err
			}
			if _, err := t.apply(&entries[i]); err != nil {
				return Moment{}, fmt.Errorf("entry %v: %w", entries[i].ID(), err)
			}
		}
	}
}

// Inspect reads a snapshot to its end without a store: all its checksums, and the records that tell what it is of, which are held against what
// is there. It keeps nothing in memory but the buckets' counts. progress, if there is one, hears how many entries were read, now and then. visit,
// if there is one, is given each record, in order of key; the bytes are its own until it returns.
func Inspect(r io.Reader, progress func(entries uint64), visit func(key, value []byte) error) (Moment, Contents, error) {
	var at state
	var seen, told Contents
	id, err := readSnapshot(r, func(key, value []byte) (err error) {
		if len(key) == 0 {
			return fmt.Errorf("%w: a record without a key", ErrBadSnapshot)
		}
		switch key[0] {
		case tableState:
			at, err = decodeState(value)
		case tableBucket:
			seen.Buckets++
		case tableStats:
			var b statsRecord
			b, err = decodeStats(value)
			told.Buckets, told.Keys, told.Entries = told.Buckets+1, told.Keys+b.keys+b.deleted, told.Entries+b.entries
		case tableEntry:
			if seen.Entries++; progress != nil && seen.Entries%1024 == 0 {
				progress(seen.Entries)
			}
		case tableKey:
			seen.Keys++
		}
		if err != nil || visit == nil {
			return err
		}
		return visit(key, value)
	})
	switch {
	case err != nil:
	case at.applied != id:
		err = fmt.Errorf("%w: it says it is of entry %v, and holds entry %v", ErrBadSnapshot, id, at.applied)
	case seen != told:
		err = fmt.Errorf("%w: its buckets count %+v, and it holds %+v", ErrBadSnapshot, told, seen)
	}
	return at.moment(), seen, err
}

// ReadRecords reads a snapshot to its end, or what SnapshotWriter wrote, and gives each record to visit. What was given counts only if the error is nil.
func ReadRecords(r io.Reader, visit func(key, value []byte) error) error {
	_, err := readSnapshot(r, visit)
	return err
}

// SnapshotWriter writes records as a snapshot is written, for copies that are put together of others.
type SnapshotWriter struct{ frames *frameWriter }

// NewSnapshotWriter begins a snapshot of an entry.
func NewSnapshotWriter(w io.Writer, id rpc.EntryID) (SnapshotWriter, error) {
	frames, err := newFrameWriter(w, id)
	return SnapshotWriter{frames}, err
}

// Record adds one record. They come in order of key.
func (w SnapshotWriter) Record(key, value []byte) error { return w.frames.record(key, value) }

// End writes what is left, and the checksum.
func (w SnapshotWriter) End() error { return w.frames.end() }

// Succeed has the state go on in another cluster, after an entry that follows the last one: no revision that was ever given in the old cluster
// is given again, neither the cluster's nor a bucket's, if no more than skip were given after this state. What is in the buckets stays as it is.
// A bucket that is being imported keeps its sequence, which is not its own, until the import ends; so its nodes have to know of that. It is durable
// when Succeed returns; the store is not being applied to.
func (s *Store) Succeed(at rpc.EntryID, skip uint64) error {
	db, _, err := s.use()
	if err != nil {
		return err
	}
	defer db.release()
	next := *s.current.Load()
	if at.Index != next.applied.Index+1 || at.Term <= next.applied.Term {
		return fmt.Errorf("entry %v does not follow entry %v in a later term", at, next.applied)
	}
	next.applied, next.revision = at, next.revision+skip
	batch := db.NewBatch()
	defer batch.Close()
	if skip > 0 {
		err = leaveOut(db, batch, skip, &next)
	}
	if err != nil {
		return err
	}
	batch.Set(stateKey, next.encode())
	if err := batch.Commit(); err != nil {
		return err
	}
	s.recent.forget()
	s.current.Store(&next)
	s.firsts.forget()
	s.schedule.news.forget()
	return s.Flush()
}

// leaveOut has the next revision of each bucket be skip higher.
func leaveOut(r engine.Reader, batch engine.Batch, skip uint64, next *state) error {
	return eachBucket(r, func(name string, b *bucketRecord, stats *statsRecord) error {
		if b.importing {
			b.owed += skip
			next.raised = max(next.raised, owedSince)
			batch.Set(bucketKey(name), b.encode())
			return nil
		}
		stats.sequence, stats.lastTime = stats.sequence+skip, max(next.time, 1)
		batch.Set(statsKey(b.incarnation), stats.encode())
		return nil
	})
}
