package delivery

// The service: what it is made of, how it is made, and what other packages ask of it.

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/internal/bell"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Options say what a Service stands on. All but Stray, ConsumersMax, Parts and Logger are required.
type Options struct {
	Node     rpc.NodeID     // as a host; in an account beside the first, watch.In it
	Instance rpc.InstanceID // of its data folder
	Boot     rpc.BootEpoch
	Prefix   string     // the first token of all subjects
	Conn     *nats.Conn // the client connection, for what nodes tell each other; stays the caller's
	Proposer node.Proposer
	Store    *store.Store
	// Dial begins to connect as a leaf. Until that is done this node serves no watcher.
	Dial func(Callbacks) (Leaf, error)
	// Leader says who leads, as a host, as far as the node knows; empty: nobody. Several goroutines ask, again and again.
	Leader func() rpc.NodeID
	// Listens says whether clients of the account are heard here, over Conn: what leaves on that afterwards leaves behind the subscriptions.
	// Several goroutines ask, again and again, from New on.
	Listens func() bool
	// Stray is told, on a goroutine of NATS's, of hosts of another account that are heard in this one: both are one account of NATS. nil: nobody
	// wants to know.
	Stray func(host string)
	// ConsumersMax bounds those of the account, on all nodes, and by as many KiB what they ask for (Q12): ConsumersMaxMost at most. 0 takes the default.
	ConsumersMax int
	// Parts is how many such services share what one may hold in memory for its consumers: one for each account. 0 counts as 1.
	Parts  int
	Logger *slog.Logger
}

const (
	// ConsumersMaxDefault is as many as one bucket may have.
	ConsumersMaxDefault = 100_000
	// ConsumersMaxMost is the greatest bound that there can be: what so many ask for is still a number of bytes.
	ConsumersMaxMost = 1_000_000_000
	// configBytes is what the configuration of each may have where there are as many as may be: nodes hold them in memory, at a start all at once.
	configBytes = 1 << 10
)

// Leaf is the connection that deliveries go over. See busclient/leaf.
type Leaf interface {
	Publish(subject, reply string, header, data []byte) error
	Room() int
	AwaitRoom() bool
	MaxPayload() int   // 0 while it is down
	LastError() string // since it was up last; empty: none
	Watch(subject string) (listened bool)
	Unwatch(subject string)
	Close()
}

// Callbacks are what a Leaf calls. None of them waits.
type Callbacks struct {
	Status   func(up bool)
	Interest func(subject string, listened bool)
	Room     func()
	// FlowSubject is where clients answer flow-control requests, and Processed is to be called with each subject that is answered.
	FlowSubject string
	Processed   func(subject string)
}

// Service runs the hub and the placer of a node.
type Service struct {
	o        Options
	began    time.Time
	limits   watch.Limits // the hub's
	leaf     Leaf
	reunion  reunion
	inbox    *inbox
	room     bell.Bell
	reads    chan *errand
	up       atomic.Bool
	leaving  atomic.Bool
	telling  sync.Mutex // from when an announcement is made until it has left
	astray   bool       // owned by the warden: the node does not follow the log, as the hub was told last
	idle     atomic.Pointer[[]watch.Idle]
	serving  atomic.Int64
	leftOut  atomic.Uint64
	waited   atomic.Int64 // when it was last logged that pages wait; 0: never
	subs     []*nats.Subscription
	mu       sync.Mutex
	placer   *watch.Placer
	stop     chan struct{}
	stopping sync.Once
	wg       sync.WaitGroup
}

