package kv

// Native watches: events go to a subject of the caller's. They are consumers like those of JetStream: replicated, and answered and served
// by their hosts.

import (
	"crypto/rand"
	"errors"
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/delivery"
	"github.com/raftbus/raftbus/kv/internal/names"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/subject"
	"github.com/raftbus/raftbus/kv/watch"
)

// watchRequest is the body of watch.
type watchRequest struct {
	Deliver     string   `json:"deliver"`
	Keys        []string `json:"keys"`
	First       string   `json:"first"`
	From        uint64   `json:"from"`
	NoValues    bool     `json:"no_values"`
	FlowControl bool     `json:"flow_control"`
	Heartbeat   duration `json:"heartbeat"`
}

// Bounds of a native watch.
const (
	watchBytesMax    = 64 << 10 // of its request, and of its configuration
	watchKeysMax     = 256
	heartbeatDefault = duration(5 * time.Second)
	heartbeatMin     = duration(100 * time.Millisecond)
)

// watchPolicies say what a watch begins with.
var watchPolicies = map[string]watch.Policy{"": watch.DeliverLastPerSubject, "newest": watch.DeliverLastPerSubject, "history": watch.DeliverAll, "nothing": watch.DeliverNew}

func (s *Service) watch(c *call) (plan, *failure) {
	body := watchRequest{Heartbeat: heartbeatDefault}
	if f := c.json(&body, watchBytesMax); f != nil {
		return plan{}, f
	}
	native, f := body.native()
	if f != nil {
		return plan{}, f
	}
	if jetstream.IsOrder(s.prefix, body.Deliver) {
		return plan{}, BadRequest.says("deliver must be a subject of yours: events on %q would be orders to nodes or to NATS", body.Deliver)
	}
	return plan{writes: true, read: func() (any, *failure, *plan) {
		if f := s.kept(c, body.From); f != nil {
			return nil, f, nil
		}
		return s.beginWatch(c, body.Deliver, native)
	}}, nil
}

// native checks a request.
func (b *watchRequest) native() (delivery.Native, *failure) {
	policy, known := watchPolicies[b.First]
	_, err := subject.Parse(b.Keys...)
	switch {
	case !names.Literal(b.Deliver):
		return delivery.Native{}, BadRequest.says("deliver must be the subject that events are to go to, and is %q", b.Deliver)
	case len(b.Deliver) > jetstream.DeliverBytesMax:
		return delivery.Native{}, BadRequest.says("deliver may have %d bytes, and has %d", jetstream.DeliverBytesMax, len(b.Deliver))
	case jetstream.TooManyTokens(b.Deliver):
		return delivery.Native{}, BadRequest.says("deliver may have %d tokens", jetstream.DeliverTokensMax)
	case !known:
		return delivery.Native{}, BadRequest.says(`first must be "newest", "history" or "nothing", and is %q`, b.First)
	case b.From > 0 && b.First != "":
		return delivery.Native{}, BadRequest.says("first and from say both where to begin: give one of them")
	case len(b.Keys) > watchKeysMax:
		return delivery.Native{}, BadRequest.says("keys may have %d patterns, and has %d", watchKeysMax, len(b.Keys))
	case err != nil:
		return delivery.Native{}, BadRequest.says("keys: %v", err)
	case b.Heartbeat < heartbeatMin:
		return delivery.Native{}, BadRequest.says("heartbeat must be %v or more, and is %v", time.Duration(heartbeatMin), time.Duration(b.Heartbeat))
	}
	if b.From > 0 {
		policy = watch.DeliverByStartSequence
	}
	return delivery.Native{
		Keys: b.Keys, Policy: policy, From: b.From, NoValues: b.NoValues, FlowControl: b.FlowControl, Heartbeat: time.Duration(b.Heartbeat),
	}, nil
}

// kept refuses to watch from a revision that is past and no longer there: what came after it may be gone too (W3).
func (s *Service) kept(c *call, from uint64) *failure {
	if from == 0 {
		return nil
	}
	info, err := s.store.Bucket(c.bucket)
	if err == nil && from <= info.Sequence {
		_, err = s.store.Message(c.bucket, from)
	}
	switch {
	case errors.Is(err, store.NoEntry):
		return Compacted.says("revision %d of bucket %s", from, c.bucket)
	case err != nil:
		return readFailure(err, c)
	}
	return nil
}

// beginWatch has the watch logged. Its host answers.
func (s *Service) beginWatch(c *call, deliver string, native delivery.Native) (any, *failure, *plan) {
	config, err := native.Config()
	switch {
	case err != nil:
		return nil, BadRequest.says("%v", err), nil
	case len(config) > watchBytesMax: // nodes keep it like that, and JSON has up to six bytes for one
		return nil, BadRequest.says("keys may have %d bytes in all, and <, > and & count as six", watchBytesMax), nil
	}
	filter, _ := subject.Parse(native.Keys...) // it was looked at
	name := watch.In(s.protocol.Account, rand.Text())
	host, boot, err := s.hosts.Choose(watch.Wanted{Name: name, Weight: watch.Weigh(len(config), filter, deliver)})
	switch err {
	case nil:
	case watch.ErrTooMany, watch.ErrTooLarge:
		return nil, TooManyWatches.says("%v", err), nil
	default:
		return nil, NoWatches.says("bucket %s", c.bucket), nil
	}
	add := command.AddConsumer{
		Bucket: c.bucket, Name: name, Config: config, Deliver: deliver, Host: host, Boot: boot, Mode: command.AddOnly, Answer: c.msg.Reply,
	}
	return nil, nil, &plan{command: command.Command{AddConsumer: &add}.Encode(), silent: true}
}

// unwatchRequest is the body of unwatch.
type unwatchRequest struct {
	Watch string `json:"watch"`
}

type unwatchReply struct {
	Bucket string `json:"bucket"`
	Watch  string `json:"watch"`
}

func (s *Service) unwatch(c *call) (plan, *failure) {
	var body unwatchRequest
	if f := c.json(&body, watchBytesMax); f != nil {
		return plan{}, f
	}
	c.key = body.Watch
	remove := command.RemoveConsumer{Bucket: c.bucket, Name: watch.Given(s.protocol.Account, body.Watch)}
	done := func(store.Result) any { return unwatchReply{c.bucket, body.Watch} }
	return plan{command: command.Command{RemoveConsumer: &remove}.Encode(), done: done}, nil
}
