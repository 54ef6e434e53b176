package raft

// Entries whose payload the disk has lost (D3, F18): what the node may not do until the leader has given them again.

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// damaged is n1 of three with entries 1 to 5 of term 1, of which 3 and 4 are lost.
func damaged(t *testing.T) *solo {
	c := start(rpc.HardState{Term: 1}, 1, 1, 1, 1, 1)
	c.Damaged = []rpc.EntryID{{Term: 1, Index: 3}, {Term: 1, Index: 4}}
	return newSolo(t, c)
}

func TestF18DamagedNodeNeitherVotesNorCampaigns(t *testing.T) {
	s := damaged(t)
	require.Empty(t, only[*rpc.RequestVoteCommand](s.tickFor(1_000)))
	out := s.hear("n2", 2, &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 1, Index: 5}})
	require.Equal(t, []*rpc.RequestVoteReturn{{}}, only[*rpc.RequestVoteReturn](out.SendAfterSync))
	out = s.hear("n2", 3, &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 1, Index: 5}, PreVote: true})
	require.False(t, only[*rpc.RequestVoteReturn](append(out.Send, out.SendAfterSync...))[0].Granted)
}

// F23: whoever stores an old copy of what it had neither votes nor campaigns, nor hands on what it leads.
func TestF23AnOldCopyNeitherVotesNorLeads(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}, 1, 1))
	s.turn(Outdated{})
	require.Empty(t, only[*rpc.RequestVoteCommand](s.tickFor(1_000)))
	out := s.hear("n2", 2, &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 1, Index: 5}})
	require.Equal(t, []*rpc.RequestVoteReturn{{}}, only[*rpc.RequestVoteReturn](out.SendAfterSync))
	out = s.hear("n2", 2, &rpc.TimeoutNowCommand{})
	require.Empty(t, only[*rpc.RequestVoteCommand](append(out.Send, out.SendAfterSync...)))

	leader := established(t, 3)
	leader.turn(Outdated{})
	require.Equal(t, Follower, leader.role)
}

// Nor does it go on with a campaign that was under way when it was told: it may have voted otherwise in that very term.
func TestF23AnOldCopyEndsItsCampaign(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}, 1, 1))
	s.tickFor(s.ticks.ElectionMin)
	require.Equal(t, PreCandidate, s.role)
	s.turn(Outdated{})
	out := s.hear("n2", 2, preGranted())
	require.Empty(t, only[*rpc.RequestVoteCommand](out.SendAfterSync))
	require.Equal(t, rpc.HardState{Term: 1}, s.hard)

	s = candidate(t, start(rpc.HardState{Term: 1}, 1, 1))
	s.synced()
	s.turn(Outdated{})
	s.hear("n2", 2, granted())
	require.Equal(t, Follower, s.role)
}

func TestF18DamagedLogEndsBeforeTheDamageForTheLeader(t *testing.T) {
	s := damaged(t)
	out := s.hear("n2", 1, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 5}, Commit: 5})
	require.Equal(t, []*rpc.AppendLogReturn{{Prev: 5, Hint: rpc.EntryID{Term: 1, Index: 2}, Damaged: true}}, only[*rpc.AppendLogReturn](out.Send))
	require.Zero(t, s.commit)
	out = s.hear("n2", 1, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 1}, Entries: run(2, 1), Commit: 5})
	require.Equal(t, rpc.Index(2), only[*rpc.AppendLogReturn](out.Send)[0].Match)
	require.Equal(t, rpc.Index(2), s.commit)
}

