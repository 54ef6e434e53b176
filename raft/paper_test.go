package raft

// The thesis (Ongaro, "Consensus: Bridging Theory and Practice", 2014), claim by claim: each test's comment cites the
// section it holds the core to. Where effects read well they are compared whole.

import (
	"math/rand/v2"
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

// send makes a message of n1's.
func send(to rpc.NodeID, term rpc.Term, body rpc.Body) rpc.Message {
	return rpc.Message{From: "n1", To: to, Term: term, Body: body}
}

// 3.3: "If a candidate or leader discovers that its term is out of date, it immediately reverts to follower state."
func TestPaper33LaterTermEndsEveryRole(t *testing.T) {
	for name, body := range map[string]rpc.Body{
		"heartbeat": &rpc.HeartbeatCommand{}, "heartbeat answer": &rpc.HeartbeatReturn{}, "append": &rpc.AppendLogCommand{},
		"append answer": &rpc.AppendLogReturn{}, "vote refused": &rpc.RequestVoteReturn{}, "pre-vote refused": &rpc.RequestVoteReturn{PreVote: true},
	} {
		t.Run(name, func(t *testing.T) {
			leader := established(t, 3)
			leader.hear("n3", 9, body)
			candidate := newSolo(t, start(rpc.HardState{Term: 1}))
			candidate.tickFor(100)
			candidate.hear("n3", 9, body)
			for _, s := range []*solo{leader, candidate} {
				require.Equal(t, Follower, s.role)
				require.Equal(t, rpc.HardState{Term: 9}, s.hard)
				require.Equal(t, &rpc.HardState{Term: 9}, s.out.Write.HardState)
			}
		})
	}
}

// 3.3: "If a server receives a request with a stale term number, it rejects the request."
func TestPaper33StaleTermIsRefused(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 5}, 1, 5))
	out := s.hear("n2", 4, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 1}, Entries: run(2, 4), Commit: 2})
	require.Equal(t, []rpc.Message{send("n2", 5, &rpc.AppendLogReturn{Prev: 1})}, out.Send)
	out = s.hear("n2", 4, &rpc.HeartbeatCommand{Commit: 2, Read: 3})
	require.Equal(t, []rpc.Message{send("n2", 5, &rpc.HeartbeatReturn{})}, out.Send)
	out = s.hear("n2", 4, &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 4, Index: 9}})
	require.Equal(t, []rpc.Message{send("n2", 5, &rpc.RequestVoteReturn{})}, out.Send)
	require.Empty(t, s.leader)
	require.Equal(t, rpc.EntryID{Term: 5, Index: 2}, s.log.lastID())
}

// 3.4: "When servers start up, they begin as followers", and remain so while they hear a leader.
func TestPaper34FollowsWhileItHearsALeader(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	require.Equal(t, Follower, s.role)
	for range 20 {
		s.tickFor(99)
		s.hear("n2", 1, &rpc.HeartbeatCommand{})
	}
	require.Equal(t, Follower, s.role)
	require.Equal(t, rpc.HardState{Term: 1}, s.hard)
}

// 3.4, 9.6: after an election timeout without a leader it asks first whether it would win, and changes nothing by asking.
func TestPaper96PreVoteChangesNothing(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}, 1))
	s.tickFor(99)
	require.Equal(t, Follower, s.role)
	out := s.turn(Tick{})
	ask := &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 1, Index: 1}, PreVote: true}
	require.Equal(t, []rpc.Message{send("n2", 2, ask), send("n3", 2, ask)}, out.Send)
	require.Zero(t, out.Write)
	require.Equal(t, rpc.HardState{Term: 1}, s.hard)

	voter := newSolo(t, start(rpc.HardState{Term: 1}, 1))
	out = voter.hear("n2", 2, ask)
	require.Equal(t, []rpc.Message{send("n2", 2, &rpc.RequestVoteReturn{PreVote: true, Granted: true})}, out.Send)
	require.Zero(t, out.Write)
	require.Equal(t, rpc.HardState{Term: 1}, voter.hard)
}

