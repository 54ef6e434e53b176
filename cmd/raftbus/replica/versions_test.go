package replica

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
)

// A cluster is opened to what the newest release among its members knows, and only when all of them are heard and know it: a member that
// does not would stop for good (F28).
func TestTheClusterIsOpenedToWhatAllMembersKnow(t *testing.T) {
	members := []rpc.Member{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}}
	link := func(peer rpc.NodeID, state string, commands uint64) busclient.LinkStatus {
		return busclient.LinkStatus{Peer: peer, State: state, Commands: commands}
	}
	for name, c := range map[string]struct {
		own     uint64
		n2, n3  busclient.LinkStatus
		version uint64
		lacks   string
	}{
		"all know it":                {3, link("n2", "connected", 3), link("n3", "connected", 3), 3, ""},
		"all are of before":          {command.Base, link("n2", "connected", 0), link("n3", "connected", 0), command.Base, ""},
		"one is older":               {3, link("n2", "connected", 3), link("n3", "connected", 2), 3, "member n3 knows feature level 2"},
		"one does not say":           {3, link("n2", "connected", 0), link("n3", "connected", 3), 3, "member n2 knows feature level 2"},
		"one is not there":           {3, link("n2", "broken", 3), link("n3", "connected", 3), 3, "member n2 does not answer"},
		"one was never heard":        {3, link("n2", "connected", 3), link("n9", "connected", 3), 3, "member n3 does not answer"},
		"the leader itself is older": {3, link("n2", "connected", 4), link("n3", "connected", 4), 4, "member n1 knows feature level 3"},
		"who is no member is newer":  {3, link("n2", "connected", 3), link("n3", "connected", 3), 3, ""},
	} {
		version, lacks := newest("n1", c.own, members, []busclient.LinkStatus{c.n2, c.n3, link("n4", "connected", 5)})
		require.Equal(t, c.version, version, name)
		require.Equal(t, c.lacks == "", lacks == "", "%s: %s", name, lacks)
		require.Contains(t, lacks, c.lacks, name)
	}
}

// What is open is told to who asks for it again, though a member is silent: it has not come this far by an older release (F28).
func TestWhatIsOpenIsToldWhoeverIsSilent(t *testing.T) {
	t.Parallel() // it mostly waits
	nodes, leads, _ := three(t)
	leader := nodes[leads]
	require.Eventually(t, func() bool { return leader.versions().Open == command.Version }, patience, 5*time.Millisecond)
	stop(t, nodes[(leads+1)%3])
	silent := func() bool {
		return slices.ContainsFunc(leader.node.Status().Links, func(l busclient.LinkStatus) bool { return l.State != "connected" })
	}
	require.Eventually(t, silent, patience, 5*time.Millisecond)
	open, err := leader.raise(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, command.Version, open)
}
