package kv

// What the service owns, and when it begins and ends.

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/internal/bell"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
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
	lanes
	listening

	protocol   *jetstream.Protocol
	plain      *jetstream.Protocol // as protocol, without a domain
	hosts      Hosts
	choose     func(watch.Wanted) (rpc.NodeID, rpc.BootEpoch, error) // of hosts; for every request the same
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

	reflects     atomic.Pointer[moment] // what was applied last
	republishing republishing
	ordersDrops  atomic.Uint64

	wides   wides
	wake    bell.Bell // leadership changed, or there is something else for the keeper
	elected bell.Bell // leadership changed: for the expirer
	stop    chan struct{}
	closed  sync.Once
	wg      sync.WaitGroup

	hush    hush
	hurries atomic.Bool // what has not begun, or looks first, is not waited for

	nodeID  string
	listens func(node string, session int) string // nil: it is not seen who listens
	peers   func() []string
	session session

	waits
}

// New makes a service and registers it with the node: make it before the node starts. Close it.
func New(o Options) (*Service, error) {
	if err := o.check(); err != nil {
		return nil, err
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
		probed: append([]*nats.Conn{o.Conn}, o.OtherAccounts...),
		hush:   hush{lasts: hushTime, roundTrip: o.RoundTrip},
		nodeID: o.NodeID, listens: o.Listens, peers: o.Peers,
		session:      session{number: rand.IntN(sessionsMax)}, // a process before this one most likely had others
		waits:        o.waits,
		republishing: newRepublishing(),
		wake:         bell.New(),
		wides:        wides{over: bell.New()},
		elected:      bell.New(),
		stop:         make(chan struct{}),
	}
	plain := *s.protocol
	plain.Domain = ""
	s.plain = &plain
	s.refusals.left.Store(refusalsMax)
	if at := o.Store.Moment(); at.ID.Index > 0 { // what a node shows that has applied nothing since it started is as old as that
		s.reflects.Store(&moment{at.ID.Index, at.Time})
	}
	s.run(s.keeper, s.replier, s.prober, s.wider)
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

// leadership hears from the node, on its goroutine, that it leads or no longer does.
func (s *Service) leadership(leading bool) {
	if leading == isLeading(s.epoch.Load()) {
		return
	}
	s.epoch.Add(1)
	for _, t := range s.wides.clear() {
		s.drop(t.request)
	}
	s.rouse()
	s.elected.Ring()
}

// rouse has the keeper look.
func (s *Service) rouse() { s.wake.Ring() }

func isLeading(epoch uint64) bool { return epoch%2 == 1 }

// Close stops listening, lets what is in flight finish for a bounded time, and ends the service.
func (s *Service) Close() {
	s.closed.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		if err := s.end(ctx, true); err != nil {
			s.logger.Warn("the kv service stops with requests in flight: their clients hear nothing", "err", err)
		}
		close(s.stop)
		s.wg.Wait()
	})
}
