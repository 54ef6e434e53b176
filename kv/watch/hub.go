package watch

// The hub itself: its bounds, its state and its step. A step takes events and returns effects, and that is all: no clock, no goroutine, no connection. What it does with
// consumers is in the other files.

// Limits bound what a hub holds and does at a time. Too small costs throughput, too large memory.
type Limits struct {
	Window     int // bytes sent to a consumer with flow control that its client has not processed
	PageBytes  int // of one page of the store
	PageMax    int // entries of one page
	Reads      int // pages being read at a time
	RingBytes  int // recent entries, of all buckets
	HeldBytes  int // entries held back, of all consumers
	TurnBytes  int // sent in one step to consumers that catch up, before others have their turn
	AsksMax    int // requests for the state of consumers that wait, in all: for the log, for a count, for room
	ShareBytes int // sent to one of them before the next
	EmptyMax   int // pages in a row in which nothing is for a consumer, until it is looked for by the keys
}

// DefaultLimits are for a connection of several MiB.
func DefaultLimits() Limits {
	return Limits{
		Window: 2 << 20, PageBytes: 256 << 10, PageMax: 1_024, Reads: 4, RingBytes: 64 << 20, HeldBytes: 32 << 20,
		TurnBytes: 1 << 20, AsksMax: 1_024, ShareBytes: 64 << 10, EmptyMax: 4,
	}
}

// Part is what each of so many hubs holds that share what one may: of entries, the rest is of each.
func (l Limits) Part(hubs int) Limits {
	l.RingBytes, l.HeldBytes = l.RingBytes/max(hubs, 1), l.HeldBytes/max(hubs, 1)
	return l
}

// Hub serves the consumers whose host is this life of this node. See the package's documentation.
type Hub struct {
	node   string
	boot   uint64
	limits Limits

	now     int64
	applied uint64
	leaf    bool // connected
	astray  bool // this node does not follow the log
	room    int  // bytes that the connection takes now
	largest int  // message that it takes; 0: not known
	cramped bool // they were too few in the step before, and are as many

	resetting bool // what is taken up may have missed entries

	buckets       map[uint64]*bucket // those with consumers here, by incarnation
	rings         []*bucket          // the same, in order, for sharing out RingBytes
	bucketChanges uint64
	ringBytes     int
	heldBytes     int
	holders       roster // those that hold an entry back
	consumers     map[Ref]*consumer
	all           []*consumer // the same, in some order that does not depend on chance

	delivers map[string][]*consumer // by the subject that they deliver to
	listened map[string]bool        // whether somebody listens there
	flows    map[string]*consumer   // by the subject of the flow-control request that is open
	flowed   uint64                 // such requests made so far
	timers   timers

	answers     queue[answer]
	requests    queue[*consumer] // owe a flow-control request
	statuses    queue[Send]      // answers to pulls
	waiting     int              // pulls that wait, of all consumers
	asked       []Asked          // for an index that is not applied yet
	pulls       []Pulled         // the same
	askers      askers
	asksCounted int                     // requests that wait until it is counted what their consumers are to be sent, of all consumers
	opens       [lanes]turns[*consumer] // are to be counted: by lane and client
	counting    [lanes]int              // reads that count
	ready       queue[*consumer]        // behind, and may be sent to
	reads       map[uint64]reading
	readLast    uint64
	reserved    int // of room, for pages being read

	out Effects
}

// New makes the hub of a node's present life.
func New(node string, boot uint64, limits Limits) *Hub {
	return &Hub{
		node: node, boot: boot, limits: limits,
		buckets: map[uint64]*bucket{}, consumers: map[Ref]*consumer{}, delivers: map[string][]*consumer{},
		listened: map[string]bool{},
		flows:    map[string]*consumer{}, reads: map[uint64]reading{},
		holders: roster{place: func(c *consumer) *int { return &c.heldAt }},
	}
}

// Step takes what happened, in order, by a time that never goes back, when the connection takes room bytes more. The effects must be
// carried out before the next step.
func (h *Hub) Step(now int64, room int, events ...Event) *Effects {
	h.cramped = h.out.WantRoom && h.room == room
	h.now, h.room = max(h.now, now), room
	h.out = Effects{Send: h.out.Send[:0], Watch: h.out.Watch[:0], Reads: h.out.Reads[:0], Dropped: h.out.Dropped[:0], LeftOut: h.out.LeftOut[:0]}
	for _, e := range events {
		h.take(e)
	}
	h.tick()
	h.serve()
	h.out.Wake = h.timers.next()
	return &h.out
}

