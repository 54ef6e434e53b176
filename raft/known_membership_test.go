package raft

// Known bugs of membership (fault model, section 6), each put to the core as a scenario. Put one back, and its test fails.

import (
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

func TestK9RemovedPeersVoteAndAckCountForNothing(t *testing.T) {
	s := inOffice(t, table("n1", "n2", "n3", "n4"))
	require.NoError(t, s.asks(Change{Remove: []rpc.NodeID{"n4"}}).Refusal)
	s.synced()
	s.ack("n4", s.log.last)
	s.ack("n2", s.log.last-1)
	require.Equal(t, rpc.Index(1), s.commit, "n1 and a removed node are no majority of three")
	s.ack("n2", s.log.last)
	require.Equal(t, s.log.last, s.commit)
}

// A cluster grew from one node. Whoever replays its log from the start must not find itself alone and elect itself.
func TestK10RestartCountsByTheLastConfigurationOfTheLog(t *testing.T) {
	c := start(rpc.HardState{Term: 1}, 1, 1, 1)
	c.Configurations = []rpc.Configuration{table("n1"), at3(table("n1", "n2", "n3"))}
	s := newSolo(t, c)
	s.tickFor(150)
	s.synced()
	require.Equal(t, PreCandidate, s.role, "it asks the others, though nothing of that is applied yet")
	require.Equal(t, rpc.HardState{Term: 1}, s.hard)
}

func TestK11VoteAndAckOfAnotherDiskCountForNothing(t *testing.T) {
	c := start(rpc.HardState{Term: 1}, 1, 1)
	s := candidate(t, c)
	s.hearAs(disk2, 2, granted())
	require.Equal(t, Candidate, s.role, "n2's disk is empty: what it once acknowledged is gone")
	s.hear("n3", 2, granted())
	s.synced()
	s.hearAs(disk2, 2, &rpc.AppendLogReturn{Accepted: true, Match: 3})
	require.Zero(t, s.commit)
	s.hearAs(disk2, 2, &rpc.HeartbeatReturn{Read: 9})
	require.Zero(t, s.office.peers["n2"].read)
}

// Nor does it count where this node listens to the new disk already, because a peer showed that it was replaced.
func TestK11AnswersCountByTheConfigurationInForceOnly(t *testing.T) {
	s := candidate(t, start(rpc.HardState{Term: 1}, 1, 1))
	s.turn(Learned{rpc.Configuration{Index: 9, Cluster: s.cluster(), Voters: members("n1", "n3"), Learners: []rpc.Member{disk2}}})
	require.Contains(t, s.members.roster, disk2)
	s.hearAs(disk2, 2, granted())
	require.Equal(t, Candidate, s.role)
}

// What a peer shows may be older than what this log says, though that is not known to be committed: the disk that it replaced speaks no more.
func TestK11ALearnedConfigurationDoesNotBringAnEarlierDiskBack(t *testing.T) {
	disk1 := rpc.Member{ID: "n2", Instance: rpc.InstanceID{1}}
	c := start(rpc.HardState{Term: 1}, 1, 1, 1, 1, 1, 1, 1, 1, 1)
	earlier, replaced := at3(table("n1", "n3")), table("n1", "n3")
	earlier.Voters = append(earlier.Voters, disk1)
	replaced.Index, replaced.Voters = 9, append(replaced.Voters, disk2)
	c.Configurations = []rpc.Configuration{table("n1", "n3"), earlier, replaced}
	s := newSolo(t, c)
	shown := earlier
	shown.Index, shown.Cluster = 5, s.cluster()
	s.turn(Learned{shown})
	require.Contains(t, s.members.roster, disk2)
}

// A node that joined in the place of a lost disk reads the past, in which its id was a voter. That was another disk: with it, one
// that lags as far would do to overrule all that was committed since.
func TestK11JoinerDoesNotCountItselfByAnEarlierDisk(t *testing.T) {
	c := start(rpc.HardState{Term: 1})
	c.ID, c.Instance = disk2.ID, disk2.Instance
	c.Configurations = []rpc.Configuration{{
		Index: 40, Cluster: rpc.ClusterIDOf(members("n1", "n2", "n3")), Voters: members("n1", "n3", "n4", "n5"), Learners: []rpc.Member{disk2},
	}}
	s := newSolo(t, c)
	require.Contains(t, s.out.Facts, ConfigurationChanged{Configuration: c.Configurations[0], Committed: true}, "it was told by who joined it")
	past := table("n1", "n2", "n3")
	past.Index = 1
	s.hear("n4", 1, &rpc.AppendLogCommand{Entries: []rpc.Entry{changing(1, past)}})
	s.synced()
	require.Equal(t, []rpc.NodeID{"n1", "n2", "n3"}, s.voters(), "that is what its log says")
	require.Empty(t, only[*rpc.RequestVoteCommand](s.tickFor(1_000)))
	require.False(t, s.quorum.have(func(id rpc.NodeID) bool { return id == "n1" || id == s.id }), "nor is its copy one of three")
	s.hear("n4", 1, &rpc.HeartbeatCommand{Commit: 1})
	require.Equal(t, rpc.Index(1), s.commit)
	s.hear("n5", 2, &rpc.HeartbeatCommand{})
	require.Equal(t, rpc.NodeID("n5"), s.leader, "of whom the log's beginning knows nothing")
}

func TestK12PromotedNodeThatDoesNotKnowItYetVotes(t *testing.T) {
	c := start(rpc.HardState{Term: 1}, 1, 1)
	c.Configurations = []rpc.Configuration{{Voters: members("n2"), Learners: members("n1")}}
	s := newSolo(t, c)
	promoted := rpc.EntryID{Term: 1, Index: 3} // by an entry that only n2 has: its quorum is both of them
	out := s.hear("n2", 2, &rpc.RequestVoteCommand{Last: promoted, PreVote: true})
	require.Equal(t, []*rpc.RequestVoteReturn{preGranted()}, only[*rpc.RequestVoteReturn](out.Send))
	out = s.hear("n2", 2, &rpc.RequestVoteCommand{Last: promoted})
	require.Equal(t, []*rpc.RequestVoteReturn{granted()}, only[*rpc.RequestVoteReturn](out.SendAfterSync))
}

// The one of 2015: n1 and n2 each begin a change of one member, from the same four, in different terms. The quorums that commit
// them need not meet, unless n2's term has something committed first, by a quorum that n1's then has to meet.
func TestK36NoChangeBeforeTheTermsFirstCommit(t *testing.T) {
	c := start(rpc.HardState{Term: 1}, 1)
	c.Configurations = []rpc.Configuration{table("n1", "n2", "n3", "n4")}
	s := lead5(t, c)
	refused := s.asks(Change{Remove: []rpc.NodeID{"n2"}})
	require.ErrorIs(t, refused.Refusal, ErrChangeUnderWay)
	require.Zero(t, refused.ID)
	s.ack("n3", 2)
	require.ErrorIs(t, s.asks(Change{Remove: []rpc.NodeID{"n2"}}).Refusal, ErrChangeUnderWay, "two of four are no majority")
	s.ack("n4", 2)
	require.NoError(t, s.asks(Change{Remove: []rpc.NodeID{"n2"}}).Refusal)
}

func TestK36NorIsAChangeOfAnEarlierTermTakenFurther(t *testing.T) {
	c := start(rpc.HardState{Term: 1}, 1, 1, 1)
	joint := at3(table("n1", "n2", "n3"))
	joint.Outgoing = members("n1")
	c.Configurations, c.Applied = []rpc.Configuration{table("n1"), joint}, 3
	s := lead(t, c)
	require.True(t, s.conf.Joint(), "it is committed, but nothing of this term is")
	s.ack("n2", 4)
	require.False(t, s.conf.Joint())
	require.Equal(t, rpc.Index(5), s.conf.Index)
}

func TestK37ReplacedChangeIsUndone(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}, 1, 1))
	added := at3(table("n1", "n2", "n3"))
	added.Learners = members("n4")
	s.hear("n2", 1, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 2}, Entries: []rpc.Entry{changing(1, added)}})
	require.Equal(t, []rpc.NodeID{"n4"}, s.learners(), "in force from the moment it is in the log")
	require.Equal(t, members("n2", "n3", "n4"), s.members.roster)

	s.hear("n3", 2, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 2}, Entries: run(3, 2)})
	require.Empty(t, s.learners())
	require.Equal(t, members("n2", "n3"), s.members.roster)
	require.Equal(t, members("n2", "n3"), s.peers)
	require.Contains(t, s.out.Facts, ConfigurationChanged{Configuration: table("n1", "n2", "n3"), Committed: true})
}

