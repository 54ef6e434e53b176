package store

// The records that the engine keeps, in protobuf, so that a later version adds fields without a migration. Reading skips
// unknown fields: what an older version must not miss is kept from it by the version of the command that writes it.

import (
	"fmt"
	"slices"
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/wire"
	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/raft/rpc"
)

// formatVersion is the version of the stored format as a whole. A store of a later one is refused. One that was never raised says 1, so that
// there is a way back to builds that know no other.
const formatVersion = 2

// recordRoom is what most records have room in; entries, which are large, are written otherwise.
const recordRoom = 64

// state is the record that makes a batch whole: which entry it ends with, and the counters of the cluster (K56).
type state struct {
	applied  rpc.EntryID
	revision uint64 // the cluster-wide revision, of the last command that wrote
	time     int64  // of the last entry, nanoseconds since 1970 UTC
	raised   uint64 // the version of commands that it was raised to; 0: command.Base
}

// bucketRecord is what a bucket's name leads to.
type bucketRecord struct {
	incarnation uint64
	created     int64 // nanoseconds since 1970 UTC, by the log's time
	settings    command.Settings
	changed     uint64 // the cluster revision at which the settings changed; 0: never
	// trimming says that keys after trimAfter may have more entries than history allows, since it was lowered.
	trimming  bool
	trimAfter string
	// idsSince is what message ids are later than that are still remembered: no longer window brings back what a shorter one had
	// let go.
	idsSince int64
	// importing says that it takes entries by Import only.
	importing bool
	// owed is how many sequences are to be left out when the import ends (C6): until then they are those of where it comes from.
	owed uint64
}

// owedSince is the version of commands whose builds know what a bucket owes.
const owedSince = 3

// statsRecord counts what a bucket holds. It is apart from the bucket's record, since each write changes it.
type statsRecord struct {
	sequence uint64 // of the last entry, never lower (C6)
	entries  uint64
	bytes    uint64
	keys     uint64 // whose newest entry is a put
	deleted  uint64 // whose newest entry is a delete or a purge

	due       uint64 // entries that have a time of their own, and so a record in tableDue
	ids       uint64 // message ids that are remembered
	idsFrom   uint64 // no id is remembered of a sequence below it
	idsOldest int64  // no id is remembered that is older
	lastID    string // the message id of the last entry
	lastTime  int64  // of the last entry, if it is not there any more and others are
	consumers uint64
}

// live is one entry of a key that history keeps. Its size is here so that dropping it need not read it.
type live struct {
	sequence uint64
	size     uint64
	op       command.Op
	due      int64 // when its own time is over; 0: never, or when the bucket says

	// Not stored: what else is known of an entry that this txn has written, and that its database has not.
	own   bool
	time  int64
	never bool
}

// keyRecord lists the entries of a key, the newest last. A key without entries has none.
type keyRecord struct {
	live    []live
	changed bool // not stored: the txn must write it
	isNew   bool // the names lacked it
}

// entryRecord is one entry as it was written. Its key is the key's name, so that entries can be read in order of sequence.
type entryRecord struct {
	key      string
	op       command.Op
	value    []byte
	revision uint64
	time     int64
	header   []byte        // as on the wire of NATS
	ttl      time.Duration // 0: the bucket's; command.Never
}

const (
	tagKeyLive      = 1<<3 | wire.Bytes
	tagLiveSequence = 1<<3 | wire.Varint
	tagLiveSize     = 2<<3 | wire.Varint
	tagLiveOp       = 3<<3 | wire.Varint
	tagLiveDue      = 4<<3 | wire.Varint

	tagEntryKey      = 1<<3 | wire.Bytes
	tagEntryOp       = 2<<3 | wire.Varint
	tagEntryValue    = 3<<3 | wire.Bytes
	tagEntryRevision = 4<<3 | wire.Varint
	tagEntryTime     = 5<<3 | wire.Varint
	tagEntryHeader   = 6<<3 | wire.Bytes
	tagEntryTTL      = 7<<3 | wire.Varint
)

func (s *state) encode() []byte {
	w := wire.Append(make([]byte, 0, recordRoom))
	s.fields(&w)
	return w.Bytes()
}

