package raft

// What spares messages under load: a commit index that rides on the next AppendLog, proposals that wait to go together, reads that ask no more
// peers than a quorum needs. None of it may keep anybody waiting for more than a tick.

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// stream sends so many AppendLogs in one tick, each acknowledged by n2, and returns the CommitLogs among what was sent.
func (s *solo) stream(n int) (told []*rpc.CommitLogCommand) {
	for range n {
		out := s.turn(Propose{Proposals: []Proposal{{}}})
		told = append(told, only[*rpc.CommitLogCommand](out.Send)...)
		s.synced()
		out = s.ack("n2", s.Status().Last)
		told = append(told, only[*rpc.CommitLogCommand](out.Send)...)
	}
	return told
}

// An entry alone is told to be committed at once; in a stream of AppendLogs the next one says it, and the last of them the next tick.
func TestCommitIndexRidesOnAStream(t *testing.T) {
	s := established(t, 3)
	require.Len(t, s.stream(1), 1, "alone, to the one who has it")
	s.stream(denseSends)
	s.turn(Tick{})
	require.Empty(t, s.stream(denseSends), "in a stream the next AppendLog says it")
	told := only[*rpc.CommitLogCommand](s.turn(Tick{}).Send)
	require.Equal(t, []*rpc.CommitLogCommand{{Commit: s.Status().Last}}, told, "when it stops a tick does")
	s.turn(Tick{})
	require.Len(t, s.stream(1), 1, "the stream is over")
	s.turn(Tick{})
	require.Len(t, s.stream(1), 1, "one in each tick is none")
}

// batch sends one AppendLog of so many entries, acknowledged by n2, and returns the CommitLogs among what was sent.
func (s *solo) batch(entries int) []*rpc.CommitLogCommand {
	told := only[*rpc.CommitLogCommand](s.turn(Propose{Proposals: make([]Proposal, entries)}).Send)
	s.synced()
	return append(told, only[*rpc.CommitLogCommand](s.ack("n2", s.Status().Last).Send)...)
}

// Few AppendLogs of many entries are a stream too, also where a tick has none; and again the end of it is told.
func TestCommitIndexRidesOnBulk(t *testing.T) {
	tick := func(s *solo) []*rpc.CommitLogCommand { return only[*rpc.CommitLogCommand](s.turn(Tick{}).Send) }
	s := established(t, 3)
	require.Len(t, s.batch(bulkEntries), 1, "the first of them is alone")
	tick(s)
	require.Len(t, s.batch(bulkEntries-1), 0, "the tick before had many")
	last := s.Status().Last
	require.Empty(t, tick(s), "the next may come a tick later")
	require.Equal(t, []*rpc.CommitLogCommand{{Commit: last}}, tick(s), "but no later")
	require.Len(t, s.batch(bulkEntries), 1, "few were in the last AppendLog")
	tick(s)
	tick(s)
	require.Empty(t, s.batch(bulkEntries), "a tick without any does not end it")
	for range 3 {
		tick(s)
	}
	require.Len(t, s.batch(bulkEntries), 1, "three do")
}

// Two batches keep the bus and the disks busy; what is proposed meanwhile waits, until one of them is committed, or this node leads no more.
// With one under way fewer wait than it has.
func TestProposalsWaitForABatchUnderWay(t *testing.T) {
	s := established(t, 3)
	require.Zero(t, s.Patience(), "nothing to wait for")
	require.True(t, s.Idle())
	s.turn(Propose{Proposals: make([]Proposal, 3)})
	require.Equal(t, 2, s.Patience(), "three go beside three")
	require.False(t, s.Idle())
	s.turn(Propose{Proposals: make([]Proposal, 2*BatchEnough)})
	require.Equal(t, math.MaxInt, s.Patience())
	s.synced()
	s.ack("n2", s.Status().Last-2*BatchEnough)
	require.Equal(t, BatchEnough-1, s.Patience(), "so many are enough beside any")
	s.turn(Propose{Proposals: make([]Proposal, 1)})
	require.Equal(t, math.MaxInt, s.Patience())
	s.turn(Resign{})
	require.Zero(t, s.Patience(), "there is nothing to wait for")
	require.False(t, s.Idle(), "nothing of its own can be")
}

// A round asks a quorum: of those that hold as much first those that confirmed the last one, and never one that cannot be reached while another can.
func TestReadsAskWhoConfirmedLast(t *testing.T) {
	s := established(t, 5)
	asked := func(out *Effects) (ids []rpc.NodeID) {
		for _, m := range out.Send {
			if _, is := m.Body.(*rpc.HeartbeatCommand); is {
				ids = append(ids, m.To)
			}
		}
		return ids
	}
	require.Equal(t, []rpc.NodeID{"n2"}, asked(s.turn(ReadIndex{Ticket: 1})))
	require.Equal(t, []rpc.NodeID{"n2", "n3"}, asked(s.turn(Tick{})), "a tick later all are")
	require.Empty(t, asked(s.turn(Tick{})), "once: heartbeats do the rest")
	confirm := func(id rpc.NodeID, round uint64) []Read {
		return s.hear(id, 2, &rpc.HeartbeatReturn{Read: round, Last: s.Status().Last}).Reads
	}
	require.Len(t, confirm("n3", 1), 1)
	require.Equal(t, []rpc.NodeID{"n3"}, asked(s.turn(ReadIndex{Ticket: 2})))
	require.Len(t, confirm("n3", 2), 1)
	s.turn(LinkChanged{Peer: "n3"})
	require.Equal(t, []rpc.NodeID{"n2"}, asked(s.turn(ReadIndex{Ticket: 3})), "n3 cannot be reached")
}
