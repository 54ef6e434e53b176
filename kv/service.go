package kv

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Options say what a Service stands on. The first six are required.
type Options struct {
	Conn   *nats.Conn    // the client connection, with nats.SkipSubjectValidation; stays the caller's
	Prefix string        // the first token of all subjects
	NodeID string        // of this node; clients of JetStream are told it as the leader
	Node   node.Proposer // not started yet
	Store  *store.Store  // the Node's state machine; open until the Service is closed
	// RoundTrip is the longest round trip to another node, as it was last measured: a busy or far one makes a planned stop take longer.
	RoundTrip func() time.Duration

	Logger *slog.Logger // nil discards

	// Lane is a faster way over Conn; nil: there is none.
	Lane Lane

	// Listens is the subject on which it can be seen that a node listens, in one of its sessions; Peers are the other members. Both nil: who else
	// listens is not looked at before a planned move (AwaitAlone).
	Listens func(node string, session int) string
	Peers   func() []string

	// Hosts serve consumers; nil: nobody does.
	Hosts Hosts

	Domain string // of $JS.<domain>.API; empty: the Prefix
	// DefaultAPI answers $JS.API and $KV too, as if no domain were: only where no JetStream does (CheckDefaultAPI).
	DefaultAPI bool

	// Trace is told of the requests whose clients ask for a trace. It must not wait. nil: nobody looks.
	Trace func(Trace)

	// Account is the account of NATS that Conn is of, if it is another than the first that the node serves. The Service of the first does what
	// is to be done once: it proposes what is over, and publishes again what buckets say.
	Account string
	// Beside are connections to the other accounts that the node serves, where a bucket's own subject is listened to as well.
	Beside []*nats.Conn

	// Void is a subject that nobody listens to and Conn may publish to; empty: the second token is _.
	Void string

	// RequestsMax and RequestBytesMax bound the requests in flight; beyond them clients hear 'busy'. Too small wastes
	// throughput, too large wastes memory when the cluster stalls. 0 takes the default.
	RequestsMax, RequestBytesMax int
	// ClientPercent is how much of them one client may have, in hundredths, by the inbox that its answers go to; 100: all of them. 0 takes the
	// default.
	ClientPercent int
	// Timeout is how long a request may take before its client hears that the outcome is unknown. 0 takes the default.
	Timeout time.Duration

	lookEvery  time.Duration // keeperPeriod, but in tests
	expiryWait time.Duration // expiryWaitMax, but in tests
}

// Hosts are the nodes that serve consumers. See kv/delivery.
type Hosts interface {
	// Choose names the host of a consumer to be made, a pull consumer's or another's. The error is watch.ErrNoHost or watch.ErrTooMany.
	Choose(pull bool) (rpc.NodeID, rpc.BootEpoch, error)
	// Ask has a consumer's host answer a request for its state; made: as to who made it.
	Ask(consumer store.Consumer, made bool, reply string)
	// Pull has a pull consumer's host serve a request for messages; false if it cannot.
	Pull(consumer store.Consumer, request watch.Pulled) bool
}

// Defaults of Options, and the service's other bounds.
const (
	RequestsMaxDefault     = 16_384
	RequestBytesMaxDefault = 64 << 20
	ClientPercentDefault   = 25
	TimeoutDefault         = 5 * time.Second

	// closeWait bounds how long Close lets requests finish.
	closeWait = 2 * time.Second
	// keeperPeriod is how late a deadline may be noticed, and how often a failed subscription is tried again.
	keeperPeriod = 100 * time.Millisecond
)

