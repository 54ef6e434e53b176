// Package command is what the log's entries say to the key-value store, and how that is written: protobuf, by hand.
//
// A command is decoded on every replica, perhaps years after it was logged and by another version. So decoding is strict:
// a version, a field or a choice that this build does not know is an error that stops the node, since skipping it would
// let replicas differ (F28). Only bucket settings, which are kept and not acted on, may hold unknown fields.
//
// The schema, with the numbers that later features will take:
//
//	message Command {
//	  uint64 version = 1;              // the lowest version that may apply it; 0 and 1 are this one
//	  AddBucket add_bucket = 2;        // exactly one of these
//	  RemoveBucket remove_bucket = 3;
//	  Write write = 4;
//	  // 5 transaction, 6 update of a bucket's settings, 7 expiry, 8 purge of a bucket
//	}
//	message AddBucket { string name = 1; Settings settings = 2; }
//	message RemoveBucket { string name = 1; }
//	message Write {
//	  string bucket = 1; string key = 2;
//	  uint64 op = 3;                   // 0 put, 1 delete, 2 purge
//	  bytes value = 4;
//	  uint64 condition = 5;            // 0 none, 1 absent, 2 present, 3 sequence
//	  uint64 sequence = 6;             // what condition 3 compares with
//	  // 7 headers, 8 TTL, 9 message id
//	}
//	message Settings {
//	  uint64 history = 1; uint64 ttl_ns = 2; uint64 max_value_size = 3; uint64 max_bytes = 4;
//	  string description = 5; repeated Pair metadata = 6;   // in order of key
//	}
//	message Pair { string key = 1; string value = 2; }
package command

import (
	"errors"
	"fmt"

	"github.com/raftbus/raftbus/kv/internal/wire"
)

// Version is the newest version of commands that this build applies.
const Version = 1

var (
	// ErrUnknown says that a newer version wrote the command: this node must stop, and be upgraded.
	ErrUnknown = errors.New("a newer version wrote this command: run that version, or a later one")
	// ErrMalformed says that the bytes are no command.
	ErrMalformed = errors.New("malformed command")
)

// Command is one entry's order to the store. Exactly one field is set.
type Command struct {
	AddBucket    *AddBucket
	RemoveBucket *RemoveBucket
	Write        *Write
}

// AddBucket makes a bucket, unless one of that name exists.
type AddBucket struct {
	Name     string
	Settings Settings
}

// RemoveBucket removes a bucket and all its entries.
type RemoveBucket struct {
	Name string
}

// Write adds an entry to a bucket, if its condition holds. Value shares the decoded bytes.
type Write struct {
	Bucket, Key string
	Op          Op
	Value       []byte
	Condition   Condition
	Sequence    uint64
}

// Op says what an entry does to its key.
type Op uint8

const (
	// Put gives the key a value.
	Put Op = 0
	// Delete marks the key as deleted. Its history stays.
	Delete Op = 1
	// Purge marks the key as deleted and drops its history.
	Purge Op = 2
)

// Condition says what must be true of a key for a write to happen.
type Condition uint8

const (
	// Always writes whatever is there.
	Always Condition = 0
	// IfAbsent writes if the key has no entry, or its newest is a delete or a purge.
	IfAbsent Condition = 1
	// IfPresent writes if the key's newest entry is a put.
	IfPresent Condition = 2
	// IfSequence writes if the key's newest entry, whatever its op, has Write.Sequence; 0 means that it has none.
	IfSequence Condition = 3
)

const (
	tagVersion      = 1<<3 | wire.Varint
	tagAddBucket    = 2<<3 | wire.Bytes
	tagRemoveBucket = 3<<3 | wire.Bytes
	tagWrite        = 4<<3 | wire.Bytes

	tagName     = 1<<3 | wire.Bytes
	tagSettings = 2<<3 | wire.Bytes

	tagBucket    = 1<<3 | wire.Bytes
	tagKey       = 2<<3 | wire.Bytes
	tagOp        = 3<<3 | wire.Varint
	tagValue     = 4<<3 | wire.Bytes
	tagCondition = 5<<3 | wire.Varint
	tagSequence  = 6<<3 | wire.Varint
)

// OverheadBytes bounds what a Write's encoding adds to its bucket, key and value.
const OverheadBytes = 64

