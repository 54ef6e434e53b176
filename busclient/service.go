package busclient

// The service: it owns one client per peer, creates, finds and closes them. What it does with messages is in server.go,
// with links and time in turn.go.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nuid"

	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
)

// flushTimeout bounds how long Start waits until NATS knows what this node listens for.
const flushTimeout = time.Second

// IRaftClientService is how a node finds its peers.
type IRaftClientService interface {
	// Using calls action with the client of a peer, which it creates when there is none yet, and returns when action
	// has. No lock is held meanwhile. Whoever is no peer is ErrUnknownPeer; after Close it is ErrClosed.
	Using(peerID rpc.NodeID, action func(IRaftClient)) error
}

// Owner is what the bus tells the node. Its methods are called on goroutines of the bus: they must not block, and must
// not call Close. Pinged, Link and Bus are called by one goroutine, in the order of what happened.
type Owner interface {
	// Receive is given a command of a known peer, any but a ping, which the bus answers. Its Call leads back, by
	// Answer. Several goroutines may call it at once.
	Receive(rpc.Message)
	// Pinged is given the outcome of each of this node's pings on the control connection.
	Pinged(Pinged)
	// Link says that the link to a peer is connected now, or broken and why. All links begin broken, unsaid. The link of who
	// left or was replaced breaks, with ErrUnknownPeer or ErrReplaced.
	Link(peer rpc.NodeID, connected bool, reason error)
	// Bus says whether this node's control and bulk connections both stand. It begins as false, unsaid.
	Bus(up bool)
	// Learned is given a configuration that a ping or its answer brought and that is later than the one of PingContent, and its
	// cluster. It says nothing but that somebody who may know says so: the owner decides, and calls Admit. It is given again
	// with each ping until PingContent is as late. It must not be changed. Several goroutines may call it at once.
	Learned(rpc.ClusterID, rpc.Configuration)
	// Booted is given the newest start of a peer's instance, once it is proven. An owner that keeps it, in its data folder, and
	// gives it back as Options.Starts when it is started again, refuses an old backup of that peer's folder (F23). Several
	// goroutines may call it at once.
	Booted(Identity)
}

// Options makes a Service. Config, Control, Bulk and Owner must be given.
type Options struct {
	Config        config.IRaftConfig
	Identity      Identity // its ID is Config's
	Control, Bulk Bus      // stay the caller's, to be closed after the service
	Owner         Owner
	// PingContent is what this node says about itself when it is pinged. It is asked on goroutines of the bus: it must not block. Nil:
	// there is nothing to say.
	PingContent func() PingContent
	// Earlier are the starts of this node's own data folder before this one, as many of the last as it keeps, rising: so a peer can tell
	// an old copy of the folder that was put back (F23).
	Earlier     []rpc.BootEpoch
	Starts      []Identity       // the newest start of each peer's instance, as Owner.Booted gave it in earlier lives of this node
	PreviousKey []byte           // during a rotation of the cluster key: the key before, still accepted (Q3)
	Logger      *slog.Logger     // nil: silent
	Now         func() time.Time // nil: time.Now
	Seed        uint64           // of the jitter of probes; 0: the boot epoch
	// Nonce makes a subject token that nobody can guess and no earlier process of this node had; a simulator's may come from its
	// seed. NewService calls it twice. Nil: nuid.Next.
	Nonce func() string
}

// PingContent is what a node says about itself.
type PingContent struct {
	Leader        rpc.NodeID // whom it knows to lead in Term; empty: nobody
	Term          rpc.Term
	Configuration *rpc.Configuration // the latest committed one, which is not changed any more; nil: none yet
	Lacks         bool               // its disk has no room for writes, or no client reaches it, or its state machine lags
	NoRoom        bool               // its disk has no room for writes
	Commands      uint64             // the newest version of commands that its state machine applies; 0: it does not say
}

// LinkStatus is the state of one link.
type LinkStatus struct {
	Peer   rpc.NodeID
	State  string        // "connected" or "broken"
	RTT    time.Duration // of the last good ping on the control connection; 0: none yet
	Since  time.Time     // when the link came into its state
	Reason string        // why it is broken
	// Refusal is why the peer takes nothing from this node, or this node nothing from it, and what to do; empty: no such thing.
	Refusal string
	// Commands is the newest version of commands that the peer's state machine applies, as it last said; 0: it did not.
	Commands uint64
}

