package store

// Looks into buckets, for what is over in them.

import (
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store/engine"
)

// look is a look at what is over, bucket by bucket.
type look struct {
	r     engine.Reader
	now   int64
	max   int
	items []command.ExpireItem
	named map[place]struct{} // the entries that are among the items

	// Of the entries that never end: how many, and how much of them, it has passed.
	passed, passedBytes int
	long                bool // it is to end: there is more to pass
	trims               bool // a step of one lower history is among the items: as much as one command may remove

	table       *timetable // of the bucket whose turn it is
	incarnation uint64
}

// over reports whether the look is to end, though others may have something that is over.
func (l *look) over() bool { return l.long || len(l.items) >= l.max }

// take carries out a turn.
func (l *look) take(t turn, table *timetable) error {
	l.incarnation, l.table = t.incarnation, table
	if t.kind == ofBucketsTTL {
		return l.aged()
	}
	if table.trim && !l.trims {
		l.add(0, "")
		l.trims = true
	}
	if table.due <= l.now {
		return l.due()
	}
	return nil
}

// add names an entry, if another turn has not.
func (l *look) add(sequence uint64, key string) {
	at := place{l.incarnation, sequence}
	if _, is := l.named[at]; is {
		return
	}
	l.named[at] = struct{}{}
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

// passedBytesMax bounds what a look reads of entries that never end, beside their number: some hundredths of a second's worth.
const passedBytesMax = 8 << 20

// aged looks for entries that the bucket's TTL ends. It passes a bounded part of those that never end, since what is over in other buckets waits for
// it; the next look goes on there.
func (l *look) aged() error {
	first, from := int64(never), l.table.agedSeq
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
			if l.passed == scanMax || l.passedBytes >= passedBytesMax {
				first, l.long = 0, true // look again at once
				return false, nil
			}
			l.passed, l.passedBytes = l.passed+1, l.passedBytes+len(value)
			return true, nil
		}
		at := overAt(e.Time, time.Duration(l.table.ttl))
		if at == 0 {
			return false, nil // longer than any clock goes, as with all that came later
		}
		first = min(first, at)
		if at > l.now || len(l.items) >= l.max {
			return false, nil
		}
		l.add(e.Sequence, e.Key)
		return true, nil
	})
	if err == nil {
		l.table.aged = first
	}
	return err
}