// 3.4: "a follower increments its current term and transitions to candidate state. It then votes for itself and issues
// RequestVote RPCs in parallel"; 3.8: its own vote is durable before.
func TestPaper34CandidateVotesForItselfAndAsksAll(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}, 1))
	s.tickFor(100)
	out := s.hear("n3", 2, &rpc.RequestVoteReturn{PreVote: true, Granted: true})
	ask := &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 1, Index: 1}}
	require.Equal(t, &Effects{
		Write:         Write{Seq: 1, HardState: &rpc.HardState{Term: 2, Vote: "n1"}},
		SendAfterSync: []rpc.Message{send("n2", 2, ask), send("n3", 2, ask)},
		Facts:         []Fact{RoleChanged{Candidate, 2, "a majority would vote for it"}},
	}, out)
}

// 3.4: "A candidate wins an election if it receives votes from a majority of the servers in the full cluster."
func TestPaper34MajorityWins(t *testing.T) {
	for _, c := range []struct {
		size, yes int
		wins      bool
	}{{1, 0, true}, {2, 0, false}, {2, 1, true}, {3, 0, false}, {3, 1, true}, {4, 1, false}, {4, 2, true}, {5, 1, false}, {5, 2, true}} {
		ids := []rpc.NodeID{"n1", "n2", "n3", "n4", "n5"}[:c.size]
		cfg := start(rpc.HardState{Term: 1})
		cfg.Configurations = []rpc.Configuration{table(ids...)}
		s := newSolo(t, cfg)
		s.tickFor(100)
		for _, id := range ids[1:] {
			s.hear(id, 2, &rpc.RequestVoteReturn{PreVote: true, Granted: true})
		}
		s.synced()
		for _, id := range ids[1 : 1+c.yes] {
			s.hear(id, 2, &rpc.RequestVoteReturn{Granted: true})
		}
		require.Equal(t, c.wins, s.role == Leader, "%+v", c)
	}
}

// 3.4: on election the leader sends heartbeats "to all of the other servers to establish its authority", and periodically.
func TestPaper34LeaderSpeaksAtOnceAndPeriodically(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	s.tickFor(100)
	s.hear("n2", 2, &rpc.RequestVoteReturn{PreVote: true, Granted: true})
	s.synced()
	out := s.hear("n2", 2, &rpc.RequestVoteReturn{Granted: true})
	noop := []rpc.Entry{{Index: 1, Term: 2, Kind: rpc.EntryNoop}}
	for _, id := range []rpc.NodeID{"n2", "n3"} {
		require.Equal(t, []rpc.Body{&rpc.HeartbeatCommand{}, &rpc.AppendLogCommand{Entries: noop}}, to(id, out.Send))
	}
	require.Empty(t, only[*rpc.HeartbeatCommand](s.tickFor(9)))
	require.Len(t, only[*rpc.HeartbeatCommand](s.tickFor(1)), 2)
}

// 3.4: a candidate that hears a leader of its own term recognizes it; of an earlier term it does not.
func TestPaper34CandidateYieldsToTheLeaderOfItsTerm(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	s.tickFor(100)
	s.hear("n2", 2, &rpc.RequestVoteReturn{PreVote: true, Granted: true})
	s.hear("n3", 1, &rpc.HeartbeatCommand{})
	require.Equal(t, Candidate, s.role)
	s.hear("n3", 2, &rpc.HeartbeatCommand{})
	require.Equal(t, Follower, s.role)
	require.Equal(t, rpc.NodeID("n3"), s.leader)
	require.Equal(t, rpc.NodeID("n1"), s.hard.Vote, "its vote stays")
}

