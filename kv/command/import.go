package command

import (
	"crypto/sha256"
	"time"

	"github.com/raftbus/raftbus/kv/internal/wire"
)

// Import adds entries to a bucket that is being imported, with the sequences that they have where they come from. Nobody else writes to
// such a bucket, so who imports knows what is in it.
type Import struct {
	Bucket string
	// After must be the sequence that the bucket has reached: an import that is sent twice is done once.
	After   uint64
	Entries []ImportEntry // in order of sequence
	// Last is the sequence that the bucket has reached then, if that is beyond the last entry's; later ones are gone where they come
	// from, and their sequences must not be given again. LastTime is when the last of them was written.
	Last     uint64
	LastTime int64
	// Done ends the import: from then on the bucket is like any other.
	Done bool
}

// ImportEntry is an entry as it is kept. Value and Header share the decoded bytes.
type ImportEntry struct {
	Key      string
	Sequence uint64
	Op       Op
	Value    []byte
	Header   []byte
	TTL      time.Duration
	Time     int64 // nanoseconds since 1970 UTC
	// Rollup says which earlier entries it has dropped.
	Rollup Rollup
}

const (
	tagImportAfter    = 2<<3 | wire.Varint
	tagImportEntries  = 3<<3 | wire.Bytes
	tagImportLast     = 4<<3 | wire.Varint
	tagImportLastTime = 5<<3 | wire.Varint
	tagImportDone     = 6<<3 | wire.Varint

	tagImportKey      = 1<<3 | wire.Bytes
	tagImportSequence = 2<<3 | wire.Varint
	tagImportOp       = 3<<3 | wire.Varint
	tagImportValue    = 4<<3 | wire.Bytes
	tagImportHeader   = 5<<3 | wire.Bytes
	tagImportTTL      = 6<<3 | wire.Varint
	tagImportTime     = 7<<3 | wire.Varint
	tagImportRollup   = 8<<3 | wire.Varint
)

// ImportOverheadBytes bounds what an ImportEntry's encoding adds to its key, value and header, and that of an Import to its bucket.
const ImportOverheadBytes = 128

func (i *Import) encode() []byte {
	size := len(i.Bucket) + ImportOverheadBytes
	for n := range i.Entries {
		size += i.Entries[n].Size()
	}
	b := wire.AppendBytes(make([]byte, 0, size), tagBucket, i.Bucket)
	b = wire.AppendUint(b, tagImportAfter, i.After)
	var one []byte
	for n := range i.Entries {
		one = i.Entries[n].append(one[:0])
		b = wire.AppendMessage(b, tagImportEntries, one)
	}
	b = wire.AppendUint(b, tagImportLast, i.Last)
	b = wire.AppendUint(b, tagImportLastTime, uint64(i.LastTime))
	return wire.AppendBool(b, tagImportDone, i.Done)
}

// Size is at least what the entry takes in an Import.
func (e *ImportEntry) Size() int {
	return len(e.Key) + len(e.Value) + len(e.Header) + ImportOverheadBytes
}

func (e *ImportEntry) append(b []byte) []byte {
	b = wire.AppendBytes(b, tagImportKey, e.Key)
	b = wire.AppendUint(b, tagImportSequence, e.Sequence)
	b = wire.AppendUint(b, tagImportOp, uint64(e.Op))
	b = wire.AppendBytes(b, tagImportValue, e.Value)
	b = wire.AppendBytes(b, tagImportHeader, e.Header)
	b = wire.AppendSint(b, tagImportTTL, int64(e.TTL))
	b = wire.AppendUint(b, tagImportTime, uint64(e.Time))
	return wire.AppendUint(b, tagImportRollup, uint64(e.Rollup))
}

// Sum identifies what the entry says: equal for one that was imported and is still there. Times are not part of it, since clocks differ.
func (e *ImportEntry) Sum() [sha256.Size]byte {
	lasting := *e
	lasting.Time, lasting.Rollup = 0, RollupNone
	return sha256.Sum256(lasting.append(make([]byte, 0, e.Size())))
}

func decodeImport(data []byte) (*Import, error) {
	var i Import
	err := wire.Each(data, func(f wire.Field) error {
		switch f.Tag {
		case tagBucket:
			i.Bucket = string(f.Data)
		case tagImportAfter:
			i.After = f.Uint
		case tagImportEntries:
			e, err := decodeImportEntry(f.Data)
			i.Entries = append(i.Entries, e)
			return err
		case tagImportLast:
			i.Last = f.Uint
		case tagImportLastTime:
			i.LastTime = int64(f.Uint)
		case tagImportDone:
			i.Done = f.Uint != 0
		default:
			return unknownField("import", f.Tag)
		}
		return nil
	})
	return &i, err
}

func decodeImportEntry(data []byte) (ImportEntry, error) {
	var e ImportEntry
	err := wire.Each(data, func(f wire.Field) error {
		switch f.Tag {
		case tagImportKey:
			e.Key = string(f.Data)
		case tagImportSequence:
			e.Sequence = f.Uint
		case tagImportOp:
			return choice(&e.Op, f.Uint, Purge, "op")
		case tagImportValue:
			e.Value = f.Data
		case tagImportHeader:
			e.Header = f.Data
		case tagImportTTL:
			e.TTL = time.Duration(wire.Sint(f.Uint))
		case tagImportTime:
			e.Time = int64(f.Uint)
		case tagImportRollup:
			return choice(&e.Rollup, f.Uint, RollupBucket, "rollup")
		default:
			return unknownField("import entry", f.Tag)
		}
		return nil
	})
	return e, err
}
