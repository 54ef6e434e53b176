// Package bell wakes who waits for work.
package bell

// Bell is rung by many and heard by one, who receives from it. However often it was rung since it was last heard, it is heard once.
type Bell chan struct{}

// New makes a bell.
func New() Bell { return make(Bell, 1) }

// Ring never waits.
func (b Bell) Ring() {
	select {
	case b <- struct{}{}:
	default: // it rings already
	}
}
