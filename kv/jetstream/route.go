package jetstream

// From subjects to operations.

import (
	"strconv"
	"strings"

	"github.com/raftbus/raftbus/kv/internal/names"
	"github.com/raftbus/raftbus/kv/store"
)

// verb names an operation in the type of its replies.
type verb string

const (
	accountInfo    verb = "account_info"
	streamCreate   verb = "stream_create"
	streamUpdate   verb = "stream_update"
	streamInfo     verb = "stream_info"
	streamDelete   verb = "stream_delete"
	streamPurge    verb = "stream_purge"
	streamNames    verb = "stream_names"
	streamList     verb = "stream_list"
	messageGet     verb = "stream_msg_get"
	messageDelete  verb = "stream_msg_delete"
	consumerCreate verb = "consumer_create"
	consumerInfo   verb = "consumer_info"
	consumerDelete verb = "consumer_delete"
	consumerNames  verb = "consumer_names"
	consumerList   verb = "consumer_list"
	// These two have no JSON reply.
	directGet    verb = ""
	consumerNext verb = "consumer_msg_next"
)

// call is a request for an operation.
type call struct {
	Request
	verb     verb
	stream   string // as the subject names it
	bucket   string // whose stream it is; empty if no bucket could have it
	consumer string
	durable  bool   // asked for by the subject that was for durable consumers
	rest     string // of the subject
	account  string // as of the Protocol
}

// operation is a row of the table of operations.
type operation struct {
	verb verb
	// least and most tokens that follow the operation's: the stream's name, the consumer's, a subject.
	least, most int
	plan        func(*Protocol, call) Plan
}

// many is as many tokens as a subject has.
const many = 1 << 10

var operations = map[string]operation{
	"INFO":                    {accountInfo, 0, 0, (*Protocol).accountInfo},
	"STREAM.CREATE":           {streamCreate, 1, 1, (*Protocol).streamCreate},
	"STREAM.UPDATE":           {streamUpdate, 1, 1, (*Protocol).streamUpdate},
	"STREAM.INFO":             {streamInfo, 1, 1, (*Protocol).streamInfo},
	"STREAM.DELETE":           {streamDelete, 1, 1, (*Protocol).streamDelete},
	"STREAM.PURGE":            {streamPurge, 1, 1, (*Protocol).streamPurge},
	"STREAM.NAMES":            {streamNames, 0, 0, (*Protocol).streamNames},
	"STREAM.LIST":             {streamList, 0, 0, (*Protocol).streamList},
	"STREAM.MSG.GET":          {messageGet, 1, 1, (*Protocol).messageGet},
	"STREAM.MSG.DELETE":       {messageDelete, 1, 1, (*Protocol).messageDelete},
	"DIRECT.GET":              {directGet, 1, many, (*Protocol).directGet},
	"CONSUMER.CREATE":         {consumerCreate, 1, many, (*Protocol).consumerCreate},
	"CONSUMER.DURABLE.CREATE": {consumerCreate, 2, 2, (*Protocol).consumerDurable},
	"CONSUMER.INFO":           {consumerInfo, 2, 2, (*Protocol).consumerInfo},
	"CONSUMER.DELETE":         {consumerDelete, 2, 2, (*Protocol).consumerDelete},
	"CONSUMER.MSG.NEXT":       {consumerNext, 2, 2, (*Protocol).consumerNext},
	"CONSUMER.NAMES":          {consumerNames, 1, 1, (*Protocol).consumerNames},
	"CONSUMER.LIST":           {consumerList, 1, 1, (*Protocol).consumerList},
}

// verbTokensMax is how many tokens the longest name of an operation has.
const verbTokensMax = 3

// Plan says what a request needs to be answered.
func (p *Protocol) Plan(r Request) Plan {
	if rest, is := strings.CutPrefix(r.Subject, subjectPrefix); is {
		return p.put(r, rest)
	}
	op, rest, known := find(r.Subject)
	if !known {
		return answer(status(statusNone))
	}
	c := call{Request: r, verb: op.verb, account: p.Account}
	c.stream, rest, _ = strings.Cut(rest, ".")
	c.bucket, _ = bucketOf(c.stream)
	c.consumer, c.rest, _ = strings.Cut(rest, ".")
	if op.verb == directGet {
		c.consumer, c.rest = "", rest
	}
	return c.planned(p, op)
}

