// Package command is what the log's entries say to the key-value store, and how that is written: protobuf, by hand.
//
// A command is decoded on every replica, perhaps years after it was logged and by another version. So decoding is strict:
// a version, a field or a choice that this build does not know is an error that stops the node, since skipping it would
// let replicas differ (F28). Only bucket settings, which are kept and not acted on, may hold unknown fields.
//
// The schema:
//
//	message Command {
//	  uint64 version = 1;              // the lowest version that may apply it; 0 is 1
//	  AddBucket add_bucket = 2;        // exactly one of these
//	  RemoveBucket remove_bucket = 3;
//	  Write write = 4;
//	  // 5 transaction
//	  UpdateBucket update_bucket = 6;
//	  Expire expire = 7;
//	  PurgeBucket purge_bucket = 8;
//	  AddConsumer add_consumer = 9;
//	  MoveConsumers move_consumers = 10;
//	  RemoveConsumer remove_consumer = 11;
//	  Import import = 12;
//	  Raise raise = 13;
//	}
//	message AddBucket { string name = 1; Settings settings = 2; bool accept_equal = 3; bool importing = 4; }
//	message RemoveBucket { string name = 1; }
//	message Raise { uint64 version = 1; }   // that of the command is the same
//	message UpdateBucket { string name = 1; Settings settings = 2; uint64 changed = 3; }
//	message Write {
//	  string bucket = 1; string key = 2;
//	  uint64 op = 3;                   // 0 put, 1 delete, 2 purge
//	  bytes value = 4;
//	  uint64 condition = 5;            // 0 none, 1 absent, 2 present, 3 sequence
//	  uint64 sequence = 6;             // what condition 3 compares with
//	  bytes header = 7;                // as on the wire of NATS
//	  sint64 ttl_ns = 8;               // -1 never
//	  string msg_id = 9;
//	  uint64 rollup = 10;              // 0 that of the op: the key for a purge, else none; 1 none, 2 key, 3 bucket
//	  optional uint64 last_sequence = 11;
//	  string last_msg_id = 12;
//	}
//	message PurgeBucket { string name = 1; string filter = 2; uint64 keep = 3; uint64 below = 4; string after = 5; uint64 through = 6;
//	  uint64 incarnation = 7; }   // from version 3 on
//	message Expire { repeated Item items = 1; }
//	message Item { string bucket = 1; uint64 incarnation = 2; uint64 sequence = 3; string key = 4; }
//	message AddConsumer {
//	  string bucket = 1; string name = 2; bytes config = 3; string deliver = 4;
//	  string host = 5; uint64 boot = 6; uint64 mode = 7;   // 0 add or update, 1 add, 2 update
//	  string answer = 8;
//	}
//	message MoveConsumers { repeated Move moves = 1; }
//	message Move { string bucket = 1; string name = 2; uint64 generation = 3; string host = 4; uint64 boot = 5; uint64 added = 6; }
//	message RemoveConsumer { string bucket = 1; string name = 2; uint64 added = 3; uint64 changed = 4; }   // changed: from version 3 on
//	message Import { string bucket = 1; uint64 after = 2; repeated ImportEntry entries = 3; uint64 last = 4; uint64 last_time = 5; bool done = 6; }
//	message ImportEntry {
//	  string key = 1; uint64 sequence = 2; uint64 op = 3; bytes value = 4; bytes header = 5;
//	  sint64 ttl_ns = 6; uint64 time = 7; uint64 rollup = 8;   // 0 none, 1 key, 2 bucket
//	}
//	message Settings {
//	  uint64 history = 1; uint64 ttl_ns = 2; uint64 max_value_size = 3; uint64 max_bytes = 4;
//	  string description = 5; repeated Pair metadata = 6;   // in order of key
//	  uint64 marker_ttl_ns = 7; bool allow_ttl = 8; uint64 duplicate_window_ns = 9; uint64 max_message_size = 10;
//	  Republish republish = 11; bytes echo = 12; bool read_only = 13;   // read_only: from version 3 on
//	}
//	message Republish { string source = 1; string destination = 2; bool headers_only = 3; }
//	message Pair { string key = 1; string value = 2; }
package command

import (
	"errors"
	"fmt"

	"github.com/raftbus/raftbus/kv/internal/wire"
)

// Version is the newest version of commands that this build applies, which users know as its feature level: 1 knew settings up to metadata, and no others that it had
// to act on; 3 added Raise, read-only buckets, purges that name an incarnation, what buckets that are being imported owe, what eases full ones, when a
// consumer was changed, and removals of one that name its configuration.
const Version = 3

// Base is the version that every release knows. Commands of a later one are proposed only once a Raise has been applied, which is
// proposed only when all members know it (see raise.go).
const Base = 2

var (
	// ErrUnknown says that a newer version wrote the command: this node must stop, and be upgraded.
	ErrUnknown = errors.New("a newer version wrote this command: run that version, or a later one")
	// ErrMalformed says that the bytes are no command.
	ErrMalformed = errors.New("malformed command")
)

