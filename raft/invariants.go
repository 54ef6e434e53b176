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

// must panics with an InvariantError unless holds. Assertions stay on in release builds (fault model, section 1).
func (c *Core) must(holds bool, format string, args ...any) {
	if !holds {
		panic(&InvariantError{What: fmt.Sprintf(format, args...), State: c.Status()})
	}
}

// check holds the cursors to the picture of the package doc, after every turn.
func (c *Core) check() {
	l := &c.log
	c.must(l.base.Index <= c.applied, "applied %d is below the log's base %d", c.applied, l.base.Index)
	c.must(c.applied <= c.commit, "applied %d is above committed %d", c.applied, c.commit)
	c.must(c.applying <= l.synced, "applying %d is above synced %d", c.applying, l.synced)
	c.must(c.commit <= l.last, "committed %d is above the last entry %d", c.commit, l.last)
	c.must(l.synced <= l.submitted && l.submitted <= l.last, "synced %d, submitted %d, last %d", l.synced, l.submitted, l.last)
	c.must(c.role != Leader || c.leader == c.id, "leader follows %q", c.leader)
}