func (c call) planned(p *Protocol, op operation) Plan {
	switch level := c.first(headerLevel); {
	case c.Broken:
		return c.refuse(errBadRequest)
	case c.Long:
		return c.refuse(errHeadersTooLong)
	case level != "" && !offered(level):
		return c.refuse(errLevel)
	}
	plan := op.plan(p, c)
	plan.Trouble, plan.Writes = op.verb.trouble, op.verb.writes()
	return plan
}

// writes reports whether an operation may have something logged.
func (v verb) writes() bool {
	switch v {
	case streamCreate, streamUpdate, streamDelete, streamPurge, messageDelete, consumerCreate, consumerDelete:
		return true
	}
	return false
}

// find finds a subject's operation, and returns what follows its name.
func find(subject string) (op operation, rest string, known bool) {
	for n := verbTokensMax; n > 0; n-- {
		name, rest, more := cutTokens(subject, n)
		if op, known = operations[name]; known {
			args := 0
			if more {
				args = strings.Count(rest, ".") + 1
			}
			return op, rest, args >= op.least && args <= op.most
		}
	}
	return operation{}, "", false
}

// cutTokens cuts a subject behind so many tokens, or as many as it has.
func cutTokens(subject string, n int) (head, rest string, more bool) {
	for i := range len(subject) {
		if subject[i] != '.' {
			continue
		}
		if n--; n == 0 {
			return subject[:i], subject[i+1:], true
		}
	}
	return subject, "", false
}

// level is what of the API's levels is offered: higher ones announce atomic batches and counters.
const level = 1

// levelSince is the release of nats-server that came with it.
const levelSince = "2.11.0"

func offered(wanted string) bool {
	n, err := strconv.Atoi(wanted)
	return err == nil && n <= level
}

// refuse answers a call with an error, in its operation's form.
func (c call) refuse(e *apiError) Plan { return answer(c.verb.refuse(e)) }

func (v verb) refuse(e *apiError) Reply {
	if v != directGet && v != consumerNext {
		return refusal(v, e)
	}
	return status(statusOf(e))
}

// statusOf is an error as it is told where there is no JSON reply.
func statusOf(e *apiError) string {
	switch e {
	case errLevel:
		return statusLevel
	case errBadRequest:
		return statusBadRequest
	case errHeadersTooLong:
		return statusHeaders
	case errMessageTooLarge:
		return statusTooLarge
	}
	return statusNone
}

// look reads a bucket that must be there.
func (c call) look(read func(*store.Store, store.BucketInfo) Plan) Plan {
	if c.bucket == "" {
		return c.refuse(errNoStream)
	}
	return Plan{Look: func(s *store.Store) Plan {
		info, err := s.Bucket(c.bucket)
		if err != nil {
			return c.refuse(readError(err))
		}
		return read(s, info)
	}}
}

// search reads what may be all of a bucket that must be there.
func (c call) search(read func(s *store.Store, wanted func() bool) Plan) Plan {
	if c.bucket == "" {
		return c.refuse(errNoStream)
	}
	return Plan{Search: func(s *store.Store, wanted func() bool) Plan {
		if _, err := s.Bucket(c.bucket); err != nil {
			return c.refuse(readError(err))
		}
		return read(s, wanted)
	}}
}

func readError(err error) *apiError {
	if err == store.NoBucket {
		return errNoStream
	}
	return errUnavailable
}

const (
	streamPrefix  = "KV_"
	subjectPrefix = "$KV."
)

// bucketOf is the bucket that a stream is the name of.
func bucketOf(stream string) (bucket string, is bool) {
	bucket, is = strings.CutPrefix(stream, streamPrefix)
	if !is || !names.ValidBucket(bucket) {
		return "", false
	}
	return bucket, true
}

func streamOf(bucket string) string { return streamPrefix + bucket }

func subjectsOf(bucket string) string { return subjectPrefix + bucket + ".>" }

func subjectOf(bucket, key string) string { return subjectPrefix + bucket + "." + key }
