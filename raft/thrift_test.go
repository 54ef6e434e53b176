package raft

// A thrifty leader: whom it speaks to at once, and that nobody else waits for longer than a tick, and no commit for longer than it takes the
// others then.

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// thrifty is established, of a leader that is thrifty, after a tick in which nothing was under way. Of its peers n2 is the nearest.
func thrifty(t testing.TB) *solo {
	s := established(t, 3)
	s.thrifty = true
	s.turn(Tick{})
	return s
}

// put proposes so many commands, and syncs them. It returns to whom they left at once.
func (s *solo) put(n int) (peers []rpc.NodeID) {
	for _, m := range s.turn(Propose{Proposals: make([]Proposal, n)}).Send {
		if cmd, is := m.Body.(*rpc.AppendLogCommand); is && len(cmd.Entries) > 0 {
			peers = append(peers, m.To)
		}
	}
	s.synced()
	return peers
}

func TestThriftyLeaderSendsToAQuorumAndToTheOthersAtTheNextTick(t *testing.T) {
	s := thrifty(t)
	require.Equal(t, []rpc.NodeID{"n2"}, s.put(1))
	s.ack("n2", 4)
	require.Equal(t, rpc.Index(4), s.commit, "the spare is not waited for")
	require.Equal(t, []rpc.NodeID{"n2"}, s.put(1))
	require.Empty(t, to("n3", s.ack("n2", 5).Send))
	sent := to("n3", s.turn(Tick{}).Send)
	require.Len(t, sent, 1, "what has gathered is one message, and says what is committed")
	require.Equal(t, rpc.Index(5), sent[0].(*rpc.AppendLogCommand).Commit)
	require.Len(t, sent[0].(*rpc.AppendLogCommand).Entries, 2)
	require.Empty(t, s.ack("n3", 5).Send)
	require.Empty(t, to("n3", s.turn(Tick{}).Send), "it has all")
}

// What was under way at a tick is told to be committed at the next one.
func TestThriftyLeaderTellsSparesOfCommitsByTicks(t *testing.T) {
	s := thrifty(t)
	s.put(1)
	require.Len(t, to("n3", s.turn(Tick{}).Send), 1)
	told := []rpc.Body{&rpc.CommitLogCommand{Commit: 4}}
	require.Equal(t, told, to("n2", s.ack("n2", 4).Send), "the nearest is told at once")
	require.Empty(t, s.ack("n3", 4).Send)
	require.Equal(t, told, to("n3", s.turn(Tick{}).Send))
}

// Who is slow is so for a tick.
func TestThriftyLeaderTurnsToWhoeverIsAhead(t *testing.T) {
	s := thrifty(t)
	require.Equal(t, []rpc.NodeID{"n2"}, s.put(1))
	require.Len(t, to("n3", s.turn(Tick{}).Send), 1)
	s.ack("n3", 4)
	require.Equal(t, rpc.Index(4), s.commit)
	require.Equal(t, []rpc.NodeID{"n3"}, s.put(1), "n2 does not answer")
	s.ack("n2", 4)
	require.Equal(t, []rpc.NodeID{"n3"}, s.put(1), "and stays behind")
	s.turn(Tick{})
	s.ack("n3", 6)
	s.ack("n2", 6)
	s.turn(Tick{})
	require.Equal(t, []rpc.NodeID{"n3"}, s.put(1), "who has caught up was slow, and may be so again")
}

// So it is with its own disk.
func TestThriftyLeaderDoesWithoutItsOwnSlowDisk(t *testing.T) {
	s := thrifty(t)
	sent := func() []*rpc.AppendLogCommand {
		return only[*rpc.AppendLogCommand](s.turn(Propose{Proposals: make([]Proposal, 1)}).Send)
	}
	require.Len(t, sent(), 1)
	require.Len(t, only[*rpc.AppendLogCommand](s.turn(Tick{}).Send), 1, "what a tick found unsynced")
	require.Len(t, sent(), 2)
	s.ack("n2", 5)
	s.ack("n3", 5)
	require.Equal(t, rpc.Index(5), s.commit)
	s.synced()
	require.Len(t, sent(), 1)
}

