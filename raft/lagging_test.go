package raft

// What a node may not do whose state machine hangs or takes a snapshot, and what it must do all the same.

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// hanging is an established leader that has handed a run to its state machine, which does not return.
func hanging(t *testing.T) *solo {
	s := established(t, 3)
	s.turn(Propose{Proposals: []Proposal{{Ticket: 1}}})
	s.synced()
	s.ack("n2", 4)
	s.ack("n3", 4)
	require.Equal(t, rpc.Index(4), s.applying)
	require.Equal(t, rpc.Index(3), s.applied)
	return s
}

// L5: a leader whose state machine hangs answers nobody, though its log, its links and its peers are sound.
func TestL5LeaderWhoseStateMachineHangsStepsDown(t *testing.T) {
	s := hanging(t)
	s.answering(399)
	require.Equal(t, Leader, s.role)
	s.answering(1)
	require.Equal(t, Follower, s.role)
}

// F26: nobody gains by a leader's stepping down if the others wait as it does, or are too far behind to take over.
func TestALeaderWhoseStateMachineHangsStaysIfNobodyElseCouldAnswer(t *testing.T) {
	s := hanging(t)
	s.turn(Pinged{Peer: "n2", Lacks: true}, Pinged{Peer: "n3", Lacks: true})
	s.answering(1_000)
	require.Equal(t, Leader, s.role)
	s.turn(Pinged{Peer: "n2", Lacks: true}, Pinged{Peer: "n3"})
	s.office.peers["n3"].stuck = true
	s.answering(1)
	require.Equal(t, Leader, s.role, "a snapshot is on its way to it")
	s.office.peers["n3"].stuck, s.office.peers["n3"].match = false, 3
	s.answering(1)
	require.Equal(t, Leader, s.role, "it does not hold all that is committed")
	s.ack("n3", 4)
	s.answering(1)
	require.Equal(t, Follower, s.role)
}

// Peers know of a hang before their own time is up.
func TestWhoIsAboutToLagSaysSoAnElectionTimeoutBefore(t *testing.T) {
	s := hanging(t)
	s.answering(299)
	require.False(t, s.AboutToLag())
	s.answering(1)
	require.True(t, s.AboutToLag())
	require.False(t, s.lags())
}

// One that takes its time for each run stays: only the run under way counts.
func TestALeaderWhoseStateMachineIsSlowStays(t *testing.T) {
	s := hanging(t)
	for i := rpc.Index(5); i < 10; i++ {
		s.answering(399)
		s.turn(ApplyDone{i - 1}, Propose{Proposals: []Proposal{{Ticket: 1}}})
		s.synced()
		s.ack("n2", i)
		s.ack("n3", i)
	}
	require.Equal(t, Leader, s.role)
}

// A majority by itself leads on: nobody else can.
func TestTheOnlyVoterLeadsThoughItsStateMachineHangs(t *testing.T) {
	s := inOffice(t, table("n1"))
	s.turn(Propose{Proposals: []Proposal{{Ticket: 1}}})
	s.synced()
	s.tickFor(1_000)
	require.Greater(t, s.applying, s.applied)
	require.Equal(t, Leader, s.role)
	require.False(t, s.lags())
}

// lagging is a follower that hears its leader to the end, whose state machine hangs or takes a snapshot by then.
func lagging(t *testing.T, installs bool) *solo {
	s := following(t, 1, 1, 2, 2, 2)
	s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 2, Index: 5}, Commit: 2})
	if installs {
		s.turn(ApplyDone{2}, stored(2, 4))
		require.True(t, s.install.active)
	}
	for range 8 {
		s.tickFor(50)
		s.hear("n2", 3, &rpc.HeartbeatCommand{})
	}
	return s
}

// win has the node, which is needed, elected by n3, which has its whole log soon.
func (s *solo) win() {
	s.t.Helper()
	s.elected()
	s.ack("n3", 6)
}

func (s *solo) elected() {
	s.t.Helper()
	require.NotEmpty(s.t, only[*rpc.RequestVoteCommand](s.tickFor(501)))
	s.hear("n3", 4, preGranted())
	s.synced()
	s.hear("n3", 4, granted())
	s.synced()
	require.Equal(s.t, Leader, s.role)
}

