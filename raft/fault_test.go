package raft

// Faults and their required outcome (fault model, sections 3 and 4), as far as they concern the core.

import (
	"slices"
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

func TestF4MessagesHeldForMinutesChangeNothing(t *testing.T) {
	s := established(t, 5)
	s.turn(ReadIndex{Ticket: 1})
	for _, old := range []rpc.Body{
		&rpc.HeartbeatCommand{Commit: 99, Read: 1}, &rpc.HeartbeatReturn{Read: 1, Last: 5},
		&rpc.AppendLogCommand{Entries: run(1, 1, 1), Commit: 2}, &rpc.AppendLogReturn{Accepted: true, Match: 5},
		&rpc.AppendLogReturn{Prev: 9}, &rpc.CommitLogCommand{Commit: 99}, &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 9, Index: 9}},
		&rpc.RequestVoteReturn{Granted: true}, &rpc.RequestVoteReturn{},
	} {
		before := s.Status()
		out := s.hear("n3", 1, old)
		require.Equal(t, before, s.Status(), "%T", old)
		require.Zero(t, out.Write)
		require.Empty(t, out.Reads, "%T", old)
		require.Zero(t, s.office.peers["n3"].read)
	}
}

func TestF5NobodyCampaignsWithoutTheBus(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	s.turn(BusChanged{})
	require.Empty(t, s.tickFor(10_000))
	require.Empty(t, s.out.Pings)
	s.turn(BusChanged{Up: true})
	require.Empty(t, only[*rpc.RequestVoteCommand](s.tickFor(99)), "who comes back hears the others first")
	require.NotEmpty(t, only[*rpc.RequestVoteCommand](s.tickFor(1)))
}

func TestF5TermsRestWhileTheBusIsDownForAll(t *testing.T) {
	for seed := range uint64(20) {
		w := mesh(t, seed, "n1", "n2", "n3")
		term := w.leader().core.hard.Term
		for _, m := range w.list {
			w.isolate(m)
			w.post(m, BusChanged{})
		}
		w.runUntil(w.now+20_000, never)
		require.Nil(t, w.leader(), "a leader that hears nobody steps down")
		clear(w.cut)
		for _, m := range w.list {
			require.LessOrEqual(t, m.core.hard.Term, term+1)
			w.post(m, BusChanged{Up: true})
		}
		require.True(t, w.runUntil(w.now+3_000, w.committedSince(w.ticket)))
		require.LessOrEqual(t, w.leader().core.hard.Term, term+2, "seed %d", seed)
	}
}

func TestF16ResumedLeaderServesNothingStale(t *testing.T) {
	s := established(t, 5)
	// It was paused and another leads: all it finds is what waited in its inbox, its own clock did not move.
	out := s.turn(ReadIndex{Ticket: 1}, Propose{Proposals: []Proposal{{Ticket: 2}}})
	require.Empty(t, out.Reads)
	out = s.hear("n2", 3, &rpc.HeartbeatReturn{})
	require.Equal(t, []Read{{Ticket: 1, Refusal: RefusedNotLeader}}, out.Reads)
	require.Equal(t, rpc.Index(5), s.commit)
	require.Equal(t, []Read{{Ticket: 3, Refusal: RefusedNotLeader}}, s.turn(ReadIndex{Ticket: 3}).Reads)
}

func TestF22StalledDisk(t *testing.T) {
	w := mesh(t, 5, "n1", "n2", "n3")
	old := w.leader()
	w.stall[old.id] = w.now + 60_000
	require.True(t, w.runUntil(w.now+10_000, func() bool { return w.leader() != old && w.leader() != nil }), "L5: another leads within 10 s")
	mark := w.ticket
	w.runUntil(w.now+40_000, func() bool { require.NotEqual(t, Leader, old.core.role); return false })
	require.True(t, w.committedSince(mark)())
}

// failover kills or silences the leader and returns the ticks until another leads.
func failover(t *testing.T, seed uint64, strike func(*world, *member)) int {
	w := mesh(t, seed, "n1", "n2", "n3")
	old := w.leader()
	w.runUntil(w.now+w.r.IntN(1_000), never)
	strike(w, old)
	from := w.now
	require.True(t, w.runUntil(w.now+10_000, func() bool { return w.leader() != nil && w.leader() != old }), "seed %d", seed)
	return (w.now - from) / msPerTick
}

