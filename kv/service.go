package kv

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Options say what a Service stands on. The first four are required.
type Options struct {
	Conn   *nats.Conn    // the client connection; stays the caller's
	Prefix string        // the first token of all subjects
	Node   node.Proposer // not started yet
	Store  *store.Store  // the Node's state machine; open until the Service is closed
	Logger *slog.Logger  // nil discards

	// RequestsMax and RequestBytesMax bound the requests in flight; beyond them clients hear 'busy'. Too small wastes
	// throughput, too large wastes memory when the cluster stalls. 0 takes the default.
	RequestsMax, RequestBytesMax int
	// Timeout is how long a request may take before its client hears that the outcome is unknown. 0 takes the default.
	Timeout time.Duration
}

// Defaults of Options, and the service's other bounds.
const (
	RequestsMaxDefault     = 16_384
	RequestBytesMaxDefault = 64 << 20
	TimeoutDefault         = 5 * time.Second

	readersCount = 4
	// refusalsMax bounds the requests that wait to be told 'busy' or 'full'; beyond it they hear nothing.
	refusalsMax = 1_024
	// closeWait bounds how long Close lets requests finish.
	closeWait = 2 * time.Second
	// keeperPeriod is how late a deadline may be noticed, and how often a failed subscription is tried again.
	keeperPeriod = 100 * time.Millisecond
)

// Service answers clients on <prefix>.bucket.> and <prefix>.kv.> while its node leads. Its methods may be called by several
// goroutines.
type Service struct {
	conn    *nats.Conn
	prefix  string
	node    node.Proposer
	store   *store.Store
	logger  *slog.Logger
	timeout time.Duration

	// epoch counts the changes of leadership; it is odd while this node leads.
	epoch    atomic.Uint64
	inflight inflight
	refusals atomic.Int64

	reads   chan *request
	answers chan answer

	wake   chan struct{} // leadership changed
	stop   chan struct{}
	closed sync.Once
	wg     sync.WaitGroup

	listenMu sync.Mutex
	subs     []subscription
	draining bool            // never listen again
	ended    []chan struct{} // of the subscriptions being drained
}

// answer is what a write's client hears, on its way to the replier. One of the last two is set.
type answer struct {
	request *request
	result  *store.Result
	failure *failure
	counted bool // in inflight, else in refusals
}

// New makes a service and registers it with the node: make it before the node starts. Close it.
func New(o Options) (*Service, error) {
	if o.Conn == nil || o.Prefix == "" || o.Node == nil || o.Store == nil {
		return nil, errors.New("kv service: Conn, Prefix, Node and Store are required")
	}
	o.setDefaults()
	s := &Service{
		conn: o.Conn, prefix: o.Prefix, node: o.Node, store: o.Store, logger: o.Logger, timeout: o.Timeout,
		inflight: inflight{countMax: o.RequestsMax, bytesMax: o.RequestBytesMax},
		reads:    make(chan *request, o.RequestsMax),
		answers:  make(chan answer, o.RequestsMax+refusalsMax),
		wake:     make(chan struct{}, 1),
		stop:     make(chan struct{}),
	}
	s.wg.Add(2 + readersCount)
	go s.keeper()
	go s.replier()
	for range readersCount {
		go s.reader()
	}
	o.Node.Leadership(s.leadership)
	return s, nil
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.RequestsMax <= 0 {
		o.RequestsMax = RequestsMaxDefault
	}
	if o.RequestBytesMax <= 0 {
		o.RequestBytesMax = RequestBytesMaxDefault
	}
	if o.Timeout <= 0 {
		o.Timeout = TimeoutDefault
	}
}

// leadership hears from the node, on its goroutine, that it leads or no longer does.
func (s *Service) leadership(leading bool) {
	if leading == isLeading(s.epoch.Load()) {
		return
	}
	s.epoch.Add(1)
	select {
	case s.wake <- struct{}{}:
	default: // the keeper will look anyway
	}
}

func isLeading(epoch uint64) bool { return epoch%2 == 1 }

// leadsSince reports whether this node has led without a break since the request came.
func (s *Service) leadsSince(r *request) bool {
	return isLeading(r.epoch) && s.epoch.Load() == r.epoch
}

