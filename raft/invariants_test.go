package raft

// What contradicts a promise of the core stops the node, before anything is built on it.

import (
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

func TestABrokenPromiseStopsTheNode(t *testing.T) {
	misplaced := changing(3, at3(table("n1", "n2", "n3")))
	misplaced.Index = 2
	nobody := changing(3, at3(rpc.Configuration{Learners: members("n1", "n2")}))
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
		"restored 3/4, installing":                              {following(t, 1), Restored{rpc.EntryID{Term: 3, Index: 4}}},
	} {
		before := c.s.Status()
		func() {
			defer func() {
				wrong, is := recover().(*InvariantError)
				require.True(t, is, broken)
				require.Contains(t, wrong.What, broken)
				require.Equal(t, c.s.id, wrong.State.ID)
			}()
			c.s.Step(c.e)
		}()
		require.Equal(t, before.Commit, c.s.Status().Commit, broken)
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
		func() {
			defer func() {
				wrong, is := recover().(*InvariantError)
				require.True(t, is, broken)
				require.Equal(t, broken, wrong.What)
			}()
			s.check()
		}()
	}
}
