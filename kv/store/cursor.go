package store

import (
	"sync"

	"github.com/raftbus/raftbus/raft/rpc"
)

// cursors remember, for buckets, up to which sequence nothing is left, so that who looks for the first entry need not pass all
// that was ever written and removed. What they say is never needed, only quicker, and is not stored.
type cursors struct {
	mu sync.Mutex
	at map[uint64]cursor // by incarnation
}

// cursor says that there is nothing below a sequence, from an applied entry of the log on.
type cursor struct {
	sequence uint64
	index    rpc.Index
}

// cursorsMax bounds the memory for cursors; beyond it they are found anew.
const cursorsMax = 10_000

// from is where to begin looking for the first entry. A view that is older than what is known begins at the beginning.
func (c *cursors) from(v *bucketView) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.at[v.record.incarnation]; known.index <= v.at {
		return known.sequence
	}
	return 0
}

// found remembers where the first entry was.
func (c *cursors) found(v *bucketView, first uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil || len(c.at) >= cursorsMax {
		c.at = map[uint64]cursor{}
	}
	if known := c.at[v.record.incarnation]; first > known.sequence {
		c.at[v.record.incarnation] = cursor{first, v.at}
	}
}

// forget is for another state, in which the same incarnation may be another bucket.
func (c *cursors) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = nil
}