// Encode writes the command.
func (c Command) Encode() []byte {
	switch {
	case c.AddBucket != nil:
		body := wire.AppendBytes(nil, tagName, c.AddBucket.Name)
		body = wire.AppendBytes(body, tagSettings, c.AddBucket.Settings.Append(nil))
		return wire.AppendMessage(nil, tagAddBucket, body)
	case c.RemoveBucket != nil:
		return wire.AppendMessage(nil, tagRemoveBucket, wire.AppendBytes(nil, tagName, c.RemoveBucket.Name))
	case c.Write != nil:
		return c.Write.encode()
	}
	return nil
}

// encode writes value and all into one allocation: values are large, and this is every put's path.
func (w *Write) encode() []byte {
	head := make([]byte, 0, len(w.Bucket)+len(w.Key)+OverheadBytes/2)
	head = wire.AppendBytes(head, tagBucket, w.Bucket)
	head = wire.AppendBytes(head, tagKey, w.Key)
	head = wire.AppendUint(head, tagOp, uint64(w.Op))
	head = wire.AppendUint(head, tagCondition, uint64(w.Condition))
	head = wire.AppendUint(head, tagSequence, w.Sequence)
	size := len(head) + wire.SizeBytes(tagValue, w.Value)
	b := make([]byte, 0, size+OverheadBytes/2)
	b = wire.AppendHead(b, tagWrite, size)
	b = append(b, head...)
	return wire.AppendBytes(b, tagValue, w.Value)
}

// Decode reads a command. The error is ErrUnknown or ErrMalformed.
func Decode(data []byte) (Command, error) {
	var c Command
	set := 0
	err := wire.Each(data, func(f wire.Field) (err error) {
		switch f.Tag {
		case tagVersion:
			if f.Uint > Version {
				return fmt.Errorf("%w (version %d, this is %d)", ErrUnknown, f.Uint, Version)
			}
			return nil
		case tagAddBucket:
			c.AddBucket, err = decodeAddBucket(f.Data)
		case tagRemoveBucket:
			c.RemoveBucket, err = decodeRemoveBucket(f.Data)
		case tagWrite:
			c.Write, err = decodeWrite(f.Data)
		default:
			return unknownField("command", f.Tag)
		}
		set++
		return err
	})
	switch {
	case errors.Is(err, wire.ErrMalformed):
		return Command{}, fmt.Errorf("%w: %v", ErrMalformed, err)
	case err != nil:
		return Command{}, err
	case set != 1:
		return Command{}, fmt.Errorf("%w: %d orders in one command", ErrMalformed, set)
	}
	return c, nil
}

func unknownField(message string, tag wire.Tag) error {
	return fmt.Errorf("%w (field %d of %s)", ErrUnknown, tag>>3, message)
}

func decodeAddBucket(data []byte) (*AddBucket, error) {
	var a AddBucket
	err := wire.Each(data, func(f wire.Field) (err error) {
		switch f.Tag {
		case tagName:
			a.Name = string(f.Data)
		case tagSettings:
			a.Settings, err = DecodeSettings(f.Data)
		default:
			err = unknownField("add_bucket", f.Tag)
		}
		return err
	})
	return &a, err
}

func decodeRemoveBucket(data []byte) (*RemoveBucket, error) {
	var r RemoveBucket
	err := wire.Each(data, func(f wire.Field) error {
		if f.Tag != tagName {
			return unknownField("remove_bucket", f.Tag)
		}
		r.Name = string(f.Data)
		return nil
	})
	return &r, err
}

func decodeWrite(data []byte) (*Write, error) {
	var w Write
	err := wire.Each(data, func(f wire.Field) error {
		switch f.Tag {
		case tagBucket:
			w.Bucket = string(f.Data)
		case tagKey:
			w.Key = string(f.Data)
		case tagOp:
			return choice(&w.Op, f.Uint, Purge, "op")
		case tagValue:
			w.Value = f.Data
		case tagCondition:
			return choice(&w.Condition, f.Uint, IfSequence, "condition")
		case tagSequence:
			w.Sequence = f.Uint
		default:
			return unknownField("write", f.Tag)
		}
		return nil
	})
	return &w, err
}

// choice sets one of an enumeration's values, of which last is the greatest known.
func choice[T ~uint8](to *T, v uint64, last T, name string) error {
	if v > uint64(last) {
		return fmt.Errorf("%w (%s %d)", ErrUnknown, name, v)
	}
	*to = T(v)
	return nil
}
