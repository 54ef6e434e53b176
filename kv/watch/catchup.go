package watch

// How consumers that are behind catch up: in turn, a share at a time, from the ring if it goes back far enough, else by pages of
// the store. A page in which entries of the snapshot are left over keeps its last one back, until the next page has shown whether
// more follows: only then is it known what its message must say is to come, and the last message of a snapshot must say 0.

import (
	"cmp"

	"github.com/raftbus/raftbus/kv/internal/names"
)

// kick has a consumer take its turn, if it is behind and may be sent to.
func (h *Hub) kick(c *consumer) {
	switch {
	case c.gone || c.queued || c.reading > 0 || c.opening || c.isHead():
	case c.caughtUp():
		c.group.heads.add(c)
		c.group.loading.remove(c)
		c.pending, c.seen = 0, c.group.total
		h.endShort(c)
	case h.maySend(c):
		c.queued = true
		h.ready.push(c)
	}
}

// caughtUp reports whether nothing is left that the hub has heard of.
func (c *consumer) caughtUp() bool { return c.held == nil && !c.unsure && c.next > c.bucket.last }

// lookAgain makes a consumer ask the store before it believes to be at the head.
func (h *Hub) lookAgain(c *consumer) {
	c.unsure = true
	h.fallBehind(c, c.bucket.fed+1)
	if h.abandon(c) && c.opening {
		h.toOpen(c)
	}
	h.kick(c)
}

// abandon drops the page that is being read for a consumer; false if there is none.
func (h *Hub) abandon(c *consumer) bool {
	if c.reading == 0 {
		return false
	}
	r := h.reads[c.reading]
	r.c = nil
	h.reads[c.reading] = r
	h.out.Dropped = append(h.out.Dropped, c.reading)
	c.reading = 0
	return true
}

// fallBehind ends that a consumer is a head: it has looked at everything before a sequence, and asks the store for the rest.
func (h *Hub) fallBehind(c *consumer, sequence uint64) {
	if c.isHead() {
		c.group.heads.remove(c)
		c.next = max(c.next, sequence)
		h.kick(c)
	}
}

// serve does what waits, within what one step may do.
func (h *Hub) serve() {
	h.sendOwed()
	for h.openNext(wide) || h.openNext(whole) || h.openNext(named) {
	}
	h.serveReady()
	h.sendOwed()
}

// sendOwed sends what is owed to clients beside entries.
func (h *Hub) sendOwed() {
	for h.leaf && h.answers.len() > 0 && h.sendAnswer(h.answers.peek()) {
		h.answers.pop()
	}
	for h.leaf && h.statuses.len() > 0 && h.send(h.statuses.peek()) {
		h.statuses.pop()
	}
	for h.leaf && h.requests.len() > 0 && h.sendRequest(h.requests.peek()) {
		h.requests.pop()
	}
}

// serveReady gives each consumer that is ready its share, as long as room, reads and the turn allow.
func (h *Hub) serveReady() {
	until := h.room - h.limits.TurnBytes
	for range h.ready.len() { // one that is still behind comes again after the others
		if h.room < until {
			h.out.Again = true
			return
		}
		if !h.catchUp(h.ready.peek()) {
			return
		}
		c := h.ready.pop()
		c.queued = false
		h.kick(c)
	}
	h.out.Again = h.ready.len() > 0
}

// catchUp gives a consumer its share; false if nobody can be served now.
func (h *Hub) catchUp(c *consumer) bool {
	switch {
	case c.gone || c.reading > 0 || !h.maySend(c) || c.caughtUp():
		return true
	case c.fromRing():
		c.extend(c.bucket.fed)
		p := c.ringPage(h.limits)
		h.thin(c, &p)
		h.takePage(c, p)
		return !h.out.WantRoom
	}
	return h.readPage(c)
}

// fromRing reports whether the ring has all that comes next. What is newest of its key only the store can say.
func (c *consumer) fromRing() bool {
	if c.next > c.last() {
		return c.loading() || !c.unsure
	}
	return !c.unsure && c.bucket.ring.covers(c.next) && (c.mode == Every || !c.loading())
}

