package store

// What writes do, and how entries come and go. Every outcome is decided here, from the command and the state alone: no clock, no
// chance, no map order.

import (
	"math"
	"time"

	"github.com/raftbus/raftbus/kv/command"
)

func (t *txn) write(w *command.Write) (Result, error) {
	b, err := t.bucket(w.Bucket)
	if err != nil {
		return Result{}, err
	}
	if b == nil {
		return Result{Code: NoBucket}, nil
	}
	if b.record.importing {
		return Result{Code: Importing}, nil
	}
	if w.MsgID != "" { // before any refusal: what was done once is not refused, whatever the bucket has become since (C4, C5)
		if first, again, err := t.duplicate(b, w.MsgID); err != nil || again {
			return first, err
		}
	}
	if b.record.settings.ReadOnly {
		return Result{Code: ReadOnly}, nil
	}
	k, err := t.key(b, w.Key)
	if err != nil {
		return Result{}, err
	}
	e := b.entry(w)
	if refusal := t.refuse(b, k, w, &e); refusal.Code != Done {
		return refusal, nil
	}
	if w.Rollup == command.RollupBucket && b.stats.entries > 0 {
		t.empty(b)
		k, err = t.key(b, w.Key)
	}
	if err == nil {
		e.time = t.state.time
		err = t.add(b, k, &e, b.stats.sequence+1, w.Rollup, w.MsgID)
	}
	return Result{Sequence: b.stats.sequence, Revision: t.state.revision}, err
}

// entry is the entry that a write asks for. A TTL shorter than that of markers is raised to it, and so is what its header says, as
// a NATS server does: a marker that is there already would hide that the key has expired again.
func (b *bucket) entry(w *command.Write) entryRecord {
	e := entryRecord{key: w.Key, op: w.Op, value: w.Value, header: w.Header, ttl: w.TTL}
	if least := b.record.markerTTL(); e.ttl > 0 && e.ttl < least && b.record.history() > 1 {
		e.ttl, e.header = least, withTTL(e.header, least)
	}
	return e
}

// refuse says why a write cannot be done; Done if it can.
func (t *txn) refuse(b *bucket, k *keyRecord, w *command.Write, e *entryRecord) Result {
	s := &b.record.settings
	switch {
	case s.MaxValueSize > 0 && uint64(len(w.Value)) > s.MaxValueSize:
		return Result{Code: ValueTooLarge, Limit: s.MaxValueSize}
	case s.MaxMessageSize > 0 && uint64(len(w.Header)+len(w.Value)) > s.MaxMessageSize:
		return Result{Code: MessageTooLarge, Limit: s.MaxMessageSize}
	case w.TTL != 0 && !s.AllowTTL:
		return Result{Code: TTLDisabled}
	}
	if r := k.check(w); r.Code != Done {
		return r
	}
	switch {
	case w.LastSequence != nil && *w.LastSequence != b.stats.sequence:
		return Result{Code: WrongLastSequence, Current: b.stats.sequence}
	case w.LastMsgID != "" && w.LastMsgID != b.stats.lastID:
		return Result{Code: WrongLastID, MsgID: b.stats.lastID}
	case s.MaxBytes > 0 && !b.fits(k, w, e) && !(t.state.version() >= easesSince && b.eases(k, w, e)):
		return Result{Code: BucketFull, Limit: s.MaxBytes}
	}
	return Result{}
}

// check judges a write's condition.
func (k *keyRecord) check(w *command.Write) Result {
	newest, _ := k.newest()
	switch w.Condition {
	case command.IfAbsent:
		if k.present() {
			return Result{Code: KeyExists, Current: newest.sequence}
		}
	case command.IfPresent:
		if !k.present() {
			return Result{Code: KeyNotFound}
		}
	case command.IfSequence:
		if newest.sequence != w.Sequence {
			return Result{Code: WrongRevision, Current: newest.sequence}
		}
	}
	return Result{}
}

// fits reports whether a bucket has room for an entry, once what it displaces is gone. A full bucket must still take bare deletes of
// what is there, or nobody could make room.
func (b *bucket) fits(k *keyRecord, w *command.Write, e *entryRecord) bool {
	if w.Op != command.Put && len(w.Header) == 0 && len(w.Value) == 0 && len(k.live) > 0 {
		return true
	}
	return b.left(k, w)+e.size() <= b.record.settings.MaxBytes
}

// left is how many bytes of a bucket a write does not displace.
func (b *bucket) left(k *keyRecord, w *command.Write) uint64 {
	if w.Rollup == command.RollupBucket {
		return 0
	}
	return b.stats.bytes - sizes(k.live[:k.dropped(b.record.history(), w.Rollup)])
}

const (
	// easesSince is the version of commands from which on what eases a full bucket is taken.
	easesSince = 3
	// markHeaderMax bounds the header of a delete that is taken in any case, in bytes: those of KV clients have less.
	markHeaderMax = 256
)

