package raft

// Known bugs of snapshots and compaction (fault model, section 6), each put to the core as a scenario.

import (
	"slices"
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

// stored is a whole snapshot of n2's, up to an entry, with the three first members.
func stored(term rpc.Term, i rpc.Index) SnapshotStored {
	return SnapshotStored{From: "n2", Transfer: 7, Snapshot: rpc.EntryID{Term: term, Index: i}, Time: 50, Configuration: table("n1", "n2", "n3")}
}

// following is a follower of n2 in term 3, with a log by the terms of its entries.
func following(t *testing.T, terms ...rpc.Term) *solo {
	s := newSolo(t, start(rpc.HardState{Term: 3}, terms...))
	s.hear("n2", 3, &rpc.HeartbeatCommand{})
	return s
}

func TestK27ConflictingTailIsDropped(t *testing.T) {
	s := following(t, 1, 1, 2, 2, 2, 2)
	out := s.turn(stored(3, 4))
	require.Equal(t, Install{Snapshot: rpc.EntryID{Term: 3, Index: 4}, Transfer: 7}, out.Install)
	out = s.turn(Restored{out.Install.Snapshot})
	require.Equal(t, rpc.EntryID{Term: 3, Index: 4}, s.log.lastID(), "the log begins and ends there")
	require.Equal(t, &Base{ID: s.log.lastID(), Time: 50, Configuration: s.own(table("n1", "n2", "n3"))}, out.Write.Base)
	require.Empty(t, only[*rpc.InstallSnapshotReturn](out.Send), "not before it is durable")
	require.True(t, only[*rpc.InstallSnapshotReturn](out.SendAfterSync)[0].Installed)
	s.synced()
	out = s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 3, Index: 4}, Entries: run(5, 3), Commit: 5})
	require.True(t, only[*rpc.AppendLogReturn](out.SendAfterSync)[0].Accepted, "and goes on: no second snapshot")
	require.Equal(t, rpc.Index(5), s.commit)
}

// What comes in the same turn attests the new base too.
func TestF29NothingIsAttestedOnABaseThatIsNotDurable(t *testing.T) {
	s := following(t, 1, 1)
	s.turn(stored(3, 4))
	base := rpc.EntryID{Term: 3, Index: 4}
	out := s.turn(Restored{base}, from2("n2", "n1", 3, &rpc.AppendLogCommand{Prev: base}))
	require.Empty(t, only[*rpc.AppendLogReturn](out.Send))
	require.Len(t, only[*rpc.AppendLogReturn](out.SendAfterSync), 1)
	out = s.hear("n2", 3, &rpc.AppendLogCommand{Prev: base})
	require.Empty(t, out.Send, "nor in the next, until it is written")
	s.synced()
	require.Len(t, s.hear("n2", 3, &rpc.AppendLogCommand{Prev: base}).Send, 1)
}

// A write of the old tail that completes late says nothing of the entries that took its place (K22).
func TestK27LateWriteOfADroppedTailAttestsNothing(t *testing.T) {
	s := following(t, 1, 1)
	s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 2}, Entries: run(3, 2, 2, 2, 2)})
	late := s.out.Write.Seq
	s.turn(stored(3, 4))
	s.turn(Restored{rpc.EntryID{Term: 3, Index: 4}})
	s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 3, Index: 4}, Entries: run(5, 3, 3)})
	out := s.turn(DiskDone{late})
	require.Empty(t, out.Send)
	require.Equal(t, rpc.Index(4), s.log.synced)
}

func TestK27AgreeingTailIsKept(t *testing.T) {
	s := following(t, 1, 1, 2, 2, 3)
	s.turn(stored(2, 4))
	out := s.turn(Restored{rpc.EntryID{Term: 2, Index: 4}})
	require.Equal(t, rpc.EntryID{Term: 3, Index: 5}, s.log.lastID())
	require.Equal(t, rpc.EntryID{Term: 2, Index: 4}, out.Write.Base.ID)
	require.Equal(t, []rpc.Index{4, 4}, []rpc.Index{s.commit, s.applied})
}