// ringPage makes a page of the ring.
func (c *consumer) ringPage(limits Limits) Page {
	r, to := &c.bucket.ring, c.last()
	p := Page{Next: max(c.next, min(r.first, to+1))}
	most := c.wanted(limits.PageMax)
	for bytes := 0; p.Next <= to && p.Next < r.next() && bytes < limits.ShareBytes && len(p.Entries) < most; p.Next++ {
		bytes += slotBytes
		if e := r.at(p.Next); e != nil && c.group.filter.Match(e.Key) {
			p.Entries = append(p.Entries, *e)
			bytes += e.bytes()
		}
	}
	p.Done = p.Next > to
	return p
}

// reading is a page that is being read.
type reading struct {
	c      *consumer // nil: nobody waits for it any more
	counts bool      // it is a count
	lane   lane      // of that
	whose  string    // the client's
}

// lane is how much a count has to look at: who is counted soon waits for nobody who is not (Q12, L9).
type lane int

const (
	named lane = iota // few keys, by their names
	whole             // what a bucket knows of itself, and what came since
	wide              // the records of all keys, it may be
	lanes
)

// lane says which one it is for what a consumer is to be sent.
func (c *consumer) lane() lane {
	switch {
	case len(c.group.filter.Literals(fewKeys)) > 0:
		return named
	case c.group.filter.All() && c.known():
		return whole
	}
	return wide
}

// known reports whether the store knows at once how much of a whole bucket a consumer is to be sent, from its first entry on: by its own counts and what came since.
func (c *consumer) known() bool {
	switch {
	case c.next > 1 || c.Config.Policy == DeliverByStartTime || c.loading() && c.mode == NewestOfAll:
		return false
	case c.loading() && c.mode == NewestOfKey:
		return !c.unsure && c.bucket.last < c.Start+knownSince
	}
	return true
}

const (
	// fewKeys is how many keys are counted as quickly as one, by their names.
	fewKeys = 64
	// knownSince is how many entries are. The store looks at far more one by one: it may be ahead of what the hub has heard.
	knownSince = 256
)

// whose is the client that has a consumer counted, as far as can be told: the inbox that answers go to, else messages. That is a courtesy and no protection,
// since clients choose their inboxes. Who asks for a consumer that has neither is the last to be taken for it: anybody may ask.
func (c *consumer) whose() string {
	inbox := cmp.Or(c.Answer, c.to)
	if inbox == "" && len(c.asks) > 0 {
		inbox = c.asks[0].Reply
	}
	return names.Inbox(inbox)
}

// toOpen has a consumer counted in turn.
func (h *Hub) toOpen(c *consumer) { h.opens[c.lane()].push(c.whose(), c) }

// openNext has the next consumer of a lane counted; false if there is none, or it must wait.
func (h *Hub) openNext(l lane) bool {
	if h.opens[l].len() == 0 || !h.isFree(l) {
		return false
	}
	c := h.opens[l].pop(func(client string) bool { return h.countsFor(l, client) })
	switch {
	case c.gone || !c.opening || c.reading > 0:
	case c.lane() != l: // its filter was changed, or much came meanwhile
		h.toOpen(c)
	default:
		h.startCount(c)
	}
	return true
}

// isFree reports whether a reader is there for a lane. One is left for each lane that is quicker, where there are so many: however many look at all of large
// buckets, others are answered, and a whole bucket of which more has to be looked at than was thought holds up no names.
func (h *Hub) isFree(l lane) bool {
	if len(h.reads) >= h.limits.Reads {
		return false
	}
	counting := 0
	for slower := lanes - 1; slower > named; slower-- {
		if counting += h.counting[slower]; l >= slower && counting >= h.laneMax(slower) {
			return false
		}
	}
	return true
}

// laneMax bounds the counts of a lane and all slower ones.
func (h *Hub) laneMax(l lane) int { return max(h.limits.Reads-int(l), 1) }

