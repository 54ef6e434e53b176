package kv

// How messages become reads. A read is done by a reader, after ReadIndex has confirmed that this node leads and has applied all
// that was committed when the request came (C1, C3).

import (
	"errors"
	"math"
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/subject"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Bounds of a page of names.
const (
	pageDefault  = 1_000
	pageMax      = 10_000
	pageBytesMax = 4 << 10 // of a body that asks for one
)

// pageRequest is the body of keys and ls.
type pageRequest struct {
	Prefix string `json:"prefix"`
	After  string `json:"after"`
	Limit  int    `json:"limit"`
}

// moment is the last entry of the log that is applied, and the log's time then.
type moment struct {
	at   rpc.Index
	time int64
}

const (
	// headerRead with the value readLocal, on a get, asks for what this leader has, at once: it may have been deposed.
	headerRead = "Rb-Read"
	readLocal  = "local"
)

// level reads how sure a read must be of what it tells.
func (c *call) level() (local bool, f *failure) {
	switch level := c.msg.Header.Get(headerRead); level {
	case "", "linearizable":
		return false, nil
	case readLocal:
		return true, nil
	default:
		return false, BadRequest.says("header %s must be linearizable or local, and is %q", headerRead, level)
	}
}

// getLocally is a get of what this node has applied. It tells up to which entry of the log that is, and how old that was when it was read.
func (s *Service) getLocally(c *call) plan {
	return plan{local: true, quick: true, read: func() (any, *failure, *plan) {
		reflects := s.reflects.Load() // before the read: it shows that, or later
		e, err := s.store.Get(c.bucket, c.key)
		if err != nil {
			return nil, readFailure(err, c), nil
		}
		reply := localReply{getReply: newGetReply(c.bucket, e), Read: readLocal}
		if reflects != nil {
			reply.Applied, reply.AgeMS = uint64(reflects.at), max(0, s.node.Clock()-reflects.time)/int64(time.Millisecond)
		}
		return reply, nil, nil
	}}
}

func (s *Service) get(c *call) (plan, *failure) {
	if f := c.emptyBody(); f != nil {
		return plan{}, f
	}
	if local, f := c.level(); f != nil || local {
		return s.getLocally(c), f
	}
	raw := c.msg.Header.Get(headerReply) == replyRaw
	return plan{quick: true, newest: jetstream.Newest{Bucket: c.bucket, Key: c.key}, tell: func(last store.Entry, err error) (any, *failure) {
		e, err := store.Found(last, err)
		if err != nil {
			return nil, readFailure(err, c)
		}
		if raw && len(e.Value) > 0 { // no reply is empty, so an empty value is told as JSON
			return rawReply(e), nil
		}
		return newGetReply(c.bucket, e), nil
	}}, nil
}

// history tells a key's entries, the oldest first, as many as fit in a reply.
func (s *Service) history(c *call) (plan, *failure) {
	page := historyRequest{Limit: command.HistoryMax}
	if f := c.json(&page, pageBytesMax); f != nil {
		return plan{}, f
	}
	if page.Limit < 1 || page.Limit > command.HistoryMax {
		return plan{}, BadRequest.says("limit must be 1 to %d, and is %d", command.HistoryMax, page.Limit)
	}
	filter, err := subject.Parse(c.key)
	if err != nil {
		return plan{}, BadKey.says("%v", err) // cannot be: a key is a pattern
	}
	return plan{read: func() (any, *failure, *plan) {
		found, err := s.store.Page(store.Query{Bucket: c.bucket, From: page.from(), Filter: filter, Max: page.Limit, MaxBytes: int(s.maxPayload())})
		switch {
		case err != nil:
			return nil, readFailure(err, c), nil
		case len(found.Entries) == 0 && page.After == 0:
			return nil, KeyNotFound.says("%s", c.key), nil
		}
		return s.historyOf(c, found), nil, nil
	}}, nil
}

// historyRequest is the body of history.
type historyRequest struct {
	After uint64 `json:"after"` // a revision
	Limit int    `json:"limit"`
}

// from is the first revision that is wanted. After the last that a number can be there is none.
func (p historyRequest) from() uint64 { return min(p.After, math.MaxUint64-1) + 1 }

func (s *Service) historyOf(c *call, found store.EntryPage) historyReply {
	reply := historyReply{Bucket: c.bucket, Key: c.key, Entries: []historyEntry{}, More: !found.Done}
	room := int(s.maxPayload()) - 2*replyMarginBytes
	for _, e := range found.Entries {
		entry := newHistoryEntry(e)
		text, err := encode(entry)
		if room -= len(text) + 1; err != nil || room < 0 && len(reply.Entries) > 0 {
			reply.More = true
			break
		}
		reply.Entries, reply.After = append(reply.Entries, entry), e.Sequence
	}
	if !reply.More {
		reply.After = 0
	}
	return reply
}

func (s *Service) keys(c *call) (plan, *failure) {
	page, f := c.page()
	if f != nil {
		return plan{}, f
	}
	return plan{read: func() (any, *failure, *plan) {
		p, err := s.store.Keys(c.bucket, page.Prefix, page.After, page.Limit)
		if err != nil {
			return nil, readFailure(err, c), nil
		}
		p = s.cut(p)
		return keysReply{c.bucket, p.Names, p.More, p.After}, nil, nil
	}}, nil
}

func (s *Service) bucketInfo(c *call) (plan, *failure) {
	if f := c.emptyBody(); f != nil {
		return plan{}, f
	}
	return plan{read: func() (any, *failure, *plan) {
		info, err := s.store.Bucket(c.bucket)
		if err != nil {
			return nil, readFailure(err, c), nil
		}
		return newInfoReply(info), nil, nil
	}}, nil
}

func (s *Service) bucketLs(c *call) (plan, *failure) {
	page, f := c.page()
	if f != nil {
		return plan{}, f
	}
	return plan{read: func() (any, *failure, *plan) {
		p, err := s.store.Buckets(page.Prefix, page.After, page.Limit)
		if err != nil {
			return nil, readFailure(err, c), nil
		}
		p = s.cut(p)
		return bucketsReply{p.Names, p.More, p.After}, nil, nil
	}}, nil
}

func (c *call) page() (pageRequest, *failure) {
	page := pageRequest{Limit: pageDefault}
	if f := c.json(&page, pageBytesMax); f != nil {
		return page, f
	}
	if page.Limit < 1 || page.Limit > pageMax {
		return page, BadRequest.says("limit must be 1 to %d, and is %d", pageMax, page.Limit)
	}
	return page, nil
}

func readFailure(err error, c *call) *failure {
	var code store.Code
	if err == store.NoEntry {
		return KeyNotFound.says("%s", c.key)
	}
	if errors.As(err, &code) {
		return refusal(store.Result{Code: code}, c.bucket, c.key)
	}
	return ReadFailed.says("%v", err)
}
