package watch

// What time brings: heartbeats to clients that hear nothing else, and the end of consumers that nobody listens to.

import (
	"container/heap"
	"math"
)

// retryAfter is how long after a heartbeat that could not be sent it is tried again.
const retryAfter = 250_000_000

// tick does what is due.
func (h *Hub) tick() {
	for h.timers.next() > 0 && h.timers.next() <= h.now {
		c := h.timers[0]
		if h.dueAt(c) <= h.now { // else it has been sent something since
			h.due(c)
		}
		due := h.dueAt(c)
		if due <= h.now { // it could not be done
			due = h.now + retryAfter
		}
		h.timers.set(c, due)
	}
}

// schedule sets a consumer's timer. It may come early, never late: what postpones it need not move it.
func (h *Hub) schedule(c *consumer) { h.timers.set(c, h.dueAt(c)) }

// hurry sets it for a moment that may be too early.
func (h *Hub) hurry(c *consumer, due int64) {
	if c.timerAt < 0 || due < c.due {
		h.timers.set(c, due)
	}
}

// dueAt is when something must be done for a consumer.
func (h *Hub) dueAt(c *consumer) int64 {
	due := int64(math.MaxInt64)
	if c.leftAt >= 0 && !c.idle {
		due = c.leftAt + c.Config.Inactive
	}
	if c.Config.Heartbeat > 0 && h.leaf && c.listened {
		due = min(due, c.beatAt())
	}
	if c.Config.Pull {
		due = min(due, h.pullDueAt(c))
	}
	return due
}

func (c *consumer) beatAt() int64 {
	if c.doubt {
		return c.sentAt + c.doubtAfter()
	}
	return c.sentAt + c.Config.Heartbeat
}

func (h *Hub) due(c *consumer) {
	if c.leftAt >= 0 && c.leftAt+c.Config.Inactive <= h.now {
		c.idle = true
	}
	if c.Config.Pull {
		h.pullDue(c)
	}
	if c.listened && h.leaf && c.Config.Heartbeat > 0 && c.beatAt() <= h.now {
		h.heartbeat(c)
	}
}

// heartbeat tells a client that it has got everything, or that it is stalled. While there is something to send that may be sent
// there is none: clients take it for the end of what there is (specification 7.3). Nor is there one from a node that does not follow
// the log, as one that was removed and runs on: it may have missed that the bucket is gone, or the consumer is another node's, and its
// heartbeats would keep the client from looking (W2).
func (h *Hub) heartbeat(c *consumer) {
	if h.astray || h.tellAgain(c) {
		return
	}
	stalled := ""
	if c.window.full(h.limits.Window) {
		stalled = c.window.request
	}
	if !c.isHead() && stalled == "" {
		return
	}
	beat := Send{Subject: c.to, Header: c.beat(stalled)}
	if c.Config.Native {
		beat = c.progress(stalled)
	}
	if h.send(beat) {
		c.sentAt = h.now
	}
}

// timers is a heap of consumers by the time that is set for them.
type timers []*consumer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].due < t[j].due }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].timerAt, t[j].timerAt = i, j
}

// Push and Pop are heap.Interface's.
func (t *timers) Push(x any) {
	c := x.(*consumer)
	c.timerAt = len(*t)
	*t = append(*t, c)
}

func (t *timers) Pop() any {
	last := len(*t) - 1
	c := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	c.timerAt = -1
	return c
}

// next is the time of the first; 0: there is none.
func (t timers) next() int64 {
	if len(t) == 0 {
		return 0
	}
	return max(t[0].due, 1)
}

func (t *timers) set(c *consumer, due int64) {
	switch {
	case due == math.MaxInt64:
		t.remove(c)
	case c.timerAt < 0:
		c.due = due
		heap.Push(t, c)
	default:
		c.due = due
		heap.Fix(t, c.timerAt)
	}
}

func (t *timers) remove(c *consumer) {
	if c.timerAt >= 0 {
		heap.Remove(t, c.timerAt)
	}
}
