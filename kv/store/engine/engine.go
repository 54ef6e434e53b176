// Package engine is the seam under kv/store: what the store needs of an ordered key-value engine, and Pebble behind it.
// Another engine, in memory and crashable at will, is in kv/store/memengine; both pass the same conformance suite.
//
// An engine keeps bytes in order of bytes. It knows no record and decides nothing about what is stored.
package engine

// Engine keeps one database, and lets another take its place whole or not at all. It is called by one goroutine at a time.
type Engine interface {
	// Open opens the database in use, or an empty one if there never was one. All that it then holds is durable.
	Open() (DB, error)
	// RemoveLeftovers removes what a Prepare without a Switch has left behind, and databases that were replaced. Call it only
	// when the contents of the database in use were found to be in order (D4, K51).
	RemoveLeftovers() error
	// Prepare opens an empty database beside the one in use. Until Switch it is nobody's: a crash or a Discard loses it.
	Prepare() (DB, error)
	// Switch puts a database of Prepare, filled and flushed, in the place of the one in use. When it returns nil, that
	// is durable. After an error a restart may find either, whole: the caller must not go on with any of them.
	Switch(prepared DB) error
}

// Reader reads pairs. Safe for use by several goroutines.
type Reader interface {
	// Get returns the value of a key, in bytes that are the caller's; nil if there is none. A value that is there is never nil.
	Get(key []byte) ([]byte, error)
	// Scan calls visit for each pair with from <= key < to, in order of key, until visit wants no more or fails. A nil from
	// is the beginning, a nil to the end. Key and value are visit's only until it returns, and not to be written to.
	Scan(from, to []byte, visit func(key, value []byte) (more bool, err error)) error
}

// DB is an open database. It may be read, and views taken, by any goroutine; one at a time commits.
//
// What was committed and not flushed may be lost in a crash, but what is left is always what the first so many batches made
// (K56): no batch is left in part, and none without those before it.
type DB interface {
	Reader
	// NewBatch begins a batch. Close it.
	NewBatch() Batch
	// NewView takes a view of all that was committed, in time independent of its size. Close it before the database.
	NewView() View
	// Flush makes durable all that was committed before the call. Commits may go on meanwhile.
	Flush() error
	// Err is why nothing more can be made durable, once that is so (D5). Reads may go on.
	Err() error
	// Size is how large it is; zero: it does not know. It may take the database's lock for a moment: not for every request.
	Size() Size
	// Close releases the database. It does not flush.
	Close() error
	// Discard closes the database and removes it with all it holds. Never call it on the one in use.
	Discard() error
}

// Holder is a database that can say what it has in memory, for who may not wait for a disk.
type Holder interface {
	// Held is Get of what is in memory, and has most bytes. False: it is not, is larger, or somebody else holds a lock.
	Held(key []byte, most int) (value []byte, held bool)
}

// Size is what an operator may know of a database, in bytes.
type Size struct {
	Disk   uint64 // of its files
	Memory uint64 // not flushed yet
}

// Batch collects changes, which Commit makes visible all at once. They take effect in the order of the calls. The bytes
// given are copied.
type Batch interface {
	Set(key, value []byte)
	// Add is Set for a key that is not there, and spares work if it goes again soon. Who calls it must know that it is not there.
	Add(key, value []byte)
	Delete(key []byte)
	// DeleteRange deletes all with from <= key < to, those that this batch has set so far too.
	DeleteRange(from, to []byte)
	// Len is about how many bytes the batch holds.
	Len() int
	// Commit applies the batch, and empties it for another use. Its error is also that of any call since the last Commit.
	Commit() error
	// Close gives up what was not committed.
	Close()
}

// View is one moment of a database: it does not change.
type View interface {
	Reader
	Close() error
}
