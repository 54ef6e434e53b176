package busclient

// A Bus over one NATS connection, with the options that a consensus protocol needs of it (design section 4). It decides
// nothing about peers: it connects for ever, buffers nothing while it is cut off, and says what happens to it.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/busclient/internal/notes"
	"github.com/raftbus/raftbus/busclient/internal/regain"
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
	connectTimeout  = time.Second
	reconnectWait   = 100 * time.Millisecond
	reconnectJitter = 100 * time.Millisecond
	// keepAliveInterval is how often a server is asked for a sign of life: see lanelife.go for how long one may be amiss.
	keepAliveInterval = time.Second
	// keepAliveMissed is for a server that sends, and for so many seconds answers no ping.
	keepAliveMissed = 30
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
	// GivenUp is called when NATS's client has given the connection up for good and will not connect anew, which it does for some errors of the server's
	// where the lane is shut: whoever owns the connection must make another, or end. nil: nobody is told.
	GivenUp func(error)
	// Move is called when the connection should be made anew, by Renew, once what is under way over it is finished: its server is about to go, or NATS may
	// grant by now what it refused. It may not wait. nil: that is done at once.
	Move func()
	// Beside is a connection with the same URLs at whose server this one should be, as a link needs both. nil: any server will do.
	Beside *Conn

	// For tests: of how it is where the lane is shut, as with TLS, and that do not wait for what was refused.
	shutLane    bool
	regainAfter time.Duration
}

// ConnStats counts what went wrong on a connection since it was dialled.
type ConnStats struct {
	Disconnects      uint64
	SlowConsumer     uint64    // how often a subscription began to drop messages
	PermissionErrors uint64    // publishes and subscriptions that NATS refused
	Unanswered       uint64    // requests whose answer NATS refused since they came over the connection before
	Refused          time.Time // when it did so last, which is now while a subscription lacks; zero: never
	LastError        string    // since the last connect; empty: none
}

// Conn is a Bus over one NATS connection.
type Conn struct {
	nc     *nats.Conn
	role   Role
	void   string // a subject that nobody listens to
	log    *slog.Logger
	lane   *lane
	gaveUp func(error)
	move   func()
	outbox *outbox // of a connection between nodes, for where the lane is not in force; on those for clients who sends may wait

	at         atomic.Pointer[place] // nil: it is not connected
	maxPayload atomic.Int64          // as NATS's client said last; 0: it has not yet

	disconnects, slow, permission, unanswered atomic.Uint64

	notes  notes.Notes
	drops  notes.Notes // of subscriptions: as many as clients fill are to crowd out nothing else
	regain regain.Regain
	told   atomic.Pointer[func(whole bool)] // nil: nobody wants to know

	mu        sync.Mutex
	up        bool
	since     time.Time
	listeners []func(bool)
	lastError string    // until the next connect
	denied    time.Time // when NATS last refused a subject; of all the connection's life
	closed    chan struct{}

	closing atomic.Bool    // by Close
	leaving sync.WaitGroup // the goroutines that look for another server
	left    uint64         // by lameDuck, for the last time: 1 is the first connection; 0: none
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
	c := newConn(o)
	if err := c.connect(o); err != nil {
		return nil, err
	}
	if c.outbox != nil {
		c.outbox.run(c.writeOut, func() { c.AskMaxPayload() })
	}
	if o.Beside != nil {
		c.leaving.Go(func() { c.follow(o.Beside) })
	}
	return c, nil
}

// name is what the NATS server calls the connection.
func (o ConnOptions) name() string { return fmt.Sprintf("raftbus/%s/%s/%s", o.Prefix, o.Node, o.Role) }

func newConn(o ConnOptions) *Conn {
	c := &Conn{role: o.Role, void: VoidSubject(o.Prefix), log: logger(o.Logger).With("connection", o.name()), since: time.Now(), closed: make(chan struct{}), gaveUp: o.GivenUp}
	if c.move = o.Move; c.move == nil {
		c.move = c.Renew
	}
	c.regain.Anew, c.regain.Min = c.askAgain, o.regainAfter
	if o.Role != RoleClient {
		c.outbox = newOutbox()
	}
	return c
}

// natsOptions are those that were given, and what wins over them.
func (c *Conn) natsOptions(o ConnOptions) []nats.Option {
	options := append(append([]nats.Option{}, o.Options...), nats.Name(o.name()))
	if o.Role == RoleBulk {
		options = append(options, nats.NoEcho()) // what is sent to several is for others
	}
	if o.Role == RoleClient {
		options = append(options, nats.CustomInboxPrefix(inboxOf(o.Prefix, o.Node)), nats.SkipSubjectValidation()) // kv/publish.go and msgs.go need the latter
	}
	return append(options, c.options()...)
}

