package busclient

// Messages larger than the bus takes: the sender cuts them into parts, the receiver joins them again. A logged entry can
// thus always be sent, even when max_payload was lowered after it was logged, and a chunk of a snapshot that was under way then
// too (F11). Only AppendLog and InstallSnapshot are ever that large.
//
// A part is a zero byte, the round (8 bytes), its number and how many there are (4 bytes each, big endian), then its
// piece. No whole message starts with a zero byte, since no protobuf field has number 0. The MAC is inside: it covers the
// message and is checked when that is whole, so parts are believed in nothing but the place of their bytes.

import (
	"encoding/binary"
	"fmt"
)

const (
	// MessageBytesMax bounds a message, whole or in parts, and so what one peer can make this node hold for each method that
	// may come in parts.
	MessageBytesMax = 64 << 20
	// partBytesMin is the smallest max_payload that parts are made for: below it their number would explode.
	partBytesMin = 1 << 10

	partMark        = 0
	partHeaderBytes = 1 + 8 + 4 + 4
)

func isPart(data []byte) bool { return len(data) > 0 && data[0] == partMark }

// split cuts a message into parts of at most limit bytes, and hands each to send; it stops at an error. What send is
// given is overwritten when it has returned.
func split(message []byte, round uint64, limit int64, send func([]byte) error) error {
	if limit < partBytesMin {
		return fmt.Errorf("max_payload of NATS is %d bytes: raise it to at least %d", limit, partBytesMin)
	}
	room := int(min(limit, MessageBytesMax)) - partHeaderBytes
	count := (len(message) + room - 1) / room
	part := make([]byte, 0, partHeaderBytes+room)
	for number := range count {
		piece := message[number*room : min((number+1)*room, len(message))]
		part = append(part[:0], partMark)
		part = binary.BigEndian.AppendUint64(part, round)
		part = binary.BigEndian.AppendUint32(part, uint32(number))
		part = binary.BigEndian.AppendUint32(part, uint32(count))
		if err := send(append(part, piece...)); err != nil {
			return err
		}
	}
	return nil
}

// assembly joins the parts of one message of one peer. NATS keeps the order of one sender, so a part out of order means
// that one was lost: the whole message is given up, and Raft sends it again. It holds only what has arrived, never what a
// part announces.
type assembly struct {
	round       uint64
	next, count uint32
	message     []byte
}

// add takes a part and returns the message when it was the last. ok is false for a part that fits nowhere, which ends the
// assembly; part 0 begins a new one in its place.
func (a *assembly) add(part []byte) (message []byte, ok bool) {
	if len(part) < partHeaderBytes {
		*a = assembly{}
		return nil, false
	}
	round := binary.BigEndian.Uint64(part[1:])
	number, count := binary.BigEndian.Uint32(part[9:]), binary.BigEndian.Uint32(part[13:])
	piece := part[partHeaderBytes:]
	if number == 0 {
		*a = assembly{round: round, count: count}
	}
	fits := round == a.round && number == a.next && count == a.count && number < count
	if !fits || len(piece) == 0 || len(a.message)+len(piece) > MessageBytesMax {
		*a = assembly{}
		return nil, false
	}
	a.message, a.next = append(a.message, piece...), number+1
	if a.next < count {
		return nil, true
	}
	message, *a = a.message, assembly{}
	return message, true
}
