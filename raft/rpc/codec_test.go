package rpc_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/raftbus/raftbus/raft/rpc"
)

func TestMessageRoundTrip(t *testing.T) {
	for name, keys := range map[string]*rpc.Keys{"plain": nil, "sealed": rpc.NewKeys([]byte("key"), nil)} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				h, b := headers.Draw(t, "header"), bodies.Draw(t, "body")
				frame := rpc.Append([]byte("before"), h, b, keys)[len("before"):]
				require.LessOrEqual(t, len(frame), rpc.Size(b))

				gotHeader, gotBody, err := rpc.Decode(frame, keys)
				require.NoError(t, err)
				require.Equal(t, *h, gotHeader)
				require.Equal(t, b, gotBody)
			})
		})
	}
}

func TestEntryRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := entries.Draw(t, "entry")
		b := rpc.AppendEntry([]byte("before"), &e)[len("before"):]
		require.Len(t, b, rpc.EntrySize(&e))
		require.LessOrEqual(t, len(b)+6, e.Size(), "EntryOverheadBytes bounds the wire, framing included")

		got, err := rpc.DecodeEntry(b)
		require.NoError(t, err)
		require.Equal(t, e, got)
	})
}

func TestConfigurationRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := configurations.Draw(t, "configuration")
		got, err := rpc.DecodeConfiguration(rpc.AppendConfiguration([]byte("before"), c)[len("before"):])
		require.NoError(t, err)
		require.Equal(t, *c, got)
	})
}
