package raft

// Leadership transfer (thesis 3.10), and what may not come of it.

import (
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

func orders(list []rpc.Message) int { return len(only[*rpc.TimeoutNowCommand](list)) }

func TestTransferWaitsUntilTheSuccessorHoldsTheLog(t *testing.T) {
	s := established(t, 3)
	s.turn(Propose{Proposals: []Proposal{{Ticket: 1}}})
	require.Zero(t, orders(s.turn(Transfer{To: "n2"}).Send), "it is an entry behind")
	refused := s.turn(Propose{Proposals: []Proposal{{Ticket: 2}}}).Proposed
	require.Equal(t, []Proposed{{Ticket: 2, Refusal: RefusedBusy}}, refused, "it would never catch up")
	require.Equal(t, 1, orders(s.ack("n2", 4).Send))
	require.Zero(t, orders(s.turn(Failed{Peer: "n2", Method: rpc.MethodTimeoutNow}).Send), "one that fails at once would fail in each turn")
}

// An order may be lost, and its call fails when the transfer has been given up: it is given again with every heartbeat. The first that arrives counts, and
// those after it change nothing.
func TestALostOrderIsGivenAgain(t *testing.T) {
	s := established(t, 3)
	require.Equal(t, 1, orders(s.turn(Transfer{To: "n2"}).Send))
	beat := s.Core.ticks.Heartbeat
	require.Zero(t, orders(s.tickFor(beat-1)))
	again := only[*rpc.TimeoutNowCommand](s.tickFor(1))
	require.Len(t, again, 1)
	require.Equal(t, s.Core.ticks.ElectionMin/beat-2, orders(s.tickFor(s.Core.ticks.ElectionMin-beat-1)), "until it is given up")

	c := start(rpc.HardState{Term: 2}, 1, 1, 2)
	c.ID = "n2"
	next := newSolo(t, c)
	next.turn(LinkChanged{"n1", true})
	next.hear("n1", 2, again[0])
	require.Equal(t, Candidate, next.role)
	out := next.hear("n1", 2, again[0])
	require.Equal(t, rpc.HardState{Term: 3, Vote: "n2"}, next.hard)
	require.Equal(t, Candidate, next.role)
	require.Empty(t, out.Send)
	require.Len(t, only[*rpc.TimeoutNowReturn](out.SendAfterSync), 1)
	s.hear("n2", 3, &rpc.TimeoutNowReturn{})
	s.hear("n2", 3, &rpc.RequestVoteCommand{Last: s.log.lastID(), Transfer: true})
	require.Equal(t, rpc.HardState{Term: 3, Vote: "n2"}, s.hard, "the answer to the second may overtake the vote request")
}

func TestTransferGoesToTheOneThatIsFurthest(t *testing.T) {
	s := established(t, 3)
	s.turn(Propose{Proposals: []Proposal{{Ticket: 1}}})
	s.ack("n3", 4)
	out := s.turn(Transfer{})
	require.Equal(t, []rpc.Body{&rpc.TimeoutNowCommand{Last: s.log.lastID()}}, to("n3", out.Send))
}

// One whose disk has no room is not chosen, however far it is; by name it may be (F21).
func TestTransferGoesToNobodyWhoseDiskIsFull(t *testing.T) {
	s := established(t, 3)
	s.turn(Propose{Proposals: []Proposal{{Ticket: 1}}})
	s.ack("n3", 4)
	s.turn(Pinged{Peer: "n3", Lacks: true})
	require.Equal(t, rpc.NodeID("n2"), s.Successor())
	require.Equal(t, []bool{false, true}, []bool{s.Membership().Peers[0].Lacks, s.Membership().Peers[1].Lacks}, "who names one is told")
	s.turn(Pinged{Peer: "n3", Outcome: PingUnclear}) // that says nothing of it
	require.Equal(t, rpc.NodeID("n2"), s.Successor())
	s.turn(Pinged{Peer: "n2", Lacks: true})
	require.Empty(t, s.Successor())
	require.Contains(t, s.turn(Transfer{}).Facts, TransferEnded{Reason: "no voter that has room on its disk, that clients reach, and whose state machine keeps up, can take over now"})
	s.turn(Pinged{Peer: "n3"})
	require.Equal(t, rpc.NodeID("n3"), s.Successor())
	require.Equal(t, 1, orders(s.turn(Transfer{To: "n3"}).Send))
	s.turn(Resign{})
	require.Empty(t, s.Successor(), "it does not lead any more")
}

// Full disks are in the way where those that answer are a majority, of each half of a joint change, and those of them with room are not. A leader's
// own disk counts as roomy as long as its log has a place for what waits (F21).
func TestDisksCrowdOutAMajority(t *testing.T) {
	crowding := func(c rpc.Configuration, full []rpc.NodeID, silent ...rpc.NodeID) []rpc.NodeID {
		s := inOffice(t, c)
		for _, id := range full {
			s.turn(Pinged{Peer: id, Lacks: true, NoRoom: true})
		}
		for _, id := range silent {
			s.office.peers[id].heard = s.now - uint64(s.Core.ticks.ElectionMin)
		}
		return s.Crowding()
	}
	type list = []rpc.NodeID
	three, five := table("n1", "n2", "n3"), table("n1", "n2", "n3", "n4", "n5")
	require.Empty(t, crowding(three, list{"n2"}))
	require.Equal(t, list{"n2", "n3"}, crowding(three, list{"n3", "n2"}))
	require.Empty(t, crowding(five, list{"n2", "n3"}))
	require.Equal(t, list{"n2", "n3", "n4"}, crowding(five, list{"n2", "n3", "n4"}))

	require.Empty(t, crowding(three, nil, "n3"))
	require.Equal(t, list{"n2"}, crowding(three, list{"n2"}, "n3"), "n3 has room, and does not answer")
	require.Empty(t, crowding(three, list{"n2"}, "n2"))
	require.Empty(t, crowding(three, list{"n2"}, "n2", "n3"), "nothing would be committed with room either")

	learning := three
	learning.Learners = members("n4", "n5")
	require.Empty(t, crowding(learning, list{"n4", "n5"}), "learners count for nothing")
	require.Equal(t, list{"n2", "n3"}, crowding(learning, list{"n2", "n3", "n4"}), "nor would room on theirs help")
	s := established(t, 3)
	s.turn(Pinged{Peer: "n2", Lacks: true})
	s.turn(Pinged{Peer: "n3", Lacks: true})
	require.Empty(t, s.Crowding(), "clients do not reach them, and they write all the same")
	s.turn(Pinged{Peer: "n2", Lacks: true, NoRoom: true})
	s.turn(Pinged{Peer: "n3", Lacks: true, NoRoom: true})
	require.Equal(t, list{"n2", "n3"}, s.Crowding())
	s.turn(Pinged{Peer: "n3", Outcome: PingUnclear}) // that says nothing of it
	require.Equal(t, list{"n2", "n3"}, s.Crowding())
	s.turn(Pinged{Peer: "n3"})
	require.Empty(t, s.Crowding())
	require.Equal(t, rpc.NodeID("n3"), s.Successor())
	s.turn(WriteWaits{ForRoom: true})
	require.Equal(t, list{"n1", "n2"}, s.Crowding())
	require.Empty(t, s.Successor(), "it might get no vote")
	s.turn(WriteWaits{})
	require.Empty(t, s.Crowding())
	s.turn(Pinged{Peer: "n3", Lacks: true, NoRoom: true})
	s.turn(Resign{})
	require.Empty(t, s.Crowding(), "it takes none anyway")

	joint := table("n1", "n2", "n3")
	joint.Outgoing = members("n1", "n4", "n5")
	s = inOffice(t, five)
	s.quorum = newQuorum(&joint, s.self)
	s.turn(Pinged{Peer: "n2", NoRoom: true}, Pinged{Peer: "n4", NoRoom: true})
	require.Empty(t, s.Crowding())
	s.turn(Pinged{Peer: "n2"}, Pinged{Peer: "n5", NoRoom: true})
	require.Equal(t, list{"n4", "n5"}, s.Crowding(), "of those of before n1 alone has room")
}

func TestTransferIsRefusedWithAReason(t *testing.T) {
	c := table("n1", "n2", "n3")
	c.Learners = members("n4")
	for to, reason := range map[rpc.NodeID]string{
		"n1": "it leads already", "n4": "it is no voter", "n9": "it is no voter", "n3": "it does not answer",
	} {
		s := inOffice(t, c)
		s.turn(LinkChanged{"n3", false})
		require.Contains(t, s.turn(Transfer{To: to}).Facts, TransferEnded{To: to, Reason: reason})
		require.False(t, s.office.transfer.active())
	}
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	require.Contains(t, s.turn(Transfer{}).Facts, TransferEnded{Reason: "this node does not lead"})
	s = stranded(t)
	require.Contains(t, s.turn(Transfer{To: "n3"}).Facts, TransferEnded{To: "n3", Reason: "it is far behind, and gets a snapshot first"})
}

func TestSecondTransferDoesNotDisplaceTheFirst(t *testing.T) {
	s := established(t, 3)
	s.turn(Transfer{To: "n2"})
	require.Empty(t, s.turn(Transfer{}).Facts, "to whoever: that is under way")
	require.Equal(t, []Fact{TransferEnded{To: "n3", Reason: "a transfer to n2 is under way"}}, s.turn(Transfer{To: "n3"}).Facts)
	require.Equal(t, rpc.NodeID("n2"), s.office.transfer.to)
}

func TestLeaderServesAgainAfterATransferInVain(t *testing.T) {
	for name, end := range map[string]func(*solo){
		"too slow": func(s *solo) { s.answering(s.Core.ticks.ElectionMin) },
		"dies":     func(s *solo) { s.turn(LinkChanged{"n2", false}); s.tickFor(1) },
		"removed":  func(s *solo) { s.office.transfer.to = "n9"; s.tickFor(1) },
	} {
		t.Run(name, func(t *testing.T) {
			s := established(t, 3)
			s.turn(Transfer{To: "n2"})
			end(s)
			require.Equal(t, Leader, s.role)
			require.Equal(t, Accepted, s.turn(Propose{Proposals: []Proposal{{Ticket: 1}}}).Proposed[0].Refusal)
		})
	}
}

func TestReadsAreServedWhileLeadershipIsHandedOver(t *testing.T) {
	s := established(t, 3)
	s.turn(Transfer{To: "n2"})
	s.turn(ReadIndex{Ticket: 1})
	out := s.hear("n3", 2, &rpc.HeartbeatReturn{Read: 1, Last: 3})
	require.Equal(t, []Read{{Ticket: 1}}, out.Reads, "no other leader was heard of by n3 when it answered")
	s.turn(ReadIndex{Ticket: 2})
	out = s.hear("n3", 3, &rpc.HeartbeatReturn{})
	require.Equal(t, []Read{{Ticket: 2, Refusal: RefusedNotLeader}}, out.Reads, "now it has")
}

func TestSuccessorCampaignsAtOnceAndIsGrantedDespiteTheLeader(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 2}, 2))
	out := s.hear("n2", 2, &rpc.TimeoutNowCommand{})
	require.Equal(t, rpc.HardState{Term: 3, Vote: "n1"}, s.hard)
	require.Empty(t, only[*rpc.RequestVoteCommand](out.Send), "its own vote is not durable")
	require.Equal(t, []*rpc.RequestVoteCommand{{Last: rpc.EntryID{Term: 2, Index: 1}, Transfer: true}, {Last: rpc.EntryID{Term: 2, Index: 1}, Transfer: true}},
		only[*rpc.RequestVoteCommand](out.SendAfterSync))

	voter := newSolo(t, start(rpc.HardState{Term: 2}, 2))
	voter.hear("n2", 2, &rpc.HeartbeatCommand{})
	out = voter.hear("n3", 3, &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 2, Index: 1}, Transfer: true})
	require.Equal(t, []*rpc.RequestVoteReturn{granted()}, only[*rpc.RequestVoteReturn](out.SendAfterSync))
}

