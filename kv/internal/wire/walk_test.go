package wire

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// outer is a message with one within it.
type outer struct {
	there bool
	text  string
	inner *inner
}

type inner struct{ a, b string }

func (o *outer) fields(w *Walk) {
	Present(w, 1, &o.there, &o.text)
	Message(w, 2, "inner", &o.inner, func() { o.inner.fields(w) })
}

func (i *inner) fields(w *Walk) {
	Text(w, 1, &i.a)
	Text(w, 2, &i.b)
}

func (o *outer) read(w Walk) error {
	for w.Next() {
		o.fields(&w)
	}
	return w.Err
}

// An empty text that is there is not one that is missing.
func TestAnEmptyTextMayBePresent(t *testing.T) {
	for _, there := range []bool{true, false} {
		w := Append(nil)
		(&outer{there: there}).fields(&w)
		var read outer
		require.NoError(t, read.read(Read(w.Bytes())))
		require.Equal(t, there, read.there)
	}
}

// Of a message that comes twice the last counts, as a whole: all builds are to read the same (I5).
func TestAMessageThatComesAgainBeginsAnew(t *testing.T) {
	var read outer
	require.NoError(t, read.read(Read([]byte("\x12\x03\x0a\x01a\x12\x03\x12\x01b"))))
	require.Equal(t, &inner{b: "b"}, read.inner)
}

// A field that is not known is named with the message that has it (F28).
func TestAnUnknownFieldIsNamedWithItsMessage(t *testing.T) {
	for message, want := range map[string]string{"\x12\x02\x18\x01": "field 3 of inner", "\x12\x00\x18\x01": "field 3 of outer"} {
		var read outer
		err := read.read(ReadAll([]byte(message), "outer", func(message string, tag Tag) error { return fmt.Errorf("field %d of %s", tag>>3, message) }))
		require.EqualError(t, err, want)
	}
}

func TestTheFirstErrorEndsAWalk(t *testing.T) {
	w := Read([]byte("\x08\x01\x08\x02"))
	require.True(t, w.Next())
	first := errors.New("first")
	w.Fail(nil)
	w.Fail(first)
	w.Fail(errors.New("second"))
	w.Fail(nil)
	require.False(t, w.Next())
	require.Equal(t, first, w.Err)
}
