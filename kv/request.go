package kv

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/store"
)

// request is one message of a client on its way through the service. All but the fields for inflight are set before it is
// shared and then only read.
type request struct {
	msg         *nats.Msg
	kind        string // for the type of an error: put, bucket_add
	bucket, key string
	work        work

	epoch    uint64 // of leadership, when it came; see Service.epoch
	deadline time.Time
	weight   int // bytes it counts for in inflight

	waits         bool // the rest is inflight's
	before, after *request
}

// work is what a request asks for, checked: a command to log, or a read to do once it is confirmed.
type work struct {
	command []byte
	done    func(store.Result) any // a write's reply when it is done
	read    func() (any, *failure)
}

// operation is a row of the table of operations: how a message becomes work.
type operation struct {
	kind    string
	bucket  bool // the subject names a bucket
	key     bool // and a key
	prepare func(*Service, *request) (work, *failure)
}

var operations = map[string]operation{
	"bucket.add":  {kind: "bucket_add", bucket: true, prepare: (*Service).bucketAdd},
	"bucket.rm":   {kind: "bucket_rm", bucket: true, prepare: (*Service).bucketRm},
	"bucket.info": {kind: "bucket_info", bucket: true, prepare: (*Service).bucketInfo},
	"bucket.ls":   {kind: "bucket_ls", prepare: (*Service).bucketLs},
	"kv.put":      {kind: "put", bucket: true, key: true, prepare: (*Service).put},
	"kv.create":   {kind: "create", bucket: true, key: true, prepare: (*Service).create},
	"kv.update":   {kind: "update", bucket: true, key: true, prepare: (*Service).update},
	"kv.delete":   {kind: "delete", bucket: true, key: true, prepare: (*Service).delete},
	"kv.get":      {kind: "get", bucket: true, key: true, prepare: (*Service).get},
	"kv.keys":     {kind: "keys", bucket: true, prepare: (*Service).keys},
}

// requestOverheadBytes is what a request weighs beside its message's bytes.
const requestOverheadBytes = 512

// parse makes a request of a message. A failure is one that every node would answer.
func (s *Service) parse(msg *nats.Msg) (*request, *failure) {
	r := &request{
		msg:      msg,
		kind:     "unknown",
		epoch:    s.epoch.Load(),
		deadline: time.Now().Add(s.timeout),
		weight:   len(msg.Data) + len(msg.Subject) + requestOverheadBytes,
	}
	family, rest, _ := strings.Cut(strings.TrimPrefix(msg.Subject, s.prefix+"."), ".")
	verb, rest, hasRest := strings.Cut(rest, ".")
	op, known := operations[family+"."+verb]
	if !known {
		return r, UnknownOp.says("%s.%s", family, verb)
	}
	r.kind = op.kind
	if f := r.name(op, rest, hasRest); f != nil {
		return r, f
	}
	var f *failure
	r.work, f = op.prepare(s, r)
	return r, f
}

// name takes bucket and key from the rest of the subject, as the operation has them.
func (r *request) name(op operation, rest string, hasRest bool) *failure {
	var more bool
	if op.bucket {
		r.bucket, rest, more = strings.Cut(rest, ".")
		if !ValidBucket(r.bucket) {
			return BadBucketName.says("%q: use 1 to %d of A-Z a-z 0-9 _ -", r.bucket, bucketNameMax)
		}
	} else {
		more = hasRest
	}
	if op.key {
		r.key = rest
		if !ValidKey(r.key) {
			return BadKey.says("%q: use tokens of A-Z a-z 0-9 _ / = - joined by single dots, %d bytes at most", r.key, keyMax)
		}
		return nil
	}
	if more {
		return BadRequest.says("the subject goes on with %q, which %s does not take", rest, r.kind)
	}
	return nil
}
