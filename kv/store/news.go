package store

// What Apply tells those who look for what is over. They may be at it for long, since they read from the disk; Apply waits for none of them, and no
// answer to a write with it.

import "sync"

// news is what has become of buckets since somebody last looked. Nothing is kept before the first look: that reads the state.
type news struct {
	mu      sync.Mutex // held for a moment only
	kept    bool
	changes map[uint64]change // by incarnation
}

// change is what has become of one bucket, by one txn or several.
type change struct {
	ends                bool      // anything in it may be over one day
	anew                timetable // as of one that nobody has looked into
	firstTime, firstDue int64     // as a bucket's: of all that the txns wrote
}

// newsMax bounds the buckets of which news is kept. Beyond it none is, and the next look reads the state: nobody looks where a node leads no more.
const newsMax = 1 << 16

// committed keeps what a txn has changed.
func (n *news) committed(t *txn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.kept {
		return
	}
	for _, incarnation := range t.removed {
		n.changes[incarnation] = change{}
	}
	for _, b := range t.buckets {
		if b != nil && (b.wrote || b.changed) {
			n.changed(b)
		}
	}
	if len(n.changes) > newsMax {
		n.kept, n.changes = false, nil
	}
}

func (n *news) changed(b *bucket) {
	before := n.changes[b.record.incarnation]
	n.changes[b.record.incarnation] = change{
		ends: b.ends(), anew: b.timetable(), firstTime: earlier(before.firstTime, b.firstTime), firstDue: earlier(before.firstDue, b.firstDue),
	}
}

// earlier is the earlier of two times, of which 0 is none.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// take hands over what was kept since the last call, and has what follows kept; false: that is not all that has changed.
func (n *news) take() (map[uint64]change, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	changes, all := n.changes, n.kept
	n.changes, n.kept = map[uint64]change{}, true
	return changes, all
}

// forget is for another state.
func (n *news) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changes, n.kept = nil, false
}
