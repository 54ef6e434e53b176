package leaf

// A leaf connection for as long as the program wants one: it connects again for ever, and says what happens to it.

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nuid"

	"github.com/raftbus/raftbus/busclient/internal/notes"
	"github.com/raftbus/raftbus/busclient/internal/regain"
)

// How long things may take. Writes must be back within 3 s of the return of NATS (F5), and so must watches; a half-open
// connection must be noticed within 4 s (F10).
const (
	dialTimeout      = time.Second
	handshakeTimeout = 2 * time.Second // from the dial to the first answer to a ping, but for what the server says meanwhile of who listens
	pingInterval     = time.Second
	// writeTimeout bounds for how long a server may take nothing of what is written. Whether it does is looked at every writeLook.
	writeTimeout = 2 * time.Second
	writeLook    = 250 * time.Millisecond
	// The wait between two attempts doubles, and each is half chance.
	waitMin = 100 * time.Millisecond
	waitMax = 500 * time.Millisecond
)

// Conn is a leaf connection. All methods may be called from any goroutine, but Close not from what it calls itself.
type Conn struct {
	settings settings
	log      *slog.Logger
	notes    notes.Notes
	regain   regain.Regain
	now      atomic.Pointer[session] // the last one; nil: there was none
	id       string                  // for servers to tell this process apart

	out      *outbound
	interest *interest

	stop context.CancelFunc
	done chan struct{}

	mu        sync.Mutex
	lastError string // until the next connect
}

// Dial begins to connect, and goes on trying until Close. It returns an error for options that can never work.
func Dial(o Options) (*Conn, error) {
	s, err := o.settings()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Conn{
		settings: s, log: s.Logger.With("connection", s.name), id: nuid.Next(), out: newOutbound(s.OutboundBytesMax),
		interest: newInterest(s.InterestBytesMax, s.WatchTokensMax), stop: stop, done: make(chan struct{}),
	}
	c.regain.Anew, c.regain.Min = c.renew, o.regainAfter
	go c.run(ctx)
	return c, nil
}

// Close ends the connection, and returns when its goroutines have ended. It may be called again.
func (c *Conn) Close() {
	c.regain.End()
	c.stop()
	<-c.done
}

// Publish sends a message, or says why not: see the errors of this package. It never waits, and messages leave in the order in
// which they were published. The reply may be one that the server rewrites to a subject: see the package. A header begins with
// its first line and ends with an empty one. Nothing is kept of what is handed in.
func (c *Conn) Publish(subject, reply string, header, data []byte) error {
	if !publishable(subject) || !replyable(reply) {
		return fmt.Errorf("%w: %q, reply %q", ErrSubject, subject, reply)
	}
	err := c.out.publish(subject, reply, header, data)
	if err == ErrPermission {
		return c.refuse(subject)
	}
	return err
}

func (c *Conn) refuse(subject string) error {
	err := fmt.Errorf("%w: publish %q", ErrPermission, subject)
	c.noteKind("may not publish", "not published", err)
	return err
}

// renew has the next connection take the place of this one.
func (c *Conn) renew() { c.now.Load().end(errDenied) }

// Watch has OnInterest told of changes from now on, and returns what there is now. It is undone by as many calls of Unwatch. While
// the connection is down it returns what was told last about a subject that is watched already, and else false.
func (c *Conn) Watch(subject string) (interested bool) { return c.interest.watch(subject) }

// Unwatch undoes a Watch. OnInterest may be running with the subject.
func (c *Conn) Unwatch(subject string) { c.interest.unwatch(subject) }

// MaxPayload is what the server takes of header and data together; 0 while the connection is down.
func (c *Conn) MaxPayload() (bytes int) {
	c.out.limit(func(l *limits) { bytes = l.payloadMax })
	return bytes
}

// LastError is what went wrong last since the last connect; empty: nothing.
func (c *Conn) LastError() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastError
}

// run is the goroutine of the reader: one connection after the other.
func (c *Conn) run(ctx context.Context) {
	defer close(c.done)
	for wait := time.Duration(0); ctx.Err() == nil; {
		began := time.Now()
		err := c.session(ctx)
		if ctx.Err() != nil {
			return
		}
		wait = nextWait(wait, time.Since(began))
		c.note("no leaf connection to NATS, retrying", err)
		pause(ctx, spread(wait))
	}
}

// nextWait is the wait before the next attempt: twice the one before, and the shortest again after a session that lasted.
func nextWait(before, lasted time.Duration) time.Duration {
	if lasted > waitMax {
		return waitMin
	}
	return min(max(2*before, waitMin), waitMax)
}

// spread is a wait of about as long, so that nodes that lost a server together do not come back together.
func spread(wait time.Duration) time.Duration { return wait/2 + rand.N(wait) }

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// note remembers an error, and logs it when it is news.
func (c *Conn) note(text string, err error) { c.noteKind(text+": "+notes.KindOf(err), text, err) }

func (c *Conn) noteKind(kind, text string, err error) {
	c.mu.Lock()
	c.lastError = err.Error()
	c.mu.Unlock()
	if c.notes.IsNews(kind, time.Now()) {
		c.log.Warn(text, "err", err)
	}
}