// handle takes one message of a client, on a goroutine of nats.go.
func (s *Service) handle(msg *nats.Msg) {
	r, f := s.parse(msg)
	switch {
	case f != nil:
		s.respond(s.message(r, nil, f))
	case !s.inflight.add(r):
		s.refuse(r, Busy.says("%d requests wait already", s.inflight.countMax))
	case r.work.command != nil:
		s.propose(r)
	default:
		s.confirm(r)
	}
}

// propose has a write logged. A node that does not lead says nothing: another may have carried out a copy.
func (s *Service) propose(r *request) {
	err := s.node.Propose(r.work.command, func(result any, _ rpc.EntryID) { s.applied(r, result) })
	if err == nil || !s.inflight.claim(r) {
		return
	}
	defer s.inflight.free(r)
	switch {
	case errors.Is(err, node.ErrBusy):
		s.refuse(r, Busy.says("%v", err))
	case errors.Is(err, node.ErrFull):
		s.refuse(r, Full.says("%v", err))
	case errors.Is(err, node.ErrTooLarge):
		s.respond(s.message(r, nil, TooLarge.says("%v", err)))
	}
}

// applied hears what came of a write, on the node's goroutine. 'Done' is always true. A refusal is told only by a node that has
// led since the request came (design section 4).
func (s *Service) applied(r *request, result any) {
	if !s.inflight.claim(r) {
		return // overdue: its client was told that the outcome is unknown
	}
	outcome, ok := result.(store.Result)
	if !ok || outcome.Code != store.Done && !s.leadsSince(r) {
		s.inflight.free(r)
		return
	}
	s.answer(answer{request: r, result: &outcome, counted: true})
}

// confirm asks whether a read may be done now, and has it done.
func (s *Service) confirm(r *request) {
	err := s.node.ReadIndex(func(err error) {
		if err == nil {
			select {
			case s.reads <- r:
				return
			default: // overdue reads fill the queue
			}
		}
		s.drop(r)
	})
	if err != nil && s.inflight.claim(r) {
		defer s.inflight.free(r)
		if errors.Is(err, node.ErrBusy) {
			s.refuse(r, Busy.says("%v", err))
		}
	}
}

func (s *Service) drop(r *request) {
	if s.inflight.claim(r) {
		s.inflight.free(r)
	}
}

// refuse tells a client that its request was not carried out and will not be, once a ReadIndex begun now has shown that this
// node led when it came: a node that leads again would be confirmed too, but another led in between, and may have carried out
// a copy. If it cannot be shown, the client hears nothing.
func (s *Service) refuse(r *request, f *failure) {
	if s.refusals.Add(1) > refusalsMax {
		s.refusals.Add(-1)
		return
	}
	err := s.node.ReadIndex(func(err error) {
		if err != nil || !s.leadsSince(r) {
			s.refusals.Add(-1)
			return
		}
		s.answer(answer{request: r, failure: f})
	})
	if err != nil {
		s.refusals.Add(-1)
	}
}

// answer passes an answer to the replier. It never blocks: the queue has room for all that may be counted at a time, but for
// answers to requests that were overdue meanwhile.
func (s *Service) answer(a answer) {
	select {
	case s.answers <- a:
	default:
		s.settle(a)
	}
}

// settle counts an answer out.
func (s *Service) settle(a answer) {
	if a.counted {
		s.inflight.free(a.request)
	} else {
		s.refusals.Add(-1)
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
			s.respond(s.outcome(a))
			s.settle(a)
		}
	}
}

func (s *Service) outcome(a answer) *nats.Msg {
	r := a.request
	switch {
	case a.failure != nil:
		return s.message(r, nil, a.failure)
	case a.result.Code != store.Done:
		return s.message(r, nil, refusal(*a.result, r.bucket, r.key))
	default:
		return s.message(r, r.work.done(*a.result), nil)
	}
}

// reader does the reads that were confirmed.
func (s *Service) reader() {
	defer s.wg.Done()
	for {
		select {
		case <-s.stop:
			return
		case r := <-s.reads:
			if s.inflight.claim(r) {
				reply, f := r.work.read()
				s.respond(s.message(r, reply, f))
				s.inflight.free(r)
			}
		}
	}
}

// Close stops listening, lets what is in flight finish for a bounded time, and ends the service.
func (s *Service) Close() {
	s.closed.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		if err := s.Drain(ctx); err != nil {
			s.logger.Warn("the kv service stops with requests in flight: their clients hear nothing", "error", err)
		}
		close(s.stop)
		s.wg.Wait()
	})
}
