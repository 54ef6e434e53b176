package leaf

// What is on its way to the server: a buffer that callers write messages into, and the writer takes as a whole. So a batch costs one
// write, however many messages it is, and nobody waits for a timer or for the server.

import (
	"strconv"
	"sync"
)

const (
	// controlBytesMax is how much the buffer may be beyond its bound by what the protocol itself says.
	controlBytesMax = 1 << 20
	// missedPingsMax is how many pings may be unanswered when the next is due (F10).
	missedPingsMax = 2
)

// limits are what the server said about messages.
type limits struct {
	payloadMax int
	headers    bool
	publish    *permissions
}

// outbound is safe for use by several goroutines.
type outbound struct {
	bytesMax int
	bell     chan struct{} // rings when there is something to write

	mu      sync.Mutex
	open    bool // there is a connection
	up      bool // and messages may be sent
	limits  limits
	payload payload
	pending []byte
	refused bool // somebody waits for room
	missed  int  // pings of our own since the last answer
}

func newOutbound(bytesMax int) *outbound {
	return &outbound{bytesMax: bytesMax, bell: make(chan struct{}, 1)}
}

// publish takes a copy of the message along, or says why not. It never waits.
func (o *outbound) publish(subject, reply string, header, data []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	size := len(header) + len(data)
	switch {
	case !o.up:
		return ErrDisconnected
	case size > o.limits.payloadMax:
		return ErrTooLarge
	case len(header) > 0 && !o.limits.headers:
		return ErrHeaders
	case !o.limits.publish.allows(subject):
		return ErrPermission
	case len(o.pending) > 0 && len(o.pending)+len(subject)+len(reply)+size > o.bound():
		o.refused = true
		return ErrFull
	}
	o.ring()
	o.pending = appendMessage(o.pending, subject, reply, header, data)
	o.payload.largest = max(o.payload.largest, size)
	return nil
}

// appendMessage writes LMSG subject [reply] size, or HMSG subject [reply] header-size size, and the message.
func appendMessage(b []byte, subject, reply string, header, data []byte) []byte {
	if len(header) > 0 {
		b = append(b, "HMSG "...)
	} else {
		b = append(b, "LMSG "...)
	}
	b = append(append(b, subject...), ' ')
	if reply != "" {
		b = append(append(b, reply...), ' ')
	}
	if len(header) > 0 {
		b = append(strconv.AppendInt(b, int64(len(header)), 10), ' ')
	}
	b = strconv.AppendInt(b, int64(len(header)+len(data)), 10)
	b = append(append(append(b, "\r\n"...), header...), data...)
	return append(b, "\r\n"...)
}

// control takes what the protocol says along; false: there is no connection, or the server reads nothing of what it asks for. Then the
// connection is to be given up, and the next says everything anew.
func (o *outbound) control(line string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.append(line)
}

func (o *outbound) append(line string) bool {
	if !o.open || len(o.pending)+len(line) > o.bound()+controlBytesMax {
		return false
	}
	o.ring()
	o.pending = append(o.pending, line...)
	return true
}

// ring wakes the writer, if it was not before.
func (o *outbound) ring() {
	if len(o.pending) > 0 {
		return
	}
	select {
	case o.bell <- struct{}{}:
	default:
	}
}

// take swaps what waits for the buffer that was written, and reports whether somebody is to be told of the room this makes.
func (o *outbound) take(written []byte) (batch []byte, room bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	batch, o.pending = o.pending, kept(written)
	room, o.refused = o.refused, false
	return batch, room
}

// keepAlive pings, unless the server has not answered for too long: then it returns false.
func (o *outbound) keepAlive() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.up {
		return true // the handshake has a deadline of its own
	}
	o.missed++
	return o.missed <= missedPingsMax && o.append("PING\r\n")
}

// answered is told of a PONG.
func (o *outbound) answered() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.missed = 0
}

// begin opens the buffer for a new connection: for what the protocol says, not yet for messages.
func (o *outbound) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open, o.pending, o.payload.largest = true, o.pending[:0], 0
}

// admit opens it for messages.
func (o *outbound) admit() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.up = true
}

// limit changes what the server takes.
func (o *outbound) limit(change func(*limits)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(&o.limits)
}

// end drops what waits: when a connection is back it would be stale (K73).
func (o *outbound) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open, o.up, o.refused, o.pending, o.limits = false, false, false, nil, limits{}
}