// decodeState reads the state record; nil is that of a store to which nothing was applied.
func decodeState(b []byte) (s state, err error) {
	w := wire.Read(b)
	for w.Next() {
		s.fields(&w)
	}
	return s, w.Err
}

func (s *state) fields(w *wire.Walk) {
	format := s.format()
	if wire.Number(w, 1, &format) && format > formatVersion {
		w.Fail(fmt.Errorf("stored format %d is newer than this build's %d: run the version that wrote it, or a later one", format, formatVersion))
	}
	wire.Number(w, 2, &s.applied.Index)
	wire.Number(w, 3, &s.applied.Term)
	wire.Number(w, 4, &s.revision)
	wire.Number(w, 5, &s.time)
	if wire.Number(w, 6, &s.raised) && s.raised > command.Version {
		w.Fail(fmt.Errorf("it is of feature level %d, this build knows %d: run the version that wrote it, or a later one", s.raised, command.Version))
	}
}

func (s *state) format() uint64 {
	if s.raised > 0 {
		return formatVersion
	}
	return 1
}

// version is that of the newest commands that may be applied.
func (s *state) version() uint64 { return max(s.raised, command.Base) }

func readState(r engine.Reader) (state, error) {
	record, err := r.Get(stateKey)
	if err != nil {
		return state{}, err
	}
	return decodeState(record)
}

// lastChanged is the cluster revision that its settings are of.
func (r *bucketRecord) lastChanged() uint64 { return max(r.changed, r.incarnation) }

func (r *bucketRecord) encode() []byte {
	w := wire.Append(make([]byte, 0, recordRoom))
	r.fields(&w)
	return w.Bytes()
}

func decodeBucket(b []byte) (r bucketRecord, err error) {
	w := wire.Read(b)
	for w.Next() {
		r.fields(&w)
	}
	return r, w.Err
}

func (r *bucketRecord) fields(w *wire.Walk) {
	wire.Number(w, 1, &r.incarnation)
	wire.Number(w, 2, &r.created)
	r.settings.Field(w, 3)
	wire.Number(w, 4, &r.changed)
	wire.Present(w, 5, &r.trimming, &r.trimAfter)
	wire.Number(w, 6, &r.idsSince)
	wire.Boolean(w, 7, &r.importing)
	wire.Number(w, 8, &r.owed)
}

func (r *statsRecord) encode() []byte {
	w := wire.Append(make([]byte, 0, recordRoom))
	r.fields(&w)
	return w.Bytes()
}

func decodeStats(b []byte) (r statsRecord, err error) {
	w := wire.Read(b)
	for w.Next() {
		r.fields(&w)
	}
	return r, w.Err
}

func (r *statsRecord) fields(w *wire.Walk) {
	wire.Number(w, 1, &r.sequence)
	wire.Number(w, 2, &r.entries)
	wire.Number(w, 3, &r.bytes)
	wire.Number(w, 4, &r.keys)
	wire.Number(w, 5, &r.deleted)
	wire.Number(w, 6, &r.due)
	wire.Number(w, 7, &r.ids)
	wire.Number(w, 8, &r.idsFrom)
	wire.Number(w, 9, &r.idsOldest)
	wire.Text(w, 10, &r.lastID)
	wire.Number(w, 11, &r.lastTime)
	wire.Number(w, 12, &r.consumers)
}

// liveBytes is what an entry in a key's record takes, but for those of very large numbers.
const liveBytes = 24

// append appends the record as it is stored.
func (r *keyRecord) append(b []byte) []byte {
	one := make([]byte, 0, liveBytes)
	for _, l := range r.live {
		one = wire.AppendUint(one[:0], tagLiveSequence, l.sequence)
		one = wire.AppendUint(one, tagLiveSize, l.size)
		one = wire.AppendUint(one, tagLiveOp, uint64(l.op))
		one = wire.AppendUint(one, tagLiveDue, uint64(l.due))
		b = wire.AppendMessage(b, tagKeyLive, one)
	}
	return b
}

