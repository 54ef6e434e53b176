package watch

// What the connection does not carry: where max_payload was lowered, entries are stored that are larger. They are left out as if they were not there,
// without a number: a gap in those has an ordered consumer begin again, and meet the same entry.

import (
	"math"
	"slices"
)

// oursBytesMax bounds what of a message's header is not the entry's, but for the key.
const oursBytesMax = 1 << 10

// carries takes how large a message may be.
func (h *Hub) carries(bytes int) {
	h.largest = bytes
	for i := len(h.holders.list) - 1; i >= 0; i-- { // what is held back is looked at again
		c := h.holders.list[i]
		h.putBack(c)
		h.kick(c)
	}
}

// leaveOut leaves an entry out if it is larger than a message may be; false if it is not.
func (h *Hub) leaveOut(c *consumer, e *Entry) bool {
	if h.largest == 0 || len(e.Key)+len(e.Header)+len(e.Value)+oursBytesMax <= h.largest {
		return false
	}
	m := c.message(e, math.MaxUint64)
	bytes := len(m.Header) + len(m.Body)
	if bytes <= h.largest {
		return false
	}
	h.out.LeftOut = append(h.out.LeftOut, LeftOut{c.Bucket, e.Key, e.Sequence, bytes})
	return true
}

// thin leaves out what of a page is too large, also of what there is to come. It reports whether that leaves nothing of a page after which more follows.
func (h *Hub) thin(c *consumer, p *Page) (barren bool) {
	had := len(p.Entries)
	p.Entries = slices.DeleteFunc(p.Entries, func(e Entry) bool { return h.leaveOut(c, &e) })
	gone := uint64(had - len(p.Entries))
	switch {
	case c.opening:
		p.Count -= min(p.Count, gone)
	case c.loading():
		c.pending -= min(c.pending, gone)
	default:
		c.seen += gone
	}
	return gone > 0 && len(p.Entries) == 0 && !p.Done
}

// openFurther has a consumer opened by what follows a page of which nothing is left. If that is all too large as well, its client must be told that
// nothing is to come, for no message will.
func (h *Hub) openFurther(c *consumer, p *Page) {
	c.found(p.From)
	c.next = p.Next
	h.toOpen(c)
}
