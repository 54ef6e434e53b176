package raft

// Known bugs of replication and commit (fault model, section 6), each put to the core as a scenario.

import (
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

func TestK14OldTermsNeverCommitByCounting(t *testing.T) {
	c := start(rpc.HardState{Term: 3}, 1, 2, 2)
	c.Configurations = []rpc.Configuration{table("n1", "n2", "n3", "n4", "n5")}
	s := lead5(t, c)
	for _, id := range rpc.IDs(s.peers) {
		s.ack(id, 3)
	}
	require.Zero(t, s.commit)
	s.ack("n2", 4)
	require.Zero(t, s.commit, "two of five hold the entry of this term")
	s.ack("n3", 4)
	require.Equal(t, rpc.Index(4), s.commit)
}

// lead5 makes a leader of five.
func lead5(t *testing.T, c Config) *solo {
	s := newSolo(t, c)
	s.tickFor(c.Ticks.ElectionMin)
	term := s.hard.Term + 1
	for _, id := range rpc.IDs(s.peers) {
		s.hear(id, term, preGranted())
	}
	s.synced()
	for _, id := range rpc.IDs(s.peers) {
		s.hear(id, term, granted())
	}
	s.synced()
	require.Equal(t, Leader, s.role)
	return s
}

func TestK15EarlyOrShortAppendCutsNothing(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 2}))
	s.hear("n2", 2, &rpc.AppendLogCommand{Entries: run(1, 2, 2, 2, 2)})
	s.synced()
	for _, old := range []*rpc.AppendLogCommand{
		{}, {Entries: run(1, 2)}, {Prev: rpc.EntryID{Term: 2, Index: 1}, Entries: run(2, 2, 2)}, {Prev: rpc.EntryID{Term: 2, Index: 3}},
	} {
		out := s.hear("n2", 2, old)
		require.Zero(t, out.Write)
		match := old.Prev.Index + rpc.Index(len(old.Entries))
		require.Equal(t, []*rpc.AppendLogReturn{{Prev: old.Prev.Index, Accepted: true, Match: match}}, only[*rpc.AppendLogReturn](out.Send))
	}
	s.hear("n3", 1, &rpc.AppendLogCommand{Entries: run(1, 1)})
	require.Equal(t, rpc.EntryID{Term: 2, Index: 4}, s.log.lastID(), "nor does one of an earlier term")
}

func TestK16CommittedEntriesAreNeverCut(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 2}))
	s.hear("n2", 2, &rpc.AppendLogCommand{Entries: run(1, 1, 1, 1), Commit: 2})
	broken := func() {
		s.Step(from2("n3", "n1", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 1}, Entries: run(2, 3)}))
	}
	require.PanicsWithError(t, "raft invariant broken: entry 3/2 conflicts with committed 2; state "+
		"{ID:n1 Role:follower Term:3 Vote: Leader:n3 Commit:2 Applied:0 Base:0 Last:3 Synced:0 Serving:false}", broken)
	require.Equal(t, rpc.EntryID{Term: 1, Index: 3}, s.log.lastID())
}

func TestK17AckNamesWhatMatchedNotTheLastEntry(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 2}, 1, 1, 1, 1, 1))
	out := s.hear("n2", 2, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 1}, Entries: run(2, 1), Commit: 5})
	require.Equal(t, []*rpc.AppendLogReturn{{Prev: 1, Accepted: true, Match: 2}}, only[*rpc.AppendLogReturn](out.Send))
	require.Equal(t, rpc.Index(2), s.commit)
	beat := s.hear("n2", 2, &rpc.HeartbeatCommand{Commit: 5, Read: 9})
	require.Equal(t, rpc.Index(2), s.commit, "a heartbeat teaches no more than what matched")
	require.Equal(t, []*rpc.HeartbeatReturn{{Read: 9, Last: 2}}, only[*rpc.HeartbeatReturn](beat.Send))
	s.hear("n3", 3, &rpc.HeartbeatCommand{Commit: 5})
	require.Equal(t, rpc.Index(2), s.commit, "what matched an earlier leader says nothing of this one")
}

// One that stood itself, and lost, knows nothing of the log of the leader who won.
func TestK17WhatMatchedIsForgottenByWhoStands(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	s.hear("n2", 1, &rpc.AppendLogCommand{Entries: run(1, 1, 1, 1), Commit: 1})
	s.synced()
	require.Equal(t, rpc.Index(3), s.matched)
	s.tickFor(s.ticks.ElectionMin)
	s.hear("n2", 2, &rpc.RequestVoteReturn{PreVote: true, Granted: true})
	s.synced()
	require.Equal(t, Candidate, s.role)
	s.hear("n3", 2, &rpc.HeartbeatCommand{Commit: 3})
	require.Equal(t, rpc.Index(1), s.commit)
}