func (c *Conn) connect(o ConnOptions) (err error) {
	urls, options := o.URLs, c.natsOptions(o)
	if o.Beside != nil {
		first, beside := besideOptions(o.Beside, urls)
		urls, options = first, append(options, beside...)
	}
	if c.lane, err = newLane(options, c.tell, c.refused); err != nil {
		return fmt.Errorf("connect to NATS: %w: check the credentials and TLS files", err) // without the URLs, which may carry passwords
	}
	c.lane.shut = o.shutLane
	nc, err := nats.Connect(strings.Join(urls, ","), append(options, nats.SetCustomDialer(c.lane))...)
	if invalid := (*url.Error)(nil); errors.As(err, &invalid) {
		return invalidURL(o.URLs)
	}
	if err != nil {
		return fmt.Errorf("connect to NATS: %w: check the URLs and credentials", err)
	}
	c.mu.Lock()
	c.nc = nc
	c.mu.Unlock()
	return nil
}

// invalidURL says which URL is not valid, by its number: what is wrong with it may be a part of a password.
func invalidURL(urls []string) error {
	for i, one := range strings.Split(strings.Join(urls, ","), ",") {
		if one = strings.TrimSpace(one); !strings.Contains(one, "://") {
			one = "nats://" + one // as NATS's client reads it
		}
		if _, err := url.Parse(one); err != nil {
			return fmt.Errorf("connect to NATS: URL number %d is not valid: check the URLs, write nats://host:port", i+1)
		}
	}
	return errors.New("connect to NATS: a URL is not valid: check the URLs, write nats://host:port")
}

