package rpc_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/raftbus/raftbus/raft/rpc"
)

var (
	oldKey, newKey = []byte("old key"), []byte("new key")
	sealedBody     = &rpc.RequestVoteReturn{Granted: true}
)

func sealed(keys *rpc.Keys) []byte {
	return rpc.Append(nil, &goldenHeader, sealedBody, keys)
}

func TestAnyFlippedBitIsRefused(t *testing.T) {
	keys := rpc.NewKeys(newKey, oldKey)
	frame := sealed(keys)
	for bit := range len(frame) * 8 {
		frame[bit/8] ^= 1 << (bit % 8)
		_, _, err := rpc.Decode(frame, keys)
		require.ErrorIs(t, err, rpc.ErrBadMAC, "bit %d", bit)
		frame[bit/8] ^= 1 << (bit % 8)
	}
	_, _, err := rpc.Decode(frame, keys)
	require.NoError(t, err)
}

func TestAnyCutOrAddedByteIsRefused(t *testing.T) {
	keys := rpc.NewKeys(newKey, nil)
	frame := sealed(keys)
	for end := range len(frame) {
		_, _, err := rpc.Decode(frame[:end], keys)
		require.ErrorIs(t, err, rpc.ErrBadMAC, "cut at %d", end)
	}
	for _, longer := range [][]byte{append(frame, 0), append(sealed(nil), frame...), append([]byte{0}, frame...)} {
		_, _, err := rpc.Decode(longer, keys)
		require.ErrorIs(t, err, rpc.ErrBadMAC)
	}
}

// While keys rotate, some nodes seal with the new key and some with the old one (Q3).
func TestRotation(t *testing.T) {
	before, during, after := rpc.NewKeys(oldKey, nil), rpc.NewKeys(newKey, oldKey), rpc.NewKeys(newKey, nil)
	for _, c := range []struct {
		name         string
		sealer, open *rpc.Keys
		want         error
	}{
		{"old by both", before, before, nil},
		{"old by one that has both", before, during, nil},
		{"new by one that has both", during, during, nil},
		{"new of one that has both", during, after, nil},
		{"old after the rotation", before, after, rpc.ErrBadMAC},
		{"new before the rotation", after, before, rpc.ErrBadMAC},
		{"none where one must be", nil, during, rpc.ErrBadMAC},
		{"one where none is looked at", after, nil, nil},
	} {
		_, b, err := rpc.Decode(sealed(c.sealer), c.open)
		require.ErrorIs(t, err, c.want, c.name)
		if c.want == nil {
			require.Equal(t, sealedBody, b, c.name)
		}
	}
}

// How long a message takes does not tell which key is its own.
func TestAllKeysAreTried(t *testing.T) {
	for name, sealer := range map[string][]byte{"current": newKey, "previous": oldKey, "none": []byte("other")} {
		tried, keys := 0, rpc.NewKeys(newKey, oldKey)
		rpc.CountPrevious(keys, &tried)
		_, _, _ = rpc.Decode(sealed(rpc.NewKeys(sealer, nil)), keys)
		require.Equal(t, 1, tried, name)
	}
}

func TestNoCurrentKeyMeansNoKeys(t *testing.T) {
	require.Nil(t, rpc.NewKeys(nil, oldKey))
	require.Nil(t, rpc.NewKeys([]byte{}, nil))
}

func TestKeysDoNotKeepTheCallersMemory(t *testing.T) {
	key := []byte("a key")
	keys := rpc.NewKeys(key, nil)
	clear(key)
	_, _, err := rpc.Decode(sealed(keys), rpc.NewKeys([]byte("a key"), nil))
	require.NoError(t, err)
}

// The MAC covers the message and not what dst held before it.
func TestSealedMessageAfterOthersInOneBuffer(t *testing.T) {
	keys := rpc.NewKeys(newKey, nil)
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.SliceOf(rapid.Byte()).Draw(t, "before")
		frame := rpc.Append(before, &goldenHeader, sealedBody, keys)
		require.Equal(t, sealed(keys), frame[len(before):])
	})
}
