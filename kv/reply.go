package kv

// Replies are JSON objects, never empty; an error is in the body, where people and scripts see it, and in the service headers,
// where NATS libraries look (ADR-7, ADR-32).

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/names"
	"github.com/raftbus/raftbus/kv/internal/stamp"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
)

const (
	headerError     = "Nats-Service-Error"
	headerErrorCode = "Nats-Service-Error-Code"

	// headerReply with the value replyRaw, on a get, asks for the value as it is, with the rest in headers: for programs, and for
	// values that are too large as JSON.
	headerReply           = "Rb-Reply"
	replyRaw              = "raw"
	headerRevision        = "Rb-Revision"
	headerClusterRevision = "Rb-Cluster-Revision"
	headerTime            = "Rb-Time"

	// replyMarginBytes is kept free in a reply's message for headers and what surrounds a list.
	replyMarginBytes = 4 << 10
)

type writeReply struct {
	Bucket          string `json:"bucket"`
	Key             string `json:"key"`
	Revision        uint64 `json:"revision"`
	ClusterRevision uint64 `json:"cluster_revision"`
	Duplicate       bool   `json:"duplicate,omitempty"` // of a write that had been done under the same message id
}

type getReply struct {
	writeReply
	valueReply
	Time string `json:"time"`
}

// localReply is that of a read which may be behind: it reflects the log up to an entry, of that age.
type localReply struct {
	getReply
	Read    string `json:"read"`
	Applied uint64 `json:"applied"`
	AgeMS   int64  `json:"age_ms"`
}

// valueReply is a value as JSON can hold it.
type valueReply struct {
	Value       *string `json:"value,omitempty"`
	ValueBase64 *string `json:"value_base64,omitempty"`
}

type historyReply struct {
	Bucket  string         `json:"bucket"`
	Key     string         `json:"key"`
	Entries []historyEntry `json:"entries"`
	More    bool           `json:"more,omitempty"`
	After   uint64         `json:"after,omitempty"`
}

type historyEntry struct {
	Revision        uint64 `json:"revision"`
	ClusterRevision uint64 `json:"cluster_revision"`
	Operation       string `json:"operation"` // put, delete, purge
	valueReply
	Time string `json:"time"`
}

type bucketReply struct {
	Bucket          string `json:"bucket"`
	ClusterRevision uint64 `json:"cluster_revision"`
}

type infoReply struct {
	Bucket string `json:"bucket"`
	settings
	Created         string `json:"created"`
	Revision        uint64 `json:"revision"`
	ClusterRevision uint64 `json:"cluster_revision"`
	Keys            uint64 `json:"keys"`
	Values          uint64 `json:"values"`
	Bytes           uint64 `json:"bytes"`
	Importing       bool   `json:"importing,omitempty"`
}

type keysReply struct {
	Bucket string   `json:"bucket"`
	Keys   []string `json:"keys"`
	More   bool     `json:"more,omitempty"`
	After  string   `json:"after,omitempty"`
}

type bucketsReply struct {
	Buckets []string `json:"buckets"`
	More    bool     `json:"more,omitempty"`
	After   string   `json:"after,omitempty"`
}

type failureReply struct {
	Type  string   `json:"type"`
	Error *failure `json:"error"`
}

func newGetReply(bucket string, e store.Entry) getReply {
	w := writeReply{Bucket: bucket, Key: e.Key, Revision: e.Sequence, ClusterRevision: e.Revision}
	return getReply{w, newValueReply(e.Value), stamp.Text(e.Time)}
}

func newValueReply(value []byte) valueReply {
	text := string(value)
	if utf8.ValidString(text) {
		return valueReply{Value: &text}
	}
	text = base64.StdEncoding.EncodeToString(value)
	return valueReply{ValueBase64: &text}
}

func newHistoryEntry(e store.Entry) historyEntry {
	h := historyEntry{Revision: e.Sequence, ClusterRevision: e.Revision, Operation: jetstream.OperationOf(&e), Time: stamp.Text(e.Time)}
	if e.Op == command.Put {
		h.valueReply = newValueReply(e.Value)
	}
	return h
}

// rawReply is the reply to a get that asked for the value as it is.
func rawReply(e store.Entry) reply {
	return reply{data: e.Value, header: nats.Header{
		headerRevision:        {strconv.FormatUint(e.Sequence, 10)},
		headerClusterRevision: {strconv.FormatUint(e.Revision, 10)},
		headerTime:            {stamp.Text(e.Time)},
	}}
}

func newInfoReply(b store.BucketInfo) infoReply {
	return infoReply{
		Bucket: b.Name, settings: settingsOf(&b.Settings), Created: stamp.Text(b.Created),
		Revision: b.Sequence, ClusterRevision: b.Incarnation, Keys: b.Keys, Values: b.Entries, Bytes: b.Bytes, Importing: b.Importing,
	}
}

// encode writes a reply as JSON, with < > & as they are: people read it.
func encode(reply any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(reply)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// message makes the message that answers a call: a reply, or a failure. A reply that the bus cannot carry becomes a
// failure, since publishing it would fail, and nobody would hear of it.
func (s *Service) message(body any, c *call, f *failure) []reply {
	if f == nil {
		var m reply
		if m, f = s.success(body); f == nil {
			return []reply{m}
		}
	}
	s.figures.failed(nativeDoor(c.kind), f.ErrCode)
	data, _ := encode(failureReply{"io.raftbus.kv.v1." + c.kind + "_response", f}) // never fails: a failure is numbers and a string
	return []reply{{data: data, header: nats.Header{
		headerError:     {headerText(f.Description)},
		headerErrorCode: {strconv.Itoa(f.Code)},
	}}}
}

func (s *Service) success(body any) (reply, *failure) {
	if raw, is := body.(reply); is {
		return raw, s.tooLarge(raw)
	}
	data, err := encode(body)
	if err != nil {
		return reply{}, ReadFailed.says("%v", err)
	}
	if limit := s.maxPayload() - replyMarginBytes; int64(len(data)) > limit {
		return reply{}, TooLarge.says("the reply has %d bytes as JSON, and the bus carries %d: for the bare value, get it with the header %s: %s, and without %s",
			len(data), limit, headerReply, replyRaw, headerRead)
	}
	return reply{data: data}, nil
}

// tooLarge is of a raw value: one that fitted in a message with its put's headers fits with ours, unless max_payload was lowered since (F11).
func (s *Service) tooLarge(raw reply) *failure {
	if size, limit := raw.size(), s.maxPayload(); int64(size) > limit {
		return TooLarge.says("the value and its headers have %d bytes, and the bus carries %d now: raise max_payload of the NATS servers", size, limit)
	}
	return nil
}

// headerText makes a text fit for a header: it may quote what a client sent.
func headerText(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, s)
}

// fitting is how many of the names fit in a reply.
func (s *Service) fitting(list []string) int {
	room := s.maxPayload() - 2*replyMarginBytes
	for i, name := range list {
		if room -= int64(names.JSONBytesMax(name) + len(",")); room < 0 {
			return max(i, 1)
		}
	}
	return len(list)
}

// cut shortens a page to what fits in a reply.
func (s *Service) cut(p store.Page) store.Page {
	if n := s.fitting(p.Names); n < len(p.Names) {
		p.Names, p.More = p.Names[:n], true
		p.After = p.Names[n-1]
	}
	if !p.More {
		p.After = ""
	}
	if p.Names == nil {
		p.Names = []string{}
	}
	return p
}
