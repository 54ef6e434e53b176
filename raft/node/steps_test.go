package node

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// manual is a group whose nodes are driven by hand on the test's goroutine, from a seed.
type manual struct {
	*group
	disks   map[rpc.NodeID]*waltest.FS
	dice    *rand.Rand
	now     time.Time
	steps   map[rpc.NodeID]*Steps
	vaults  map[rpc.NodeID]*vault
	folders map[rpc.NodeID]*folder.Folder
	trail   bytes.Buffer // of all nodes: what happened, in order
	options func(*Options)
	joins   map[rpc.NodeID]bool
	chunk   int                 // bytes of snapshots' chunks
	segment int64               // bytes of the log's segments
	hung    map[rpc.NodeID]bool // whose state machines hang
}

func newManual(t *testing.T, seed uint64, ids ...rpc.NodeID) *manual {
	return newManualWith(t, seed, nil, ids...)
}

func newManualWith(t *testing.T, seed uint64, options func(*Options), ids ...rpc.NodeID) *manual {
	m := newStrangers(t, seed, options, ids...)
	m.greet()
	return m
}

// segmentBytes is the size of the segments of a log, where a test does not say otherwise.
const segmentBytes = 16 << 10

// newStrangers is a group whose nodes have not heard of each other yet.
func newStrangers(t *testing.T, seed uint64, options func(*Options), ids ...rpc.NodeID) *manual {
	return newStrangersWith(t, seed, segmentBytes, options, ids...)
}

// newStrangersWith has the logs' segments of so many bytes.
func newStrangersWith(t *testing.T, seed uint64, segment int64, options func(*Options), ids ...rpc.NodeID) *manual {
	m := &manual{
		group: &group{t: t, hub: newHub(), ids: ids, limits: coreLimits(), logs: map[rpc.NodeID]*wal.Log{}, machines: map[rpc.NodeID]*sum{}},
		disks: map[rpc.NodeID]*waltest.FS{},
		dice:  rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1000, 0), steps: map[rpc.NodeID]*Steps{}, vaults: map[rpc.NodeID]*vault{}, folders: map[rpc.NodeID]*folder.Folder{},
		options: options, joins: map[rpc.NodeID]bool{}, hung: map[rpc.NodeID]bool{}, chunk: 256, segment: segment,
	}
	for i, id := range ids {
		m.disks[id] = waltest.New()
		m.start(id, seed+uint64(i))
	}
	t.Cleanup(func() {
		for _, s := range m.steps {
			s.Abandon()
		}
	})
	return m
}

// start starts a node on its disk.
func (m *manual) start(id rpc.NodeID, seed uint64) {
	require.NoError(m.t, m.tryStart(id, seed))
}

func (m *manual) tryStart(id rpc.NodeID, seed uint64) error {
	table := slices.DeleteFunc(slices.Clone(m.ids), func(o rpc.NodeID) bool { return m.joins[o] })
	conf, err := config.Validate(config.Config{NodeID: id, MemberIDs: table, Join: m.joins[id]})
	require.NoError(m.t, err)
	m.folders[id], err = folder.OpenFrom(m.disks[id], "d", id, rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}))
	if err != nil {
		return err
	}
	m.logs[id], err = m.folders[id].OpenLog(wal.Options{Inline: true, LogID: 1, SegmentBytes: m.segment, ReportDamaged: true, KeepFreeBytes: func() int64 { return 1 }})
	if err != nil {
		return err
	}
	m.vaults[id], err = openVault(m.disks[id], 7)
	if err != nil {
		return err
	}
	m.machines[id] = &m.vaults[id].sum
	plain := slog.NewTextHandler(&m.trail, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	o := Options{
		Config: conf, Folder: m.folders[id], Log: m.logs[id], Machine: m.vaults[id], Logger: slog.New(plain).With("node", id),
		Seed: seed + 1, Now: func() time.Time { return m.now }, Tune: func(l *raft.Limits) { *l = m.limits },
	}
	if m.options != nil {
		m.options(&o)
	}
	n := New(o)
	m.hub.nodes[id] = n
	s, err := n.StartSteps(port{m.hub, id})
	if err == nil {
		m.steps[id] = s
		n.streams.size = m.chunk
	}
	return err
}

