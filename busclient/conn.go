package busclient

// A Bus over one NATS connection, with the options that a consensus protocol needs of it (design section 4). It decides
// nothing about peers: it connects for ever, buffers nothing while it is cut off, and says what happens to it.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// Role is what a connection is for. It is the last part of its name, and sets how much may wait in its subscriptions.
type Role string

const (
	RoleControl Role = "control" // small messages between nodes: a stale one is worse than a lost one
	RoleBulk    Role = "bulk"    // log entries and snapshots between nodes
	RoleClient  Role = "client"  // requests of clients
)

// How long things may take on a connection. Writes must be back within 3 s of the return of NATS (F5), and a half-open
// connection must be noticed within 4 s (F10).
const (
	connectTimeout    = time.Second
	reconnectWait     = 100 * time.Millisecond
	reconnectJitter   = 100 * time.Millisecond
	keepAliveInterval = time.Second
	keepAliveMissed   = 2
	// writeTimeout bounds how long a server that reads no more can hold up whoever publishes.
	writeTimeout = time.Second
	// unsubscribeTimeout bounds the wait for a handler that is running when its subscription ends.
	unsubscribeTimeout = 5 * time.Second
)

// What may wait in one subscription until its handler takes it. Beyond it NATS drops messages and says so (F9).
var pendingLimits = map[Role]struct{ messages, bytes int }{
	RoleControl: {4096, 4 << 20},
	RoleBulk:    {16384, MessageBytesMax + 2*inFlightBytesMax},
	RoleClient:  {65536, 64 << 20},
}

// ConnOptions says where a connection goes and whose it is.
type ConnOptions struct {
	URLs         []string // of one server, or of several of one NATS cluster
	Prefix, Node string   // for the connection's name: raftbus/<prefix>/<node>/<role>
	Role         Role
	Options      []nats.Option // credentials, TLS, a dialler; what raftbus must have set itself wins over them
	Logger       *slog.Logger  // nil: silent
}

// ConnStats counts what went wrong on a connection since it was dialled.
type ConnStats struct {
	Disconnects      uint64
	SlowConsumer     uint64 // how often a subscription began to drop messages
	PermissionErrors uint64 // publishes and subscriptions that NATS refused
	LastError        string // since the last connect; empty: none
}

// Conn is a Bus over one NATS connection.
type Conn struct {
	nc     *nats.Conn
	role   Role
	log    *slog.Logger
	outbox *outbox // of a bulk connection; the others carry too little to fill what the system buffers

	disconnects, slow, permission atomic.Uint64

	mu        sync.Mutex
	up        bool
	since     time.Time
	listeners []func(bool)
	lastError string // logged already, until the next connect
	closed    chan struct{}
}

var _ Bus = (*Conn)(nil)

// Dial connects to NATS. When no server answers it succeeds all the same, and goes on trying until Close: see Up. It
// returns an error for options that can never work, and when ctx has ended.
func Dial(ctx context.Context, o ConnOptions) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	if _, known := pendingLimits[o.Role]; !known {
		return nil, fmt.Errorf("connect to NATS: role %q is none of control, bulk, client", o.Role)
	}
	name := fmt.Sprintf("raftbus/%s/%s/%s", o.Prefix, o.Node, o.Role)
	c := &Conn{role: o.Role, log: logger(o.Logger).With("connection", name), since: time.Now(), closed: make(chan struct{})}
	if o.Role == RoleBulk {
		c.outbox = newOutbox()
	}
	options := append(append([]nats.Option{}, o.Options...), nats.Name(name))
	nc, err := nats.Connect(strings.Join(o.URLs, ","), append(options, c.options()...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w: check the URLs and credentials", strings.Join(o.URLs, ","), err)
	}
	c.nc = nc
	if c.outbox != nil {
		c.outbox.run(nc, c.notWritten)
	}
	return c, nil
}

func (c *Conn) options() []nats.Option {
	return []nats.Option{
		nats.RetryOnFailedConnect(true), // NATS may start last
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.ReconnectBufSize(-1), // a stale message must not be sent when NATS is back (K73)
		nats.Timeout(connectTimeout),
		nats.PingInterval(keepAliveInterval),
		nats.MaxPingsOutstanding(keepAliveMissed),
		nats.FlusherTimeout(writeTimeout),
		nats.ReconnectOnFlusherError(),
		nats.IgnoreAuthErrorAbort(), // credentials may be renewed (K76)
		nats.PermissionErrOnSubscribe(true),
		nats.ConnectHandler(c.connected),
		nats.ReconnectHandler(c.connected),
		nats.DisconnectErrHandler(c.disconnected),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.note("cannot reach NATS, retrying", err) }),
		nats.ErrorHandler(c.failed),
		nats.LameDuckModeHandler(c.lameDuck),
		nats.ClosedHandler(c.ended),
	}
}

// NATS returns the connection beneath, for what is not consensus traffic.
func (c *Conn) NATS() *nats.Conn { return c.nc }

