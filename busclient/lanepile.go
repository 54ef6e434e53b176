package busclient

// What waits to be written on a connection: bytes, in pieces of a bounded size, so that it grows without being copied.

import "slices"

// pile is a queue of whole operations, the first of which may have begun to leave.
type pile struct {
	full     []piece
	last     piece
	spare    []byte // a buffer for the next piece
	bytes    int    // in all
	messages int    // that were published, of which the number is bounded
}

type piece struct {
	operations []byte
	messages   int
}

func (p *pile) empty() bool { return p.bytes == 0 }

// What is small may wait where large messages fill the bound: that a write was done is not to be lost behind values that were asked for.
const (
	smallBytes   = 4 << 10
	smallReserve = 8 << 20
)

// How much may wait for NATS's client to add to it.
const (
	// clientBytesMax is more than may wait of what is published.
	clientBytesMax = outboxBytesMax + 2*smallReserve
	// shutBytesMax is for where the client sends all, and pings behind all: so little that a ping is answered within keepAliveMissed on a slow way too.
	shutBytesMax = 1 << 20
)

// room reports whether a message of that size may wait too. One alone may be larger than the bound.
func (p *pile) room(size int) bool {
	bound := outboxBytesMax
	if size <= smallBytes {
		bound += smallReserve
	}
	return (p.empty() || p.bytes+size <= bound) && p.messages < outboxMessagesMax
}

// end is where to append to; set takes the result, with so many messages more.
func (p *pile) end() []byte {
	if len(p.last.operations) >= bufferKeptMax {
		p.full, p.last = append(p.full, p.last), piece{}
	}
	if p.last.operations == nil {
		p.last.operations, p.spare = p.spare, nil
	}
	return p.last.operations
}

func (p *pile) set(last []byte, messages int) {
	p.bytes += len(last) - len(p.last.operations)
	p.messages += messages
	p.last = piece{last, p.last.messages + messages}
}

// take takes the first piece off.
func (p *pile) take() []byte {
	first := p.last
	if len(p.full) > 0 {
		first = p.full[0]
		p.full = slices.Delete(p.full, 0, 1)
	} else {
		p.last = piece{}
	}
	p.bytes -= len(first.operations)
	p.messages -= first.messages
	return first.operations
}

// written brings a piece back, to be filled anew.
func (p *pile) written(piece []byte) { p.spare = keep(piece) }

// keep returns a buffer to be filled anew, unless it is large.
func keep(b []byte) []byte {
	if cap(b) > bufferKeptMax {
		return nil
	}
	return b[:0]
}
