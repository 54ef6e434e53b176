package watch

// A consumer of this node: how it begins, is changed, and is sent what it is to have.

import (
	"strconv"

	"github.com/raftbus/raftbus/kv/subject"
)

// consumer is a consumer that this node serves.
type consumer struct {
	Record
	bucket *bucket
	group  *group
	before string // of a reply's subject: all that is the same for each message

	// next is the first sequence not looked at yet. While the consumer is a head it may lag: all up to bucket.fed was looked at.
	next     uint64
	snapshot uint64 // its last sequence, as far as known; 0: there is none
	mode     Mode   // of the snapshot, as of Start
	unsure   bool   // the store may have more than the bucket here has heard of
	opening  bool   // not counted yet, its client not answered
	reading  uint64 // the page being read; 0: none
	empty    int    // pages in a row in which nothing was for it
	queued   bool   // in Hub.ready
	headAt   int    // in group.heads
	loadAt   int    // in group.loading
	heldAt   int    // in Hub.holders
	memberAt int    // in bucket.members

	sequence uint64  // of the last message since it began; 0: none was sent
	base     uint64  // no message from before this beginning has a sequence above it; 0: none was sent
	first    uint64  // the number of the first message since then: see number
	pending  uint64  // entries of the snapshot that are not sent, as far as known; exact in its last page
	guessed  bool    // nobody has counted them since it began
	counted  uint64  // the index that pending was counted at
	seen     uint64  // of group.total, at this consumer's position
	held     *Entry  // looked at and not sent: the next to go
	asks     []Asked // requests for its state, for when it is known

	to      string             // where its messages go; empty: nowhere, nobody has pulled
	pulls   []*pull            // requests that wait, the first is served
	targets map[string]*target // where their messages go, by subject
	asker   string             // where the answer to the last went
	over    bool               // it pulls no more: see giveUp

	listened bool  // somebody listens
	leftAt   int64 // when the last went; -1: somebody listens, or it cannot be known
	idle     bool  // nobody has listened for too long
	doubt    bool  // its client may lack messages, and is to notice: see doubts
	quota    int   // messages that it may be sent in doubt
	told     int   // how often it was sent so many
	sentAt   int64
	window   window
	due      int64 // of its timer
	timerAt  int   // in Hub.timers
	gone     bool
	allAt    int // in Hub.all
}

// adopt takes up a consumer: one just made, or one whose earlier host is gone.
func (h *Hub) adopt(r Record) {
	b := h.bucket(&r)
	c := &consumer{Record: r, bucket: b, leftAt: -1, sentAt: h.now, allAt: len(h.all), timerAt: -1}
	c.group = b.group(r.Config.Filter)
	c.before = "$JS.ACK.KV_" + r.Bucket + "." + r.Client() + ".1."
	b.members.add(c)
	c.group.members++
	c.seen = c.group.total
	h.consumers[r.Ref], h.all = c, append(h.all, c)
	b.fed = max(b.fed, r.Start, r.Moved)
	b.last = max(b.last, b.fed)
	c.unsure = h.resetting || r.Changed != r.Created // else what comes after Start or Moved comes as changes
	if !r.Config.Pull {
		c.to = r.Deliver
	}
	h.watchDeliver(c)
	h.begin(c)
	h.schedule(c)
}

// begin sets where a consumer begins. One that was moved has lost its position, and begins again.
func (h *Hub) begin(c *consumer) {
	c.start()
	if c.number(c.Generation << 32); c.base > 0 {
		if c.Config.Pull {
			c.asker = h.askers.take(c.Ref)
			h.giveUp(c)
			return
		}
		c.doubts()
	}
	h.count(c)
}

// stand leaves a consumer nothing but its position.
func (h *Hub) stand(c *consumer) {
	c.next = c.position() + 1
	c.group.heads.remove(c)
	c.group.loading.remove(c)
	h.unhold(c)
	h.abandon(c)
}

