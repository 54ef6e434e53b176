package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// A cluster is opened without an administrator only where it begins, and only when all members are heard and know the very version (F28).
func TestOnlyANewClusterOfOneReleaseBeginsWithTheNewest(t *testing.T) {
	link := func(peer rpc.NodeID, state string, commands uint64) busclient.LinkStatus {
		return busclient.LinkStatus{Peer: peer, State: state, Commands: commands}
	}
	for name, c := range map[string]struct {
		change func(s *node.Status)
		want   founding
	}{
		"all know it":                {func(*node.Status) {}, foundingOpens},
		"another leads":              {func(s *node.Status) { s.Role = raft.Follower }, foundingWaits},
		"members are awaited":        {func(s *node.Status) { s.FirstBoot, s.Founded = node.FirstBootGathering, false }, foundingWaits},
		"members do not hold it":     {func(s *node.Status) { s.FirstBoot = node.FirstBootSealing }, foundingWaits},
		"it began in an earlier run": {func(s *node.Status) { s.Founded = false }, foundingOver},
		"one is not there":           {func(s *node.Status) { s.Links[0] = link("n2", "broken", 3) }, foundingWaits},
		"one was never heard":        {func(s *node.Status) { s.Links = s.Links[:1] }, foundingWaits},
		"one is older":               {func(s *node.Status) { s.Links[1] = link("n3", "connected", 2) }, foundingOver},
		"one does not say":           {func(s *node.Status) { s.Links[1] = link("n3", "connected", 0) }, foundingWaits},
		"one is newer":               {func(s *node.Status) { s.Links[1] = link("n3", "connected", 4) }, foundingOver},
		"one is older, another mute": {func(s *node.Status) {
			s.Links[0], s.Links[1] = link("n2", "broken", 3), link("n3", "connected", 2)
		}, foundingOver},
		"one is older, another leads": {func(s *node.Status) {
			s.Role, s.Links[1] = raft.Follower, link("n3", "connected", 2)
		}, foundingOver},
	} {
		s := node.Status{Founded: true, Links: []busclient.LinkStatus{link("n2", "connected", 3), link("n3", "connected", 3)}}
		s.ID, s.Role = "n1", raft.Leader
		s.Configuration.Voters = []rpc.Member{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}}
		c.change(&s)
		require.Equal(t, c.want, judgeFounding(s, 3), name)
	}
}

// Members that are exchanged long after the first boot are upgraded, which an administrator finishes: it is no founding any more (F28).
func TestAFoundingIsSoonOver(t *testing.T) {
	s := node.Status{FirstBoot: node.FirstBootGathering}
	s.ID, s.Role = "n1", raft.Leader
	s.Configuration.Voters = []rpc.Member{{ID: "n1"}}
	var until time.Time
	began := time.Now()
	require.Equal(t, foundingWaits, judgeInTime(s, 3, began, &until))
	began = began.Add(time.Hour) // the members came late
	require.Equal(t, foundingWaits, judgeInTime(s, 3, began, &until))
	s.FirstBoot, s.Founded = "", true
	require.Equal(t, foundingOpens, judgeInTime(s, 3, began, &until))
	require.Equal(t, foundingOpens, judgeInTime(s, 3, began.Add(foundingMax), &until))
	require.Equal(t, foundingOver, judgeInTime(s, 3, began.Add(foundingMax+1), &until))
}

func TestANewClusterBeginsWithTheNewestVersion(t *testing.T) {
	t.Parallel() // it mostly waits
	nodes, _, _ := three(t)
	for _, r := range nodes {
		require.Eventually(t, func() bool { return r.versions() == VersionStatus{Knows: command.Version, Open: command.Version} }, patience, 5*time.Millisecond)
	}
}
