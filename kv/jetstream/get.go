package jetstream

// Gets: section 5 of the specification. Both forms find a message in the same ways, and tell of it differently.

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/subject"
)

// getRequest is the body of both.
type getRequest struct {
	Seq       uint64     `json:"seq"`
	LastFor   string     `json:"last_by_subj"`
	NextFor   string     `json:"next_by_subj"`
	Batch     int        `json:"batch"`
	MaxBytes  int        `json:"max_bytes"`
	StartTime *time.Time `json:"start_time"`
	MultiLast []string   `json:"multi_last"`
	UpToSeq   uint64     `json:"up_to_seq"`
	UpToTime  *time.Time `json:"up_to_time"`
	NoHeaders bool       `json:"no_hdr"`
}

// find finds the message that is asked for. The error is NoEntry if there is none, NoBucket, or ErrUnwanted if it had to search.
func (g *getRequest) find(s *store.Store, bucket string, wanted func() bool) (store.Entry, error) {
	switch {
	case isWild(g.LastFor):
		filter, err := subject.Under(subjectPrefix+bucket, g.LastFor)
		if err != nil {
			return none(s, bucket)
		}
		return s.LastMatch(bucket, filter, wanted)
	case g.LastFor != "":
		return none(s, bucket)
	case g.NextFor != "" || g.StartTime != nil:
		return g.next(s, bucket, wanted)
	default:
		return s.Message(bucket, g.Seq)
	}
}

// newest is the key whose newest entry is asked for; false: something else is.
func (g *getRequest) newest(bucket string) (newest Newest, is bool) {
	if isWild(g.LastFor) {
		return Newest{}, false
	}
	key, is := strings.CutPrefix(g.LastFor, subjectPrefix+bucket+".")
	return Newest{bucket, key}, is
}

// next finds the first message from a sequence or a time on.
func (g *getRequest) next(s *store.Store, bucket string, wanted func() bool) (store.Entry, error) {
	filter, err := g.nextFilter(bucket)
	switch {
	case err != nil:
		return none(s, bucket)
	case g.StartTime != nil:
		return s.NextSince(bucket, g.StartTime.UnixNano(), filter, wanted)
	}
	return s.Next(bucket, g.Seq, filter, wanted)
}

// nextFilter is of the keys that the next message may be of.
func (g *getRequest) nextFilter(bucket string) (subject.Filter, error) {
	if g.NextFor == "" {
		return subject.Filter{}, nil
	}
	return subject.Under(subjectPrefix+bucket, g.NextFor)
}

// searches reports whether find may have to look at all of a bucket.
func (g *getRequest) searches() bool {
	return isWild(g.LastFor) || isWild(g.NextFor) || g.StartTime != nil
}

// always is for what needs no search.
func always() bool { return true }

// isWild reports whether a subject may stand for others too.
func isWild(text string) bool { return strings.ContainsAny(text, "*>") }

// none is no message, of a bucket that is there.
func none(s *store.Store, bucket string) (store.Entry, error) {
	_, err := s.Bucket(bucket)
	return store.Entry{}, cmp.Or[error](err, store.NoEntry)
}

// conflicts reports whether a body asks for two messages at a time.
func (g *getRequest) conflicts() bool {
	last, next, at := g.LastFor != "", g.NextFor != "", g.StartTime != nil
	return g.Seq > 0 && (last || at) || last && (at || next)
}

// conflictsOfMany does so where a body may ask for many.
func (g *getRequest) conflictsOfMany() bool {
	last, next, lasts := g.LastFor != "", g.NextFor != "", len(g.MultiLast) > 0
	return last && (g.Batch > 0 || lasts) || next && lasts || g.UpToSeq > 0 && g.UpToTime != nil
}

// nothing reports whether a body does not say which message is asked for.
func (g *getRequest) nothing() bool {
	return g.Seq == 0 && g.LastFor == "" && g.NextFor == "" && g.StartTime == nil
}

// directGet answers with the message itself.
func (p *Protocol) directGet(c call) Plan {
	get, refused := c.direct()
	switch {
	case refused != "": // which nobody says where nobody listens
		return c.look(func(*store.Store, store.BucketInfo) Plan { return answer(status(refused)) })
	case c.bucket == "":
		return c.refuse(errNoStream)
	}
	bucket := c.bucket // and no more of the call is kept: this is every get's path
	switch {
	case len(get.MultiLast) > 0 || get.Batch != 0:
		return get.many(bucket)
	case get.searches():
		return Plan{Search: func(s *store.Store, wanted func() bool) Plan { return get.answered(s, bucket, wanted) }}
	}
	if newest, is := get.newest(bucket); is {
		return Plan{Newest: newest, Tell: func(e store.Entry, err error) Plan { return get.answer(bucket, e, err) }}
	}
	return Plan{Look: func(s *store.Store) Plan { return get.answered(s, bucket, always) }}
}

// answered finds what a direct get asks for, and says it.
func (g *getRequest) answered(s *store.Store, bucket string, wanted func() bool) Plan {
	e, err := g.find(s, bucket, wanted)
	return g.answer(bucket, e, err)
}

func (g *getRequest) answer(bucket string, e store.Entry, err error) Plan {
	switch {
	case err == store.NoEntry:
		return answer(status(statusNotFound))
	case err != nil:
		return answer(status(statusNone))
	}
	return answer(direct(bucket, e, !g.NoHeaders))
}

