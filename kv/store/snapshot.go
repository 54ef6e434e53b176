package store

// Snapshots: how the state is written out as of one moment, and how it is replaced by one that was received.

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// snapshot is one moment of the state, kept by the engine as long as it is open. Close it before the store.
type snapshot struct {
	db   *handle
	view engine.View
	id   rpc.EntryID
}

// Snapshot takes a view of the state as it is. It copies nothing.
func (s *Store) Snapshot() (node.Snapshot, error) {
	return s.snapshot()
}

func (s *Store) snapshot() (*snapshot, error) {
	db, _, err := s.use()
	if err != nil {
		return nil, err
	}
	view := &snapshot{db: db, view: db.NewView()}
	at, err := readState(view.view)
	if err != nil {
		_ = view.Close() // the first error says more
		return nil, fmt.Errorf("take a snapshot: %w", err)
	}
	view.id = at.applied
	return view, nil
}

// ID is the last entry the snapshot includes.
func (v *snapshot) ID() rpc.EntryID { return v.id }

// Close lets go of the state.
func (v *snapshot) Close() error {
	if v.view == nil {
		return nil
	}
	err := v.view.Close()
	v.view = nil
	v.db.release()
	return err
}

// WriteTo writes the snapshot out, a frame at a time, which is all of it that is ever in memory. The bytes are the same each
// time, on each engine and on each node that applied the same entry, so a stream that broke is begun again and read forward.
func (v *snapshot) WriteTo(w io.Writer) (int64, error) {
	out, err := newFrameWriter(w, v.id)
	if err != nil {
		return out.written, err
	}
	if err := v.each(out.record); err != nil {
		return out.written, err
	}
	err = out.end()
	return out.written, err
}

// each calls f for all records, in order of key. The bytes are f's until it returns.
func (v *snapshot) each(f func(key, value []byte) error) error {
	return v.view.Scan(nil, nil, func(key, value []byte) (bool, error) { return true, f(key, value) })
}

// StateHash hashes all records, and says of which applied entry that is: two nodes that applied the same entry have the same
// hash (I5). It reads the whole state.
func (s *Store) StateHash() (rpc.EntryID, [sha256.Size]byte, error) {
	v, err := s.snapshot()
	if err != nil {
		return rpc.EntryID{}, [sha256.Size]byte{}, err
	}
	hash := sha256.New()
	var lengths [8]byte
	err = v.each(func(key, value []byte) error {
		binary.BigEndian.PutUint32(lengths[:], uint32(len(key)))
		binary.BigEndian.PutUint32(lengths[4:], uint32(len(value)))
		hash.Write(lengths[:])
		hash.Write(key)
		hash.Write(value)
		return nil
	})
	if closing := v.Close(); err == nil {
		err = closing
	}
	return v.id, [sha256.Size]byte(hash.Sum(nil)), err
}

// restoreBatchBytes is how much of a snapshot is written to the new database at a time.
const restoreBatchBytes = 1 << 20

// Restore replaces the state by a snapshot's. It is written to a new database beside the old one, and the old one is used, and
// kept, until the new one is whole, verified and synced. A snapshot of an older state than this one is refused (I8).
func (s *Store) Restore(r io.Reader) error {
	old, _, err := s.use()
	if err != nil {
		return err
	}
	defer old.release()
	if err := s.broken(old); err != nil {
		return err
	}
	restored, to, err := s.prepare(r)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := s.engine.Switch(restored.DB); err != nil {
		// Whether a restart finds the old state or the new is open now. Both are whole, but this process must not go on. It is never said to be for
		// want of room, by which a node takes the state for the old one, and lets go of the snapshot (F21).
		restored.release()
		s.fail(fmt.Errorf("the store's disk failed: %v", err))
		return s.Failure()
	}
	s.replace(old, restored, to)
	s.feed.reset(&to)
	return nil
}

// prepare makes a new database of a snapshot, whole and durable, and says what state it holds.
func (s *Store) prepare(r io.Reader) (*handle, state, error) {
	db, err := s.engine.Prepare()
	if err != nil {
		return nil, state{}, err
	}
	prepared := hold(db, s.logger)
	id, err := fill(db, r)
	var to state
	if err == nil {
		to, err = s.check(db, id)
	}
	if err == nil {
		err = db.Flush()
	}
	if err != nil {
		prepared.superseded.Store(true)
		prepared.release()
	}
	return prepared, to, err
}

// fill writes a snapshot to an empty database, and returns the entry that it says it is of. A Commit that waits for flushes ends with the first that fails (F21).
func fill(db engine.DB, r io.Reader) (rpc.EntryID, error) {
	batch := db.NewBatch()
	defer batch.Close()
	var last []byte
	id, err := readSnapshot(r, func(key, value []byte) error {
		if bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("%w: records out of order", ErrBadSnapshot)
		}
		last = append(last[:0], key...)
		batch.Set(key, value)
		if batch.Len() < restoreBatchBytes {
			return nil
		}
		return batch.Commit()
	})
	if err == nil {
		err = batch.Commit()
	}
	return id, err
}

// check compares a restored state with what its snapshot's head said, and with the state it is to replace.
func (s *Store) check(db engine.Reader, id rpc.EntryID) (state, error) {
	restored, err := readState(db)
	switch {
	case err != nil:
	case restored.applied != id:
		err = fmt.Errorf("%w: it says it is of entry %v, and holds entry %v", ErrBadSnapshot, id, restored.applied)
	case id.Index < s.Applied().Index:
		err = fmt.Errorf("the snapshot is of entry %v, older than entry %v, which is applied: take a newer one", id, s.Applied())
	}
	return restored, err
}

// replace goes on with another database than before.
func (s *Store) replace(old, restored *handle, to state) {
	s.mu.Lock()
	s.db = restored
	s.current.Store(&to)
	s.recent.forget() // in one moment with them, or reads would look for what is in one state in the other
	s.mu.Unlock()
	s.firsts.forget()
	s.schedule.news.forget()
	s.madeDurable(to.applied.Index)
	old.superseded.Store(true)
	old.release() // the store's own use; Restore's ends with it
}
