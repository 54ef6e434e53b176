package replica

// The accounts whose clients a node serves (design section 4; Q1, Q7): each by a connection of its own, a service, and a leaf connection over
// which it delivers to watchers. Which account a request is of NATS decides, by the connection that it comes over. All have the same buckets;
// who may use which is NATS's to say. What a node is asked about itself, administration, backups and events are the first account's only.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/leaf"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/kv"
	"github.com/raftbus/raftbus/kv/delivery"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Account is an account that is served beside the first.
type Account struct {
	Name string // one token
	// Clients and Leaf come after NATSOptions.Options, for the two connections to the account.
	Clients, Leaf []nats.Option
}

// Bounds are of each account that is served (Q12). 0 takes the default, which gives each its part of what the node takes, and of the watches
// that one bucket takes.
type Bounds struct {
	Requests, RequestBytes int // in flight
	ClientPercent          int // of them, for one client
	Watches                int // on all nodes
}

func (o *Options) bounds() Bounds {
	b, accounts := o.Bounds, len(o.accounts())
	if b.Requests == 0 {
		b.Requests = min(kv.RequestsMaxDefault, node.ProposalsMax/accounts)
	}
	if b.RequestBytes == 0 {
		b.RequestBytes = min(kv.RequestBytesMaxDefault, node.ProposalBytesMax/accounts)
	}
	if b.Watches == 0 { // all may be in one bucket
		b.Watches = max(delivery.ConsumersMaxDefault/accounts, 1)
	}
	return b
}

// served is what serves one account.
type served struct {
	name    string // empty: the first
	node    string // this node's name in it
	leaf    []nats.Option
	conn    *busclient.Conn
	watches *delivery.Service
	dialled *leaf.Conn // the connection that watches are served over
	kv      *kv.Service
	refused refusal
	ready   atomic.Bool   // kv is there
	moves   chan struct{} // has room for one: conn is to be made anew
	canary  []string      // subjects by which it is seen whether NATS lets clients be heard
}

// accounts are those to serve, the first first.
func (o *Options) accounts() []Account {
	return append([]Account{{Clients: o.NATS.Clients, Leaf: o.NATS.Leaf}}, o.NATS.Accounts...)
}

// checkAccounts refuses names that cannot be, or are there twice.
func (o *Options) checkAccounts() error {
	seen := map[string]bool{}
	for _, a := range o.NATS.Accounts {
		switch {
		case !config.ValidToken(a.Name):
			return fmt.Errorf("account %q: name it by one subject token, 1 to 64 of A-Z a-z 0-9 _ -, not starting with _", a.Name)
		case seen[a.Name]:
			return fmt.Errorf("account %s is there twice: name it once", a.Name)
		}
		seen[a.Name] = true
	}
	return nil
}

// dialAccounts connects to each account as its clients do.
func (r *Replica) dialAccounts(ctx context.Context) error {
	for _, a := range r.o.accounts() {
		s := &served{name: a.Name, node: busclient.NodeIn(a.Name, r.o.ID), leaf: a.Leaf, moves: make(chan struct{}, 1)}
		var err error
		if s.conn, err = r.dialAs(ctx, busclient.ConnOptions{Role: busclient.RoleClient, Node: s.node, Move: s.noteMove}, a.Clients); err != nil {
			return err
		}
		r.served = append(r.served, s)
	}
	return nil
}

// serveAccounts makes the services. Before the node starts: they follow the store from the first entry on.
func (r *Replica) serveAccounts() error {
	for _, s := range r.served {
		if err := r.serveAccount(s); err != nil {
			return err
		}
	}
	r.closers = append(r.closers, func() error { r.closeServices(); return nil }) // else each would wait for its requests, one after the other
	return nil
}

// leaderIn is who leads, as a host in an account; empty: nobody that this node knows.
func (r *Replica) leaderIn(s *served) rpc.NodeID {
	leader := r.node.PingContent().Leader
	if leader == "" {
		return ""
	}
	return rpc.NodeID(busclient.NodeIn(s.name, string(leader)))
}

// listens reports whether the account's clients are heard here.
func (s *served) listens() bool { return s.ready.Load() && s.kv.Listens() }

