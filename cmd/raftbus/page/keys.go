package page

// The keys, read as any client reads them: over NATS, from who leads. Nothing here asks for anything but to read.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/kv"
)

const (
	askTime   = 5 * time.Second
	pageLimit = 100 // names at once
	limitMax  = 1000
)

func (p *page) buckets(w http.ResponseWriter, r *http.Request) {
	if body, ok := paging(w, r); ok {
		p.ask(w, r, busclient.FamilyBucket+".ls", nil, body)
	}
}

func (p *page) keys(w http.ResponseWriter, r *http.Request) {
	bucket, ok := bucketOf(w, r)
	if !ok {
		return
	}
	if body, ok := paging(w, r); ok {
		p.ask(w, r, busclient.FamilyKV+".keys."+bucket, nil, body)
	}
}

func (p *page) value(w http.ResponseWriter, r *http.Request) {
	bucket, ok := bucketOf(w, r)
	if !ok {
		return
	}
	key := r.URL.Query().Get("key")
	if !kv.ValidKey(key) { // a space or a wildcard would be another subject
		fail(w, http.StatusBadRequest, fmt.Sprintf("key: use tokens of A-Z a-z 0-9 _ / = - joined by single dots, %d bytes at most", kv.KeyMax))
		return
	}
	level := r.URL.Query().Get("read")
	if level != "linearizable" && level != "local" {
		fail(w, http.StatusBadRequest, "read: say linearizable or local")
		return
	}
	p.ask(w, r, busclient.FamilyKV+".get."+bucket+"."+key, nats.Header{"Rb-Read": {level}}, nil)
}

func bucketOf(w http.ResponseWriter, r *http.Request) (string, bool) {
	bucket := r.URL.Query().Get("bucket")
	if !kv.ValidBucket(bucket) {
		fail(w, http.StatusBadRequest, fmt.Sprintf("bucket: use 1 to %d of A-Z a-z 0-9 _ -", kv.BucketMax))
		return "", false
	}
	return bucket, true
}

// paging reads which names are wanted.
func paging(w http.ResponseWriter, r *http.Request) (body []byte, ok bool) {
	query := r.URL.Query()
	n := native.Page{Prefix: query.Get("prefix"), After: query.Get("after"), Limit: pageLimit}
	if text := query.Get("limit"); text != "" {
		limit, err := strconv.Atoi(text)
		if err != nil || limit < 1 || limit > limitMax {
			fail(w, http.StatusBadRequest, fmt.Sprintf("limit: use 1 to %d", limitMax))
			return nil, false
		}
		n.Limit = limit
	}
	body, err := json.Marshal(n)
	if err != nil || len(n.Prefix) > kv.KeyMax || len(n.After) > kv.KeyMax {
		fail(w, http.StatusBadRequest, "prefix and after: too long")
		return nil, false
	}
	return body, true
}

// ask asks the cluster as a client does, and passes on what it answers, errors too: they are in the body.
func (p *page) ask(w http.ResponseWriter, r *http.Request, subject string, header nats.Header, body []byte) {
	ctx, cancel := context.WithTimeout(r.Context(), askTime)
	defer cancel()
	m, err := p.o.Conn.RequestMsgWithContext(ctx, &nats.Msg{Subject: p.o.Prefix + "." + subject, Header: header, Data: body})
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		fail(w, http.StatusServiceUnavailable, "nobody leads now: try again")
	case errors.Is(err, context.DeadlineExceeded):
		fail(w, http.StatusGatewayTimeout, "no answer in time: the cluster may have no quorum, or this node's NATS user may not publish on "+p.o.Prefix+"."+subject)
	case err != nil:
		fail(w, http.StatusBadGateway, err.Error())
	case m.Header.Get("Nats-Service-Error-Code") == "" && !native.Answers(subject, m), !json.Valid(m.Data):
		fail(w, http.StatusBadGateway, "what answered is no node of raftbus")
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(m.Data) // who asked is gone
	}
}
