package raft

// Elections, where the thesis does not say it (what it says is in paper_test.go).

import (
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

func TestCoarseTicksLeaveNoRangeToDrawFrom(t *testing.T) {
	c := start(rpc.HardState{Term: 1})
	c.Ticks = Ticks{Heartbeat: 1, ElectionMin: 5, ElectionMax: 8, Ping: 1, QuickMin: 1, QuickMax: 1}
	s := newSolo(t, c)
	s.hear("n2", 1, &rpc.HeartbeatCommand{})
	s.tickFor(3)
	s.turn(Pinged{Peer: "n2", Outcome: PingOK, Leader: "n3", Term: 1}) // panicked: no number is in [1, 1)
	s.tickFor(1)
	require.Equal(t, PreCandidate, s.role)
}

func TestOnlyALeadersCommandsMakeALeader(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	s.hear("n2", 7, &rpc.PingCommand{SenderID: "n2"})
	s.hear("n2", 7, &rpc.PingReturn{SenderID: "n2", Leader: "n2"})
	require.Equal(t, rpc.Term(1), s.hard.Term, "a ping changes no term (design section 3)")
	require.Empty(t, s.leader)
}

// A slow disk raises no term: a candidate that has asked nobody yet does not begin anew (F5), unless it hangs.
func TestCandidateWaitsForItsOwnDisk(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	s.tickFor(100)
	s.hear("n2", 2, preGranted())
	require.Equal(t, Candidate, s.role)
	s.tickFor(int(s.hangMax()) - 1)
	require.Equal(t, Candidate, s.role)
	require.Equal(t, rpc.Term(2), s.hard.Term)
	s.synced()
	s.tickFor(int(s.hangMax()))
	require.Equal(t, Candidate, s.role, "others may need as long")
	s.hear("n2", 2, granted())
	require.Equal(t, Leader, s.role)

	s = newSolo(t, start(rpc.HardState{Term: 1}))
	s.tickFor(100)
	s.hear("n2", 2, preGranted())
	s.tickFor(int(s.hangMax()))
	require.Equal(t, Follower, s.role, "a disk that is stuck")
}

// Who votes for a node takes what its disk takes, or a long way: a candidate whose own disk is quick, and that begins anew before the votes are there, is
// elected by nobody, for ever (L8). Meanwhile the voter answers pings, and says that it knows no leader.
func TestVotesThatComeLateElectInTheEnd(t *testing.T) {
	for _, late := range []int{30, 60, 90} { // less than the lowest election timeout
		for _, lost := range []bool{true, false} {
			s := newSolo(t, start(rpc.HardState{Term: 1}))
			if lost {
				s.hear("n2", 1, &rpc.HeartbeatCommand{})
				s.tickFor(20)
				s.turn(Pinged{Peer: "n2", Outcome: PingOK, Term: 1})
				require.True(t, s.election.lost)
			}
			s.awaitLateVotes(late)
			require.Equal(t, Leader, s.role, "votes after %d ticks, a leader lost: %v", late, lost)
			require.Less(t, s.hard.Term, rpc.Term(triesMax), "votes after %d ticks, a leader lost: %v", late, lost)
		}
	}
}

// awaitLateVotes lets time pass in which n2 is gone and n3 gives each pre-vote at once, and each vote so many ticks after it was asked for it.
func (s *solo) awaitLateVotes(late int) {
	asked := map[rpc.Term]int{}
	for now := 0; now < 3000 && s.role != Leader; now++ {
		out := s.turn(Tick{})
		for range out.Pings {
			s.turn(Pinged{Peer: "n3", Outcome: PingOK, Term: s.hard.Term})
		}
		switch s.synced(); s.role {
		case PreCandidate:
			s.hear("n3", s.hard.Term+1, preGranted())
			s.synced()
		case Candidate:
			if _, known := asked[s.hard.Term]; !known {
				asked[s.hard.Term] = now
			}
		}
		for term, at := range asked {
			if now == at+late {
				s.hear("n3", term, granted())
			}
		}
	}
}

// Who gives its vote stands no more for the term after: it would end the one that it has just helped to elect (F5).
func TestWhoVotesForAnotherStandsNoMore(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	s.tickFor(s.Core.ticks.ElectionMin)
	require.Equal(t, PreCandidate, s.role)
	s.hear("n2", 1, &rpc.RequestVoteCommand{Last: s.log.lastID()})
	require.Equal(t, rpc.HardState{Term: 1, Vote: "n2"}, s.hard)
	s.hear("n3", 2, preGranted())
	require.Equal(t, Follower, s.role)
	require.Equal(t, rpc.Term(1), s.hard.Term)
}

func TestLateRefusalDoesNotHideAGrant(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	s.tickFor(s.Core.ticks.ElectionMin)
	require.Equal(t, PreCandidate, s.role)
	s.hear("n2", 1, &rpc.RequestVoteReturn{PreVote: true})
	s.hear("n2", 2, &rpc.RequestVoteReturn{PreVote: true, Granted: true})
	require.Equal(t, Candidate, s.role, "the refusal answered an earlier campaign")
}

// Where votes are split again and again the ordinary timeout rules in the end: terms do not rise by the hundred in a second (F5).
func TestVotesThatAreSplitForEverSlowDown(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	const seconds = 20
	for range seconds * s.Core.ticks.ElectionMin {
		s.turn(Tick{})
		s.synced()
		term := s.hard.Term
		switch s.role {
		case PreCandidate:
			s.hear("n2", term+1, preGranted())
		case Candidate:
			s.hear("n2", term, &rpc.RequestVoteReturn{})
			s.hear("n3", term, &rpc.RequestVoteReturn{})
		}
	}
	require.LessOrEqual(t, s.hard.Term, rpc.Term(1+triesMax+seconds))
	require.Greater(t, s.hard.Term, rpc.Term(triesMax), "it does not give up either")
}

// So do early campaigns that nobody answers: a node that has lost its leader, and hears nobody else, does not go on asking all as fast (F5).
func TestEarlyCampaignsSlowDown(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	s.hear("n2", 1, &rpc.HeartbeatCommand{})
	s.tickFor(20)
	s.turn(Pinged{Peer: "n2", Outcome: PingNobody})
	s.tickFor(s.ticks.Ping)
	s.turn(Pinged{Peer: "n2", Outcome: PingNobody})
	require.Empty(t, s.leader)
	const timeouts = 10
	asked := only[*rpc.RequestVoteCommand](s.tickFor(triesMax*2*s.Core.ticks.QuickMax + timeouts*s.Core.ticks.ElectionMin))
	rounds := len(asked) / len(s.peers)
	require.Greater(t, rounds, triesMax)
	require.LessOrEqual(t, rounds, triesMax+timeouts)

	// Those that follow have as long as any other: where answers take longer than an early campaign nobody would be elected (L8).
	require.False(t, asked[len(asked)-1].Early)
	for _, r := range []Role{Follower, PreCandidate} {
		for s.role != r {
			s.turn(Tick{})
		}
	}
	s.tickFor(s.Core.ticks.QuickMax + 1)
	s.hear("n3", 2, preGranted())
	require.Equal(t, Candidate, s.role)
}

// Two followers lose their leader at the same moment. If each gave the other its pre-vote, both would stand, split the vote
// and raise the term for nothing (F5: terms rise by 2 at most when the bus comes back).
func TestOfTwoThatLostTheirLeaderTheLowerIDGoesFirst(t *testing.T) {
	for id, grants := range map[rpc.NodeID]bool{"n2": true, "n3": false} {
		s := newSolo(t, start(rpc.HardState{Term: 1}, 1))
		s.id, s.peers, s.members.roster = "n2", members("n1", "n3"), members("n1", "n3")
		if id == "n2" {
			s.id, s.peers, s.members.roster = "n3", members("n1", "n2"), members("n1", "n2")
		}
		s.hear("n1", 1, &rpc.HeartbeatCommand{})
		s.tickFor(20)
		s.turn(Pinged{Peer: "n1", Outcome: PingOK, Term: 1})
		s.tickFor(5)
		require.Equal(t, PreCandidate, s.role)
		ask := &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 1, Index: 1}, PreVote: true, Early: true}
		out := s.hear(id, 2, ask)
		require.Equal(t, grants, only[*rpc.RequestVoteReturn](out.Send)[0].Granted)
		out = s.hear(id, 2, &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 2, Index: 1}, PreVote: true, Early: true})
		require.True(t, only[*rpc.RequestVoteReturn](out.Send)[0].Granted, "a better log goes before a lower id")
		s.hear(id, 1, &rpc.RequestVoteReturn{PreVote: true})
		require.True(t, only[*rpc.RequestVoteReturn](s.hear(id, 2, ask).Send)[0].Granted, "it refused this node: it is no rival")
	}
}

