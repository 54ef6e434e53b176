package busclient

// What comes off the bus before anybody is believed: subjects, and parts of messages.

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzParts cuts its input into parts as a peer might send them, good or bad: what is joined holds what came and no more, and
// an assembly holds no more than what was sent to it.
func FuzzParts(f *testing.F) {
	var whole []byte
	require.NoError(f, split(bytes.Repeat([]byte("ab"), 1500), 7, partBytesMin, func(p []byte) error {
		whole = append(append(whole, byte(len(p)>>8), byte(len(p))), p...)
		return nil
	}))
	f.Add(whole)
	f.Add(append([]byte{0, partHeaderBytes + 1}, append(make([]byte, partHeaderBytes), 'x')...))
	f.Add([]byte{0, 3, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var a assembly
		for sent := 0; len(b) >= 2; {
			n := min(int(b[0])<<8|int(b[1]), len(b)-2)
			part := b[2 : 2+n]
			b = b[2+n:]
			sent += n
			message, ok := a.add(part)
			require.LessOrEqual(t, len(a.message)+len(message), sent)
			require.True(t, ok || message == nil && a.message == nil, "a part that fits nowhere ends the assembly")
		}
	})
}

// FuzzPartsReturn: whatever is cut is joined again, at any limit.
func FuzzPartsReturn(f *testing.F) {
	f.Add([]byte("message"), uint64(1), uint16(0))
	f.Add(bytes.Repeat([]byte{0}, 5000), uint64(1<<63), uint16(300))
	f.Fuzz(func(t *testing.T, message []byte, round uint64, more uint16) {
		if len(message) == 0 {
			return
		}
		var a assembly
		var joined []byte
		require.NoError(t, split(message, round, partBytesMin+int64(more), func(p []byte) error {
			require.True(t, isPart(p))
			var ok bool
			joined, ok = a.add(p)
			require.True(t, ok)
			return nil
		}))
		require.Equal(t, message, joined)
	})
}

// FuzzSubjects: the sender and the method that a subject names are tokens of it, whatever else it is.
func FuzzSubjects(f *testing.F) {
	own := family("raftbus") + "n1."
	f.Add(own + "n2.AppendLog")
	f.Add(own + "n2.Return.nonce.17")
	f.Add(own)
	f.Add("raftbus.rpc.n1.n2.Return..")
	f.Fuzz(func(t *testing.T, subject string) {
		if from, method, ok := parseRequest(own, subject); ok {
			require.Equal(t, subject, own+string(from)+"."+string(method))
			require.NotContains(t, string(from), ".")
		}
		if from, _, ok := parseReturn(own, subject); ok {
			require.True(t, strings.HasPrefix(subject, own+string(from)))
			require.NotContains(t, string(from), ".")
		}
	})
}