// Who cannot be sent to at once, since an AppendLog to it has failed, is none of the nearest.
func TestThriftyLeaderPassesOverWhoIsProbed(t *testing.T) {
	s := thrifty(t)
	s.put(1)
	require.Len(t, to("n3", s.turn(Failed{"n2", rpc.MethodAppendLog, 4}).Send), 1)
	s.ack("n3", 4)
	require.Equal(t, rpc.Index(4), s.commit)
}

// A spare whose link was broken may have started anew meanwhile, and is spoken to though it lacks nothing.
func TestThriftyLeaderSpeaksToASpareThatIsBack(t *testing.T) {
	s := thrifty(t)
	s.turn(LinkChanged{"n3", false})
	require.Len(t, only[*rpc.AppendLogCommand](s.turn(LinkChanged{"n3", true}).Send), 1)
}

// Reads need no disk: they ask as many as a quorum needs, whether this one is slow or not.
func TestThriftyLeaderReadsByAQuorumWhileItsDiskIsSlow(t *testing.T) {
	s := thrifty(t)
	s.turn(Propose{Proposals: make([]Proposal, 1)}, Tick{})
	require.Len(t, only[*rpc.HeartbeatCommand](s.turn(ReadIndex{Ticket: 1}).Send), 1)
}

func TestThriftyLeaderPassesOverWhoCannotBeReached(t *testing.T) {
	s := thrifty(t)
	s.turn(LinkChanged{"n2", false})
	require.Equal(t, []rpc.NodeID{"n3"}, s.put(1))
	s = thrifty(t)
	s.turn(LinkChanged{"n2", false}, LinkChanged{"n3", false}, LinkChanged{"n3", true})
	require.Contains(t, to("n3", s.turn(ReadIndex{Ticket: 1}).Send), &rpc.HeartbeatCommand{Commit: 3, Read: 1}, "though it is not known what it holds")
}

func TestThriftyLeaderHasNoSpareLackMuch(t *testing.T) {
	s := thrifty(t)
	require.Equal(t, []rpc.NodeID{"n2"}, s.put(BatchEnough-1))
	require.Equal(t, []rpc.NodeID{"n2", "n3"}, s.put(1))
}

// A transfer waits for its successor: who is behind gets all at once.
func TestThriftyLeaderSparesNobodyInATransfer(t *testing.T) {
	s := thrifty(t)
	s.put(1)
	s.ack("n2", 4)
	require.Len(t, only[*rpc.AppendLogCommand](s.turn(Transfer{To: "n3"}).Send), 1)
	require.Len(t, only[*rpc.TimeoutNowCommand](s.ack("n3", 4).Send), 1)
}

// Of more nodes as many are spoken to as a quorum needs; in a joint change a quorum of each set. A learner is none of them.
func TestThriftyLeaderNeedsAQuorum(t *testing.T) {
	for _, test := range []struct {
		conf rpc.Configuration
		want []rpc.NodeID
	}{
		{table("n1", "n2", "n3", "n4", "n5"), []rpc.NodeID{"n2", "n3"}},
		{table("n1", "n2", "n3", "n4"), []rpc.NodeID{"n2", "n3"}},
		{rpc.Configuration{Voters: members("n1", "n3", "n4"), Learners: members("n2")}, []rpc.NodeID{"n3"}},
	} {
		require.Equal(t, test.want, inOffice(t, test.conf).nearest(true), "%+v", test.conf)
	}
	s, joint := inOffice(t, table("n1", "n2", "n3", "n4", "n5")), rpc.Configuration{Voters: members("n1", "n2", "n3"), Outgoing: members("n1", "n4", "n5")}
	s.quorum = newQuorum(&joint, s.self)
	require.Equal(t, []rpc.NodeID{"n2", "n3", "n4"}, s.nearest(true), "the foremost of whom it is one")
}