// countsFor reports whether a lane counts for a client.
func (h *Hub) countsFor(l lane, client string) bool {
	for _, r := range h.reads {
		if r.counts && r.lane == l && r.whose == client {
			return true
		}
	}
	return false
}

func (h *Hub) startCount(c *consumer) {
	read := h.newRead(c)
	read.Count = true
	if c.Config.Policy == DeliverByStartTime {
		read.FromTime = c.Config.StartTime
	}
	if !h.leaf || !c.listened || h.room-h.reserved < 2*h.limits.PageBytes {
		read.EntriesMax = 0
	}
	h.startRead(c, read)
}

// readPage asks the store for what comes next; false if reads or room are short. While something waits for room nothing more is read: it might be
// the same again, and again.
func (h *Hub) readPage(c *consumer) bool {
	if h.cramped || h.out.WantRoom || h.room-h.reserved < 2*h.limits.PageBytes {
		h.out.WantRoom = true
		return false
	}
	if len(h.reads) >= h.limits.Reads {
		return false
	}
	h.startRead(c, h.newRead(c))
	return true
}

func (h *Hub) newRead(c *consumer) Read {
	h.readLast++
	read := Read{
		ID: h.readLast, Incarnation: c.Incarnation, Bucket: c.bucket.name, From: c.next, Filter: c.group.filter,
		NoValues: c.Config.HeadersOnly, EntriesMax: c.wanted(h.limits.PageMax), BytesMax: h.limits.PageBytes,
	}
	if c.loading() {
		read.Mode, read.AsOf = c.mode, c.Start
	}
	if c.Config.FlowControl {
		read.BytesMax = min(read.BytesMax, c.window.left(h.limits.Window))
	}
	return read
}

// extend has a snapshot of which something is still to be looked at end where that look ends. A key that was there when the consumer was made may have
// been written again since, and then is nowhere before: with a fixed end it would be missing among the initial values (W2).
func (c *consumer) extend(last uint64) {
	if c.next <= c.snapshot {
		c.snapshot = max(c.snapshot, last)
	}
}

func (h *Hub) startRead(c *consumer, read Read) {
	r := reading{c: c, counts: read.Count}
	if r.counts {
		r.lane, r.whose = c.lane(), c.whose()
		h.counting[r.lane]++
	}
	c.reading = read.ID
	h.reads[read.ID] = r
	h.reserved += h.limits.PageBytes
	h.out.Reads = append(h.out.Reads, read)
}

// pageRead takes a page.
func (h *Hub) pageRead(e PageRead) {
	r := h.reads[e.Read]
	delete(h.reads, e.Read)
	h.reserved -= h.limits.PageBytes
	if r.counts {
		h.counting[r.lane]--
	}
	c := r.c
	if c == nil { // nobody waits for it any more
		return
	}
	c.reading = 0
	if e.Page.Failed { // the bucket is gone, as the hub is about to hear; or the disk fails, and somebody else must serve the client
		c.idle = true
		return
	}
	c.bucket.last = max(c.bucket.last, e.Page.Last)
	c.extend(e.Page.Last)
	if (c.opening || h.maySend(c)) && h.thin(c, &e.Page) && c.opening {
		h.openFurther(c, &e.Page)
		return
	}
	if c.opening {
		c.snapshot = max(c.snapshot, e.Page.Last) // as far as was counted
		c.next, c.pending, c.counted, c.guessed = max(c.next, e.Page.From), e.Page.Count, e.Page.Applied, false
		if c.pending == 0 {
			c.next = max(c.next, c.snapshot+1)
		}
		if c.Config.Pull { // counted too
			c.seen = c.group.total
		}
		h.open(c)
	}
	if h.maySend(c) && !h.seldom(c, &e.Page) {
		h.takePage(c, e.Page)
	}
	h.kick(c)
}

