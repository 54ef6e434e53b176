package store

// What the leader proposes to expire, and when. The schedule is in memory, of this node alone, and made by the first who asks: it only
// says where to look, and Apply decides. Entries with a time of their own are looked up in the order of it; those that only their
// bucket's TTL ends, in order of sequence, which is that of time. So the work is that of what expires, whatever else is there.

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store/engine"
)

// schedule has a timetable for each bucket in which anything may be over one day.
type schedule struct {
	mu     sync.Mutex
	tables map[uint64]*timetable // by incarnation; nil until somebody asks
}

// timetable is when to look into a bucket again. Its times are never late; 0 is now, never is not until something is written.
type timetable struct {
	bucket string
	ttl    int64
	trim   bool // a lower history is being carried out

	due     int64  // when the first entry's own time is over
	aged    int64  // when the bucket's TTL ends the first entry that it does end
	agedSeq uint64 // it ends none below this sequence
}

const never = math.MaxInt64

// Due returns entries that are over at a time, at most max, for a command that expires them. It returns them again until that
// command is applied.
func (s *Store) Due(now int64, max int) ([]command.ExpireItem, error) {
	s.schedule.mu.Lock()
	defer s.schedule.mu.Unlock()
	var items []command.ExpireItem
	err := s.view(func(r engine.Reader) error {
		if err := s.schedule.prepare(r); err != nil {
			return err
		}
		for _, incarnation := range s.schedule.over(now) {
			l := look{r: r, table: s.schedule.tables[incarnation], incarnation: incarnation, now: now, max: max, items: items}
			if err := l.all(); err != nil {
				return err
			}
			if items = l.items; len(items) >= max {
				break
			}
		}
		return nil
	})
	return items, err
}

// NextDue is a time before which Due finds nothing, unless more is written; false if there is none. It may be past.
func (s *Store) NextDue() (int64, bool, error) {
	s.schedule.mu.Lock()
	defer s.schedule.mu.Unlock()
	if s.schedule.tables == nil {
		if err := s.view(s.schedule.prepare); err != nil {
			return 0, false, err
		}
	}
	next := int64(never)
	for _, t := range s.schedule.tables {
		next = min(next, t.next())
	}
	return next, next != never, nil
}

func (t *timetable) next() int64 {
	if t.trim {
		return 0
	}
	return min(t.due, t.aged)
}

// over are the incarnations to look into, in order: the simulator's runs must be alike.
func (s *schedule) over(now int64) []uint64 {
	var list []uint64
	for incarnation, t := range s.tables {
		if t.next() <= now {
			list = append(list, incarnation)
		}
	}
	slices.Sort(list)
	return list
}

// prepare reads all buckets, unless that was done. What is committed meanwhile waits, and is taken in twice at worst.
func (s *schedule) prepare(r engine.Reader) error {
	if s.tables != nil {
		return nil
	}
	tables := map[uint64]*timetable{}
	err := r.Scan([]byte{tableBucket}, []byte{tableBucket + 1}, func(key, _ []byte) (bool, error) {
		b, err := readBucket(r, string(key[1:]))
		if err == nil && b != nil && b.ends() {
			tables[b.record.incarnation] = b.timetable()
		}
		return true, err
	})
	if err == nil {
		s.tables = tables
	}
	return err
}

// ends reports whether anything in a bucket may be over one day. Nothing is while it is imported: a marker would take a sequence of
// those that are still to come.
func (b *bucket) ends() bool {
	return !b.record.importing && (b.record.settings.TTL > 0 || b.stats.due > 0 || b.record.trimming)
}

func (b *bucket) timetable() *timetable {
	t := &timetable{bucket: b.name, ttl: int64(b.record.settings.TTL), trim: b.record.trimming, due: never, aged: never}
	if b.stats.due > 0 {
		t.due = 0
	}
	if t.ttl > 0 && b.stats.entries > 0 {
		t.aged = 0
	}
	return t
}

// committed takes in what a txn has changed.
func (s *schedule) committed(t *txn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tables == nil {
		return
	}
	for _, incarnation := range t.removed {
		delete(s.tables, incarnation)
	}
	for _, b := range t.buckets {
		if b != nil && (b.wrote || b.changed) {
			s.changed(b)
		}
	}
}

func (s *schedule) changed(b *bucket) {
	table := s.tables[b.record.incarnation]
	switch {
	case !b.ends():
		delete(s.tables, b.record.incarnation)
		return
	case table == nil || table.ttl != int64(b.record.settings.TTL):
		s.tables[b.record.incarnation] = b.timetable()
		return
	}
	table.trim = b.record.trimming
	if b.firstDue > 0 {
		table.due = min(table.due, b.firstDue)
	}
	if at := overAt(b.firstTime, b.record.settings.TTL); b.firstTime > 0 && at > 0 {
		table.aged = min(table.aged, at)
	}
}

// forget is for another state.
func (s *schedule) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables = nil
}

// look is a look into one bucket.
type look struct {
	r           engine.Reader
	table       *timetable
	incarnation uint64
	now         int64
	max         int
	items       []command.ExpireItem
}

func (l *look) all() error {
	if l.table.trim {
		l.add(0, "")
	}
	if l.table.due <= l.now {
		if err := l.due(); err != nil {
			return err
		}
	}
	if l.table.aged <= l.now && len(l.items) < l.max {
		return l.aged()
	}
	return nil
}

func (l *look) add(sequence uint64, key string) {
	l.items = append(l.items, command.ExpireItem{Bucket: l.table.bucket, Incarnation: l.incarnation, Sequence: sequence, Key: key})
}

// due looks for entries whose own time is over.
func (l *look) due() error {
	first := int64(never)
	from, end := dueKey(l.incarnation, l.table.due, 0), prefixEnd(numbered(tableDue, l.incarnation))
	err := l.r.Scan(from, end, func(key, value []byte) (bool, error) {
		at, sequence, name, err := decodeDue(key, value)
		if err != nil {
			return false, err
		}
		first = min(first, at)
		if at > l.now || len(l.items) >= l.max {
			return false, nil
		}
		l.add(sequence, name)
		return true, nil
	})
	if err == nil {
		l.table.due = first
	}
	return err
}

// aged looks for entries that the bucket's TTL ends. It passes a bounded number of those that never end, since Apply may wait for it;
// the next look goes on there.
func (l *look) aged() error {
	first, from := int64(never), l.table.agedSeq
	passed := 0
	end := prefixEnd(numbered(tableEntry, l.incarnation))
	err := l.r.Scan(entryKey(l.incarnation, from), end, func(key, value []byte) (bool, error) {
		e, err := asEntry(key, value)
		if err != nil {
			return false, err
		}
		if first == never {
			l.table.agedSeq = e.Sequence
		}
		if e.TTL == command.Never {
			if passed++; passed == scanMax && first == never {
				first = 0 // look again at once
			}
			return passed < scanMax, nil
		}
		at := overAt(e.Time, time.Duration(l.table.ttl))
		if at == 0 {
			return false, nil // longer than any clock goes, as with all that came later
		}
		first = min(first, at)
		if at > l.now || len(l.items) >= l.max {
			return false, nil
		}
		if own := overAt(e.Time, e.TTL); own == 0 || own > l.now { // else it was found by its own time
			l.add(e.Sequence, e.Key)
		}
		return true, nil
	})
	if err == nil {
		l.table.aged = first
	}
	return err
}
