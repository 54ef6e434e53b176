package store

// Which keys a bucket certainly has no record of, so that a write to a new key need not ask the engine for one: it would look into every
// memtable and table to find nothing, which was a fifth of what a load of new keys costs a node. Only of buckets that were empty at some time since the
// store was opened: of those every key that came is known here. What is here is never wrong about a key that has a record; it may take one
// that has none for one that has. It is Apply's and Restore's alone, like the keys of recent.

import (
	"hash/maphash"
	"math/bits"
)

const (
	// firstNames is how many names a bucket's first filter has room for. Each further one has room for eight times as many: a bucket of a
	// million keys has five.
	firstNames = 512
	// blockNames is how many names share the 512 bits of a block; of new keys two in a thousand are then taken for known ones. To ask the engine for
	// one costs as much as a hundred others.
	blockNames = 28
	// nameBlocksMax bounds the filters of all buckets together, 64 MiB: some 15 million keys. A bucket that would go beyond has none any more.
	nameBlocksMax = 1 << 20
	// nameBucketsMax bounds the buckets. Of one that is made when there are so many nothing is known.
	nameBucketsMax = 1 << 16
)

type names struct {
	of     map[uint64]*nameFilters // by incarnation of a bucket
	seed   maphash.Seed
	blocks int
}

// nameFilters are a bucket's, each with room for more names than all before it.
type nameFilters struct {
	filters []nameFilter // the youngest last
	room    int          // names that the youngest has room for still
	next    int          // names that the next will have room for
}

// nameFilter is a Bloom filter in which a name is one block's, so that to look is one access to memory.
type nameFilter []nameBlock

type nameBlock [8]uint64

// begin is called when a bucket is empty; names of its keys are to be added from then on.
func (n *names) begin(incarnation uint64) {
	n.end(incarnation)
	if n.of == nil {
		n.of, n.seed = map[uint64]*nameFilters{}, maphash.MakeSeed()
	}
	if len(n.of) < nameBucketsMax {
		n.of[incarnation] = &nameFilters{next: firstNames}
	}
}

// end forgets a bucket: nothing is known of it then.
func (n *names) end(incarnation uint64) {
	if f := n.of[incarnation]; f != nil {
		for _, filter := range f.filters {
			n.blocks -= len(filter)
		}
		delete(n.of, incarnation)
	}
}

// lacks reports whether a bucket certainly has no record of a key.
func (n *names) lacks(incarnation uint64, name string) bool {
	f := n.of[incarnation]
	return f != nil && !f.may(maphash.String(n.seed, name))
}

// add says that a bucket has a record of a key.
func (n *names) add(incarnation uint64, name string) {
	f := n.of[incarnation]
	if f == nil {
		return
	}
	hash := maphash.String(n.seed, name)
	if f.may(hash) {
		return
	}
	if f.room == 0 && !n.grow(f) {
		n.end(incarnation)
		return
	}
	f.filters[len(f.filters)-1].add(hash)
	f.room--
}

// grow gives a bucket one more filter, if all may have as much.
func (n *names) grow(f *nameFilters) bool {
	blocks := f.next/blockNames + 1
	if n.blocks+blocks > nameBlocksMax {
		return false
	}
	f.filters = append(f.filters, make(nameFilter, blocks))
	f.room, f.next, n.blocks = f.next, 8*f.next, n.blocks+blocks
	return true
}

func (f *nameFilters) may(hash uint64) bool {
	for i := len(f.filters) - 1; i >= 0; i-- {
		if f.filters[i].may(hash) {
			return true
		}
	}
	return false
}

func (f nameFilter) add(hash uint64) {
	block := f.block(hash)
	for range nameBits {
		block[hash&7] |= 1 << (hash >> 3 & 63)
		hash >>= 9
	}
}

func (f nameFilter) may(hash uint64) bool {
	block := f.block(hash)
	for range nameBits {
		if block[hash&7]&(1<<(hash>>3&63)) == 0 {
			return false
		}
		hash >>= 9
	}
	return true
}

// nameBits is how many bits a name has of its block; nine bits of its hash say which each is.
const nameBits = 6

// block is which block a hash belongs to, as evenly as its highest bits are spread.
func (f nameFilter) block(hash uint64) *nameBlock {
	high, _ := bits.Mul64(hash, uint64(len(f)))
	return &f[high]
}
