package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/wire"
	"github.com/raftbus/raftbus/raft/rpc"
)

// The records that Pebble keeps, in protobuf, so that a later version adds fields without a migration. Reading skips
// unknown fields: what an older version must not miss is kept from it by the version of the command that writes it.

// formatVersion is the version of the stored format as a whole. A store of a later one is refused.
const formatVersion = 1

// state is the record that makes a batch whole: which entry it ends with, and the counters of the cluster (K56).
type state struct {
	applied  rpc.EntryID
	revision uint64 // the cluster-wide revision, of the last command that wrote
	time     int64  // of the last entry, nanoseconds since 1970 UTC
}

// bucketRecord is what a bucket's name leads to.
type bucketRecord struct {
	incarnation uint64
	created     int64 // nanoseconds since 1970 UTC, by the log's time
	settings    command.Settings
}

// statsRecord counts what a bucket holds. It is apart from the bucket's record, since each write changes it.
type statsRecord struct {
	sequence uint64 // of the last entry, never lower (C6)
	entries  uint64
	bytes    uint64
	keys     uint64 // whose newest entry is a put
	deleted  uint64 // whose newest entry is a delete or a purge
}

// live is one entry of a key that history keeps. Its size is here so that dropping it need not read it.
type live struct {
	sequence uint64
	size     uint64
	op       command.Op
}

// keyRecord lists the entries of a key, the newest last. It is never empty.
type keyRecord struct {
	live    []live
	changed bool // not stored: the txn must write it
}

// entryRecord is one entry as it was written. Its key is the key's name, so that entries can be read in order of sequence.
type entryRecord struct {
	key      string
	op       command.Op
	value    []byte
	revision uint64
	time     int64
}

const (
	tagStateFormat   = 1<<3 | wire.Varint
	tagStateIndex    = 2<<3 | wire.Varint
	tagStateTerm     = 3<<3 | wire.Varint
	tagStateRevision = 4<<3 | wire.Varint
	tagStateTime     = 5<<3 | wire.Varint

	tagBucketIncarnation = 1<<3 | wire.Varint
	tagBucketCreated     = 2<<3 | wire.Varint
	tagBucketSettings    = 3<<3 | wire.Bytes

	tagStatsSequence = 1<<3 | wire.Varint
	tagStatsEntries  = 2<<3 | wire.Varint
	tagStatsBytes    = 3<<3 | wire.Varint
	tagStatsKeys     = 4<<3 | wire.Varint
	tagStatsDeleted  = 5<<3 | wire.Varint

	tagKeyLive      = 1<<3 | wire.Bytes
	tagLiveSequence = 1<<3 | wire.Varint
	tagLiveSize     = 2<<3 | wire.Varint
	tagLiveOp       = 3<<3 | wire.Varint

	tagEntryKey      = 1<<3 | wire.Bytes
	tagEntryOp       = 2<<3 | wire.Varint
	tagEntryValue    = 3<<3 | wire.Bytes
	tagEntryRevision = 4<<3 | wire.Varint
	tagEntryTime     = 5<<3 | wire.Varint
	// 6 headers (repeated name and value), 7 TTL.
)

func (s *state) encode() []byte {
	b := wire.AppendUint(nil, tagStateFormat, formatVersion)
	b = wire.AppendUint(b, tagStateIndex, uint64(s.applied.Index))
	b = wire.AppendUint(b, tagStateTerm, uint64(s.applied.Term))
	b = wire.AppendUint(b, tagStateRevision, s.revision)
	return wire.AppendUint(b, tagStateTime, uint64(s.time))
}

// decodeState reads the state record; nil is that of a store to which nothing was applied.
func decodeState(b []byte) (state, error) {
	var s state
	err := wire.Each(b, func(f wire.Field) error {
		switch f.Tag {
		case tagStateFormat:
			if f.Uint > formatVersion {
				return fmt.Errorf("stored format %d is newer than this build's %d: run the version that wrote it, or a later one", f.Uint, formatVersion)
			}
		case tagStateIndex:
			s.applied.Index = rpc.Index(f.Uint)
		case tagStateTerm:
			s.applied.Term = rpc.Term(f.Uint)
		case tagStateRevision:
			s.revision = f.Uint
		case tagStateTime:
			s.time = int64(f.Uint)
		}
		return nil
	})
	return s, err
}