func TestLeaderYieldsToItsSuccessorOnly(t *testing.T) {
	s := established(t, 3)
	ask := &rpc.RequestVoteCommand{Last: s.log.lastID(), Transfer: true}
	s.hear("n2", 3, ask)
	require.Equal(t, Leader, s.role, "nobody was told to take over")
	s.turn(Transfer{To: "n3"})
	s.hear("n2", 3, ask)
	require.Equal(t, Leader, s.role, "n2 was not")
	s.hear("n3", 3, ask)
	require.Equal(t, rpc.HardState{Term: 3, Vote: "n3"}, s.hard)
}

func TestK45LateTransferOrderChangesNothing(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 3}, 2))
	s.hear("n3", 3, &rpc.HeartbeatCommand{})
	s.hear("n2", 2, &rpc.TimeoutNowCommand{})
	require.Equal(t, rpc.HardState{Term: 3}, s.hard, "the order of a leader that is none any more")
	require.Equal(t, Follower, s.role)

	s = newSolo(t, start(rpc.HardState{Term: 2}, 2, 2))
	s.hear("n2", 2, &rpc.HeartbeatCommand{})
	out := s.hear("n2", 2, &rpc.TimeoutNowCommand{Last: rpc.EntryID{Term: 2, Index: 1}})
	require.Equal(t, rpc.HardState{Term: 2}, s.hard, "the order of before the leader served again (F4)")
	require.Empty(t, only[*rpc.TimeoutNowReturn](out.Send), "and nobody is told that this node campaigns")
	s.hear("n2", 2, &rpc.TimeoutNowCommand{Last: rpc.EntryID{Term: 2, Index: 2}})
	require.Equal(t, rpc.Term(3), s.hard.Term)

	leader := established(t, 3)
	leader.hear("n2", 1, &rpc.TimeoutNowCommand{})
	require.Equal(t, Leader, leader.role)
	leader.turn(ReadIndex{Ticket: 1})
	require.Empty(t, leader.out.Reads, "and no read is served on what was confirmed before")
}

