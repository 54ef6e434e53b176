package kv

// The way of a request through the service, from its bounds to its answer. Each is answered once or not at all: 'done' is always true, and
// that something was not done is said only by a node that has led since the request came (design section 4).

import (
	"errors"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// answer is what a client hears, on its way to the replier: the outcome of a write, or a failure.
type answer struct {
	request *request
	work    work
	result  *store.Result
	failure *failure
	replies []reply // in the place of an outcome
	claimed bool    // the request counts in inflight, and nobody else ends it; other failures count in refusals
}

// leadsSince reports whether this node has led without a break since the request came.
func (s *Service) leadsSince(r *request) bool {
	return isLeading(r.epoch) && s.epoch.Load() == r.epoch
}

// take carries a request out, on a goroutine of nats.go.
func (s *Service) take(r *request) {
	switch {
	case s.overBound(r):
	case r.work.command != nil:
		s.log(r, r.work)
	case r.work.local:
		s.readLocally(r, r.work)
	default:
		s.confirm(r, r.work)
	}
}

// overBound refuses a request that the bounds have no room for.
func (s *Service) overBound(r *request) bool {
	switch f := s.inflight; f.add(r) {
	case tooMany:
		s.refuse(r, Busy.says("%d requests wait already", f.countMax))
	case tooManyOfClient:
		s.refuse(r, Busy.says("one client may have %d requests and %d bytes in flight, and this one has: wait for answers", f.clientCountMax, f.clientBytesMax))
	default:
		return false
	}
	return true
}

// log has a command logged; of one that makes a bucket, after it is known that no other JetStream has its stream: it is if the bucket is there.
func (s *Service) log(r *request, w work) {
	if f := s.notOpen(w.command); f != nil {
		s.giveUp(r, f)
		return
	}
	if w.made == "" || s.defaultAPI || s.buckets.has(w.made) {
		s.propose(r, w)
		return
	}
	select {
	case s.probes <- todo{r, w}:
	default:
		s.giveUp(r, Busy.says("%d buckets wait to be made already", cap(s.probes)))
	}
}

// giveUp refuses a request that is counted in.
func (s *Service) giveUp(r *request, f *failure) {
	if s.inflight.claim(r) {
		s.refuse(r, f)
		s.inflight.free(r)
	}
}

// propose has a write logged, now or in its turn.
func (s *Service) propose(r *request, w work) {
	if w.wide {
		s.inTurn(r, w)
		return
	}
	s.offer(r, w, func() {})
}

// offer has a write logged, unless its client has been told that it is overdue (C5). A node that does not lead, or that leads again, says
// nothing: another may have carried out a copy (K25). Nor is anything said of a request that has been carried out in part; one that is in the middle
// of its parts when this node hurries to hand over ends there: nobody is served while they are waited for (L2). over is
// called once it was applied, or will not be by this node.
func (s *Service) offer(r *request, w work, over func()) {
	if !s.leadsSince(r) || w.rest && s.hurries.Load() {
		over()
		s.drop(r)
		return
	}
	inPart, waits := s.inflight.log(r)
	if !waits {
		over()
		return
	}
	r.trace.proposed()
	err := s.node.Propose(w.command, func(result any, at rpc.EntryID) {
		over()
		if refused, is := result.(error); is {
			s.refused(r, w, inPart, refused)
			return
		}
		r.trace.applied(at)
		s.applied(r, w, result)
	})
	if err != nil {
		over()
		s.refused(r, w, inPart, err)
	}
}

// refused ends a request that the node did not log, or not its last part.
func (s *Service) refused(r *request, w work, inPart bool, err error) {
	switch {
	case inPart:
		s.drop(r)
	case errors.Is(err, node.ErrBusy):
		s.giveUp(r, Busy.says("%v", err))
	case errors.Is(err, node.ErrFull):
		s.full(r, w, Full.says("%v", err))
	case errors.Is(err, node.ErrTooLarge):
		if s.inflight.claim(r) {
			s.respond(r, r.fail(TooLarge.says("%v", err)))
			s.inflight.free(r)
		}
	default:
		s.drop(r)
	}
}

// full refuses what there is no room for, but for a write of whose message id one was done: that is answered as then (C4).
func (s *Service) full(r *request, w work, f *failure) {
	c, err := command.Decode(w.command)
	if err != nil || c.Write == nil || c.Write.MsgID == "" {
		s.giveUp(r, f)
		return
	}
	s.confirm(r, work{quick: true, writes: true, look: func() ([]reply, *work) {
		then, f := s.unlessDone(c.Write.Bucket, c.Write.MsgID, f)
		if f != nil {
			return r.fail(f), nil
		}
		return w.done(then)
	}})
}

// applied hears what came of a write, on the node's goroutine. 'Done' is always true. A refusal is told only by a node that has
// led since the request came (design section 4).
func (s *Service) applied(r *request, w work, result any) {
	outcome, ok := result.(store.Result)
	if !ok {
		s.drop(r)
		return
	}
	if outcome.Code != store.Done && !s.leadsSince(r) {
		s.drop(r)
		return
	}
	if !s.direct() || w.bucket != "" || w.apart { // to follow a change may take a while too
		kept := outcome
		s.answer(answer{request: r, work: w, result: &kept})
		return
	}
	s.ofRun.add()
	s.tell(r, w, outcome)
}

// confirm asks whether a read may be done now, and has it done.
func (s *Service) confirm(r *request, w work) {
	err := s.node.ReadIndex(func(err error) {
		if err == nil {
			r.trace.confirmed()
			if w.search && !w.writes {
				s.inflight.outlive(r) // what it finds is true, whoever leads by then
			}
			if s.readAtOnce(todo{r, w}) {
				return
			}
			if s.reads.put(todo{r, w}) {
				if s.hurries.Load() {
					s.withdrawSearches()
				}
				return
			} // overdue reads fill the queue
		}
		s.drop(r)
	})
	switch {
	case err == nil:
	case errors.Is(err, node.ErrBusy):
		s.giveUp(r, Busy.says("%v", err))
	default:
		s.drop(r)
	}
}

// readLocally has a read done without asking whether this node leads.
func (s *Service) readLocally(r *request, w work) {
	if !s.reads.put(todo{r, w}) {
		s.giveUp(r, Busy.says("too many reads wait"))
	}
}

// drop ends a request that this node may say nothing of.
func (s *Service) drop(r *request) {
	if s.inflight.claim(r) {
		s.forsake(r)
	}
}

// forsake ends a claimed request that this node may say nothing of, but to who waits for messages: that changes nothing.
func (s *Service) forsake(r *request) {
	if a, told := jetstream.Forsaken(r.msg.Subject, r.msg.Data); told {
		s.answer(answer{request: r, replies: []reply{{status: a.Status}}, claimed: true})
		return
	}
	s.figures.unanswered.Add(1)
	s.inflight.free(r)
}

// refuse tells a client that its request was not carried out and will not be, once a ReadIndex begun now has shown that this
// node led when it came: a node that leads again would be confirmed too, but another led in between, and may have carried out
// a copy. If it cannot be shown, the client hears nothing.
func (s *Service) refuse(r *request, f *failure) {
	if !s.refusals.begin() {
		s.figures.unanswered.Add(1)
		return
	}
	r.msg.Data, r.msg.Header, r.work = nil, nil, work{} // many may wait
	err := s.node.ReadIndex(func(err error) {
		if err != nil || !s.leadsSince(r) {
			s.unheard()
			return
		}
		s.answer(answer{request: r, failure: f})
	})
	if err != nil {
		s.unheard()
	}
}

// unheard ends a refusal that is not told.
func (s *Service) unheard() {
	s.figures.unanswered.Add(1)
	s.refusals.end()
}

// answer passes an answer to the replier. It never blocks: the queue has room for all that may be in hand at a time, but for
// what was overdue meanwhile.
func (s *Service) answer(a answer) {
	select {
	case s.answers <- a:
	default:
		s.settle(a)
	}
}

// settle counts an answer out.
func (s *Service) settle(a answer) {
	switch {
	case a.claimed:
		s.inflight.free(a.request)
	case a.failure == nil:
		s.drop(a.request)
	default:
		s.refusals.end()
	}
}

// replier sends the answers that come from the node's goroutines, which a slow connection must not hold up.
func (s *Service) replier() {
	defer s.wg.Done()
	for {
		select {
		case <-s.stop:
			return
		case a := <-s.answers:
			switch {
			case a.replies != nil:
				s.respond(a.request, a.replies)
				s.settle(a)
			case a.failure != nil:
				s.respond(a.request, a.request.fail(a.failure))
				s.settle(a)
			default:
				s.goOn(a)
			}
		}
	}
}

// goOn goes on with a request whose command was applied.
func (s *Service) goOn(a answer) {
	if a.work.bucket != "" {
		s.followed(a.work.bucket)
	}
	s.tell(a.request, a.work, *a.result)
}

func (s *Service) tell(r *request, w work, result store.Result) {
	replies, next := w.done(result)
	s.finish(r, replies, next)
}

// finish ends a request with its answer, or begins what comes next. A client that was told that its request is overdue, hears
// nothing more.
func (s *Service) finish(r *request, replies []reply, next *work) {
	switch {
	case next != nil && next.command != nil:
		s.log(r, *next)
	case next != nil:
		s.confirm(r, *next)
	case s.inflight.claim(r):
		s.conclude(r, s.respond(r, replies))
	}
}

// conclude counts out a claimed request, of which an answer was sent, or not whole.
func (s *Service) conclude(r *request, sent bool) {
	if sent {
		s.answered(r)
	} else {
		s.figures.unanswered.Add(1)
	}
	s.traced(r)
	s.inflight.free(r)
}

// respond publishes what is answered, if an answer is wanted. The connection's own error handler tells of a broken connection,
// and the client's time-out tells the client.
func (s *Service) respond(r *request, replies []reply) (sent bool) {
	if r.msg.Reply == "" {
		return true
	}
	sent = true
	for _, a := range replies {
		if err := s.publish(r.msg.Reply, a); err != nil {
			s.logger.Debug("an answer could not be sent", "err", err)
			sent = false
		}
	}
	return sent
}