// A member was taken away and is there again, before it was committed: its link was up all the time, so nobody says so again.
func TestK37RevertedRemovalKeepsTheLink(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}, 1, 1))
	s.hear("n2", 1, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 2}, Entries: []rpc.Entry{changing(1, at3(table("n1", "n2")))}})
	require.Equal(t, members("n2", "n3"), s.members.roster, "until that is committed n3 may speak")
	s.hear("n3", 2, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 2}, Entries: run(3, 2)})
	require.True(t, s.election.links["n3"])
}

// One that was taken away for certain, and is added again, is connected when the bus says so.
func TestK37LinkOfARemovedMemberIsForgotten(t *testing.T) {
	s := inOffice(t, table("n1", "n2", "n3"))
	require.NoError(t, s.asks(Change{Remove: []rpc.NodeID{"n3"}}).Refusal)
	s.inStep()
	require.NoError(t, s.asks(Change{Add: members("n3")}).Refusal)
	require.False(t, s.office.peers["n3"].connected)
	s.turn(LinkChanged{"n3", true})
	require.True(t, s.office.peers["n3"].connected)
}

func TestK38LeaderThatRemovesItselfDoesNotCountItself(t *testing.T) {
	s := inOffice(t, table("n1", "n2", "n3"))
	require.NoError(t, s.asks(Change{Remove: []rpc.NodeID{"n1"}}).Refusal)
	s.synced()
	s.ack("n2", 2)
	require.Equal(t, rpc.Index(1), s.commit, "itself and n2 are not both of n2 and n3")
	require.Equal(t, Leader, s.role, "it leads until the change is committed (thesis 4.2.2)")
	out := s.ack("n3", 2)
	require.Equal(t, rpc.Index(2), s.commit)
	require.Equal(t, &rpc.TimeoutNowCommand{Last: s.log.lastID()}, to("n2", out.Send)[0], "and then hands over, before n2 hears that it is committed")
	s.hear("n2", 2, &rpc.TimeoutNowReturn{})
	require.Equal(t, Follower, s.role)
	require.Empty(t, only[*rpc.RequestVoteCommand](s.tickFor(1_000)))
}