func (c *Conn) options() []nats.Option {
	return []nats.Option{
		nats.RetryOnFailedConnect(true), // NATS may start last
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(c.delay),
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

// delay is how long NATS's client waits when no server has let it in. Why one that it reached did not, as for TLS, it tells nobody: it is looked up here.
func (c *Conn) delay(tries int) time.Duration {
	c.mu.Lock()
	nc := c.nc
	c.mu.Unlock()
	var err error
	if nc != nil {
		err = nc.LastError()
	}
	if err != nil {
		c.note(connectionError, err)
	}
	return waitAfter(tries, err) + rand.N(reconnectJitter)
}

// NATS returns the connection beneath, for what is not consensus traffic.
func (c *Conn) NATS() *nats.Conn { return c.nc }

// Stats returns the counters of the connection.
func (c *Conn) Stats() ConnStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	refused := c.denied
	if c.regain.Lacks() {
		refused = time.Now()
	}
	return ConnStats{
		Disconnects: c.disconnects.Load(), SlowConsumer: c.slow.Load(), PermissionErrors: c.permission.Load(), Unanswered: c.unanswered.Load(), Refused: refused, LastError: c.lastError,
	}
}

// Close ends the connection, and returns when its handlers have ended.
func (c *Conn) Close() {
	c.closing.Store(true)
	c.regain.End()
	c.lane.leaving.Store(true)
	c.nc.Close()
	<-c.closed
	c.leaving.Wait()
	c.lane.close()
	if c.outbox != nil {
		c.outbox.close()
	}
}

func (c *Conn) Publish(subject, reply string, data []byte) error {
	return c.PublishMsg(subject, reply, nil, data)
}

func write(nc *nats.Conn, subject, reply string, data []byte) error {
	if reply == "" {
		return nc.Publish(subject, data)
	}
	return nc.PublishRequest(subject, reply, data)
}

// writeOut writes what was in the outbox. The call of a message that cannot be written ends by its deadline, or as its link breaks.
func (c *Conn) writeOut(m outgoing) {
	if err := write(c.nc, m.subject, m.reply, *m.data); err != nil && !isDown(err) {
		c.note("message not sent", err)
	}
}

// Subscribe has h called by the lane where it is in force, else by a goroutine of NATS's client.
func (c *Conn) Subscribe(subject string, h func(Delivery)) (func(), error) {
	s := newSubscriber(func(d Delivery, _ []byte) { h(d) })
	c.lane.join(subject, s)
	sub, ended, err := c.subscribe(subject, s)
	if err != nil {
		c.lane.leave(subject, s)
		return nil, fmt.Errorf("subscribe %s: %w", subject, err)
	}
	c.lane.await(s)
	return func() { c.unsubscribe(sub, s, ended) }, nil
}

// subscribe closes ended when NATS's client calls the handler no more.
func (c *Conn) subscribe(subject string, s *subscriber) (sub *nats.Subscription, ended chan struct{}, err error) {
	sub, err = c.nc.Subscribe(subject, func(m *nats.Msg) {
		s.take(Delivery{Subject: m.Subject, Reply: m.Reply, Data: m.Data, NoResponders: isNoResponders(m)}, nil)
		c.tell(false)
	})
	if err != nil {
		return nil, nil, err
	}
	ended = make(chan struct{})
	sub.SetClosedHandler(func(string) { close(ended) })
	limit := pendingLimits[c.role]
	return sub, ended, sub.SetPendingLimits(limit.messages, limit.bytes)
}

// unsubscribe fails only when the connection is closed, and then the subscription has ended too.
func (c *Conn) unsubscribe(sub *nats.Subscription, s *subscriber, ended <-chan struct{}) {
	returned := s.end(unsubscribeTimeout)
	c.lane.leave(sub.Subject, s)
	_ = sub.Unsubscribe()
	if returned {
		select {
		case <-ended:
			return
		case <-time.After(unsubscribeTimeout):
		}
	}
	c.log.Error("a handler of the bus does not return", "subject", sub.Subject)
}

// OnDelivered has told called after handlers of Subscribe were: see Service.OnDelivered.
func (c *Conn) OnDelivered(told func(whole bool)) { c.told.Store(&told) }

func (c *Conn) tell(whole bool) {
	if told := c.told.Load(); told != nil {
		(*told)(whole)
	}
}

// Cork keeps what is sent from here on until Uncork, which sends it together: any Uncork, if several have corked it. They do nothing where
// the lane is shut.
func (c *Conn) Cork() {
	if lane := c.lane.conn(); lane != nil && lane.greeted.Load() { // it may yet be shut
		lane.outlet.cork()
	}
}

// Uncork is Cork's reverse.
func (c *Conn) Uncork() {
	if lane := c.lane.conn(); lane != nil {
		lane.outlet.uncork()
	}
}

func isNoResponders(m *nats.Msg) bool {
	return len(m.Data) == 0 && len(m.Header) > 0 && m.Header.Get("Status") == "503"
}

// MaxPayload is what the lane knows, or else what NATS's client said last: it would make who asks wait while it connects, and while it waits for what it
// sends to be taken. So it is asked only as long as it has not connected yet.
func (c *Conn) MaxPayload() int64 {
	if lane := c.lane.conn(); lane != nil {
		if limit := lane.maxPayload.Load(); limit > 0 {
			return limit
		}
	}
	if limit := c.maxPayload.Load(); limit > 0 {
		return limit
	}
	return c.AskMaxPayload()
}

// AskMaxPayload is MaxPayload as NATS's client knows it by now. It may wait.
func (c *Conn) AskMaxPayload() int64 {
	limit := c.nc.MaxPayload()
	c.maxPayload.Store(limit)
	return limit
}

func (c *Conn) Flush(timeout time.Duration) error {
	end := time.Now().Add(timeout)
	if c.outbox != nil && !c.outbox.await(timeout) {
		return fmt.Errorf("flush: %w (%w)", ErrBusDown, nats.ErrTimeout)
	}
	if err := c.nc.FlushTimeout(time.Until(end)); err != nil {
		return fmt.Errorf("flush: %w (%w)", ErrBusDown, err)
	}
	return nil
}

func (c *Conn) Up() (bool, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.up, c.since
}

func (c *Conn) isUp() bool {
	up, _ := c.Up()
	return up
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
	c.maxPayload.Store(nc.MaxPayload())
	at := placeOf(nc)
	c.at.Store(&at)
	c.set(true)
	c.regain.Connected()
	c.log.Info("connected to NATS", "server", nc.ConnectedServerName())
}

func (c *Conn) disconnected(nc *nats.Conn, err error) {
	c.at.Store(nil)
	c.set(false)
	if c.outbox != nil {
		c.outbox.clear()
	}
	if nc.IsClosed() {
		return // by ourselves: nothing was lost
	}
	if err == nil { // likewise
		c.log.Info("connecting to NATS anew")
		return
	}
	c.disconnects.Add(1)
	c.log.Warn("connection to NATS lost, reconnecting", "err", err)
}

func (c *Conn) ended(nc *nats.Conn) {
	c.at.Store(nil)
	c.set(false)
	close(c.closed)
	if c.closing.Load() {
		return
	}
	err := fmt.Errorf("the NATS server ended the connection %s, and NATS's client connects no more after such an error: %w", nc.Opts.Name, nc.LastError())
	c.log.Error("connection to NATS given up", "err", err)
	if c.gaveUp != nil {
		c.gaveUp(err)
	}
}

// refused is told of an error of the server's after which it ends the connection, as a rule.
func (c *Conn) refused(text string) {
	c.note("the NATS server takes something that was sent for an error, and may end the connection", errors.New(text))
}

// failed is told of errors that belong to no call: each is counted, and logged when it is news.
func (c *Conn) failed(nc *nats.Conn, sub *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		c.dropped(sub)
	case c.isLateAnswer(nc, err):
		c.unanswered.Add(1)
		c.noteKind("not answered", "a request is not answered: it came over the connection before, and NATS takes no answer to it over this one", err)
	case errors.Is(err, nats.ErrPermissionViolation):
		c.countRefused()
		if permissionKind(err) == mayNotSubscribe {
			c.regain.RefusedSubject(subjectIn(err))
		}
		c.noteKind(permissionKind(err), "NATS refuses this user a subject that a node needs, grant it the permissions of its role", err)
	case errors.Is(err, nats.ErrMaxSubscriptionsExceeded): // of which one, NATS does not say
		c.countRefused()
		c.regain.Refused()
		c.note("NATS refuses this node a subscription", err)
	default:
		c.note(connectionError, err)
	}
}