// Service is the IRaftClientService, and the RPC server side on the node's own subjects. Safe for use by several
// goroutines.
type Service struct {
	prefix  string
	own     string // "<prefix>.rpc.<self>.": what the subjects that this node listens on begin with
	several several
	self    Identity
	earlier []rpc.BootEpoch
	nonces  [paths]string
	buses   [paths]Bus
	keys    atomic.Pointer[rpc.Keys] // of nil: messages carry no code
	owner   Owner
	content func() PingContent
	joining bool // waits for members that it does not know to show themselves, until Admit
	log     *slog.Logger
	now     func() time.Time
	seed    uint64

	drops     drops
	starts    *starts
	alone     alone
	lastRound atomic.Uint64
	roster    atomic.Pointer[roster] // nil before Admit
	buffers   sync.Pool              // of *[]byte, for messages that leave

	mu        sync.RWMutex // guards what follows; nothing is called and nothing waits under it
	configure []rpc.NodeID // the peers by configuration, until Admit
	clients   map[rpc.NodeID]*client
	ended     []func() // the subscriptions' unsubscribes
	listening map[string]bool
	running   bool
	closed    bool

	events events
	turns  turns
	stop   chan struct{}
	loop   sync.WaitGroup
}

var _ IRaftClientService = (*Service)(nil)

// NewService makes a service that neither sends nor listens yet: Start it.
func NewService(o Options) (*Service, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Service{
		prefix:    o.Config.Prefix(),
		own:       family(o.Config.Prefix()) + string(o.Identity.ID) + ".",
		self:      o.Identity,
		earlier:   o.Earlier,
		buses:     [paths]Bus{control: o.Control, bulk: o.Bulk},
		owner:     o.Owner,
		content:   o.PingContent,
		joining:   o.Config.Joining(),
		log:       logger(o.Logger).With("node", o.Identity.ID),
		now:       o.Now,
		seed:      cmp.Or(o.Seed, uint64(o.Identity.Boot)),
		clients:   map[rpc.NodeID]*client{},
		listening: map[string]bool{},
		stop:      make(chan struct{}),
	}
	s.keys.Store(rpc.NewKeys(o.Config.ClusterKey(), o.PreviousKey))
	s.starts = newStarts(o.Starts)
	s.drops = drops{log: s.log, told: map[toldKey]bool{}}
	s.alone = alone{self: s.self, answers: make(chan selfAnswer, selfAnswersMax)}
	s.events.bell = make(chan struct{}, 1)
	s.buffers.New = func() any { return new([]byte) }
	s.fillIn(o.Config.Members(), o.Nonce)
	s.several = several{
		on: o.Config.Multicast(), heartbeat: o.Config.Timing().Heartbeat, subjects: family(s.prefix) + AllNodes + ".",
		own: family(s.prefix) + AllNodes + "." + string(s.self.ID) + ".", returns: returnsTo(s.prefix, s.self.ID, AllNodes) + s.nonces[bulk] + ".",
	}
	return s, nil
}

// Rekey changes the cluster key while the service runs: the key that seals, and another that is accepted too, if there is one (Q3). It
// may be called at any time; a service that began without a key stays without.
func (s *Service) Rekey(current, another []byte) error {
	if len(current) == 0 || s.keys.Load() == nil {
		return errors.New("cluster key: messages cannot be sealed from now on, or not any more, while nodes run: stop all, and start them with or without a key")
	}
	s.keys.Store(rpc.NewKeys(current, another))
	return nil
}

// OnDelivered has one of two called when messages of a connection were handed to the owner. With whole, all that had arrived on a
// connection is handed out, and the call is on the goroutine that reads it, so that the owner can act without waking anybody. Nothing arrives there
// meanwhile: control may not wait, and bulk for no more than a disk. Else (over TLS) each message has its own call, on a goroutine of its
// subscription. They are called at the same time. It replaces who was told before.
func (s *Service) OnDelivered(control, bulk func(whole bool)) {
	for p, told := range [paths]func(bool){control, bulk} {
		s.buses[p].OnDelivered(told)
	}
}

// Corked calls send, and has what is sent meanwhile leave as one piece per connection. It does not nest, and one goroutine
// may be in it at a time. A message that is sent by others meanwhile leaves with it.
func (s *Service) Corked(send func()) {
	for _, bus := range s.buses {
		bus.Cork()
		defer bus.Uncork()
	}
	send()
}

func (o *Options) check() error {
	switch {
	case o.Config == nil || o.Control == nil || o.Bulk == nil || o.Owner == nil:
		return errors.New("bus service: Config, Control, Bulk and Owner must be given")
	case o.Identity.ID != o.Config.Self().ID():
		return fmt.Errorf("bus service: identity %q is not the node %q of the configuration: give both the same id", o.Identity.ID, o.Config.Self().ID())
	case o.Identity.Boot.Count() == 0:
		return errors.New("bus service: boot epoch without a count: starts are counted from 1")
	}
	return nil
}

