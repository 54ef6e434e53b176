package watch

// Pull consumers: what there is goes to whoever has asked for it, one request after the other, and nothing goes anywhere while nobody has.
// So the subject that such a consumer sends to is that of the first request that waits (consumer.to), and all else is as for other consumers.
//
// Its client sees no gap where it asks for a message at a time, and may have no heartbeats. So a pull consumer that has lost its place, or whose messages
// may be lost, is over: who asks is told that it is deleted, its record is removed, and ordered clients make another. Of requests that a lost node has not
// answered the next host of the consumer knows the last, since all nodes hear of all: some clients wait for an answer and nothing else.

import (
	"cmp"
	"math"
	"slices"
	"strconv"
)

// PullDeliver is the deliver subject in the record of a pull consumer. It is none, as no client can give: the leaf connection of a release that knows nothing
// of pull consumers refuses to send there.
const PullDeliver = "who pulls"

// Pulled is a request for messages, of which all nodes hear. The host of the pull consumer serves it once it has applied Index. Durations are
// nanoseconds.
type Pulled struct {
	Ref       Ref
	Host      string // as the leader knew
	Index     uint64
	Reply     string // where they are to go
	Batch     int    // how many; one if it is less
	Bytes     int    // how many bytes in all; 0: any
	Expires   int64  // 0: never
	Heartbeat int64  // 0: none
	NoWait    bool   // what is there now; with Expires: if there is something
	Waiting   int    // requests that may wait at the consumer, as it is configured
}

func (Pulled) event() {}

// pull is a request that waits.
type pull struct {
	Pulled
	target *target
	came   int64
	until  int64 // it expires; 0: never
	got    bool  // a message
}

// target is where the messages of some of the requests go that wait at a consumer. They come and go together with who listens there, and have their heartbeats
// in common: the client cannot tell of which of them one is.
type target struct {
	pulls   int
	unheard int64 // since when nobody has listened; -1: somebody does
	sentAt  int64 // the last message or heartbeat
}

const (
	// pullsMax bounds the requests that wait, and the answers to such requests that do, in all.
	pullsMax = 16_384
	// hearWithin is how long nobody may listen where messages are to go before the request is forgotten: who listens is heard another way.
	hearWithin = 2_000_000_000
	// pullBeatMin is the least time between two heartbeats of a request, however many its client asks for: thousands may wait, and a push consumer has no more.
	pullBeatMin = 100_000_000
)

// The answers to requests, as nats-server has them.
const (
	statusNoMessages = "404 No Messages"
	statusTimeout    = "408 Request Timeout"
	statusDeleted    = "409 Consumer Deleted"
	statusMaxWaiting = "409 Exceeded MaxWaiting"
	statusTooLarge   = "409 Message Size Exceeds MaxBytes"
	statusCompleted  = "409 Batch Completed"
)

// pulled takes a request for messages.
func (h *Hub) pulled(e Pulled) {
	c := h.consumers[e.Ref]
	switch {
	case e.Host != h.node && c == nil:
		h.askers.add(e.Ref, e.Reply)
	case e.Host != h.node && !c.over: // who serves it here knows less, and is about to hear of it
	case e.Index > h.applied && len(h.pulls) < h.limits.AsksMax:
		h.pulls = append(h.pulls, e)
	case e.Index > h.applied:
		h.say(e.Reply, statusMaxWaiting)
	case c == nil:
		h.say(e.Reply, statusDeleted)
	case c.over:
		c.asker = e.Reply
		h.say(e.Reply, statusDeleted)
	case !c.Config.Pull: // whoever passed it on knows better
	case e.NoWait && e.Expires == 0 && c.isHead():
		h.say(e.Reply, statusNoMessages)
		h.touched(c, e.Reply)
	case len(c.pulls) >= e.Waiting || h.waiting >= pullsMax:
		if e.Heartbeat == 0 { // who has them would only ask again at once
			h.say(e.Reply, statusMaxWaiting)
		}
	default:
		h.wait(c, e)
	}
}

// askers are who pulled last from consumers of other hosts: of so many consumers at least that were pulled from lately.
type askers struct{ young, old map[Ref]string }

const askersMin = 4_096

func (a *askers) add(ref Ref, reply string) {
	if a.young == nil || len(a.young) >= askersMin {
		a.young, a.old = map[Ref]string{}, a.young
	}
	a.young[ref] = reply
}

