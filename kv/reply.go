package kv

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/store"
)

// Replies are JSON objects, never empty; an error is in the body, where people and scripts see it, and in the service headers,
// where NATS libraries look (ADR-7, ADR-32).

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
}

type getReply struct {
	writeReply
	Value       *string `json:"value,omitempty"`
	ValueBase64 *string `json:"value_base64,omitempty"`
	Time        string  `json:"time"`
}

type bucketReply struct {
	Bucket          string `json:"bucket"`
	ClusterRevision uint64 `json:"cluster_revision"`
}

type infoReply struct {
	Bucket          string            `json:"bucket"`
	History         uint64            `json:"history"`
	MaxValueSize    uint64            `json:"max_value_size,omitempty"`
	MaxBytes        uint64            `json:"max_bytes,omitempty"`
	Description     string            `json:"description,omitempty"`
	Metadata        map[string]string `json:"metadata,omitempty"`
	Created         string            `json:"created"`
	Revision        uint64            `json:"revision"`
	ClusterRevision uint64            `json:"cluster_revision"`
	Keys            uint64            `json:"keys"`
	Values          uint64            `json:"values"`
	Bytes           uint64            `json:"bytes"`
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
	reply := getReply{writeReply: writeReply{bucket, e.Key, e.Sequence, e.Revision}, Time: timeText(e.Time)}
	if text := string(e.Value); utf8.ValidString(text) {
		reply.Value = &text
	} else {
		text = base64.StdEncoding.EncodeToString(e.Value)
		reply.ValueBase64 = &text
	}
	return reply
}

// rawReply is the reply to a get that asked for the value as it is.
func rawReply(e store.Entry) *nats.Msg {
	return &nats.Msg{Data: e.Value, Header: nats.Header{
		headerRevision:        {strconv.FormatUint(e.Sequence, 10)},
		headerClusterRevision: {strconv.FormatUint(e.Revision, 10)},
		headerTime:            {timeText(e.Time)},
	}}
}

func newInfoReply(b store.BucketInfo) infoReply {
	return infoReply{
		Bucket: b.Name, History: max(b.Settings.History, 1), MaxValueSize: b.Settings.MaxValueSize, MaxBytes: b.Settings.MaxBytes,
		Description: b.Settings.Description, Metadata: b.Settings.Metadata, Created: timeText(b.Created),
		Revision: b.Sequence, ClusterRevision: b.Incarnation, Keys: b.Keys, Values: b.Entries, Bytes: b.Bytes,
	}
}

func timeText(nanoseconds int64) string {
	return time.Unix(0, nanoseconds).UTC().Format(time.RFC3339Nano)
}

// encode writes a reply as JSON, with < > & as they are: people read it.
func encode(reply any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(reply)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// message makes the message that answers a request: a reply, or a failure. A reply that the bus cannot carry becomes a
// failure, since publishing it would fail, and nobody would hear of it.
func (s *Service) message(r *request, reply any, f *failure) *nats.Msg {
	if f == nil {
		var m *nats.Msg
		if m, f = s.success(reply); f == nil {
			m.Subject = r.msg.Reply
			return m
		}
	}
	body, err := encode(failureReply{"io.raftbus.kv.v1." + r.kind + "_response", f})
	if err != nil {
		body = []byte(`{}`) // cannot be: a failure is numbers and a string
	}
	return &nats.Msg{Subject: r.msg.Reply, Data: body, Header: nats.Header{
		headerError:     {headerText(f.Description)},
		headerErrorCode: {strconv.Itoa(f.Code)},
	}}
}

func (s *Service) success(reply any) (*nats.Msg, *failure) {
	if raw, is := reply.(*nats.Msg); is {
		return raw, nil // a value that fitted in a message with its put's headers fits with ours
	}
	body, err := encode(reply)
	if err != nil {
		return nil, ReadFailed.says("%v", err)
	}
	if limit := s.conn.MaxPayload() - replyMarginBytes; int64(len(body)) > limit {
		return nil, TooLarge.says("the reply has %d bytes as JSON, and the bus carries %d: for the bare value, get it with the header %s: %s",
			len(body), limit, headerReply, replyRaw)
	}
	return &nats.Msg{Data: body}, nil
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
func (s *Service) fitting(names []string) int {
	room := s.conn.MaxPayload() - 2*replyMarginBytes
	for i, name := range names {
		if room -= int64(len(name)) + 3; room < 0 {
			return max(i, 1)
		}
	}
	return len(names)
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