// 3.4: "if many followers become candidates at the same time, votes could be split ... each candidate will time out and
// start a new election by incrementing its term".
func TestPaper34SplitVoteIsTriedAgain(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	s.tickFor(100)
	s.hear("n2", 2, &rpc.RequestVoteReturn{PreVote: true, Granted: true})
	s.synced()
	s.tickFor(20)
	require.Equal(t, Follower, s.role, "the campaign was given up")
	s.tickFor(5)
	require.Equal(t, PreCandidate, s.role)
	s.hear("n2", 3, &rpc.RequestVoteReturn{PreVote: true, Granted: true})
	require.Equal(t, rpc.HardState{Term: 3, Vote: "n1"}, s.hard)
}

// 3.4: "election timeouts are chosen randomly from a fixed interval", drawn anew for each wait.
func TestPaper34TimeoutsAreDrawnFromTheWholeInterval(t *testing.T) {
	c := start(rpc.HardState{Term: 1})
	c.Random = rand.New(rand.NewPCG(1, 1))
	s := newSolo(t, c)
	seen := map[uint64]bool{}
	for range 2_000 {
		s.restartTimer()
		seen[s.election.timeout] = true
		require.GreaterOrEqual(t, s.election.timeout, uint64(100))
		require.Less(t, s.election.timeout, uint64(200))
	}
	require.Len(t, seen, 100)
}

// 3.4: "Each server will vote for at most one candidate in a given term, on a first-come-first-served basis."
func TestPaper34FirstComeFirstServed(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	out := s.hear("n2", 2, &rpc.RequestVoteCommand{})
	require.Equal(t, &Effects{
		Write:         Write{Seq: 1, HardState: &rpc.HardState{Term: 2, Vote: "n2"}},
		SendAfterSync: []rpc.Message{send("n2", 2, &rpc.RequestVoteReturn{Granted: true})},
	}, out)
	s.synced()
	out = s.hear("n3", 2, &rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 1, Index: 9}})
	require.Equal(t, []rpc.Message{send("n3", 2, &rpc.RequestVoteReturn{})}, out.Send)
}

// 3.5: the leader appends, "then issues AppendEntries RPCs in parallel to each of the other servers"; 10.2.1: while it
// writes its own copy.
func TestPaper35LeaderReplicatesWhileItWrites(t *testing.T) {
	s := established(t, 5)
	out := s.turn(Propose{Clock: 7, Proposals: []Proposal{{Ticket: 1, Data: []byte("x")}, {Ticket: 2, Data: []byte("y")}}})
	entries := []rpc.Entry{
		{Index: 6, Term: 2, Kind: rpc.EntryCommand, Time: 7, Data: []byte("x")},
		{Index: 7, Term: 2, Kind: rpc.EntryCommand, Time: 7, Data: []byte("y")},
	}
	more := &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 2, Index: 5}, Commit: 5, Entries: entries}
	require.Equal(t, &Effects{
		Send:     []rpc.Message{send("n2", 2, more), send("n3", 2, more)},
		Write:    Write{Seq: s.log.seq, Entries: entries},
		Proposed: []Proposed{{Ticket: 1, ID: rpc.EntryID{Term: 2, Index: 6}}, {Ticket: 2, ID: rpc.EntryID{Term: 2, Index: 7}}},
	}, out)
}

// 3.5: "A log entry is committed once the leader that created the entry has replicated it on a majority of the servers."
func TestPaper35MajorityCommits(t *testing.T) {
	s := established(t, 5)
	s.turn(Propose{Proposals: []Proposal{{Ticket: 1}}})
	s.synced()
	require.Equal(t, rpc.Index(5), s.commit)
	out := s.ack("n3", 6)
	require.Equal(t, rpc.Index(6), s.commit)
	require.Equal(t, Apply{From: 6, To: 6, Entries: s.log.cached(6, 7, 1)}, out.Apply)
	require.Equal(t, []rpc.Body{&rpc.CommitLogCommand{Commit: 6}}, to("n3", out.Send), "who holds it may apply it at once")
	require.Empty(t, to("n2", out.Send), "who does not can do nothing with it")
}

