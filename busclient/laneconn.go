package busclient

// One connection of a lane: the socket as NATS's client sees it. The client's reading goroutine hands the lane's messages out
// as it reads; what the client writes tells of its subscriptions.

import (
	"bytes"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// readBytes is how much is read from the socket at once, as much as NATS's client reads.
const readBytes = 32 << 10

// What a lane may do on a connection shows by what is said first: see laneConn.begin.
const (
	unknown int32 = iota
	inForce
	shut // the lane lets all pass
)

type laneConn struct {
	net.Conn
	lane    *lane
	mode    atomic.Int32
	greeted atomic.Bool // in force, and the server has let the client in
	closed  atomic.Bool
	gone    chan struct{} // closed with closed
	outlet  outlet
	life    life

	maxPayload atomic.Int64 // as the server said; 0: it did not
	headers    atomic.Bool  // the server takes them

	sidsMu sync.RWMutex
	sids   map[string]sidOwner
	byName map[string][]string      // the sids, by subject
	named  map[*subscriber]struct{} // who is in sids

	// Of the goroutine that reads.
	scan    scanner
	buffer  []byte
	passed  []byte // room for out
	out     []byte // the client's, from scan
	handed  bool   // something since the last tell
	handing turn   // held while messages are handed out
}

// sidOwner is whose a subscription is that the server knows by an sid.
type sidOwner struct {
	subject string
	of      *subscriber
}

func newLaneConn(l *lane, socket net.Conn) *laneConn {
	c := &laneConn{Conn: socket, lane: l, sids: map[string]sidOwner{}, byName: map[string][]string{}, named: map[*subscriber]struct{}{}, buffer: make([]byte, readBytes), handing: newTurn(), gone: make(chan struct{})}
	c.scan.find, c.scan.hand, c.scan.final = c.find, c.hand, l.refused
	c.outlet.init(socket, &l.drains, &c.life)
	time.AfterFunc(lookInterval, c.look)
	return c
}

// begin decides, by what the client writes first, whether the lane can read what passes: a greeting came in plain, and is
// answered in plain.
func (c *laneConn) begin(first []byte) {
	mode := shut
	if !c.lane.shut && c.scan.greeting && bytes.HasPrefix(first, []byte("CONNECT ")) {
		mode = inForce
	}
	_ = c.Conn.SetWriteDeadline(time.Time{}) // from here on the outlet's
	c.mode.Store(mode)
}

// Read hands out the lane's messages, and returns with what is the client's.
func (c *laneConn) Read(b []byte) (int, error) {
	for len(c.out) == 0 {
		if c.mode.Load() == shut || c.scan.state == stopped {
			if c.out = c.scan.stop(nil); len(c.out) > 0 {
				break
			}
			return c.receive(b)
		}
		n, err := c.receive(c.buffer)
		c.handOut(c.buffer[:n])
		if err != nil && len(c.out) == 0 {
			return 0, err
		}
	}
	n := copy(b, c.out)
	c.out = c.out[n:]
	return n, nil
}

func (c *laneConn) receive(b []byte) (int, error) {
	c.life.reading.Store(true)
	n, err := c.Conn.Read(b)
	c.life.reading.Store(false)
	c.life.sign()
	if err != nil {
		err = c.outlet.cause(err)
	}
	return n, err
}

func (c *laneConn) handOut(b []byte) {
	c.handing.begin()
	defer c.handing.end()
	c.outlet.cork() // what is answered at once to all this leaves together
	c.out = c.scan.feed(b, c.passed[:0])
	c.outlet.uncork()
	c.passed = keep(c.out)
	if c.scan.pong && c.mode.Load() == inForce && !c.greeted.Load() {
		c.greeted.Store(true)
	}
	c.maxPayload.Store(c.scan.maxPayload)
	c.headers.Store(c.scan.headers)
	if c.handed {
		c.handed = false
		c.lane.tell(true)
	}
}

func (c *laneConn) find(id []byte) *subscriber {
	c.sidsMu.RLock()
	defer c.sidsMu.RUnlock()
	return c.sids[string(id)].of
}

func (c *laneConn) hand(to *subscriber, d Delivery, header []byte) {
	if c.closed.Load() {
		return
	}
	c.handed = true
	to.take(d, header)
}

// Write takes what NATS's client writes: in force whole operations. It does not wait for the socket, and has no deadline that a slow way could pass:
// who reads learns what fails.
func (c *laneConn) Write(b []byte) (int, error) {
	if c.mode.Load() == unknown {
		c.begin(b)
	}
	var asked []*subscriber
	bytesMax := shutBytesMax
	if c.mode.Load() == inForce {
		bytesMax = clientBytesMax
		subscriptions(b, func(subject, id string) { asked = append(asked, c.subscribed(subject, id)) }, c.unsubscribed)
	}
	if err := c.outlet.write(b, bytesMax); err != nil {
		return 0, err
	}
	for _, s := range asked {
		s.wasAsked()
	}
	return len(b), nil
}

// publish sends a message, checked as NATS's client would.
func (c *laneConn) publish(subject, reply string, header, data []byte) error {
	if err := checkPublish(subject, reply); err != nil {
		return err
	}
	if limit := c.maxPayload.Load(); limit > 0 && int64(len(header)+len(data)) > limit {
		return nats.ErrMaxPayload
	}
	if header != nil && !c.headers.Load() {
		return nats.ErrHeadersNotSupported
	}
	return c.outlet.publish(subject, reply, header, data)
}

// subscribed gives a subscription of the client to the first who waits for one on the subject; nil: nobody does.
func (c *laneConn) subscribed(subject, id string) *subscriber {
	waiting := c.lane.joined(subject)
	c.sidsMu.Lock()
	defer c.sidsMu.Unlock()
	if known := c.sids[id].of; known != nil {
		return known
	}
	for _, s := range waiting {
		if _, has := c.named[s]; !has {
			c.sids[id] = sidOwner{subject, s}
			c.byName[subject] = append(c.byName[subject], id)
			c.named[s] = struct{}{}
			return s
		}
	}
	return nil
}

// unsubscribed forgets a subscription. Of several on one subject NATS's client may know another by this name than the lane
// does: then whoever goes on gets the name of one who does not.
func (c *laneConn) unsubscribed(id string) {
	c.sidsMu.Lock()
	defer c.sidsMu.Unlock()
	gone := c.sids[id]
	if gone.of == nil {
		return
	}
	c.forget(id, gone.subject)
	if !gone.of.over() {
		for _, other := range c.byName[gone.subject] {
			if known := c.sids[other]; known.of.over() {
				c.sids[other] = gone
				gone = known
				break
			}
		}
	}
	delete(c.named, gone.of)
}

// forget forgets an sid. It looks at those of one subject alone, and they are few: whoever stops listening to many subjects would else wait long,
// with NATS's client locked. c.sidsMu is held.
func (c *laneConn) forget(id, subject string) {
	delete(c.sids, id)
	left := slices.DeleteFunc(c.byName[subject], func(other string) bool { return other == id })
	if c.byName[subject] = left; len(left) == 0 {
		delete(c.byName, subject)
	}
}

// SetDeadline, of which the part for writing is the outlet's once something was written.
func (c *laneConn) SetDeadline(t time.Time) error {
	if c.mode.Load() == unknown {
		return c.Conn.SetDeadline(t)
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *laneConn) SetWriteDeadline(t time.Time) error {
	if c.mode.Load() == unknown {
		return c.Conn.SetWriteDeadline(t)
	}
	return nil
}

// Close waits for nobody.
func (c *laneConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		close(c.gone)
		c.reset()
	}
	c.outlet.close()
	return c.Conn.Close()
}

// reset has the socket's end be told at once, if the connection has failed. Else the word of it goes behind all that was written, which may not
// get through where this end hears nobody, or the wire is slow: and while NATS knows of no end, it brings requests to who is not there (L2).
func (c *laneConn) reset() {
	if c.mode.Load() != unknown && !c.lane.leaving.Load() {
		endAtOnce(c.Conn)
	}
}

// endAtOnce has a socket's end be told without what still waits to be sent.
func endAtOnce(socket net.Conn) {
	if tcp, is := socket.(interface{ SetLinger(seconds int) error }); is {
		_ = tcp.SetLinger(0) // fails only where there is no connection
	}
}