func readState(r pebble.Reader) (state, error) {
	record, err := get(r, stateKey)
	if err != nil {
		return state{}, err
	}
	return decodeState(record)
}

func (r *bucketRecord) encode() []byte {
	b := wire.AppendUint(nil, tagBucketIncarnation, r.incarnation)
	b = wire.AppendUint(b, tagBucketCreated, uint64(r.created))
	return wire.AppendBytes(b, tagBucketSettings, r.settings.Append(nil))
}

func decodeBucket(b []byte) (bucketRecord, error) {
	var r bucketRecord
	err := wire.Each(b, func(f wire.Field) (err error) {
		switch f.Tag {
		case tagBucketIncarnation:
			r.incarnation = f.Uint
		case tagBucketCreated:
			r.created = int64(f.Uint)
		case tagBucketSettings:
			r.settings, err = command.DecodeSettings(f.Data)
		}
		return err
	})
	return r, err
}

func (r *statsRecord) encode() []byte {
	b := wire.AppendUint(nil, tagStatsSequence, r.sequence)
	b = wire.AppendUint(b, tagStatsEntries, r.entries)
	b = wire.AppendUint(b, tagStatsBytes, r.bytes)
	b = wire.AppendUint(b, tagStatsKeys, r.keys)
	return wire.AppendUint(b, tagStatsDeleted, r.deleted)
}

func decodeStats(b []byte) (statsRecord, error) {
	var r statsRecord
	err := wire.Each(b, func(f wire.Field) error {
		switch f.Tag {
		case tagStatsSequence:
			r.sequence = f.Uint
		case tagStatsEntries:
			r.entries = f.Uint
		case tagStatsBytes:
			r.bytes = f.Uint
		case tagStatsKeys:
			r.keys = f.Uint
		case tagStatsDeleted:
			r.deleted = f.Uint
		}
		return nil
	})
	return r, err
}

func (r *keyRecord) encode() []byte {
	var b, one []byte
	for _, l := range r.live {
		one = wire.AppendUint(one[:0], tagLiveSequence, l.sequence)
		one = wire.AppendUint(one, tagLiveSize, l.size)
		one = wire.AppendUint(one, tagLiveOp, uint64(l.op))
		b = wire.AppendMessage(b, tagKeyLive, one)
	}
	return b
}

func decodeKey(b []byte) (keyRecord, error) {
	var r keyRecord
	err := wire.Each(b, func(f wire.Field) error {
		if f.Tag != tagKeyLive {
			return nil
		}
		var l live
		err := wire.Each(f.Data, func(f wire.Field) error {
			switch f.Tag {
			case tagLiveSequence:
				l.sequence = f.Uint
			case tagLiveSize:
				l.size = f.Uint
			case tagLiveOp:
				l.op = command.Op(f.Uint)
			}
			return nil
		})
		r.live = append(r.live, l)
		return err
	})
	return r, err
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

func (r *entryRecord) encode() []byte {
	b := make([]byte, 0, len(r.key)+len(r.value)+entryFixedBytes)
	b = wire.AppendBytes(b, tagEntryKey, r.key)
	b = wire.AppendUint(b, tagEntryOp, uint64(r.op))
	b = wire.AppendBytes(b, tagEntryValue, r.value)
	b = wire.AppendUint(b, tagEntryRevision, r.revision)
	return wire.AppendUint(b, tagEntryTime, uint64(r.time))
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
		}
		return nil
	})
	return r, err
}

// entryFixedBytes stands in a bucket's count of bytes for what an entry costs beside its key and value.
const entryFixedBytes = 40

// EntrySize is what an entry weighs in a bucket's bytes and against its max_bytes.
func EntrySize(key string, value []byte) uint64 {
	return uint64(len(key) + len(value) + entryFixedBytes)
}