func (h *Hub) take(e Event) {
	switch e := e.(type) {
	case Applied:
		h.apply(e)
	case Reset:
		h.reset(e)
	case LeafUp:
		h.connected()
	case LeafDown:
		h.disconnected()
	case Carries:
		h.carries(e.Bytes)
	case Follows:
		h.follows(e.Log)
	case Interest:
		h.interested(e)
	case Processed:
		h.processed(e.Subject)
	case PageRead:
		h.pageRead(e)
	case Asked:
		h.ask(e)
	case Pulled:
		h.pulled(e)
	}
}

func (h *Hub) apply(e Applied) {
	h.applied = max(h.applied, e.Index)
	for _, change := range e.Changes {
		h.change(change)
	}
	h.askedAgain()
	h.pulledAgain()
}

func (h *Hub) change(change Change) {
	switch c := change.(type) {
	case Stored:
		if b := h.buckets[c.Incarnation]; b != nil {
			h.stored(b, &c.Entry)
		}
	case Dropped:
		if b := h.buckets[c.Incarnation]; b != nil {
			h.dropped(b, c)
		}
	case Purged:
		if b := h.buckets[c.Incarnation]; b != nil {
			h.forget(b)
		}
	case BucketGone:
		h.bucketGone(c.Incarnation)
	case Placed:
		h.placed(c.Record)
	case Removed:
		h.askers.take(c.Ref)
		h.end(h.consumers[c.Ref])
	}
}

// reset takes a state that did not come entry by entry: what lies between is in the store only.
func (h *Hub) reset(e Reset) {
	h.applied = e.Index
	for _, b := range h.rings {
		h.forget(b)
	}
	for _, c := range h.all {
		h.lookAgain(c)
	}
	there := map[Ref]bool{}
	h.resetting = true
	for _, r := range e.Records {
		there[r.Ref] = true
		h.placed(r)
	}
	h.resetting = false
	for i := len(h.all) - 1; i >= 0; i-- {
		if c := h.all[i]; !there[c.Ref] {
			h.end(c)
		}
	}
	h.askedAgain()
	h.pulledAgain()
}

// mine reports whether this life of this node is the host of a consumer. One that an older release has given to a host of another account is
// nobody's, until it is moved back.
func (h *Hub) mine(r *Record) bool {
	return r.Host == h.node && r.Boot == h.boot && SameAccount(r.Name, h.node)
}

func (h *Hub) placed(r Record) {
	old := h.consumers[r.Ref]
	if old != nil && old.Created == r.Created && old.Generation == r.Generation && old.Config.Pull == r.Config.Pull {
		if old.Changed != r.Changed {
			h.update(old, r)
		}
		return
	}
	asks := h.remove(old)
	if h.mine(&r) {
		h.adopt(r)
	}
	h.askEach(asks)
}

func (h *Hub) bucketGone(incarnation uint64) {
	for b := h.buckets[incarnation]; b != nil && len(b.members.list) > 0; {
		h.end(b.members.list[len(b.members.list)-1])
	}
}

// Idle lists consumers whose clients are gone, at most limit: their records should be removed.
func (h *Hub) Idle(limit int) []Idle {
	list := []Idle{}
	for _, c := range h.all {
		if c.idle && len(list) < limit {
			list = append(list, Idle{c.Ref, c.Created, c.Changed})
		}
	}
	return list
}

// Idle is a consumer to be removed: that record as it was last changed, and no later one of its name.
type Idle struct {
	Ref
	Created uint64
	Changed uint64 `json:",omitempty"` // 0: a release that does not say
}

// Buckets are those with consumers here, by incarnation: the entries of others need not be told.
func (h *Hub) Buckets() map[uint64]bool {
	list := make(map[uint64]bool, len(h.rings))
	for _, b := range h.rings {
		list[b.incarnation] = true
	}
	return list
}

// BucketChanges counts how often Buckets has changed.
func (h *Hub) BucketChanges() uint64 { return h.bucketChanges }

// Waiting reports whether a request waits for something to be applied.
func (h *Hub) Waiting() bool { return len(h.asked)+len(h.pulls) > 0 }

// Serving is the number of consumers that this node serves.
func (h *Hub) Serving() int { return len(h.all) }
