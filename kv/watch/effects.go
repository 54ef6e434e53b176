package watch

// What the hub asks for after a step: messages to send, subjects to watch, pages to read.

import "github.com/raftbus/raftbus/kv/subject"

// Effects is what must be done after a step. It is valid until the next one.
type Effects struct {
	// Send are messages for the leaf connection, in order.
	Send []Send
	// Watch are subjects that the connection is to tell about, by Interest, or no longer. What it knows at once is to be told in the
	// next step, before anything else.
	Watch []Watch
	// Reads are pages to be read from the store, each answered by PageRead.
	Reads []Read
	// Dropped are such that nobody waits for any more: of what is not read yet it will do to say that it failed.
	Dropped []uint64
	// LeftOut are entries that consumers were not sent, since the connection does not carry them.
	LeftOut []LeftOut
	// Again says that there is more to do at once: step again, after what else has happened.
	Again bool
	// WantRoom says that messages wait for room in the connection: step again when there is.
	WantRoom bool
	// Wake is the time of the next step, if nothing happens before; 0: none.
	Wake int64
}

// Send is a message. With State, its body is that answer, and the sender's to write.
type Send struct {
	Subject, Reply string
	Header, Body   []byte
	State          *State
}

// Watch begins or ends the watch of a subject, as often as it is told.
type Watch struct {
	Subject string
	Ended   bool
}

// LeftOut is an entry that one consumer was not sent. Nothing is missing in the sequence that its client counts by: it would ask for it for ever.
type LeftOut struct {
	Bucket, Key string
	Sequence    uint64
	Bytes       int // header and value, as it was to be sent
}

// State answers a request that made a consumer, or asked for its state.
type State struct {
	Made   bool // by this request
	Record *Record
	// Missing says that this node does not serve the consumer: it is gone, or another does.
	Missing bool
	// Sequence counts the messages sent, from Base on, and Stream is the last sequence that was sent or skipped.
	Sequence, Base, Stream uint64
	Pending                uint64
	Bound                  bool // somebody listens
	Pulls                  int  // requests that wait
}

// Read asks for one page of a bucket, in one view of the store: entries from the sequence From on that Filter lets through.
type Read struct {
	ID          uint64
	Incarnation uint64
	Bucket      string
	From        uint64
	FromTime    int64 // if not 0: nothing older, and From is found by it
	Filter      subject.Filter
	Mode        Mode // as of the sequence AsOf, 0: the last; after it every entry counts
	AsOf        uint64
	NoValues    bool // their sizes will do
	// Count asks how many entries there are in all from From on.
	Count bool
	// EntriesMax and BytesMax bound the page; one entry is always allowed, unless EntriesMax is 0: then only the count is wanted.
	EntriesMax, BytesMax int
}

// Mode says which entries count.
type Mode uint8

const (
	// Every entry that is stored.
	Every Mode = iota
	// NewestOfKey: those that have no newer one of their key.
	NewestOfKey
	// NewestOfAll: the one with the highest sequence. Read.From is found by it, and all keys may be looked at for that.
	NewestOfAll
)

// Page is what a Read found.
type Page struct {
	Entries []Entry // in order of sequence
	From    uint64  // as asked, or found by Read.FromTime or Read.Mode
	Next    uint64  // all before it was looked at
	Done    bool    // up to Last
	Count   uint64
	Last    uint64 // the bucket's last sequence in the view
	Applied uint64 // the view's index
	// Failed says that it could not be read: the bucket is gone, or the store is.
	Failed bool
}

// sendFixedBytes is what a message takes in the connection beside its parts, at most.
const sendFixedBytes = 64

// answerBytes is what an answer takes in the connection beside what it repeats of a record, with some to spare.
const answerBytes = 8 << 10

// cost is what a message takes in the connection, at most.
func (s *Send) cost() int {
	switch {
	case s.State == nil:
	case s.State.Record == nil:
		return answerBytes
	default:
		return answerBytes + s.State.Record.Echoed
	}
	return len(s.Subject) + len(s.Reply) + len(s.Header) + len(s.Body) + sendFixedBytes
}