// eases reports whether an entry leaves a full bucket, which may have more than it is to have since then, no larger than it was, as a NATS server
// judges; or is a delete of what is there, as KV clients send it.
func (b *bucket) eases(k *keyRecord, w *command.Write, e *entryRecord) bool {
	if w.Op != command.Put && len(w.Header) <= markHeaderMax && len(w.Value) == 0 && len(k.live) > 0 {
		return true
	}
	return b.left(k, w)+e.size() <= b.stats.bytes
}

// dropped is how many of the key's oldest entries one more entry displaces.
func (k *keyRecord) dropped(history uint64, rollup command.Rollup) int {
	if rollup != command.RollupNone {
		return len(k.live)
	}
	if uint64(len(k.live)) >= history {
		return len(k.live) - int(history) + 1
	}
	return 0
}

// add gives an entry its place, drops those it displaces, and counts.
func (t *txn) add(b *bucket, k *keyRecord, e *entryRecord, sequence uint64, rollup command.Rollup, id string) error {
	t.state.revision++
	b.stats.sequence, e.revision = sequence, t.state.revision
	l := live{sequence: b.stats.sequence, size: e.size(), op: e.op, due: overAt(e.time, e.ttl), own: true, time: e.time, never: e.ttl == command.Never}
	newest, _ := k.newest()
	t.room, t.place = e.append(t.room[:0]), appendEntryKey(t.place[:0], b.record.incarnation, l.sequence)
	t.batch.Add(t.place, t.room) // each sequence is given once
	t.keepDue(b, l, e.key)
	b.count(k, -1)
	drop := k.dropped(b.record.history(), rollup)
	for i, old := range k.live[:drop] {
		t.discard(b, e.key, old, k.after(i, l.sequence))
	}
	b.stats.entries++
	b.stats.bytes += l.size
	k.live = append(k.live[drop:], l)
	b.count(k, +1)
	k.changed, b.wrote = true, true
	if b.firstTime == 0 {
		b.firstTime = e.time
	}
	b.stats.lastTime, b.stats.lastID = 0, id
	t.feed.stored(b, e, newest.sequence)
	return t.keepID(b, id)
}

// remove removes one entry of a key.
func (t *txn) remove(b *bucket, key string, k *keyRecord, which int) error {
	l := k.live[which]
	if l.sequence == b.stats.sequence {
		written, _, err := t.lifeOf(b, l)
		if err != nil {
			return err
		}
		b.stats.lastTime = written
	}
	b.count(k, -1)
	t.discard(b, key, l, k.after(which, 0))
	k.live = append(k.live[:which], k.live[which+1:]...)
	b.count(k, +1)
	k.changed, b.wrote = true, true
	return nil
}

// after is the sequence of the entry that is newer than another one of the key, or last if there is none.
func (k *keyRecord) after(which int, last uint64) uint64 {
	if which+1 < len(k.live) {
		return k.live[which+1].sequence
	}
	return last
}

// discard removes an entry's records, and counts it out. next is the next newer one of its key.
func (t *txn) discard(b *bucket, key string, l live, next uint64) {
	t.gone = append(t.gone, place{b.record.incarnation, l.sequence})
	if l.due > 0 {
		t.batch.Delete(dueKey(b.record.incarnation, l.due, l.sequence))
		b.stats.due--
	}
	b.stats.entries--
	b.stats.bytes -= l.size
	t.feed.removed(b, key, l.sequence, next)
}

// lifeOf is when an entry that is there was written, and whether it outlives its bucket's TTL.
func (t *txn) lifeOf(b *bucket, l live) (written int64, never bool, err error) {
	if l.own {
		return l.time, l.never, nil
	}
	e, err := readEntry(t.db, b.record.incarnation, l.sequence)
	return e.Time, e.TTL == command.Never, err
}

// count counts a key in or out, as present or as deleted. A key without entries is neither.
func (b *bucket) count(k *keyRecord, by int) {
	switch {
	case len(k.live) == 0:
	case k.present():
		b.stats.keys += uint64(by)
	default:
		b.stats.deleted += uint64(by)
	}
}

func sizes(entries []live) uint64 {
	var sum uint64
	for _, l := range entries {
		sum += l.size
	}
	return sum
}

func (e *entryRecord) size() uint64 { return EntrySize(e.key, e.header, e.value) }

// overAt is when a time to live is over; 0: there is none, or it is longer than any clock goes.
func overAt(written int64, ttl time.Duration) int64 {
	if ttl <= 0 || int64(ttl) > math.MaxInt64-written {
		return 0
	}
	return written + int64(ttl)
}

// markerTTL is how long a marker lives, in whole seconds as its header says; 0: there are none.
func (r *bucketRecord) markerTTL() time.Duration { return r.settings.MarkerTTL.Truncate(time.Second) }