// Stats returns the counters of the connection.
func (c *Conn) Stats() ConnStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ConnStats{
		Disconnects: c.disconnects.Load(), SlowConsumer: c.slow.Load(), PermissionErrors: c.permission.Load(), LastError: c.lastError,
	}
}

// Close ends the connection, and returns when its handlers have ended.
func (c *Conn) Close() {
	c.nc.Close()
	<-c.closed
	if c.outbox != nil {
		c.outbox.close()
	}
}

func (c *Conn) Publish(subject, reply string, data []byte) error {
	if up, _ := c.Up(); !up {
		return ErrBusDown
	}
	if c.outbox != nil {
		return c.outbox.put(subject, reply, data)
	}
	if err := write(c.nc, subject, reply, data); err != nil {
		return fmt.Errorf("%w (%w)", ErrBusDown, err)
	}
	return nil
}

func write(nc *nats.Conn, subject, reply string, data []byte) error {
	if reply == "" {
		return nc.Publish(subject, data)
	}
	return nc.PublishRequest(subject, reply, data)
}

// notWritten is told of messages that could not be written: their calls end by their deadline, or as their link breaks.
func (c *Conn) notWritten(err error) {
	if !isDown(err) {
		c.note("message not sent", err)
	}
}

func (c *Conn) Subscribe(subject string, h func(Delivery)) (func(), error) {
	sub, err := c.nc.Subscribe(subject, func(m *nats.Msg) {
		h(Delivery{Subject: m.Subject, Reply: m.Reply, Data: m.Data, NoResponders: isNoResponders(m)})
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe %s: %w", subject, err)
	}
	ended := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(ended) })
	limit := pendingLimits[c.role]
	if err := sub.SetPendingLimits(limit.messages, limit.bytes); err != nil {
		return nil, fmt.Errorf("subscribe %s: %w", subject, err)
	}
	return func() { c.unsubscribe(sub, ended) }, nil
}

// unsubscribe fails only when the connection is closed, and then the subscription has ended too.
func (c *Conn) unsubscribe(sub *nats.Subscription, ended <-chan struct{}) {
	_ = sub.Unsubscribe()
	select {
	case <-ended:
	case <-time.After(unsubscribeTimeout):
		c.log.Error("a handler of the bus does not return", "subject", sub.Subject)
	}
}

func isNoResponders(m *nats.Msg) bool {
	return len(m.Data) == 0 && len(m.Header) > 0 && m.Header.Get("Status") == "503"
}

func (c *Conn) MaxPayload() int64 { return c.nc.MaxPayload() }

func (c *Conn) Flush(timeout time.Duration) error {
	if err := c.nc.FlushTimeout(timeout); err != nil {
		return fmt.Errorf("flush: %w (%w)", ErrBusDown, err)
	}
	return nil
}

func (c *Conn) Up() (bool, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.up, c.since
}

func (c *Conn) OnStatus(changed func(bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, changed)
}

// set runs on NATS's goroutine for handlers only, one after the other: so changes are told in their order.
func (c *Conn) set(up bool) {
	c.mu.Lock()
	c.up, c.since = up, time.Now()
	if up {
		c.lastError = ""
	}
	listeners := c.listeners
	c.mu.Unlock()
	for _, changed := range listeners {
		changed(up)
	}
}

func (c *Conn) connected(nc *nats.Conn) {
	c.set(true)
	c.log.Info("connected to NATS", "server", nc.ConnectedServerName())
}

func (c *Conn) disconnected(nc *nats.Conn, err error) {
	c.set(false)
	if c.outbox != nil {
		c.outbox.clear()
	}
	if nc.IsClosed() {
		return // by ourselves: nothing was lost
	}
	c.disconnects.Add(1)
	c.log.Warn("connection to NATS lost, reconnecting", "err", err)
}

func (c *Conn) lameDuck(nc *nats.Conn) {
	c.log.Warn("the NATS server is shutting down (lame duck), will move to another", "server", nc.ConnectedServerName())
}

func (c *Conn) ended(*nats.Conn) {
	c.set(false)
	close(c.closed)
}

// failed is told of errors that belong to no call: each is counted, and logged once.
func (c *Conn) failed(_ *nats.Conn, sub *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		c.slow.Add(1)
		c.log.Warn("messages dropped: this process is too slow for what arrives, give it more CPU", "subject", sub.Subject)
	case errors.Is(err, nats.ErrPermissionViolation):
		c.permission.Add(1)
		c.note("NATS refuses this user a subject that a node needs, grant it the permissions of its role", err)
	default:
		c.note("error on the connection to NATS", err)
	}
}

// note logs an error unless it is the one logged last: an outage is one line, not one per attempt.
func (c *Conn) note(text string, err error) {
	c.mu.Lock()
	repeated := c.lastError == err.Error()
	c.lastError = err.Error()
	c.mu.Unlock()
	if !repeated {
		c.log.Warn(text, "err", err)
	}
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