// A snapshot's base may wait behind a slow write while what follows it is applied: a compaction beyond it that came first would leave
// the log with a later beginning than the base that is then written, and the node would stop (S9).
func TestNothingIsCompactedWhileABaseIsOnItsWay(t *testing.T) {
	s := following(t, 1, 1, 2, 2, 3)
	s.turn(stored(2, 4))
	s.turn(Restored{rpc.EntryID{Term: 2, Index: 4}})
	s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 3, Index: 5}, Commit: 5})
	s.turn(ApplyDone{5})
	require.Equal(t, rpc.Index(5), s.applied)
	require.Zero(t, s.turn(Compact{To: 5}).Compact.ID)
	s.synced()
	require.Equal(t, rpc.EntryID{Term: 3, Index: 5}, s.turn(Compact{To: 5}).Compact.ID, "it is asked again")
}

// A hard state may wait for room, behind entries or with them; what is applied is durable whatever waits, and to forget it is what makes room (F21).
func TestACompactionWaitsForNoHardState(t *testing.T) {
	s := following(t, 1, 1, 2)
	s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 2, Index: 3}, Entries: run(4, 3), Commit: 3})
	s.turn(ApplyDone{3})
	require.NotNil(t, s.hear("n2", 4, &rpc.HeartbeatCommand{}).Write.HardState)
	require.False(t, s.hardDurable())
	require.Equal(t, rpc.EntryID{Term: 1, Index: 2}, s.turn(Compact{To: 2}).Compact.ID)
	require.Equal(t, rpc.EntryID{Term: 2, Index: 3}, s.turn(Compact{To: 4}).Compact.ID, "what is not durable is not applied")
}

// What goes before the entries of a write counts as soon as it is durable, and the entries do not before they are.
func TestTheHeadOfAWriteIsDurableBeforeItsEntries(t *testing.T) {
	s := following(t, 1, 1, 2, 2, 3)
	s.turn(stored(2, 4))
	out := s.turn(Restored{rpc.EntryID{Term: 2, Index: 4}}, from2("n2", "n1", 4, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 3, Index: 5}, Entries: run(6, 4), Commit: 6}))
	require.True(t, out.Write.Base != nil && out.Write.HardState != nil && len(out.Write.Entries) == 1)
	s.turn(ApplyDone{5})
	require.Zero(t, s.turn(Compact{To: 5}).Compact.ID)
	again := &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 3, Index: 5}, Entries: run(6, 4)}
	require.Empty(t, s.hear("n2", 4, &rpc.HeartbeatCommand{}).Send)
	s.turn(PartDone{Seq: s.log.seq})
	require.Len(t, s.hear("n2", 4, &rpc.HeartbeatCommand{}).Send, 1)
	require.Empty(t, s.hear("n2", 4, again).Send, "the term is durable, the entry is not")
	require.Zero(t, s.out.Apply)
	require.Equal(t, rpc.EntryID{Term: 3, Index: 5}, s.turn(Compact{To: 5}).Compact.ID)
	s.synced()
	require.Equal(t, rpc.Index(6), s.out.Apply.To)
	require.Len(t, s.hear("n2", 4, again).Send, 1)
}

func TestK28SnapshotCarriesTheConfigurationOfItsIndex(t *testing.T) {
	s := inOffice(t, table("n1", "n2", "n3"))
	s.asks(Change{Add: members("n4")})
	require.Equal(t, s.own(table("n1", "n2", "n3")), s.ConfigurationAt(1), "the change at 2 is not committed")
	require.Equal(t, rpc.Index(0), s.Committed().Index)
	require.Equal(t, rpc.Index(2), s.Membership().Configuration.Index)
	s.inStep()
	require.Equal(t, rpc.Index(0), s.ConfigurationAt(1).Index)
	require.Equal(t, rpc.Index(2), s.ConfigurationAt(2).Index)
}

