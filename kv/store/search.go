package store

// Searches are reads that may look at all that a bucket has. Each is of one moment, by one view, however long it takes. A view holds nobody up;
// but who reads does nothing else meanwhile, and what the view sees keeps its place on the disk. So a search looks now and then
// whether it is still wanted, and ends if it is not; and it takes no memory for what it has passed.

import (
	"bytes"
	"errors"

	rules "github.com/raftbus/raftbus/kv/internal/names"
	"github.com/raftbus/raftbus/kv/subject"
)

// ErrUnwanted says that a search ended because nobody wants it any more.
var ErrUnwanted = errors.New("the search is wanted no more")

const (
	// stretchBytes is how much is read between two looks at whether a search is wanted: a millisecond's worth, or one large record.
	stretchBytes = 256 << 10
	// recordBytes is what a record counts for beside its own bytes: small ones cost time too.
	recordBytes = 64
)

// pace is how far a search is in its stretch. The zero pace is always wanted.
type pace struct {
	wanted func() bool
	bytes  int
}

// pass counts a record of so many bytes that is read. The error is ErrUnwanted.
func (p *pace) pass(bytes int) error {
	if p.bytes += bytes + recordBytes; p.wanted == nil || p.bytes < stretchBytes {
		return nil
	}
	p.bytes = 0
	if p.wanted() {
		return nil
	}
	return ErrUnwanted
}

// LastMatch returns the newest entry, of any op, of all keys that match. It looks at the records of keys, and at no other entry than the bucket's
// last, which often is the one. The error is as that of Message, or ErrUnwanted.
func (s *Store) LastMatch(bucket string, filter subject.Filter, wanted func() bool) (entry Entry, err error) {
	err = s.viewBucket(bucket, func(v *bucketView) error {
		last, err := findEntry(v.r, v.record.incarnation, v.stats.sequence)
		if err == nil && filter.Match(last.Key) {
			entry = last
			return nil
		}
		if err != nil && err != NoEntry {
			return err
		}
		sequence := uint64(0)
		err = v.searchKeys(filter, &pace{wanted: wanted}, func(_ string, k *keyRecord) {
			newest, _ := k.newest()
			sequence = max(sequence, newest.sequence)
		})
		switch {
		case err != nil:
			return err
		case sequence == 0:
			return NoEntry
		}
		entry, err = readEntry(v.r, v.record.incarnation, sequence)
		return err
	})
	return entry, err
}

// Next returns the first entry from a sequence on whose key matches. The error is as that of LastMatch.
func (s *Store) Next(bucket string, from uint64, filter subject.Filter, wanted func() bool) (entry Entry, err error) {
	err = s.viewBucket(bucket, func(v *bucketView) error {
		entry, err = v.nextMatch(from, filter, &pace{wanted: wanted})
		return err
	})
	return entry, err
}

// NextSince is Next from the first entry on that is no older than a time, nanoseconds since 1970 UTC.
func (s *Store) NextSince(bucket string, time int64, filter subject.Filter, wanted func() bool) (entry Entry, err error) {
	err = s.viewBucket(bucket, func(v *bucketView) error {
		from, err := v.since(time)
		if err == nil {
			entry, err = v.nextMatch(from, filter, &pace{wanted: wanted})
		}
		return err
	})
	return entry, err
}

func (v *bucketView) nextMatch(from uint64, filter subject.Filter, p *pace) (Entry, error) {
	if key, one := filter.Literal(); one {
		return v.nextOf(key, from)
	}
	return v.next(from, filter, p)
}

func (v *bucketView) nextOf(key string, from uint64) (Entry, error) {
	k, err := readKey(v.r, v.record.incarnation, key)
	if err != nil {
		return Entry{}, err
	}
	for _, l := range k.live {
		if l.sequence >= from {
			return readEntry(v.r, v.record.incarnation, l.sequence)
		}
	}
	return Entry{}, NoEntry
}

func (v *bucketView) next(from uint64, filter subject.Filter, p *pace) (found Entry, err error) {
	err = v.r.Scan(entryKey(v.record.incarnation, from), v.end(), func(key, record []byte) (bool, error) {
		if err := p.pass(len(record)); err != nil {
			return false, err
		}
		e, err := asEntry(key, record)
		if err != nil || !filter.Match(e.Key) {
			return err == nil, err
		}
		e.Value = append(make([]byte, 0, len(e.Value)), e.Value...) // the engine's until now
		e.Header = bytes.Clone(e.Header)
		found = e
		return false, nil
	})
	if err == nil && found.Sequence == 0 {
		err = NoEntry
	}
	return found, err
}

// Subject is a key, and how many entries it has.
type Subject struct {
	Key     string
	Entries uint64
}

// Matched is how many keys match, and how long their names are at most in JSON: all together, and the longest.
type Matched struct{ Keys, Bytes, Longest int }

// add counts a key, and returns how long its name is.
func (m *Matched) add(key string) int {
	size := rules.JSONBytesMax(key)
	m.Keys, m.Bytes, m.Longest = m.Keys+1, m.Bytes+size, max(m.Longest, size)
	return size
}