// crash takes a node's power away. What its disk had not synced is gone; it is not started again.
func (m *manual) crash(id rpc.NodeID) {
	m.steps[id].Abandon()
	m.hub.down[id] = true
	for _, other := range m.ids {
		if other != id && m.hub.nodes[other] != nil {
			m.hub.nodes[other].Link(id, false, nil)
		}
	}
	m.disks[id] = m.disks[id].Crash(waltest.KeepNothing, m.dice)
}

// back starts a node that crashed.
func (m *manual) back(id rpc.NodeID, seed uint64) {
	m.start(id, seed)
	delete(m.hub.down, id)
	m.greet()
}

// add proposes numbers and waits until they are applied by the leader.
func (m *manual) add(numbers ...uint64) {
	for _, x := range numbers {
		done := false
		for !done {
			if m.leader().Propose(binary.BigEndian.AppendUint64(nil, x), func(any, rpc.EntryID) { done = true }) != nil {
				m.run(1)
				continue
			}
			for range 500 {
				if m.run(1); done {
					break
				}
			}
		}
	}
}

// run has time pass, tick by tick: each node takes a turn, and its disk and state machine work when the dice say so.
func (m *manual) run(ticks int) {
	for range ticks {
		m.now = m.now.Add(10 * time.Millisecond)
		for _, id := range m.ids {
			if !m.hub.down[id] && m.steps[id] != nil {
				m.step(id)
			}
		}
	}
}

func (m *manual) step(id rpc.NodeID) {
	s := m.steps[id]
	_, err := s.Turn(1)
	require.NoError(m.t, err)
	const applies = 1 // of these
	for i, work := range []func() (bool, error){s.Append, s.Apply, s.Load, s.Cut, s.Receive, s.Compact} {
		if m.dice.IntN(3) == 0 {
			continue
		}
		if i == applies && m.hung[id] {
			continue
		}
		if _, err := work(); err != nil && m.crashed(id) {
			return
		} else if err != nil {
			require.NoError(m.t, err, m.trail.String())
		}
	}
}

// crashed reports whether a node's power was just taken away, in the middle of a step.
func (m *manual) crashed(id rpc.NodeID) bool { return m.hub.down[id] }

func (m *manual) leader() *Node {
	for range 2000 {
		for _, id := range m.ids {
			if n := m.hub.nodes[id]; n != nil && !m.hub.down[id] && n.Status().Serving {
				return n
			}
		}
		m.run(1)
	}
	m.t.Fatal("no leader")
	return nil
}

// Without a goroutine of its own a group elects, commits, applies, loses a node and gets it back; and does all of it the same
// way again when it is run again from the same seed.
func TestStepsReplay(t *testing.T) {
	history := func() string {
		m := newManual(t, 7, "n1", "n2", "n3")
		for i := range uint64(50) {
			require.NoError(t, m.leader().Propose(binary.BigEndian.AppendUint64(nil, i), func(r any, at rpc.EntryID) {
				fmt.Fprintf(&m.trail, "%v: %v\n", at, r)
			}))
			m.run(3)
		}
		old := m.leader().id()
		m.crash(old)
		m.back(old, 99)
		m.run(500)
		for _, id := range m.ids {
			require.EqualValues(t, 49*50/2, m.machines[id].value(), id)
			fmt.Fprintln(&m.trail, m.hub.nodes[id].Status().Status)
			require.NoError(t, m.steps[id].Stop())
			require.NoError(t, m.logs[id].Close())
		}
		return m.trail.String()
	}
	first := history()
	require.Contains(t, first, "role=leader")
	require.Equal(t, first, history())
}