// update gives a consumer another configuration. It goes on where it is, so that nothing comes twice (W1): where it began is as it was, what it
// had at hand is looked for again, by what it is to have now, and so is how much that is.
func (h *Hub) update(c *consumer, r Record) {
	h.stand(c)
	h.unflow(c)
	h.regroup(c, r.Config.Filter)
	if c.Answer != "" { // who asked before is answered too
		h.ask(Asked{Ref: c.Ref, Reply: c.Answer, Made: true})
	}
	r.Config.Policy, r.Config.StartSequence, r.Config.StartTime = c.Config.Policy, c.Config.StartSequence, c.Config.StartTime
	if r.Deliver == c.Deliver {
		c.Record = r
		h.unheard(c)
	} else {
		h.unwatchDeliver(c)
		c.Record, c.to = r, r.Deliver
		h.watchDeliver(c)
	}
	if r.Config.Pull { // of what nobody has pulled yet nothing else tells
		h.recount(c)
	} else {
		h.count(c)
	}
	h.schedule(c)
}

// regroup makes a consumer one of those of another filter.
func (h *Hub) regroup(c *consumer, filter subject.Filter) {
	if g := c.bucket.group(filter); g != c.group {
		g.members++
		c.bucket.leave(c.group)
		c.group, c.seen = g, g.total
	}
}

// count finds out how much there is to send, for which the store may have to be asked: once it is known whether somebody listens, to
// whom the first page can then go at once.
func (h *Hub) count(c *consumer) {
	none := c.next > c.snapshot
	c.guessed = !none && c.doubt && c.Answer == "" && len(c.asks) == 0
	if (none || c.guessed) && c.Config.Policy != DeliverByStartTime && c.mode != NewestOfAll {
		if none {
			c.snapshot = 0
		}
		h.open(c)
		return
	}
	c.opening = true
	if _, known := h.listened[c.to]; known || c.Config.Pull {
		h.toOpen(c)
	}
}

func (c *consumer) start() {
	c.next, c.snapshot = 1, c.Start
	switch c.Config.Policy {
	case DeliverNew:
		c.next = c.Start + 1
	case DeliverByStartSequence:
		c.next = max(c.Config.StartSequence, 1)
	case DeliverLastPerSubject:
		c.mode = NewestOfKey
	case DeliverLast:
		c.mode = NewestOfAll
	}
	if c.Start == 0 { // nothing was there, and all that came since counts
		c.mode = Every
	}
}

// open ends the beginning: what there is to expect is known, and the client that made the consumer can be told.
func (h *Hub) open(c *consumer) {
	c.opening = false
	c.found(c.next)
	if c.pending > 0 {
		c.group.loading.add(c)
	}
	h.answerMade(c)
	for _, ask := range h.asksOf(c) {
		h.answerNow(c, ask.Reply, ask.Made)
	}
	h.sendOwed()
	h.kick(c)
}

// found replaces a time to start at, or the newest entry of all, by the sequence that it was found to be. To look for it again may take long. And if that entry is
// gone by then, something older would take its place, as happens where another host begins anew. From that sequence on, the entry is the newest of its key, and
// up to Start the only one.
func (c *consumer) found(sequence uint64) {
	if c.Config.Policy == DeliverByStartTime || c.mode == NewestOfAll {
		c.Config.Policy, c.Config.StartSequence = DeliverByStartSequence, sequence
	}
	if c.mode == NewestOfAll {
		c.mode = NewestOfKey
	}
}

// end removes a consumer that is no more. Who made it, or asked for it, and was not answered yet hears that (L9).
func (h *Hub) end(c *consumer) {
	if c == nil {
		return
	}
	made := Asked{Ref: c.Ref, Reply: c.Answer, Made: true}
	h.askEach(h.remove(c))
	if made.Reply != "" {
		h.ask(made)
	}
}

// remove forgets a consumer; nil is none. Who asked for it is yet to be answered.
func (h *Hub) remove(c *consumer) (asks []Asked) {
	if c == nil {
		return nil
	}
	c.gone = true
	h.endPulls(c)
	delete(h.consumers, c.Ref)
	last := len(h.all) - 1
	h.all[c.allAt] = h.all[last]
	h.all[c.allAt].allAt = c.allAt
	h.all[last] = nil
	h.all = h.all[:last]
	h.unwatchDeliver(c)
	h.unflow(c)
	h.timers.remove(c)
	h.unhold(c)
	h.abandon(c)
	asks = h.asksOf(c)
	c.group.heads.remove(c)
	c.group.loading.remove(c)
	c.bucket.leave(c.group)
	h.release(c)
	c.Record, c.group = Record{Ref: c.Ref}, &group{} // queues may have it still, and many like it: what its client chose goes
	return asks
}