// Service answers clients while its node leads, on <prefix>.bucket.>, <prefix>.kv.>, $JS.<domain>.API.> and the bare subjects of
// buckets. Its methods may be called by several goroutines.
type Service struct {
	conn    *nats.Conn
	prefix  string
	node    node.Proposer
	store   *store.Store
	logger  *slog.Logger
	timeout time.Duration
	trace   func(Trace) // nil: nothing is traced

	lane     Lane // nil: there is none
	prompter node.Prompter
	corked   bool // by who applies, until a run is settled

	protocol   *jetstream.Protocol
	plain      *jetstream.Protocol // as protocol, without a domain
	hosts      Hosts
	choose     func(pull bool) (rpc.NodeID, rpc.BootEpoch, error) // of hosts; for every request the same
	defaultAPI bool
	void       string       // a subject that nobody listens to
	probed     []*nats.Conn // where other JetStreams may be

	// epoch counts the changes of leadership; it is odd while this node leads.
	epoch    atomic.Uint64
	inflight *inflight
	refusals refusals
	figures  figures

	reads   *readQueue
	answers chan answer
	probes  chan todo
	buckets buckets

	reflects       atomic.Pointer[moment]   // what was applied last
	republications map[string]republication // by bucket; of who applies
	republished    chan *nats.Msg
	republishing   atomic.Int64 // bytes in it
	republishDrops atomic.Uint64

	republishRefused atomic.Uint64 // entries not published again, for what the messages would have been
	ordersDrops      atomic.Uint64

	wake    chan struct{} // leadership changed, or there is something else for the keeper
	elected chan struct{} // leadership changed: for the expirer
	stop    chan struct{}
	closed  sync.Once
	wg      sync.WaitGroup

	listenMu   sync.Mutex
	subs       []subscription          // nil: not listening
	listensFor uint64                  // the epoch of subs
	bare       map[string]subscription // to the bare subjects of buckets
	draining   bool                    // do not listen
	withheld   bool                    // nor then
	ended      []chan struct{}         // of the subscriptions being drained

	hush hush

	nodeID  string
	listens func(node string, session int) string // nil: it is not seen who listens
	peers   func() []string
	session session

	lookEvery  time.Duration
	expiryWait time.Duration // for a proposal
}

// answer is what a client hears, on its way to the replier: the outcome of a write, or a failure.
type answer struct {
	request *request
	work    work
	result  *store.Result
	failure *failure
	replies []reply // in the place of an outcome
	claimed bool    // the request counts in inflight, and nobody else ends it; other failures count in refusals
}

// New makes a service and registers it with the node: make it before the node starts. Close it.
func New(o Options) (*Service, error) {
	if o.Conn == nil || o.Prefix == "" || o.NodeID == "" || o.Node == nil || o.Store == nil || o.RoundTrip == nil {
		return nil, errors.New("kv service: Conn, Prefix, NodeID, Node, Store and RoundTrip are required")
	}
	if (o.Listens == nil) != (o.Peers == nil) {
		return nil, errors.New("kv service: Listens and Peers are of no use without each other")
	}
	if !o.Conn.Opts.SkipSubjectValidation {
		return nil, errors.New("kv service: connect with nats.SkipSubjectValidation")
	}
	o.setDefaults()
	s := &Service{
		conn: o.Conn, prefix: o.Prefix, node: o.Node, store: o.Store, logger: o.Logger, timeout: o.Timeout, trace: o.Trace,
		inflight: newInflight(o.RequestsMax, o.RequestBytesMax, o.ClientPercent),
		reads:    newReadQueue(o.RequestsMax),
		answers:  make(chan answer, o.RequestsMax+refusalsMax),
		probes:   make(chan todo, probesMax),
		protocol: &jetstream.Protocol{Prefix: o.Prefix, Domain: o.Domain, Node: o.NodeID, Account: o.Account}, defaultAPI: o.DefaultAPI, hosts: o.Hosts, choose: o.Hosts.Choose,
		void:   o.Void,
		probed: append([]*nats.Conn{o.Conn}, o.Beside...),
		hush:   hush{lasts: hushTime, roundTrip: o.RoundTrip},
		nodeID: o.NodeID, listens: o.Listens, peers: o.Peers,
		session:     session{number: rand.IntN(sessionsMax)}, // a process before this one most likely had others
		lookEvery:   o.lookEvery,
		expiryWait:  o.expiryWait,
		republished: make(chan *nats.Msg, republishMax), republications: map[string]republication{},
		buckets: buckets{known: map[string]bool{}},
		wake:    make(chan struct{}, 1),
		elected: make(chan struct{}, 1),
		stop:    make(chan struct{}),
	}
	plain := *s.protocol
	plain.Domain = ""
	s.plain = &plain
	s.refusals.left.Store(refusalsMax)
	if at := o.Store.Moment(); at.ID.Index > 0 { // what a node shows that has applied nothing since it started is as old as that
		s.reflects.Store(&moment{at.ID.Index, at.Time})
	}
	s.run(s.keeper, s.replier, s.prober)
	if s.first() {
		s.run(s.republisher, s.expirer)
	}
	for range readersCount {
		s.run(s.reader)
	}
	s.enterLane(o.Lane)
	o.Store.Follow(s.follower)
	o.Node.Leadership(s.leadership)
	return s, nil
}

