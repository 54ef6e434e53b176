package node

import "errors"

// Errors of Propose and ReadIndex. With each of them this node certainly did not log the command; another node that
// got a copy of the request may have, so whoever answers clients must first show that this node led (design section 4).
var (
	// ErrNotLeader: another node leads, or none. Ask again; 'no responders' on the bus means none.
	ErrNotLeader = errors.New("this node does not lead")
	// ErrBusy: as much waits as may wait. Try again after a pause.
	ErrBusy = errors.New("too much is waiting already")
	// ErrTooLarge: the command does not fit in a message of the bus.
	ErrTooLarge = errors.New("command too large for the bus")
	// ErrFull: the disk has no room for more log or state, or too many files are open, here or where so many others run that too few take writes. Reads go on.
	ErrFull = errors.New("no more writes are taken")
	// ErrUnknown: this node ceased to lead before it knew whether the change was made: look at the members. Reconfigure only.
	ErrUnknown = errors.New("this node ceased to lead before it knew: the change may have been made, or may yet be")
	// ErrNotTransferred: leadership was not handed over, for the reason that follows. TransferLeadership only.
	ErrNotTransferred = errors.New("leadership was not handed over")
	// ErrStopped: the node is stopping or has stopped.
	ErrStopped = errors.New("node stopped")
)

// ErrNotApplied is in an error of a StateMachine's Apply that has applied nothing: it may be given the same entries again.
var ErrNotApplied = errors.New("nothing was applied")