// direct reads what a direct get asks for: the subject says it, or the body.
func (c call) direct() (*getRequest, string) {
	var get getRequest
	if c.rest == "" && len(c.Data) == 0 {
		return nil, statusEmpty
	}
	if len(c.Data) > bodyBytesMax || len(c.Data) > 0 && json.Unmarshal(c.Data, &get) != nil {
		return nil, statusMalformed
	}
	if c.rest != "" {
		if !get.nothing() || len(get.MultiLast) > 0 || get.Batch != 0 || get.UpToSeq != 0 || get.UpToTime != nil {
			return nil, statusBadRequest
		}
		get.LastFor = c.rest
	}
	switch {
	case get.nothing() && len(get.MultiLast) == 0:
		return nil, statusEmpty
	case get.conflicts() || get.conflictsOfMany():
		return nil, statusBadRequest
	}
	return &get, ""
}

// direct is what a direct get answers: a message, in the form that costs least.
func direct(bucket string, e store.Entry, headers bool) Reply {
	if headers && HeaderOf(e) == nil {
		return Reply{Block: messageBlock(bucket, e), Data: e.Value}
	}
	return message(bucket, e, headers)
}

// message is a stored message with its headers.
func message(bucket string, e store.Entry, headers bool) Reply {
	if !headers {
		return Reply{Data: e.Value}
	}
	header := parseBlock(HeaderOf(e))
	header[headerStream] = []string{streamOf(bucket)}
	header[headerSubject] = []string{subjectOf(bucket, e.Key)}
	header[headerSequence] = []string{strconv.FormatUint(e.Sequence, 10)}
	header[headerTimeStamp] = []string{timeOf(e.Time).Format(time.RFC3339Nano)}
	return Reply{Header: header, Data: e.Value}
}

// messageBlock is the headers of a message that has none of its own, which most have not.
func messageBlock(bucket string, e store.Entry) []byte {
	b := make([]byte, 0, len(bucket)+len(e.Key)+blockFixedBytes)
	b = append(b, headerBlockLine+headerSequence+headerSeparator...)
	b = strconv.AppendUint(b, e.Sequence, 10)
	b = append(append(b, headerBlockEnd+headerStream+headerSeparator+streamPrefix...), bucket...)
	b = append(append(b, headerBlockEnd+headerSubject+headerSeparator+subjectPrefix...), bucket...)
	b = append(append(b, '.'), e.Key...)
	b = append(b, headerBlockEnd+headerTimeStamp+headerSeparator...)
	b = timeOf(e.Time).AppendFormat(b, time.RFC3339Nano)
	return append(b, headerBlockEnd+headerBlockEnd...)
}

// blockFixedBytes is more than messageBlock needs beside names.
const blockFixedBytes = 200

type messageReply struct {
	head
	Message storedMessage `json:"message"`
}

type storedMessage struct {
	Subject  string    `json:"subject"`
	Sequence uint64    `json:"seq"`
	Header   []byte    `json:"hdrs,omitempty"`
	Data     []byte    `json:"data,omitempty"`
	Time     time.Time `json:"time"`
}

// messageGet answers with the message in JSON.
func (p *Protocol) messageGet(c call) Plan {
	var get getRequest
	if isEmpty(c.Data) {
		return c.refuse(errBadRequest)
	}
	if e := decode(c.Data, &get); e != nil {
		return c.refuse(e)
	}
	if get.nothing() || get.conflicts() || get.Batch > 0 || get.MaxBytes > 0 { // whatever else is for many it passes over
		return c.refuse(errBadRequest)
	}
	if get.searches() {
		return c.search(func(s *store.Store, wanted func() bool) Plan { return get.told(s, c, wanted) })
	}
	if newest, is := get.newest(c.bucket); is && c.bucket != "" {
		return Plan{Newest: newest, Tell: func(e store.Entry, err error) Plan { return get.tell(c, e, err) }}
	}
	return c.look(func(s *store.Store, _ store.BucketInfo) Plan { return get.told(s, c, always) })
}

// told finds what a get asks for, and tells it in JSON.
func (g *getRequest) told(s *store.Store, c call, wanted func() bool) Plan {
	e, err := g.find(s, c.bucket, wanted)
	return g.tell(c, e, err)
}

func (g *getRequest) tell(c call, e store.Entry, err error) Plan {
	switch {
	case err == store.NoEntry:
		return c.refuse(errNoMessage)
	case err != nil:
		return c.refuse(readError(err))
	}
	m := storedMessage{Subject: subjectOf(c.bucket, e.Key), Sequence: e.Sequence, Header: HeaderOf(e), Data: e.Value, Time: timeOf(e.Time)}
	if g.NoHeaders {
		m.Header = nil
	}
	return answer(jsonReply(messageReply{headOf(c.verb), m}))
}

type deleteRequest struct {
	Seq     uint64 `json:"seq"`
	NoErase bool   `json:"no_erase"`
}

// messageDelete is refused: a bucket's history is not rewritten.
func (p *Protocol) messageDelete(c call) Plan {
	var body deleteRequest
	if isEmpty(c.Data) {
		return c.refuse(errBadRequest)
	}
	if e := decode(c.Data, &body); e != nil {
		return c.refuse(e)
	}
	return c.look(func(*store.Store, store.BucketInfo) Plan { return c.refuse(errDeleteForbidden) })
}
