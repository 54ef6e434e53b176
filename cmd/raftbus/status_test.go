package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/cluster"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

// A leader that clients cannot reach, or beside whom another cluster leads, serves nobody: whoever asks for the status is told.
func TestALeaderThatServesNobodyIsNone(t *testing.T) {
	sound := replica.Status{ID: "n1", Role: "leader", Term: 2, Leader: "n1", Ready: true, Members: []string{"n1"}}
	require.NoError(t, unserved(cluster.View{Nodes: []replica.Status{sound}}, "raftbus", nil))
	for _, harm := range []func(*replica.Status){
		func(s *replica.Status) { s.Rival = "x leads" },
		func(s *replica.Status) { s.Deaf = "for 5s: authorization violation" },
	} {
		s := sound
		harm(&s)
		err := unserved(cluster.View{Nodes: []replica.Status{s}}, "raftbus", nil)
		require.ErrorContains(t, err, "n1 leads, and serves nobody: ")
		require.Equal(t, exitNoLeader, exitCode(err))
	}
}
