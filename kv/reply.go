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
		body, err := encode(reply)
		limit := s.conn.MaxPayload() - replyMarginBytes
		switch {
		case err != nil:
			f = ReadFailed.says("%v", err)
		case int64(len(body)) > limit:
			f = TooLarge.says("the reply has %d bytes as JSON, and the bus carries %d", len(body), limit)
		default:
			return &nats.Msg{Subject: r.msg.Reply, Data: body}
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
