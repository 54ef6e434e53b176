package store

import "fmt"

// Code says what came of a command, or that a bucket or key is not there.
type Code uint8

const (
	// Done: it was done.
	Done Code = iota
	// BucketExists: a bucket of that name is there already, whatever its settings.
	BucketExists
	// NoBucket: no bucket of that name.
	NoBucket
	// KeyExists: the key has a value; Result.Current is its sequence.
	KeyExists
	// KeyNotFound: the key has no value: it was never written, or deleted.
	KeyNotFound
	// WrongRevision: the key's newest entry has another sequence, Result.Current; 0 if it has no entry.
	WrongRevision
	// ValueTooLarge: the value is larger than the bucket allows, Result.Limit bytes.
	ValueTooLarge
	// BucketFull: the entry would take the bucket over its Result.Limit bytes.
	BucketFull
)

var codeNames = [...]string{"done", "bucket exists", "no bucket", "key exists", "key not found", "wrong revision", "value too large", "bucket full"}

func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// Error makes the codes that a read can end with errors: NoBucket and KeyNotFound.
func (c Code) Error() string { return c.String() }

// Result is what Apply gives for a command. All but Done are refusals: the command changed nothing.
type Result struct {
	Code     Code
	Sequence uint64 // when Done, of the entry in its bucket: the revision that clients see
	Revision uint64 // when Done, the cluster-wide revision
	Current  uint64 // the sequence of the key's newest entry, when that is why it was refused
	Limit    uint64 // in bytes, when that is why it was refused
}
