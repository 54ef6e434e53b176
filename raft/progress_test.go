package raft

// What a leader does for a peer that is behind: nothing that was lost, late or answered twice may end replication (K62).

import (
	"slices"
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

// behind is a leader of eight entries that keeps none of the first seven in memory, probing n2 at entry 3.
func behind(t *testing.T) *solo {
	s := lead(t, start(rpc.HardState{Term: 1}, 1, 1, 1, 1, 1, 1, 1))
	out := s.hear("n2", 2, &rpc.AppendLogReturn{Prev: 7, Hint: rpc.EntryID{Term: 1, Index: 2}})
	require.Equal(t, []Load{{Peer: "n2", Term: 2, From: 3, To: 9, MaxBytes: s.office.peers["n2"].window.message(&s.limits)}}, out.Loads)
	return s
}

// Of small entries more fit in the bytes of a message than it may have: a load of so many would be refused by who gets it, for ever (K26).
func TestK26LoadsOfSmallEntriesFitInAMessage(t *testing.T) {
	s := lead(t, start(rpc.HardState{Term: 1}, slices.Repeat([]rpc.Term{1}, 3*rpc.SmallEntries)...))
	out := s.hear("n2", 2, &rpc.AppendLogReturn{Prev: 3 * rpc.SmallEntries, Hint: rpc.EntryID{Term: 1, Index: 2}})
	require.Len(t, out.Loads, 1)
	require.Equal(t, rpc.Index(3), out.Loads[0].From)
	require.Equal(t, rpc.Index(3+rpc.SmallEntries), out.Loads[0].To)
}

// So do entries that are still in memory (K26).
func TestK26SmallEntriesInMemoryFitInMessages(t *testing.T) {
	s := established(t, 5)
	const n = 3*rpc.SmallEntries - 1
	for _, p := range s.office.peers {
		p.window.size = s.limits.FlyingBytesMax
	}
	total := 0
	for _, m := range only[*rpc.AppendLogCommand](s.turn(Propose{Proposals: make([]Proposal, n)}).Send) {
		require.LessOrEqual(t, len(m.Entries), rpc.SmallEntries)
		total += len(m.Entries)
	}
	require.Equal(t, 2*n, total, "to two peers")
}

func TestK62LoadOvertakenByAnAckIsAskedAgain(t *testing.T) {
	s := behind(t)
	out := s.ack("n2", 5)
	require.Len(t, out.Loads, 1)
	require.Equal(t, rpc.Index(6), out.Loads[0].From)
	again := out.Loads[0]

	old := s.turn(Loaded{Load: Load{Peer: "n2", Term: 2, From: 3}, Entries: run(3, 1, 1, 1, 1, 1)})
	require.Empty(t, only[*rpc.AppendLogCommand](old.Send), "what was loaded for the old place is of no use")
	out = s.turn(Loaded{Load: again, Entries: run(6, 1, 1)})
	sent := only[*rpc.AppendLogCommand](out.Send)
	require.Len(t, sent, 2, "the loaded entries, then what is in memory")
	require.Equal(t, rpc.EntryID{Term: 1, Index: 5}, sent[0].Prev)
	require.Equal(t, rpc.EntryID{Term: 1, Index: 7}, sent[1].Prev)
}

func TestK62EmptyLoadIsAskedAgainAtTheNextHeartbeat(t *testing.T) {
	s := behind(t)
	load := s.out.Loads[0]
	require.Empty(t, s.turn(Loaded{Load: load}).Loads, "asked again at once: the loop would spin")
	loads := 0
	for range 2 * s.Core.ticks.Heartbeat {
		loads += len(s.turn(Tick{}).Loads)
	}
	require.Equal(t, 1, loads)
}

// A follower that restarts forgets how far it matched its leader. If nothing is written it must learn it nevertheless, or it
// never applies what it missed.
func TestRestartedFollowerOfAnIdleLeaderLearnsTheCommit(t *testing.T) {
	leader := established(t, 5)
	c := start(rpc.HardState{Term: 2}, 1, 1, 1, 1, 2)
	c.ID = "n2"
	follower := newSolo(t, c)
	for range 6 * leader.Core.ticks.Heartbeat {
		leader.turn(Tick{})
		for _, m := range leader.out.Send {
			if m.To != "n2" {
				leader.turn(from2(m.To, "n1", 2, &rpc.HeartbeatReturn{Last: 5}))
				continue
			}
			for _, answer := range follower.turn(Received{m}).Send {
				answer.To, answer.From = "n1", "n2"
				leader.Step(Received{answer})
			}
		}
	}
	require.Equal(t, rpc.Index(5), follower.commit)
}

func TestProgressOfADisconnectedPeerWaitsForItsLink(t *testing.T) {
	s := established(t, 5)
	s.turn(LinkChanged{"n2", false})
	out := s.turn(Propose{Proposals: []Proposal{{Ticket: 1, Data: []byte("x")}}})
	require.Empty(t, to("n2", out.Send))
	require.Len(t, to("n3", out.Send), 1)
	out = s.turn(LinkChanged{"n2", true})
	sent := only[*rpc.AppendLogCommand](out.Send)
	require.Len(t, sent, 1)
	require.Equal(t, rpc.EntryID{Term: 2, Index: 5}, sent[0].Prev)
}

// Before the logs are known to match anywhere, a link that comes and goes must not send the leader back to entry 1: it may
// be long gone from the log, and that peer would be given up.
func TestFlappingLinkDoesNotMoveTheProbe(t *testing.T) {
	c := start(rpc.HardState{Term: 1}, 1, 1, 1, 1, 1)
	c.Base, c.Applied, c.Terms = rpc.EntryID{Term: 1, Index: 3}, 3, []rpc.TermRun{{First: 4, Term: 1}}
	s := lead(t, c)
	s.turn(LinkChanged{"n2", false})
	out := s.turn(LinkChanged{"n2", true})
	require.Empty(t, out.Facts)
	require.Equal(t, rpc.EntryID{Term: 1, Index: 5}, to("n2", out.Send)[0].(*rpc.AppendLogCommand).Prev)
}

func TestLoadOfAnEarlierOfficeIsOfNoUse(t *testing.T) {
	s := behind(t)
	old := s.out.Loads[0]
	old.Term = 1
	require.Empty(t, s.turn(Loaded{Load: old, Entries: run(3, 1)}).Send)
	old.Term = 2
	require.NotEmpty(t, s.turn(Loaded{Load: old, Entries: run(3, 1)}).Send)
}

// While entries were read from the disk the way may have been lost: they are asked for again when it is back.
func TestWhatWasLoadedForALostWayIsNotSent(t *testing.T) {
	s := behind(t)
	load := s.out.Loads[0]
	s.office.peers["n2"].connected = false
	require.Empty(t, s.turn(Loaded{Load: load, Entries: run(3, 1)}).Send)
	require.Equal(t, []Load{load}, s.turn(LinkChanged{"n2", true}).Loads)
}

// What peers at one place of the log get is in the same memory, so that a driver sees that it is the same, and encodes it once.
func TestPeersAtOnePlaceGetTheSameEntries(t *testing.T) {
	s := established(t, 5)
	sent := only[*rpc.AppendLogCommand](s.turn(Propose{Proposals: []Proposal{{Data: []byte("a")}, {Data: []byte("b")}}}).Send)
	require.Len(t, sent, 2)
	require.Len(t, sent[0].Entries, 2)
	require.Equal(t, sent[0], sent[1])
	require.Same(t, &sent[0].Entries[0], &sent[1].Entries[0])
}

// With one message for all, a CommitLog says the same to a peer that has answered and to one that has not yet; it is never ahead of
// what was sent, and is not said twice.
func TestTogetherAllAreToldOfACommitAtOnce(t *testing.T) {
	c := start(rpc.HardState{Term: 1}, 1, 1)
	c.Multicast = true
	s := lead(t, c)
	s.ack("n2", 3)
	s.ack("n3", 3)
	s.turn(Propose{Proposals: []Proposal{{Data: []byte("a")}}})
	s.synced()
	want := &rpc.CommitLogCommand{Commit: 4}
	sent := only[*rpc.CommitLogCommand](s.ack("n2", 4).Send)
	require.Equal(t, []*rpc.CommitLogCommand{want, want}, sent)
	require.Empty(t, only[*rpc.CommitLogCommand](s.ack("n3", 4).Send))
}

// slow is a leader of three entries that n3 has, of which n2 was sent the last two again, since no answer came.
func slow(t *testing.T) *solo {
	s := established(t, 1)
	s.turn(Propose{Proposals: []Proposal{{Ticket: 1}, {Ticket: 2}}})
	s.synced()
	s.ack("n3", 3)
	s.turn(Failed{"n2", rpc.MethodAppendLog, 3})
	s.awaitEntries()
	return s
}

// awaitEntries lets time pass, in which n3 answers, until n2 is sent entries, and returns how many ticks that took.
func (s *solo) awaitEntries() (ticks uint64) {
	for {
		ticks++
		out := s.turn(Tick{})
		for _, m := range to("n2", out.Send) {
			if cmd, is := m.(*rpc.AppendLogCommand); is && len(cmd.Entries) > 0 {
				return ticks
			}
		}
		s.hear("n3", s.hard.Term, &rpc.HeartbeatReturn{Last: s.log.last})
		require.Equal(s.t, Leader, s.role)
		require.Less(s.t, ticks, uint64(10_000))
	}
}

// Over a slow way entries take longer than a heartbeat. They are not sent again with each, which would keep all else from arriving, but
// after twice as long each time, and after eight at most: a loss costs no more.
func TestWhatIsNotAnsweredIsSentAgainLessAndLess(t *testing.T) {
	s := slow(t)
	for _, wait := range []uint64{1, 2, 4, 8, 8} {
		require.Equal(t, wait*uint64(s.Core.ticks.Heartbeat), s.awaitEntries())
	}
}

// A heartbeat's answer says that what is being probed has arrived: it is not sent again, whenever its own answer comes, and what follows is.
func TestWhatHasArrivedIsNotSentAgain(t *testing.T) {
	s := slow(t)
	require.Equal(t, rpc.Index(3), s.log.last)
	out := s.hear("n2", s.hard.Term, &rpc.HeartbeatReturn{Last: 3})
	sent := only[*rpc.AppendLogCommand](out.Send)
	require.Len(t, sent, 1)
	require.Equal(t, &rpc.AppendLogCommand{Prev: s.log.lastID(), Commit: s.commit}, sent[0], "nothing but what has its answer attest it")
	require.Equal(t, rpc.Index(1), s.office.peers["n2"].match, "a heartbeat attests nothing")
	out = s.hear("n2", s.hard.Term, &rpc.HeartbeatReturn{Last: 9})
	require.Empty(t, only[*rpc.AppendLogCommand](out.Send), "of a log that this leader has not")
	s.ack("n2", 3)
	require.Equal(t, rpc.Index(3), s.office.peers["n2"].match)
	require.True(t, s.office.peers["n2"].replicating)
}

// What has arrived, says a heartbeat's answer, and whose own answer does not come, is asked for after half an election timeout: nothing else attests it. It
// is not sent again, and the window stays: the way has carried it, whether the answer is lost or the disk is slow (L7).
func TestAnAnswerThatIsLostIsAskedFor(t *testing.T) {
	s := established(t, 1)
	s.turn(Propose{Proposals: make([]Proposal, 1)})
	s.synced()
	s.ack("n3", 2)
	w := &s.office.peers["n2"].window
	w.size = 1 << 20
	again := func() []*rpc.AppendLogCommand {
		s.everyone(s.hard.Term, &rpc.HeartbeatReturn{Last: 2})
		return only[*rpc.AppendLogCommand](s.turn(Tick{}).Send)
	}
	for range s.Core.ticks.ElectionMin/2 - 1 {
		require.Empty(t, again())
	}
	var sent []*rpc.AppendLogCommand
	for range s.Core.ticks.Heartbeat + 1 {
		sent = append(sent, again()...)
	}
	require.Equal(t, []*rpc.AppendLogCommand{{Prev: s.log.lastID(), Commit: s.commit}}, sent)
	require.Equal(t, 1<<20, w.bytes(&s.limits))
	way := w.way
	s.ack("n2", 2)
	require.Greater(t, w.way, way, "patience goes by answers, disk and all")
	require.Empty(t, s.office.peers["n2"].flying)
}

// What has arrived is asked for, an answer to what came before it is late, and the one asked for is lost: it is asked for once more, also if nothing is
// written that would be. Where it is the one a quorum needs, the leader would step down otherwise.
func TestAnAnswerThatIsLostAfterALateOneIsAskedFor(t *testing.T) {
	s := slow(t)
	s.hear("n2", 2, &rpc.HeartbeatReturn{Last: 3})
	s.ack("n2", 2)
	asked := func(ticks int) (list []*rpc.AppendLogCommand) {
		for range ticks {
			list = append(list, only[*rpc.AppendLogCommand](s.turn(Tick{}).Send)...)
			s.everyone(2, &rpc.HeartbeatReturn{Last: 3})
		}
		return list
	}
	again := []*rpc.AppendLogCommand{{Prev: s.log.lastID(), Commit: s.commit}}
	require.Equal(t, again, asked(s.Core.ticks.ElectionMin/2+s.Core.ticks.Heartbeat))
	require.Equal(t, again, asked(s.Core.ticks.ElectionMin/2+s.Core.ticks.Heartbeat), "that was lost too")
	s.ack("n2", 3)
	require.Empty(t, asked(2*s.Core.ticks.ElectionMin))
}

// A call whose answer was lost fails two seconds later. A later answer has attested what it carried by then: nothing is amiss, and what is written goes on
// at once, in as large a window. Of what is not attested it says that it was lost (L7).
func TestACallThatFailsLateCostsNothing(t *testing.T) {
	s := established(t, 1)
	p := s.office.peers["n2"]
	s.put(1)
	lost := s.log.last
	s.put(1)
	s.ack("n2", s.log.last)
	s.put(1)
	p.window.size = 1 << 20
	s.turn(Failed{"n2", rpc.MethodAppendLog, lost})
	s.turn(Failed{"n2", rpc.MethodAppendLog, lost + 1})
	require.Equal(t, []rpc.NodeID{"n2", "n3"}, s.put(1))
	require.Equal(t, 1<<20, p.window.bytes(&s.limits))
	s.turn(Failed{"n2", rpc.MethodAppendLog, lost + 2})
	require.False(t, p.replicating)
	require.Equal(t, windowLeast, p.window.bytes(&s.limits))
	s.ack("n2", s.log.last)
	require.True(t, p.replicating)
}

// An empty AppendLog that probes what was attested before fails at once, as where too much is on its way: it is sent again when a heartbeat is due, once.
func TestAnEmptyProbeThatFailsIsSentAgain(t *testing.T) {
	s := established(t, 1)
	s.turn(LinkChanged{"n2", false})
	sent := only[*rpc.AppendLogCommand](s.turn(LinkChanged{"n2", true}).Send)
	for range 3 {
		require.Len(t, sent, 1)
		require.Equal(t, s.office.peers["n2"].match, sent[0].Last())
		require.Empty(t, only[*rpc.AppendLogCommand](s.turn(Failed{"n2", rpc.MethodAppendLog, sent[0].Last()}).Send))
		sent = only[*rpc.AppendLogCommand](s.tickFor(s.Core.ticks.Heartbeat))
	}
}

// While entries are read from the disk for a place, the peer may turn out to be beyond it: that ends the wait for them (K62).
func TestK62WhatIsLoadedForAPlaceThatIsPassedIsNotWaitedFor(t *testing.T) {
	s := behind(t)
	s.turn(Failed{"n2", rpc.MethodAppendLog, 8}) // of what was sent before
	out := s.hear("n2", 2, &rpc.HeartbeatReturn{Last: 5})
	require.Len(t, out.Loads, 1)
	require.Equal(t, rpc.Index(6), out.Loads[0].From)
}

// Entries that take longer than heartbeats on a slow way are not lost: while each answer says that more of them is in the peer's log, none is sent
// again. Once there is no more for two heartbeats the rest is.
func TestWhatIsStillComingInIsNotSentAgain(t *testing.T) {
	s := established(t, 1)
	s.turn(Propose{Proposals: make([]Proposal, 9)})
	s.synced()
	s.ack("n3", 10)
	wait := func(last rpc.Index) (again []*rpc.AppendLogCommand) {
		for range s.Core.ticks.Heartbeat {
			for _, m := range to("n2", s.turn(Tick{}).Send) {
				if cmd, is := m.(*rpc.AppendLogCommand); is {
					again = append(again, cmd)
				}
			}
			s.hear("n3", s.hard.Term, &rpc.HeartbeatReturn{Last: 10})
		}
		return append(again, only[*rpc.AppendLogCommand](s.hear("n2", s.hard.Term, &rpc.HeartbeatReturn{Last: last}).Send)...)
	}
	for last := range rpc.Index(4) {
		require.Empty(t, wait(2+last), "more has arrived")
	}
	require.Empty(t, wait(5))
	require.Empty(t, wait(5))
	require.NotEmpty(t, wait(5), "nothing more has for three heartbeats")
}

// F23, D3: a peer whose folder was copied while it ran, and put back, denies what it has acknowledged. It is asked again when a heartbeat is due, and
// no sooner, since it says the same each time; and whoever runs the cluster is told, once. The first refusals may be late ones.
func TestF23WhoDeniesWhatItAcknowledgedIsAskedWithPauses(t *testing.T) {
	s := established(t, 5)
	s.turn(Propose{Proposals: make([]Proposal, 1)})
	denial := &rpc.AppendLogReturn{Prev: 5, Hint: rpc.EntryID{Term: 1, Index: 2}}
	var told []uint64
	deny := func() {
		out := s.hear("n2", 2, denial)
		require.Empty(t, only[*rpc.AppendLogCommand](out.Send), "at once: for ever")
		for _, f := range out.Facts {
			require.Equal(t, AcknowledgedLost{Peer: "n2", Match: 5}, f)
			told = append(told, s.now)
		}
	}
	deny()
	deny()
	for n := range 4 {
		require.Equal(t, n > 1, len(told) == 1, "two that are late may come before and after it is asked anew")
		for beats, asked := 0, false; !asked; beats++ {
			asked = slices.ContainsFunc(to("n2", s.tickFor(1)), func(b rpc.Body) bool { _, is := b.(*rpc.AppendLogCommand); return is })
			require.LessOrEqual(t, beats, s.ticks.Heartbeat)
			s.hear("n3", 2, &rpc.HeartbeatReturn{})
		}
		deny()
	}
	require.Len(t, told, 1)
	require.Equal(t, rpc.Index(5), s.office.peers["n2"].match, "it goes no further back by itself: what is committed stands on it")
}
