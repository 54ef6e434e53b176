package wal

// Where entries are: a sparse index in memory, one point per few KiB of a segment instead of one per entry, so that it
// stays under half a percent of the log's size. Between two points a reader walks the records.

import (
	"slices"
	"sort"

	"github.com/raftbus/raftbus/raft/rpc"
)

// strideBytes is how far a reader may have to walk to find an entry, one entry's own size aside.
const strideBytes = 8 << 10

// point says that the record of entry first starts at offset of segment. From there to the next point the group's entries
// follow each other without a gap and without one that was replaced later: what replaces an entry gets a point.
type point struct {
	first   rpc.Index
	segment *segment
	offset  int64
}

// index is the points of one group, rising by entry.
type index struct {
	points []point
	next   rpc.Index // one above the last entry added
}

// add takes in the place of entry i. An entry added again takes the place of the old one and of all after it (K22).
func (x *index) add(i rpc.Index, s *segment, offset int64) {
	jump := i != x.next
	n := len(x.points)
	for ; n > 0 && x.points[n-1].first >= i; n-- {
		jump = true
	}
	x.points = x.points[:n]
	if jump || n == 0 || x.points[n-1].segment != s || offset-x.points[n-1].offset >= strideBytes {
		x.points = append(x.points, point{i, s, offset})
	}
	x.next = i + 1
}

// forget drops the points that are of no use for entries from first on.
func (x *index) forget(first rpc.Index) {
	if first >= x.next {
		x.points = x.points[:0]
		return
	}
	if n := x.before(first); n > 0 {
		x.points = slices.Delete(x.points, 0, n)
	}
}

// clear drops all points.
func (x *index) clear() { x.points, x.next = x.points[:0], 0 }

// before is the position of the point to walk from to reach entry i, which is not below the first point's.
func (x *index) before(i rpc.Index) int {
	return sort.Search(len(x.points), func(k int) bool { return x.points[k].first > i }) - 1
}
