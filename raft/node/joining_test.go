package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/config"
)

// Who joins without a log begins as a learner: as a voter of its own instance it may have voted, and have lost that (D3). One that was given the members of
// a first boot has voted for nobody.
func TestD3WhoJoinsTakesNoVotersPlace(t *testing.T) {
	conf, err := config.Validate(config.Config{NodeID: "n4", Join: true})
	require.NoError(t, err)
	n := &Node{beginning: beginning{joining: true}, o: Options{Config: conf, Folder: folderFor(t, "n4")}}
	learner, voter := later(5, memberOf("n1", "n2"), memberOf("n4")...), later(5, memberOf("n1", "n2", "n4"))
	require.NoError(t, n.joins(learned{learner.Cluster, learner}))
	require.ErrorContains(t, n.joins(learned{voter.Cluster, voter}), "as a voter already")
	replaced := later(5, memberOf("n1", "n2"), memberOf("n4")...)
	replaced.Learners[0].Instance[0]++
	require.ErrorContains(t, n.joins(learned{replaced.Cluster, replaced}), "this folder is")
	n.joining = false
	require.NoError(t, n.joins(learned{voter.Cluster, voter}))
}