func TestK28InstalledSnapshotUndoesAnUncommittedChange(t *testing.T) {
	s := following(t, 1, 1)
	added := at3(table("n1", "n2", "n3"))
	added.Learners = members("n4")
	s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 2}, Entries: []rpc.Entry{changing(2, added)}})
	s.synced()
	s.turn(stored(3, 5))
	s.turn(Restored{rpc.EntryID{Term: 3, Index: 5}})
	require.Empty(t, s.learners())
	require.Equal(t, members("n2", "n3"), s.members.roster)
}

func TestK29MembersOutliveEveryCompaction(t *testing.T) {
	s := inOffice(t, table("n1", "n2", "n3"))
	s.asks(Change{Add: members("n4")})
	s.inStep()
	s.turn(Propose{Proposals: make([]Proposal, 3)})
	s.inStep()
	for _, to := range []rpc.Index{1, 3, 5} {
		base := s.turn(Compact{to}).Compact
		require.Equal(t, to, base.ID.Index)
		require.Equal(t, map[bool]rpc.Index{false: 0, true: 2}[to >= 2], base.Configuration.Index, "that of index %d", to)
		require.Equal(t, s.cluster(), base.Configuration.Cluster)
	}
	require.Equal(t, []rpc.NodeID{"n4"}, s.learners())
	again := start(s.hard)
	again.Base, again.Last, again.Applied = rpc.EntryID{Term: 2, Index: 5}, rpc.EntryID{Term: 2, Index: 5}, 5
	again.Configurations = []rpc.Configuration{s.ConfigurationAt(5)}
	require.Equal(t, s.conf, newSolo(t, again).conf, "as it finds it at its next start")
}

func TestCompactionForgetsNothingThatIsNotApplied(t *testing.T) {
	s := established(t, 3)
	s.turn(Propose{Proposals: make([]Proposal, 2)})
	s.synced()
	s.ack("n2", 5)
	require.Equal(t, rpc.Index(5), s.commit)
	require.Equal(t, rpc.Index(3), s.turn(Compact{5}).Compact.ID.Index)
	require.Zero(t, s.turn(Compact{2}).Compact, "what is forgotten stays forgotten")
	s.turn(ApplyDone{5}, Compact{5})
	require.Equal(t, rpc.Index(5), s.log.base.Index)
	require.Equal(t, rpc.EntryID{Term: 2, Index: 5}, s.log.lastID())
	require.Zero(t, s.turn(Compact{5}).Compact, "once")
}

// The driver answers a chunk when it has stored it, in the term of the leader: not before that is durable (I10).
func TestChunkOfANewTermWaitsForItsSync(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 2}, 1))
	first := &rpc.InstallSnapshotCommand{Transfer: 1, Snapshot: rpc.EntryID{Term: 2, Index: 4}}
	require.Empty(t, s.hear("n2", 3, first).Chunks)
	s.synced()
	require.Len(t, s.hear("n2", 3, first).Chunks, 1, "sent again")
}

func TestK31SecondSnapshotWaitsForTheFirst(t *testing.T) {
	s := following(t, 1)
	s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 1}, Commit: 1})
	s.turn(ApplyDone{1})
	require.Equal(t, rpc.Index(4), s.turn(stored(3, 4)).Install.Snapshot.Index)
	require.Zero(t, s.turn(stored(3, 6)).Install, "one at a time")
	require.Zero(t, s.turn(Compact{1}).Compact, "though it is applied")
	s.turn(Restored{rpc.EntryID{Term: 3, Index: 4}})
	require.Zero(t, s.turn(stored(3, 4)).Install, "it holds as much")
	require.Zero(t, s.turn(stored(3, 3)).Install, "or more")
	require.Equal(t, rpc.Index(6), s.turn(stored(3, 6)).Install.Snapshot.Index)
}

