package rpc_test

// Fuzz targets of all decoders. Whatever is taken must be written and read again as the same thing, and no bytes may
// make a decoder panic or allocate out of proportion. The corpus under testdata/fuzz runs with the other tests.

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

func FuzzDecode(f *testing.F) {
	keys := rpc.NewKeys(newKey, oldKey)
	for _, b := range goldenBodies() {
		f.Add(rpc.Append(nil, &goldenHeader, b, nil))
	}
	f.Add(sealed(keys))
	f.Add(rpc.Append(nil, &toSeveral, &rpc.CommitLogCommand{Commit: 301}, nil))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if _, _, err := rpc.Decode(frame, keys); err == nil {
			t.Log("sealed as we do: only a seed can be")
		}
		h, b, err := rpc.Decode(frame, nil)
		if err != nil {
			require.Nil(t, b)
			return
		}
		if c, ok := b.(*rpc.AppendLogCommand); ok {
			require.LessOrEqual(t, cap(c.Entries)*56, 2*len(frame)+56<<10)
		}
		again := rpc.Append(nil, &h, b, keys)
		require.LessOrEqual(t, len(again), rpc.Size(b)+len(h.Addressees)*rpc.AddresseeBytes)
		for _, id := range h.Addressees {
			require.True(t, rpc.Addresses(again, id))
		}
		gotHeader, got, err := rpc.Decode(again, keys)
		require.NoError(t, err)
		require.Equal(t, h, gotHeader)
		require.Equal(t, b, got)
	})
}

func FuzzEntry(f *testing.F) {
	f.Add(rpc.AppendEntry(nil, &rpc.Entry{Index: 301, Term: 7, Kind: rpc.EntryCommand, Time: goldenTime, Data: []byte("blue")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := rpc.DecodeEntry(b)
		if err != nil {
			return
		}
		again := rpc.AppendEntry(nil, &e)
		require.Len(t, again, rpc.EntrySize(&e))
		got, err := rpc.DecodeEntry(again)
		require.NoError(t, err)
		require.Equal(t, e, got)
	})
}

func FuzzConfiguration(f *testing.F) {
	n1, n2 := rpc.Member{ID: "n1", Instance: goldenHeader.Instance}, rpc.Member{ID: "n2"}
	f.Add(rpc.AppendConfiguration(nil, &rpc.Configuration{Voters: []rpc.Member{n1, n2}, Outgoing: []rpc.Member{n1}, Learners: []rpc.Member{{ID: "n3"}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := rpc.DecodeConfiguration(b)
		if err != nil {
			return
		}
		got, err := rpc.DecodeConfiguration(rpc.AppendConfiguration(nil, &c))
		require.NoError(t, err)
		require.Equal(t, c, got)
	})
}
