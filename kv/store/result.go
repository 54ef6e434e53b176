package store

// What came of a command. A result follows from the log alone, so that all nodes give the same; what clients hear of it is said in package kv.

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
	// NoEntry: no entry of that sequence, or that matches, is there.
	NoEntry
	// SettingsChanged: the bucket's settings are not those that the update was made from.
	SettingsChanged
	// MessageTooLarge: header and value are larger than the bucket allows, Result.Limit bytes.
	MessageTooLarge
	// TTLDisabled: the bucket does not let writes have a TTL of their own.
	TTLDisabled
	// WrongLastSequence: the bucket's last entry has another sequence, Result.Current.
	WrongLastSequence
	// WrongLastID: the bucket's last entry has another message id, Result.MsgID.
	WrongLastID
	// BadFilter: the filter of a purge is no subject pattern, or it is not one key and some entries of a key are to be kept.
	BadFilter
	// NoConsumer: no consumer of that name.
	NoConsumer
	// ConsumerExists: a consumer of that name is there already, with another configuration.
	ConsumerExists
	// TooManyConsumers: the bucket has as many as it may have, Result.Limit.
	TooManyConsumers
	// Importing: the bucket is being imported, and takes entries by Import only.
	Importing
	// NotImporting: the bucket is not being imported, or no more.
	NotImporting
	// BadImport: the entries are not in order of sequence, or not after those that are there.
	BadImport
	// ReadOnly: the bucket is read-only by its settings.
	ReadOnly
	// NotOpen: the command is of a version that the cluster was not raised to.
	NotOpen
)

var codeNames = [...]string{
	"done", "bucket exists", "no bucket", "key exists", "key not found", "wrong revision", "value too large", "bucket full",
	"no entry", "settings changed", "message too large", "TTL disabled", "wrong last sequence",
	"wrong last message id", "bad filter", "no consumer", "consumer exists", "too many consumers",
	"being imported", "not being imported", "bad import", "read-only", "not open yet",
}

func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// Error makes the codes that a read can end with errors: NoBucket, KeyNotFound, NoEntry and NoConsumer.
func (c Code) Error() string { return c.String() }

// Result is what Apply gives for a command. All but Done are refusals: the command changed nothing.
type Result struct {
	Code     Code
	Again    bool   // when Done: it had been done before, and the rest is what was answered then
	Sequence uint64 // when Done, of the entry in its bucket: the revision that clients see
	Revision uint64 // when Done, the cluster-wide revision
	Current  uint64 // the sequence of the key's newest entry, when that is why it was refused
	Limit    uint64 // in bytes or consumers, when that is why it was refused
	MsgID    string // of the bucket's last entry, when that is why it was refused

	Count uint64 // of entries that a purge or an expiry removed, or consumers that moved
	Rest  *Rest  // what a purge has not done yet; nil: it is done
}

// Rest is where a purge goes on: by the same command with these set.
type Rest struct {
	After       string
	Through     uint64
	Incarnation uint64 // of the bucket; commands name it from a version on, see command.PurgeBucket
}
