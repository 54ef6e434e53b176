package raft

// Known bugs of reads, storage and progress (fault model, section 6), each put to the core as a scenario.

import (
	"math/rand/v2"
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

func TestK43NewLeaderReadsOnlyAfterItsFirstCommit(t *testing.T) {
	s := lead(t, start(rpc.HardState{Term: 1}, 1, 1))
	out := s.turn(ReadIndex{Ticket: 1})
	require.Empty(t, only[*rpc.HeartbeatCommand](out.Send), "its commit index may be behind: no round begins")
	out = s.ack("n2", 3)
	require.Equal(t, []*rpc.HeartbeatCommand{{Commit: 3, Read: 1}}, only[*rpc.HeartbeatCommand](out.Send))
	require.Empty(t, s.hear("n2", 2, &rpc.HeartbeatReturn{Read: 1, Last: 3}).Reads)
	require.False(t, s.Status().Serving)
	require.Equal(t, []Read{{Ticket: 1}}, s.turn(ApplyDone{3}).Reads, "served at the new term's first entry")
	require.True(t, s.Status().Serving)
}

func TestK44RoundsNeverRepeat(t *testing.T) {
	s := established(t, 3)
	s.turn(ReadIndex{Ticket: 1})
	s.turn(Resign{})
	require.Equal(t, []Read{{Ticket: 1, Refusal: RefusedNotLeader}}, s.out.Reads)

	s.tickFor(100)
	s.hear("n2", 3, preGranted())
	s.synced()
	s.hear("n2", 3, granted())
	s.synced()
	s.ack("n2", 4)
	s.turn(ApplyDone{4})
	out := s.turn(ReadIndex{Ticket: 2})
	require.Equal(t, uint64(2), only[*rpc.HeartbeatCommand](out.Send)[0].Read)
	require.Empty(t, s.hear("n2", 3, &rpc.HeartbeatReturn{Read: 1, Last: 4}).Reads, "the round of another office")
	require.Empty(t, s.hear("n2", 2, &rpc.HeartbeatReturn{Read: 2, Last: 4}).Reads, "an answer of another term")
	require.Equal(t, []Read{{Ticket: 2}}, s.hear("n2", 3, &rpc.HeartbeatReturn{Read: 2, Last: 4}).Reads)
}

func TestK44ReadNeedsARoundBegunAfterIt(t *testing.T) {
	s := established(t, 3)
	s.turn(ReadIndex{Ticket: 1})
	out := s.turn(ReadIndex{Ticket: 2})
	require.Empty(t, out.Send, "a round is under way; it began before this read")
	out = s.hear("n2", 2, &rpc.HeartbeatReturn{Read: 1, Last: 3})
	require.Equal(t, []Read{{Ticket: 1}}, out.Reads)
	require.Equal(t, uint64(2), only[*rpc.HeartbeatCommand](out.Send)[0].Read)
	require.Empty(t, s.hear("n3", 2, &rpc.HeartbeatReturn{Read: 1, Last: 3}).Reads, "a late answer to the first round")
	require.Equal(t, []Read{{Ticket: 2}}, s.hear("n3", 2, &rpc.HeartbeatReturn{Read: 2, Last: 3}).Reads)
}

// A read that waits for the next round is answered too when there will be none.
func TestReadsOfADeposedLeaderAreRefused(t *testing.T) {
	s := established(t, 3)
	s.turn(ReadIndex{Ticket: 1})
	s.turn(ReadIndex{Ticket: 2})
	require.Equal(t, []Read{{Ticket: 1, Refusal: RefusedNotLeader}, {Ticket: 2, Refusal: RefusedNotLeader}}, s.hear("n2", 9, &rpc.HeartbeatReturn{}).Reads)
}

// One that is confirmed needs no office any more, only the state: it is answered, and by what is applied (L9).
func TestAConfirmedReadOutlivesTheOffice(t *testing.T) {
	s := established(t, 3)
	s.turn(Propose{Proposals: make([]Proposal, 1)})
	s.synced()
	s.ack("n2", 4)
	s.turn(ReadIndex{Ticket: 1})
	s.hear("n2", 2, &rpc.HeartbeatReturn{Read: 1, Last: 4})
	require.Empty(t, s.turn(Resign{}).Reads)
	require.Equal(t, []Read{{Ticket: 1}}, s.turn(ApplyDone{4}).Reads)
}

// answering keeps a leader's heartbeats answered for some ticks.
func (s *solo) answering(ticks int) {
	s.t.Helper()
	for range ticks {
		for _, m := range s.turn(Tick{}).Send {
			if beat, ok := m.Body.(*rpc.HeartbeatCommand); ok && s.role == Leader {
				s.Step(from2(m.To, s.id, s.hard.Term, &rpc.HeartbeatReturn{Read: beat.Read, Last: s.log.last}))
			}
		}
	}
}

func TestK47LeaderWithAHungDiskStepsDown(t *testing.T) {
	s := established(t, 3)
	s.turn(Propose{Proposals: []Proposal{{Ticket: 1}}})
	s.ack("n2", 4)
	s.ack("n3", 4)
	s.answering(399)
	require.Equal(t, Leader, s.role)
	s.answering(2)
	require.Equal(t, Follower, s.role, "its peers answer every heartbeat and hold every entry; its own disk hangs for 2 E")
}

func TestK55SingleNodeCommitsNothingBeforeItsSync(t *testing.T) {
	c := start(rpc.HardState{Term: 1})
	c.Configurations = []rpc.Configuration{table("n1")}
	s := newSolo(t, c)
	s.tickFor(100)
	require.Equal(t, Candidate, s.role, "its own vote is not durable")
	s.synced()
	require.Equal(t, Leader, s.role)
	s.turn(Propose{Proposals: []Proposal{{Ticket: 1}}})
	require.Zero(t, s.commit)
	require.Equal(t, Apply{From: 1, To: 2, Entries: s.log.cached(1, 3, 99)}, s.synced().Apply)
}

// mesh is a quiet world of three or more nodes with a leader and a client.
func mesh(t *testing.T, seed uint64, ids ...rpc.NodeID) *world {
	w := newWorld(t, rand.New(rand.NewPCG(seed, 7)), table(ids...))
	w.fatal = t
	w.bootAll()
	w.request()
	require.True(t, w.runUntil(5_000, w.committedSince(0)), "seed %d: no leader", seed)
	return w
}

// leader is the node that leads the latest term.
func (w *world) leader() (best *member) {
	for _, m := range w.list {
		if m.core != nil && m.core.role == Leader && (best == nil || m.core.hard.Term > best.core.hard.Term) {
			best = m
		}
	}
	return best
}

// cutBoth cuts the links between two nodes.
func (w *world) cutBoth(a, b rpc.NodeID) {
	w.cut[pair{a, b}], w.cut[pair{b, a}] = true, true
}

func never() bool { return false }

func TestK58PartialMeshDoesNotChurn(t *testing.T) {
	w := mesh(t, 1, "n1", "n2", "n3")
	old := w.leader().id
	for _, m := range w.list {
		if m.id != old {
			w.cutBoth(old, m.id) // the leader keeps one follower only
			break
		}
	}
	w.runUntil(w.now+8_000, never)
	term, mark := w.leader().core.hard.Term, w.ticket
	w.runUntil(w.now+60_000, never)
	require.Equal(t, term, w.leader().core.hard.Term, "one election in a minute is one too many")
	require.True(t, w.committedSince(mark)())
}

func TestK58BridgeOfFive(t *testing.T) {
	w := mesh(t, 2, "n1", "n2", "n3", "n4", "n5")
	for _, a := range []rpc.NodeID{"n1", "n2"} {
		for _, b := range []rpc.NodeID{"n4", "n5"} {
			w.cutBoth(a, b) // n3 alone hears all
		}
	}
	w.runUntil(w.now+8_000, never)
	term, mark := w.leader().core.hard.Term, w.ticket
	w.runUntil(w.now+60_000, never)
	require.Equal(t, term, w.leader().core.hard.Term)
	require.True(t, w.committedSince(mark)())
}

func TestK60LiveHeartbeatsDoNotKeepALeaderThatMakesNoProgress(t *testing.T) {
	s := established(t, 3)
	s.turn(Propose{Proposals: []Proposal{{Ticket: 1}}})
	s.synced()
	s.answering(199)
	require.Equal(t, Leader, s.role)
	s.answering(2)
	require.Equal(t, Follower, s.role, "no append was acknowledged for an election timeout")
}

// While so many disks are full that no majority takes anything, no other leader could do more, and a vote would wait behind what waits: the leader stays, for
// what can be read (F21). Also if its own log has no place for what waits, which hangs otherwise (K47).
func TestALeaderStaysWhileTheDisksOfAMajorityAreFull(t *testing.T) {
	full, waits := []Event{Pinged{Peer: "n2", NoRoom: true}, Pinged{Peer: "n3", NoRoom: true}}, Propose{Proposals: []Proposal{{Ticket: 1}}}
	cases := map[string]struct {
		events []Event
		synced bool
		stays  bool
	}{
		"its peers'":                       {full, true, true},
		"its peers', and its own hangs":    {full, false, false},
		"one peer's":                       {full[:1], true, false},
		"its own and a peer's":             {[]Event{WriteWaits{ForRoom: true}, full[0]}, false, true},
		"its own":                          {[]Event{WriteWaits{ForRoom: true}}, false, false},
		"its own and a peer's, for a time": {[]Event{WriteWaits{ForRoom: true}, full[0], WriteWaits{}}, false, false},
	}
	for name, c := range cases {
		s := established(t, 3)
		s.turn(c.events...)
		s.turn(waits)
		if c.synced {
			s.synced()
		}
		s.answering(500)
		require.Equal(t, c.stays, s.role == Leader, name)
	}
	s := inOffice(t, table("n1"))
	s.turn(WriteWaits{ForRoom: true}, waits)
	s.answering(500)
	require.Equal(t, Leader, s.role, "alone")
	s.turn(WriteWaits{})
	s.answering(300)
	require.Equal(t, Leader, s.role, "much is to be written")
	s.answering(200)
	require.NotEqual(t, Leader, s.role, "its disk hangs")

	s = established(t, 3) // that a disk is full says not yet that a log has no place
	s.turn(WriteWaits{ForRoom: true}, full[0])
	s.turn(waits)
	s.ack("n2", 4)
	s.ack("n3", 4)
	require.NotEmpty(t, s.Successor())
	s.answering(500)
	require.NotEqual(t, Leader, s.role, "what the others have committed it cannot apply")

	s = lead(t, start(rpc.HardState{Term: 1}))
	s.turn(full...)
	s.answering(500)
	require.NotEqual(t, Leader, s.role, "who has committed nothing in its term is not read from")
	require.Zero(t, s.commit-s.office.first)
}

func TestK60AnIdleLeaderStays(t *testing.T) {
	s := established(t, 3)
	s.answering(2_000)
	require.Equal(t, Leader, s.role)
	s.turn(Propose{Proposals: []Proposal{{Ticket: 1}}})
	s.answering(100)
	require.Equal(t, Leader, s.role, "the wait begins with the entry, not with the last commit")
}

func TestK61NodeWithAHungDiskDoesNotCampaign(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	s.hear("n2", 1, &rpc.AppendLogCommand{Entries: run(1, 1)})
	for range 8 {
		s.tickFor(50)
		s.hear("n2", 1, &rpc.HeartbeatCommand{})
	}
	require.Empty(t, only[*rpc.RequestVoteCommand](s.tickFor(1_000)))
	ask := &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 1, Index: 1}, PreVote: true}
	granted := func() bool {
		s.hear("n3", 2, ask)
		return only[*rpc.RequestVoteReturn](append(s.out.Send, s.out.SendAfterSync...))[0].Granted
	}
	require.False(t, granted(), "nor says that it would vote: it could not, with that disk")
	s.synced()
	require.True(t, granted())
	require.NotEmpty(t, only[*rpc.RequestVoteCommand](s.tickFor(1)))
}

func TestK63OutOnlyLeaderStepsDown(t *testing.T) {
	w := mesh(t, 3, "n1", "n2", "n3")
	old := w.leader()
	for _, m := range w.list {
		w.cut[pair{m.id, old.id}] = true // it speaks and hears nothing
	}
	mark := w.ticket
	w.runUntil(w.now+msPerTick*w.ticks.ElectionMin+50, never)
	require.NotEqual(t, Leader, old.core.role)
	require.True(t, w.runUntil(w.now+3_000, w.committedSince(mark)), "and another takes over")
}
