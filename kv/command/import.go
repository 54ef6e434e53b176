package command

// Entries of another store, as the log carries them into a bucket. Whether they fit what is there the store decides when it applies them.

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

// ImportOverheadBytes bounds what an ImportEntry's encoding adds to its key, value and header, and that of an Import to its bucket.
const ImportOverheadBytes = 128

func (i *Import) fields(w *wire.Walk) {
	wire.Text(w, 1, &i.Bucket)
	wire.Number(w, 2, &i.After)
	wire.Messages(w, 3, "import entry", &i.Entries, func(e *ImportEntry) { e.fields(w) })
	wire.Number(w, 4, &i.Last)
	wire.Number(w, 5, &i.LastTime)
	wire.Boolean(w, 6, &i.Done)
}

const (
	tagImport        = 12<<3 | wire.Bytes
	tagImportEntries = 3<<3 | wire.Bytes
)

// CountImport counts the entries of an encoded Import before room is made for them, since one may be two bytes there and takes fifty times that (Q11). It is
// false for any other command. What is malformed is counted up to there, as far as it would be decoded.
func CountImport(data []byte) (entries int, is bool) {
	is = true
	_ = wire.Each(data, func(order wire.Field) error {
		if order.Tag != tagImport {
			is = is && order.Tag == tagVersion
			return nil
		}
		return wire.Each(order.Data, func(f wire.Field) error {
			if f.Tag == tagImportEntries {
				entries++
			}
			return nil
		})
	})
	return entries, is
}

// size is at least what the import takes, whose values are large.
func (i *Import) size() int {
	if i == nil {
		return 0
	}
	size := len(i.Bucket) + ImportOverheadBytes
	for n := range i.Entries {
		size += i.Entries[n].Size()
	}
	return size
}

// Size is at least what the entry takes in an Import.
func (e *ImportEntry) Size() int {
	return len(e.Key) + len(e.Value) + len(e.Header) + ImportOverheadBytes
}

func (e *ImportEntry) fields(w *wire.Walk) {
	wire.Text(w, 1, &e.Key)
	wire.Number(w, 2, &e.Sequence)
	choose(w, 3, &e.Op, Purge, "op")
	wire.Shared(w, 4, &e.Value)
	wire.Shared(w, 5, &e.Header)
	wire.Signed(w, 6, &e.TTL)
	wire.Number(w, 7, &e.Time)
	choose(w, 8, &e.Rollup, RollupBucket, "rollup")
}

// Sum identifies what the entry says: equal for one that was imported and is still there. Times are not part of it, since clocks differ.
func (e *ImportEntry) Sum() [sha256.Size]byte {
	lasting := *e
	lasting.Time, lasting.Rollup = 0, RollupNone
	w := wire.Append(make([]byte, 0, e.Size()))
	lasting.fields(&w)
	return sha256.Sum256(w.Bytes())
}
