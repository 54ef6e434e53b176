package kv

// The native subjects: which operation a message asks for, and how its work is answered.

import (
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/internal/names"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
)

// call is a message on a native subject.
type call struct {
	msg         *nats.Msg
	kind        string // for the type of an error: put, bucket_add
	bucket, key string
}

// plan is what a call asks for: a command to log, or a read.
type plan struct {
	command []byte
	done    func(store.Result) any        // the reply when it is done
	read    func() (any, *failure, *plan) // an answer, or what is to be done next
	local   bool                          // as in work
	quick   bool                          // as in work
	newest  jetstream.Newest              // as in work
	tell    func(store.Entry, error) (any, *failure)
	writes  bool   // the read may go on with a command
	silent  bool   // somebody else answers when it is done
	wide    bool   // as in work
	made    string // as in work
	bucket  string // as in work
}

// operation is a row of the table of operations: how a message becomes a plan.
type operation struct {
	kind    string
	bucket  bool // the subject names a bucket
	key     bool // and a key
	prepare func(*Service, *call) (plan, *failure)
}

var operations = map[string]operation{
	"bucket.add":    {kind: "bucket_add", bucket: true, prepare: (*Service).bucketAdd},
	"bucket.update": {kind: "bucket_update", bucket: true, prepare: (*Service).bucketUpdate},
	"bucket.rm":     {kind: "bucket_rm", bucket: true, prepare: (*Service).bucketRm},
	"bucket.info":   {kind: "bucket_info", bucket: true, prepare: (*Service).bucketInfo},
	"bucket.ls":     {kind: "bucket_ls", prepare: (*Service).bucketLs},

	"bucket.import_begin":   {kind: "bucket_import_begin", bucket: true, prepare: (*Service).importBegin},
	"bucket.import_entries": {kind: "bucket_import_entries", bucket: true, prepare: (*Service).importEntries},
	"bucket.import_sums":    {kind: "bucket_import_sums", bucket: true, prepare: (*Service).importSums},
	"bucket.import_end":     {kind: "bucket_import_end", bucket: true, prepare: (*Service).importEnd},

	"kv.put":     {kind: "put", bucket: true, key: true, prepare: (*Service).put},
	"kv.create":  {kind: "create", bucket: true, key: true, prepare: (*Service).create},
	"kv.update":  {kind: "update", bucket: true, key: true, prepare: (*Service).update},
	"kv.delete":  {kind: "delete", bucket: true, key: true, prepare: (*Service).delete},
	"kv.purge":   {kind: "purge", bucket: true, key: true, prepare: (*Service).purge},
	"kv.history": {kind: "history", bucket: true, key: true, prepare: (*Service).history},
	"kv.get":     {kind: "get", bucket: true, key: true, prepare: (*Service).get},
	"kv.keys":    {kind: "keys", bucket: true, prepare: (*Service).keys},
	"kv.watch":   {kind: "watch", bucket: true, prepare: (*Service).watch},
	"kv.unwatch": {kind: "unwatch", bucket: true, prepare: (*Service).unwatch},
}

// native takes a message on a native subject.
func (s *Service) native(msg *nats.Msg, epoch uint64) {
	r := s.newRequest(msg, epoch)
	c := &call{msg: msg, kind: "unknown"}
	r.fail = func(f *failure) []reply { return s.message(nil, c, f) }
	p, f := s.parse(c)
	if f != nil {
		s.refuseAlone(r, f)
		return
	}
	r.door = nativeDoor(c.kind)
	if r.trace != nil {
		r.trace.Operation = c.kind
	}
	r.work = s.work(c, p)
	s.take(r)
}

// refuseAlone refuses what cannot be done by what the message says alone. That every node would say, but of what is too large: each knows what its own NATS
// server said last of what the bus carries, and another may have carried out a copy (C5).
func (s *Service) refuseAlone(r *request, f *failure) {
	if f.ErrCode == TooLarge.ErrCode {
		s.refuse(r, f)
		return
	}
	s.respond(r, r.fail(f))
}

func (s *Service) parse(c *call) (plan, *failure) {
	family, rest, _ := strings.Cut(strings.TrimPrefix(c.msg.Subject, s.prefix+"."), ".")
	verb, rest, hasRest := strings.Cut(rest, ".")
	op, known := operations[family+"."+verb]
	if !known {
		return plan{}, UnknownOp.says("%s.%s", family, verb)
	}
	c.kind = op.kind
	switch {
	case s.hasBrokenHeader(c.msg):
		return plan{}, BadRequest.says("the headers cannot be read")
	case hasLongHeader(c.msg):
		return plan{}, BadRequest.says("the headers may have 64 KiB and 1000 lines: send less in them")
	}
	if f := c.name(op, rest, hasRest); f != nil {
		return plan{}, f
	}
	return op.prepare(s, c)
}

// work puts a plan into the service's terms.
func (s *Service) work(c *call, p plan) work {
	w := work{command: p.command, local: p.local, quick: p.quick, newest: p.newest, writes: p.writes || p.command != nil, wide: p.wide, made: p.made, bucket: p.bucket}
	w.done = func(result store.Result) ([]reply, *work) {
		if result.Code != store.Done {
			return s.message(nil, c, refusal(result, c.bucket, c.key)), nil
		}
		if p.silent {
			return nil, nil
		}
		return s.message(p.done(result), c, nil), nil
	}
	if p.tell != nil {
		w.tell = func(e store.Entry, err error) ([]reply, *work) {
			reply, f := p.tell(e, err)
			return s.message(reply, c, f), nil
		}
		return w
	}
	w.look = func() ([]reply, *work) {
		reply, f, next := p.read()
		if next != nil {
			w := s.work(c, *next)
			return nil, &w
		}
		return s.message(reply, c, f), nil
	}
	return w
}

// name takes bucket and key from the rest of the subject, as the operation has them.
func (c *call) name(op operation, rest string, hasRest bool) *failure {
	var more bool
	if op.bucket {
		c.bucket, rest, more = strings.Cut(rest, ".")
		if !names.ValidBucket(c.bucket) {
			return BadBucketName.says("%q: use 1 to %d of A-Z a-z 0-9 _ -", c.bucket, names.BucketMax)
		}
	} else {
		more = hasRest
	}
	if op.key {
		c.key = rest
		if !names.ValidKey(c.key) {
			return BadKey.says("%q: use tokens of A-Z a-z 0-9 _ / = - joined by single dots, %d bytes at most", c.key, names.KeyMax)
		}
		return nil
	}
	if more {
		return BadRequest.says("the subject goes on with %q, which %s does not take", rest, c.kind)
	}
	return nil
}
