package wire

// Messages by the list of their fields, which is walked to write them and to read them. raft/rpc has the same for
// Raft's messages.

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Walk goes through a message by the list of its fields: once to append them, or once for each field that is read. So what is written and what is read
// cannot differ. It lives on the stack, and nothing may keep it.
type Walk struct {
	reading bool
	buf     []byte // appending: all so far; reading: what is not yet read

	Field // reading: the one at hand
	known bool
	// What is wrong with the message, by who reads it: the walk ends with the first.
	Err     error
	name    string
	unknown func(message string, tag Tag) error
}

// Append begins a walk that appends a message.
func Append(b []byte) Walk { return Walk{buf: b} }

// Read begins a walk that reads a message. Fields that are not known are skipped.
func Read(message []byte) Walk { return Walk{reading: true, buf: message, known: true} }

// ReadAll begins one that a field ends which is not known, in the message or in one within it, by an error for its message's name.
func ReadAll(message []byte, name string, unknown func(message string, tag Tag) error) Walk {
	w := Read(message)
	w.name, w.unknown = name, unknown
	return w
}

// Bytes is what was appended.
func (w *Walk) Bytes() []byte { return w.buf }

// Reading reports whether the walk reads.
func (w *Walk) Reading() bool { return w.reading }

// Known reports whether the list has had the field at hand.
func (w *Walk) Known() bool { return w.known }

// Fail ends the walk, if there is an error.
func (w *Walk) Fail(err error) {
	if w.Err == nil {
		w.Err = err
	}
}

// Next reads the next field. It is false at the end, and when something is wrong.
func (w *Walk) Next() bool {
	if !w.known && w.unknown != nil {
		w.Fail(w.unknown(w.name, w.Tag))
	}
	if w.Err != nil || len(w.buf) == 0 {
		return false
	}
	field, n := next(w.buf)
	if n < 0 {
		w.Err = fmt.Errorf("%w: %v", ErrMalformed, protowire.ParseError(n))
		return false
	}
	w.Field, w.known, w.buf = field, false, w.buf[n:]
	return true
}

// At reports whether the field at hand is the one asked for, which is known then.
func (w *Walk) At(tag Tag) bool {
	at := w.Tag == tag // never where it appends
	w.known = w.known || at
	return at
}

// Number is a field that is left out when it is 0. Like the others it reports whether it was read.
func Number[T ~uint64 | ~int64](w *Walk, num Tag, v *T) bool {
	tag := num<<3 | Varint
	if w.At(tag) {
		*v = T(w.Uint)
		return true
	}
	if !w.reading {
		w.buf = AppendUint(w.buf, tag, uint64(*v))
	}
	return false
}

// Signed is a number that may be negative.
func Signed[T ~int64](w *Walk, num Tag, v *T) {
	n := protowire.EncodeZigZag(int64(*v))
	if Number(w, num, &n) {
		*v = T(Sint(n))
	}
}

// Boolean is left out when it is false.
func Boolean(w *Walk, num Tag, v *bool) {
	var n uint64
	if *v {
		n = 1
	}
	if Number(w, num, &n) {
		*v = n != 0
	}
}

// Text is left out when it is empty.
func Text[T ~string](w *Walk, num Tag, v *T) {
	there := *v != ""
	Present(w, num, &there, v)
}

// Present is a text that may be empty where it is there.
func Present[T ~string](w *Walk, num Tag, there *bool, v *T) {
	tag := num<<3 | Bytes
	if w.At(tag) {
		*there, *v = true, T(w.Data)
	} else if !w.reading && *there {
		w.buf = AppendMessage(w.buf, tag, *v)
	}
}

// Shared is bytes, left out when there are none. What is read shares the memory of the message.
func Shared(w *Walk, num Tag, v *[]byte) bool {
	tag := num<<3 | Bytes
	if w.At(tag) {
		*v = w.Data
		return true
	}
	if !w.reading {
		w.buf = AppendBytes(w.buf, tag, *v)
	}
	return false
}

// Message is a message within this one, left out when it is nil. fields lists its fields, to the same walk.
func Message[T any](w *Walk, num Tag, name string, v **T, fields func()) {
	tag := num<<3 | Bytes
	if w.At(tag) {
		*v = new(T)
		w.within(name, fields)
	} else if !w.reading && *v != nil {
		w.nest(tag, fields)
	}
}

// Messages are any number of them.
func Messages[T any](w *Walk, num Tag, name string, v *[]T, fields func(*T)) {
	tag := num<<3 | Bytes
	if w.At(tag) {
		*v = append(*v, *new(T))
		w.within(name, func() { fields(&(*v)[len(*v)-1]) })
	} else if !w.reading {
		for i := range *v {
			w.nest(tag, func() { fields(&(*v)[i]) })
		}
	}
}

// within reads the message in the field at hand.
func (w *Walk) within(name string, fields func()) {
	outer := *w
	w.buf, w.name = w.Data, name
	for w.Next() {
		fields()
	}
	outer.Err = w.Err
	*w = outer
}

// nest appends a message, and then puts its length before it.
func (w *Walk) nest(tag Tag, fields func()) {
	start := len(w.buf)
	fields()
	var room [20]byte
	w.buf = slices.Insert(w.buf, start, AppendHead(room[:0], tag, len(w.buf)-start)...)
}
