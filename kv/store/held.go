package store

// Reads of what is in memory, for who may not wait for a disk.

import (
	"errors"

	"github.com/raftbus/raftbus/kv/store/engine"
)

// ErrNotHeld: what is to be read is not in memory, or is much.
var ErrNotHeld = errors.New("a read of this may take a disk")

// heldBytesMax is what a record may have that is read without waiting, in bytes: to copy more takes as long as a quick disk.
const heldBytesMax = 16 << 10

// LastHeld is Last of what was written lately, and waits for nobody. The error is NoEntry, or ErrNotHeld where Last is to be asked.
func (s *Store) LastHeld(bucket, key string) (Entry, error) {
	s.mu.RLock() // and no use of the database: the last to let go would close it
	defer s.mu.RUnlock()
	incarnation, known := s.recent.incarnation(bucket)
	if !known || s.db == nil {
		return Entry{}, ErrNotHeld
	}
	db, is := s.db.DB.(engine.Holder)
	if !is {
		return Entry{}, ErrNotHeld
	}
	entry, err := lastHeld(db, incarnation, key)
	if now, known := s.recent.incarnation(bucket); err == NoEntry && (!known || now != incarnation) {
		return Entry{}, ErrNotHeld
	}
	return entry, err
}

// lastHeld is LastHeld of a bucket that was there when it began. An entry that it finds proves that it was the key's newest one then, or later.
func lastHeld(db engine.Holder, incarnation uint64, key string) (Entry, error) {
	at := keyKey(incarnation, key)
	record, held := db.Held(at, heldBytesMax)
	newest, err := newestIn(record)
	switch {
	case !held || err != nil:
		return Entry{}, ErrNotHeld
	case newest.sequence == 0:
		return Entry{}, NoEntry
	}
	at = appendEntryKey(at[:0], incarnation, newest.sequence)
	record, held = db.Held(at, heldBytesMax)
	if !held || record == nil {
		return Entry{}, ErrNotHeld
	}
	entry, err := asEntry(at, record)
	if err != nil {
		return Entry{}, ErrNotHeld
	}
	return entry, nil
}
