package store

// Reads by sequence, and of what a bucket holds in terms of sequences. Deletes and purges are entries like others here.

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/raft/rpc"
)

// State is what a bucket holds, in terms of sequences.
type State struct {
	BucketInfo
	// First is the lowest sequence that is there; if there is none, the next that will be, or 0 if there never was one.
	First uint64
	// FirstTime and LastTime are when the first entry that is there, and the bucket's last, were written; 0 if it has none.
	FirstTime, LastTime int64
	// Gaps is how many sequences after First are not there any more.
	Gaps uint64
	At   rpc.Index // the applied entry of the log that this is of
}

// Message returns the entry of a sequence. The error is NoBucket, NoEntry, ErrClosed, or one of the disk.
func (s *Store) Message(bucket string, sequence uint64) (Entry, error) {
	var entry Entry
	err := s.viewBucket(bucket, func(v *bucketView) (err error) {
		entry, err = findEntry(v.r, v.record.incarnation, sequence)
		return err
	})
	return entry, err
}

// Last returns a key's newest entry, of any op. The error is as that of Message.
func (s *Store) Last(bucket, key string) (Entry, error) {
	for range lastTries {
		if entry, err := s.last(bucket, key); err != errMoved {
			return entry, err
		}
	}
	var entry Entry
	err := s.viewBucket(bucket, func(v *bucketView) error {
		k, err := readKey(v.r, v.record.incarnation, key)
		if err != nil {
			return err
		}
		newest, any := k.newest()
		if !any {
			return NoEntry
		}
		entry, err = readEntry(v.r, v.record.incarnation, newest.sequence)
		return err
	})
	return entry, err
}

// lastTries is how often Last looks without a view, which costs as much as the rest of it.
const lastTries = 4

// errMoved: an Apply has come between two looks.
var errMoved = errors.New("the state has changed meanwhile")

// last is Last without a view: what it has found first must still hold at the end, or be proven by what it has found last.
func (s *Store) last(bucket, key string) (Entry, error) {
	incarnation, err := s.incarnation(bucket)
	if err != nil {
		return Entry{}, err
	}
	db, _, err := s.use()
	if err != nil {
		return Entry{}, err
	}
	defer db.release()
	at := keyKey(incarnation, key)
	record, err := db.Get(at)
	if err != nil {
		return Entry{}, err
	}
	newest, err := newestIn(record)
	if err != nil {
		return Entry{}, fmt.Errorf("key %s: %w", key, err)
	}
	if newest.sequence > 0 {
		entry, err := findAt(db, appendEntryKey(at[:0], incarnation, newest.sequence))
		if err == NoEntry {
			err = errMoved // another has taken its place
		}
		return entry, err
	}
	if now, err := s.incarnation(bucket); err != nil || now == incarnation {
		return Entry{}, cmp.Or[error](err, NoEntry)
	}
	return Entry{}, errMoved
}

// State describes a bucket in terms of sequences. The error is NoBucket, ErrClosed, or one of the disk.
func (s *Store) State(bucket string) (state State, err error) {
	err = s.viewBucket(bucket, func(v *bucketView) error {
		state, err = s.stateOf(v)
		return err
	})
	return state, err
}

func (s *Store) stateOf(v *bucketView) (State, error) {
	state := State{BucketInfo: v.info(), At: v.at}
	if state.Entries == 0 {
		if state.Sequence > 0 {
			state.First = state.Sequence + 1
		}
		return state, nil
	}
	first, err := v.first(s.firsts.from(v))
	if err != nil {
		return state, err
	}
	s.firsts.found(v, first.Sequence)
	state.First, state.FirstTime, state.LastTime = first.Sequence, first.Time, v.stats.lastTime
	state.Gaps = state.Sequence + 1 - state.First - state.Entries
	if state.LastTime == 0 {
		last, err := findEntry(v.r, v.record.incarnation, v.stats.sequence)
		if err == NoEntry {
			return state, nil // it was imported as of the beginning of time, and is gone
		}
		state.LastTime = last.Time
		return state, err
	}
	return state, nil
}

// bucketView is one moment of a bucket.
type bucketView struct {
	*bucket
	r    engine.Reader
	at   rpc.Index
	time int64 // of the log
}

// viewBucket runs a read on one moment of a bucket. The error is NoBucket if there is none of that name.
func (s *Store) viewBucket(name string, read func(*bucketView) error) error {
	return s.view(func(r engine.Reader) error {
		at, err := readState(r)
		if err != nil {
			return err
		}
		b, err := mustBucket(r, name)
		if err != nil {
			return err
		}
		return read(&bucketView{bucket: b, r: r, at: at.applied.Index, time: at.time})
	})
}

// end is where the bucket's entries end.
func (v *bucketView) end() []byte { return prefixEnd(numbered(tableEntry, v.record.incarnation)) }

// first finds the first entry from a sequence on.
func (v *bucketView) first(from uint64) (first Entry, err error) {
	err = v.r.Scan(entryKey(v.record.incarnation, from), v.end(), func(key, value []byte) (bool, error) {
		first, err = asEntry(key, value)
		first.Value, first.Header = nil, nil // the engine's
		return false, err
	})
	if err == nil && first.Sequence == 0 {
		err = NoEntry
	}
	return first, err
}
