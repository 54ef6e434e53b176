package jetstream

// Puts: section 4 of the specification. A put is a message on the key's subject; what it does to the key is in its headers.

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/headers"
	"github.com/raftbus/raftbus/kv/internal/names"
	"github.com/raftbus/raftbus/kv/store"
)

// refusedHeaders ask for what a bucket does not do, unless they are empty.
var refusedHeaders = []struct {
	name string
	err  *apiError
}{
	{"Nats-Incr", errNoCounters},
	{"Nats-Batch-Id", errNoAtomic},
	{"Nats-Schedule", errNoSchedules},
	{"Nats-Schedule-Next", errNoSchedules},
	{"Nats-Scheduler", errNoSchedules},
	{"Nats-Stream-Source", errSourceHeader},
}

// put plans a put to what follows $KV. in a subject. One to a bucket that is not there is not logged: what is published there may
// be meant for others.
func (p *Protocol) put(r Request, rest string) Plan {
	bucket, key, is := strings.Cut(rest, ".")
	if !is || !names.ValidBucket(bucket) {
		return answer(status(statusNone)) // no stream has this subject
	}
	w, e := r.write(bucket, key)
	if e != nil {
		return p.refusedPut(bucket, r.first(headerMsgID), e)
	}
	write := Plan{Write: &Write{
		Command: command.Command{Write: w},
		Done:    func(_ *store.Store, result store.Result) Plan { return answer(p.putDone(bucket, result)) },
	}}
	plan := Plan{Bucket: bucket, Write: write.Write, Look: ifThere(bucket, write), Writes: true, Trouble: putTrouble(bucket)}
	if w.Rollup != command.RollupNone {
		plan.Rollup, plan.Look = true, p.ifRollups(w, write)
	}
	return plan
}

// refusedPut is a put that is refused by itself, which is said only for a bucket that is there, as of all puts. What is too large now may have been done
// when more was carried, and be taken by another that leads meanwhile (K25).
func (p *Protocol) refusedPut(bucket, id string, e *apiError) Plan {
	plan := Plan{Look: ifThere(bucket, answer(putRefusal(bucket, e))), Quick: true, Trouble: putTrouble(bucket)}
	if e == errMessageTooLarge {
		plan.Writes, plan.Look = true, func(s *store.Store) Plan { return p.unlessDone(s, bucket, id, e) }
	}
	return plan
}

// unlessDone refuses a put, but one of whose message id one was done: that is answered as then (C4).
func (p *Protocol) unlessDone(s *store.Store, bucket, id string, refused *apiError) Plan {
	switch then, err := s.Answered(bucket, id); {
	case err == store.NoBucket:
		return answer(status(statusNone))
	case err != nil:
		return answer(putRefusal(bucket, errUnavailable))
	case then.Again:
		return answer(p.putDone(bucket, then))
	}
	return answer(putRefusal(bucket, refused))
}

// ifThere goes on with a put to a bucket that is there.
func ifThere(bucket string, then Plan) func(*store.Store) Plan {
	return func(s *store.Store) Plan {
		if _, err := s.Bucket(bucket); err == store.NoBucket {
			return answer(status(statusNone))
		}
		return then
	}
}

// ifRollups goes on with a put that drops what was before it, to a bucket that is there and takes such, or has taken this one (C4). One that comes while
// the configuration changes, or before a new leader has applied that, may be taken by the one before: to judge it where it is applied would need a new version of commands.
func (p *Protocol) ifRollups(w *command.Write, then Plan) func(*store.Store) Plan {
	return func(s *store.Store) Plan {
		switch info, err := s.Bucket(w.Bucket); {
		case err == store.NoBucket:
			return answer(status(statusNone))
		case err != nil:
			return answer(putRefusal(w.Bucket, errUnavailable))
		case !TakesRollups(&info.Settings):
			return p.unlessDone(s, w.Bucket, w.MsgID, errRollupDenied)
		}
		return then
	}
}

func putTrouble(bucket string) func(Trouble) Reply {
	return func(t Trouble) Reply { return putRefusal(bucket, troubleError(t)) }
}

func (p *Protocol) putDone(bucket string, r store.Result) Reply {
	switch r.Code {
	case store.Done:
		return p.ack(bucket, r)
	case store.NoBucket:
		return status(statusNone)
	}
	return putRefusal(bucket, putError(r))
}

// PayloadReserve is what a value, with its headers, leaves free in a message of the bus, for what is sent with it when it is read (design section 4).
const PayloadReserve = 8 << 10

// write makes the command of a put.
func (r Request) write(bucket, key string) (*command.Write, *apiError) {
	switch {
	case r.Broken:
		return nil, errBadRequest
	case r.Long:
		return nil, errHeadersTooLong
	}
	if !names.ValidSubject(key) {
		return nil, errBadKey.says(errBadKey.Description, key)
	}
	if e := r.checkHeaders(bucket, key); e != nil {
		return nil, e
	}
	if id := r.first(headerMsgID); len(id) > command.MsgIDBytesMax {
		return nil, errBadRequest.says("bad request: header %s may have %d bytes, and has %d", headerMsgID, command.MsgIDBytesMax, len(id))
	}
	// What is harmless is decided here, before the log: members of several releases store the same (F28).
	w := &command.Write{Bucket: bucket, Key: key, Value: r.Data, Header: headers.Harmless(Block(r.Header), len(r.Data) == 0), MsgID: r.first(headerMsgID), LastMsgID: r.first(headerExpectedMsgID)}
	switch {
	case len(w.Header) > headersBytesMax:
		return nil, errHeadersTooLarge
	case len(w.Header)+len(w.Value) > r.PayloadMax-PayloadReserve:
		return nil, errMessageTooLarge
	}
	w.Op = r.op()
	if v := r.first(headerExpectedSubject); v != "" {
		w.Condition, w.Sequence = command.IfSequence, number(v)
	}
	if v := r.first(headerExpectedLast); v != "" {
		n := number(v)
		w.LastSequence = &n
	}
	return w, r.effects(w)
}

