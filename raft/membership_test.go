package raft

// What a leader does about members: which changes it takes and which not, disks replaced, learners promoted.

import (
	"strings"
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

func TestChangesAreRefusedWithAReason(t *testing.T) {
	add := func(ids ...rpc.NodeID) Change { return Change{Add: members(ids...)} }
	remove := func(ids ...rpc.NodeID) Change { return Change{Remove: ids} }
	many := make([]rpc.NodeID, rpc.ClusterMax)
	for i := range many {
		many[i] = rpc.NodeID(rune('A'+i/26)) + rpc.NodeID(rune('a'+i%26))
	}
	for name, one := range map[string]struct {
		change Change
		err    error
	}{
		"a member already":     {add("n2"), ErrNoChange},
		"no member":            {remove("n9"), ErrNoChange},
		"nobody":               {Change{}, ErrNoChange},
		"named twice":          {add("n4", "n4"), ErrBadChange},
		"removed twice":        {remove("n2", "n2"), ErrBadChange},
		"in and out":           {Change{Add: members("n4"), Remove: []rpc.NodeID{"n4"}}, ErrBadChange},
		"too many":             {add(many...), ErrBadChange},
		"one too many":         {add(many[:rpc.ClusterMax-2]...), ErrBadChange},
		"as many as may be":    {add(many[:rpc.ClusterMax-3]...), nil},
		"for one that leaves":  {Change{Add: members(many[:rpc.ClusterMax-2]...), Remove: []rpc.NodeID{"n3"}}, nil},
		"the leader's disk":    {Change{Add: []rpc.Member{{ID: "n1", Instance: rpc.InstanceID{9}}}}, ErrBadChange},
		"a disk and a removal": {Change{Add: []rpc.Member{disk2}, Remove: []rpc.NodeID{"n3"}}, ErrBadChange},
		"no voter left":        {remove("n1", "n2", "n3"), ErrUnsafe},
		"others saw it":        {Change{Add: members("n4"), If: new(rpc.Index(77))}, ErrStale},
		"the table, seen":      {Change{Add: members("n4"), If: new(rpc.Index(0))}, nil},
		"no id":                {add(""), ErrBadChange},
		"a bad id":             {add("n4.eu"), ErrBadChange},
		"all":                  {add("_all"), ErrBadChange},
		"a long id":            {add(rpc.NodeID(strings.Repeat("n", rpc.MaxIDBytes+1))), ErrBadChange},
		"as long as may be":    {add(rpc.NodeID(strings.Repeat("n", rpc.MaxIDBytes))), nil},
		"a learner":            {add("n4"), nil},
		"two voters less":      {remove("n2", "n3"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := inOffice(t, table("n1", "n2", "n3"))
			got := s.asks(one.change)
			require.ErrorIs(t, got.Refusal, one.err)
			require.Equal(t, one.err == nil, got.ID == rpc.EntryID{Term: 2, Index: 2})
			require.Equal(t, one.err == nil, s.conf.Index == 2, "a refusal changes nothing")
		})
	}
}

// A cluster that an earlier release let grow beyond the bound is not stuck: it shrinks, its members are replaced, and who learns becomes a voter.
func TestAClusterThatIsTooLargeShrinks(t *testing.T) {
	conf := table("n1", "n2", "n3")
	for i := range rpc.ClusterMax {
		conf.Voters = append(conf.Voters, members(rpc.NodeID(rune('p'+i/10))+rpc.NodeID(rune('0'+i%10)))...)
	}
	s := inOffice(t, conf)
	refused := s.asks(Change{Add: members("x1")})
	require.ErrorIs(t, refused.Refusal, ErrBadChange)
	require.ErrorContains(t, refused.Refusal, "at most 15 members, this would be 19: let some leave first")
	require.NoError(t, s.asks(Change{Add: members("x1"), Remove: []rpc.NodeID{"n3"}}).Refusal)
	s.inStep()
	require.NoError(t, s.asks(Change{Remove: []rpc.NodeID{"p0"}}).Refusal)
	s.inStep()
	require.NotContains(t, s.voters(), rpc.NodeID("p0"))
}

func TestChangesAreTheLeadersAndOneAtATime(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	require.ErrorIs(t, s.asks(Change{Add: members("n4")}).Refusal, ErrNotLeader)

	s = inOffice(t, table("n1", "n2", "n3"))
	require.NoError(t, s.asks(Change{Add: members("n4")}).Refusal)
	require.ErrorIs(t, s.asks(Change{Add: members("n5")}).Refusal, ErrChangeUnderWay)
	s.inStep()
	require.NoError(t, s.asks(Change{Add: members("n5"), If: new(rpc.Index(2))}).Refusal)
	s.inStep()
	require.ErrorIs(t, s.asks(Change{Remove: []rpc.NodeID{"n5"}, If: new(rpc.Index(2))}).Refusal, ErrStale, "two administrators")
	require.ErrorIs(t, s.asks(Change{Remove: []rpc.NodeID{"n5"}, If: new(rpc.Index(0))}).Refusal, ErrStale, "one that saw the table")
	s.turn(Transfer{To: "n2"})
	require.ErrorIs(t, s.asks(Change{Remove: []rpc.NodeID{"n5"}}).Refusal, ErrNotLeader)
}

func TestChangeThatWouldLoseTheQuorumIsRefused(t *testing.T) {
	s := inOffice(t, table("n1", "n2", "n3", "n4", "n5"))
	s.turn(LinkChanged{"n4", false}, LinkChanged{"n5", false})
	lost := s.asks(Change{Remove: []rpc.NodeID{"n2", "n3"}})
	require.ErrorIs(t, lost.Refusal, ErrUnsafe)
	require.ErrorContains(t, lost.Refusal, "of the voters n1,n4,n5 that would be left, n4,n5 do not answer; start them first")
	require.ErrorIs(t, s.asks(Change{Remove: []rpc.NodeID{"n2"}}).Refusal, ErrUnsafe, "two of four are no quorum")
	require.NoError(t, s.asks(Change{Remove: []rpc.NodeID{"n4", "n5"}}).Refusal)
}

// Several voters at once: both sets decide until the joint configuration is committed, then the new one alone (thesis 4.3).
func TestJointChange(t *testing.T) {
	five := table("n1", "n2", "n3", "n4", "n5")
	five.Learners = members("n7")
	s := inOffice(t, five)
	s.asks(Change{Remove: []rpc.NodeID{"n2", "n3"}})
	require.True(t, s.conf.Joint())
	s.synced()
	s.ack("n4", 2)
	require.Equal(t, rpc.Index(1), s.commit, "two of the three new voters, but not three of the five old ones")
	out := s.turn(from2("n2", "n1", 2, &rpc.AppendLogReturn{Accepted: true, Match: 2}), Reconfigure{Change: Change{Add: members("n6")}})
	require.ErrorIs(t, out.Reconfigured[0].Refusal, ErrChangeUnderWay, "committed in this very turn, and not left yet")
	require.Equal(t, rpc.Index(2), s.commit)
	require.Equal(t, []rpc.NodeID{"n1", "n4", "n5"}, s.voters())
	require.False(t, s.conf.Joint(), "it leaves the joint configuration by itself")
	require.Equal(t, []rpc.NodeID{"n7"}, s.learners(), "who learns goes on to")
	require.Len(t, out.Write.Entries, 1)
	require.ErrorIs(t, s.asks(Change{Add: members("n6")}).Refusal, ErrChangeUnderWay)
	s.inStep()
	require.NoError(t, s.asks(Change{Add: members("n6")}).Refusal)
}

// While a leader hands over its log takes nothing more, or its successor would not hold all of it: who leads afterwards leaves the joint configuration.
func TestAJointChangeWaitsForATransfer(t *testing.T) {
	s := inOffice(t, table("n1", "n2", "n3", "n4", "n5"))
	s.asks(Change{Remove: []rpc.NodeID{"n2", "n3"}})
	s.synced()
	s.turn(Transfer{To: "n4"})
	s.ack("n4", 2)
	require.Equal(t, 1, orders(s.out.Send))
	s.ack("n2", 2)
	require.Equal(t, rpc.Index(2), s.commit)
	require.True(t, s.conf.Joint())
	for s.office.transfer.active() {
		s.turn(Tick{})
		s.everyone(2, &rpc.HeartbeatReturn{Last: 2})
	}
	require.False(t, s.conf.Joint(), "nobody took over")
}

func TestLearnersNeverCount(t *testing.T) {
	s := inOffice(t, table("n1", "n2", "n3"))
	s.asks(Change{Add: members("n4", "n5")})
	s.synced()
	s.ack("n4", 2)
	s.ack("n5", 2)
	require.Equal(t, rpc.Index(1), s.commit)
	s.turn(ReadIndex{Ticket: 1})
	s.hear("n4", 2, &rpc.HeartbeatReturn{Read: 1, Last: 2})
	s.hear("n5", 2, &rpc.HeartbeatReturn{Read: 1, Last: 2})
	require.NotEmpty(t, s.reads.running)
}

// A learner becomes a voter once a round of catching up took no longer than an election timeout (thesis 4.2.1).
func TestLearnerIsPromotedOnceItKeepsUp(t *testing.T) {
	s := inOffice(t, table("n1", "n2", "n3"))
	s.turn(Propose{Proposals: make([]Proposal, 50)})
	s.inStep()
	s.asks(Change{Add: members("n4")})
	s.turn(LinkChanged{"n4", true})
	s.everyoneBut("n4")
	require.Equal(t, rpc.Index(52), s.commit)

	grow := func(ticks int) { // a round: it acknowledges all that there was as the round began, so many ticks later
		goal := s.log.last
		s.turn(Propose{Proposals: make([]Proposal, 1)})
		s.everyoneBut("n4")
		s.answering(ticks)
		s.ack("n4", goal)
		s.answering(1)
	}
	grow(5)
	require.Equal(t, []rpc.NodeID{"n4"}, s.learners(), "the first round begins where it met the log")
	grow(150)
	require.Equal(t, []rpc.NodeID{"n4"}, s.learners(), "too slow: it would hold up the cluster")
	grow(30)
	require.Empty(t, s.learners())
	require.Equal(t, []rpc.NodeID{"n1", "n2", "n3", "n4"}, s.voters())
}

// everyoneBut lets all but one peer acknowledge everything.
func (s *solo) everyoneBut(id rpc.NodeID) {
	s.t.Helper()
	s.synced()
	for _, m := range s.peers {
		if m.ID != id {
			s.ack(m.ID, s.log.last)
		}
	}
	for s.applying > s.applied {
		s.turn(ApplyDone{s.applying})
	}
}

// Who is not there yet goes on to learn when another becomes a voter.
func TestALearnerStaysWhileAnotherIsPromoted(t *testing.T) {
	s := inOffice(t, rpc.Configuration{Voters: members("n1", "n2", "n3"), Learners: members("n4", "n5")})
	s.office.peers["n5"].heard = 0
	s.now += 500
	s.everyoneHeard("n5")
	s.turn(Tick{}, Tick{}, Tick{})
	require.Equal(t, []rpc.NodeID{"n1", "n2", "n3", "n4"}, s.voters())
	require.Equal(t, []rpc.NodeID{"n5"}, s.learners())
}

// An answer of one that is about to be a member no more, and is listened to until then, says nothing.
func TestTheAnswerOfOneThatIsRemovedIsOfNoUse(t *testing.T) {
	s := inOffice(t, table("n1", "n2", "n3", "n4"))
	require.NoError(t, s.asks(Change{Remove: []rpc.NodeID{"n4"}}).Refusal)
	before := s.commit
	s.synced()
	s.ack("n4", s.log.last)
	require.Equal(t, before, s.commit)
	s.inStep()
	require.Equal(t, []rpc.NodeID{"n1", "n2", "n3"}, s.voters())
}

func TestDeadLearnerWaitsUntilItAnswers(t *testing.T) {
	s := inOffice(t, rpc.Configuration{Voters: members("n1", "n2", "n3"), Learners: members("n4")})
	s.office.peers["n4"].heard = 0
	s.now += 500
	s.everyoneHeard("n4")
	s.turn(Tick{}, Tick{}, Tick{})
	require.Equal(t, []rpc.NodeID{"n4"}, s.learners(), "it holds all there is, and is dead")
	s.hear("n4", 2, &rpc.HeartbeatReturn{Last: 1})
	s.turn(Tick{}, Tick{}, Tick{})
	require.Empty(t, s.learners())
}

func (s *solo) everyoneHeard(but rpc.NodeID) {
	for id, p := range s.office.peers {
		if id != but {
			p.heard, p.acked = s.now, s.now
		}
	}
}

// One member's disk is lost and replaced: the old disk leaves and the new one begins as a learner, in one entry.
func TestReplacedDisk(t *testing.T) {
	s := inOffice(t, table("n1", "n2", "n3"))
	require.NoError(t, s.asks(Change{Add: []rpc.Member{disk2}}).Refusal)
	require.Equal(t, []rpc.NodeID{"n1", "n3"}, s.voters())
	require.Equal(t, []rpc.Member{disk2}, s.conf.Learners)
	require.Equal(t, []rpc.Member{disk2, {ID: "n3"}}, s.members.roster)
	require.Zero(t, s.office.peers["n2"].match, "what the old disk held says nothing of the new one")
	s.turn(LinkChanged{"n2", true})
	s.synced()
	s.ack("n2", 2)
	s.hearAs(disk2, 2, &rpc.AppendLogReturn{Accepted: true, Match: 2})
	require.Equal(t, rpc.Index(1), s.commit, "neither the old disk's word nor the new one's counts")
	s.ack("n3", 2)
	require.Equal(t, rpc.Index(2), s.commit)
	s.turn(ApplyDone{2})
	s.answering(3)
	require.Equal(t, []rpc.Member{{ID: "n1"}, disk2, {ID: "n3"}}, s.conf.Voters, "caught up, it is a voter again")
	s.synced()
	s.hearAs(disk2, 2, &rpc.AppendLogReturn{Accepted: true, Match: 3})
	require.Equal(t, rpc.Index(3), s.commit, "and counts")
}

// A vote that the old disk gave is not one of the new one's, though it came in the same term and under the same id: both might vote.
func TestVoteOfAReplacedDiskIsForgotten(t *testing.T) {
	c := start(rpc.HardState{Term: 1})
	c.Configurations = []rpc.Configuration{table("n1", "n2", "n3", "n4", "n5")}
	s := newSolo(t, c)
	snapshot := rpc.EntryID{Term: 1, Index: 3}
	s.hear("n3", 1, &rpc.HeartbeatCommand{})
	s.tickFor(100)
	s.everyone(2, preGranted())
	s.turn(SnapshotStored{From: "n3", Snapshot: snapshot, Configuration: rpc.Configuration{
		Index: 3, Cluster: s.cluster(), Voters: []rpc.Member{{ID: "n1"}, disk2, {ID: "n3"}, {ID: "n4"}, {ID: "n5"}},
	}})
	s.synced()
	s.hear("n2", 2, granted())
	s.turn(Restored{snapshot})
	s.synced()
	s.hear("n3", 2, granted())
	require.Equal(t, Candidate, s.role)
}

// Whoever confirmed before may be enough once somebody is removed, and nobody may be left to confirm anew.
func TestReadsGoOnWhenTheLastPeerIsRemoved(t *testing.T) {
	s := inOffice(t, table("n1", "n2"))
	require.Empty(t, s.turn(ReadIndex{Ticket: 1}).Reads)
	s.asks(Change{Remove: []rpc.NodeID{"n2"}})
	require.Equal(t, []Read{{Ticket: 1}}, s.out.Reads)
	require.Equal(t, []Read{{Ticket: 2}}, s.turn(ReadIndex{Ticket: 2}).Reads)
}

// A configuration that a peer shows says whom to listen to, and nothing else.
func TestLearnedConfigurationCountsForNothing(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}, 1))
	later := rpc.Configuration{Index: 9, Cluster: s.cluster(), Voters: members("n4")}
	s.turn(Learned{later})
	require.Equal(t, members("n2", "n3", "n4"), s.members.roster)
	require.Equal(t, []rpc.NodeID{"n1", "n2", "n3"}, s.voters())
	later.Index, later.Voters = 8, members("n5")
	s.turn(Learned{later})
	require.Equal(t, members("n2", "n3", "n4"), s.members.roster, "an earlier one is no news")
	later.Index, later.Cluster = 99, rpc.ClusterID{1}
	s.turn(Learned{later})
	require.Equal(t, members("n2", "n3", "n4"), s.members.roster, "nor is another cluster's")
}
