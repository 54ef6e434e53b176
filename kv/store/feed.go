package store

// The feed: what each Apply has changed, in order, for those who follow, so that watchers need not read the state to learn of it.

import (
	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Batch is what one Apply has changed. It is a follower's until it returns, to be read only; the bytes of entries and configurations may be kept,
// and are not to be written to.
type Batch struct {
	At   rpc.Index // the last applied entry of the log
	Time int64     // of the log then
	// Reset says that a snapshot has taken the place of the state: what was known of it is void.
	Reset  bool
	Events []Event
}

// Event is one change.
type Event struct {
	Kind        EventKind
	Bucket      string
	Incarnation uint64
	// Entry is what was stored; of what was removed, key and sequence only.
	Entry Entry
	// Previous is the sequence of the newest entry that the key had before one was stored; 0: none.
	Previous uint64
	// Next is the sequence of the next newer entry that the key had when one was removed, or was about to get; 0: none.
	Next     uint64
	Settings *command.Settings // of a bucket added or updated
	// Republish says where what was stored is to be published again, by the settings as they were then; nil: nowhere.
	Republish *command.Republish
	// Importing says that the bucket is being imported: what is stored in it is not new.
	Importing bool
	Consumer  *Consumer
}

// EventKind says what has changed.
type EventKind uint8

const (
	// Stored: an entry was written. What it displaced was removed before.
	Stored EventKind = iota
	// Removed: an entry is gone: displaced, expired or purged.
	Removed
	// BucketAdded, BucketUpdated, BucketRemoved: a bucket was made, has other settings or was imported, is gone with its entries and consumers.
	BucketAdded
	BucketUpdated
	BucketRemoved
	// BucketPurged: all entries of a bucket that were stored before are gone.
	BucketPurged
	// ConsumerAdded: a consumer was made, or has another configuration.
	ConsumerAdded
	// ConsumerMoved: a consumer has another host.
	ConsumerMoved
	// ConsumerRemoved: a consumer is gone.
	ConsumerRemoved
)

// feed passes events to the follower. Whoever calls Apply owns it meanwhile, once the first Apply has begun.
type feed struct {
	followers []func(Batch)
	events    events // used again and again
}

// Follow has a follower told of every Apply and Restore from now on, on the goroutine that does it, once reads see it and before it
// returns. A follower must not block. Call Follow before the first Apply.
func (s *Store) Follow(follower func(Batch)) { s.feed.followers = append(s.feed.followers, follower) }

// begin is where a txn notes its events; nil if nobody follows.
func (f *feed) begin() *events {
	if len(f.followers) == 0 {
		return nil
	}
	clear(f.events.list)
	f.events.list = f.events.list[:0]
	return &f.events
}

// tell passes a txn's events on, once they can be read.
func (f *feed) tell(t *txn) {
	if len(f.followers) > 0 {
		f.pass(Batch{At: t.state.applied.Index, Time: t.state.time, Events: t.feed.list})
	}
}

// reset tells that another state has taken the place of the one known.
func (f *feed) reset(to *state) { f.pass(Batch{At: to.applied.Index, Time: to.time, Reset: true}) }

func (f *feed) pass(b Batch) {
	for _, follower := range f.followers {
		follower(b)
	}
}

// events are what a txn has changed. A nil one notes nothing.
type events struct{ list []Event }

func (e *events) add(kind EventKind, b *bucket) *Event {
	e.list = append(e.list, Event{Kind: kind, Bucket: b.name, Incarnation: b.record.incarnation, Importing: b.record.importing})
	return &e.list[len(e.list)-1]
}

func (e *events) stored(b *bucket, r *entryRecord, previous uint64) {
	if e == nil {
		return
	}
	event := e.add(Stored, b)
	event.Entry, event.Previous = r.entry(b.stats.sequence), previous
	if !b.record.importing {
		event.Republish = b.record.settings.Republish
	}
	if event.Entry.Value == nil {
		event.Entry.Value = []byte{}
	}
}

func (e *events) removed(b *bucket, key string, sequence, next uint64) {
	if e == nil {
		return
	}
	event := e.add(Removed, b)
	event.Entry.Key, event.Entry.Sequence, event.Next = key, sequence, next
}

func (e *events) bucket(kind EventKind, b *bucket) {
	if e == nil {
		return
	}
	event := e.add(kind, b)
	if kind == BucketAdded || kind == BucketUpdated {
		settings := b.record.settings
		event.Settings = &settings
	}
}

func (e *events) consumer(kind EventKind, b *bucket, c *Consumer) {
	if e != nil {
		e.add(kind, b).Consumer = c
	}
}
