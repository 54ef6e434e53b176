package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

// A leader whose entries wait for a voter that installs its snapshot stays while the answers show that it gets on: so it asks, and one answer may be lost
// within an election timeout (K60, L7).
func TestWhoInstallsASnapshotIsAskedHowFarItIs(t *testing.T) {
	asked := 0
	s := &streams{pace: newPace(), now: func() time.Time { return time.Unix(1000, 0) }, send: func(m rpc.Message) {
		require.True(t, m.Body.(*rpc.InstallSnapshotCommand).Final)
		asked++
	}}
	s.list = []*stream{{
		peer: "n3", source: &source{}, whole: true, end: 10, stored: 10, unsent: 1, chunks: []chunk{{data: make([]byte, 10), digest: make([]byte, rpc.DigestBytes)}},
	}}
	for range raft.DefaultTicks().ElectionMax {
		s.tick()
	}
	require.GreaterOrEqual(t, asked, 3)
}