// Who goes first does not for as long as a late round lasts: of five of which two are gone and two do not reach each other only the third can win, and
// both would refuse it (L4).
func TestWhoGoesFirstLetsAnotherTryInTime(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	s.hear("n2", 1, &rpc.HeartbeatCommand{})
	s.tickFor(20)
	s.turn(Pinged{Peer: "n2", Outcome: PingOK, Term: 1})
	for s.election.tries < triesMax/2 || s.role != PreCandidate {
		s.tickFor(1)
	}
	wins := func() bool {
		out := s.hear("n3", 2, &rpc.RequestVoteCommand{PreVote: true, Early: true})
		return only[*rpc.RequestVoteReturn](out.Send)[0].Granted
	}
	s.tickFor(int(s.election.began) + s.Core.ticks.QuickMax - 1 - int(s.now))
	require.False(t, wins())
	s.tickFor(1)
	require.Equal(t, PreCandidate, s.role)
	require.True(t, wins())
}

// Who has just given its vote, be it to itself, gives no pre-vote to another: that one would end the new leader's term as it begins (F5).
func TestAVoteJustGivenIsNotUndone(t *testing.T) {
	voter := newSolo(t, start(rpc.HardState{Term: 1}))
	voter.hear("n2", 2, &rpc.RequestVoteCommand{})
	voter.synced()
	own := newSolo(t, start(rpc.HardState{Term: 1}))
	own.tickFor(own.Core.ticks.ElectionMin)
	own.hear("n2", 2, preGranted())
	own.synced()
	for _, s := range []*solo{voter, own} {
		wins := func() bool {
			out := s.hear("n3", 3, &rpc.RequestVoteCommand{PreVote: true})
			return only[*rpc.RequestVoteReturn](out.Send)[0].Granted
		}
		s.tickFor(s.Core.ticks.QuickMax - 1)
		require.False(t, wins())
		s.tickFor(1)
		require.True(t, wins())
	}
}

