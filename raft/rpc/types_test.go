package rpc_test

// What ids are as text.

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// What is not an instance id, in a file that somebody has changed, is an error (F18): it must not end the process, nor pass for another id.
func TestAnInstanceIsReadAsItIsWritten(t *testing.T) {
	want := rpc.InstanceID{1, 0xab, 15: 0xff}
	got, err := rpc.ParseInstance(want.String())
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, text := range []string{"", "ab", want.String()[1:], want.String() + "00", strings.Repeat("x", 32)} {
		_, err := rpc.ParseInstance(text)
		require.ErrorContains(t, err, "is not 16 bytes in hexadecimal", text)
	}
}
