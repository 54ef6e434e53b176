package busclient

// The same lane for the services of a node on its connection for clients: messages as NATS's client has them, with headers.

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// SubscribeMsgs is NATS's Subscribe, whose messages come by the lane where it is in force: h is then called on the goroutine that
// reads the connection, and may not wait. One call at a time; one may still run when the subscription was ended, as with NATS's
// client. It cannot be made to end after a number of messages. A header that cannot be read is empty, and not nil; one beyond the bounds has the empty
// name alone, which none has that is read. Messages by the lane are in none of the subscription's counts.
func (c *Conn) SubscribeMsgs(subject string, h func(*nats.Msg)) (*nats.Subscription, error) {
	s := newSubscriber(nil)
	s.handle = func(d Delivery, header []byte) {
		h(&nats.Msg{Subject: d.Subject, Reply: d.Reply, Header: headerOf(header), Data: d.Data, Sub: s.sub.Load()})
	}
	c.lane.join(subject, s)
	subscribed := make(chan struct{})
	s.turn.begin() // no message before it has its subscription
	sub, err := c.nc.Subscribe(subject, func(m *nats.Msg) {
		<-subscribed
		s.turn.begin()
		defer s.turn.end()
		m.Header = asHanded(m)
		h(m)
		c.tell(false)
	})
	if err != nil {
		s.turn.end()
		c.lane.leave(subject, s)
		return nil, fmt.Errorf("subscribe %s: %w", subject, err)
	}
	s.sub.Store(sub)
	close(subscribed)
	s.turn.end()
	limit := pendingLimits[c.role]
	if err := sub.SetPendingLimits(limit.messages, limit.bytes); err != nil {
		_ = sub.Unsubscribe() // the connection is closed
		c.lane.leave(subject, s)
		return nil, fmt.Errorf("subscribe %s: %w", subject, err)
	}
	c.lane.await(s)
	return sub, nil
}

// Bounds of a header, before it is read (Q11): that takes a hundred bytes for a line of four, on the goroutine that reads for all. JetStream takes 64 KiB; the
// rest is for what NATS adds to a request that crosses accounts. Where the lane is not in force, as over TLS, NATS's client has read it before.
const (
	headerBytesMax = 68 << 10
	headerLinesMax = 1_000
)

// beyond is a header that is not read.
func beyond() nats.Header { return nats.Header{"": nil} }

// headerOf is what a header says: nil if nothing, empty if it cannot be read.
func headerOf(block []byte) nats.Header {
	switch {
	case len(block) == 0:
		return nil
	case len(block) > headerBytesMax || bytes.Count(block, []byte("\n")) > headerLinesMax+2: // and the first line, and the empty one
		return beyond()
	}
	header, err := nats.DecodeHeadersMsg(block)
	switch {
	case err != nil:
		return nats.Header{}
	case len(header) == 0:
		return nil
	}
	return header
}

// asHanded is the same of a message of NATS's client, which leaves out a header that it cannot read.
func asHanded(m *nats.Msg) nats.Header {
	switch size := m.Size() - len(m.Subject) - len(m.Reply) - len(m.Data); {
	case m.Header == nil && size > 0:
		return nats.Header{}
	case len(m.Header) == 0:
		return nil
	case size > headerBytesMax || linesOf(m.Header) > headerLinesMax:
		return beyond()
	}
	return m.Header
}

func linesOf(header nats.Header) (lines int) {
	for _, values := range header {
		lines += len(values)
	}
	return lines
}

// Direct reports whether PublishMsg goes by the lane now, and so waits for nobody.
func (c *Conn) Direct() bool {
	lane := c.lane.conn()
	return lane != nil && lane.greeted.Load() && !lane.closed.Load()
}

// PublishMsg sends a message with a header, which is a whole block: "NATS/1.0", a status if wanted, its lines, and an empty one. The
// connection is then one for clients. Nil: it has none. It waits where Publish does.
func (c *Conn) PublishMsg(subject, reply string, header, data []byte) error {
	known, err := c.lane.publish(subject, reply, header, data)
	switch {
	case known: // also before it is told that the connection is back: what came meanwhile is answered (L9)
	case !c.isUp():
		return ErrBusDown
	case checkPublish(subject, reply) != nil: // a server ends the connection for it (F11)
		err = nats.ErrBadSubject
	case header != nil:
		err = c.publishBlock(subject, reply, header, data)
	case c.outbox != nil:
		err = c.outbox.put(subject, reply, data)
	default:
		err = write(c.nc, subject, reply, data)
	}
	if err != nil && !errors.Is(err, ErrBusDown) && !errors.Is(err, ErrTooManyInFlight) {
		return fmt.Errorf("%w (%w)", ErrBusDown, err)
	}
	return err
}

// publishBlock has NATS's client write a header as it is, which it does not do for a status. It writes "PUB <subject> 0", and nothing
// else may stand before a header: so that line is made to end early, at a subject that nobody listens to, the message follows in
// the protocol's own words, and another such line takes the rest. It is one write under the client's lock.
func (c *Conn) publishBlock(subject, reply string, header, data []byte) error {
	if int64(len(header)+len(data)) > c.AskMaxPayload() {
		return nats.ErrMaxPayload
	}
	operation := appendPublish([]byte(c.void+" 0\r\n\r\n"), subject, reply, header, data)
	return c.nc.Publish(string(operation)+"PUB "+c.void, nil)
}
