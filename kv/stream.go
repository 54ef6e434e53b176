package kv

// Answers of many messages leave while they are read: what is in memory of one, here and on its way to the NATS server, is a page or two, however
// much is asked for (Q12). It is of one moment of the store, so what is sent late is as true as what was sent first (C1); and a client that has not
// come to the end knows that it has not all.

import (
	"context"
	"time"

	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
)

// stream is an answer of many messages on its way. Once it has begun the request is claimed, and nobody else answers it.
type stream struct {
	*Service
	request    *request
	begun, cut bool
}

// streaming is a search whose answer leaves while it goes on. It is cut short, without an end, when it takes longer than a client waits, when the
// NATS server does not take it, and when the service stops.
func (s *Service) streaming(r *request, read func(*store.Store, func() bool, func([]jetstream.Reply) bool) jetstream.Plan) func() ([]reply, *work) {
	return func() ([]reply, *work) {
		out := &stream{Service: s, request: r}
		plan := read(s.store, out.wanted, out.send)
		switch {
		case !out.begun && out.cut:
			s.drop(r)
		case !out.begun:
			return s.onward(r, plan)
		default:
			s.conclude(r, !out.cut && s.respond(r, s.replies(r, plan.Replies...)))
		}
		return nil, nil
	}
}

// wanted reports whether it is to go on.
func (o *stream) wanted() bool {
	if !o.begun {
		o.cut = o.cut || !o.Service.wanted(o.request)
		return !o.cut
	}
	select {
	case <-o.stop:
		o.cut = true
	default:
		o.cut = o.cut || time.Now().After(o.request.deadline)
	}
	return !o.cut
}

// send sends a page, once the server has taken what was before, and reports whether another may follow.
func (o *stream) send(page []jetstream.Reply) bool {
	if !o.begun {
		o.begun = o.inflight.claim(o.request)
		o.cut = !o.begun
	} else if o.wanted() {
		o.cut = o.flush(context.Background()) != nil
	}
	if !o.cut {
		o.cut = !o.publishAll(page)
	}
	return !o.cut
}

// publishAll sends messages together. One that the bus cannot carry any more is told as that, in its place.
func (o *stream) publishAll(page []jetstream.Reply) bool {
	if o.lane != nil {
		o.lane.Cork()
		defer o.lane.Uncork()
	}
	for i := range page {
		m := newReply(&page[i])
		if m.size() > int(o.maxPayload()) {
			o.respond(o.request, o.request.fail(TooLarge.says("the reply")))
			return false
		}
		if !o.respond(o.request, []reply{m}) {
			return false
		}
	}
	return true
}
