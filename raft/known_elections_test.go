package raft

// Known bugs of elections (fault model, section 6), each put to the core as a scenario. Put one back, and its test fails.

import (
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

func granted() *rpc.RequestVoteReturn { return &rpc.RequestVoteReturn{Granted: true} }

func preGranted() *rpc.RequestVoteReturn {
	return &rpc.RequestVoteReturn{PreVote: true, Granted: true}
}

// candidate is a core that asks for votes in term 2, its own vote durable.
func candidate(t *testing.T, c Config) *solo {
	s := newSolo(t, c)
	s.tickFor(c.Ticks.ElectionMin)
	for _, id := range rpc.IDs(s.peers) {
		s.hear(id, 2, preGranted())
	}
	s.synced()
	require.Equal(t, Candidate, s.role)
	return s
}

func five() Config {
	c := start(rpc.HardState{Term: 1})
	c.Configurations = []rpc.Configuration{table("n1", "n2", "n3", "n4", "n5")}
	return c
}

func TestK1VoteWaitsForItsSyncHoweverOftenItIsAsked(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	for range 3 {
		out := s.hear("n2", 2, &rpc.RequestVoteCommand{})
		require.Empty(t, out.Send)
		require.Len(t, out.SendAfterSync, 1)
	}
	s.synced()
	require.Len(t, s.hear("n2", 2, &rpc.RequestVoteCommand{}).Send, 1)
	after := newSolo(t, start(s.hard))
	refused := after.hear("n3", 2, &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 1, Index: 1}})
	require.Equal(t, []rpc.Message{send("n3", 2, &rpc.RequestVoteReturn{})}, refused.Send, "a crash later it remembers")
}

func TestK1CandidatesOwnVoteCountsWhenDurable(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	s.tickFor(100)
	s.hear("n2", 2, preGranted())
	s.hear("n2", 2, granted())
	require.Equal(t, Candidate, s.role)
	s.synced()
	require.Equal(t, Leader, s.role)
}

func TestK2VoteSurvivesEveryStepDown(t *testing.T) {
	for name, down := range map[string]Event{
		"another leads":  from2("n3", "n1", 2, &rpc.HeartbeatCommand{}),
		"asked to":       Resign{},
		"given up":       Tick{},
		"a later reply?": from2("n3", "n1", 2, &rpc.RequestVoteReturn{}),
	} {
		t.Run(name, func(t *testing.T) {
			s := candidate(t, start(rpc.HardState{Term: 1}))
			if _, resign := down.(Resign); resign {
				s.hear("n2", 2, granted())
			}
			for range 110 {
				s.turn(down)
			}
			require.Equal(t, rpc.HardState{Term: 2, Vote: "n1"}, s.hard)
			out := s.hear("n2", 2, &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 9, Index: 9}})
			require.Equal(t, []*rpc.RequestVoteReturn{{}}, only[*rpc.RequestVoteReturn](out.Send))
		})
	}
}

func TestK3ChosenCandidateIsAnsweredAgain(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 2, Vote: "n2"}))
	out := s.hear("n2", 2, &rpc.RequestVoteCommand{})
	require.Equal(t, []rpc.Message{send("n2", 2, granted())}, out.Send)
}

func TestK4EachPeerCountsOnceAndInItsTermOnly(t *testing.T) {
	s := candidate(t, five())
	for range 3 {
		s.hear("n2", 2, granted())
	}
	require.Equal(t, Candidate, s.role, "one peer, thrice")
	s.hear("n3", 2, preGranted())
	s.hear("n3", 3, preGranted())
	require.Equal(t, Candidate, s.role, "a pre-vote is no vote")
	s.hear("n4", 1, granted())
	require.Equal(t, Candidate, s.role, "a vote of an earlier term")
	s.hear("n4", 2, granted())
	require.Equal(t, Leader, s.role)
}

func TestK4VotesOfTheLastTermAreForgotten(t *testing.T) {
	s := candidate(t, five())
	s.hear("n2", 2, granted())
	s.tickFor(25)
	for _, id := range rpc.IDs(s.peers) {
		s.hear(id, 3, preGranted())
	}
	s.synced()
	s.hear("n3", 3, granted())
	require.Equal(t, Candidate, s.role)
	require.Equal(t, rpc.Term(3), s.hard.Term)
}

func TestK5TermNeverGoesBack(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 7}, 1, 1))
	s.hear("n2", 7, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 1}, Entries: run(2, 3), Commit: 2})
	s.hear("n2", 7, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 5, Index: 9}})
	s.hear("n3", 6, &rpc.HeartbeatCommand{})
	require.Equal(t, rpc.HardState{Term: 7}, s.hard)
	require.Equal(t, rpc.Term(3), s.log.lastID().Term)
	require.Panics(t, func() { s.setTerm(6, "") })
	require.Panics(t, func() { New(start(rpc.HardState{Term: 1}, 2)) }, "nor does a start from a damaged disk lower it")
}