// A pre-vote asks for a term that is still to come: what is asked for in the voter's own, or an earlier one, comes too late, and the answer says which that is.
func TestAPreVoteIsForALaterTerm(t *testing.T) {
	for term, granted := range map[rpc.Term]bool{4: false, 5: false, 6: true} {
		s := newSolo(t, start(rpc.HardState{Term: 5}, 1))
		s.tickFor(s.ticks.ElectionMin - 1)
		out := s.hear("n2", term, &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 1, Index: 1}, PreVote: true})
		sent := append(out.Send, out.SendAfterSync...)
		require.Equal(t, []*rpc.RequestVoteReturn{{PreVote: true, Granted: granted}}, only[*rpc.RequestVoteReturn](sent), "term %d", term)
		require.Equal(t, max(term, 5), sent[0].Term)
	}
}

// Two that stand in one term refuse each other, and go on: whom the rest votes for is elected. Were they to give way, nobody would be.
func TestACandidateGoesOnBesideARival(t *testing.T) {
	s := candidate(t, start(rpc.HardState{Term: 1}))
	require.Equal(t, []rpc.Body{&rpc.RequestVoteReturn{}}, to("n2", s.hear("n2", 2, &rpc.RequestVoteCommand{}).Send))
	require.Equal(t, Candidate, s.role)
	s.hear("n3", 2, granted())
	require.Equal(t, Leader, s.role)
}

// Those whose votes were split wait for times of their own, or they split them again.
func TestTimesAfterASplitAreDrawn(t *testing.T) {
	patience := func(d fixedDice) uint64 {
		c := start(rpc.HardState{Term: 1})
		c.Random = d
		return newSolo(t, c).quickPatience()
	}
	require.Less(t, patience(0), patience(3))
}
