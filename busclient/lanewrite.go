package busclient

// What leaves by a lane: the socket is given it at once, by whoever sends, without waiting. What the system does not take
// then waits, and a goroutine writes it, for as long as something waits. Nothing is ever written inside of another message.

import (
	"errors"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// drainBytes is how much is written under one deadline: a slow server is not a stuck one.
const drainBytes = 64 << 10

// outlet is the writing side of one connection.
type outlet struct {
	socket net.Conn
	try    attempt
	drains *sync.WaitGroup
	life   *life

	mu       sync.Mutex
	waiting  pile
	corks    int       // by how many it is corked
	taken    sync.Cond // rings when a goroutine takes what waits, and at the end
	draining bool      // a goroutine writes, and takes what waits when it has
	closed   bool
	failure  error
}

func (o *outlet) init(socket net.Conn, drains *sync.WaitGroup, life *life) {
	o.socket, o.drains, o.life, o.taken.L = socket, drains, life, &o.mu
	if direct, ok := socket.(syscall.Conn); ok {
		o.try.open(direct)
	}
}

// publish sends a message, or keeps it to be sent soon. It never waits.
func (o *outlet) publish(subject, reply string, header, data []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return ErrBusDown
	case !o.waiting.room(len(header) + len(data)):
		return errOutboxFull
	}
	o.waiting.set(appendPublish(o.waiting.end(), subject, reply, header, data), 1)
	o.push()
	return nil
}

// appendPublish appends a PUB, or with a header an HPUB.
func appendPublish(b []byte, subject, reply string, header, data []byte) []byte {
	if header != nil {
		b = append(b, 'H')
	}
	b = append(b, "PUB "...)
	b = append(b, subject...)
	b = append(b, ' ')
	if reply != "" {
		b = append(b, reply...)
		b = append(b, ' ')
	}
	if header != nil {
		b = append(strconv.AppendInt(b, int64(len(header)), 10), ' ')
	}
	b = strconv.AppendInt(b, int64(len(header)+len(data)), 10)
	b = append(b, crlf...)
	b = append(b, header...)
	b = append(b, data...)
	return append(b, crlf...)
}

// write takes what NATS's client writes along, in its order among what is published. It waits while more waits than may, with the client locked: for
// no longer than a piece takes to leave.
func (o *outlet) write(b []byte, bytesMax int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.draining && !o.closed && o.waiting.bytes > bytesMax {
		o.taken.Wait()
	}
	if o.closed {
		return net.ErrClosed
	}
	o.waiting.set(append(o.waiting.end(), b...), 0)
	o.push()
	return nil
}

// cork has all that is sent wait for an uncork. Of several who have corked it each sends, by its uncork, what waits by then: so nothing waits
// for more than the one who sent it.
func (o *outlet) cork() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.corks++
}

func (o *outlet) uncork() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.corks = max(0, o.corks-1) // a cork may be another connection's
	o.offer()
}

// corkedBytes is how much a cork keeps together: more is offered, so that what waits for an uncork is not refused for its size.
const corkedBytes = 256 << 10

// push offers what waits, unless it is to wait for an uncork. o.mu is held.
func (o *outlet) push() {
	if o.corks == 0 || o.waiting.bytes > corkedBytes {
		o.offer()
	}
}

// offer offers the system what waits, once, and leaves the rest to a goroutine. o.mu is held.
func (o *outlet) offer() {
	if o.draining || o.closed || o.waiting.empty() {
		return
	}
	if len(o.waiting.full) > 0 {
		o.leave(0)
		return
	}
	all := o.waiting.last.operations
	n, err := o.try.write(all)
	switch {
	case err != nil:
		o.fail(err)
	case n == len(all):
		o.waiting.written(o.waiting.take())
	default:
		o.leave(n)
	}
}

// leave has a goroutine write what waits, of which some was written already. o.mu is held.
func (o *outlet) leave(written int) {
	o.draining = true
	o.drains.Add(1)
	go o.drain(o.take()[written:])
}

// drain writes a piece, and all that came to wait meanwhile.
func (o *outlet) drain(piece []byte) {
	defer o.drains.Done()
	for piece != nil {
		piece = o.next(piece, o.writeAll(piece))
	}
}

func (o *outlet) writeAll(piece []byte) error {
	for len(piece) > 0 {
		chunk := piece[:min(drainBytes, len(piece))]
		_ = o.socket.SetWriteDeadline(time.Now().Add(writeTimeout)) // fails only where Write does
		if _, err := o.socket.Write(chunk); err != nil {
			return err
		}
		if o.try.raw != nil {
			o.life.sign() // what did not fit at first does now: the other end took what was before
		}
		piece = piece[len(chunk):]
	}
	_ = o.socket.SetWriteDeadline(time.Time{})
	return nil
}

// next swaps what was written for the next piece; nil: the goroutine has done.
func (o *outlet) next(written []byte, err error) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.fail(err)
	}
	o.waiting.written(written)
	if o.closed || o.waiting.empty() {
		o.draining = false
		return nil
	}
	return o.take()
}

// take takes the first piece of what waits. o.mu is held.
func (o *outlet) take() []byte {
	o.taken.Broadcast()
	return o.waiting.take()
}

// giveUp fails the connection for a cause that is not a write's.
func (o *outlet) giveUp(cause error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail(cause)
}

// fail closes the socket, so that NATS's client connects anew. o.mu is held.
func (o *outlet) fail(err error) {
	if !o.closed {
		o.failure = err
		o.end()
		endAtOnce(o.socket)
		_ = o.socket.Close()
	}
}

// close drops what waits.
func (o *outlet) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end()
}

func (o *outlet) end() {
	o.closed, o.waiting = true, pile{}
	o.taken.Broadcast()
}

// cause is what a failed read is due to, if it is not the read's own: a failed write, or a connection given up.
func (o *outlet) cause(err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failure != nil && errors.Is(err, net.ErrClosed) {
		return o.failure
	}
	return err
}