func sortedFailovers(t *testing.T, strike func(*world, *member)) (list []int) {
	for seed := range uint64(300) {
		list = append(list, failover(t, seed, strike))
	}
	slices.Sort(list)
	t.Logf("%v ticks to the next leader: median %d, p99 %d, worst %d", t.Name(), list[len(list)/2], p99(list), list[len(list)-1])
	return list
}

func TestL1NoResponders(t *testing.T) {
	list := sortedFailovers(t, func(w *world, m *member) { w.crash(m, 0); w.life[m.id]++ })
	require.LessOrEqual(t, list[len(list)/2], 30, "two pings 50 ms apart find nobody: no election timeout passes")
	require.LessOrEqual(t, list[len(list)-1], 100)
}

func TestL1SilentLeader(t *testing.T) {
	list := sortedFailovers(t, (*world).silence)
	require.LessOrEqual(t, list[len(list)/2], 150)
	require.LessOrEqual(t, p99(list), 300)
	require.LessOrEqual(t, list[len(list)-1], 500)
}

func p99(sorted []int) int { return sorted[len(sorted)*99/100] }

// silence cuts a node off so that its peers get no answer of any kind.
func (w *world) silence(m *member) { w.isolate(m); w.mute = true }

func TestL3IsolatedNodeRejoinsWithoutAnElection(t *testing.T) {
	w := mesh(t, 9, "n1", "n2", "n3")
	leader, term := w.leader(), w.leader().core.hard.Term
	away := w.list[slices.IndexFunc(w.list, func(m *member) bool { return m != leader })]
	w.idle = true // or its log would be too old to win anyway
	w.runUntil(w.now+1_000, w.converged(len(w.watch.committed)))
	w.isolate(away)
	w.runUntil(w.now+30_000, never)
	clear(w.cut)
	w.runUntil(w.now+10_000, never)
	require.Equal(t, leader, w.leader())
	for _, m := range w.list {
		require.Equal(t, term, m.core.hard.Term)
	}
	require.True(t, w.runUntil(w.now+1_000, w.converged(len(w.watch.committed))))
}

// The early vote is granted only by voters that lost that leader themselves (design section 4).
func TestEarlyVoteNeedsVotersThatLostTheLeaderThemselves(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	s.hear("n2", 1, &rpc.HeartbeatCommand{})
	early := &rpc.RequestVoteCommand{PreVote: true, Early: true}
	s.tickFor(20)
	require.Equal(t, []*rpc.RequestVoteReturn{{PreVote: true}}, only[*rpc.RequestVoteReturn](s.hear("n3", 2, early).Send))
	s.turn(Pinged{Peer: "n2", Outcome: PingNobody})
	s.turn(Pinged{Peer: "n2", Outcome: PingNobody})
	require.Equal(t, rpc.NodeID("n2"), s.leader, "twice the same ping: one 'no responders' may be a mistake of the bus")
	s.tickFor(5)
	s.turn(Pinged{Peer: "n2", Outcome: PingNobody})
	require.Empty(t, s.leader)
	require.Equal(t, rpc.HardState{Term: 1}, s.hard, "no term, vote or commit changes by it")
	require.Equal(t, []*rpc.RequestVoteReturn{preGranted()}, only[*rpc.RequestVoteReturn](s.hear("n3", 2, early).Send))
}

func TestLostLeaderIsForgivenWhenItSpeaks(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	s.hear("n2", 1, &rpc.HeartbeatCommand{})
	s.tickFor(20)
	s.turn(Pinged{Peer: "n2", Outcome: PingNobody})
	s.hear("n2", 1, &rpc.HeartbeatCommand{})
	s.tickFor(20)
	s.turn(Pinged{Peer: "n2", Outcome: PingUnclear})
	s.turn(Pinged{Peer: "n2", Outcome: PingNobody})
	require.Equal(t, rpc.NodeID("n2"), s.leader, "a miss before the last heartbeat does not count")
	s.tickFor(5)
	s.turn(Pinged{Peer: "n2", Outcome: PingOK, Leader: "n2", Term: 1})
	s.tickFor(5)
	s.turn(Pinged{Peer: "n2", Outcome: PingNobody})
	require.Equal(t, rpc.NodeID("n2"), s.leader, "nor does one before its last answer to a ping")
}