// What came is taken before the time that passed meanwhile: a busy node does not take a leader for silent whose heartbeat waits in its inbox.
func TestWhatCameIsTakenBeforeTheTimeThatPassed(t *testing.T) {
	m := newManual(t, 11, "n1", "n2", "n3")
	m.add(1)
	leader, f := m.leader(), m.hub.nodes[m.follower()]
	beat := rpc.Message{From: leader.id(), Instance: m.folders[leader.id()].Instance, To: f.id(), Term: leader.Status().Term, Body: &rpc.HeartbeatCommand{}}
	for _, turn := range []struct {
		heard bool
		ticks int
	}{{true, 0}, {false, 8}, {true, 10}} { // a leader is silent after 12, of which it slept 4 at most
		if turn.heard {
			f.Receive(beat)
		}
		_, err := m.steps[f.id()].Turn(turn.ticks)
		require.NoError(t, err)
		require.Equal(t, leader.id(), f.Status().Leader)
		require.Empty(t, f.inbox.waiting.pings, "it asks whether its leader is there")
	}
}

// Stop answers whoever waits, as the goroutines would; a crash answers nobody.
func TestStepsEnd(t *testing.T) {
	for _, crash := range []bool{false, true} {
		m := newManual(t, 3, "n1", "n2", "n3")
		leader := m.leader()
		m.hub.down = map[rpc.NodeID]bool{"n1": true, "n2": true, "n3": true}
		var answers []error
		require.NoError(t, leader.ReadIndex(func(err error) { answers = append(answers, err) }))
		if _, err := m.steps[leader.id()].Turn(0); crash {
			require.NoError(t, err)
			m.steps[leader.id()].Abandon()
			require.Empty(t, answers)
			require.Error(t, leader.Propose(nil, nil))
			continue
		}
		require.NoError(t, m.steps[leader.id()].Stop())
		require.Equal(t, []error{ErrNotLeader}, answers)
		require.ErrorIs(t, leader.Propose(nil, nil), ErrNotLeader)
		<-leader.Done()
	}
}

// A broken invariant or an error stops a node driven by hand as it stops another.
func TestStepsFail(t *testing.T) {
	m := newManual(t, 5, "n1")
	m.leader()
	m.hub.nodes["n1"].inbox.call(func() { panic(&raft.InvariantError{}) })
	worked, err := m.steps["n1"].Turn(0)
	require.True(t, worked)
	require.ErrorAs(t, err, new(*raft.InvariantError))
	<-m.hub.nodes["n1"].Done()
	require.Error(t, m.hub.nodes["n1"].Err())
	worked, err = m.steps["n1"].Turn(1)
	require.False(t, worked)
	require.Error(t, err)
	require.Equal(t, Waiting{}, m.steps["n1"].Waiting())
}

// A log that fails while the next segment is made, with nothing on its way that would meet the failure, ends the node: a leader would
// stay, and refuse every write as if the disk were full (D5, K60; the simulator's S1).
func TestALogThatFailsUnasked(t *testing.T) {
	m := newManual(t, 9, "n1")
	leader, s := m.leader(), m.steps["n1"]
	m.disks["n1"].Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Create && strings.HasPrefix(op.Name, m.folders["n1"].Path("wal")) {
			return syscall.EIO
		}
		return nil
	})
	var refused error
	for x := uint64(1); refused == nil; x++ {
		require.Less(t, x, uint64(1000), "no other segment was needed")
		refused = leader.Propose(binary.BigEndian.AppendUint64(nil, x), func(any, rpc.EntryID) {})
		for _, step := range []func() (bool, error){func() (bool, error) { return s.Turn(1) }, s.Append, s.Apply} {
			_, err := step()
			require.True(t, err == nil || refused != nil, err)
		}
	}
	require.ErrorIs(t, leader.Err(), syscall.EIO)
	<-leader.Done()
}
