package watch

// A bucket's recent entries, for consumers that are a little behind: they need no page of the store. It may be short of entries, and says so; it never gives
// one that its bucket has dropped.

// slotBytes is what a place in a ring takes, also of an entry that was dropped: of keys that are written again and again nothing else is left.
const slotBytes = 8

// ring keeps a bucket's recent entries: all that it still has since a sequence.
type ring struct {
	since   uint64        // what its bucket has from there on is here
	first   uint64        // sequence of the oldest place
	entries queue[*Entry] // nil: it was dropped
	bytes   int
}

// next is the sequence after the newest.
func (r *ring) next() uint64 { return r.first + uint64(r.entries.len()) }

// covers reports whether all that the bucket still has from a sequence on is here.
func (r *ring) covers(sequence uint64) bool { return sequence >= r.since && sequence < r.next() }

// has reports whether there is a place for an entry.
func (r *ring) has(sequence uint64) bool { return sequence >= r.first && sequence < r.next() }

// at is an entry that has a place; nil if it was dropped.
func (r *ring) at(sequence uint64) *Entry {
	return r.entries.items[r.entries.first+int(sequence-r.first)]
}

// push adds the next entry, and keeps its bytes.
func (r *ring) push(e *Entry) {
	if e.Sequence != r.next() {
		r.clear()
	}
	if r.entries.len() == 0 {
		r.first = e.Sequence
		if r.since == 0 {
			r.since = e.Sequence
		}
	}
	kept := *e // not the list that it is in
	r.entries.push(&kept)
	r.bytes += kept.bytes() + slotBytes
}

// pop forgets the oldest, and returns the bytes that it took.
func (r *ring) pop() int {
	size := r.shift() + r.shiftDropped()
	r.since = r.first
	return size
}

// shift gives up the oldest place.
func (r *ring) shift() int {
	size := slotBytes
	if e := r.entries.pop(); e != nil {
		size += e.bytes()
	}
	r.first++
	r.bytes -= size
	return size
}

// shiftDropped gives up the places before the oldest entry.
func (r *ring) shiftDropped() (size int) {
	for r.entries.len() > 0 && r.entries.peek() == nil {
		size += r.shift()
	}
	return size
}

// drop forgets one that its bucket no longer has, and returns the bytes that it took.
func (r *ring) drop(sequence uint64) int {
	if !r.has(sequence) || r.at(sequence) == nil {
		return 0
	}
	size := r.at(sequence).bytes()
	r.entries.items[r.entries.first+int(sequence-r.first)] = nil
	r.bytes -= size
	return size + r.shiftDropped()
}

func (r *ring) clear() { *r = ring{} }