func TestK6RefusalNamesTheTermItWasRaisedTo(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}, 1))
	out := s.hear("n2", 6, &rpc.RequestVoteCommand{})
	require.Equal(t, []rpc.Message{send("n2", 6, &rpc.RequestVoteReturn{})}, out.SendAfterSync)
	require.Equal(t, &rpc.HardState{Term: 6}, out.Write.HardState)
}

func TestK7RefusedCandidatesDelayNobody(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}, 1))
	for i := range rpc.Term(10) {
		s.tickFor(9)
		s.hear("n2", 2+i, &rpc.RequestVoteCommand{})
		s.hear("n3", 3+i, &rpc.RequestVoteCommand{PreVote: true})
		s.synced()
	}
	s.tickFor(10)
	require.Equal(t, PreCandidate, s.role)
}

// Whoever was given a vote is to have the time to lead: the voter does not campaign before.
func TestK7AVoteGivenRestartsTheTimer(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	s.tickFor(s.ticks.ElectionMin - 1)
	out := s.hear("n2", 2, &rpc.RequestVoteCommand{})
	require.True(t, only[*rpc.RequestVoteReturn](out.SendAfterSync)[0].Granted)
	s.synced()
	s.tickFor(s.ticks.ElectionMin - 1)
	require.Equal(t, Follower, s.role)
	s.tickFor(1)
	require.Equal(t, PreCandidate, s.role)
}

func TestK8LogsCompareByTermThenIndex(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 3}, 1, 3))
	long := s.hear("n2", 4, &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 2, Index: 50}})
	require.Equal(t, []*rpc.RequestVoteReturn{{}}, only[*rpc.RequestVoteReturn](long.SendAfterSync))
	late := s.hear("n3", 4, &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 4, Index: 1}})
	require.Equal(t, []*rpc.RequestVoteReturn{granted()}, only[*rpc.RequestVoteReturn](late.SendAfterSync))
}

func TestK9StrangersNeitherCountNorDisturb(t *testing.T) {
	c := start(rpc.HardState{Term: 1})
	c.Configurations[0].Learners = members("n4")
	s := candidate(t, c)
	s.hear("n9", 2, granted())
	s.hear("n9", 99, &rpc.HeartbeatCommand{})
	s.hear("n9", 99, &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 9, Index: 9}})
	s.hear("n4", 2, granted())
	require.Equal(t, Candidate, s.role, "a removed node and a learner are no majority")
	require.Equal(t, rpc.Term(2), s.hard.Term)
	require.Empty(t, s.out.Send)
}

func TestK9LearnersVoteButNeverCampaign(t *testing.T) {
	c := start(rpc.HardState{Term: 1})
	c.Configurations = []rpc.Configuration{rpc.Configuration{Voters: members("n2", "n3"), Learners: members("n1")}}
	s := newSolo(t, c)
	require.Empty(t, s.tickFor(1_000))
	out := s.hear("n2", 2, &rpc.RequestVoteCommand{})
	require.Equal(t, []*rpc.RequestVoteReturn{granted()}, only[*rpc.RequestVoteReturn](out.SendAfterSync), "it may be a voter and not know it yet (K12)")

	s.hear("n2", 2, &rpc.HeartbeatCommand{})
	require.Equal(t, rpc.NodeID("n2"), s.leader)
	require.Empty(t, only[*rpc.RequestVoteCommand](s.tickFor(s.ticks.ElectionMax)))
	require.Empty(t, s.leader, "but nor does it say that it follows one who is gone")
}

func TestK13BothHalvesOfAJointChangeMustAgree(t *testing.T) {
	c := start(rpc.HardState{Term: 1})
	c.Configurations = []rpc.Configuration{rpc.Configuration{Voters: members("n1", "n2", "n3"), Outgoing: members("n3", "n4", "n5")}}
	s := candidate(t, c)
	s.hear("n2", 2, granted())
	s.hear("n3", 2, granted())
	require.Equal(t, Candidate, s.role, "three of five, but one of the outgoing three")
	s.hear("n5", 2, granted())
	require.Equal(t, Leader, s.role)

	s.ack("n2", 1)
	s.ack("n3", 1)
	s.synced()
	require.Zero(t, s.commit)
	s.ack("n4", 1)
	require.Equal(t, rpc.Index(1), s.commit)
}
