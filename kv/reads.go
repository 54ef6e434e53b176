package kv

import (
	"errors"

	"github.com/raftbus/raftbus/kv/store"
)

// How messages become reads. A read is done by a reader, after ReadIndex has confirmed that this node leads and has applied all
// that was committed when the request came (C1, C3).

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

func (s *Service) get(r *request) (work, *failure) {
	if f := r.emptyBody(); f != nil {
		return work{}, f
	}
	raw := r.msg.Header.Get(headerReply) == replyRaw
	return work{read: func() (any, *failure) {
		e, err := s.store.Get(r.bucket, r.key)
		if err != nil {
			return nil, readFailure(err, r)
		}
		if raw && len(e.Value) > 0 { // no reply is empty, so an empty value is told as JSON
			return rawReply(e), nil
		}
		return newGetReply(r.bucket, e), nil
	}}, nil
}

func (s *Service) keys(r *request) (work, *failure) {
	page, f := r.page()
	if f != nil {
		return work{}, f
	}
	return work{read: func() (any, *failure) {
		p, err := s.store.Keys(r.bucket, page.Prefix, page.After, page.Limit)
		if err != nil {
			return nil, readFailure(err, r)
		}
		p = s.cut(p)
		return keysReply{r.bucket, p.Names, p.More, p.After}, nil
	}}, nil
}

func (s *Service) bucketInfo(r *request) (work, *failure) {
	if f := r.emptyBody(); f != nil {
		return work{}, f
	}
	return work{read: func() (any, *failure) {
		info, err := s.store.Bucket(r.bucket)
		if err != nil {
			return nil, readFailure(err, r)
		}
		return newInfoReply(info), nil
	}}, nil
}

func (s *Service) bucketLs(r *request) (work, *failure) {
	page, f := r.page()
	if f != nil {
		return work{}, f
	}
	return work{read: func() (any, *failure) {
		p, err := s.store.Buckets(page.Prefix, page.After, page.Limit)
		if err != nil {
			return nil, readFailure(err, r)
		}
		p = s.cut(p)
		return bucketsReply{p.Names, p.More, p.After}, nil
	}}, nil
}

func (r *request) page() (pageRequest, *failure) {
	page := pageRequest{Limit: pageDefault}
	if f := r.json(&page, pageBytesMax); f != nil {
		return page, f
	}
	if page.Limit < 1 || page.Limit > pageMax {
		return page, BadRequest.says("limit must be 1 to %d, and is %d", pageMax, page.Limit)
	}
	return page, nil
}

func readFailure(err error, r *request) *failure {
	var code store.Code
	if errors.As(err, &code) {
		return refusal(store.Result{Code: code}, r.bucket, r.key)
	}
	return ReadFailed.says("%v", err)
}