// 10.2.1: "the leader may even commit an entry before it has been written to its own disk, if a majority of followers have".
func TestPaper1021FollowersCommitWithoutTheLeadersDisk(t *testing.T) {
	s := established(t, 5)
	s.turn(Propose{Proposals: []Proposal{{Ticket: 1}}})
	s.ack("n2", 6)
	require.Equal(t, rpc.Index(5), s.commit, "two of three, and its own copy is not durable")
	out := s.ack("n3", 6)
	require.Equal(t, rpc.Index(6), s.commit)
	require.Zero(t, out.Apply, "but the state machine never gets ahead of the log (design section 5)")
	require.Equal(t, rpc.Index(6), s.synced().Apply.To)
}

// 3.5: "If the follower does not find an entry in its log with the same index and term, then it refuses the new entries."
func TestPaper35FollowerRefusesWhatDoesNotFit(t *testing.T) {
	for name, c := range map[string]struct{ prev, hint rpc.EntryID }{
		"a gap":                       {rpc.EntryID{Term: 3, Index: 9}, rpc.EntryID{Term: 3, Index: 5}},
		"another term there":          {rpc.EntryID{Term: 2, Index: 4}, rpc.EntryID{Term: 1, Index: 2}},
		"a whole term to be skipped":  {rpc.EntryID{Term: 1, Index: 5}, rpc.EntryID{Term: 1, Index: 2}},
		"a term that it has not seen": {rpc.EntryID{Term: 2, Index: 2}, rpc.EntryID{Term: 1, Index: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSolo(t, start(rpc.HardState{Term: 4}, 1, 1, 3, 3, 3))
			out := s.hear("n2", 4, &rpc.AppendLogCommand{Prev: c.prev, Commit: 9, Entries: run(c.prev.Index+1, 4)})
			require.Equal(t, []rpc.Message{send("n2", 4, &rpc.AppendLogReturn{Prev: c.prev.Index, Hint: c.hint})}, out.Send)
			require.Equal(t, rpc.Index(0), s.commit)
			require.Zero(t, out.Write)
		})
	}
}

// 3.5: "If an existing entry conflicts with a new one (same index but different terms), delete the existing entry and all
// that follow it. Append any new entries not already in the log."
func TestPaper35FollowerReplacesOnlyWhatConflicts(t *testing.T) {
	for name, c := range map[string]struct {
		prev    rpc.EntryID
		entries []rpc.Term
		written []rpc.Entry
		log     []rpc.TermRun
		last    rpc.Index
	}{
		"all new":             {rpc.EntryID{Term: 2, Index: 3}, []rpc.Term{3, 3}, run(4, 3, 3), []rpc.TermRun{{First: 1, Term: 1}, {First: 3, Term: 2}, {First: 4, Term: 3}}, 5},
		"already there":       {rpc.EntryID{Term: 1, Index: 1}, []rpc.Term{1, 2}, nil, []rpc.TermRun{{First: 1, Term: 1}, {First: 3, Term: 2}}, 3},
		"partly there":        {rpc.EntryID{Term: 1, Index: 1}, []rpc.Term{1, 2, 3}, run(4, 3), []rpc.TermRun{{First: 1, Term: 1}, {First: 3, Term: 2}, {First: 4, Term: 3}}, 4},
		"conflict at the end": {rpc.EntryID{Term: 1, Index: 1}, []rpc.Term{1, 3}, run(3, 3), []rpc.TermRun{{First: 1, Term: 1}, {First: 3, Term: 3}}, 3},
		"conflict everywhere": {rpc.EntryID{}, []rpc.Term{3}, run(1, 3), []rpc.TermRun{{First: 1, Term: 3}}, 1},
		"shorter":             {rpc.EntryID{}, []rpc.Term{1}, nil, []rpc.TermRun{{First: 1, Term: 1}, {First: 3, Term: 2}}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSolo(t, start(rpc.HardState{Term: 3}, 1, 1, 2))
			out := s.hear("n2", 3, &rpc.AppendLogCommand{Prev: c.prev, Entries: run(c.prev.Index+1, c.entries...)})
			require.Equal(t, c.written, out.Write.Entries)
			require.Equal(t, c.log, s.log.runs)
			require.Equal(t, c.last, s.log.last)
			match := c.prev.Index + rpc.Index(len(c.entries))
			all := append(out.Send, out.SendAfterSync...)
			require.Equal(t, []rpc.Message{send("n2", 3, &rpc.AppendLogReturn{Prev: c.prev.Index, Accepted: true, Match: match})}, all)
		})
	}
}

