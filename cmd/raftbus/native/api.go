package native

// The operations of the native subjects and what they answer, as Go values.

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/command"
)

// Entry is what a key has, or had, at a revision.
type Entry struct {
	Bucket          string  `json:"bucket"`
	Key             string  `json:"key"`
	Revision        uint64  `json:"revision"`
	ClusterRevision uint64  `json:"cluster_revision"`
	Operation       string  `json:"operation,omitempty"` // put, delete, purge; of a history and of a watch
	Text            *string `json:"value,omitempty"`
	Base64          *string `json:"value_base64,omitempty"`
	Time            string  `json:"time"`
	Read            string  `json:"read,omitempty"` // local: it may be behind
	Applied         uint64  `json:"applied,omitempty"`
	AgeMS           int64   `json:"age_ms,omitempty"`
}

// Value is the value as it is.
func (e *Entry) Value() []byte {
	switch {
	case e.Text != nil:
		return []byte(*e.Text)
	case e.Base64 != nil:
		value, _ := base64.StdEncoding.DecodeString(*e.Base64) // the leader encoded it
		return value
	}
	return nil
}

// Written is what a write answers.
type Written struct {
	Bucket          string `json:"bucket"`
	Key             string `json:"key,omitempty"`
	Revision        uint64 `json:"revision,omitempty"`
	ClusterRevision uint64 `json:"cluster_revision"`
	Duplicate       bool   `json:"duplicate,omitempty"` // done before, under the same message id
}

// Info is what a bucket is.
type Info struct {
	Bucket          string            `json:"bucket"`
	History         uint64            `json:"history"`
	TTL             string            `json:"ttl,omitempty"`
	MaxValueSize    uint64            `json:"max_value_size,omitempty"`
	MaxBytes        uint64            `json:"max_bytes,omitempty"`
	AllowTTL        bool              `json:"allow_ttl,omitempty"`
	MarkerTTL       string            `json:"marker_ttl,omitempty"`
	DuplicateWindow string            `json:"duplicate_window,omitempty"`
	Description     string            `json:"description,omitempty"`
	Metadata        map[string]string `json:"metadata,omitempty"`
	Created         string            `json:"created"`
	Revision        uint64            `json:"revision"`
	ClusterRevision uint64            `json:"cluster_revision"`
	Keys            uint64            `json:"keys"`
	Values          uint64            `json:"values"`
	Bytes           uint64            `json:"bytes"`
	ReadOnly        bool              `json:"read_only,omitempty"`
	Importing       bool              `json:"importing,omitempty"`
}

// Window is how long the bucket remembers a message id.
func (i *Info) Window() time.Duration {
	s := command.Settings{}
	s.TTL, _ = time.ParseDuration(i.TTL) // absent: none
	s.DuplicateWindow, _ = time.ParseDuration(i.DuplicateWindow)
	return s.Window()
}

// into asks, and decodes the answer.
func (c *Client) into(ctx context.Context, r Request, answer any) error {
	m, err := c.Ask(ctx, r)
	if err != nil {
		return err
	}
	return json.Unmarshal(m.Data, answer)
}

// Info asks what a bucket is.
func (c *Client) Info(ctx context.Context, bucket string) (i Info, err error) {
	return i, c.into(ctx, Request{Subject: "bucket.info." + bucket, Read: true}, &i)
}

// Bucket adds, updates or removes a bucket: op is add, update or rm. A repetition could not tell its own work from another's, so there is none.
func (c *Client) Bucket(ctx context.Context, op, bucket string, settings map[string]any) (w Written, err error) {
	r := Request{Subject: "bucket." + op + "." + bucket}
	if settings != nil {
		if r.Body, err = json.Marshal(settings); err != nil {
			return w, err
		}
	}
	return w, c.into(ctx, r, &w)
}

// Write does a write: op is put, create, update, delete or purge.
func (c *Client) Write(ctx context.Context, op, bucket, key string, value []byte, header nats.Header) (w Written, err error) {
	r := Request{Subject: "kv." + op + "." + bucket + "." + key, Header: header, Body: value}
	if header.Get(nats.MsgIdHdr) != "" {
		r.Again = c.Once(bucket)
	}
	return w, c.into(ctx, r, &w)
}

// Get reads a key; local: what the leader has, without asking a quorum.
func (c *Client) Get(ctx context.Context, bucket, key string, local bool) (e Entry, err error) {
	r := Request{Subject: "kv.get." + bucket + "." + key, Read: true, Header: nats.Header{"Rb-Reply": {"raw"}}}
	if local {
		r.Header = nats.Header{"Rb-Read": {"local"}}
	}
	m, err := c.Ask(ctx, r)
	if err != nil {
		return e, err
	}
	if m.Header.Get("Rb-Revision") == "" {
		return e, json.Unmarshal(m.Data, &e)
	}
	return fromHeaders(bucket, key, m)
}

// fromHeaders is the entry of a raw answer.
func fromHeaders(bucket, key string, m *nats.Msg) (e Entry, err error) {
	e = Entry{Bucket: bucket, Key: key, Time: m.Header.Get("Rb-Time")}
	e.SetValue(m.Data)
	if e.Revision, err = strconv.ParseUint(m.Header.Get("Rb-Revision"), 10, 64); err != nil {
		return e, err
	}
	e.ClusterRevision, err = strconv.ParseUint(m.Header.Get("Rb-Cluster-Revision"), 10, 64)
	return e, err
}

// History reads a page of a key's entries, the oldest first: those after a revision, so many at most. next is where the next page
// begins, 0 at the end.
func (c *Client) History(ctx context.Context, bucket, key string, after uint64, limit int) (entries []Entry, next uint64, err error) {
	body, err := json.Marshal(map[string]any{"after": after, "limit": limit})
	if err != nil {
		return nil, 0, err
	}
	var page struct {
		Entries []Entry `json:"entries"`
		After   uint64  `json:"after"`
	}
	err = c.into(ctx, Request{Subject: "kv.history." + bucket + "." + key, Read: true, Body: body}, &page)
	for i := range page.Entries {
		page.Entries[i].Bucket, page.Entries[i].Key = bucket, key
	}
	return page.Entries, page.After, err
}

// Page asks for names in order: the keys of a bucket, or the buckets if that is empty.
type Page struct {
	Bucket string `json:"-"`
	Prefix string `json:"prefix"`
	After  string `json:"after"`
	Limit  int    `json:"limit"`
}

// Names reads a page. next is where the next page begins, empty at the end.
func (c *Client) Names(ctx context.Context, p Page) (names []string, next string, err error) {
	body, err := json.Marshal(p)
	if err != nil {
		return nil, "", err
	}
	subject := "bucket.ls"
	if p.Bucket != "" {
		subject = "kv.keys." + p.Bucket
	}
	var page struct {
		Keys    []string `json:"keys"`
		Buckets []string `json:"buckets"`
		After   string   `json:"after"`
	}
	err = c.into(ctx, Request{Subject: subject, Read: true, Body: body}, &page)
	return append(page.Keys, page.Buckets...), page.After, err
}