// run starts goroutines that end with the service.
func (s *Service) run(list ...func()) {
	s.wg.Add(len(list))
	for _, do := range list {
		go do()
	}
}

// first reports whether this is the service of the first account.
func (s *Service) first() bool { return s.protocol.Account == "" }

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Hosts == nil {
		o.Hosts = nobody{}
	}
	if o.Domain == "" {
		o.Domain = o.Prefix
	}
	if o.Void == "" {
		o.Void = o.Prefix + "._"
	}
	if o.RequestsMax <= 0 {
		o.RequestsMax = RequestsMaxDefault
	}
	if o.RequestBytesMax <= 0 {
		o.RequestBytesMax = RequestBytesMaxDefault
	}
	if o.ClientPercent <= 0 {
		o.ClientPercent = ClientPercentDefault
	}
	if o.Timeout <= 0 {
		o.Timeout = TimeoutDefault
	}
	if o.lookEvery <= 0 {
		o.lookEvery = keeperPeriod
	}
	if o.expiryWait <= 0 {
		o.expiryWait = expiryWaitMax
	}
}

// leadership hears from the node, on its goroutine, that it leads or no longer does.
func (s *Service) leadership(leading bool) {
	if leading == isLeading(s.epoch.Load()) {
		return
	}
	s.epoch.Add(1)
	s.rouse()
	ring(s.elected)
}

// rouse has the keeper look.
func (s *Service) rouse() { ring(s.wake) }

func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default: // it is rung already
	}
}

func isLeading(epoch uint64) bool { return epoch%2 == 1 }

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

// log has a command logged; of one that makes a bucket, after it is known that no other JetStream has its stream.
func (s *Service) log(r *request, w work) {
	if f := s.notOpen(w.command); f != nil {
		s.giveUp(r, f)
		return
	}
	if w.made == "" || s.defaultAPI {
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

// propose has a write logged, unless its client has been told that it is overdue (C5). A node that does not lead, or that leads again, says
// nothing: another may have carried out a copy (K25). Nor is anything said of a request that has been carried out in part.
func (s *Service) propose(r *request, w work) {
	if !s.leadsSince(r) {
		s.drop(r)
		return
	}
	inPart, waits := s.inflight.log(r)
	if !waits {
		return
	}
	r.trace.proposed()
	err := s.node.Propose(w.command, func(result any, at rpc.EntryID) {
		if refused, is := result.(error); is {
			s.refused(r, inPart, refused)
			return
		}
		r.trace.applied(at)
		s.applied(r, w, result)
	})
	if err != nil {
		s.refused(r, inPart, err)
	}
}

// refused ends a request that the node did not log, or not its last part.
func (s *Service) refused(r *request, inPart bool, err error) {
	switch {
	case inPart:
		s.drop(r)
	case errors.Is(err, node.ErrBusy):
		s.giveUp(r, Busy.says("%v", err))
	case errors.Is(err, node.ErrFull):
		s.giveUp(r, Full.says("%v", err))
	case errors.Is(err, node.ErrTooLarge):
		if s.inflight.claim(r) {
			s.respond(r, r.fail(TooLarge.says("%v", err)))
			s.inflight.free(r)
		}
	default:
		s.drop(r)
	}
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
	if !s.direct() || w.bucket || w.apart { // to follow a change may take a while too
		kept := outcome
		s.answer(answer{request: r, work: w, result: &kept})
		return
	}
	s.cork()
	s.tell(r, w, outcome)
}

// confirm asks whether a read may be done now, and has it done.
func (s *Service) confirm(r *request, w work) {
	err := s.node.ReadIndex(func(err error) {
		if err == nil {
			r.trace.confirmed()
			if s.reads.put(todo{r, w}) {
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
	r.msg.Data, r.work = nil, work{} // many may wait
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
	if a.work.bucket {
		s.follow() // whoever hears that a bucket is there finds it listening
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
		if s.respond(r, replies) {
			s.answered(r)
		} else {
			s.figures.unanswered.Add(1)
		}
		s.traced(r)
		s.inflight.free(r)
	}
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
			s.logger.Debug("an answer could not be sent", "error", err)
			sent = false
		}
	}
	return sent
}

// Close stops listening, lets what is in flight finish for a bounded time, and ends the service.
func (s *Service) Close() {
	s.closed.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		if err := s.end(ctx); err != nil {
			s.logger.Warn("the kv service stops with requests in flight: their clients hear nothing", "error", err)
		}
		close(s.stop)
		s.wg.Wait()
	})
}
