package raft

// How long a core says that it is quiet. That it is so then, the watcher holds it to in every random history (watch_test.go).

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// beaten is a leader at rest that has just sent heartbeats.
func beaten(t testing.TB) *solo {
	s := established(t, 3)
	s.thrifty = true
	for len(only[*rpc.HeartbeatCommand](s.turn(Tick{}).Send)) == 0 {
	}
	s.everyone(s.hard.Term, &rpc.HeartbeatReturn{Last: s.log.last})
	return s
}

func TestLeaderIsQuietUntilItsNextHeartbeat(t *testing.T) {
	s := beaten(t)
	require.Equal(t, s.ticks.Heartbeat-1, s.Quiet())
	s.tickFor(4)
	require.Equal(t, s.ticks.Heartbeat-5, s.Quiet())
	require.Empty(t, s.tickFor(s.Quiet()))
	require.NotEmpty(t, s.tickFor(1))
}

func TestFollowerIsQuietWhileItsLeaderMaySayNothing(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}, 1))
	require.Zero(t, s.Quiet(), "it knows no leader")
	s.hear("n2", 1, &rpc.HeartbeatCommand{})
	require.Equal(t, int(s.silenceMax()), s.Quiet())
	s.tickFor(s.Quiet())
	require.Empty(t, s.out.Pings)
	require.Zero(t, s.Quiet())
	s.tickFor(1)
	require.Equal(t, []rpc.NodeID{"n2"}, s.out.Pings)
	require.Zero(t, s.Quiet(), "it is in doubt of its leader, tick by tick")
}

func TestLeaderIsNotQuiet(t *testing.T) {
	for name, disturb := range map[string]func(*solo){
		"an entry is under way":               func(s *solo) { s.put(1) },
		"a read waits for its quorum":         func(s *solo) { s.turn(ReadIndex{1}) },
		"a spare waits for the next tick":     func(s *solo) { s.put(1); s.ack("n2", 4) },
		"the end of a stream is not told yet": func(s *solo) { s.endOfBulk() },
		"its own write is not synced":         func(s *solo) { s.committedByOthers() },
		"its state machine is at work":        func(s *solo) { s.applying++ },
		"it stores an old copy":               func(s *solo) { s.turn(Outdated{}) },
		"a learner is to be promoted":         func(s *solo) { s.conf.Learners = members("n4") },
		"it hands over":                       func(s *solo) { s.turn(Transfer{To: "n3"}) },
		"a quorum has not answered for long":  func(s *solo) { s.fallSilent() },
		"it does not lead any more":           func(s *solo) { s.turn(Resign{}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := beaten(t)
			disturb(s)
			require.Zero(t, s.Quiet())
		})
	}
}

// committedByOthers has n2 and n3 acknowledge an entry that this node has not synced.
func (s *solo) committedByOthers() {
	s.thrifty = false
	s.turn(Propose{Proposals: make([]Proposal, 1)})
	s.ack("n2", s.log.last)
	s.ack("n3", s.log.last)
	require.Equal(s.t, s.log.last, s.commit)
}

// endOfBulk has n2 and n3 acknowledge two batches, and a tick pass, which does not tell yet that the second is committed.
func (s *solo) endOfBulk() {
	s.thrifty = false
	for range 2 {
		s.batch(bulkEntries)
		s.ack("n3", s.log.last)
		s.turn(ApplyDone{s.log.last})
		s.turn(Tick{})
	}
}

// fallSilent has everybody answer between two heartbeats and then nobody, up to the last heartbeat of this office.
func (s *solo) fallSilent() {
	s.tickFor(5)
	s.everyone(s.hard.Term, &rpc.HeartbeatReturn{Last: s.log.last})
	s.tickFor(s.ticks.ElectionMin - s.ticks.Heartbeat - 5)
	require.NotZero(s.t, s.Quiet(), "one more heartbeat will do")
	s.tickFor(s.ticks.Heartbeat)
	require.Equal(s.t, s.now, s.office.beat)
}

// Who is gone keeps nobody awake.
func TestLeaderIsQuietWithAPeerThatIsGone(t *testing.T) {
	s := beaten(t)
	s.turn(LinkChanged{"n3", false})
	s.put(1)
	s.ack("n2", 4)
	s.turn(ApplyDone{4})
	s.tickFor(1)
	require.NotZero(t, s.Quiet())
}
