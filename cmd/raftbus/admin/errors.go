package admin

// The errors that administrators are answered with: their codes and what each says about the change. ERRORS.md is made of them.

import (
	"errors"
	"fmt"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/node"
)

// ErrorKind is one row of the published error table (ERRORS.md): the codes are API, the description of an error is not.
type ErrorKind struct {
	ErrCode int    // stable and ours: 31001 and on
	Code    int    // HTTP-like
	Name    string // short, for people
	Outcome string // "refused": certainly not done. "unknown": may be done, or may yet be
	Meaning string
}

const (
	refused = "refused"
	unknown = "unknown"
)

// The errors that the administration subjects answer.
var (
	BadRequest     = ErrorKind{31001, 400, "bad request", refused, "The body is not what the operation takes, or the change contradicts itself or the bounds. The description says how."}
	UnknownOp      = ErrorKind{31002, 400, "unknown operation", refused, "The subject names no operation."}
	Stale          = ErrorKind{31003, 409, "members have changed", refused, "Another configuration is in force than the one given in `if`. List the members and decide again."}
	UnderWay       = ErrorKind{31004, 409, "change under way", refused, "An earlier change is not through, or the leader was just elected. Try again soon."}
	NoChange       = ErrorKind{31005, 409, "nothing to change", refused, "The members are so already."}
	Unsafe         = ErrorKind{31006, 409, "unsafe", refused, "The cluster would lose its quorum: too few of the voters that would be left answer."}
	NotTransferred = ErrorKind{31007, 409, "not transferred", refused, "Leadership was not handed over, for the reason given. The same node leads on."}
	Busy           = ErrorKind{31008, 503, "busy", refused, "As many requests wait as may wait. Try again after a pause."}
	Unavailable    = ErrorKind{31009, 503, "unavailable", refused, "The read could not be confirmed by a majority in time. A read changes nothing: try again."}
	OutcomeUnknown = ErrorKind{31010, 504, "outcome unknown", unknown, "The leader ceased to lead, or a majority did not answer in time. List the members: the change may be made, or may yet be."}
	NotKnown       = ErrorKind{31011, 409, "not known by all", refused, "A member runs a release that does not know the feature level, or does not answer. The description names it."}
)

// ErrNotKnown is what Options.Raise refuses with, in the end of its chain.
var ErrNotKnown = errors.New("the cluster is opened to nothing")

// ErrorTable has all kinds, in order of ErrCode.
var ErrorTable = []ErrorKind{BadRequest, UnknownOp, Stale, UnderWay, NoChange, Unsafe, NotTransferred, Busy, Unavailable, OutcomeUnknown, NotKnown}

// Failure is an error as it is answered: the shape that NATS tools know (ADR-7).
type Failure struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (f *Failure) Error() string { return f.Description }

// OfKind reports whether the failure is of a kind.
func (f *Failure) OfKind(k ErrorKind) bool { return f != nil && f.ErrCode == k.ErrCode }

// says makes an error of the kind, with what is particular to this one.
func (k ErrorKind) says(format string, args ...any) *Failure {
	return &Failure{Code: k.Code, ErrCode: k.ErrCode, Description: k.Name + ": " + fmt.Sprintf(format, args...)}
}

// refusals are the core's and the driver's, which certainly changed nothing, in an administrator's words.
var refusals = []struct {
	err  error
	kind ErrorKind
}{
	{raft.ErrChangeUnderWay, UnderWay},
	{raft.ErrStale, Stale},
	{raft.ErrNoChange, NoChange},
	{raft.ErrUnsafe, Unsafe},
	{raft.ErrBadChange, BadRequest},
	{node.ErrNotTransferred, NotTransferred},
	{node.ErrBusy, Busy},
	{ErrNotKnown, NotKnown},
}

// failure puts an error in words. What a node says that ceased to lead is never 'refused': another may have carried out a copy of
// the request (design section 4).
func failure(err error) *Failure {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r.kind.says("%v", err)
		}
	}
	return OutcomeUnknown.says("%v", err)
}
