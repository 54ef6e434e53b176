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

// The log keeps what follows the states that are being sent. Which one a stream is about to send nobody knows until its view is there: until
// then nothing is forgotten.
func TestTheLogKeepsWhatFollowsStatesThatAreSent(t *testing.T) {
	waits, opening, sending := &stream{peer: "n2"}, &stream{peer: "n3", transfer: 1}, &stream{peer: "n4", transfer: 2, source: &source{}, id: rpc.EntryID{Term: 1, Index: 5}}
	s := &streams{list: []*stream{waits, sending}}
	to, may := s.floor(9)
	require.True(t, may)
	require.Equal(t, rpc.Index(5), to)
	s.list = append(s.list, opening)
	_, may = s.floor(9)
	require.False(t, may)
}

// A view that comes for a stream that has ended meanwhile is let go of: what it keeps the store cannot free.
func TestTheViewOfAnEndedStreamIsClosed(t *testing.T) {
	s := &streams{cutter: &cutter{worker: newWorker()}}
	view := &source{}
	s.cutter.sources = []*source{view}
	s.opened(&stream{peer: "n3", transfer: 1, ended: true}, view, nil)
	require.True(t, s.cutter.waits())
}