func TestK38LeaderWithoutAVoteCeasesIfNobodyTakesOver(t *testing.T) {
	s := inOffice(t, table("n1", "n2", "n3"))
	s.asks(Change{Remove: []rpc.NodeID{"n1"}})
	s.everyone(2, &rpc.AppendLogReturn{Accepted: true, Match: 2})
	s.answering(99)
	require.Equal(t, Leader, s.role)
	s.answering(2)
	require.Equal(t, Follower, s.role)
}

// Whoever knows that its leader is removed still hears it: it hands over, and nobody is to campaign before.
func TestK38RemovedLeaderIsFollowedUntilAnotherLeads(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}, 1, 1))
	s.hear("n2", 1, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 2}, Entries: []rpc.Entry{changing(1, at3(table("n1", "n3")))}, Commit: 3})
	require.Equal(t, []rpc.Index{3, 3}, []rpc.Index{s.commit, s.members.inForce().at})
	require.Equal(t, members("n2", "n3"), s.members.roster)
	s.tickFor(90)
	s.hear("n2", 1, &rpc.HeartbeatCommand{Commit: 3})
	s.tickFor(90)
	require.Equal(t, Follower, s.role)
	s.synced()
	s.hear("n2", 1, &rpc.TimeoutNowCommand{})
	require.Equal(t, Candidate, s.role)
	require.Equal(t, members("n3"), s.members.roster, "it follows n2 no more: n2 is a stranger now")
}

func TestK39ChangeIsInForceBeforeItIsCommittedOrApplied(t *testing.T) {
	s := inOffice(t, rpc.Configuration{Voters: members("n1"), Learners: members("n2")})
	s.answering(2) // caught up: promoted
	require.Equal(t, []rpc.NodeID{"n1", "n2"}, s.voters())
	s.synced()
	require.Equal(t, rpc.Index(1), s.commit, "one of two is no majority any more")
	require.Empty(t, s.turn(ReadIndex{Ticket: 7}).Reads)
	s.ack("n2", 2)
	require.Equal(t, rpc.Index(2), s.commit)
}

func TestK40RemovedNodeDisturbsNobody(t *testing.T) {
	s := inOffice(t, table("n1", "n2", "n3"))
	s.asks(Change{Remove: []rpc.NodeID{"n3"}})
	better := rpc.EntryID{Term: 9, Index: 9}
	s.hear("n3", 9, &rpc.RequestVoteCommand{Last: better})
	require.Equal(t, rpc.Term(2), s.hard.Term, "its removal is under way: it is listened to, and a leader is there")
	s.inStep()
	for _, body := range []rpc.Body{&rpc.RequestVoteCommand{Last: better}, &rpc.RequestVoteCommand{Last: better, PreVote: true}, &rpc.RequestVoteReturn{}, &rpc.HeartbeatReturn{}} {
		require.Empty(t, s.hear("n3", 9, body).Send, "it is a stranger now")
	}
	require.Equal(t, rpc.Term(2), s.hard.Term)
	require.Equal(t, Leader, s.role)
}