func TestF18RepairIsAcknowledgedWhenItIsDurable(t *testing.T) {
	s := damaged(t)
	out := s.hear("n2", 1, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 2}, Entries: run(3, 1, 1, 1), Commit: 5})
	require.Equal(t, run(3, 1, 1), out.Write.Repairs)
	require.Empty(t, out.Write.Entries, "the log knew them all along")
	require.Empty(t, only[*rpc.AppendLogReturn](out.Send))
	require.Equal(t, rpc.Index(5), only[*rpc.AppendLogReturn](out.SendAfterSync)[0].Match)
	require.Contains(t, out.Facts, LogRepaired{})
	again := s.hear("n2", 1, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 2}, Entries: run(3, 1, 1, 1), Commit: 5})
	require.Empty(t, only[*rpc.AppendLogReturn](again.Send), "nor when it comes again meanwhile")
	require.Equal(t, rpc.Index(5), s.commit)
	require.Zero(t, out.Apply, "what is read of the disk now is damaged still")
	require.Empty(t, only[*rpc.RequestVoteCommand](s.tickFor(s.ticks.ElectionMin)), "a leader would read it too")
	require.Equal(t, rpc.Index(5), s.synced().Apply.To)
	s.tickFor(s.ticks.ElectionMin)
	require.Equal(t, PreCandidate, s.role)
}

func TestF18DamageThatIsReplacedOrCoveredIsGone(t *testing.T) {
	s := damaged(t)
	out := s.hear("n2", 2, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 2}, Entries: run(3, 2)})
	require.Empty(t, out.Write.Repairs)
	require.Equal(t, run(3, 2), out.Write.Entries)
	require.False(t, s.damage.any())

	s = damaged(t)
	s.hear("n2", 1, &rpc.HeartbeatCommand{})
	s.turn(SnapshotStored{From: "n2", Transfer: 1, Snapshot: rpc.EntryID{Term: 1, Index: 4}, Configuration: table("n1", "n2", "n3")})
	s.turn(Restored{rpc.EntryID{Term: 1, Index: 4}})
	require.False(t, s.damage.any())
	require.Equal(t, rpc.Index(5), s.log.last)

	s = damaged(t)
	s.hear("n2", 2, &rpc.HeartbeatCommand{})
	s.turn(SnapshotStored{From: "n2", Transfer: 1, Snapshot: rpc.EntryID{Term: 2, Index: 2}, Configuration: table("n1", "n2", "n3")})
	s.turn(Restored{rpc.EntryID{Term: 2, Index: 2}})
	require.Equal(t, rpc.Index(2), s.log.last, "of another history: none of the log is kept")
	require.False(t, s.damage.any(), "nor what was damaged in it")
}

// A leader whose follower comes back with damage goes back behind what that had acknowledged, and commits nothing by it meanwhile.
func TestF18LeaderGoesBackForADamagedFollower(t *testing.T) {
	s := established(t, 5)
	out := s.hear("n2", 2, &rpc.AppendLogReturn{Prev: 5, Hint: rpc.EntryID{Term: 1, Index: 2}, Damaged: true})
	require.Equal(t, rpc.Index(2), s.office.peers["n2"].match)
	require.Equal(t, rpc.Index(5), s.commit)
	require.Equal(t, rpc.Index(3), out.Loads[0].From)
}

// One that is new in office knows nothing of what that follower holds: what was lost it gives from its log all the same, and no snapshot.
func TestF18NewLeaderRepairsADamagedFollowerFromItsLog(t *testing.T) {
	s := established(t, 6)
	s.turn(Compact{2})
	unknown := func() { *s.office.peers["n3"] = progress{next: 7, connected: true, heard: s.now, acked: s.now} }
	lost := func(after rpc.Index) *Effects {
		unknown()
		return s.hear("n3", 2, &rpc.AppendLogReturn{Prev: 6, Hint: rpc.EntryID{Term: 1, Index: after}, Damaged: true})
	}
	out := lost(4)
	require.Empty(t, out.Snapshots)
	require.Equal(t, rpc.Index(5), out.Loads[0].From)
	require.Zero(t, s.office.peers["n3"].match, "what it holds before that it has not shown")
	require.NotEmpty(t, lost(1).Snapshots, "entry 2 is no longer in the log")
}

// What a damaged follower holds may be longer than the leader's log: it gets what that has next, and no snapshot of all.
func TestF18ADamagedFollowerMayHoldMoreThanTheLeader(t *testing.T) {
	s := established(t, 6)
	out := s.hear("n2", 2, &rpc.AppendLogReturn{Prev: 6, Hint: rpc.EntryID{Term: 2, Index: 9}, Damaged: true})
	require.Empty(t, out.Snapshots)
	require.Equal(t, rpc.Index(7), s.office.peers["n2"].next)
}