func (r *Replica) serveAccount(s *served) (err error) {
	logger, bounds := r.logger, r.o.bounds()
	if s.name != "" {
		logger = logger.With("account", s.name)
	}
	s.watches, err = delivery.New(delivery.Options{
		Node: rpc.NodeID(s.node), Instance: r.folder.Instance, Boot: r.folder.Boot, Prefix: r.config.Prefix(), Conn: s.conn.NATS(),
		Proposer: r.node, Store: r.store, Logger: logger,
		Dial:   func(calls delivery.Callbacks) (delivery.Leaf, error) { return r.dialLeaf(s, calls, logger) },
		Leader: func() rpc.NodeID { return r.leaderIn(s) }, Listens: s.listens, ConsumersMax: bounds.Watches, Parts: len(r.served), Stray: r.strays(s),
	})
	if err != nil {
		return err
	}
	r.closers = append(r.closers, func() error { s.watches.Close(); return nil })
	s.kv, err = kv.New(kv.Options{
		Conn: s.conn.NATS(), Lane: s.conn, Prefix: r.config.Prefix(), NodeID: r.o.ID, Node: r.node, Store: r.store, Logger: logger,
		Domain: r.o.Domain, DefaultAPI: r.o.DefaultAPI, Account: s.name, OtherAccounts: r.connsOfOthers(s), Void: busclient.VoidSubject(r.config.Prefix()),
		Listens: func(node string, session int) string {
			return busclient.ListensSubject(r.config.Prefix(), busclient.NodeIn(s.name, node), session)
		},
		Peers: r.peers, Hosts: s.watches, Trace: r.tracing(), RoundTrip: r.roundTrip, RequestsMax: bounds.Requests, RequestBytesMax: bounds.RequestBytes, ClientPercent: bounds.ClientPercent,
	})
	if err != nil {
		return err
	}
	r.closers = append(r.closers, func() error { s.kv.Close(); return nil })
	if err := s.release(); err != nil {
		return err
	}
	s.refused.text = notYet
	s.kv.Withhold(true)
	s.ready.Store(true)
	return nil
}

func (r *Replica) connsOfOthers(s *served) (conns []*nats.Conn) {
	for _, other := range r.served {
		if other != s {
			conns = append(conns, other.conn.NATS())
		}
	}
	return conns
}

// first is what serves the first account.
func (r *Replica) first() *served { return r.served[0] }

// further are those beside the first.
func (r *Replica) further() []*served { return r.served[1:] }

// drain has the services of all accounts stop listening and finish what they have, at once, so that a hush is one and not one after the other.
func (r *Replica) drain(ctx context.Context) error {
	errs := make([]error, len(r.served))
	r.eachAtOnce(func(i int, s *served) { errs[i] = s.kv.Drain(ctx) })
	return errors.Join(errs...)
}

func (r *Replica) drainFor(ctx context.Context, longest time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	return r.drain(ctx)
}

func (r *Replica) resume() {
	for _, s := range r.served {
		s.kv.Resume()
	}
}

func (r *Replica) closeServices() { r.eachAtOnce(func(_ int, s *served) { s.kv.Close() }) }

func (r *Replica) eachAtOnce(do func(int, *served)) {
	var all sync.WaitGroup
	for i, s := range r.served {
		all.Go(func() { do(i, s) })
	}
	all.Wait()
}

// AccountStatus is how a node serves an account beside the first.
type AccountStatus struct {
	Name      string          `json:"name"`
	Connected bool            `json:"connected"`         // its connection to clients is up
	Refused   string          `json:"refused,omitempty"` // why the node does not serve it; absent: it does
	Watches   observe.Watches `json:"watches"`
}

func (r *Replica) accountsStatus() (list []AccountStatus) {
	for _, s := range r.further() {
		list = append(list, AccountStatus{Name: s.name, Connected: s.connected(), Refused: s.refused.reason(), Watches: s.watchStatus()})
	}
	return list
}

// warnings are what an operator should look at.
func (a *AccountStatus) warnings() (list []string) {
	if a.Refused != "" {
		list = append(list, fmt.Sprintf("account %s is not served: %s", a.Name, a.Refused))
	}
	if !a.Connected {
		list = append(list, fmt.Sprintf("account %s: the connection to its clients is away: look at the node's credentials for it", a.Name))
	}
	if !a.Watches.Leaf {
		list = append(list, fmt.Sprintf("account %s: no leaf connection: this node serves it no watches; look at the node's credentials for it", a.Name))
	}
	return list
}