// Whom a peer has shown as a member is a stranger again once the own log has a later configuration without it.
func TestK40LearnedMemberThatWasRemovedIsAStranger(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}, 1))
	s.turn(Learned{rpc.Configuration{Index: 2, Cluster: s.cluster(), Voters: members("n1", "n2", "n3", "n5")}})
	require.Equal(t, members("n2", "n3", "n5"), s.members.roster)
	entries := append(run(2, 1), changing(1, at3(table("n1", "n2", "n3"))))
	s.hear("n2", 1, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 1}, Entries: entries, Commit: 3})
	require.Equal(t, members("n2", "n3"), s.members.roster)
}

func TestK41RestartInAJointChange(t *testing.T) {
	joint := at3(table("n1", "n2", "n3"))
	joint.Outgoing = members("n1", "n4", "n5")
	c := start(rpc.HardState{Term: 1}, 1, 1, 1)
	c.Configurations = []rpc.Configuration{table("n1", "n4", "n5"), joint}
	s := candidate(t, c)
	s.hear("n2", 2, granted())
	s.hear("n3", 2, granted())
	require.Equal(t, Candidate, s.role, "all of the new voters and one of the old")
	s.hear("n4", 2, granted())
	require.Equal(t, Leader, s.role)
	s.linked()
	s.inStep()
	require.False(t, s.conf.Joint(), "it ends what its predecessor began")
	require.Equal(t, []rpc.NodeID{"n1", "n2", "n3"}, s.voters())
}

func TestK42RemovalsAreNotQuickerThanTheirCommits(t *testing.T) {
	s := inOffice(t, table("n1", "n2", "n3"))
	s.turn(Propose{Proposals: []Proposal{{Ticket: 1}}})
	require.NoError(t, s.asks(Change{Remove: []rpc.NodeID{"n3"}}).Refusal)
	s.synced()
	s.ack("n3", 3)
	require.Equal(t, rpc.Index(1), s.commit, "what the removed node acknowledges does not count")
	require.ErrorIs(t, s.asks(Change{Remove: []rpc.NodeID{"n2"}}).Refusal, ErrChangeUnderWay)
	s.ack("n2", 3)
	require.Equal(t, rpc.Index(3), s.commit, "both that are left hold it")
}

// Thesis 4.2.2: a removed leader's log may be the only one that can win, while its removal is not committed.
func TestRemovedLeaderCampaignsUntilItsRemovalIsCommitted(t *testing.T) {
	c := start(rpc.HardState{Term: 1}, 1, 1, 1)
	c.Configurations = []rpc.Configuration{table("n1", "n2", "n3"), at3(table("n2", "n3"))}
	s := candidate(t, c)
	s.hear("n2", 2, granted())
	require.Equal(t, Candidate, s.role, "its own vote is none of two")
	s.hear("n3", 2, granted())
	require.Equal(t, Leader, s.role)

	c.Applied = 3
	s = newSolo(t, c)
	require.Empty(t, only[*rpc.RequestVoteCommand](s.tickFor(1_000)), "it is committed: nothing to lead for")
}

// A member that was removed and let in again, and does not know yet that its removal is committed, may be elected as the learner that it is: it promotes nobody,
// itself not either, and hands over.
func TestALeaderThatIsALearnerPromotesNobody(t *testing.T) {
	c := start(rpc.HardState{Term: 1}, 1, 1, 1, 1)
	again := rpc.Configuration{Index: 4, Voters: members("n2", "n3"), Learners: members("n1")}
	c.Configurations = []rpc.Configuration{table("n1", "n2", "n3"), at3(table("n2", "n3")), again}
	s := candidate(t, c)
	s.hear("n2", 2, granted())
	s.hear("n3", 2, granted())
	require.Equal(t, Leader, s.role)
	s.synced()
	acked := &rpc.AppendLogReturn{Accepted: true, Match: 5}
	s.turn(from2("n2", "n1", 2, acked), from2("n3", "n1", 2, acked), Tick{}) // dereferenced nil: no progress is kept of itself
	require.Equal(t, again.Learners, s.conf.Learners)
	s.tickFor(s.Core.ticks.ElectionMax)
	require.Equal(t, Follower, s.role)
}

// Who is on its way out still leads, and stands for it, until the change is through: of the old half it may be the only one with the
// whole log (thesis 4.2.2, 4.3).
func TestWhoIsOnItsWayOutStandsUntilTheChangeIsThrough(t *testing.T) {
	c := start(rpc.HardState{Term: 1})
	c.Configurations = []rpc.Configuration{{Voters: members("n2", "n3", "n4"), Outgoing: members("n1", "n2", "n3")}}
	require.NotEmpty(t, only[*rpc.RequestVoteCommand](newSolo(t, c).tickFor(c.Ticks.ElectionMax)))
	c.Configurations = []rpc.Configuration{table("n2", "n3", "n4")}
	require.Empty(t, only[*rpc.RequestVoteCommand](newSolo(t, c).tickFor(c.Ticks.ElectionMax)))
}
