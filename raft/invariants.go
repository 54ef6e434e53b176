package raft

import "fmt"

// InvariantError is a broken promise of the core: a bug, or state that was damaged unnoticed. The node must stop.
type InvariantError struct {
	What  string
	State Status
}

func (e *InvariantError) Error() string {
	return fmt.Sprintf("raft invariant broken: %s; state %+v", e.What, e.State)
}

// must stops the node unless holds. Assertions stay on in release builds (fault model, section 1).
func (c *Core) must(holds bool, format string, args ...any) {
	if !holds {
		c.broken(format, args...)
	}
}

// broken panics with an InvariantError. What is asserted in every turn or for every message calls it in a branch of its own:
// must would box its arguments also when all is well, which was three quarters of a proposal's allocations.
func (c *Core) broken(format string, args ...any) {
	panic(&InvariantError{What: fmt.Sprintf(format, args...), State: c.Status()})
}

// check holds the cursors to the picture of the package doc, after every turn.
func (c *Core) check() {
	l := &c.log
	switch {
	case l.base.Index > c.applied:
		c.broken("applied %d is below the log's base %d", c.applied, l.base.Index)
	case c.applied > c.commit:
		c.broken("applied %d is above committed %d", c.applied, c.commit)
	case c.applying > l.synced:
		c.broken("applying %d is above synced %d", c.applying, l.synced)
	case c.commit > l.last:
		c.broken("committed %d is above the last entry %d", c.commit, l.last)
	case l.synced > l.submitted || l.submitted > l.last:
		c.broken("synced %d, submitted %d, last %d", l.synced, l.submitted, l.last)
	case c.role == Leader && c.leader != c.id:
		c.broken("leader follows %q", c.leader)
	}
}
