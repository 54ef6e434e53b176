package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// snapshot is one moment of the state, kept by Pebble as long as it is open. Close it before the store.
type snapshot struct {
	engine *engine
	view   *pebble.Snapshot
	id     rpc.EntryID
}

// Snapshot takes a view of the state as it is. It copies nothing.
func (s *Store) Snapshot() (node.Snapshot, error) {
	return s.snapshot()
}

func (s *Store) snapshot() (*snapshot, error) {
	e, _, err := s.use()
	if err != nil {
		return nil, err
	}
	view := &snapshot{engine: e, view: e.db.NewSnapshot()}
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
	v.engine.release()
	return err
}

// WriteTo writes the snapshot out, a frame at a time.
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
	iter, err := v.view.NewIter(nil)
	if err != nil {
		return err
	}
	for valid := iter.First(); valid && err == nil; valid = iter.Next() {
		var value []byte
		if value, err = iter.ValueAndErr(); err == nil {
			err = f(iter.Key(), value)
		}
	}
	if closing := iter.Close(); err == nil {
		err = closing // holds the iterator's own errors too
	}
	return err
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
	if err := old.failed(); err != nil {
		return err
	}
	number := s.number + 1
	restored, err := s.prepare(number, r)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := s.folder.markComplete(number); err != nil {
		// Whether a restart finds the old state or the new is open now. Both are whole, but this process must not go on.
		restored.release()
		old.fail(err)
		return old.failed()
	}
	return s.replace(old, restored, number)
}

// prepare makes a new database of a snapshot.
func (s *Store) prepare(number uint64, r io.Reader) (*engine, error) {
	dir := s.folder.path(number)
	if err := s.folder.fs.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("remove an earlier attempt: %w", err)
	}
	e, err := openEngine(s.folder.fs, dir, s.logger)
	if err != nil {
		return nil, err
	}
	if err := s.fill(e, r); err != nil {
		e.superseded.Store(true)
		e.release()
		return nil, err
	}
	return e, nil
}

// fill writes a snapshot to an empty database, checks that it is what it says, and syncs it.
func (s *Store) fill(e *engine, r io.Reader) error {
	batch := e.db.NewBatch()
	defer func() { _ = batch.Close() }() // what it holds was committed, or is given up
	var last []byte
	id, err := readSnapshot(r, func(key, value []byte) error {
		if bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("%w: records out of order", ErrBadSnapshot)
		}
		last = append(last[:0], key...)
		if err := batch.Set(key, value, nil); err != nil || batch.Len() < restoreBatchBytes {
			return err
		}
		err := batch.Commit(pebble.NoSync)
		batch.Reset()
		return err
	})
	if err != nil {
		return err
	}
	if err := batch.Commit(pebble.NoSync); err != nil {
		return err
	}
	if err := s.check(e, id); err != nil {
		return err
	}
	return e.flush()
}

// check compares a restored state with what its snapshot's head said, and with the state it is to replace.
func (s *Store) check(e *engine, id rpc.EntryID) error {
	restored, err := readState(e.db)
	switch {
	case err != nil:
		return err
	case restored.applied != id:
		return fmt.Errorf("%w: it says it is of entry %v, and holds entry %v", ErrBadSnapshot, id, restored.applied)
	case id.Index < s.Applied().Index:
		return fmt.Errorf("the snapshot is of entry %v, older than entry %v, which is applied: take a newer one", id, s.Applied())
	}
	return nil
}

// replace puts a complete database in the place of the one in use.
func (s *Store) replace(old, e *engine, number uint64) error {
	restored, err := readState(e.db)
	if err != nil {
		e.release()
		old.fail(err)
		return err
	}
	s.mu.Lock()
	s.engine = e
	s.current.Store(&restored)
	s.mu.Unlock()
	s.number = number
	s.madeDurable(restored.applied.Index)
	old.superseded.Store(true)
	old.release() // the store's own use; Restore's ends with it
	return nil
}
