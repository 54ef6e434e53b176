package busclient

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func partsOf(t require.TestingT, message []byte, round uint64, limit int64) (parts [][]byte) {
	require.NoError(t, split(message, round, limit, func(part []byte) error {
		require.LessOrEqual(t, int64(len(part)), limit)
		require.True(t, isPart(part))
		parts = append(parts, bytes.Clone(part))
		return nil
	}))
	return parts
}

func TestPartsMakeTheMessageAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		message := rapid.SliceOfN(rapid.Byte(), 1, 8<<10).Draw(t, "message")
		limit := rapid.Int64Range(partBytesMin, 4<<10).Draw(t, "limit")
		var a assembly
		parts := partsOf(t, message, 9, limit)
		for i, part := range parts {
			whole, ok := a.add(part)
			require.True(t, ok)
			if i < len(parts)-1 {
				require.Nil(t, whole)
				continue
			}
			require.Equal(t, message, whole)
		}
		require.Zero(t, a, "nothing is kept of a message that is through")
	})
}

// A lost, repeated or foreign part ends the message, and never makes another.
func TestPartsThatDoNotFitAreGivenUp(t *testing.T) {
	parts := partsOf(t, bytes.Repeat([]byte("x"), 3<<10), 1, partBytesMin)
	foreign := partsOf(t, bytes.Repeat([]byte("y"), 3<<10), 2, partBytesMin)
	longer := partsOf(t, bytes.Repeat([]byte("z"), 5<<10), 1, partBytesMin)
	for name, sequence := range map[string][][]byte{
		"lost":        {parts[0], parts[2]},
		"begun late":  {parts[1]},
		"repeated":    {parts[0], parts[1], parts[1]},
		"foreign":     {parts[0], foreign[1]},
		"other count": {parts[0], longer[1]},
		"no header":   {parts[0], parts[1][:partHeaderBytes-1]},
		"empty":       {parts[0], parts[1][:partHeaderBytes]},
	} {
		var a assembly
		for i, part := range sequence {
			whole, ok := a.add(part)
			require.Nil(t, whole, name)
			require.Equal(t, i < len(sequence)-1, ok, name)
		}
		require.Zero(t, a, name)
	}
}

func TestANewMessageTakesThePlaceOfAnUnfinishedOne(t *testing.T) {
	var a assembly
	old, next := bytes.Repeat([]byte("x"), 3<<10), bytes.Repeat([]byte("y"), 2<<10)
	a.add(partsOf(t, old, 1, partBytesMin)[0])
	var whole []byte
	for _, part := range partsOf(t, next, 2, partBytesMin) {
		whole, _ = a.add(part)
	}
	require.Equal(t, next, whole)
}

// What a part announces costs nothing: only what has come is held, and that is bounded.
func TestGarbagePartsHoldNoMoreThanTheyBring(t *testing.T) {
	part := make([]byte, partHeaderBytes+1)
	binary.BigEndian.PutUint32(part[13:], 1<<31)
	var a assembly
	_, ok := a.add(part)
	require.True(t, ok)
	require.Less(t, cap(a.message), 1<<10)

	part = append(part[:partHeaderBytes], make([]byte, 1<<20)...)
	a.message = make([]byte, MessageBytesMax-len(part)+partHeaderBytes, MessageBytesMax) // as if it had come
	for n, fits := range []bool{true, false} {
		binary.BigEndian.PutUint32(part[9:], uint32(n+1))
		_, ok = a.add(part)
		require.Equal(t, fits, ok)
	}
	require.Zero(t, a)
}

func TestTooSmallAMaxPayloadIsRefused(t *testing.T) {
	err := split(make([]byte, 2<<10), 1, partBytesMin-1, nil)
	require.ErrorContains(t, err, "raise it")
}
