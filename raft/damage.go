package raft

// Damaged entries (design section 5; D3, F18): the log knows which entries they are, but not what they said. Until the leader has
// given them again this node neither votes nor campaigns, and acknowledges nothing at or above the first of them: for the
// leader its log ends before it.

import (
	"slices"

	"github.com/raftbus/raftbus/raft/rpc"
)

// damage is what the log's disk has lost.
type damage struct {
	entries []rpc.EntryID // rising
	mended  uint64        // the last write that repairs some
}

func (d *damage) any() bool { return len(d.entries) > 0 }

// mending: what the leader has given again is not on the disk yet. Whoever reads it there meets the damage still.
func (c *Core) mending() bool { return len(c.repairs) > 0 || c.damage.mended > c.log.heads }

// undamaged gives the last entry below the damage, and whether there is none at or below i.
func (c *Core) undamaged(i rpc.Index) (rpc.EntryID, bool) {
	if !c.damage.any() || i < c.damage.entries[0].Index {
		return rpc.EntryID{}, true
	}
	first := c.damage.entries[0].Index
	t, _ := c.log.term(first - 1)
	return rpc.EntryID{Term: t, Index: first - 1}, false
}

// repair takes from a leader's entries those that are damaged here, and has them written where they belong. What is logged under
// them stays, since the ids are the same (Log Matching).
func (c *Core) repair(entries []rpc.Entry) {
	for i := range entries {
		if n := slices.Index(c.damage.entries, entries[i].ID()); n >= 0 {
			c.damage.entries = slices.Delete(c.damage.entries, n, n+1)
			c.repairs = append(c.repairs, entries[i])
		}
	}
	if len(c.repairs) > 0 && !c.damage.any() {
		c.fact(LogRepaired{})
	}
}

// replaced forgets damage in entries that others have replaced, or that a base covers.
func (d *damage) replaced(from rpc.Index) {
	d.entries = slices.DeleteFunc(d.entries, func(id rpc.EntryID) bool { return id.Index >= from })
}

func (d *damage) covered(to rpc.Index) {
	d.entries = slices.DeleteFunc(d.entries, func(id rpc.EntryID) bool { return id.Index <= to })
}
