package store

// What the leader proposes to expire, and when. The schedule is in memory, of this node alone, and made by the first who asks: it only
// says where to look, and Apply decides. Entries with a time of their own are looked up in the order of it; those that only their
// bucket's TTL ends, in order of sequence, which is that of time. So the work is that of what expires, whatever else is there.

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store/engine"
)

// schedule has a timetable for each bucket in which anything may be over one day.
type schedule struct {
	mu     sync.Mutex            // held by who looks, however long that takes
	tables map[uint64]*timetable // by incarnation; nil until somebody asks
	news   news                  // what the tables do not know yet
	last   turn                  // the one with which the last look ended before the others had theirs, or had a lower history trimmed
}

// turn is a bucket's, for entries whose own time is over, or for those that its TTL ends. However much is over in one, the others wait for one command
// of it.
type turn struct {
	incarnation uint64
	kind        turnKind
}

type turnKind uint8

const (
	ofOwnTime turnKind = iota
	ofBucketsTTL
)

func (t turn) compare(other turn) int {
	return cmp.Or(cmp.Compare(t.incarnation, other.incarnation), cmp.Compare(t.kind, other.kind))
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

// Due returns entries that are over at a time, at most max, for a command that expires them. It returns them again, when it is their turn again, until
// that command is applied.
func (s *Store) Due(now int64, max int) ([]command.ExpireItem, error) {
	s.schedule.mu.Lock()
	defer s.schedule.mu.Unlock()
	s.schedule.catchUp()
	l := look{now: now, max: max, named: map[place]struct{}{}}
	err := s.view(func(r engine.Reader) error {
		if err := s.schedule.prepare(r); err != nil {
			return err
		}
		l.r = r
		for _, t := range s.schedule.over(now) {
			trims := l.trims
			if err := l.take(t, s.schedule.tables[t.incarnation]); err != nil {
				return err
			}
			if l.over() || l.trims != trims { // lower histories take turns too
				s.schedule.last = t
			}
			if l.over() {
				break
			}
		}
		return nil
	})
	return l.items, err
}

// NextDue is a time before which Due finds nothing, unless more is written; false if there is none. It may be past.
func (s *Store) NextDue() (int64, bool, error) {
	s.schedule.mu.Lock()
	defer s.schedule.mu.Unlock()
	s.schedule.catchUp()
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

// over are the turns to take, in order and from the one after the last on: the simulator's runs must be alike.
func (s *schedule) over(now int64) []turn {
	var turns []turn
	for incarnation, t := range s.tables {
		if t.trim || t.due <= now {
			turns = append(turns, turn{incarnation, ofOwnTime})
		}
		if t.aged <= now {
			turns = append(turns, turn{incarnation, ofBucketsTTL})
		}
	}
	slices.SortFunc(turns, turn.compare)
	next, found := slices.BinarySearchFunc(turns, s.last, turn.compare)
	if found {
		next++
	}
	return slices.Concat(turns[next:], turns[:next])
}

// catchUp takes in what was applied since the last look. It comes before a look takes its view: what is told later is for the next look, even if this
// one sees it too, and none takes back what it could not see.
func (s *schedule) catchUp() {
	changes, all := s.news.take()
	if !all {
		s.tables = nil
	}
	if s.tables == nil {
		return // prepare sees what has changed
	}
	for incarnation, c := range changes {
		s.takeIn(incarnation, c)
	}
}

func (s *schedule) takeIn(incarnation uint64, c change) {
	table := s.tables[incarnation]
	switch {
	case !c.ends:
		delete(s.tables, incarnation)
		return
	case table == nil || table.ttl != c.anew.ttl:
		s.tables[incarnation] = &c.anew
		return
	}
	table.trim = c.anew.trim
	if c.firstDue > 0 {
		table.due = min(table.due, c.firstDue)
	}
	if at := overAt(c.firstTime, time.Duration(table.ttl)); c.firstTime > 0 && at > 0 {
		table.aged = min(table.aged, at)
	}
}

// prepare reads all buckets, unless that was done.
func (s *schedule) prepare(r engine.Reader) error {
	if s.tables != nil {
		return nil
	}
	tables := map[uint64]*timetable{}
	err := r.Scan([]byte{tableBucket}, []byte{tableBucket + 1}, func(key, _ []byte) (bool, error) {
		b, err := readBucket(r, string(key[1:]))
		if err == nil && b != nil && b.ends() {
			t := b.timetable()
			tables[b.record.incarnation] = &t
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

func (b *bucket) timetable() timetable {
	t := timetable{bucket: b.name, ttl: int64(b.record.settings.TTL), trim: b.record.trimming, due: never, aged: never}
	if b.stats.due > 0 {
		t.due = 0
	}
	if t.ttl > 0 && b.stats.entries > 0 {
		t.aged = 0
	}
	return t
}