// Subjects returns the keys that have entries and match, in order, at most limit of them after so many, how many there are in all, and the state of the
// bucket that they are of (C1). Of their names it keeps what a reply with so much room can tell, and one more (Q12). The error is NoBucket, ErrClosed,
// ErrUnwanted, or one of the disk.
func (s *Store) Subjects(bucket string, filter subject.Filter, after, limit, room int, wanted func() bool) (state State, list []Subject, all Matched, err error) {
	err = s.viewBucket(bucket, func(v *bucketView) error {
		err := v.searchKeys(filter, &pace{wanted: wanted}, func(key string, k *keyRecord) {
			size := all.add(key)
			if all.Keys > after && len(list) < limit && room >= 0 {
				list, room = append(list, Subject{key, uint64(len(k.live))}), room-size
			}
		})
		if err != nil {
			return err
		}
		state, err = s.stateOf(v)
		return err
	})
	return state, list, all, err
}

// KeepFrom returns the sequence from which on there are as many entries, of all keys that match together, as are to be kept; 0 if
// there are fewer anyway. Of is the incarnation of the bucket that it is of. The error is as that of Subjects.
func (s *Store) KeepFrom(bucket string, filter subject.Filter, keep uint64, wanted func() bool) (from, of uint64, err error) {
	if keep == 0 {
		return 0, 0, nil
	}
	err = s.viewBucket(bucket, func(v *bucketView) error {
		of = v.record.incarnation
		from, err = v.newest(keep, filter, &pace{wanted: wanted})
		return err
	})
	return from, of, err
}

// newest is the sequence that is so many-th from the end of all that match; 0 if there are fewer. Keys do not tell sequences in order, and to
// sort them all takes memory for all. So it counts them by ranges, finds the range that it is in, and counts again within that: once for up
// to 65,536 sequences, and twice for up to four thousand million.
func (v *bucketView) newest(nth uint64, filter subject.Filter, p *pace) (uint64, error) {
	t := tally{last: v.stats.sequence}
	for {
		t.begin()
		if err := v.searchKeys(filter, p, t.count); err != nil {
			return 0, err
		}
		var found bool
		if nth, found = t.narrow(nth); !found || t.width == 1 {
			return t.last, nil
		}
	}
}

// tallyRanges is into how many ranges a tally counts.
const tallyRanges = 1 << 16

// tally counts the sequences after one and up to another, by ranges of equal width.
type tally struct {
	after, last uint64
	width       uint64
	counts      []uint64
}

func (t *tally) begin() {
	t.width = (t.last-t.after)/tallyRanges + 1
	t.counts = make([]uint64, (t.last-t.after)/t.width+1)
}

func (t *tally) count(_ string, k *keyRecord) {
	for _, l := range k.live {
		if t.after < l.sequence && l.sequence <= t.last {
			t.counts[(l.sequence-t.after-1)/t.width]++
		}
	}
}

// narrow has the tally go on within the range of the nth from the end, and returns the how many-th it is there. If there are fewer, last is 0.
func (t *tally) narrow(nth uint64) (uint64, bool) {
	for i := len(t.counts) - 1; i >= 0; i-- {
		if nth <= t.counts[i] {
			t.after += uint64(i) * t.width
			t.last = min(t.last, t.after+t.width)
			return nth, true
		}
		nth -= t.counts[i]
	}
	t.last = 0
	return 0, false
}

// searchKeys visits the records of the keys that match, in order of key.
func (v *bucketView) searchKeys(filter subject.Filter, p *pace, visit func(key string, k *keyRecord)) error {
	return v.searchSome(filter, p, func(key string, k *keyRecord) bool {
		visit(key, k)
		return true
	})
}

// searchSome does so until visit wants no more.
func (v *bucketView) searchSome(filter subject.Filter, p *pace, visit func(key string, k *keyRecord) bool) error {
	if keys := filter.Literals(tryKeysMax); len(keys) > 0 {
		return v.searchThese(keys, p, visit)
	}
	table := numbered(tableKey, v.record.incarnation)
	from := append(table[:len(table):len(table)], filter.Prefix()...)
	return v.r.Scan(from, prefixEnd(from), func(key, record []byte) (bool, error) {
		if err := p.pass(len(record)); err != nil {
			return false, err
		}
		name := string(key[len(table):])
		if !filter.Match(name) {
			return true, nil
		}
		k, err := decodeKey(record)
		return err == nil && visit(name, &k), err
	})
}

// searchThese visits the records of keys that have one.
func (v *bucketView) searchThese(keys []string, p *pace, visit func(key string, k *keyRecord) bool) error {
	for _, key := range keys {
		if err := p.pass(len(key)); err != nil {
			return err
		}
		k, err := readKey(v.r, v.record.incarnation, key)
		if err != nil || len(k.live) > 0 && !visit(key, k) {
			return err
		}
	}
	return nil
}