// dropped is told each time that a subscription begins to drop messages: with each question, if a client keeps it full. Where less may wait than on this
// connection, whoever subscribed has it drop what is too much, however fast the node is (Q12).
func (c *Conn) dropped(sub *nats.Subscription) {
	text := "messages dropped: this process is too slow for what arrives, give it more CPU"
	if most, _, err := sub.PendingLimits(); err == nil && most < pendingLimits[c.role].messages {
		text = "questions dropped: more come at once than this node answers, who asks again later is answered"
	} else {
		c.slow.Add(1)
	}
	if c.drops.IsNews(sub.Subject, time.Now()) {
		c.log.Warn(text, "subject", sub.Subject)
	}
}

// lateAnswerMax is longer than a request is under way: what is refused later is for want of a permission.
const lateAnswerMax = time.Minute

// isLateAnswer reports whether NATS may have refused an answer because of the connection alone: who may answer requests, wherever they are from, may where they came
// in (F5). No other message has a subject that begins so.
func (c *Conn) isLateAnswer(nc *nats.Conn, err error) bool {
	if !errors.Is(err, nats.ErrPermissionViolation) || permissionKind(err) != mayNotPublish || !strings.HasPrefix(subjectIn(err), "_") {
		return false
	}
	_, since := c.Up()
	return nc.Stats().Reconnects > 0 && time.Since(since) < lateAnswerMax
}

func (c *Conn) countRefused() {
	c.permission.Add(1)
	c.mu.Lock()
	c.denied = time.Now()
	c.mu.Unlock()
}

const mayNotSubscribe, mayNotPublish = "may not subscribe", "may not publish"

const connectionError = "error on the connection to NATS"

// permissionKind is what permissions that are missing are told apart by: not the subject, which is another for each call, and which may be anything
// that has no space.
func permissionKind(err error) string {
	if strings.Contains(strings.ToLower(err.Error()), "violation for subscription") {
		return mayNotSubscribe
	}
	return mayNotPublish
}

// RefusedFor is for how long NATS has refused this connection, and those before in its place, a subject that it is subscribed to; 0: it does not, as far as
// is known.
func (c *Conn) RefusedFor(subject string) time.Duration { return c.regain.For(subject) }

// subjectIn is the subject that an error of NATS's is about, which comes in quotes and has no space.
func subjectIn(err error) string {
	_, rest, _ := strings.Cut(err.Error(), `"`)
	subject, _, _ := strings.Cut(rest, `"`)
	return subject
}

// note remembers an error, and logs it when it is news.
func (c *Conn) note(text string, err error) {
	c.noteKind(strings.ToLower(text+": "+notes.KindOf(err)), text, err) // NATS's client tells some twice, as the server wrote it and as itself does
}

func (c *Conn) noteKind(kind, text string, err error) {
	err = withRemedy(err)
	c.mu.Lock()
	c.lastError = err.Error()
	c.mu.Unlock()
	if c.notes.IsNews(kind, time.Now()) {
		c.log.Warn(text, "err", err)
	}
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
