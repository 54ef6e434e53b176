package main

// Which nodes are asked for a backup, and what is said of those that give none.

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/admin"
	"github.com/raftbus/raftbus/cmd/raftbus/backup"
	"github.com/raftbus/raftbus/cmd/raftbus/members"
)

// Of the voters that follow, the one that is furthest is asked first. The leader, which has most to do, is asked last.
func TestWhoIsAskedForABackup(t *testing.T) {
	nc := onBus(t)
	answering(t, nc, admin.Subject("raftbus", admin.OpMembers), admin.Members{Leader: "n1", Commit: 77, Members: []admin.Member{
		{ID: "n1", Role: admin.RoleVoter, State: "leader"}, {ID: "n2", Role: admin.RoleVoter, State: "replicate", Lag: 9},
		{ID: "n3", Role: admin.RoleVoter, State: "replicate", Lag: 1}, {ID: "n4", Role: admin.RoleVoter, State: "probe"},
		{ID: "n5", Role: admin.RoleLearner, State: "replicate"},
	}})
	nodes, atLeast, err := (&backupFlags{}).sources(t.Context(), members.NewAdministrator(nc, "raftbus", 30*time.Second))
	require.NoError(t, err)
	require.Equal(t, []string{"n3", "n2", "n1"}, nodes)
	require.EqualValues(t, 77, atLeast)
}

// A follower that is there and says nothing, as one that is paused, does not end a backup that the leader may give. Whoever is asked must have
// what was acknowledged before: the leader says up to which entry that is.
func TestASilentNodeDoesNotEndABackup(t *testing.T) {
	t.Parallel() // it mostly waits
	nc := onBus(t)
	answering(t, nc, admin.Subject("raftbus", admin.OpMembers), admin.Members{Leader: "n1", Commit: 77, Members: []admin.Member{
		{ID: "n1", Role: admin.RoleVoter}, {ID: "n2", Role: admin.RoleVoter, State: "replicate"},
	}})
	asked := make(chan string, 100)
	_, err := nc.Subscribe(backup.Subject("raftbus", "n2"), func(m *nats.Msg) { asked <- string(m.Data) })
	require.NoError(t, err)
	_, err = nc.Subscribe(backup.Subject("raftbus", "n1"), func(m *nats.Msg) {
		_ = m.RespondMsg(&nats.Msg{Header: nats.Header{"Rb-Error": {"the leader was asked: " + string(m.Data)}}})
	})
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	name := filepath.Join(t.TempDir(), "monday.rbb")
	text, code := said("backup", name, "--patience", "2s", "--nats", nc.ConnectedUrl())
	require.Equal(t, exitRefused, code, text)
	require.Contains(t, text, `the leader was asked: {"at_least":77,`)
	for require.NotEmpty(t, asked); len(asked) > 0; {
		require.Contains(t, <-asked, `{"at_least":77,`)
	}

	text, code = said("backup", name, "--from", "n2", "--patience", "1s", "--nats", nc.ConnectedUrl())
	require.Equal(t, exitTimeout, code, text)
	require.Contains(t, text, "the node said nothing for too long")
	require.Contains(t, <-asked, `{"at_least":77,`)

	text, code = said("backup", name, "--base", filepath.Join("testdata", "commands-2.rbb"), "--patience", "2s", "--nats", nc.ConnectedUrl())
	require.Equal(t, exitRefused, code, text)
	require.Contains(t, text, "the leader was asked", "the base is read anew for each node")
	require.Empty(t, namesIn(t, filepath.Dir(name)))
}
