package raft

// A core alone: the test plays its disk, its state machine, its bus and all of its peers. For tests that look at what one
// node does with one event. It holds no scenario of its own.

import (
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

// fixedDice always shows the same number: timeouts are ElectionMin + fixedDice.
type fixedDice int

func (d fixedDice) IntN(n int) int {
	if n <= 0 {
		panic("no number is in an empty range")
	}
	return min(int(d), n-1)
}

// table makes a configuration of voters.
func table(ids ...rpc.NodeID) rpc.Configuration {
	return rpc.Configuration{Voters: members(ids...)}
}

func members(ids ...rpc.NodeID) []rpc.Member {
	list := make([]rpc.Member, len(ids))
	for i, id := range ids {
		list[i] = rpc.Member{ID: id}
	}
	return list
}

// start is what n1 of three remembers: a hard state, and a log given by the terms of its entries.
func start(hs rpc.HardState, terms ...rpc.Term) Config {
	c := Config{
		ID: "n1", Configurations: []rpc.Configuration{table("n1", "n2", "n3")}, HardState: hs,
		Ticks: defaultTicks(), Limits: DefaultLimits(), Random: fixedDice(0),
	}
	for i, t := range terms {
		if i == 0 || terms[i-1] != t {
			c.Terms = append(c.Terms, rpc.TermRun{First: rpc.Index(i + 1), Term: t})
		}
		c.Last = rpc.EntryID{Term: t, Index: rpc.Index(i + 1)}
	}
	return c
}

// at makes an entry: a command whose data names its term and index.
func at(term rpc.Term, index rpc.Index) rpc.Entry {
	id := rpc.EntryID{Term: term, Index: index}
	return rpc.Entry{Index: index, Term: term, Kind: rpc.EntryCommand, Data: []byte(id.String())}
}

// run makes the entries from first on, by their terms.
func run(first rpc.Index, terms ...rpc.Term) []rpc.Entry {
	list := make([]rpc.Entry, len(terms))
	for i, t := range terms {
		list[i] = at(t, first+rpc.Index(i))
	}
	return list
}

// solo is a core and what it said last.
type solo struct {
	*Core
	t   testing.TB
	out *Effects
}

func newSolo(t testing.TB, c Config) *solo {
	s := &solo{Core: New(c), t: t}
	s.turn(BusChanged{Up: true}, LinkChanged{"n2", true}, LinkChanged{"n3", true})
	return s
}

// turn steps the events, all in one turn.
func (s *solo) turn(events ...Event) *Effects {
	s.t.Helper()
	defer failOnBroken(s.t)
	for _, e := range events {
		s.Step(e)
	}
	s.out = s.Effects()
	return s.out
}

// failOnBroken, deferred, fails a test for a broken promise instead of ending all tests.
func failOnBroken(t testing.TB) {
	t.Helper()
	switch wrong := recover().(type) {
	case nil:
	case broken, *InvariantError:
		t.Fatal(wrong)
	default:
		panic(wrong)
	}
}

// hear brings a message from a peer.
func (s *solo) hear(from rpc.NodeID, term rpc.Term, body rpc.Body) *Effects {
	s.t.Helper()
	return s.turn(from2(from, s.id, term, body))
}

func from2(from, to rpc.NodeID, term rpc.Term, body rpc.Body) Received {
	return Received{rpc.Message{From: from, To: to, Term: term, Body: body}}
}

// synced completes all writes.
func (s *solo) synced() *Effects { s.t.Helper(); return s.turn(DiskDone{s.log.seq}) }

// ticks lets time pass, one turn per tick, and returns all messages sent at once meanwhile.
func (s *solo) tickFor(n int) (sent []rpc.Message) {
	s.t.Helper()
	for range n {
		sent = append(sent, s.turn(Tick{}).Send...)
	}
	return sent
}

// lead makes the core leader of the next term, with its disk idle and its first entry neither acknowledged nor committed.
func lead(t testing.TB, c Config) *solo {
	s := newSolo(t, c)
	s.tickFor(c.Ticks.ElectionMin)
	term := s.hard.Term + 1
	if s.role == PreCandidate {
		s.hear("n2", term, &rpc.RequestVoteReturn{PreVote: true, Granted: true})
	}
	s.synced()
	if s.role == Candidate {
		s.hear("n2", term, &rpc.RequestVoteReturn{Granted: true})
	}
	s.synced()
	require.Equal(t, Leader, s.role)
	return s
}

// ack brings n2's or n3's word that it holds the log up to match.
func (s *solo) ack(from rpc.NodeID, match rpc.Index) *Effects {
	s.t.Helper()
	return s.hear(from, s.hard.Term, &rpc.AppendLogReturn{Accepted: true, Match: match})
}

// established is a leader of term 2 with n2 and n3 in step, its log at 'n' entries, all committed and applied.
func established(t testing.TB, n int) *solo {
	terms := make([]rpc.Term, n-1)
	for i := range terms {
		terms[i] = 1
	}
	s := lead(t, start(rpc.HardState{Term: 1}, terms...))
	s.ack("n2", rpc.Index(n))
	s.ack("n3", rpc.Index(n))
	for s.applied < s.commit {
		s.turn(ApplyDone{s.applying})
	}
	return s
}

// to picks what was sent to one peer.
func to(id rpc.NodeID, list []rpc.Message) (bodies []rpc.Body) {
	for _, m := range list {
		if m.To == id {
			bodies = append(bodies, m.Body)
		}
	}
	return bodies
}

// only picks the bodies of one kind.
func only[B rpc.Body](list []rpc.Message) (bodies []B) {
	for _, m := range list {
		if b, ok := m.Body.(B); ok {
			bodies = append(bodies, b)
		}
	}
	return bodies
}