// Who lags leaves campaigns to others, quick ones and ordered ones too, and votes as before.
func TestL5WhoLagsDoesNotCampaign(t *testing.T) {
	for _, installs := range []bool{false, true} {
		s := lagging(t, installs)
		require.True(t, s.lags())
		s.hear("n2", 3, &rpc.TimeoutNowCommand{Last: s.log.lastID()})
		require.Equal(t, Follower, s.role, "its leader finds another")
		s.tickFor(99)
		s.hear("n3", 4, &rpc.RequestVoteCommand{Last: s.log.lastID(), PreVote: true})
		require.Empty(t, only[*rpc.RequestVoteReturn](s.out.SendAfterSync))
		require.Empty(t, only[*rpc.RequestVoteCommand](s.tickFor(400)))
		s.hear("n3", 4, &rpc.RequestVoteCommand{Last: s.log.lastID(), PreVote: true})
		require.True(t, only[*rpc.RequestVoteReturn](s.out.Send)[0].Granted)
		if installs {
			s.turn(Restored{rpc.EntryID{Term: 2, Index: 4}})
			s.synced()
		} else {
			s.turn(ApplyDone{2})
		}
		require.NotEmpty(t, only[*rpc.RequestVoteCommand](s.tickFor(1)), "it keeps up again")
	}
}

// L8: a campaign in vain says nothing of who else could lead: the next one is soon, as anybody's.
func TestL8WhoIsNeededTriesAgainSoon(t *testing.T) {
	s := lagging(t, false)
	require.NotEmpty(t, only[*rpc.RequestVoteCommand](s.tickFor(501)))
	s.tickFor(100)
	require.Equal(t, Follower, s.role, "nobody answered")
	require.NotEmpty(t, only[*rpc.RequestVoteCommand](s.tickFor(100)))
	s.hear("n3", 4, preGranted())
	s.synced()
	require.Equal(t, Candidate, s.role)
	s.tickFor(20)
	require.Equal(t, Follower, s.role, "its votes were split")
	require.NotEmpty(t, only[*rpc.RequestVoteCommand](s.tickFor(5)))
}

// Who has led, or heard a leader again, or was off the bus, leaves it to the others anew.
func TestWhoHasLedIsNotNeededAtOnce(t *testing.T) {
	s := hanging(t)
	s.answering(400)
	require.Equal(t, Follower, s.role)
	require.Empty(t, only[*rpc.RequestVoteCommand](s.tickFor(499)))
	require.NotEmpty(t, only[*rpc.RequestVoteCommand](s.tickFor(1)))
	s.hear("n2", 3, &rpc.HeartbeatCommand{})
	s.synced()
	require.Empty(t, only[*rpc.RequestVoteCommand](s.tickFor(499)))
	s.turn(BusChanged{Up: false}, BusChanged{Up: true})
	require.Empty(t, only[*rpc.RequestVoteCommand](s.tickFor(499)), "others may have led meanwhile, and may yet")
	require.NotEmpty(t, only[*rpc.RequestVoteCommand](s.tickFor(1)))
}

// L8: if nobody else has led by then nobody else can. It leads until the others' logs are as long as its own.
func TestL8WhoLagsLeadsIfNobodyElseCan(t *testing.T) {
	s := lagging(t, false)
	s.win()
	s.answering(399)
	require.Equal(t, Leader, s.role)
	s.answering(1)
	require.Equal(t, Follower, s.role)
}

// L8: what it knows to be committed is less than what is, until its own first entry is: who has that much, and no more, could not win.
func TestL8WhoIsNeededStaysUntilItsFirstEntryIsThere(t *testing.T) {
	s := lagging(t, false)
	s.elected()
	for match := rpc.Index(3); match < 6; match++ {
		s.ack("n3", match)
		s.answering(150)
		require.Equal(t, Leader, s.role)
	}
	s.ack("n3", 6)
	s.answering(1)
	require.Equal(t, Follower, s.role)
}

// A snapshot that is taken in comes to its end, and may take minutes: such a leader is not turned out, but hands over.
func TestL8WhoIsNeededAndInstallsStays(t *testing.T) {
	s := lagging(t, true)
	s.win()
	s.answering(1_000)
	require.Equal(t, Leader, s.role)
	require.Equal(t, rpc.NodeID("n3"), s.Successor())
}