// take forgets who pulled from a consumer last; none is empty.
func (a *askers) take(ref Ref) string {
	reply := cmp.Or(a.young[ref], a.old[ref])
	delete(a.young, ref)
	delete(a.old, ref)
	return reply
}

// pulledAgain takes the requests that waited for what is now applied.
func (h *Hub) pulledAgain() {
	waiting := h.pulls
	h.pulls = nil
	for _, e := range waiting {
		h.pulled(e)
	}
}

// wait has a request wait its turn.
func (h *Hub) wait(c *consumer, e Pulled) {
	p := &pull{Pulled: e, came: h.now, target: h.aim(c, e.Reply)}
	if e.Expires != 0 {
		p.until = h.now + max(e.Expires, 1)
	}
	if e.Heartbeat > 0 {
		p.Heartbeat = max(e.Heartbeat, pullBeatMin)
	}
	c.pulls = append(c.pulls, p)
	h.waiting++
	h.touched(c, e.Reply)
	h.face(c)
	h.kick(c)
}

// aim counts one more of the requests of a consumer that go to a subject.
func (h *Hub) aim(c *consumer, subject string) *target {
	t := c.targets[subject]
	if t == nil {
		t = &target{unheard: -1, sentAt: h.now}
		if c.targets == nil {
			c.targets = map[string]*target{}
		}
		c.targets[subject] = t
		h.watchSubject(c, subject)
		h.pullHeard(c, subject)
	}
	t.pulls++
	return t
}

// leave counts one less.
func (h *Hub) leave(c *consumer, p *pull) {
	h.waiting--
	if p.target.pulls--; p.target.pulls == 0 {
		delete(c.targets, p.Reply)
		h.unwatchSubject(c, p.Reply)
	}
}

// touched notes that somebody uses a pull consumer.
func (h *Hub) touched(c *consumer, reply string) {
	c.asker = reply
	h.unheard(c)
	h.schedule(c)
}

// unused reports whether nobody uses a consumer: nobody listens, or asks.
func (c *consumer) unused() bool {
	if c.Config.Pull {
		return len(c.pulls) == 0
	}
	return !c.listened
}

// face has a pull consumer send to whom the first request says. With no request left it stands where it is, and looks again when there is one: what it
// has at hand may be gone by then.
func (h *Hub) face(c *consumer) {
	to := ""
	if len(c.pulls) > 0 {
		to = c.pulls[0].Reply
	}
	c.to, c.listened = to, h.listened[to]
	if to != "" {
		return
	}
	if c.held != nil {
		h.putBack(c)
	}
	h.unheard(c)
}

// pullHeard notes whether somebody listens where messages of a consumer are to go.
func (h *Hub) pullHeard(c *consumer, subject string) {
	if t := c.targets[subject]; h.listened[subject] {
		t.unheard = -1
	} else if t.unheard < 0 && h.leaf {
		t.unheard = h.now
	}
}

// deliverPulled sends an entry to whom the first request says; false if the connection has no room for it, or the request takes no more.
func (h *Hub) deliverPulled(c *consumer, e *Entry, pending uint64) bool {
	p, s := c.pulls[0], c.message(e, pending)
	size := len(s.Reply) - len("@") + len(s.Header) + len(s.Body) // the reply has the subject in it
	if p.Bytes > 0 && size > p.Bytes {
		h.endPull(c, p, statusTooLarge)
		return false
	}
	if !h.send(s) {
		return false
	}
	c.sequence = c.following()
	p.Batch--
	p.got = true
	p.target.sentAt = h.now
	if p.Bytes > 0 {
		if p.Bytes -= size; p.Bytes == 0 {
			p.Batch = 0
		}
	}
	switch {
	case p.Batch <= 0 && p.Bytes > 0:
		h.endPull(c, p, statusCompleted)
	case p.Batch <= 0:
		h.endPull(c, p, "")
	case c.isHead():
		h.endShort(c)
	}
	return true
}

// endShort ends the requests that take only what is there: there is no more.
func (h *Hub) endShort(c *consumer) {
	for i := len(c.pulls) - 1; i >= 0; i-- {
		if p := c.pulls[i]; p.NoWait && (p.Expires == 0 || p.got) {
			h.endPull(c, p, statusNoMessages)
		}
	}
}

