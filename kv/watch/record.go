package watch

// Consumers as the log has them: the same on all nodes. What a host knows beside, as how far a client is, is in consumer.go.

import "github.com/raftbus/raftbus/kv/subject"

// Policy says where a consumer begins.
type Policy uint8

const (
	// DeliverAll begins with the oldest entry there is.
	DeliverAll Policy = iota
	// DeliverLastPerSubject begins with the newest entry of each key.
	DeliverLastPerSubject
	// DeliverLast begins with the newest entry that the filters let through.
	DeliverLast
	// DeliverNew begins with what is stored after the consumer was made.
	DeliverNew
	// DeliverByStartSequence begins with Config.StartSequence.
	DeliverByStartSequence
	// DeliverByStartTime begins with the first entry that is no older than Config.StartTime.
	DeliverByStartTime
)

// Config is what a consumer's client asked for. Durations are nanoseconds.
type Config struct {
	Policy        Policy
	StartSequence uint64
	StartTime     int64          // nanoseconds since 1970 UTC
	Filter        subject.Filter // of keys
	HeadersOnly   bool           // values are left out, their sizes told
	FlowControl   bool
	Pull          bool  // messages go to who asks for them (Pulled)
	Durable       bool  // its client keeps to it, as it does if it acknowledges, and makes no other when it is told that messages may be missing
	Native        bool  // messages have the native form, not that of JetStream
	Heartbeat     int64 // 0: none
	Inactive      int64 // how long a consumer outlives its last subscriber
}

// Record is a consumer as the log made it.
type Record struct {
	Ref
	Bucket  string
	Config  Config
	Echo    any    // what the answer to a request needs beside, opaque here
	Echoed  int    // bytes of it that the answer repeats
	Weight  int    // what it counts for in what the account's consumers may ask for: see Weigh
	Deliver string // the subject of its client
	// Created tells a consumer from an earlier one of the same name, and Changed is when it was last configured: at first Created.
	Created, Changed uint64
	// Start is the bucket's last sequence when the record was made: its snapshot ends there or later.
	Start uint64
	// Host and Boot say which life of which node serves it. Generation counts the moves from one to another, and Moved is the
	// bucket's last sequence at the last one.
	Host       string
	Boot       uint64
	Generation uint64
	Moved      uint64
	// Answer is where the answer to the request goes that made or changed the consumer; empty when nobody can be waiting for it any more.
	Answer string
}

// Ref names a consumer: the bucket's incarnation, and the consumer's name in it.
type Ref struct {
	Incarnation uint64
	Name        string
}

// Entry is one stored entry of a bucket. Its bytes are shared, and nobody writes to them.
type Entry struct {
	Key      string
	Sequence uint64
	Time     int64  // nanoseconds since 1970 UTC
	Header   []byte // the whole block, as on the wire; nil: none
	Value    []byte
	Size     int // of the value, which may have been left out
	// What only native watchers are told: put, delete or purge, and the cluster's revision.
	Operation string
	Revision  uint64
}

// entryFixedBytes is about what an entry takes in memory beside its parts.
const entryFixedBytes = 128

func (e *Entry) bytes() int { return len(e.Key) + len(e.Header) + len(e.Value) + entryFixedBytes }
