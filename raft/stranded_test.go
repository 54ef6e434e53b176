package raft

// What a leader does for a peer whose next entry is no longer in its log, from the stream of its state until it follows again (L7).

import (
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

// stranded is a leader whose log begins after 4, and n3 has nothing at all. n2 is in step.
func stranded(t *testing.T) *solo {
	s := established(t, 4)
	s.office.peers["n3"].match, s.office.peers["n3"].next, s.office.peers["n3"].replicating = 0, 1, false
	s.turn(Compact{4})
	require.Equal(t, []SendSnapshot{{Peer: "n3", Term: 2}}, s.out.Snapshots)
	return s
}

func TestStrandedPeerGetsOneSnapshotAtATime(t *testing.T) {
	s := stranded(t)
	require.Empty(t, s.turn(Propose{Proposals: make([]Proposal, 1)}).Snapshots)
	require.Empty(t, to("n3", s.out.Send), "and no entries meanwhile")
	s.turn(SnapshotEnded{Peer: "n3", Term: 1})
	s.answering(20)
	require.Empty(t, s.out.Snapshots, "that was another office's")
	require.Equal(t, rpc.Index(5), s.probesAnew(t).Prev.Index, "when the next heartbeat is due, no sooner")
	require.Empty(t, s.refuses(5).Snapshots, "it may hold what is before the first entry")
	require.Len(t, s.refuses(4).Snapshots, 1)
}

// A peer that followed until what it lacks was gone from the log, while it was read from the disk, is probed again too.
func TestWhoWasStrandedAsItFollowedIsProbed(t *testing.T) {
	s := established(t, 4)
	p := s.office.peers["n3"]
	p.match, p.next, p.loading = 1, 2, true
	out := s.turn(Loaded{Load: Load{Peer: "n3", Term: 2, From: 2}, Compacted: true})
	require.Equal(t, []SendSnapshot{{Peer: "n3", Term: 2}}, out.Snapshots)
	require.Equal(t, rpc.Index(4), s.probesAnew(t).Prev.Index)
}

// probesAnew has the stream to n3 break off, and returns what n3 is asked then: once.
func (s *solo) probesAnew(t *testing.T) *rpc.AppendLogCommand {
	require.Empty(t, to("n3", s.turn(SnapshotEnded{Peer: "n3", Term: 2}).Send))
	var asked []*rpc.AppendLogCommand
	for range s.Core.ticks.Heartbeat {
		for _, body := range to("n3", s.turn(Tick{}).Send) {
			if cmd, is := body.(*rpc.AppendLogCommand); is {
				asked = append(asked, cmd)
			}
		}
	}
	require.Len(t, asked, 1)
	return asked[0]
}

// refuses brings n3's word that it has nothing.
func (s *solo) refuses(prev rpc.Index) *Effects {
	return s.hear("n3", 2, &rpc.AppendLogReturn{Prev: prev})
}

// Whose word that it has installed the snapshot is lost, or comes when the stream was given up, has all it needs: it is asked, and sent what
// follows, not the whole state once more (L7).
func TestWhoInstalledASnapshotAfterAllIsSentNoOther(t *testing.T) {
	s := stranded(t)
	s.turn(Propose{Proposals: make([]Proposal, 2)})
	s.synced()
	s.ack("n2", 6)
	require.Equal(t, rpc.EntryID{Term: 2, Index: 6}, s.probesAnew(t).Prev)
	out := s.hear("n3", 2, &rpc.AppendLogReturn{Prev: 6, Hint: rpc.EntryID{Term: 2, Index: 4}})
	require.Empty(t, out.Snapshots)
	sent := to("n3", out.Send)
	require.Len(t, sent, 1)
	require.Equal(t, rpc.EntryID{Term: 2, Index: 4}, sent[0].(*rpc.AppendLogCommand).Prev)
	require.Len(t, sent[0].(*rpc.AppendLogCommand).Entries, 2)
	s.ack("n3", 6)
	require.Equal(t, rpc.Index(6), s.office.peers["n3"].match)
}

func TestInstalledPeerIsReplicatedTo(t *testing.T) {
	s := stranded(t)
	s.turn(Propose{Proposals: make([]Proposal, 1)})
	out := s.hear("n3", 2, &rpc.InstallSnapshotReturn{Snapshot: rpc.EntryID{Term: 2, Index: 4}, Transfer: 7, Installed: true})
	require.Equal(t, rpc.EntryID{Term: 2, Index: 4}, only[*rpc.AppendLogCommand](out.Send)[0].Prev)
	require.Len(t, out.Chunks, 1, "its stream hears of it too")
	require.Equal(t, rpc.Index(4), s.office.peers["n3"].match)
	s.synced()
	s.ack("n3", 5)
	require.Equal(t, rpc.Index(5), s.commit)
}

// Who has installed a snapshot needs the log after it: without that it would need another one, and another, while as much is written meanwhile. The log
// is held until what it lacks is in memory, and no longer than it takes in more (L7).
func TestTheLogIsHeldForWhoCatchesUpAfterASnapshot(t *testing.T) {
	installed := func() *solo {
		s := stranded(t)
		for range awayMax { // to send and install it takes longer than the log is held for who takes in nothing
			s.turn(Tick{})
			s.everyone(2, &rpc.HeartbeatReturn{Last: 4})
		}
		s.turn(Propose{Proposals: make([]Proposal, 3)})
		s.synced()
		s.ack("n2", 7)
		for s.applied < s.commit {
			s.turn(ApplyDone{s.applying})
		}
		s.log.evict(0)
		require.Equal(t, rpc.Index(7), s.Needed(7), "until then the stream holds it")
		s.hear("n3", 2, &rpc.InstallSnapshotReturn{Snapshot: rpc.EntryID{Term: 2, Index: 4}, Transfer: 7, Installed: true})
		require.Equal(t, rpc.Index(4), s.Needed(7))
		require.Equal(t, rpc.Index(3), s.Needed(3))
		return s
	}
	s := installed()
	s.ack("n3", 5)
	require.Equal(t, rpc.Index(5), s.Needed(7))
	s.ack("n3", 7)
	require.Equal(t, rpc.Index(7), s.Needed(7))
	s.turn(Propose{Proposals: make([]Proposal, 1)})
	require.Equal(t, rpc.Index(8), s.Needed(8), "it is one like others")

	s = installed()
	s.strand("n3", s.office.peers["n3"])
	require.Equal(t, rpc.Index(7), s.Needed(7), "it gets another snapshot, whose stream holds the log")

	s = installed()
	for tick := range awayMax {
		require.Equal(t, rpc.Index(4), s.Needed(7), tick)
		s.turn(Tick{})
		s.everyone(2, &rpc.HeartbeatReturn{Last: 4})
	}
	require.Equal(t, rpc.Index(7), s.Needed(7))
}

// Who takes in less than clients write acknowledges something all the time and falls behind all the same: the log is not held for it for longer than shows
// that, or it would fill the leader's disk, and the next one's. Who comes nearer, however slowly, is waited for (L7).
func TestTheLogIsHeldOnlyForWhoGainsOnIt(t *testing.T) {
	holds := func(takes rpc.Index) (ticks int) {
		s := stranded(t)
		s.turn(Propose{Proposals: make([]Proposal, 20_000)})
		s.hear("n3", 2, &rpc.InstallSnapshotReturn{Snapshot: rpc.EntryID{Term: 2, Index: 4}, Transfer: 7, Installed: true})
		for match := rpc.Index(4); ticks < 3*awayMax; ticks++ {
			s.turn(Tick{}, Propose{Proposals: make([]Proposal, 2)})
			s.synced()
			s.ack("n2", s.log.last)
			s.turn(ApplyDone{s.applying})
			s.log.evict(0)
			match += takes
			s.ack("n3", match)
			if s.Needed(s.commit) == s.commit {
				break
			}
			require.Equal(t, match, s.Needed(s.commit))
		}
		return ticks
	}
	require.Equal(t, awayMax-1, holds(1))
	require.Equal(t, awayMax-1, holds(2), "it would be for ever")
	require.Equal(t, 3*awayMax, holds(3))
}

// It streamed that in an earlier office, crashed, and has forgotten how far it was committed.
func TestInstalledIsBelievedByALeaderThatKnowsLessIsCommitted(t *testing.T) {
	s := lead(t, start(rpc.HardState{Term: 1}, 1, 1, 1))
	s.hear("n3", 2, &rpc.InstallSnapshotReturn{Snapshot: rpc.EntryID{Term: 1, Index: 3}, Transfer: 7, Installed: true})
	require.Equal(t, rpc.Index(3), s.office.peers["n3"].match)
	require.Zero(t, s.commit)
}

// Of two voters that are left one gets a snapshot, and no entry commits until it has it. A leader that stepped down for that would
// begin the stream anew in the next term, and the next, for ever.
func TestLeaderStaysWhileAVoterTakesInASnapshot(t *testing.T) {
	s := stranded(t)
	s.turn(Propose{Proposals: make([]Proposal, 1)}, LinkChanged{"n2", false})
	s.synced()
	next, restored := uint64(1), uint64(0)
	wait := func(stored, installed uint64) {
		for tick := range 600 {
			s.turn(Tick{})
			s.hear("n3", 2, &rpc.HeartbeatReturn{})
			if tick%50 == 0 {
				next, restored = next+stored, restored+installed
				s.hear("n3", 2, &rpc.InstallSnapshotReturn{Snapshot: rpc.EntryID{Term: 2, Index: 4}, Transfer: 7, Next: next, Restored: restored})
			}
		}
	}
	wait(100, 0)
	require.Equal(t, Leader, s.role)
	wait(0, 10)
	require.Equal(t, Leader, s.role, "all is stored, and is being installed")
	require.Equal(t, rpc.Index(5), s.probesAnew(t).Prev.Index)
	s.refuses(5)
	require.Len(t, s.refuses(4).Snapshots, 1)
	next, restored = 1, 0
	wait(10, 0)
	require.Equal(t, Leader, s.role, "the stream broke off, and another one begins")
	wait(0, 0)
	require.Equal(t, Follower, s.role, "one that neither stores nor installs more makes no progress (K60)")
}

// A leader that cannot read its state to the end sends the half before that again, and the peer stores it: that is no progress of which it could stay. Another,
// of which more is stored, is (F20, K60).
func TestHalfASnapshotAgainIsNoProgress(t *testing.T) {
	s := stranded(t)
	again := func(unread bool) {
		s.turn(SnapshotEnded{Peer: "n3", Term: 2, Unread: unread})
		s.tickFor(s.Core.ticks.Heartbeat)
		s.refuses(s.office.peers["n3"].next - 1)
		s.refuses(s.office.peers["n3"].next - 1)
		require.True(t, s.office.peers["n3"].stuck)
	}
	stores := func(next uint64) bool {
		s.tickFor(1)
		s.hear("n3", 2, &rpc.InstallSnapshotReturn{Snapshot: rpc.EntryID{Term: 2, Index: 4}, Transfer: 7, Next: next})
		return s.office.peers["n3"].acked == s.now
	}
	require.True(t, stores(100))
	again(true)
	require.False(t, stores(50))
	require.False(t, stores(100))
	require.True(t, stores(150))
	again(true)
	require.False(t, stores(150))
	again(false)
	require.True(t, stores(50), "it was the peer's, or the bus's, and this one may be whole")
	again(true)
	s.hear("n3", 2, &rpc.InstallSnapshotReturn{Snapshot: rpc.EntryID{Term: 2, Index: 4}, Transfer: 7, Installed: true})
	p := s.office.peers["n3"]
	p.match, p.next, p.replicating = 0, 1, false
	require.Len(t, s.turn(Tick{}).Snapshots, 1)
	require.True(t, stores(50), "it was read to its end since")
}

// A peer's process that is started again counts what its state machine has taken from nothing: more of that is progress at once, not once there
// is more than in the life before.
func TestWhoIsStartedAgainMakesProgressAtOnce(t *testing.T) {
	s := stranded(t)
	takes := func(next, restored uint64) bool {
		s.tickFor(1)
		s.hear("n3", 2, &rpc.InstallSnapshotReturn{Snapshot: rpc.EntryID{Term: 2, Index: 4}, Transfer: 7, Next: next, Restored: restored})
		return s.office.peers["n3"].acked == s.now
	}
	require.True(t, takes(10, 1000))
	require.False(t, takes(10, 1000))
	require.False(t, takes(8, 0), "it was started again")
	require.True(t, takes(11, 0))
	require.True(t, takes(11, 1))
	require.False(t, takes(9, 1), "late")
}

// Only so many snapshots are sent at once. A voter that waits for its turn keeps its leader in office as long as the others take in more: another
// leader would begin with all of them anew (L8).
func TestLeaderStaysWhileAVoterWaitsForItsSnapshot(t *testing.T) {
	s := stranded(t)
	s.asks(Change{Add: members("n4")})
	s.turn(LinkChanged{"n2", false}, LinkChanged{"n4", true})
	s.synced()
	next := uint64(0)
	wait := func(more uint64) {
		for range 3 * s.Core.ticks.ElectionMax {
			next += more
			s.turn(Tick{})
			s.hear("n3", 2, &rpc.HeartbeatReturn{})
			s.hear("n4", 2, &rpc.InstallSnapshotReturn{Snapshot: rpc.EntryID{Term: 2, Index: 4}, Transfer: 8, Next: next})
		}
	}
	wait(1)
	require.Equal(t, Leader, s.role)
	wait(0)
	require.Equal(t, Follower, s.role, "nobody takes in anything (K60)")
}