// Command is one entry's order to the store. Exactly one field is set.
type Command struct {
	AddBucket      *AddBucket
	RemoveBucket   *RemoveBucket
	Write          *Write
	UpdateBucket   *UpdateBucket
	Expire         *Expire
	PurgeBucket    *PurgeBucket
	AddConsumer    *AddConsumer
	MoveConsumers  *MoveConsumers
	RemoveConsumer *RemoveConsumer
	Import         *Import
	Raise          *Raise
}

const (
	tagVersion = 1<<3 | wire.Varint
	tagWrite   = 4<<3 | wire.Bytes
)

// fields lists the orders, but for Write, which is every put's: that is written and read by hand.
func (c *Command) fields(w *wire.Walk) {
	wire.Message(w, 2, "add_bucket", &c.AddBucket, func() { c.AddBucket.fields(w) })
	wire.Message(w, 3, "remove_bucket", &c.RemoveBucket, func() { c.RemoveBucket.fields(w) })
	wire.Message(w, 6, "update_bucket", &c.UpdateBucket, func() { c.UpdateBucket.fields(w) })
	wire.Message(w, 7, "expire", &c.Expire, func() { c.Expire.fields(w) })
	wire.Message(w, 8, "purge_bucket", &c.PurgeBucket, func() { c.PurgeBucket.fields(w) })
	wire.Message(w, 9, "add_consumer", &c.AddConsumer, func() { c.AddConsumer.fields(w) })
	wire.Message(w, 10, "move_consumers", &c.MoveConsumers, func() { c.MoveConsumers.fields(w) })
	wire.Message(w, 11, "remove_consumer", &c.RemoveConsumer, func() { c.RemoveConsumer.fields(w) })
	wire.Message(w, 12, "import", &c.Import, func() { c.Import.fields(w) })
	wire.Message(w, 13, "raise", &c.Raise, func() { c.Raise.fields(w) })
}

// OfBucket is the bucket that the command makes, changes or removes, as clients see it: one that is imported is there when that is done. Else "".
func (c Command) OfBucket() string {
	switch {
	case c.AddBucket != nil:
		return c.AddBucket.Name
	case c.UpdateBucket != nil:
		return c.UpdateBucket.Name
	case c.RemoveBucket != nil:
		return c.RemoveBucket.Name
	case c.Import != nil && c.Import.Done:
		return c.Import.Bucket
	}
	return ""
}

// version is the lowest version that may apply the command; 0 if any may.
func (c *Command) version() uint64 {
	switch {
	case c.AddBucket != nil:
		return c.AddBucket.Settings.version()
	case c.UpdateBucket != nil:
		return c.UpdateBucket.Settings.raised()
	case c.PurgeBucket != nil:
		return c.PurgeBucket.version()
	case c.RemoveConsumer != nil:
		return c.RemoveConsumer.version()
	case c.Raise != nil:
		return c.Raise.Version
	}
	return 0
}

// Encode writes the command.
func (c Command) Encode() []byte {
	if c.Write != nil {
		return c.Write.encode()
	}
	w := wire.Append(wire.AppendUint(make([]byte, 0, c.Import.size()), tagVersion, c.version()))
	c.fields(&w)
	return w.Bytes()
}

// Decode reads a command. The error is ErrUnknown or ErrMalformed.
func Decode(data []byte) (Command, error) {
	var c Command
	orders := 0
	w := wire.ReadAll(data, "command", unknownField)
	for w.Next() {
		if w.At(tagVersion) {
			w.Fail(checkVersion(w.Uint))
			continue
		}
		orders++
		c.order(&w)
	}
	switch {
	case errors.Is(w.Err, wire.ErrMalformed):
		return Command{}, fmt.Errorf("%w: %v", ErrMalformed, w.Err)
	case w.Err != nil:
		return Command{}, w.Err
	case orders != 1:
		return Command{}, fmt.Errorf("%w: %d orders in one command", ErrMalformed, orders)
	}
	return c, nil
}

// order reads the order at hand.
func (c *Command) order(w *wire.Walk) {
	if !w.At(tagWrite) {
		c.fields(w)
		return
	}
	write, err := decodeWrite(w.Data)
	c.Write = write
	w.Fail(err)
}

func checkVersion(version uint64) error {
	if version > Version {
		return fmt.Errorf("%w (version %d, this is %d)", ErrUnknown, version, Version)
	}
	return nil
}

func unknownField(message string, tag wire.Tag) error {
	return fmt.Errorf("%w (field %d of %s)", ErrUnknown, tag>>3, message)
}

// choose is a field that has one of an enumeration's values, of which last is the greatest known.
func choose[T ~uint8](w *wire.Walk, num wire.Tag, v *T, last T, name string) {
	n := uint64(*v)
	if wire.Number(w, num, &n) {
		w.Fail(choice(v, n, last, name))
	}
}

// choice sets such a value.
func choice[T ~uint8](to *T, v uint64, last T, name string) error {
	if v > uint64(last) {
		return fmt.Errorf("%w (%s %d)", ErrUnknown, name, v)
	}
	*to = T(v)
	return nil
}
