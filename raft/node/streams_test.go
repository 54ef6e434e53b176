package node

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// A leader whose entries wait for a voter that installs its snapshot stays while the answers show that it gets on: so it asks, and one answer may be lost
// within an election timeout (K60, L7).
func TestWhoInstallsASnapshotIsAskedHowFarItIs(t *testing.T) {
	usual := raft.Ticks{ElectionMin: int(config.DefaultTiming().ElectionMin / config.DefaultTiming().Tick), ElectionMax: int(config.DefaultTiming().ElectionMax / config.DefaultTiming().Tick)}
	for _, ticks := range []raft.Ticks{usual, {ElectionMin: 20, ElectionMax: 40}, {ElectionMin: 10, ElectionMax: 20}} {
		asked := 0
		s := &streams{pace: newPace(), asks: asksAfter(ticks), now: func() time.Time { return time.Unix(1000, 0) }, send: func(m rpc.Message) {
			require.True(t, m.Body.(*rpc.InstallSnapshotCommand).Final)
			asked++
		}}
		s.pace.rate = paceAlone
		s.list = []*stream{{
			peer: "n3", source: &source{}, whole: true, end: 10, stored: 10, unsent: 1, flight: 1, chunks: []chunk{{data: make([]byte, 10), digest: make([]byte, rpc.DigestBytes)}},
		}}
		for range ticks.ElectionMax {
			s.tick()
		}
		require.GreaterOrEqual(t, asked, 3, "%v", ticks)
	}
}

// A log that is found damaged when a view is opened ends the node, which is repaired at the next start. Whatever else is in the way of a view is
// the stream's alone.
func TestALogFoundDamagedByASnapshotEndsTheNode(t *testing.T) {
	machine, err := openVault(waltest.New(), 7)
	require.NoError(t, err)
	damage := &wal.CorruptError{Entry: rpc.EntryID{Term: 1, Index: 5}}
	for _, found := range []error{damage, syscall.EIO} {
		c, told := &cutter{worker: newWorker()}, error(nil)
		c.open(machine, 100, func(rpc.EntryID) (int64, error) { return 0, fmt.Errorf("read: %w", found) }, func(_ *source, err error) { told = err })
		_, err := c.step()
		require.ErrorIs(t, told, found)
		if found == damage {
			require.ErrorContains(t, err, "start this node again: the entry is repaired from the leader")
		} else {
			require.NoError(t, err)
		}
		require.NoError(t, c.end())
	}
}

// A view that was let go of is known no more: a node that sends snapshots for years does not remember all of them.
func TestAViewThatIsClosedIsForgotten(t *testing.T) {
	machine, err := openVault(waltest.New(), 7)
	require.NoError(t, err)
	c := &cutter{worker: newWorker()}
	for range 3 {
		c.open(machine, 100, func(rpc.EntryID) (int64, error) { return 0, nil }, func(s *source, err error) {
			require.NoError(t, err)
			c.close(s)
		})
		for c.waiting() > 0 {
			_, err := c.step()
			require.NoError(t, err)
		}
		require.Empty(t, c.sources)
	}
}