// endPull ends a request, with a status if there is one to be told.
func (h *Hub) endPull(c *consumer, p *pull, status string) {
	at := slices.Index(c.pulls, p)
	c.pulls = slices.Delete(c.pulls, at, at+1)
	h.leave(c, p)
	switch status {
	case "":
	case statusNoMessages:
		h.say(p.Reply, status)
	default:
		h.sayShort(p, status)
	}
	h.face(c)
	h.schedule(c)
}

// sayShort tells how much a request lacks that ends.
func (h *Hub) sayShort(p *pull, status string) {
	h.say(p.Reply, status, headerPendingMessages, strconv.Itoa(p.Batch), headerPendingBytes, strconv.Itoa(p.Bytes))
}

// endPulls tells all who wait at a consumer that it is deleted.
func (h *Hub) endPulls(c *consumer) {
	for _, p := range c.pulls {
		h.say(p.Reply, statusDeleted)
		h.leave(c, p)
	}
	c.pulls = nil
}

// giveUp ends a pull consumer that may have lost what it sent, or its place. Who asked last is told too: the end of that request may be what is lost.
func (h *Hub) giveUp(c *consumer) {
	if c.asker != "" && !slices.ContainsFunc(c.pulls, func(p *pull) bool { return p.Reply == c.asker }) {
		h.say(c.asker, statusDeleted)
	}
	h.endPulls(c)
	h.stand(c)
	h.face(c)
	c.over, c.idle, c.opening = true, true, false
	for _, ask := range h.asksOf(c) {
		h.answerNow(c, ask.Reply, ask.Made)
	}
	h.answerMade(c)
}

// say has a status sent, if not too many wait to be.
func (h *Hub) say(to, status string, headers ...string) {
	if h.statuses.len() >= pullsMax {
		return
	}
	b := block(headerVersion + " " + status + headerEnd)
	for i := 0; i < len(headers); i += 2 {
		b = b.text(headers[i], headers[i+1])
	}
	h.statuses.push(Send{Subject: to, Header: append(b, headerEnd...)})
}

// pullDueAt is when something must be done for the requests that wait.
func (h *Hub) pullDueAt(c *consumer) int64 {
	due := int64(math.MaxInt64)
	for _, p := range c.pulls {
		if p.until > 0 {
			due = min(due, p.until)
		}
		if p.target.unheard >= 0 {
			due = min(due, p.target.unheard+hearWithin)
		}
		if h.leaf {
			due = min(due, p.beatAt())
		}
	}
	return due
}

// beatAt is when the next heartbeat of a request is due, which only who listens has.
func (p *pull) beatAt() int64 {
	if p.Heartbeat == 0 || p.target.unheard >= 0 {
		return math.MaxInt64
	}
	return max(p.came, p.target.sentAt) + p.Heartbeat
}

// pullDue does what is due for the requests that wait.
func (h *Hub) pullDue(c *consumer) {
	before := len(c.pulls)
	c.pulls = slices.DeleteFunc(c.pulls, func(p *pull) bool {
		switch {
		case p.until > 0 && p.until <= h.now:
			h.sayShort(p, statusTimeout)
		case p.target.unheard >= 0 && p.target.unheard+hearWithin <= h.now: // all that go there: whoever asked is gone
		default:
			h.pullBeat(c, p)
			return false
		}
		h.leave(c, p)
		return true
	})
	if len(c.pulls) < before {
		h.face(c)
	}
	h.kick(c)
}

// pullBeat sends a request's heartbeat, if one is due.
func (h *Hub) pullBeat(c *consumer, p *pull) {
	if p.beatAt() <= h.now && h.leaf && !h.astray && h.send(Send{Subject: p.Reply, Header: c.beat("")}) {
		p.target.sentAt = h.now
	}
}

// recount has what is to come counted anew, for who asks: what nobody has pulled may be gone since it was counted.
func (h *Hub) recount(c *consumer) {
	h.stand(c)
	c.opening = true
	h.toOpen(c)
}

// wanted bounds what is looked at for a consumer that may be sent little: one more than that, so that the last says how much is to come.
func (c *consumer) wanted(most int) int {
	switch {
	case c.doubt:
		return min(c.quota+1, most)
	case !c.Config.Pull:
		return most
	}
	n := 1
	for _, p := range c.pulls {
		if n += min(max(p.Batch, 1), most); n >= most {
			return most
		}
	}
	return n
}
