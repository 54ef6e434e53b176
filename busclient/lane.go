package busclient

// A lane stands between NATS's client and the socket of a node's connection, and carries what a node sends and
// receives itself: a message then passes from the caller to the socket, and from the socket to its handler, without being
// handed from goroutine to goroutine, each of which costs more than all the work on the message. All else, from the
// greeting to the pings, stays the client's: it dials, connects anew, subscribes, and is told of errors.
//
// It is in force on a connection that it can read: not with TLS nor over a websocket, which the client puts between. There
// the messages go by the client's own goroutines, and by the outbox; only what the client makes of them leaves by the lane, unread.

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/busclient/internal/unsent"
)

// lane is what outlives a reconnect: who is subscribed, and the connection of the moment.
type lane struct {
	dialer nats.CustomDialer
	now    atomic.Pointer[laneConn] // nil: none was dialled yet

	tell    func(whole bool)  // called when all that had arrived is handed out
	refused func(text string) // called when the server says why it ends the connection
	drains  sync.WaitGroup    // the goroutines that write what the system did not take at once
	shut    bool              // whatever is said first

	leaving atomic.Bool // who closes the connection now has not failed

	mu          sync.Mutex
	closed      bool
	subscribers map[string][]*subscriber // by subject
	sweepAt     int                      // so many subjects
}

// newLane makes a lane for a connection with these options: it dials as they would.
func newLane(options []nats.Option, tell func(whole bool), refused func(text string)) (*lane, error) {
	l := &lane{tell: tell, refused: refused, subscribers: map[string][]*subscriber{}}
	o := nats.GetDefaultOptions()
	for _, apply := range options {
		if apply == nil {
			continue
		}
		if err := apply(&o); err != nil {
			return nil, err
		}
	}
	if l.dialer = o.CustomDialer; l.dialer == nil {
		l.dialer = plainDialer(&o)
	}
	return l, nil
}

func plainDialer(o *nats.Options) nats.CustomDialer {
	d := &net.Dialer{}
	if o.Dialer != nil {
		*d = *o.Dialer
	}
	d.Timeout = o.Timeout
	if o.AllowMultipathTCP != nil {
		d.SetMultipathTCP(*o.AllowMultipathTCP)
	}
	return d
}

// Dial implements nats.CustomDialer. What waits for the connection before is dropped: it would be stale (K73).
func (l *lane) Dial(network, address string) (net.Conn, error) {
	socket, err := l.dialer.Dial(network, address)
	if err != nil {
		return nil, err
	}
	unsent.Bound(socket)
	c := newLaneConn(l, socket)
	l.mu.Lock()
	before, closed := l.now.Swap(c), l.closed
	l.mu.Unlock()
	if before != nil {
		_ = before.Close() // NATS's client leaves one open on which it was refused
	}
	if closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

// SkipTLSHandshake says of a dialler that was given what it says of itself: see nats.CustomDialer.
func (l *lane) SkipTLSHandshake() bool {
	d, asked := l.dialer.(interface{ SkipTLSHandshake() bool })
	return asked && d.SkipTLSHandshake()
}

// conn is the connection that the lane is in force on, or will be when the server has let NATS's client in; nil: there is none.
func (l *lane) conn() *laneConn {
	if c := l.now.Load(); c != nil && c.mode.Load() != shut {
		return c
	}
	return nil
}

// publish sends a message if it can by the lane. It never waits; known is false when it is not the lane's to send.
func (l *lane) publish(subject, reply string, header, data []byte) (known bool, err error) {
	c := l.conn()
	switch {
	case c == nil:
		return false, nil
	case !c.greeted.Load():
		return true, ErrBusDown
	}
	return true, c.publish(subject, reply, header, data)
}

// join has the lane look for messages on a subject, from the next subscription to it on.
func (l *lane) join(subject string, s *subscriber) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.subscribers[subject] = append(l.alive(subject, nil), s)
	l.sweep()
}

// sweepMin is how many subjects are kept whether anybody is subscribed or not.
const sweepMin = 64

// sweep forgets subjects whose subscriptions have ended by NATS's client, of which the lane is not told, when there may be as many of them as of
// others. l.mu is held.
func (l *lane) sweep() {
	if len(l.subscribers) < max(l.sweepAt, sweepMin) {
		return
	}
	for subject := range l.subscribers {
		if l.subscribers[subject] = l.alive(subject, nil); len(l.subscribers[subject]) == 0 {
			delete(l.subscribers, subject)
		}
	}
	l.sweepAt = 2 * len(l.subscribers)
}

// alive are those on a subject who have not ended, without one. l.mu is held.
func (l *lane) alive(subject string, without *subscriber) (rest []*subscriber) {
	for _, s := range l.subscribers[subject] {
		if s != without && !s.over() {
			rest = append(rest, s)
		}
	}
	return rest
}

// await returns when the server was asked for a subscription, which NATS's client does a moment later: what is published from
// then on comes behind. Where the connection is not there it is asked for when it is.
func (l *lane) await(s *subscriber) {
	c := l.conn()
	if c == nil || !c.greeted.Load() {
		return
	}
	timer := time.NewTimer(writeTimeout)
	defer timer.Stop()
	select {
	case <-s.asked:
	case <-c.gone:
	case <-timer.C:
	}
}

// leave is join's reverse.
func (l *lane) leave(subject string, s *subscriber) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subscribers[subject] = l.alive(subject, s); len(l.subscribers[subject]) == 0 {
		delete(l.subscribers, subject)
	}
}

// joined are those on a subject whom a new subscription may be for: not who is drained, which is told of what comes until then only.
func (l *lane) joined(subject string) []*subscriber {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(l.alive(subject, nil), (*subscriber).drains)
}

// close ends the lane after NATS's client is closed, and awaits what still runs of it.
func (l *lane) close() {
	l.mu.Lock()
	l.closed = true
	c := l.now.Load()
	l.mu.Unlock()
	if c != nil {
		_ = c.Close()
		c.handing.await(unsubscribeTimeout)
	}
	l.drains.Wait()
}
