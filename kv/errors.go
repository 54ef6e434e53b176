package kv

// The errors of the native subjects: their table, which is published, and how one is answered.

import (
	"fmt"
	"strings"

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
	NoBucket        = ErrorKind{30001, 404, "no bucket", refused, "No bucket of that name. Make it with bucket.add."}
	BucketExists    = ErrorKind{30002, 409, "bucket exists", refused, "A bucket of that name is there already, whatever its settings."}
	KeyNotFound     = ErrorKind{30003, 404, "key not found", refused, "The key has no value: it was never written, or it was deleted."}
	KeyExists       = ErrorKind{30004, 409, "key exists", refused, "The key has a value; `current_revision` is its revision."}
	WrongRevision   = ErrorKind{30005, 409, "wrong revision", refused, "The key's newest entry, which may be a delete, has another revision than expected; `current_revision` is it, 0 or absent if there is none."}
	TooLarge        = ErrorKind{30006, 413, "too large", refused, "The value is larger than the bus or the bucket takes, or the reply than the bus takes. The description has the limit."}
	BucketFull      = ErrorKind{30007, 507, "bucket full", refused, "The write would take the bucket over its max_bytes. Deletes still work."}
	BadKey          = ErrorKind{30008, 400, "bad key", refused, "A key is tokens of A-Z a-z 0-9 _ / = - joined by single dots, 768 bytes at most."}
	BadBucketName   = ErrorKind{30009, 400, "bad bucket name", refused, "A bucket name is 1 to 128 of A-Z a-z 0-9 _ -."}
	BadRequest      = ErrorKind{30010, 400, "bad request", refused, "The body or a header is not what the operation takes. The description names it."}
	UnknownOp       = ErrorKind{30011, 400, "unknown operation", refused, "The subject names no operation."}
	Busy            = ErrorKind{30012, 503, "busy", refused, "As many requests wait as may wait, of the leader, the account or this one client: the description says which. Try again after a pause."}
	Full            = ErrorKind{30013, 507, "full", refused, "The leader takes no more writes, since its disk is full or too many files are open where it runs, or so many others take none that no majority does: the description says whose. Reads go on, and watches that are there; none begins, and no list or history of a NATS KV client, since each is logged."}
	OutcomeUnknown  = ErrorKind{30014, 504, "outcome unknown", unknown, "The write was not committed in time. It may yet be done, or never: read, or write with an expected revision."}
	Unavailable     = ErrorKind{30015, 503, "unavailable", refused, "The read could not be confirmed by a majority in time, or the leader is about to hand over. Nothing was changed: try again."}
	TTLDisabled     = ErrorKind{30018, 400, "ttl disabled", refused, "The bucket does not let writes have a time to live of their own: set allow_ttl with bucket.update."}
	Compacted       = ErrorKind{30020, 410, "compacted", refused, "The entry of that revision is not kept any more, so events may be missing: read what there is, and watch from now on."}
	NoWatches       = ErrorKind{30021, 503, "no watches", refused, "No node has a leaf connection, over which watchers are served. Give the NATS server a leafnodes port, and name it with --leaf if it is not 7422."}
	NoWatch         = ErrorKind{30022, 404, "no watch", refused, "The bucket has no watch of that name: it was ended, or nobody has listened to it for too long."}
	SettingsChanged = ErrorKind{30019, 409, "settings changed", refused, "The bucket's settings were changed at the same time. Try again."}
	StreamTaken     = ErrorKind{30017, 409, "stream taken", refused, "Another JetStream of an account that is served has the stream KV_<bucket>, which clients would mistake for the bucket. Choose another name, or remove it there."}
	Importing       = ErrorKind{30023, 409, "being imported", refused, "The bucket is being imported: until `raftbus import` has ended it can only be read, or removed."}
	NotImporting    = ErrorKind{30024, 409, "not being imported", refused, "The bucket is not being imported: there was one before, or the import has ended. `current_revision` is the last."}
	ReadOnly        = ErrorKind{30025, 409, "read-only", refused, "The bucket is read-only: it can be read, watched and removed. bucket.update with `read_only` false has it take writes again."}
	NotOpen         = ErrorKind{30026, 503, "not open yet", refused, "This needs a newer feature level than the cluster uses: a member may run a release that does not know it. When all run the newer one, an administrator raises it with `raftbus upgrade finish`; then try again."}
	TooManyWatches  = ErrorKind{30027, 429, "too many watches", refused, "The account has as many watches as it may have (`--watches-max`), or what they ask for has as many KiB, or the bucket has 100,000. End some, or have the account's bound raised."}
	ReadFailed      = ErrorKind{30016, 500, "read failed", refused, "The node's disk failed a read. Try again; the node's log says more."}
)

// ErrorTable has all kinds, in order of ErrCode.
var ErrorTable = []ErrorKind{
	NoBucket, BucketExists, KeyNotFound, KeyExists, WrongRevision, TooLarge, BucketFull, BadKey, BadBucketName, BadRequest,
	UnknownOp, Busy, Full, OutcomeUnknown, Unavailable, ReadFailed, StreamTaken, TTLDisabled, SettingsChanged, Compacted, NoWatches, NoWatch,
	Importing, NotImporting, ReadOnly, NotOpen, TooManyWatches,
}

// failure is an error as it is answered: the shape that NATS tools know (ADR-7).
type failure struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
	Current     uint64 `json:"current_revision,omitempty"`
}

// descriptionMax bounds what an error quotes of a request: the answer has it twice, and is not to be larger than the bus carries.
const descriptionMax = 4 << 10

// says makes an error of the kind, with what is particular to this one.
func (k ErrorKind) says(format string, args ...any) *failure {
	text := k.Name + ": " + fmt.Sprintf(format, args...)
	if len(text) > descriptionMax {
		text = strings.ToValidUTF8(text[:descriptionMax], "") + "..."
	}
	return &failure{Code: k.Code, ErrCode: k.ErrCode, Description: text}
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
	case store.MessageTooLarge:
		f = TooLarge.says("bucket %s takes messages of %d bytes at most", bucket, r.Limit)
	case store.TTLDisabled:
		f = TTLDisabled.says("%s", bucket)
	case store.SettingsChanged:
		f = SettingsChanged.says("%s", bucket)
	case store.BucketFull:
		f = BucketFull.says("bucket %s takes %d bytes in all", bucket, r.Limit)
	case store.Importing:
		f = Importing.says("%s", bucket)
	case store.ReadOnly:
		f = ReadOnly.says("%s", bucket)
	case store.NotOpen:
		f = NotOpen.says("the cluster was not raised to it")
	case store.NotImporting:
		f = NotImporting.says("%s", bucket)
	case store.WrongLastSequence:
		f = WrongRevision.says("bucket %s has reached revision %d", bucket, r.Current)
	case store.TooManyConsumers:
		f = TooManyWatches.says("bucket %s has %d", bucket, r.Limit)
	case store.NoConsumer:
		f = NoWatch.says("%s", key)
	default:
		return BadRequest.says("%v", r.Code)
	}
	f.Current = r.Current
	return f
}