func decodeKey(b []byte) (keyRecord, error) {
	count, err := countLive(b)
	if err != nil || count == 0 {
		return keyRecord{}, err
	}
	r := keyRecord{live: make([]live, 0, count+1)} // a write adds one
	err = wire.Each(b, func(f wire.Field) error {
		if f.Tag != tagKeyLive {
			return nil
		}
		l, err := decodeLive(f.Data)
		r.live = append(r.live, l)
		return err
	})
	return r, err
}

func decodeLive(b []byte) (l live, err error) {
	err = wire.Each(b, func(f wire.Field) error {
		switch f.Tag {
		case tagLiveSequence:
			l.sequence = f.Uint
		case tagLiveSize:
			l.size = f.Uint
		case tagLiveOp:
			l.op = command.Op(f.Uint)
		case tagLiveDue:
			l.due = int64(f.Uint)
		}
		return nil
	})
	if err == nil && (l.sequence == 0 || l.size == 0) {
		err = errNoEntry
	}
	return l, err
}

// newestIn is the newest of a key's entries, without a look at the others; one of sequence 0 if there is none.
func newestIn(record []byte) (live, error) {
	var last []byte
	err := wire.Each(record, func(f wire.Field) error {
		if f.Tag == tagKeyLive {
			last = f.Data
		}
		return nil
	})
	if err != nil || last == nil {
		return live{}, err
	}
	return decodeLive(last)
}

var errNoEntry = fmt.Errorf("%w: an entry of a key without sequence or size", wire.ErrMalformed)

// liveBytesMin is what one of a key's entries takes at least: a sequence and a size, with their tags.
const liveBytesMin = 4

// countLive counts a key's entries, so that room is made for as many as there are.
func countLive(b []byte) (count int, err error) {
	err = wire.Each(b, func(f wire.Field) error {
		if f.Tag != tagKeyLive {
			return nil
		}
		if count++; len(f.Data) < liveBytesMin {
			return errNoEntry
		}
		return nil
	})
	return count, err
}

// newest is the key's newest entry; false if it has none.
func (r *keyRecord) newest() (live, bool) {
	if len(r.live) == 0 {
		return live{}, false
	}
	return r.live[len(r.live)-1], true
}

// present reports whether the key has a value now.
func (r *keyRecord) present() bool {
	l, any := r.newest()
	return any && l.op == command.Put
}

// append appends the record as it is stored.
func (r *entryRecord) append(b []byte) []byte {
	b = wire.AppendBytes(slices.Grow(b, int(r.size())), tagEntryKey, r.key)
	b = wire.AppendUint(b, tagEntryOp, uint64(r.op))
	b = wire.AppendBytes(b, tagEntryValue, r.value)
	b = wire.AppendUint(b, tagEntryRevision, r.revision)
	b = wire.AppendUint(b, tagEntryTime, uint64(r.time))
	b = wire.AppendBytes(b, tagEntryHeader, r.header)
	return wire.AppendSint(b, tagEntryTTL, int64(r.ttl))
}

func decodeEntry(b []byte) (entryRecord, error) {
	r := entryRecord{value: []byte{}}
	err := wire.Each(b, func(f wire.Field) error {
		switch f.Tag {
		case tagEntryKey:
			r.key = string(f.Data)
		case tagEntryOp:
			r.op = command.Op(f.Uint)
		case tagEntryValue:
			r.value = f.Data
		case tagEntryRevision:
			r.revision = f.Uint
		case tagEntryTime:
			r.time = int64(f.Uint)
		case tagEntryHeader:
			r.header = nil
			if len(f.Data) > 0 {
				r.header = f.Data
			}
		case tagEntryTTL:
			r.ttl = time.Duration(wire.Sint(f.Uint))
		}
		return nil
	})
	return r, err
}

// entryFixedBytes stands in a bucket's count of bytes for what an entry costs beside its key, header and value.
const entryFixedBytes = 40

// EntrySize is what an entry weighs in a bucket's bytes and against its max_bytes.
func EntrySize(key string, header, value []byte) uint64 {
	return uint64(len(key) + len(header) + len(value) + entryFixedBytes)
}
