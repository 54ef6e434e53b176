package raft

// A follower whose disk does not keep up, with a leader that sends on, since heartbeats tell it that all has arrived (F21, F22).

import (
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

// hung is a follower of n2 that may hold 1,000 bytes which are not on its disk, and whose disk takes nothing.
func hung(t *testing.T) *solo {
	c := start(rpc.HardState{Term: 1})
	c.Limits.CacheBytesMax, c.Limits.FlyingBytesMax = 1000, 500
	s := newSolo(t, c)
	s.hear("n2", 1, &rpc.HeartbeatCommand{})
	return s
}

// sends has the leader send the entry that comes next, and returns the answer, if there is any.
func (s *solo) sends(next rpc.Index) []*rpc.AppendLogReturn {
	prev := rpc.EntryID{Index: next - 1}
	if next > 1 {
		prev.Term = 1
	}
	out := s.hear("n2", 1, &rpc.AppendLogCommand{Prev: prev, Entries: run(next, 1)})
	return only[*rpc.AppendLogReturn](append(out.Send, out.SendAfterSync...))
}

func TestWhatWaitsForAFollowersDiskIsBounded(t *testing.T) {
	s := hung(t)
	for range 1000 {
		s.sends(s.log.last + 1)
	}
	last := s.log.last
	require.Less(t, s.log.bytes, 1000+200)
	require.Empty(t, s.sends(last+1), "it is as if it were lost")
	require.Equal(t, last, s.log.last)
	require.Equal(t, last, only[*rpc.HeartbeatReturn](s.hear("n2", 1, &rpc.HeartbeatCommand{}).Send)[0].Last, "nor is it said that it arrived")
	require.NotEmpty(t, s.sends(last), "what is in the log is answered as ever")
	s.synced()
	require.NotEmpty(t, s.sends(last+1), "there is room again")
	require.Equal(t, last+1, s.log.last)
}

// What is on the disk does not count, however much of it is still in memory.
func TestWhatIsOnTheDiskCrowdsNobodyOut(t *testing.T) {
	s := hung(t)
	for range 1000 {
		require.NotEmpty(t, s.sends(s.log.last+1))
		s.synced()
	}
	require.Equal(t, rpc.Index(1000), s.log.last)
}
