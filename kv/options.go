package kv

// What a service is made of, and its bounds.

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

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

	// Listens is the subject on which it can be seen that a node listens, in one of its sessions; Peers are the others that may, or may have before they were
	// removed. Both nil: who else listens is not looked at before a planned move (AwaitAlone).
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
	// OtherAccounts are connections to the other accounts that the node serves, where a bucket's own subject is listened to as well.
	OtherAccounts []*nats.Conn

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

	waits
}

// waits are times that only tests change: 0 takes the constant that each line names.
type waits struct {
	lookEvery  time.Duration // keeperPeriod
	expiryWait time.Duration // expiryWaitMax
	probeWait  time.Duration // probeWait
	flushWait  time.Duration // flushWait
	hurryAfter time.Duration // hurryAfter
	followFor  time.Duration // followFor
}

// Hosts are the nodes that serve consumers. See kv/delivery.
type Hosts interface {
	// Choose names the host of a consumer to be made. The error is watch.ErrNoHost, watch.ErrTooLarge or watch.ErrTooMany.
	Choose(w watch.Wanted) (rpc.NodeID, rpc.BootEpoch, error)
	// Ask has a consumer's host answer a request for its state; made: as the answer to its creation. False if it cannot.
	Ask(consumer store.Consumer, made bool, reply string) bool
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

// check reports what is missing, or is of no use.
func (o *Options) check() error {
	switch {
	case o.Conn == nil || o.Prefix == "" || o.NodeID == "" || o.Node == nil || o.Store == nil || o.RoundTrip == nil:
		return errors.New("kv service: Conn, Prefix, NodeID, Node, Store and RoundTrip are required")
	case (o.Listens == nil) != (o.Peers == nil):
		return errors.New("kv service: Listens and Peers are of no use without each other")
	case !o.Conn.Opts.SkipSubjectValidation:
		return errors.New("kv service: connect with nats.SkipSubjectValidation")
	}
	return nil
}

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
	o.lookEvery = cmp.Or(o.lookEvery, keeperPeriod)
	o.expiryWait = cmp.Or(o.expiryWait, expiryWaitMax)
	o.probeWait = cmp.Or(o.probeWait, probeWait)
	o.flushWait = cmp.Or(o.flushWait, flushWait)
	o.hurryAfter = cmp.Or(o.hurryAfter, hurryAfter)
	o.followFor = cmp.Or(o.followFor, followFor)
}