// A CommitLog is sent once. An AppendLog that comes twice, or late, unlearns nothing that the commit could be held against.
func TestK17WhatMatchedNeverFalls(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	first := &rpc.AppendLogCommand{Entries: run(1, 1)}
	s.hear("n2", 1, first)
	s.hear("n2", 1, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 1}, Entries: run(2, 1, 1)})
	s.hear("n2", 1, first)
	s.hear("n2", 1, &rpc.CommitLogCommand{Commit: 3})
	require.Equal(t, rpc.Index(3), s.commit)
}

func TestK18RefusalsAndOldAcksCommitNothing(t *testing.T) {
	s := lead(t, start(rpc.HardState{Term: 1}, 1, 1))
	s.hear("n2", 2, &rpc.AppendLogReturn{Prev: 3, Match: 3, Hint: rpc.EntryID{Term: 2, Index: 3}})
	s.hear("n3", 1, &rpc.AppendLogReturn{Accepted: true, Match: 3})
	require.Zero(t, s.commit)
	require.Zero(t, s.office.peers["n3"].match)
}

func TestK18LateRefusalUnlearnsNothing(t *testing.T) {
	s := established(t, 5)
	s.turn(Propose{Proposals: []Proposal{{Ticket: 1}}})
	s.hear("n2", 2, &rpc.AppendLogReturn{Prev: 2, Hint: rpc.EntryID{Term: 1, Index: 1}})
	require.Equal(t, rpc.Index(5), s.office.peers["n2"].match)
	require.True(t, s.office.peers["n2"].replicating)
	require.Empty(t, s.out.Send)
}

func TestK19StepDownKeepsTheLog(t *testing.T) {
	for _, down := range []Event{Resign{}, from2("n3", "n1", 9, &rpc.HeartbeatCommand{}), from2("n3", "n1", 9, &rpc.RequestVoteReturn{})} {
		s := established(t, 5)
		s.turn(Propose{Proposals: []Proposal{{Ticket: 1}, {Ticket: 2}}}, down)
		require.Equal(t, Follower, s.role)
		require.Equal(t, rpc.EntryID{Term: 2, Index: 7}, s.log.lastID())
		require.Len(t, s.out.Write.Entries, 2)
	}
}

func TestK20LearnersNeverMakeAQuorum(t *testing.T) {
	c := start(rpc.HardState{Term: 1})
	c.Configurations[0].Learners = members("n4", "n5")
	s := lead(t, c)
	s.ack("n4", 1)
	s.ack("n5", 1)
	require.Zero(t, s.commit)
	s.ack("n3", 1)
	require.Equal(t, rpc.Index(1), s.commit)

	s.turn(ReadIndex{Ticket: 1})
	s.turn(ApplyDone{1})
	for _, id := range []rpc.NodeID{"n4", "n5"} {
		require.Empty(t, s.hear(id, 2, &rpc.HeartbeatReturn{Read: 1}).Reads, "nor confirm a read")
	}
	require.Len(t, s.hear("n2", 2, &rpc.HeartbeatReturn{Read: 1}).Reads, 1)
}

func TestK21WhatWasHandedOutIsNeverRewritten(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	handed := s.hear("n2", 1, &rpc.AppendLogCommand{Entries: run(1, 1, 1, 1)}).Write.Entries
	s.hear("n3", 2, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 1}, Entries: run(2, 2)}) // there is room for it in the old array
	require.Equal(t, run(1, 1, 1, 1), handed)
	require.Equal(t, run(2, 2), s.log.cached(2, 5, 1<<20), "and the cache holds no entry that was cut")
	require.Equal(t, run(2, 2), s.out.Write.Entries)
}

func TestK22LateCompletionOfAnOverwrittenEntry(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	s.hear("n2", 1, &rpc.AppendLogCommand{Entries: run(1, 1, 1)})
	s.hear("n3", 2, &rpc.AppendLogCommand{Entries: run(1, 2)})
	s.hear("n2", 3, &rpc.AppendLogCommand{Entries: run(1, 1, 1), Commit: 2}) // the same again, as write 3
	s.turn(DiskDone{1})
	require.Zero(t, s.log.synced, "write 2 will replace what write 1 wrote")
	require.Zero(t, s.out.Apply)
	require.Empty(t, s.hear("n2", 3, &rpc.AppendLogCommand{Entries: run(1, 1, 1)}).Send)
	s.turn(DiskDone{2})
	require.Zero(t, s.log.synced)
	require.Equal(t, rpc.Index(2), s.turn(DiskDone{3}).Apply.To)
}