// 3.5: "If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last new entry)"; and "Once a follower
// learns that a log entry is committed, it applies the entry".
func TestPaper35FollowerAppliesWhatItLearns(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}, 1, 1, 1))
	s.hear("n2", 1, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 1}, Entries: run(2, 1), Commit: 3})
	require.Equal(t, rpc.Index(2), s.commit)
	require.Equal(t, Apply{From: 1, To: 2}, s.out.Apply, "its log was read at the start: the state machine reads the entries itself")
	s.hear("n2", 1, &rpc.CommitLogCommand{Commit: 3})
	require.Equal(t, rpc.Index(2), s.commit, "entry 3 may not be the leader's")
}

// 3.6.1: "the voter denies its vote if its own log is more up-to-date than that of the candidate".
func TestPaper361ElectionRestriction(t *testing.T) {
	for _, c := range []struct {
		last  rpc.EntryID
		grant bool
	}{
		{rpc.EntryID{Term: 2, Index: 3}, true}, {rpc.EntryID{Term: 2, Index: 4}, true}, {rpc.EntryID{Term: 3, Index: 1}, true},
		{rpc.EntryID{Term: 2, Index: 2}, false}, {rpc.EntryID{Term: 1, Index: 9}, false}, {rpc.EntryID{}, false},
	} {
		for _, pre := range []bool{false, true} {
			s := newSolo(t, start(rpc.HardState{Term: 4}, 1, 1, 2))
			out := s.hear("n2", 5, &rpc.RequestVoteCommand{Last: c.last, PreVote: pre})
			answer := append(out.Send, out.SendAfterSync...)[0].Body.(*rpc.RequestVoteReturn)
			require.Equal(t, &rpc.RequestVoteReturn{Granted: c.grant, PreVote: pre}, answer, "%+v", c)
		}
	}
}

// 3.6.2, figure 3.7 (figure 8 of the paper): "Raft never commits log entries from previous terms by counting replicas."
func TestPaper362OldTermsCommitOnlyBehindTheOwn(t *testing.T) {
	s := lead(t, start(rpc.HardState{Term: 3}, 1, 2))
	s.ack("n2", 2)
	s.ack("n3", 2)
	require.Zero(t, s.commit, "entry 2 is everywhere, and could yet be replaced")
	s.ack("n2", 3)
	require.Equal(t, rpc.Index(3), s.commit)
}

// 3.7: "Raft RPCs are idempotent": what comes twice is answered twice and done once.
func TestPaper37RequestsAreIdempotent(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	again := &rpc.AppendLogCommand{Entries: run(1, 1, 1), Commit: 1}
	first := s.hear("n2", 1, again)
	require.Len(t, first.SendAfterSync, 1)
	s.synced()
	out := s.hear("n2", 1, again)
	require.Zero(t, out.Write)
	require.Equal(t, []rpc.Message{send("n2", 1, &rpc.AppendLogReturn{Accepted: true, Match: 2})}, out.Send)
}

// 3.8: "Each server persists its current term and vote ... before responding to RPCs", and new log entries.
func TestPaper38NothingIsAttestedBeforeItsSync(t *testing.T) {
	s := newSolo(t, start(rpc.HardState{Term: 1}))
	out := s.hear("n2", 2, &rpc.HeartbeatCommand{})
	require.Empty(t, out.Send, "the term is not durable yet")
	require.Len(t, out.SendAfterSync, 1)
	out = s.hear("n2", 2, &rpc.AppendLogCommand{Entries: run(1, 2)})
	require.Empty(t, out.Send)
	require.Len(t, out.SendAfterSync, 1)
	s.turn(DiskDone{1})
	require.Empty(t, s.hear("n2", 2, &rpc.AppendLogCommand{Entries: run(1, 2)}).Send, "the term is durable, the entry is not")
	s.turn(DiskDone{2})
	require.Len(t, s.hear("n2", 2, &rpc.AppendLogCommand{Entries: run(1, 2)}).Send, 1)
}

