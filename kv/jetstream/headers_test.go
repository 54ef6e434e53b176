package jetstream

// Headers that mean something to clients, or to NATS: which are stored, and which come back.

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a JetStream has published again, or was read from it, and is put into a bucket: a direct get says where it is now, once.
func Test41_HeadersOfADirectGetAreOfThisBucket(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	w.ask("$KV.a.k", "v", "Nats-Stream", "KV_b", "Nats-Subject", "$KV.b.z", "Nats-Sequence", "99", "Nats-Time-Stamp", "2001-01-01T00:00:00Z")
	require.Equal(t, Reply{Data: []byte("v"), Header: map[string][]string{
		"Nats-Stream": {"KV_a"}, "Nats-Subject": {"$KV.a.k"}, "Nats-Sequence": {"1"}, "Nats-Time-Stamp": {"1970-01-12T13:46:42Z"},
	}}, w.ask("DIRECT.GET.KV_a.$KV.a.k", ""))
}

// nats.go takes names of these characters, and no others (isValidHeaderKeyByte): with another, no client of it could read the entry.
func TestHeadersHaveNamesThatNatsGoReads(t *testing.T) {
	const forbidden = "\"(),/:;<=>?@[\\]{}"
	for b := range 256 {
		name := "X" + string([]byte{byte(b)})
		require.Equal(t, b > ' ' && b < 0x7f && !strings.ContainsRune(forbidden, rune(b)), validHeaderName(name), "%q", name)
	}
	require.False(t, validHeaderName(""))
}
