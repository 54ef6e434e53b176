package node

import (
	"io"
	"log/slog"
	"syscall"
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

// Streams take turns: one that always has a chunk to send would keep the others from any, and the leader from its office, if their peers are needed (L8).
func TestStreamsTakeTurns(t *testing.T) {
	var to []rpc.NodeID
	s := &streams{pace: newPace(), now: func() time.Time { return time.Unix(1000, 0) }, send: func(m rpc.Message) { to = append(to, m.To) }}
	for _, peer := range []rpc.NodeID{"n2", "n3", "n4"} {
		s.list = append(s.list, &stream{peer: peer, source: &source{}, cutting: true, chunks: make([]chunk, windowChunks)})
	}
	s.list[1].pause = 1000
	s.pace.saved = 4 * paceUnit
	s.pump()
	require.Equal(t, []rpc.NodeID{"n2", "n4", "n2", "n4"}, to)
	s.list[1].pause, s.pace.saved = 0, 2*paceUnit
	s.pump()
	require.Equal(t, []rpc.NodeID{"n2", "n3"}, to[4:])
	s.list[0].unsent, s.list[1].unsent, s.pace.saved = windowChunks, windowChunks, 100*paceUnit
	s.pump()
	require.Len(t, to, 6+windowChunks-2, "all that n4 was not sent yet")
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

// A peer may have the whole snapshot, answer, and never install it, as one whose disk hangs. The stream holds this node's log, and
// ends when nothing more is taken in for a minute; while something is it goes on (F22). The view of the state is let go before that.
func TestAStreamOfWhichNothingMoreIsTakenInEnds(t *testing.T) {
	s := &streams{
		pace: newPace(), now: func() time.Time { return time.Unix(1000, 0) }, send: func(rpc.Message) {}, cutter: &cutter{worker: newWorker()},
		inbox: newInbox(), logger: slog.New(slog.DiscardHandler),
	}
	at := rpc.EntryID{Term: 1, Index: 5}
	st := &stream{peer: "n3", transfer: 1, source: &source{}, id: at, end: 10, stored: 10}
	s.list = []*stream{st}
	s.cut(st, make([]byte, 10), make([]byte, rpc.DigestBytes), nil)
	require.True(t, s.cutter.waits(), "all of the state has been read")
	installs := func(restored uint64, ticks int) {
		for range ticks {
			s.returned(rpc.Message{From: "n3", Body: &rpc.InstallSnapshotReturn{Snapshot: at, Transfer: 1, Next: 20, Restored: restored}})
			s.tick()
		}
	}
	for restored := range uint64(3) {
		installs(1+restored, 6000)
		require.NotEmpty(t, s.list)
	}
	installs(4, 1)
	installs(0, 5000) // the peer is started again, and its count with it
	installs(1, 6000)
	require.NotEmpty(t, s.list)
	installs(1, 1)
	require.Empty(t, s.list)
}

// A peer that says nothing any more ends its stream at last: it holds a view of the state, and a place that others wait for. The core hears of it.
func TestAStreamToWhoIsSilentIsGivenUp(t *testing.T) {
	s := &streams{cutter: &cutter{worker: newWorker()}, inbox: newInbox(), logger: quiet(), pace: newPace(), now: time.Now}
	s.list = []*stream{{peer: "n3", term: 4, transfer: 1, source: &source{}, cutting: true}}
	for range streamGiveUp {
		s.tick()
	}
	require.Len(t, s.list, 1)
	s.tick()
	require.Empty(t, s.list)
	require.True(t, s.cutter.waits(), "to close the view")
	require.Equal(t, []raft.Event{raft.SnapshotEnded{Peer: "n3", Term: 4}}, s.inbox.take(batch{}).completions)
}

// seen is a machine whose view tells that it was closed.
type seen struct {
	sum
	closed bool
}

func (s *seen) Snapshot() (Snapshot, error)      { return s, nil }
func (s *seen) ID() rpc.EntryID                  { return rpc.EntryID{Term: 1, Index: 5} }
func (s *seen) WriteTo(io.Writer) (int64, error) { return 0, nil }
func (s *seen) Close() error                     { s.closed = true; return nil }
func (*seen) unknown(rpc.EntryID) (int64, error) { return 0, syscall.EIO }

// A view that is of no use, since the log does not say of what time it is, is let go of: what it keeps the store cannot free.
func TestAViewWithoutATimeIsClosed(t *testing.T) {
	machine := &seen{}
	_, err := openSource(machine, 100, machine.unknown)
	require.ErrorIs(t, err, syscall.EIO)
	require.True(t, machine.closed)
}

// A chunk that was not sent, or not answered, is sent again after a pause, and not before: what is said of other messages is no reason.
func TestAStreamPausesWhenAChunkFails(t *testing.T) {
	m := newManual(t, 1, "n1", "n2", "n3")
	leader, to := m.leader(), m.follower()
	st := &stream{peer: to, term: leader.core.Status().Term, transfer: 1, source: &source{}, cutting: true, unsent: 1, chunks: []chunk{{data: []byte("x")}}}
	leader.streams.list = []*stream{st}
	fails := func(method rpc.Method) {
		leader.inbox.notice(raft.Failed{Peer: to, Method: method})
		_, err := m.steps[leader.id()].Turn(0)
		require.NoError(t, err)
	}
	fails(rpc.MethodHeartbeat)
	require.Zero(t, st.pause)
	fails(rpc.MethodInstallSnapshot)
	require.Equal(t, streamPause, st.pause)
	require.Zero(t, st.unsent)
}

// Who writes or reads is a client that a snapshot is not to delay (L7).
func TestRequestsHoldSnapshotsBack(t *testing.T) {
	m := newManual(t, 1, "n1", "n2", "n3")
	leader := m.leader()
	for name, ask := range map[string]func(){
		"a write": func() { require.NoError(t, leader.Propose(make([]byte, 8), func(any, rpc.EntryID) {})) },
		"a read":  func() { require.NoError(t, leader.ReadIndex(func(error) {})) },
	} {
		m.run(paceClients)
		require.Equal(t, paceAlone, leader.streams.pace.most())
		ask()
		m.run(1)
		require.Equal(t, paceBeside, leader.streams.pace.most(), name)
	}
}