// New makes a service, and has it follow the store: make it before the node starts. Close it.
func New(o Options) (*Service, error) {
	if o.Node == "" || o.Prefix == "" || o.Conn == nil || o.Proposer == nil || o.Store == nil || o.Dial == nil || o.Leader == nil || o.Listens == nil {
		return nil, errors.New("delivery service: all options but Stray, ConsumersMax, Parts and Logger are required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.ConsumersMax <= 0 {
		o.ConsumersMax = ConsumersMaxDefault
	}
	limits := watch.DefaultLimits().Part(o.Parts)
	s := &Service{
		o: o, began: time.Now(), limits: limits, inbox: newInbox(), room: bell.New(), reads: make(chan *errand, limits.Reads),
		reunion: reunion{bell: bell.New()}, placer: watch.NewPlacer(string(o.Node)), stop: make(chan struct{}),
	}
	s.idle.Store(&[]watch.Idle{})
	if err := s.connect(); err != nil {
		s.deafen()
		return nil, err
	}
	o.Store.Follow(func(b store.Batch) { s.inbox.applied(b, s.mine) })
	o.Proposer.Leadership(s.lead)
	hub := watch.New(string(o.Node), uint64(o.Boot), s.limits)
	s.wg.Go(func() { s.serve(hub) })
	s.wg.Go(s.warden)
	for range limits.Reads {
		s.wg.Go(s.reader)
	}
	return s, nil
}

func (s *Service) connect() (err error) {
	if err := s.hear(); err != nil {
		return err
	}
	s.leaf, err = s.o.Dial(Callbacks{
		Status: s.status,
		Interest: func(subject string, listened bool) {
			s.inbox.hear(watch.Interest{Subject: subject, Listened: listened})
		},
		Room:        s.room.Ring,
		FlowSubject: watch.FlowSubject(string(s.o.Node)),
		Processed:   func(subject string) { s.inbox.add(watch.Processed{Subject: subject}) }, // a lost one is asked for again
	})
	return err
}

// mine reports whether this life of this node is a consumer's host.
func (s *Service) mine(c *store.Consumer) bool { return c.Host == s.o.Node && c.Boot == s.o.Boot }

// now is the time of the step machines: it only goes on.
func (s *Service) now() int64 { return int64(time.Since(s.began)) + 1 }

// Ask has the host of a consumer answer a request for its state, once it has applied what this node has; false if it cannot: too much waits, or it is
// lost, and so is what it is asked.
func (s *Service) Ask(c store.Consumer, made bool, reply string) (asked bool) {
	var lost bool
	if s.place(func(placer *watch.Placer) { lost = placer.Lost(s.now(), string(c.Host)) }); lost {
		return false
	}
	ask := watch.Asked{Ref: watch.Ref{Incarnation: c.Incarnation, Name: c.Name}, Index: uint64(s.o.Store.Applied().Index), Reply: reply, Made: made}
	if s.mine(&c) {
		return s.inbox.add(ask)
	}
	s.tell(string(c.Host), message{Ask: &ask})
	return true
}

// Pull has the host of a pull consumer serve a request for messages, once it has applied what this node has, and has all nodes hear of it; false if it
// cannot: it is one of a release that does not know them, or too much waits.
func (s *Service) Pull(c store.Consumer, p watch.Pulled) (knows bool) {
	s.place(func(placer *watch.Placer) { knows = placer.Pulls(string(c.Host)) })
	if knows {
		p.Ref, p.Host, p.Index = watch.Ref{Incarnation: c.Incarnation, Name: c.Name}, string(c.Host), uint64(s.o.Store.Applied().Index)
		s.tell(allNodes, message{Pull: &p})
		knows = s.inbox.add(p) || !s.mine(&c)
	}
	return knows
}

// Choose names the host of a consumer to be made. The error is watch.ErrNoHost, watch.ErrTooLarge or watch.ErrTooMany. Who takes no more than an even
// share has it whatever others have taken, so an account may take twice its bytes. How many are being made at the same time is not counted: requests in
// flight may take it that far beyond their number.
func (s *Service) Choose(w watch.Wanted) (rpc.NodeID, rpc.BootEpoch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	heavy := w.Weight > configBytes
	switch { // the bytes first: who is one of too many may go on, and ask for more
	case heavy && !s.placer.HasRoom(s.now(), s.o.ConsumersMax*configBytes):
		return "", 0, watch.ErrTooLarge
	case s.placer.Consumers() >= s.o.ConsumersMax:
		return "", 0, watch.ErrTooMany
	}
	name, life, ok := s.placer.Choose(s.now(), w.Pull)
	if !ok {
		return "", 0, watch.ErrNoHost
	}
	if heavy {
		s.placer.Make(s.now(), w)
	}
	return rpc.NodeID(name), rpc.BootEpoch(life), nil
}

// Status is how a node serves watchers.
type Status struct {
	Leaf      bool   // its connection is up
	LeafError string // what went wrong with it last, since it was up; empty: nothing
	Consumers int    // that it serves
	Hosts     int    // nodes that can serve, as far as it knows
	Account   int    // consumers of the account, on all nodes
	// LeftOut counts entries that consumers were not sent, since they are larger than max_payload; again if one is looked at again.
	LeftOut uint64
}

// Status returns how this node serves watchers.
func (s *Service) Status() Status {
	status := Status{Leaf: s.up.Load(), LeafError: s.leaf.LastError(), Consumers: int(s.serving.Load()), LeftOut: s.leftOut.Load()}
	s.place(func(p *watch.Placer) { status.Hosts, status.Account = p.Able(s.now()), p.Consumers() })
	return status
}

// Close ends the service. The node must not apply any more.
func (s *Service) Close() {
	s.stopping.Do(func() {
		s.deafen()
		close(s.stop)
		s.wg.Wait()
		s.leaf.Close()
	})
}

// deafen ends the subscriptions.
func (s *Service) deafen() {
	for _, sub := range s.subs {
		_ = sub.Unsubscribe() // fails only with the connection
	}
}
