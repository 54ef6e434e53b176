package kv

// The JetStream door: package jetstream says what a message asks for and what is answered; the service has it done as it does for
// the native subjects.

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// jetStream takes a message whose subject, without the prefix of the API, is given, in the words of a protocol. At a bucket's bare subject
// it says nothing of buckets that are not there: others may have them.
func (s *Service) jetStream(protocol *jetstream.Protocol, msg *nats.Msg, epoch uint64, subject string, bare bool) {
	r := s.newRequest(msg, epoch)
	r.door = doorJetStream
	plan := protocol.Plan(jetstream.Request{
		Subject: subject, Header: msg.Header, Broken: s.hasBrokenHeader(msg), Long: hasLongHeader(msg), Data: msg.Data,
		Reply: msg.Reply, Host: s.choose, Now: time.Now(), PayloadMax: int(s.maxPayload()),
	})
	trouble := plan.Trouble
	r.fail = func(f *failure) []reply { return s.troubled(trouble, f) }
	if plan.Bucket != "" && s.buckets.takes(plan.Bucket, plan.Rollup) {
		plan.Look = nil
	}
	w, now := s.planned(r, plan)
	if w.none() {
		s.respond(r, now)
		return
	}
	r.work = w
	if bare {
		r.work = silentOfNone(r.work)
	}
	s.take(r)
}

// planned puts a plan into the service's terms: work, or what is answered at once.
func (s *Service) planned(r *request, p jetstream.Plan) (work, []reply) {
	switch {
	case p.Look != nil:
		look := p.Look
		return work{quick: p.Quick, writes: p.Writes, look: func() ([]reply, *work) { return s.onward(r, look(s.store)) }}, nil
	case p.Tell != nil:
		tell := p.Tell
		return work{quick: true, newest: p.Newest, tell: func(e store.Entry, err error) ([]reply, *work) { return s.onward(r, tell(e, err)) }}, nil
	case p.Search != nil:
		return work{search: true, writes: p.Writes, look: s.searching(r, p.Search)}, nil
	case p.Stream != nil && r.msg.Reply != "":
		return work{search: true, look: s.streaming(r, p.Stream)}, nil
	case p.Write != nil:
		return s.logging(r, p.Write), nil
	case (p.Ask != nil || p.Pull != nil) && r.msg.Reply == "": // nobody waits to hear
		return work{}, nil
	case p.Ask != nil && s.hosts.Ask(p.Ask.Consumer, p.Ask.Made, r.msg.Reply):
		return work{}, nil
	case p.Pull != nil && s.hosts.Pull(p.Pull.Consumer, p.Pull.Request):
		return work{}, nil
	}
	return work{}, s.replies(r, p.Replies...)
}

// searching is a search that ends early, and is told to nobody, when its client has been told that it is overdue, when it is for a write and another
// may lead, and when the service stops: a reader is not to be kept for longer than somebody waits (Q12). Once it was not wanted it stays so, even
// if this node leads again meanwhile: what it then found is not all. One for a write ends when this node hurries to hand over, too.
func (s *Service) searching(r *request, search func(*store.Store, func() bool) jetstream.Plan) func() ([]reply, *work) {
	return func() ([]reply, *work) {
		over := false
		plan := search(s.store, func() bool {
			over = over || !s.wanted(r)
			return !over
		})
		switch {
		case over && r.work.writes && s.hurries.Load():
			s.withdraw(r)
			return nil, nil
		case over:
			s.drop(r)
			return nil, nil
		}
		return s.onward(r, plan)
	}
}

// wanted reports whether a search is to go on.
func (s *Service) wanted(r *request) bool {
	select {
	case <-s.stop:
		return false
	default:
		return s.inflight.waiting(r) && (!r.work.writes || isLeading(s.epoch.Load()) && !s.hurries.Load())
	}
}

// onward is planned for what comes after work that was done.
func (s *Service) onward(r *request, p jetstream.Plan) ([]reply, *work) {
	if p.Tells != "" {
		s.followed(p.Tells)
	}
	w, now := s.planned(r, p)
	if w.none() {
		return now, nil
	}
	next := w
	return now, &next
}

func (s *Service) logging(r *request, write *jetstream.Write) work {
	w := work{
		command: write.Command.Encode(),
		writes:  true,
		rest:    write.Rest,
		wide:    isWide(&write.Command, write.Old),
		bucket:  write.Command.OfBucket(),
		apart:   write.Command.AddConsumer != nil, // its host may be told by NATS's client, which may wait for the server
		done:    func(result store.Result) ([]reply, *work) { return s.onward(r, write.Done(s.store, result)) },
	}
	if c := write.Command.AddBucket; c != nil {
		w.made = c.Name
	}
	return w
}

// replies are messages to a client. What the bus cannot carry is told as that, unless something was done: that it was not must
// not be said then.
func (s *Service) replies(r *request, list ...jetstream.Reply) []reply {
	replies := make([]reply, len(list))
	for i, a := range list {
		replies[i] = newReply(&a)
		if replies[i].size() <= int(s.maxPayload()) {
			continue
		}
		if r.logged.Load() {
			return nil
		}
		return r.fail(TooLarge.says("the reply"))
	}
	return replies
}

func newReply(a *jetstream.Reply) reply {
	return reply{status: a.Status, header: a.Header, block: a.Block, data: a.Data}
}

// troubles are what the service's own failures are in JetStream's terms. An unknown outcome is none of them: nobody knows what
// to say then, so nothing is said.
var troubles = map[int]jetstream.Trouble{
	Busy.ErrCode:        jetstream.Unavailable,
	Unavailable.ErrCode: jetstream.Unavailable,
	Full.ErrCode:        jetstream.Full,
	TooLarge.ErrCode:    jetstream.TooLarge,
	StreamTaken.ErrCode: jetstream.Taken,
}

func (s *Service) troubled(says func(jetstream.Trouble) jetstream.Reply, f *failure) []reply {
	s.figures.failed(doorJetStream, f.ErrCode)
	trouble, known := troubles[f.ErrCode]
	if !known || says == nil {
		return nil
	}
	a := says(trouble)
	return []reply{newReply(&a)}
}

// silentOfNone is a put's work whose replies do not say that nobody has the bucket.
func silentOfNone(w work) work {
	silent := w
	if done := w.done; done != nil {
		silent.done = func(r store.Result) ([]reply, *work) {
			if r.Code == store.NoBucket {
				return nil, nil
			}
			return done(r)
		}
	}
	if look := w.look; look != nil {
		silent.look = func() ([]reply, *work) {
			replies, next := look()
			switch {
			case next != nil:
				quiet := silentOfNone(*next)
				return nil, &quiet
			case len(replies) > 0 && replies[0].status != "": // that there is none is all that it says of a put
				return nil, nil
			}
			return replies, nil
		}
	}
	return silent
}

// nobody is for a service without hosts.
type nobody struct{}

func (nobody) Choose(watch.Wanted) (rpc.NodeID, rpc.BootEpoch, error) { return "", 0, watch.ErrNoHost }
func (nobody) Ask(store.Consumer, bool, string) bool                  { return false }
func (nobody) Pull(store.Consumer, watch.Pulled) bool                 { return false }