// Streams take turns: one that always has a chunk to send would keep the others from any, and the leader from its office, if their peers are needed (L8).
func TestStreamsTakeTurns(t *testing.T) {
	var to []rpc.NodeID
	s := &streams{pace: newPace(), now: func() time.Time { return time.Unix(1000, 0) }, send: func(m rpc.Message) { to = append(to, m.To) }}
	for _, peer := range []rpc.NodeID{"n2", "n3", "n4"} {
		s.list = append(s.list, &stream{peer: peer, source: &source{}, cutting: true, flight: windowChunks, chunks: make([]chunk, windowChunks)})
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
	require.False(t, s.opening())
	require.Equal(t, rpc.Index(5), s.floor(9))
	s.list = append(s.list, opening)
	require.True(t, s.opening())
}

// A view that comes for a stream that has ended meanwhile is let go of: what it keeps the store cannot free.
func TestTheViewOfAnEndedStreamIsClosed(t *testing.T) {
	s := &streams{cutter: &cutter{worker: newWorker()}}
	view := &source{}
	s.cutter.sources = []*source{view}
	s.opened(&stream{peer: "n3", transfer: 1, ended: true}, view, nil)
	require.True(t, s.cutter.waiting() > 0)
}

// A peer may have the whole snapshot, answer, and never install it, as one whose disk hangs. The stream holds this node's log, and
// ends when nothing more is taken in for a minute; while something is it goes on (F22). The view of the state is let go before that.
func TestAStreamOfWhichNothingMoreIsTakenInEnds(t *testing.T) {
	s := &streams{
		pace: newPace(), asks: streamInstalling, now: func() time.Time { return time.Unix(1000, 0) }, send: func(rpc.Message) {}, cutter: &cutter{worker: newWorker()},
		inbox: newInbox(), logger: slog.New(slog.DiscardHandler),
	}
	at := rpc.EntryID{Term: 1, Index: 5}
	st := &stream{peer: "n3", transfer: 1, source: &source{}, id: at, end: 10, stored: 10}
	s.list = []*stream{st}
	s.cut(st, make([]byte, 10), make([]byte, rpc.DigestBytes), nil)
	require.True(t, s.cutter.waiting() > 0, "all of the state has been read")
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

// An answer may overtake another: that a peer has less than it said before counts only if it says nothing else after it. One that installs what it was
// sent says so each time it is asked, and is not given up; one that has lost it is (L7, F1).
func TestWhatAPeerSaysAfterALateAnswerCounts(t *testing.T) {
	at := rpc.EntryID{Term: 1, Index: 5}
	s := &streams{pace: newPace(), asks: streamInstalling, now: time.Now, send: func(rpc.Message) {}, inbox: newInbox(), logger: quiet()}
	s.list = []*stream{{
		peer: "n3", transfer: 1, source: &source{}, whole: true, id: at, end: 20, stored: 20, chunks: []chunk{{offset: 10, data: make([]byte, 10), digest: make([]byte, rpc.DigestBytes)}},
	}}
	says := func(list ...uint64) {
		for _, next := range list {
			s.returned(rpc.Message{From: "n3", Body: &rpc.InstallSnapshotReturn{Snapshot: at, Transfer: 1, Next: next}})
		}
	}
	says(10, 20)
	for range 2 * streamBehind {
		s.tick()
	}
	require.NotEmpty(t, s.list)
	says(10, 20, 10)
	s.tick()
	require.Empty(t, s.list)
}

// Who says that it has less is not believed at once: what it said after that may be on its way.
func TestAPeerThatSaysThatItHasLessIsBelievedLater(t *testing.T) {
	at := rpc.EntryID{Term: 1, Index: 5}
	s := &streams{pace: newPace(), asks: streamInstalling, now: time.Now, send: func(rpc.Message) {}, inbox: newInbox(), logger: quiet()}
	s.list = []*stream{{peer: "n3", transfer: 1, source: &source{}, whole: true, id: at, end: 20, stored: 20}}
	s.returned(rpc.Message{From: "n3", Body: &rpc.InstallSnapshotReturn{Snapshot: at, Transfer: 1, Next: 10}})
	for range streamBehind {
		s.tick()
	}
	require.NotEmpty(t, s.list)
	s.tick()
	require.Empty(t, s.list)
}

// A stream is of one office: what a later one sends is of its own term, and a peer takes nothing of an earlier one's.
func TestAStreamEndsWithItsTerm(t *testing.T) {
	table := rpc.Configuration{Voters: memberOf("n1", "n2", "n3")}
	s := &streams{inbox: newInbox(), list: []*stream{{peer: "n2", term: 4}, {peer: "n3", term: 5}}, blind: 1}
	s.keep(true, 5, &table)
	require.Len(t, s.list, 1)
	require.Equal(t, rpc.NodeID("n3"), s.list[0].peer)
	s.keep(false, 5, &table)
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
	require.True(t, s.cutter.waiting() > 0, "to close the view")
	require.Equal(t, []raft.Event{raft.SnapshotEnded{Peer: "n3", Term: 4}}, s.inbox.take(batch{}).completions)
}

// A view of the state that does not open, as where the disk hangs, is given up too: until it is there the log is not compacted, and would fill its disk.
// The next is opened after a while; the one that comes late is closed (F21, F22).
func TestAViewThatDoesNotOpenIsGivenUp(t *testing.T) {
	s := &streams{machine: &seen{}, cutter: &cutter{worker: newWorker()}, inbox: newInbox(), logger: quiet(), pace: newPace(), now: time.Now}
	s.begin("n3", 4)
	late := s.of("n3")
	for range streamStuck {
		s.tick()
	}
	require.True(t, s.opening())
	s.tick()
	require.Equal(t, []raft.Event{raft.SnapshotEnded{Peer: "n3", Term: 4, Unread: true}}, s.inbox.take(batch{}).completions)
	s.begin("n3", 4)
	require.False(t, s.opening(), "the log can be compacted")
	for range unreadMin {
		s.tick()
	}
	require.True(t, s.opening())
	waits := s.cutter.waiting()
	s.opened(late, &source{}, nil)
	require.Equal(t, waits+1, s.cutter.waiting(), "to close the view")
}

// Of three peers that need a snapshot two are sent theirs. The third is as soon as one of those has it, gets nowhere, or is no member any more; what is
// said of another transfer is no reason (L8, K30).
func TestAStreamThatEndsMakesPlace(t *testing.T) {
	at := rpc.EntryID{Term: 1, Index: 5}
	for name, end := range map[string]func(*streams){
		"installed": func(s *streams) {
			s.returned(rpc.Message{From: "n2", Body: &rpc.InstallSnapshotReturn{Snapshot: at, Transfer: 1, Installed: true}})
		},
		"given up": func(s *streams) { s.giveUp(s.of("n2"), "no reason") },
		"removed":  func(s *streams) { s.keep(true, 0, &rpc.Configuration{Voters: memberOf("n1", "n3", "n4")}) },
	} {
		s := &streams{pace: newPace(), now: time.Now, cutter: &cutter{worker: newWorker()}, inbox: newInbox(), logger: quiet(), transfers: 2}
		s.list = []*stream{{peer: "n2", transfer: 1, whole: true, id: at}, {peer: "n3", transfer: 2, whole: true, id: at}, {peer: "n4"}}
		s.returned(rpc.Message{From: "n2", Body: &rpc.InstallSnapshotReturn{Snapshot: at, Transfer: 9, Installed: true}})
		require.Zero(t, s.of("n4").transfer, name)
		s.begin("n3", 0) // on another disk
		require.Len(t, s.list, 3, "one to a peer")
		require.Zero(t, s.of("n4").transfer, "its place is taken at once")
		end(s)
		require.Nil(t, s.of("n2"), name)
		require.NotZero(t, s.of("n4").transfer, name)
	}
}

// A snapshot goes with the members as of its last entry, whatever was changed since (K28).
func TestASnapshotGoesWithTheMembersOfItsEntry(t *testing.T) {
	s := &streams{pace: newPace(), now: time.Now, cutter: &cutter{worker: newWorker()}, inbox: newInbox(), logger: quiet()}
	s.confAt = func(i rpc.Index) rpc.Configuration { return later(i, memberOf("n1")) }
	st := &stream{peer: "n3", transfer: 1}
	s.opened(st, &source{snapshot: &seen{}}, nil)
	require.Equal(t, rpc.Index(5), st.conf.Index)
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

// unreadable is a state that cannot be read at all.
type unreadable struct{ seen }

func (u *unreadable) Snapshot() (Snapshot, error)    { return u, nil }
func (*unreadable) WriteTo(io.Writer) (int64, error) { return 0, syscall.EIO }

// Nor does a view stay that cannot be read.
func TestAViewThatCannotBeReadIsClosed(t *testing.T) {
	state := &unreadable{}
	_, err := openSource(state, 100, func(rpc.EntryID) (int64, error) { return 7, nil })
	require.ErrorIs(t, err, syscall.EIO)
	require.True(t, state.closed)
}

// Nor do views stay when the node stops: whoever closes the store then finds them open.
func TestViewsEndWithTheNode(t *testing.T) {
	state, c, stop := &seen{}, &cutter{worker: newWorker()}, make(chan struct{})
	c.open(state, 100, func(rpc.EntryID) (int64, error) { return 7, nil }, func(*source, error) { close(stop) })
	require.NoError(t, c.run(stop))
	require.True(t, state.closed)
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

// half is a state that cannot be written out to its end.
type half struct{ seen }

func (h *half) Snapshot() (Snapshot, error) { return h, nil }

func (*half) WriteTo(w io.Writer) (int64, error) {
	n, _ := w.Write(make([]byte, 250))
	return int64(n), io.ErrUnexpectedEOF
}

// A leader whose disk does not give a block of the state sends nobody the half before that again and again: it waits, longer each time, until all of it
// has been read once (F20, K60).
func TestAStateThatCannotBeReadIsSentEverMoreSeldom(t *testing.T) {
	s := &streams{
		pace: newPace(), now: time.Now, send: func(rpc.Message) {}, cutter: &cutter{worker: newWorker()}, inbox: newInbox(), logger: quiet(),
		machine: &half{}, size: 100, timeOf: func(rpc.EntryID) (int64, error) { return 1, nil }, confAt: func(rpc.Index) rpc.Configuration { return rpc.Configuration{} },
	}
	begun := func(ticks int) uint64 {
		before := s.transfers
		for range ticks {
			if s.of("n3") == nil {
				s.begin("n3", 1) // as the core wishes, which has probed the peer meanwhile
			}
			for worked := true; worked; worked, _ = s.cutter.step() {
				taken := s.inbox.take(batch{})
				for _, call := range taken.calls {
					call()
				}
				for _, e := range taken.completions {
					require.Equal(t, raft.SnapshotEnded{Peer: "n3", Term: 1, Unread: true}, e)
				}
			}
			s.tick()
		}
		return s.transfers - before
	}
	require.Equal(t, uint64(4), begun(1000), "at 0, 100, 300 and 700 ticks")
	require.LessOrEqual(t, begun(20*unreadMax), uint64(25))
	s.machine = &seen{}
	require.Equal(t, uint64(1), begun(unreadMax))
	s.endPeer("n3")
	s.machine = &half{}
	require.Equal(t, uint64(4), begun(1000), "it has been read to its end meanwhile")
}

// large is a state of many chunks.
type large struct{ seen }

func (l *large) Snapshot() (Snapshot, error) { return l, nil }

func (*large) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(make([]byte, 10_000))
	return int64(n), err
}

// Of a state whose peer stores nothing no more is in memory than may be on its way.
func TestAStreamCutsNoMoreThanItsWindow(t *testing.T) {
	s := &streams{
		pace: newPace(), now: time.Now, send: func(rpc.Message) {}, cutter: &cutter{worker: newWorker()}, inbox: newInbox(), logger: quiet(),
		machine: &large{}, size: 100, timeOf: func(rpc.EntryID) (int64, error) { return 1, nil }, confAt: func(rpc.Index) rpc.Configuration { return rpc.Configuration{} },
	}
	s.begin("n3", 1)
	for worked := true; worked; worked, _ = s.cutter.step() {
		for _, call := range s.inbox.take(batch{}).calls {
			call()
		}
	}
	require.Len(t, s.of("n3").chunks, windowChunks)
	require.NoError(t, s.cutter.end())
}

// A state that was written out in part is never said to be whole, which its digest would.
func TestAStateWrittenInPartHasNoDigest(t *testing.T) { // I5
	s, err := openSource(&half{}, 100, func(rpc.EntryID) (int64, error) { return 1, nil })
	for err == nil {
		var digest []byte
		_, digest, err = s.cut()
		require.Nil(t, digest)
	}
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NoError(t, s.close())
}

// short is a state of a few bytes.
type short struct{ seen }

func (s *short) Snapshot() (Snapshot, error) { return s, nil }

func (*short) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write([]byte("state"))
	return int64(n), err
}

// The digest is of every byte that is sent.
func TestTheDigestOfAStateIsOfAllOfIt(t *testing.T) {
	s, err := openSource(&short{}, 3, func(rpc.EntryID) (int64, error) { return 7, nil })
	require.NoError(t, err)
	var sent, digest []byte
	for digest == nil {
		var data []byte
		data, digest, err = s.cut()
		require.NoError(t, err)
		sent = append(sent, data...)
	}
	want := sha256.Sum256(sent)
	require.Equal(t, want[:], digest)
	require.Equal(t, "state", string(sent[8:]))
	require.NoError(t, s.close())
}
