package busclient

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

func TestEveryMethodIsCarriedThereAndBack(t *testing.T) {
	n1, n2 := pair(t, startNATS(t).URL())
	n2.echo()
	c := n1.to("n2")

	h := await(t, heartbeat(t, c, 17))
	require.NoError(t, h.Err)
	require.Equal(t, rpc.Reply[*rpc.HeartbeatReturn]{From: "n2", Term: 3, Return: &rpc.HeartbeatReturn{Read: 17}}, h)

	appended := make(chan rpc.Reply[*rpc.AppendLogReturn], 1)
	entries := []rpc.Entry{{Index: 6, Term: 2, Kind: rpc.EntryCommand, Data: []byte("blue")}}
	require.NoError(t, c.AppendLog(3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 2, Index: 5}, Entries: entries},
		func(r rpc.Reply[*rpc.AppendLogReturn]) { appended <- r }))
	require.Equal(t, rpc.Index(6), await(t, appended).Return.Match)

	committed := make(chan rpc.Reply[*rpc.CommitLogReturn], 1)
	require.NoError(t, c.CommitLog(3, &rpc.CommitLogCommand{Commit: 6}, func(r rpc.Reply[*rpc.CommitLogReturn]) { committed <- r }))
	require.Equal(t, rpc.Index(6), await(t, committed).Return.Commit)

	voted := make(chan rpc.Reply[*rpc.RequestVoteReturn], 1)
	require.NoError(t, c.RequestVote(4, &rpc.RequestVoteCommand{PreVote: true}, func(r rpc.Reply[*rpc.RequestVoteReturn]) { voted <- r }))
	require.True(t, await(t, voted).Return.Granted)

	got := n2.messages()
	require.Len(t, got, 4)
	require.Equal(t, rpc.NodeID("n1"), got[1].From)
	require.Equal(t, rpc.NodeID("n2"), got[1].To)
	require.Equal(t, rpc.Term(3), got[1].Term)
	require.Equal(t, entries, got[1].Body.(*rpc.AppendLogCommand).Entries)
}
