package members

import "fmt"

// Kind is what may be done about an error.
type Kind int

// The kinds. An error without one is of NATS, of the context, or of who answers and is no leader.
const (
	Usage       Kind = iota + 1 // what was asked for contradicts itself
	NotFound                    // no such member
	Conflict                    // a member has another data folder, or somebody else changed the members meanwhile
	Unavailable                 // a node, or NATS, is not there
	Timeout                     // no answer in time: the outcome is unknown; or what was awaited has not come yet
	NoLeader                    // nobody leads
	Refused                     // the leader refuses, and nothing was done
)

// Error is an error of a kind. Its text names the cause, then the remedy.
type Error struct {
	Kind Kind
	err  error
}

func (e *Error) Error() string { return e.err.Error() }
func (e *Error) Unwrap() error { return e.err }

func (k Kind) says(format string, args ...any) error {
	return &Error{k, fmt.Errorf(format, args...)}
}
