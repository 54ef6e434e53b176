package sim

// The ledger is what each key was from which entry of the log on, by commands and results as the first node applied them. Reads
// are judged by it: a read must have one point in the log, after all that had been answered when it was asked and not after
// what was committed when it was answered, at which the key was what it says (C1, C3). Choosing the earliest such point for
// each read finds points for all if there are any.

import (
	"fmt"
	"sort"
	"strings"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/rpc"
)

type ledger struct {
	world    *world
	keys     map[string][]state // by bucket and key, rising
	live     map[string][]living
	buckets  map[string]bool // that are there
	settings map[string]command.Settings
	made     map[string]uint64 // the revisions at which the buckets were made
	last     map[string]uint64 // each bucket's highest sequence
	revision uint64
	ids      map[string]identified // by bucket and message id
	time     int64                 // of the log

	retries, ended uint64 // how many there were
}

// identified is what a write with a message id came to, and when.
type identified struct {
	at     int64
	result store.Result
	term   rpc.Term
}

// state is what a key was from an index on, until the next state's.
type state struct {
	from     rpc.Index
	bucket   bool // there is a bucket
	found    bool
	value    string
	sequence uint64 // of the newest entry, deletes too
	revision uint64
}

func newLedger(w *world) *ledger {
	return &ledger{
		world: w, keys: map[string][]state{}, live: map[string][]living{}, buckets: map[string]bool{}, settings: map[string]command.Settings{},
		made: map[string]uint64{}, last: map[string]uint64{}, ids: map[string]identified{},
	}
}

func place(bucket, key string) string { return bucket + "." + key }

// newest is the sequence of a key's newest entry, 0 if it has none.
func (l *ledger) newest(bucket, key string) uint64 {
	list := l.keys[place(bucket, key)]
	if len(list) == 0 {
		return 0
	}
	return list[len(list)-1].sequence
}

// current is a key's state now.
func (l *ledger) current(bucket, key string) state {
	if list := l.keys[place(bucket, key)]; len(list) > 0 {
		return list[len(list)-1]
	}
	return state{}
}

// applied takes in what an entry has done. Its result is checked against what the key was (C1, C6).
func (l *ledger) applied(e *rpc.Entry, o *op, c *command.Command, r store.Result) {
	l.time = max(l.time, e.Time)
	if r.Code == store.Done && !r.Again {
		l.world.must(r.Revision == l.revision+1, "C6", "entry %v makes revision %d after %d", e.ID(), r.Revision, l.revision)
		l.revision = r.Revision
	}
	switch {
	case c.AddBucket != nil:
		l.world.must(l.buckets[o.bucket] == (r.Code != store.Done), "C1", "%v at entry %v: %v, the bucket is there: %v", o, e.ID(), r.Code, l.buckets[o.bucket])
		l.began(e, o.bucket, true, r)
		if r.Code == store.Done {
			l.settings[o.bucket], l.made[o.bucket] = c.AddBucket.Settings, r.Revision
		}
	case c.RemoveBucket != nil:
		l.world.must(l.buckets[o.bucket] == (r.Code == store.Done), "C1", "a removal at entry %v: %v, the bucket is there: %v", e.ID(), r.Code, l.buckets[o.bucket])
		l.began(e, o.bucket, false, r)
	case c.Write != nil:
		l.wrote(e, o, c.Write, r)
	}
}

// began: a bucket was made, or removed with all its keys. Its revisions begin anew (C6).
func (l *ledger) began(e *rpc.Entry, bucket string, there bool, r store.Result) {
	if r.Code != store.Done {
		return
	}
	l.buckets[bucket], l.last[bucket] = there, 0
	l.world.watchers.book.began(bucket, there, r.Revision)
	for at := range l.ids {
		if strings.HasPrefix(at, bucket+".") {
			delete(l.ids, at)
		}
	}
	for k := range l.world.plan.keys {
		at := place(bucket, keyName(k))
		l.live[at] = nil
		l.keys[at] = append(l.keys[at], state{from: e.Index, bucket: there, revision: r.Revision})
	}
}

func (l *ledger) wrote(e *rpc.Entry, o *op, w *command.Write, r store.Result) {
	if first, again := l.again(w); again || r.Again {
		l.world.must(again && r == first, "C4", "%v at entry %v, a retry (%v) of message id %q: %+v, the first answer was %+v", o, e.ID(), again, w.MsgID, r, first)
		l.retries++
		l.world.reach.note(retryInLaterTerm, e.Term > l.ids[place(w.Bucket, w.MsgID)].term)
		return
	}
	was := l.current(w.Bucket, w.Key)
	want := l.judge(&was, w)
	l.world.must(want == r.Code, "C1", "%v at entry %v: %v, it should be: %v (the key is %+v)", o, e.ID(), r.Code, want, was)
	if r.Code != store.Done {
		return
	}
	l.world.must(r.Sequence == l.last[w.Bucket]+1, "C6", "entry %v has sequence %d after %d", e.ID(), r.Sequence, l.last[w.Bucket])
	l.last[w.Bucket] = r.Sequence
	l.add(e, w, r)
	if w.MsgID != "" {
		l.ids[place(w.Bucket, w.MsgID)] = identified{l.time, r, e.Term}
	}
}

// again is what a write with a message id is to be answered if it was done within the window, by the log's time (C4).
func (l *ledger) again(w *command.Write) (store.Result, bool) {
	first, was := l.ids[place(w.Bucket, w.MsgID)]
	window := l.settings[w.Bucket]
	if !was || w.MsgID == "" || l.time-first.at >= int64(window.Window()) {
		return store.Result{}, false
	}
	first.result.Again = true
	return first.result, true
}

// judge is what a write should come to.
func (l *ledger) judge(was *state, w *command.Write) store.Code {
	switch {
	case !l.buckets[w.Bucket]:
		return store.NoBucket
	case w.TTL != 0 && !l.allowsTTL(w.Bucket):
		return store.TTLDisabled
	case w.Condition == command.IfAbsent && was.found:
		return store.KeyExists
	case w.Condition == command.IfPresent && !was.found:
		return store.KeyNotFound
	case w.Condition == command.IfSequence && was.sequence != w.Sequence:
		return store.WrongRevision
	}
	return store.Done
}

// read finds a read's point, and fails if there is none.
func (l *ledger) read(o *op) rpc.Index {
	list, low, high := l.keys[place(o.bucket, o.key)], o.low, l.world.watch.last()
	first := sort.Search(len(list), func(i int) bool { return list[i].from > low }) // the first state that began after low
	for i := first - 1; i < len(list); i++ {
		s := state{} // before the first write nothing is there
		if i >= 0 {
			s = list[i]
		}
		if point := max(s.from, low); point <= high && saw(o, &s) {
			return point
		}
	}
	l.world.fail("C1", "%v read %s at no point from %d to %d: the key was %s", o, o.answer.describe(), low, high, l.describe(list))
	return 0
}

// saw reports whether a read answers as the key was.
func saw(o *op, s *state) bool {
	a := &o.answer
	switch {
	case a.found:
		return s.found && s.value == string(a.entry.Value) && s.sequence == a.entry.Sequence && s.revision == a.entry.Revision
	case a.result.Code == store.NoBucket:
		return !s.bucket
	}
	return s.bucket && !s.found
}

func (l *ledger) describe(list []state) string {
	if n := len(list); n > 6 {
		list = list[n-6:]
	}
	return fmt.Sprintf("%+v", list)
}