// 4.2.3: "if a server receives a RequestVote request within the minimum election timeout of hearing from a current leader, it
// does not update its term or grant its vote".
func TestPaper423VotersStickToALeaderTheyHear(t *testing.T) {
	for _, pre := range []bool{true, false} {
		s := newSolo(t, start(rpc.HardState{Term: 1}))
		s.hear("n2", 1, &rpc.HeartbeatCommand{})
		s.tickFor(99)
		out := s.hear("n3", 2, &rpc.RequestVoteCommand{PreVote: pre})
		require.Equal(t, []rpc.Message{send("n3", 1, &rpc.RequestVoteReturn{PreVote: pre})}, out.Send)
		require.Equal(t, rpc.HardState{Term: 1}, s.hard)
		require.Equal(t, rpc.NodeID("n2"), s.leader)
	}
}

// 6.2: "a leader in Raft steps down if an election timeout elapses without a successful round of heartbeats to a majority".
func TestPaper62LeaderWithoutAQuorumStepsDown(t *testing.T) {
	s := established(t, 3)
	for range 5 {
		s.tickFor(60)
		s.hear("n3", 2, &rpc.HeartbeatReturn{Last: 3})
	}
	require.Equal(t, Leader, s.role)
	s.tickFor(99)
	require.Equal(t, Leader, s.role)
	s.tickFor(1)
	require.Equal(t, Follower, s.role)
	require.Equal(t, rpc.HardState{Term: 2, Vote: "n1"}, s.hard)
}

// 6.4: a read waits for the first commit of the term, takes the commit index, confirms the leadership in a round of
// heartbeats begun after it arrived, and waits for the state machine.
func TestPaper64ReadIndexRound(t *testing.T) {
	s := established(t, 5)
	s.turn(Propose{Proposals: []Proposal{{Ticket: 1}}})
	s.synced()
	s.ack("n2", 6) // committed, not applied
	out := s.turn(ReadIndex{Ticket: 7}, ReadIndex{Ticket: 8})
	beats := only[*rpc.HeartbeatCommand](out.Send)
	require.Equal(t, []*rpc.HeartbeatCommand{{Commit: 6, Read: 1}}, beats, "one round for both, with as many as a quorum needs")
	require.Empty(t, out.Reads)
	beats = only[*rpc.HeartbeatCommand](s.turn(Tick{}).Send)
	require.Equal(t, []*rpc.HeartbeatCommand{{Commit: 6, Read: 1}, {Commit: 5, Read: 1}}, beats, "a tick later all who have not confirmed it are asked")
	require.Empty(t, s.hear("n3", 2, &rpc.HeartbeatReturn{Read: 1, Last: 5}).Reads, "confirmed at 6, which is not applied")
	require.Equal(t, []Read{{Ticket: 7}, {Ticket: 8}}, s.turn(ApplyDone{6}).Reads)
}

// 10.2.2: "the leader need not wait for acknowledgement before sending the next AppendEntries": pipelined once the logs match.
func TestPaper1022PipelinesUpToABound(t *testing.T) {
	s := established(t, 5)
	s.limits.FlyingMax = 3
	sent := 0
	for i := range uint64(10) {
		out := s.turn(Propose{Proposals: []Proposal{{Ticket: i}}})
		sent += len(only[*rpc.AppendLogCommand](out.Send))
	}
	require.Equal(t, 2*3, sent)
	more := only[*rpc.AppendLogCommand](s.ack("n2", 6).Send)
	require.Len(t, more, 1)
	require.Equal(t, rpc.EntryID{Term: 2, Index: 8}, more[0].Prev)
	require.Len(t, more[0].Entries, 7, "what waited leaves together")
}