func (s *Service) fillIn(members []config.IRaftNodeConfig, nonce func() string) {
	if s.now == nil {
		s.now = time.Now
	}
	if nonce == nil {
		nonce = nuid.Next
	}
	for p := range paths {
		s.nonces[p] = nonce()
	}
	if s.content == nil {
		s.content = func() PingContent { return PingContent{} }
	}
	for _, m := range members {
		if m.ID() != s.self.ID {
			s.configure = append(s.configure, m.ID())
		}
	}
}

// Using calls action with the client of a peer: see IRaftClientService.
func (s *Service) Using(peerID rpc.NodeID, action func(IRaftClient)) error {
	c, err := s.client(peerID)
	if err != nil {
		return err
	}
	action(c)
	return nil
}

// client finds the client of a peer, or creates it.
func (s *Service) client(peer rpc.NodeID) (*client, error) {
	s.mu.RLock()
	c, closed := s.clients[peer], s.closed
	s.mu.RUnlock()
	switch {
	case closed:
		return nil, ErrClosed
	case c != nil:
		return c, nil
	}
	return s.create(peer)
}

func (s *Service) create(peer rpc.NodeID) (*client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if !slices.Contains(s.peers(), peer) {
		return nil, fmt.Errorf("%q: %w", peer, ErrUnknownPeer)
	}
	if s.clients[peer] == nil { // another caller may have been faster
		s.clients[peer] = newClient(s, peer)
		s.events.ring()
	}
	return s.clients[peer], nil
}

// peers are the ids that this node may talk to: the table's, or while there is none the configuration's.
func (s *Service) peers() []rpc.NodeID {
	r := s.roster.Load()
	if r == nil {
		return s.configure
	}
	var ids []rpc.NodeID
	for id := range r.members {
		if id != s.self.ID {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Admit says who the members are. Before it only pings pass; from then on whatever comes from a member, and from the very
// instance that it is known by. It may be called again whenever the set of members changes: what was open to those who left
// ends with ErrUnknownPeer, and a member that is another instance now is a new peer, of which nothing is known yet (I12).
func (s *Service) Admit(cluster rpc.ClusterID, members []rpc.Member) {
	s.mu.Lock()
	before := s.roster.Load()
	now := newRoster(cluster, members, s.starts)
	s.roster.Store(now)
	s.starts.makeRoom(members)
	peers := s.peers()
	var left []*client
	for _, c := range s.ordered() {
		if reason := now.ends(c.peer, before); reason != nil {
			delete(s.clients, c.peer)
			c.leave(reason) // under the lock: whatever a client in its place has to say comes after
			left = append(left, c)
		}
	}
	s.mu.Unlock()
	for _, c := range left {
		c.rounds.close(now.ends(c.peer, before))
		s.drops.forget(c.peer)
	}
	s.ensureClients(peers)
}

// ensureClients makes links of all peers live: a link nobody uses is watched too, for status and for the answer to come.
func (s *Service) ensureClients(peers []rpc.NodeID) {
	for _, id := range peers {
		_, _ = s.client(id) // fails only after Close
	}
}

// Links returns the state of all links, in order of peer.
func (s *Service) Links() []LinkStatus {
	var all []LinkStatus
	for _, c := range s.sorted() {
		status := *c.status.Load()
		status.Commands = c.commands.Load()
		all = append(all, status)
	}
	return all
}

func (s *Service) sorted() []*client {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ordered()
}

// ordered returns the clients in order of peer: a simulated run must not depend on the order of a map. s.mu is held.
func (s *Service) ordered() []*client {
	all := make([]*client, 0, len(s.clients))
	for _, c := range s.clients {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *client) int { return cmp.Compare(a.peer, b.peer) })
	return all
}

// Drops counts the messages that were dropped, by reason.
func (s *Service) Drops() map[string]uint64 { return s.drops.byName() }

// Start makes sure that this process has its name for itself (see CheckAlone: it waits for NATS, as long as ctx lets it),
// then listens, and drives the links until Close. When it returns, NATS delivers to this node.
func (s *Service) Start(ctx context.Context) error {
	if err := s.CheckAlone(ctx); err != nil {
		return err
	}
	if err := s.Listen(); err != nil {
		return err
	}
	for _, bus := range s.buses {
		_ = bus.Flush(flushTimeout) // a connection that was lost subscribes anew when it is back
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.running:
		return errors.New("bus service: started already")
	}
	s.running = true
	s.loop.Add(1)
	go s.run()
	return nil
}

// Close stops listening, ends each open call with ErrClosed, and returns when no goroutine of the bus is in the owner or
// in a done any more. The connections stay open. It may be called again, but not from a callback of the service.
func (s *Service) Close() {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	ended := s.ended
	s.ended = nil
	s.mu.Unlock()
	if first {
		close(s.stop)
	}
	s.loop.Wait()
	for _, unsubscribe := range ended {
		unsubscribe()
	}
	for _, c := range s.sorted() {
		c.retired.Store(true)
		c.rounds.close(ErrClosed)
	}
}
