package watch

// What a hub is told, one type for each. They are facts: the hub does not answer them, and asks for more by effects only.

// Event is something that happened. One of the types of this file.
type Event interface{ event() }

// Applied says that the store has applied all up to Index, and what that changed, in order.
type Applied struct {
	Index   uint64
	Changes []Change
}

// Reset says that the state was replaced, or is known from the beginning: by a start, or by a snapshot of another node. Records are all
// the consumers there are.
type Reset struct {
	Index   uint64
	Records []Record
}

// LeafUp says that the leaf connection is there, and that what is known of interest is so.
type LeafUp struct{}

// LeafDown says that the leaf connection is gone, and with it, perhaps, what was sent last.
type LeafDown struct{}

// Carries says how large a message the connection takes, header and value together. What is stored may be larger, since the bound may be lowered.
type Carries struct{ Bytes int }

// Follows says whether this node follows the log: it knows who leads. At first it does.
type Follows struct{ Log bool }

// Interest says whether anybody listens to a subject of Effects.Watch. It is told when it begins to be watched, and when it changes.
type Interest struct {
	Subject  string
	Listened bool
	Away     bool // whoever listens came back: since it was told last there was a time when nobody did
}

// Then is what an interest and a later one of its subject come to.
func (e Interest) Then(later Interest) Interest {
	later.Away = later.Listened && (later.Away || e.Away || !e.Listened)
	return later
}

// Processed is a client's answer to a flow-control request: its subject.
type Processed struct{ Subject string }

// PageRead brings what Effects.Reads asked for.
type PageRead struct {
	Read uint64
	Page Page
}

// Asked is a request for the state of a consumer (CONSUMER.INFO), which its host answers once it has applied Index.
type Asked struct {
	Ref   Ref
	Index uint64
	Reply string
	Made  bool // as the answer to its creation
}

func (Applied) event()   {}
func (Reset) event()     {}
func (LeafUp) event()    {}
func (LeafDown) event()  {}
func (Carries) event()   {}
func (Follows) event()   {}
func (Interest) event()  {}
func (Processed) event() {}
func (PageRead) event()  {}
func (Asked) event()     {}

// Change is one change of the state, by an applied entry. One of the types below.
type Change interface{ change() }

// Stored is an entry that a bucket got, whose bytes the hub keeps. The sequences of a bucket's entries follow each other without a gap.
type Stored struct {
	Incarnation uint64
	Entry       Entry
}

// Dropped is an entry that a bucket no longer has: history, purge or expiry took it.
type Dropped struct {
	Incarnation   uint64
	Key           string
	Sequence      uint64
	NextOfThisKey uint64 // the next newer entry of its key; 0: none, or not known
}

// Purged says that many entries are gone from a bucket, which are not told one by one.
type Purged struct{ Incarnation uint64 }

// BucketGone says that a bucket was removed, with its consumers.
type BucketGone struct{ Incarnation uint64 }

// Placed is a consumer's record: made, made anew, or moved.
type Placed struct{ Record Record }

// Removed says that a consumer was removed.
type Removed struct{ Ref Ref }

func (Stored) change()     {}
func (Dropped) change()    {}
func (Purged) change()     {}
func (BucketGone) change() {}
func (Placed) change()     {}
func (Removed) change()    {}
