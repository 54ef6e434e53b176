package raft

// What contradicts a promise of the core stops the node, before anything is built on it.

import (
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

// brokenBy is how a node that does something breaks a promise; nil: it breaks none.
func brokenBy(do func()) (wrong *InvariantError) {
	defer func() { wrong, _ = recover().(*InvariantError) }()
	do()
	return nil
}

func TestABrokenPromiseStopsTheNode(t *testing.T) {
	misplaced := changing(3, at3(table("n1", "n2", "n3")))
	misplaced.Index = 2
	nobody := changing(3, at3(rpc.Configuration{Learners: members("n1", "n2")}))
	installing := func(terms ...rpc.Term) *solo {
		s := following(t, terms...)
		s.turn(stored(3, 4))
		return s
	}
	applying := installing(1)
	applying.applying++
	another := installing(1, 1, 1, 1)
	another.hear("n2", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 4}, Commit: 4})
	for broken, c := range map[string]struct {
		s *solo
		e Event
	}{
		"a peer matches up to 4, the log ends at 3":             {established(t, 3), from2("n2", "n1", 2, &rpc.AppendLogReturn{Accepted: true, Match: 4})},
		"a peer installed a snapshot of 2/4, the log ends at 3": {established(t, 3), from2("n2", "n1", 2, &rpc.InstallSnapshotReturn{Snapshot: rpc.EntryID{Term: 2, Index: 4}, Installed: true})},
		`"n1" and "n2" lead in term 2`:                          {established(t, 3), from2("n2", "n1", 2, &rpc.HeartbeatCommand{})},
		`"n2" and "n3" lead in term 3`:                          {following(t, 1), from2("n3", "n1", 3, &rpc.HeartbeatCommand{})},
		"entry 3/2 holds no configuration of its index":         {following(t, 1), from2("n2", "n1", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 1}, Entries: []rpc.Entry{misplaced}})},
		"entry 3/3 holds no configuration of its index":         {following(t, 1, 1), from2("n2", "n1", 3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 2}, Entries: []rpc.Entry{nobody}})},
		"applied 4, was handed (3, 3]":                          {established(t, 3), ApplyDone{4}},
		"applied 2, was handed (3, 3]":                          {established(t, 3), ApplyDone{2}},
		"restored 3/4, installing {active:false":                {following(t, 1), Restored{rpc.EntryID{Term: 3, Index: 4}}},
		"restored 3/5, installing {active:true":                 {installing(1), Restored{rpc.EntryID{Term: 3, Index: 5}}},
		"restored 3/4, installing {active:true":                 {applying, Restored{rpc.EntryID{Term: 3, Index: 4}}},
		"committed 4 is not in the history of snapshot 3/4":     {another, Restored{rpc.EntryID{Term: 3, Index: 4}}},
	} {
		before := c.s.Status()
		wrong := brokenBy(func() { c.s.Step(c.e) })
		require.NotNil(t, wrong, broken)
		require.Contains(t, wrong.What, broken)
		require.Equal(t, c.s.id, wrong.State.ID)
		require.Equal(t, before.Commit, c.s.Status().Commit, broken)
	}
}

// What contradicts itself on the disk stops the node before its first turn.
func TestAContradictionOnTheDiskStopsTheNode(t *testing.T) {
	for broken, harm := range map[string]func(*Config){
		"damaged [1/2] is applied: compact the log":             func(c *Config) { c.Damaged = []rpc.EntryID{{Term: 1, Index: 2}} },
		"the state machine has applied 4, the log holds (1, 3]": func(c *Config) { c.Applied = 4 },
		"the state machine has applied 0, the log holds (1, 3]": func(c *Config) { c.Applied = 0 },
		"the log's last entry 2/3 is of a later term than 1":    func(c *Config) { c.HardState.Term = 1 },
	} {
		c := start(rpc.HardState{Term: 2}, 1, 1, 2)
		c.Base, c.Applied = rpc.EntryID{Term: 1, Index: 1}, 2
		require.NotPanics(t, func() { New(c) })
		harm(&c)
		wrong := brokenBy(func() { New(c) })
		require.NotNil(t, wrong, broken)
		require.Equal(t, broken, wrong.What)
	}
}

// Neither a term, nor a vote, nor the commit index is taken back, whoever asks for it.
func TestWhatIsTakenBackStopsTheNode(t *testing.T) {
	for broken, harm := range map[string]func(*Core){
		"term 1 after 2":                     func(c *Core) { c.setTerm(1, "") },
		`vote for "n3" after "n1" in term 2`: func(c *Core) { c.setTerm(2, "n3") },
		`vote for "" after "n1" in term 2`:   func(c *Core) { c.setTerm(2, "") },
		"commit 2 after 3, last entry 3":     func(c *Core) { c.setCommit(2) },
		"commit 4 after 3, last entry 3":     func(c *Core) { c.setCommit(4) },
	} {
		s := established(t, 3)
		require.Equal(t, rpc.HardState{Term: 2, Vote: "n1"}, s.hard)
		wrong := brokenBy(func() { harm(s.Core) })
		require.NotNil(t, wrong, broken)
		require.Equal(t, broken, wrong.What)
	}
}

// Cursors that contradict each other stop the node in the turn in which they do.
func TestCursorsThatContradictEachOtherStopTheNode(t *testing.T) {
	for broken, harm := range map[string]func(*Core){
		"applied 3 is below the log's base 4":   func(c *Core) { c.log.base.Index = 4 },
		"applied 3 is above committed 2":        func(c *Core) { c.commit = 2 },
		"applying 3 is above synced 2":          func(c *Core) { c.log.synced = 2 },
		"committed 4 is above the last entry 3": func(c *Core) { c.commit = 4 },
		"synced 4, submitted 3, last 3":         func(c *Core) { c.log.synced = 4 },
		"synced 3, submitted 4, last 3":         func(c *Core) { c.log.submitted = 4 },
		`leader follows "n2"`:                   func(c *Core) { c.leader = "n2" },
	} {
		s := established(t, 3)
		require.NotPanics(t, s.check)
		harm(s.Core)
		wrong := brokenBy(s.check)
		require.NotNil(t, wrong, broken)
		require.Equal(t, broken, wrong.What)
	}
}
