package busclient

// What waits to be written on a connection: bytes, in pieces of a bounded size, so that it grows without being copied.

// pile is a queue of whole operations, the first of which may have begun to leave.
type pile struct {
	full     [][]byte
	last     []byte
	bytes    int // in all
	messages int // that were published, of which the number is bounded
}

func (p *pile) empty() bool { return p.bytes == 0 }

// What is small may wait where large messages fill the bound: that a write was done is not to be lost behind values that were asked for.
const (
	smallBytes   = 4 << 10
	smallReserve = 8 << 20
)

// room reports whether a message of that size may wait too. One alone may be larger than the bound.
func (p *pile) room(size int) bool {
	bound := outboxBytesMax
	if size <= smallBytes {
		bound += smallReserve
	}
	return (p.empty() || p.bytes+size <= bound) && p.messages < outboxMessagesMax
}

// end is where to append to; set takes the result.
func (p *pile) end() []byte {
	if len(p.last) >= bufferKeptMax {
		p.full, p.last = append(p.full, p.last), nil
	}
	return p.last
}

func (p *pile) set(last []byte) {
	p.bytes += len(last) - len(p.last)
	p.last = last
}

// pieces are all that waits, in order.
func (p *pile) pieces() [][]byte { return append(p.full, p.last) }

// reset leaves the pile empty, with a buffer to be filled.
func (p *pile) reset(buffer []byte) { *p = pile{last: keep(buffer)} }

// keep returns a buffer to be filled anew, unless it is large.
func keep(b []byte) []byte {
	if cap(b) > bufferKeptMax {
		return nil
	}
	return b[:0]
}
