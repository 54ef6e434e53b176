package kv

import (
	"fmt"

	"github.com/raftbus/raftbus/kv/store"
)

// ErrorKind is one row of the published error table (ERRORS.md): the codes are API, the description of an error is not.
type ErrorKind struct {
	ErrCode int    // stable and ours: 30001 and on
	Code    int    // HTTP-like
	Name    string // short, for people
	Outcome string // "refused": certainly not done. "unknown": may yet be done
	Meaning string
}

const (
	refused = "refused"
	unknown = "unknown"
)

// The errors that the native subjects answer.
var (
	NoBucket       = ErrorKind{30001, 404, "no bucket", refused, "No bucket of that name. Make it with bucket.add."}
	BucketExists   = ErrorKind{30002, 409, "bucket exists", refused, "A bucket of that name is there already, whatever its settings."}
	KeyNotFound    = ErrorKind{30003, 404, "key not found", refused, "The key has no value: it was never written, or it was deleted."}
	KeyExists      = ErrorKind{30004, 409, "key exists", refused, "The key has a value; `current_revision` is its revision."}
	WrongRevision  = ErrorKind{30005, 409, "wrong revision", refused, "The key's newest entry, which may be a delete, has another revision than expected; `current_revision` is it, 0 or absent if there is none."}
	TooLarge       = ErrorKind{30006, 413, "too large", refused, "The value is larger than the bus or the bucket takes, or the reply than the bus takes. The description has the limit."}
	BucketFull     = ErrorKind{30007, 507, "bucket full", refused, "The write would take the bucket over its max_bytes. Deletes still work."}
	BadKey         = ErrorKind{30008, 400, "bad key", refused, "A key is tokens of A-Z a-z 0-9 _ / = - joined by single dots, 768 bytes at most."}
	BadBucketName  = ErrorKind{30009, 400, "bad bucket name", refused, "A bucket name is 1 to 128 of A-Z a-z 0-9 _ -."}
	BadRequest     = ErrorKind{30010, 400, "bad request", refused, "The body or a header is not what the operation takes. The description names it."}
	UnknownOp      = ErrorKind{30011, 400, "unknown operation", refused, "The subject names no operation."}
	Busy           = ErrorKind{30012, 503, "busy", refused, "As many requests wait as may wait. Try again after a pause."}
	Full           = ErrorKind{30013, 507, "full", refused, "The leader's disk has no room for more writes. Reads go on."}
	OutcomeUnknown = ErrorKind{30014, 504, "outcome unknown", unknown, "The write was not committed in time. It may yet be done, or never: read, or write with an expected revision."}
	Unavailable    = ErrorKind{30015, 503, "unavailable", refused, "The read could not be confirmed by a majority in time. A read changes nothing: try again."}
	ReadFailed     = ErrorKind{30016, 500, "read failed", refused, "The node's disk failed a read. Try again; the node's log says more."}
)

// ErrorTable has all kinds, in order of ErrCode.
var ErrorTable = []ErrorKind{
	NoBucket, BucketExists, KeyNotFound, KeyExists, WrongRevision, TooLarge, BucketFull, BadKey, BadBucketName, BadRequest,
	UnknownOp, Busy, Full, OutcomeUnknown, Unavailable, ReadFailed,
}

// failure is an error as it is answered: the shape that NATS tools know (ADR-7).
type failure struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
	Current     uint64 `json:"current_revision,omitempty"`
}

// says makes an error of the kind, with what is particular to this one.
func (k ErrorKind) says(format string, args ...any) *failure {
	return &failure{Code: k.Code, ErrCode: k.ErrCode, Description: k.Name + ": " + fmt.Sprintf(format, args...)}
}

// refusal puts the store's refusal of a write in a client's words.
func refusal(r store.Result, bucket, key string) *failure {
	var f *failure
	switch r.Code {
	case store.NoBucket:
		f = NoBucket.says("%s", bucket)
	case store.BucketExists:
		f = BucketExists.says("%s", bucket)
	case store.KeyExists:
		f = KeyExists.says("%s has revision %d", key, r.Current)
	case store.KeyNotFound:
		f = KeyNotFound.says("%s", key)
	case store.WrongRevision:
		f = WrongRevision.says("have %d", r.Current)
	case store.ValueTooLarge:
		f = TooLarge.says("bucket %s takes values of %d bytes at most", bucket, r.Limit)
	case store.BucketFull:
		f = BucketFull.says("bucket %s takes %d bytes in all", bucket, r.Limit)
	default:
		return BadRequest.says("%v", r.Code)
	}
	f.Current = r.Current
	return f
}
