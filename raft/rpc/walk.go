package rpc

// How a message is written and read: its field list (fields.go) is walked, once to count its bytes, once to write them,
// or once for each field that is read. So there is one description of each message, and size, writer and reader cannot
// disagree. This file knows protobuf's kinds of fields and none of our messages. It never allocates by a length it has not
// checked against the bytes that are there.

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// mode is what a walk over the fields of a message is for.
type mode uint8

const (
	counting mode = iota
	writing
	reading
)

// walk is one walk over a message's fields. It lives on the stack: nothing may keep it.
type walk struct {
	mode mode
	size int    // counting: the bytes so far
	buf  []byte // writing: what is written so far; reading: what is not yet read

	// reading: the field at hand, its value in number or in bytes, and what was wrong first.
	num    protowire.Number
	typ    protowire.Type
	number uint64
	bytes  []byte
	err    error
}

// next reads the field after the one at hand. It is false at the end, and when something was wrong.
func (w *walk) next() bool {
	if w.err != nil || len(w.buf) == 0 {
		return false
	}
	num, typ, n := protowire.ConsumeTag(w.buf)
	if n < 0 {
		w.fail("a field's tag is broken")
		return false
	}
	w.num, w.typ, w.buf = num, typ, w.buf[n:]
	switch typ {
	case protowire.VarintType:
		w.number, n = protowire.ConsumeVarint(w.buf)
	case protowire.Fixed64Type:
		w.number, n = protowire.ConsumeFixed64(w.buf)
	case protowire.Fixed32Type:
		_, n = protowire.ConsumeFixed32(w.buf) // none of ours, but a later version may have one
	case protowire.BytesType:
		w.bytes, n = protowire.ConsumeBytes(w.buf)
	default:
		n = -1 // groups nest without bound
	}
	if n < 0 {
		w.fail("its value is broken or cut off")
		return false
	}
	w.buf = w.buf[n:]
	return true
}

// at reports whether the field at hand is the one asked for, which must then be of the type given.
func (w *walk) at(num protowire.Number, typ protowire.Type) bool { return w.num == num && w.is(typ) }

func (w *walk) is(typ protowire.Type) bool {
	if w.typ != typ {
		w.fail("it has another type here")
	}
	return w.err == nil
}

// fail keeps the first thing that is wrong with the field at hand.
func (w *walk) fail(reason string) {
	if w.err == nil {
		w.err = fmt.Errorf("%w: field %d: %s", ErrMalformed, w.num, reason)
	}
}

// rest counts how often the field at hand occurs from here on, this time included, up to one beyond limit.
func (w *walk) rest(limit int) int {
	ahead := walk{mode: reading, buf: w.buf}
	count := 1
	for count <= limit && ahead.next() {
		if ahead.num == w.num {
			count++
		}
	}
	return count
}

// ahead is how many bytes are left, those of the field at hand included.
func (w *walk) ahead() int { return len(w.bytes) + len(w.buf) }

// within begins a walk over the message that the field at hand holds.
func (w *walk) within() walk { return walk{mode: reading, buf: w.bytes} }

// varint is a uint64, uint32 or uint8 field.
func varint[T ~uint64 | ~uint32 | ~uint8](w *walk, num protowire.Number, v *T) {
	switch {
	case w.mode == reading:
		if !w.at(num, protowire.VarintType) {
			return
		}
		if *v = T(w.number); uint64(*v) != w.number {
			w.fail("the number is too large")
		}
	case *v == 0:
	case w.mode == counting:
		w.size += protowire.SizeTag(num) + protowire.SizeVarint(uint64(*v))
	default:
		w.buf = protowire.AppendVarint(protowire.AppendTag(w.buf, num, protowire.VarintType), uint64(*v))
	}
}

// boolean is a bool field.
func boolean(w *walk, num protowire.Number, v *bool) {
	var n uint8
	if *v {
		n = 1
	}
	if w.mode != reading {
		varint(w, num, &n)
	} else if w.at(num, protowire.VarintType) {
		*v = w.number != 0
	}
}

// fixed is a fixed64 or sfixed64 field.
func fixed[T ~uint64 | ~int64](w *walk, num protowire.Number, v *T) {
	switch {
	case w.mode == reading:
		if w.at(num, protowire.Fixed64Type) {
			*v = T(w.number)
		}
	case *v == 0:
	case w.mode == counting:
		w.size += protowire.SizeTag(num) + protowire.SizeFixed64()
	default:
		w.buf = protowire.AppendFixed64(protowire.AppendTag(w.buf, num, protowire.Fixed64Type), uint64(*v))
	}
}

// shared is a bytes field without bound of its own. What is read shares the memory of the message; no bytes are nil.
func shared(w *walk, num protowire.Number, v *[]byte) {
	switch {
	case w.mode == reading:
		if !w.at(num, protowire.BytesType) {
			return
		}
		if *v = nil; len(w.bytes) > 0 {
			*v = w.bytes[:len(w.bytes):len(w.bytes)]
		}
	case len(*v) == 0:
	case w.mode == counting:
		w.size += protowire.SizeTag(num) + protowire.SizeBytes(len(*v))
	default:
		w.buf = protowire.AppendBytes(protowire.AppendTag(w.buf, num, protowire.BytesType), *v)
	}
}

// sixteen is a bytes field of 16 bytes, left out when all are zero.
func sixteen[T ~[16]byte](w *walk, num protowire.Number, v *T) {
	switch {
	case w.mode == reading:
		if !w.at(num, protowire.BytesType) {
			return
		}
		if len(w.bytes) != 16 {
			w.fail(fmt.Sprintf("%d bytes where 16 must be", len(w.bytes)))
			return
		}
		*v = T([16]byte(w.bytes))
	case *v == T{}:
	case w.mode == counting:
		w.size += protowire.SizeTag(num) + protowire.SizeBytes(16)
	default:
		raw := [16]byte(*v)
		w.buf = protowire.AppendBytes(protowire.AppendTag(w.buf, num, protowire.BytesType), raw[:])
	}
}

// text is a string field of at most limit bytes.
func text[T ~string](w *walk, num protowire.Number, v *T, limit int) {
	switch {
	case w.mode == reading:
		if !w.at(num, protowire.BytesType) {
			return
		}
		if len(w.bytes) > limit {
			w.fail(fmt.Sprintf("%d bytes of text, at most %d", len(w.bytes), limit))
			return
		}
		if !utf8.Valid(w.bytes) {
			w.fail("its text is not UTF-8")
			return
		}
		*v = T(w.bytes)
	case *v == "":
	case w.mode == counting:
		w.size += protowire.SizeTag(num) + protowire.SizeBytes(len(*v))
	default:
		w.buf = protowire.AppendString(protowire.AppendTag(w.buf, num, protowire.BytesType), string(*v))
	}
}

// open begins a message of size bytes within this one. When only counting, all of it is counted here.
func (w *walk) open(num protowire.Number, size int) {
	if w.mode == counting {
		w.size += protowire.SizeTag(num) + protowire.SizeBytes(size)
		return
	}
	w.buf = protowire.AppendVarint(protowire.AppendTag(w.buf, num, protowire.BytesType), uint64(size))
}
