package command

// The command of every put, delete and purge of one key. It is written and read by hand, since there are so many.

import (
	"fmt"
	"time"

	"github.com/raftbus/raftbus/kv/internal/wire"
)

// Write adds an entry to a bucket, if its conditions hold. Value and Header share the decoded bytes.
type Write struct {
	Bucket, Key string
	Op          Op
	Value       []byte
	Condition   Condition
	Sequence    uint64

	// Header is the message's block of headers as on the wire of NATS, from "NATS/1.0" to the empty line; nil is none.
	Header []byte
	// TTL is how long the entry lives; 0 is as long as the bucket says, Never is for ever whatever the bucket says. The bucket
	// must allow it.
	TTL time.Duration
	// MsgID makes a write of the same id, within the bucket's window, one that was done already.
	MsgID string
	// Rollup says what of the bucket makes place for the entry.
	Rollup Rollup
	// LastSequence must be the sequence of the bucket's last entry, LastMsgID that entry's message id. Nil and "" ask nothing.
	LastSequence *uint64
	LastMsgID    string
}

// MsgIDBytesMax bounds a message id, whoever gives it: the store keeps each twice beside the entry, and max_bytes does not count it. nats-server has no bound
// but that of headers.
const MsgIDBytesMax = 1 << 10

// Never is the TTL of an entry that outlives the TTL of its bucket.
const Never time.Duration = -1

// Rollup says which earlier entries a write drops, beyond those that history drops.
type Rollup uint8

const (
	// RollupNone drops none.
	RollupNone Rollup = iota
	// RollupKey drops all of the key.
	RollupKey
	// RollupBucket drops all of the bucket.
	RollupBucket
)

// Op says what an entry does to its key.
type Op uint8

const (
	// Put gives the key a value.
	Put Op = 0
	// Delete marks the key as deleted. Its history stays.
	Delete Op = 1
	// Purge marks the key as deleted for good: when it expires it leaves no marker. With RollupKey it drops the key's history.
	Purge Op = 2
)

// String is what native clients are told.
func (o Op) String() string {
	switch o {
	case Put:
		return "put"
	case Delete:
		return "delete"
	case Purge:
		return "purge"
	}
	return fmt.Sprintf("op %d", uint8(o))
}

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
	tagBucket       = 1<<3 | wire.Bytes
	tagKey          = 2<<3 | wire.Bytes
	tagOp           = 3<<3 | wire.Varint
	tagValue        = 4<<3 | wire.Bytes
	tagCondition    = 5<<3 | wire.Varint
	tagSequence     = 6<<3 | wire.Varint
	tagHeader       = 7<<3 | wire.Bytes
	tagWriteTTL     = 8<<3 | wire.Varint
	tagMsgID        = 9<<3 | wire.Bytes
	tagRollup       = 10<<3 | wire.Varint
	tagLastSequence = 11<<3 | wire.Varint
	tagLastMsgID    = 12<<3 | wire.Bytes
)

// OverheadBytes bounds what a Write's encoding adds to its bucket, key, value, header and ids.
const OverheadBytes = 128

// headBytes is more than the tags and lengths take that surround a write's parts.
const headBytes = 32

// encode writes value and all into one allocation: values are large, and this is every put's path.
func (w *Write) encode() []byte {
	var room [256]byte // of most writes
	head := room[:0]
	head = wire.AppendBytes(head, tagBucket, w.Bucket)
	head = wire.AppendBytes(head, tagKey, w.Key)
	head = wire.AppendUint(head, tagOp, uint64(w.Op))
	head = wire.AppendUint(head, tagCondition, uint64(w.Condition))
	head = wire.AppendUint(head, tagSequence, w.Sequence)
	head = wire.AppendSint(head, tagWriteTTL, int64(w.TTL))
	head = wire.AppendBytes(head, tagMsgID, w.MsgID)
	head = wire.AppendUint(head, tagRollup, w.rollup())
	if w.LastSequence != nil {
		head = wire.AppendPresent(head, tagLastSequence, *w.LastSequence)
	}
	head = wire.AppendBytes(head, tagLastMsgID, w.LastMsgID)
	size := len(head) + wire.SizeBytes(tagHeader, w.Header) + wire.SizeBytes(tagValue, w.Value)
	b := make([]byte, 0, size+headBytes)
	b = wire.AppendHead(b, tagWrite, size)
	b = append(b, head...)
	b = wire.AppendBytes(b, tagHeader, w.Header)
	return wire.AppendBytes(b, tagValue, w.Value)
}

// rollup is the rollup as it is written: 0 is the op's own, which is all that earlier versions knew.
func (w *Write) rollup() uint64 {
	if w.Rollup == w.Op.rollup() {
		return 0
	}
	return uint64(w.Rollup) + 1
}

func (o Op) rollup() Rollup {
	if o == Purge {
		return RollupKey
	}
	return RollupNone
}

func decodeWrite(data []byte) (*Write, error) {
	var w Write
	var rollup Rollup
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
		case tagHeader:
			w.Header = f.Data
		case tagWriteTTL:
			w.TTL = time.Duration(wire.Sint(f.Uint))
		case tagMsgID:
			w.MsgID = string(f.Data)
		case tagRollup:
			return choice(&rollup, f.Uint, RollupBucket+1, "rollup")
		case tagLastSequence:
			last := f.Uint
			w.LastSequence = &last
		case tagLastMsgID:
			w.LastMsgID = string(f.Data)
		default:
			return unknownField("write", f.Tag)
		}
		return nil
	})
	if w.Rollup = w.Op.rollup(); rollup > 0 {
		w.Rollup = rollup - 1
	}
	return &w, err
}
