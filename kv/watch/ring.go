package watch

// ring keeps a bucket's recent entries: those from first on, without a gap, of which some may have been dropped since.
type ring struct {
	first   uint64 // sequence of the oldest
	entries queue[*Entry]
	bytes   int
}

// next is the sequence after the newest.
func (r *ring) next() uint64 { return r.first + uint64(r.entries.len()) }

// covers reports whether an entry, and all after it, is or was here.
func (r *ring) covers(sequence uint64) bool { return sequence >= r.first && sequence < r.next() }

// at is an entry; nil if it was dropped.
func (r *ring) at(sequence uint64) *Entry {
	return r.entries.items[r.entries.first+int(sequence-r.first)]
}

func (r *ring) push(e *Entry) {
	if r.entries.len() == 0 || e.Sequence != r.next() {
		r.clear()
		r.first = e.Sequence
	}
	r.entries.push(e)
	r.bytes += e.bytes()
}

// pop forgets the oldest, and returns the bytes that it took.
func (r *ring) pop() int {
	size := 0
	if e := r.entries.pop(); e != nil {
		size = e.bytes()
	}
	r.first++
	r.bytes -= size
	return size
}

// drop forgets one that its bucket no longer has, and returns the bytes that it took.
func (r *ring) drop(sequence uint64) int {
	if !r.covers(sequence) || r.at(sequence) == nil {
		return 0
	}
	size := r.at(sequence).bytes()
	r.entries.items[r.entries.first+int(sequence-r.first)] = nil
	r.bytes -= size
	return size
}

func (r *ring) clear() { *r = ring{} }
