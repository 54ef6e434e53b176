// Package wire reads and writes protobuf messages: the few forms that commands and stored records are made of, by a list of a message's fields
// (walk.go) or, where it is hot, by hand.
// It knows no message; it never allocates for a length it has not seen the bytes of, and what it returns shares the input.
package wire

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Tag is a field's number and wire type as they are written: number << 3 | type. A known number with another type is
// another tag, and so an unknown field.
type Tag uint64

// The wire types in use, for the low bits of a Tag.
const (
	Varint Tag = Tag(protowire.VarintType)
	Bytes  Tag = Tag(protowire.BytesType)
)

// ErrMalformed says that bytes are not a protobuf message.
var ErrMalformed = errors.New("malformed message")

// Field is one field of a message. Uint is set for a Varint field, Data for a Bytes field; Raw is the whole field as written.
type Field struct {
	Tag  Tag
	Uint uint64
	Data []byte
	Raw  []byte
}

// Each calls f for each field of a message in order, and stops at f's first error.
func Each(message []byte, f func(Field) error) error {
	for len(message) > 0 {
		field, n := next(message)
		if n < 0 {
			return fmt.Errorf("%w: %v", ErrMalformed, protowire.ParseError(n))
		}
		if err := f(field); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}

// next reads the first field; a negative length is an error of protowire.
func next(b []byte) (Field, int) {
	num, typ, head := protowire.ConsumeTag(b)
	if head < 0 {
		return Field{}, head
	}
	f := Field{Tag: Tag(num)<<3 | Tag(typ)}
	var n int
	switch typ {
	case protowire.VarintType:
		f.Uint, n = protowire.ConsumeVarint(b[head:])
	case protowire.BytesType:
		f.Data, n = protowire.ConsumeBytes(b[head:])
	default:
		n = protowire.ConsumeFieldValue(num, typ, b[head:])
	}
	if n < 0 {
		return Field{}, n
	}
	f.Raw = b[:head+n]
	return f, head + n
}

// AppendUint appends a number. Zero is the default and is left out.
func AppendUint(b []byte, tag Tag, v uint64) []byte {
	if v == 0 {
		return b
	}
	return AppendPresent(b, tag, v)
}

// AppendPresent appends a number even when it is zero: that it is there says something.
func AppendPresent(b []byte, tag Tag, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendVarint(b, uint64(tag)), v)
}

// AppendSint appends a number that may be negative; Sint reads it. Zero is left out.
func AppendSint(b []byte, tag Tag, v int64) []byte {
	return AppendUint(b, tag, protowire.EncodeZigZag(v))
}

// Sint is the number that AppendSint has appended as v.
func Sint(v uint64) int64 { return protowire.DecodeZigZag(v) }

// AppendBytes appends bytes, or a message. Empty is the default and is left out; see AppendMessage.
func AppendBytes[T ~string | ~[]byte](b []byte, tag Tag, v T) []byte {
	if len(v) == 0 {
		return b
	}
	return AppendMessage(b, tag, v)
}

// AppendMessage appends bytes even when they are empty: that a message is there may be all it says.
func AppendMessage[T ~string | ~[]byte](b []byte, tag Tag, v T) []byte {
	b = protowire.AppendVarint(b, uint64(tag))
	b = protowire.AppendVarint(b, uint64(len(v)))
	return append(b, v...)
}

// AppendHead appends the head of a message of a given size, whose bytes the caller appends after it.
func AppendHead(b []byte, tag Tag, size int) []byte {
	return protowire.AppendVarint(protowire.AppendVarint(b, uint64(tag)), uint64(size))
}

// SizeBytes is how many bytes AppendBytes would append.
func SizeBytes(tag Tag, v []byte) int {
	if len(v) == 0 {
		return 0
	}
	return protowire.SizeVarint(uint64(tag)) + protowire.SizeBytes(len(v))
}
