package watch

// Buckets that have consumers here: what is stored is matched once for all consumers of one filter, and finds those
// that want it.

import (
	"iter"
	"slices"
	"strings"

	"github.com/raftbus/raftbus/kv/subject"
)

// bucket is a bucket with consumers here: what is fed once for all of them.
type bucket struct {
	incarnation uint64
	name        string
	after       string // of a reply's subject: where the key begins
	fed         uint64 // the highest sequence that came as a change: all heads have looked at it
	last        uint64 // the highest sequence heard of, also by pages
	ring        ring
	groups      map[string]*group // by what their filters say, which of those that want one key is that key
	wide        []*group          // those that want more than one key
	members     roster
}

// group is the consumers of one filter: what is stored is matched once for all of them.
type group struct {
	filter  subject.Filter
	text    string
	at      int // in bucket.wide; -1: it wants one key
	members int
	total   uint64 // entries matched so far
	heads   roster // those that have got, or skipped, all there is
	loading roster // those whose snapshot is not sent yet
}

// roster is a list of consumers that one leaves as quickly as one joins. Each of its consumers knows its place, in the field that place
// gives.
type roster struct {
	list  []*consumer
	place func(*consumer) *int // one more than the index; 0: not in the list
}

func (r *roster) has(c *consumer) bool { return *r.place(c) > 0 }

func (r *roster) add(c *consumer) {
	if !r.has(c) {
		r.list = append(r.list, c)
		*r.place(c) = len(r.list)
	}
}

func (r *roster) remove(c *consumer) {
	at := *r.place(c)
	if at == 0 {
		return
	}
	last := len(r.list) - 1
	r.list[at-1] = r.list[last]
	*r.place(r.list[at-1]) = at
	r.list[last] = nil
	r.list = r.list[:last]
	*r.place(c) = 0
}

func (h *Hub) bucket(r *Record) *bucket {
	b := h.buckets[r.Incarnation]
	if b == nil {
		b = &bucket{incarnation: r.Incarnation, name: r.Bucket, after: "@$KV." + r.Bucket + ".", groups: map[string]*group{},
			members: roster{place: func(c *consumer) *int { return &c.memberAt }}}
		h.buckets[r.Incarnation] = b
		h.rings = append(h.rings, b)
		h.bucketChanges++
	}
	return b
}

// release takes a consumer out of its bucket, and forgets the bucket with the last.
func (h *Hub) release(c *consumer) {
	b := c.bucket
	if b.members.remove(c); len(b.members.list) > 0 {
		return
	}
	h.forget(b)
	delete(h.buckets, b.incarnation)
	h.bucketChanges++
	h.rings = slices.DeleteFunc(h.rings, func(other *bucket) bool { return other == b })
}

func (b *bucket) group(f subject.Filter) *group {
	text := textOf(f)
	if g := b.groups[text]; g != nil {
		return g
	}
	g := &group{
		filter: f, text: text, at: -1,
		heads:   roster{place: func(c *consumer) *int { return &c.headAt }},
		loading: roster{place: func(c *consumer) *int { return &c.loadAt }},
	}
	b.groups[text] = g
	if _, one := f.Literal(); !one {
		g.at = len(b.wide)
		b.wide = append(b.wide, g)
	}
	return g
}

// textOf is equal for equal filters. No pattern holds a space, or is empty.
func textOf(f subject.Filter) string {
	if f.All() {
		return ">"
	}
	return strings.Join(f.Strings(), " ")
}

// leave counts a consumer out of its group.
func (b *bucket) leave(g *group) {
	if g.members--; g.members > 0 {
		return
	}
	delete(b.groups, g.text)
	if g.at < 0 {
		return
	}
	last := len(b.wide) - 1
	b.wide[g.at] = b.wide[last]
	b.wide[g.at].at = g.at
	b.wide[last] = nil
	b.wide = b.wide[:last]
}

// wanting are the groups whose filters match a key.
func (b *bucket) wanting(key string) iter.Seq[*group] {
	return func(yield func(*group) bool) {
		if g := b.groups[key]; g != nil && g.at < 0 && !yield(g) {
			return
		}
		for _, g := range b.wide {
			if g.filter.Match(key) && !yield(g) {
				return
			}
		}
	}
}

// stored takes the next entry of a bucket: to all at the head that want it, and into the ring for those that are behind.
func (h *Hub) stored(b *bucket, e *Entry) {
	h.keep(b, e)
	b.fed, b.last = e.Sequence, max(b.last, e.Sequence)
	for g := range b.wanting(e.Key) {
		g.total++
		h.fan(g, e)
	}
}

// fan sends an entry to the heads of a group. Who cannot be sent to falls behind, at that entry.
func (h *Hub) fan(g *group, e *Entry) {
	for i := len(g.heads.list) - 1; i >= 0; i-- { // falling behind takes a consumer from the list
		c := g.heads.list[i]
		switch {
		case e.Sequence < c.next: // a page of the store was ahead of the feed
			c.seen = g.total
		case h.maySend(c) && (h.leaveOut(c, e) || h.deliver(c, e, 0)):
			c.next, c.seen = e.Sequence+1, g.total
		default:
			h.fallBehind(c, e.Sequence)
		}
	}
}

// keep puts an entry into the ring, and makes room for it.
func (h *Hub) keep(b *bucket, e *Entry) {
	h.ringBytes -= b.ring.bytes // a gap clears it
	b.ring.push(e)
	h.ringBytes += b.ring.bytes
	share := h.limits.RingBytes / len(h.rings)
	for h.ringBytes > h.limits.RingBytes && b.ring.bytes > share && b.ring.entries.len() > 1 {
		h.ringBytes -= b.ring.pop()
	}
	for h.ringBytes > h.limits.RingBytes && h.trimLargest() {
	}
}

// trimLargest forgets an entry of the ring that takes the most; false if there is none to forget.
func (h *Hub) trimLargest() bool {
	largest := h.rings[0]
	for _, b := range h.rings {
		if b.ring.bytes > largest.ring.bytes {
			largest = b
		}
	}
	if largest.ring.entries.len() == 0 {
		return false
	}
	h.ringBytes -= largest.ring.pop()
	return true
}

// forget empties the ring: who is behind reads the store.
func (h *Hub) forget(b *bucket) {
	h.ringBytes -= b.ring.bytes
	b.ring.clear()
}

// dropped takes an entry from the ring, and from what consumers still expect of their snapshots.
func (h *Hub) dropped(b *bucket, d Dropped) {
	h.ringBytes -= b.ring.drop(d.Sequence)
	for g := range b.wanting(d.Key) {
		h.expectLess(g, d)
	}
}

// expectLess lowers what the consumers of a group expect.
func (h *Hub) expectLess(g *group, d Dropped) {
	for _, c := range g.loading.list {
		if c.expects(d, h.applied) {
			c.pending--
		}
	}
}