// op is what a message is to readers of its key. One that says why it marks the key is as the markers of a server.
func (r Request) op() command.Op {
	switch {
	case r.first(headerOperation) == headerOperationDelete:
		return command.Delete
	case r.first(headerOperation) == headerOperationPurge, r.first(headerMarkerReason) != "":
		return command.Purge
	}
	return command.Put
}

// checkHeaders refuses what a message asks for by itself.
func (r Request) checkHeaders(bucket, key string) *apiError {
	if len(r.Header) == 0 {
		return nil // as of most puts
	}
	if stream := r.first(headerExpectedStream); stream != "" && stream != streamOf(bucket) {
		return errExpectedStream
	}
	for name := range r.Header {
		if !validHeaderName(name) {
			return errBadRequest.says("bad request: header name %q: use letters, digits and any of ! # $ %% & ' * + - . ^ _ ` | ~", name)
		}
	}
	for _, refused := range refusedHeaders {
		if r.first(refused.name) != "" {
			return refused.err
		}
	}
	if of := r.first(headerExpectedOfSubject); of != "" {
		if r.first(headerExpectedSubject) == "" {
			return errExpectedSubject
		}
		if of != subjectOf(bucket, key) {
			return errBadRequest.says("bad request: %s can name the message's own subject only", headerExpectedOfSubject)
		}
	}
	return nil
}

// effects reads what a message does beside being stored.
func (r Request) effects(w *command.Write) *apiError {
	if ttl := r.first(headerTTL); ttl != "" {
		var ok bool
		if w.TTL, ok = ParseTTL(ttl); !ok {
			return errTTLInvalid
		}
	}
	switch rollup := strings.ToLower(r.first(headerRollup)); rollup {
	case "":
	case headerRollupOfKey:
		w.Rollup = command.RollupKey
	case headerRollupOfWholeBucket:
		w.Rollup = command.RollupBucket
	default:
		return errRollup.says(errRollup.Description, rollup)
	}
	return nil
}

// number reads a sequence; what is none equals no sequence.
func number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return math.MaxUint64
	}
	return n
}

// ttlMax keeps times from overflowing: it is for ever enough.
const ttlMax = 100 * 365 * 24 * time.Hour

// ParseTTL reads a time to live: a duration of Go, whole seconds, or never. It counts in whole seconds.
func ParseTTL(text string) (ttl time.Duration, ok bool) {
	if strings.EqualFold(text, "never") {
		return command.Never, true
	}
	ttl, err := time.ParseDuration(text)
	if err != nil {
		seconds, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return 0, false
		}
		ttl = time.Duration(min(seconds, uint64(ttlMax/time.Second))) * time.Second
	}
	if ttl < time.Second {
		return 0, false
	}
	return min(ttl.Truncate(time.Second), ttlMax), true
}

// ack is the answer to a put that was stored, or had been before under the same message id.
func (p *Protocol) ack(bucket string, r store.Result) Reply {
	b := make([]byte, 0, 96)
	b = append(b, `{"stream":"`...)
	b = append(b, streamOf(bucket)...)
	if p.Domain != "" {
		b = append(b, `","domain":"`...)
		b = append(b, p.Domain...)
	}
	b = append(b, `","seq":`...)
	b = strconv.AppendUint(b, r.Sequence, 10)
	if r.Again {
		b = append(b, `,"duplicate":true`...)
	}
	return Reply{Data: append(b, '}')}
}

type putRefused struct {
	Error    *apiError `json:"error"`
	Stream   string    `json:"stream"`
	Sequence uint64    `json:"seq"`
}

// putRefusal is the answer to a put that was not stored.
func putRefusal(bucket string, e *apiError) Reply {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(putRefused{e, streamOf(bucket), 0}) // plain strings, into memory
	return Reply{Data: bytes.TrimSuffix(b.Bytes(), []byte("\n"))}
}

// putError is the store's refusal of a put.
func putError(r store.Result) *apiError {
	switch r.Code {
	case store.WrongRevision, store.WrongLastSequence:
		return errWrongLast.says(errWrongLast.Description, r.Current)
	case store.WrongLastID:
		return errWrongLastMsgID.says(errWrongLastMsgID.Description, r.MsgID)
	case store.ValueTooLarge, store.MessageTooLarge:
		return errMessageTooLarge
	case store.BucketFull:
		return errBucketFull
	case store.TTLDisabled:
		return errTTLDisabled
	case store.Importing:
		return errImporting
	case store.ReadOnly:
		return errReadOnly
	}
	return errBadRequest.says("bad request: %v", r.Code)
}