func TestK24AppendBelowTheLogStart(t *testing.T) {
	c := start(rpc.HardState{Term: 2})
	c.Base, c.Terms = rpc.EntryID{Term: 1, Index: 10}, []rpc.TermRun{{First: 11, Term: 2}}
	c.Last, c.Applied = rpc.EntryID{Term: 2, Index: 12}, 10
	for name, a := range map[string]struct {
		prev    rpc.EntryID
		entries []rpc.Entry
		last    rpc.Index
	}{
		"all forgotten":  {rpc.EntryID{Term: 1, Index: 3}, run(4, 1, 1), 12},
		"up to the base": {rpc.EntryID{Term: 1, Index: 8}, run(9, 1, 1), 12},
		"across it":      {rpc.EntryID{Term: 1, Index: 9}, run(10, 1, 2, 2, 2), 13},
		"empty, far off": {rpc.EntryID{}, nil, 12},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSolo(t, c)
			out := s.hear("n2", 2, &rpc.AppendLogCommand{Prev: a.prev, Entries: a.entries})
			acks := only[*rpc.AppendLogReturn](append(out.Send, out.SendAfterSync...))
			match := a.prev.Index + rpc.Index(len(a.entries))
			require.Equal(t, []*rpc.AppendLogReturn{{Prev: a.prev.Index, Accepted: true, Match: match}}, acks)
			require.Equal(t, a.last, s.log.last)
		})
	}
}

func TestK25NoProposalOutlivesAnOffice(t *testing.T) {
	s := established(t, 5)
	out := s.turn(Resign{}, Propose{Proposals: []Proposal{{Ticket: 1, Data: []byte("stale")}}})
	require.Equal(t, []Proposed{{Ticket: 1, Refusal: RefusedNotLeader}}, out.Proposed)
	s.tickFor(100)
	s.hear("n2", 3, preGranted())
	s.synced()
	s.hear("n2", 3, granted())
	require.Equal(t, Leader, s.role)
	require.Equal(t, rpc.Index(6), s.log.last, "the new term begins with its own entry and nothing else")
	require.Equal(t, rpc.EntryNoop, s.out.Write.Entries[0].Kind)
}

// converge lets a leader and a follower exchange appends until the logs match, and counts the exchanges.
func converge(t *testing.T, leader, follower *solo) int {
	for i := range 50 {
		sent := to("n2", leader.out.Send)
		if len(sent) == 0 || leader.office.peers["n2"].match == leader.log.last {
			return i
		}
		follower.turn(from2("n1", "n2", leader.hard.Term, sent[len(sent)-1]))
		list := append(follower.out.Send, follower.out.SendAfterSync...)
		follower.synced()
		leader.turn(from2("n2", "n1", leader.hard.Term, list[len(list)-1].Body))
	}
	t.Fatal("the logs never matched")
	return 0
}

func TestK26LongConflictConvergesOneTermPerExchange(t *testing.T) {
	long := func(terms ...rpc.Term) (list []rpc.Term) {
		for _, term := range terms {
			for range 100 {
				list = append(list, term)
			}
		}
		return list
	}
	for name, c := range map[string]struct {
		follower []rpc.Term
		most     int
	}{
		"behind": {long(1), 2}, "one foreign term": {long(1, 2), 3}, "three foreign terms": {long(1, 2, 3, 5), 5}, "nothing in common": {long(2, 3), 4}, "empty": {nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			leader := lead(t, start(rpc.HardState{Term: 7}, long(1, 4, 6)...))
			leader.limits.AppendBytesMax = 1 << 20
			reload(leader)
			cfg := start(rpc.HardState{Term: 7}, c.follower...)
			cfg.ID = "n2"
			follower := newSolo(t, cfg)
			require.LessOrEqual(t, converge(t, leader, follower), c.most)
			require.Equal(t, leader.log.runs, follower.log.runs)
		})
	}
}

// reload gives a leader its whole log in memory, and lets it probe anew.
func reload(s *solo) {
	var terms []rpc.Term
	for i := range s.log.last {
		t, _ := s.log.term(i + 1)
		terms = append(terms, t)
	}
	s.log.cache = run(1, terms...)
	s.turn(LinkChanged{"n2", false}, LinkChanged{"n2", true})
}