func (c *consumer) isHead() bool { return c.headAt > 0 }

// position is the last sequence that was sent or skipped.
func (c *consumer) position() uint64 {
	switch {
	case c.held != nil:
		return c.held.Sequence - 1
	case c.isHead():
		return max(c.next-1, c.bucket.fed)
	}
	return c.next - 1
}

// loading reports whether what is sent next belongs to the snapshot.
func (c *consumer) loading() bool {
	return c.next <= c.snapshot || c.held != nil && c.held.Sequence <= c.snapshot
}

// last is the last sequence to look at, as far as known.
func (c *consumer) last() uint64 {
	if c.loading() {
		return c.snapshot
	}
	return c.bucket.last
}

// behind is how many entries were stored after the snapshot and are not sent. Some may have been dropped since.
func (c *consumer) behind() uint64 { return c.group.total - min(c.seen, c.group.total) }

// toCome is how many entries a client that asks is to expect. Until something after the snapshot was sent, that is the snapshot: it decides
// when the initial values are complete, and must be exact. Who is yet to notice that messages may be missing is never told that nothing is to come.
func (c *consumer) toCome() uint64 {
	n := c.behind()
	if c.loading() || c.sequence == 0 {
		n = c.pending
	}
	if c.doubt && c.sequence > 0 {
		n = max(n, 1)
	}
	return n
}

// expects reports whether the dropped entry was one that the snapshot still had to send, and nothing newer of its key comes in its place.
func (c *consumer) expects(d Dropped, index uint64) bool {
	return index > c.counted && c.pending > 1 && d.Sequence >= c.next && d.Sequence <= c.snapshot &&
		d.NextOfThisKey <= c.snapshot && (c.mode == Every || d.Sequence > c.Start || d.NextOfThisKey == 0 || d.NextOfThisKey > c.Start)
}

// maySend reports whether messages may go to a consumer now.
func (h *Hub) maySend(c *consumer) bool {
	return h.leaf && c.listened && !c.opening && !c.window.full(h.limits.Window) && (!c.doubt || h.mayDoubt(c))
}

// deliver sends an entry; false if the connection has no room for it.
func (h *Hub) deliver(c *consumer, e *Entry, pending uint64) bool {
	if c.Config.Pull {
		return h.deliverPulled(c, e, pending)
	}
	s := c.message(e, pending)
	if !h.send(s) {
		return false
	}
	c.sequence = c.following()
	c.quota -= min(c.quota, 1)
	c.sentAt = h.now
	h.flow(c, s.cost())
	return true
}

// message is an entry as the client gets it.
func (c *consumer) message(e *Entry, pending uint64) Send {
	if c.Config.Native {
		return c.native(e, pending)
	}
	s := Send{Subject: c.to, Reply: c.reply(e, pending), Header: e.Header, Body: e.Value}
	if c.Config.HeadersOnly {
		s.Header, s.Body = withSize(e), nil
	}
	return s
}

// send sends a message, if the connection has room.
func (h *Hub) send(s Send) bool {
	cost := s.cost()
	if cost > h.room {
		h.out.WantRoom = true
		return false
	}
	h.room -= cost
	h.out.Send = append(h.out.Send, s)
	return true
}

// reply is the reply subject of a delivery, from which clients take revision, time and what is to come, and from which the last server
// takes the subject that the message is to have (specification section 1).
func (c *consumer) reply(e *Entry, pending uint64) string {
	b := make([]byte, 0, len(c.before)+len(c.bucket.after)+len(e.Key)+4*20+4)
	b = append(b, c.before...)
	b = append(strconv.AppendUint(b, e.Sequence, 10), '.')
	b = append(strconv.AppendUint(b, c.following(), 10), '.')
	b = append(strconv.AppendInt(b, e.Time, 10), '.')
	b = strconv.AppendUint(b, pending, 10)
	b = append(b, c.bucket.after...)
	return string(append(b, e.Key...))
}
