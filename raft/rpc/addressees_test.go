package rpc_test

// Messages to several: who is named, and that a MAC covers it.

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

var toSeveral = func() rpc.Header {
	h := goldenHeader
	h.To, h.Addressees = "_all", []rpc.NodeID{"n2", "n3", "n10"}
	return h
}()

func TestGoldenMessageToSeveral(t *testing.T) {
	frame := golden(t, "Multicast", rpc.Append(nil, &toSeveral, &rpc.CommitLogCommand{Commit: 301}, nil))
	h, _, err := rpc.Decode(frame, nil)
	require.NoError(t, err)
	require.Equal(t, toSeveral, h)
}

func TestWhoIsAddressedShowsWithoutDecoding(t *testing.T) {
	frame := rpc.Append(nil, &toSeveral, &rpc.AppendLogCommand{Entries: []rpc.Entry{{Index: 1, Term: 1, Data: []byte("n4")}}}, rpc.NewKeys(newKey, nil))
	for _, id := range toSeveral.Addressees {
		require.True(t, rpc.Addresses(frame, id), id)
	}
	for _, id := range []rpc.NodeID{"n1", "n4", "n", "n100", "_all", ""} {
		require.False(t, rpc.Addresses(frame, id), id)
	}
	require.False(t, rpc.Addresses(rpc.Append(nil, &goldenHeader, &rpc.CommitLogCommand{}, nil), "n2"), "one receiver is no addressee")
	require.False(t, rpc.Addresses([]byte{0xff}, "n2"))
}

// Q3: an addressee that was put in, taken out or changed is noticed.
func TestTheMACCoversTheAddressees(t *testing.T) {
	keys := rpc.NewKeys(newKey, nil)
	frame := rpc.Append(nil, &toSeveral, &rpc.CommitLogCommand{Commit: 301}, keys)
	_, _, err := rpc.Decode(frame, keys)
	require.NoError(t, err)
	for name, forged := range map[string][]byte{
		"changed":   bytes.Replace(frame, []byte("\x4a\x02n3"), []byte("\x4a\x02n4"), 1),
		"taken out": bytes.Replace(frame, []byte("\x4a\x02n3"), nil, 1),
		"put in":    bytes.Replace(frame, []byte("\x4a\x02n3"), []byte("\x4a\x02n3\x4a\x02n4"), 1),
	} {
		require.NotEqual(t, frame, forged, name)
		_, _, err := rpc.Decode(forged, keys)
		require.ErrorIs(t, err, rpc.ErrBadMAC, name)
	}
}

func TestAddresseesAreBounded(t *testing.T) {
	many := goldenHeader
	for i := range rpc.MaxMembers {
		many.Addressees = append(many.Addressees, rpc.NodeID(fmt.Sprintf("n%d", i)))
	}
	_, _, err := rpc.Decode(rpc.Append(nil, &many, &rpc.CommitLogCommand{}, nil), nil)
	require.NoError(t, err)
	many.Addressees = append(many.Addressees, "n64")
	_, _, err = rpc.Decode(rpc.Append(nil, &many, &rpc.CommitLogCommand{}, nil), nil)
	require.ErrorIs(t, err, rpc.ErrMalformed)

	// Protobuf leaves empty names in a list: there is no such node.
	frame := append(rpc.Append(nil, &goldenHeader, &rpc.CommitLogCommand{}, nil), 0x4a, 0)
	_, _, err = rpc.Decode(frame, nil)
	require.ErrorIs(t, err, rpc.ErrMalformed)
}