func TestOrderToALearnerOrAHungDiskIsInVain(t *testing.T) {
	c := start(rpc.HardState{Term: 2}, 2)
	c.Configurations = []rpc.Configuration{{Voters: members("n2", "n3"), Learners: members("n1")}}
	s := newSolo(t, c)
	s.hear("n2", 2, &rpc.TimeoutNowCommand{})
	require.Equal(t, rpc.HardState{Term: 2}, s.hard)

	s = newSolo(t, start(rpc.HardState{Term: 2}, 2))
	s.hear("n2", 2, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 2, Index: 1}, Entries: run(2, 2)})
	for range 8 {
		s.tickFor(50)
		s.hear("n2", 2, &rpc.HeartbeatCommand{})
	}
	out := s.hear("n2", 2, &rpc.TimeoutNowCommand{})
	require.Equal(t, rpc.HardState{Term: 2}, s.hard, "its own vote would not become durable either (K61)")
	require.Empty(t, only[*rpc.TimeoutNowReturn](append(out.Send, out.SendAfterSync...)))
	s.synced()
	s.hear("n2", 2, &rpc.TimeoutNowCommand{})
	require.Equal(t, rpc.Term(3), s.hard.Term)
}

// A node may be connected and say nothing, as one that is paused.
func TestLeadershipIsNotHandedToWhoIsSilent(t *testing.T) {
	s := established(t, 3)
	for range s.Core.ticks.ElectionMin + 1 {
		for _, m := range s.turn(Tick{}).Send {
			if beat, ok := m.Body.(*rpc.HeartbeatCommand); ok && m.To == "n3" {
				s.Step(from2(m.To, s.id, s.hard.Term, &rpc.HeartbeatReturn{Read: beat.Read, Last: s.log.last}))
			}
		}
	}
	require.Equal(t, Leader, s.role)
	ended := s.turn(Transfer{To: "n2"}).Facts
	require.Len(t, ended, 1)
	require.IsType(t, TransferEnded{}, ended[0])
	require.Empty(t, s.turn(Transfer{To: "n3"}).Facts)
}
