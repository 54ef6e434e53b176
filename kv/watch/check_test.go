package watch

import (
	"slices"

	"github.com/stretchr/testify/require"
)

// check requires what must be true of a hub between steps.
func (h *Hub) check(r *require.Assertions) {
	held, ringed, asks := 0, 0, 0
	for i, c := range h.all {
		r.Equal(i, c.allAt)
		r.Same(c, h.consumers[c.Ref])
		r.Same(c.bucket, h.buckets[c.Incarnation])
		r.Equal(h.listened[c.to], c.listened)
		asks += len(c.asks)
		if c.held != nil {
			held += c.held.bytes()
			r.True(h.holders.has(c))
			r.False(c.isHead(), "a head holds nothing back")
		}
		if c.isHead() {
			r.False(c.opening || c.queued || c.reading > 0 || c.unsure)
		} else if h.maySend(c) && !c.idle {
			r.True(c.queued || c.reading > 0, "%s is behind, and nothing will wake it", c.Name)
		}
		if c.opening {
			_, known := h.listened[c.to]
			r.True(c.reading > 0 || c.idle || !known && !c.Config.Pull || h.waitsToOpen(c))
		}
		if c.loading() && c.pending > 0 && !c.opening && !c.guessed && !c.fitful() {
			r.True(c.group.loading.has(c), "what it expects is not lowered")
		}
		if c.window.request != "" {
			r.Same(c, h.flows[c.window.request])
		}
	}
	for _, b := range h.rings {
		ringed += b.ring.bytes
		n, bytes, patterns := 0, 0, 0
		for _, g := range b.groups {
			n += g.members
			r.LessOrEqual(len(g.heads.list), g.members)
			if g.at >= 0 {
				r.Same(g, b.wide[g.at])
				patterns++
			}
			for _, c := range slices.Concat(g.heads.list, g.loading.list) {
				r.False(c.gone)
			}
		}
		for s := b.ring.first; s < b.ring.next(); s++ {
			bytes += slotBytes
			if e := b.ring.at(s); e != nil {
				r.Equal(s, e.Sequence)
				bytes += e.bytes()
			}
		}
		r.LessOrEqual(b.ring.since, b.ring.first)
		if b.ring.entries.len() > 0 {
			r.NotNil(b.ring.at(b.ring.first), "a place that is of no use")
		}
		r.Len(b.wide, patterns, "groups that nobody is in are looked through")
		r.Equal(b.ring.bytes, bytes)
		r.Len(b.members.list, n)
	}
	r.Equal(h.asksCounted, asks)
	r.Equal(h.heldBytes, held)
	if len(h.holders.list) != 1 { // one alone may have any size
		r.LessOrEqual(held, h.limits.HeldBytes)
	}
	r.Equal(h.ringBytes, ringed)
	r.LessOrEqual(len(h.reads), h.limits.Reads)
	var counting [lanes]int
	for _, reading := range h.reads {
		if reading.counts {
			counting[reading.lane]++
		}
	}
	r.Equal(h.counting, counting)
	r.LessOrEqual(counting[wide], max(h.limits.Reads-2, 1))
	r.LessOrEqual(counting[wide]+counting[whole], max(h.limits.Reads-1, 1))
	r.Equal(len(h.reads)*h.limits.PageBytes, h.reserved)
	for _, c := range h.flows {
		r.False(c.gone)
	}
	for i, c := range h.timers {
		r.Equal(i, c.timerAt)
		r.False(c.gone)
	}
}

// checkStep requires what must be true of what a step asks for: who is behind is served again without more being heard, unless room or a read is
// waited for.
func (h *Hub) checkStep(r *require.Assertions) {
	if h.ready.len() > 0 {
		r.True(h.out.Again || h.out.WantRoom || len(h.reads) >= h.limits.Reads, "%d are behind, and nothing wakes the hub", h.ready.len())
	}
}

func (h *Hub) waitsToOpen(c *consumer) bool {
	for l := range h.opens {
		for _, q := range h.opens[l].of {
			if slices.Contains(q.items[q.first:], c) {
				return true
			}
		}
	}
	return false
}