// seldom has a consumer counted anew after many pages in which nothing was for it, and reports whether it does: the page of a count is found by the keys. Its client
// hears nothing as long as pages pass over what is others', and would begin again, and for ever (W2). One page or two are read faster than all keys.
func (h *Hub) seldom(c *consumer, p *Page) bool {
	if len(p.Entries) > 0 || p.Done {
		c.empty = 0
		return false
	}
	if c.empty++; c.empty < h.limits.EmptyMax {
		return false
	}
	c.empty, c.next = 0, max(c.next, p.Next)
	h.recount(c)
	return true
}

// takePage sends what a page has, as far as room and window allow. What is left over is looked for again later.
func (h *Hub) takePage(c *consumer, p Page) {
	loading, list := c.loading(), p.Entries
	if c.held != nil {
		list = append([]Entry{*c.held}, list...)
	}
	switch {
	case loading && p.Done:
		c.pending = uint64(len(list))
	case loading:
		c.pending = max(c.pending, uint64(len(list)))
	case p.Done:
		c.unsure = false
	}
	for i := range list {
		e := &list[i]
		if c.fitful() && !h.maySend(c) {
			h.setAside(c, e)
			return
		}
		if loading && !p.Done && i == len(list)-1 {
			if h.hold(c, e) {
				c.next = p.Next
				return
			}
			c.pending = max(c.pending, 2) // it goes now, or would be looked for again and again: more may follow
		}
		if !h.maySend(c) || !h.deliver(c, e, c.after(loading, p.Done && i == len(list)-1)) {
			h.setAside(c, e)
			return
		}
		h.unhold(c)
		c.next = max(c.next, e.Sequence+1)
		c.delivered(loading)
	}
	c.next = max(c.next, p.Next)
	if loading && p.Done {
		c.group.loading.remove(c)
	}
}

// setAside has an entry that could not be sent be the next to go. Who is sent what somebody asks for may be sent it long after, and looks for it then.
func (h *Hub) setAside(c *consumer, e *Entry) {
	if !c.fitful() && h.hold(c, e) {
		c.next = max(c.next, e.Sequence+1)
		return
	}
	h.unhold(c)
	c.next = e.Sequence
}

// fitful reports whether a consumer is sent a few messages at a time, and looks again for what comes next.
func (c *consumer) fitful() bool { return c.Config.Pull || c.doubt }

// after is what the next message says is to come after it.
func (c *consumer) after(loading, last bool) uint64 {
	left := c.pending
	if !loading {
		left = c.behind()
	}
	if last {
		return 0
	}
	return left - min(left, 1)
}

func (c *consumer) delivered(loading bool) {
	if loading {
		c.pending -= min(c.pending, 1)
	} else {
		c.seen++
	}
}

// hold keeps an entry back; false if all that are held back take too much, also when those have let go of theirs who may not be sent to. One
// alone may have any size.
func (h *Hub) hold(c *consumer, e *Entry) bool {
	h.unhold(c)
	if h.maySend(c) {
		h.makePlace(e)
	}
	if h.crowded(e) {
		return false
	}
	own := *e
	c.held = &own
	h.heldBytes += own.bytes()
	h.holders.add(c)
	return true
}

func (h *Hub) unhold(c *consumer) {
	if c.held != nil {
		h.heldBytes -= c.held.bytes()
		c.held = nil
		h.holders.remove(c)
	}
}

// crowded reports whether there is no place to hold an entry back.
func (h *Hub) crowded(e *Entry) bool {
	return h.heldBytes > 0 && h.heldBytes+e.bytes() > h.limits.HeldBytes
}

// makePlace has those look again for what they hold back who may not be sent to, until there is a place for an entry: a client may stall for ever.
func (h *Hub) makePlace(e *Entry) {
	for i := len(h.holders.list) - 1; i >= 0 && h.crowded(e); i-- { // letting go takes a consumer from the list
		if c := h.holders.list[i]; !h.maySend(c) {
			h.putBack(c)
		}
	}
}

// putBack has a consumer look again for what it holds back.
func (h *Hub) putBack(c *consumer) {
	h.abandon(c)
	c.next = c.held.Sequence
	h.unhold(c)
}