func TestK32ApplyGoesOnRightAfterTheSnapshot(t *testing.T) {
	s := following(t, 1, 1)
	s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 2}, Commit: 2})
	require.Equal(t, rpc.Index(2), s.applying)
	s.turn(stored(1, 4))
	out := s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 2}, Entries: run(3, 1, 1, 3, 3), Commit: 6})
	require.Zero(t, out.Apply)
	s.turn(DiskDone{s.log.seq}, ApplyDone{2})
	require.Zero(t, s.out.Apply, "nothing is applied while the state is being replaced")
	out = s.turn(Restored{rpc.EntryID{Term: 1, Index: 4}})
	require.Equal(t, []rpc.Index{5, 6}, []rpc.Index{out.Apply.From, out.Apply.To})
}

func TestK23ApplyGoesPageByPage(t *testing.T) {
	s := following(t, 1, 1, 1, 1, 1)
	s.limits.ApplyBytesMax = 2 * rpc.EntryOverheadBytes
	s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 5}, Entries: run(6, 3, 3, 3, 3, 3), Commit: 10})
	s.synced()
	next := rpc.Index(1)
	for s.applied < 10 {
		require.Equal(t, next, s.applied+1)
		next = s.applying + 1
		s.turn(ApplyDone{s.applying}, from2("n2", "n1", 3, &rpc.HeartbeatCommand{Commit: 4}))
		require.Equal(t, rpc.Index(10), s.commit, "a leader that says less takes nothing back")
	}
	require.Equal(t, rpc.Index(11), next)
}

// What is read from the disk is bounded by a number of entries: of their bytes the core knows nothing.
func TestK23ARunFromTheDiskIsBounded(t *testing.T) {
	s := following(t, slices.Repeat([]rpc.Term{1}, 3_000)...)
	out := s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 3_000}, Commit: 3_000})
	require.Equal(t, Apply{From: 1, To: maxEntriesPerMessage}, out.Apply)
	require.Equal(t, Apply{From: maxEntriesPerMessage + 1, To: 2 * maxEntriesPerMessage}, s.turn(ApplyDone{maxEntriesPerMessage}).Apply)
}

func TestK24WhatIsForgottenIsNotAsked(t *testing.T) {
	s := established(t, 5)
	s.turn(Compact{4})
	s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 2}, Entries: run(3, 1, 1, 2, 3)})
	require.Equal(t, rpc.EntryID{Term: 3, Index: 6}, s.log.lastID(), "what is forgotten is committed, so it is the same there")
	out := s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 1}})
	require.Equal(t, []*rpc.AppendLogReturn{{Prev: 1, Accepted: true, Match: 1}}, only[*rpc.AppendLogReturn](append(out.Send, out.SendAfterSync...)))
}

// A chunk is taken in its leader's own term only, and one that brings nothing new is answered at once.
func TestF29ChunksOfAnOldLeaderAreRefused(t *testing.T) {
	s := following(t, 1, 1)
	piece := func(i rpc.Index) *rpc.InstallSnapshotCommand {
		return &rpc.InstallSnapshotCommand{Snapshot: rpc.EntryID{Term: 1, Index: i}, Transfer: 7}
	}
	require.Len(t, s.hear("n2", 3, piece(9)).Chunks, 1)
	out := s.hear("n3", 2, piece(9))
	require.Empty(t, out.Chunks)
	require.Equal(t, []rpc.Message{send("n3", 3, &rpc.InstallSnapshotReturn{Snapshot: rpc.EntryID{Term: 1, Index: 9}, Transfer: 7})}, out.Send)

	s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 2}, Entries: run(3, 3), Commit: 3})
	out = s.hear("n2", 3, piece(3))
	require.Empty(t, out.Chunks)
	require.Empty(t, only[*rpc.InstallSnapshotReturn](out.Send), "entry 3 is not durable yet")
	require.True(t, only[*rpc.InstallSnapshotReturn](out.SendAfterSync)[0].Installed)
}

