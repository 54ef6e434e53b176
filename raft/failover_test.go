package raft

// What pings say, and for how long it counts. It is evidence for asking only, but who asks too soon disturbs the others.

import (
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

// A leader that is slow may have answered a ping before it was elected: what it said in an earlier term says nothing of this one.
func TestWhatALeaderSaidInAnEarlierTermLosesItNot(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 3}))
	s.hear("n2", 3, &rpc.HeartbeatCommand{})
	s.tickFor(int(s.silenceMax()) + 1)
	s.turn(Pinged{Peer: "n2", Outcome: PingOK, Leader: "n3", Term: 2})
	require.Equal(t, rpc.NodeID("n2"), s.leader)
	s.turn(Pinged{Peer: "n2", Outcome: PingOK, Leader: "n3", Term: 3})
	require.Empty(t, s.leader)
}

// Nor does what it said before it spoke to this node: an answer may come late.
func TestALeaderThatHasSpokenSinceIsNotDoubted(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 3}))
	s.hear("n2", 3, &rpc.HeartbeatCommand{})
	sent := s.tickFor(int(s.silenceMax()) + 1)
	require.Empty(t, sent)
	require.Equal(t, []rpc.NodeID{"n2"}, s.out.Pings)
	s.hear("n2", 3, &rpc.HeartbeatCommand{})
	s.turn(Pinged{Peer: "n2", Outcome: PingOK, Term: 3})
	require.Equal(t, rpc.NodeID("n2"), s.leader)
	require.Zero(t, s.election.quickAt)
}

// That a majority knows no leader is to be said by all of it at about the same time: who said so long ago may have one since.
func TestThatNobodyLeadsIsSaidAtOneTime(t *testing.T) {
	s := newSolo(t, five())
	s.turn(Pinged{Peer: "n2", Outcome: PingOK, Term: 1})
	s.tickFor(5 * s.Core.ticks.Ping)
	s.turn(Pinged{Peer: "n3", Outcome: PingOK, Term: 1})
	require.Zero(t, s.election.quickAt)
	s.turn(Pinged{Peer: "n2", Outcome: PingOK, Term: 1})
	require.NotZero(t, s.election.quickAt)

	s = newSolo(t, five())
	s.turn(Pinged{Peer: "n2", Outcome: PingOK, Term: 1})
	s.turn(Pinged{Peer: "n2", Outcome: PingOK, Leader: "n4", Term: 1})
	s.turn(Pinged{Peer: "n3", Outcome: PingOK, Term: 1})
	require.Zero(t, s.election.quickAt, "n2 has found one since")
}

// Who is alone has nobody to ask, nor to wait for: a single node serves soon after its start (L1).
func TestWhoIsAloneDoesNotWait(t *testing.T) {
	c := start(rpc.HardState{Term: 1})
	c.Configurations = []rpc.Configuration{table("n1")}
	s := newSolo(t, c)
	s.tickFor(c.Ticks.Ping + c.Ticks.QuickMax)
	s.synced()
	require.Equal(t, Leader, s.role)
}

// Who lost its leader and was elected has lost none any more: when it resigns, its next campaign is a quick one, and not early, which disturbs those
// that hear a leader of theirs.
func TestALostLeaderIsForgottenWithAnElection(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 3}))
	s.hear("n2", 3, &rpc.HeartbeatCommand{})
	s.tickFor(int(s.silenceMax()) + 1)
	s.turn(Pinged{Peer: "n2", Outcome: PingOK, Term: 3})
	sent := s.tickFor(s.ticks.QuickMin)
	require.True(t, only[*rpc.RequestVoteCommand](sent)[0].Early)
	s.hear("n3", 4, preGranted())
	s.synced()
	s.hear("n3", 4, granted())
	require.Equal(t, Leader, s.role)
	s.turn(Resign{}, Pinged{Peer: "n2", Outcome: PingOK, Term: 4})
	sent = s.tickFor(s.ticks.QuickMax)
	require.False(t, only[*rpc.RequestVoteCommand](sent)[0].Early)
	s.hear("n3", 5, preGranted())
	require.Equal(t, 1, s.election.tries)
}

// What the earlier instance of a member said is not what its new one says.
func TestThatNobodyLeadsIsForgottenWithWhoSaidIt(t *testing.T) {
	s := newSolo(t, five())
	s.turn(Pinged{Peer: "n2", Outcome: PingOK, Term: 1})
	other := table("n1", "n2", "n3", "n4", "n5")
	other.Index, other.Voters[1] = 1, disk2
	s.hear("n3", 2, &rpc.AppendLogCommand{Entries: []rpc.Entry{changing(2, other)}, Commit: 1})
	s.hear("n4", 3, &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 2, Index: 1}, Transfer: true})
	require.Empty(t, s.leader, "n3 hands over to n4")
	s.turn(Pinged{Peer: "n5", Outcome: PingOK, Term: 3})
	require.Zero(t, s.election.quickAt)
	s.turn(Pinged{Peer: "n2", Outcome: PingOK, Term: 3})
	require.NotZero(t, s.election.quickAt)
}