// The time of the log, which expiry goes by, never goes back, also not with a leader whose clock is behind and whose entries are in a snapshot,
// or were written in an earlier life.
func TestTheTimeOfTheLogOutlivesSnapshotsAndRestarts(t *testing.T) {
	s := following(t, 1, 1, 2, 2, 2, 2)
	s.turn(Restored{s.turn(stored(3, 4)).Install.Snapshot})
	require.Equal(t, int64(50), s.nextEntry(0, rpc.EntryCommand, nil).Time)

	c := start(rpc.HardState{Term: 1}, 1)
	c.LastTime = 70
	require.Equal(t, int64(70), newSolo(t, c).nextEntry(0, rpc.EntryCommand, nil).Time)
}

// A base that a snapshot moves within the log has the members as of its own index, not those as of the base before: after a restart they
// are what the node counts by (I11).
func TestABaseWithinTheLogHasTheMembersOfItsIndex(t *testing.T) {
	s := following(t, 1, 1)
	added := at3(table("n1", "n2", "n3"))
	added.Learners = members("n4")
	s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 2}, Entries: append([]rpc.Entry{changing(2, added)}, run(4, 2, 3)...)})
	s.synced()
	s.turn(stored(2, 4))
	out := s.turn(Restored{rpc.EntryID{Term: 2, Index: 4}})
	require.Equal(t, rpc.EntryID{Term: 2, Index: 4}, out.Write.Base.ID)
	require.Equal(t, rpc.Index(3), out.Write.Base.Configuration.Index)
	require.Equal(t, rpc.Index(5), s.log.last)
}

// What a snapshot shows to be committed is told, as what a leader commits is: who asked for the change hears of it, and who left is listened to no more.
func TestABaseWithinTheLogCommitsTheChangesBeforeIt(t *testing.T) {
	s := following(t, 1, 1)
	entries := append([]rpc.Entry{changing(2, at3(table("n1", "n2")))}, run(4, 2, 3)...)
	s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 2}, Entries: entries})
	s.synced()
	require.Equal(t, members("n2", "n3"), s.members.roster, "the removal may come to nothing")
	s.turn(stored(2, 4))
	out := s.turn(Restored{rpc.EntryID{Term: 2, Index: 4}})
	require.Contains(t, out.Facts, ConfigurationChanged{Configuration: s.decode(&entries[0]), Committed: true})
	require.Equal(t, members("n2"), s.members.roster)
}

// The time of a base whose entry is no longer at hand is looked up on the disk: that of the base before it is older.
func TestABaseHasTheTimeOfItsEntry(t *testing.T) {
	s := following(t, 1, 1)
	s.limits.CacheBytesMax = 1
	s.turn(Restored{s.turn(stored(3, 4)).Install.Snapshot})
	s.synced()
	later := run(5, 3, 3, 3)
	for i := range later {
		later[i].Time = 90
	}
	s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 3, Index: 4}, Entries: later, Commit: 7})
	s.synced()
	for s.applied < s.commit {
		s.turn(ApplyDone{s.applying})
	}
	require.Greater(t, s.log.cacheFirst(), rpc.Index(6))
	require.Zero(t, s.turn(Compact{6}).Compact.Time)
}

func TestABaseHasTheTimeOfItsEntryInMemory(t *testing.T) {
	s := following(t, 1)
	later := run(2, 3, 3, 3)
	for i := range later {
		later[i].Time = int64(later[i].Index)
	}
	s.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 1}, Entries: later, Commit: 4})
	s.synced()
	for s.applied < s.commit {
		s.turn(ApplyDone{s.applying})
	}
	for i := rpc.Index(2); i <= 4; i++ {
		require.Equal(t, int64(i), s.turn(Compact{i}).Compact.Time)
	}
}

// The leader hears by the next heartbeat how far a snapshot has brought this node, if the answer to its last chunk was lost: it sends what follows, and not
// all of it again (L7).
func TestWhatASnapshotBroughtMatches(t *testing.T) {
	s := following(t, 1)
	s.turn(Restored{s.turn(stored(3, 4)).Install.Snapshot})
	s.synced()
	out := s.hear("n2", 3, &rpc.HeartbeatCommand{})
	require.Equal(t, []*rpc.HeartbeatReturn{{Last: 4}}, only[*rpc.HeartbeatReturn](out.Send))
}
