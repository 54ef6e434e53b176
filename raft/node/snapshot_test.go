package node

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/snapfile"
	"github.com/raftbus/raftbus/raft/wal"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// noLogKept has every entry forgotten that may be.
func noLogKept(o *Options) { o.KeepLogBytes = -1 }

// numbers are n numbers from first on.
func numbers(first, n int) []uint64 {
	list := make([]uint64, n)
	for i := range list {
		list[i] = uint64(first + i)
	}
	return list
}

// follower is a node that does not lead.
func (m *manual) follower() rpc.NodeID {
	leader := m.leader().id()
	for _, id := range m.ids {
		if id != leader {
			return id
		}
	}
	panic("no follower")
}

// behind is a group of which one node was away for so long that it needs a snapshot. It is not back yet.
func behind(t *testing.T, seed uint64) (m *manual, away rpc.NodeID) {
	m = newManualWith(t, seed, noLogKept, "n1", "n2", "n3")
	m.add(numbers(1, 5)...)
	away = m.follower()
	m.crash(away)
	m.add(numbers(6, 150)...)
	m.run(300)
	for _, id := range m.ids {
		if id != away {
			require.Greater(t, m.hub.nodes[id].Status().Base, rpc.Index(50), "the log of %s was not compacted", id)
		}
	}
	return m, away
}

// agree has time pass until all nodes hold the same state.
func (m *manual) agree() {
	m.t.Helper()
	for range 200 {
		m.run(20)
		want := m.vaults[m.ids[0]].bytes()
		same := true
		for _, id := range m.ids {
			same = same && string(want) == string(m.vaults[id].bytes())
		}
		if same {
			return
		}
	}
	for _, id := range m.ids {
		fmt.Fprintln(&m.trail, id, m.vaults[id].Applied(), m.hub.nodes[id].Status().Status)
	}
	m.t.Fatalf("the nodes do not come to the same state:\n%s", m.trail.String())
}

// A node that was away for longer than the log is kept gets the state, then the entries after it, while writes go on; and again
// after all lost power (I13).
func TestCatchesUpBySnapshot(t *testing.T) {
	for seed := range uint64(5) {
		m, away := behind(t, seed)
		m.back(away, seed+50)
		m.add(numbers(500, 20)...)
		m.agree()
		require.Contains(t, m.trail.String(), "snapshot installed by a peer")
		require.False(t, m.hub.nodes[away].snaps.Exists(snapfile.Complete), "the file is not needed any more")
		for _, id := range m.ids {
			m.crash(id)
		}
		for i, id := range m.ids {
			m.back(id, seed+100+uint64(i))
		}
		m.add(7)
		m.agree()
		require.Len(t, m.vaults[away].list, 5+150+20+1)
	}
}

// As much as the log keeps may be written while a node installs a snapshot, and while it loads what follows. It is sent that, and no other snapshot (L7).
func TestWhoHasInstalledASnapshotIsSentWhatFollows(t *testing.T) {
	m, away := behind(t, 3)
	m.back(away, 53)
	m.receiving(away)
	m.hub.mangle = func(msg rpc.Message) []rpc.Message {
		if _, is := msg.Body.(*rpc.AppendLogCommand); is && msg.To == away {
			return nil
		}
		return []rpc.Message{msg}
	}
	for !strings.Contains(m.trail.String(), "snapshot installed by a peer") {
		m.add(7)
	}
	m.add(numbers(500, 150)...)
	m.run(2 * compactEvery)
	m.hub.mangle = nil
	m.agree()
	require.Equal(t, 1, strings.Count(m.trail.String(), "snapshot installed by a peer"))
	m.run(2 * compactEvery)
	require.Greater(t, m.leader().Status().Base, rpc.Index(250), "and then the log is forgotten")
}

// On a full disk the log is not held for a peer that gets a snapshot: it gets another one, and writes go on. What it is being sent is of no use any more, unless
// it has stored all of it (F21).
func TestAFullDiskHoldsNoLogForASnapshot(t *testing.T) {
	m := newManual(t, 3, "n1", "n2", "n3")
	m.add(numbers(1, 20)...)
	leader := m.leader()
	leader.streams.list = []*stream{{peer: m.follower(), transfer: 1}}
	leader.compactTo(3)
	require.Zero(t, leader.core.Status().Base, "its view is being opened, at an entry of which the log is asked for the time")
	at := rpc.EntryID{Term: 1, Index: 5}
	sending, installing := &stream{peer: m.follower(), term: 7, transfer: 1, source: &source{}, id: at}, &stream{peer: "n8", transfer: 2, source: &source{}, id: at, whole: true}
	waiting := &stream{peer: "n9"}
	leader.streams.list = []*stream{sending, installing, waiting}
	leader.compactTo(15)
	require.Equal(t, rpc.Index(5), leader.core.Status().Base)
	require.Len(t, leader.streams.list, 3, "all that follows it is there")
	m.disks[leader.id()].FS.(*vfs.MemFS).TestingSetDiskUsage(vfs.DiskUsage{TotalBytes: 1 << 30})
	require.ErrorIs(t, leader.Propose(nil, nil), ErrFull)
	leader.compactTo(15)
	require.Equal(t, rpc.Index(15), leader.core.Status().Base)
	require.Equal(t, []*stream{installing, waiting}, leader.streams.list)
	require.Contains(t, leader.inbox.take(batch{}).completions, raft.SnapshotEnded{Peer: sending.peer, Term: 7})
}

// Too many open files are no full disk: the log is held for a snapshot, and who is refused hears what is amiss (F21).
func TestTooManyFilesLeaveTheLogForASnapshot(t *testing.T) {
	m := newManual(t, 3, "n1", "n2", "n3")
	m.add(numbers(1, 20)...)
	leader := m.leader()
	m.disks[leader.id()].Hook(func(op waltest.Op) error { return when(op.Kind == waltest.Create, syscall.EMFILE) })
	for !leader.Status().Full {
		require.NoError(t, leader.Propose(make([]byte, 1000), func(any, rpc.EntryID) {}))
		m.run(5)
	}
	require.True(t, leader.Status().TooManyFiles)
	err := leader.Propose(nil, nil)
	require.ErrorIs(t, err, ErrFull)
	require.ErrorContains(t, err, "too many files are open")
	sending := &stream{peer: m.follower(), term: 7, transfer: 1, source: &source{}, id: rpc.EntryID{Term: 1, Index: 5}}
	leader.streams.list = []*stream{sending}
	leader.compactTo(15)
	require.Equal(t, rpc.Index(5), leader.core.Status().Base)
	require.Equal(t, []*stream{sending}, leader.streams.list)
	require.Equal(t, lackFiles, leader.lack())
	leader.room.lack = lackFiles
	leader.publish()
	require.True(t, leader.PingContent().NoRoom)
	m.disks[leader.id()].Hook(nil)
	require.NoError(t, leader.full())
	require.False(t, leader.Status().TooManyFiles)
}

var errPower = errors.New("the power fails")

// powerFails takes a node's power away at the k-th change of its disk from now on. The image is what the disk has then.
func (m *manual) powerFails(id rpc.NodeID, k int, mode waltest.Mode) (image func() *waltest.FS) {
	var left *waltest.FS
	disk := m.disks[id]
	disk.Hook(func(op waltest.Op) error {
		if !op.Kind.Changes() {
			return nil
		}
		if k--; k == 0 {
			left = disk.Crash(mode, m.dice)
			m.hub.down[id] = true // nothing leaves any more
		}
		if k <= 0 {
			return errPower
		}
		return nil
	})
	return func() *waltest.FS { return left }
}

// A crash at any operation on the disk, while a snapshot is received, installed, and the log goes on after it, leaves the old state
// or the new one, never a mix, and the node catches up after it (F29, K33). It leaves nothing that looks like damage: what has the
// name of a whole snapshot is whole (D2).
func TestCrashWhileInstalling(t *testing.T) {
	t.Parallel() // it shares nothing
	crashes := 0
	for k := 1; ; k++ {
		m, away := behind(t, uint64(k%3))
		image := m.powerFails(away, k, waltest.Modes[k%len(waltest.Modes)])
		err := m.tryStart(away, 50)
		if err == nil {
			delete(m.hub.down, away)
			m.greet()
		}
		for range 300 {
			if image() != nil {
				break
			}
			m.run(1)
		}
		if image() == nil {
			m.agree()
			break
		}
		crashes++
		m.steps[away].Abandon()
		m.disks[away] = image()
		m.back(away, 60)
		state := append([]uint64{}, m.vaults[away].list...)
		require.Equal(t, numbers(1, len(state)), state, "a mix of states")
		m.agree()
		m.run(50)
		require.False(t, m.hub.nodes[away].snaps.Exists(snapfile.Complete), "crash %d: %s", k, &m.trail)
		require.False(t, m.hub.nodes[away].snaps.Exists(snapfile.Suspect), "crash %d was taken for damage: %s", k, &m.trail)
	}
	require.Greater(t, crashes, 30)
	t.Log(crashes, "crashes")
}

// diesAt has a node's process end at the k-th change of its disk from now on. What it wrote is there for the next one, synced or not.
func (m *manual) diesAt(id rpc.NodeID, k int) {
	m.disks[id].Hook(func(op waltest.Op) error {
		if !op.Kind.Changes() {
			return nil
		}
		if k--; k > 0 {
			return nil
		}
		m.hub.down[id] = true
		return errPower
	})
}

// comeBack starts a node, and has so much time pass, or until it is down.
func (m *manual) comeBack(id rpc.NodeID, seed uint64, ticks int) {
	delete(m.hub.down, id)
	if err := m.tryStart(id, seed); err != nil {
		require.True(m.t, m.crashed(id), err)
		return
	}
	m.greet()
	for ; ticks > 0 && !m.crashed(id); ticks-- {
		m.run(1)
	}
}

// A process that is killed while a snapshot is received and installed, and a power loss at any operation of the next one: what that believes of the disk is
// durable (K53, K54), so it starts all the same, and catches up.
func TestKilledAndWithoutPowerWhileInstalling(t *testing.T) {
	t.Parallel() // it shares nothing
	both := 0
	for k, killed := 1, true; killed; k++ {
		for j, lost := 1+k%2, true; lost; j += 2 {
			m, away := behind(t, uint64(k%3))
			m.diesAt(away, k)
			m.comeBack(away, 50, 300)
			if killed = m.crashed(away); !killed {
				break
			}
			m.steps[away].Abandon()
			if folder := m.folders[away]; folder != nil {
				require.NoError(t, folder.Close())
			}
			image := m.powerFails(away, j, waltest.KeepNothing)
			m.comeBack(away, 60, 60)
			if lost = m.crashed(away); !lost {
				break
			}
			both++
			m.steps[away].Abandon()
			m.disks[away] = image()
			require.NoError(t, m.tryStart(away, 70), "killed at %d, without power at %d", k, j)
			delete(m.hub.down, away)
			m.greet()
			m.agree()
			require.False(t, m.hub.nodes[away].snaps.Exists(snapfile.Suspect), "killed at %d, without power at %d: %s", k, j, &m.trail)
		}
	}
	require.Greater(t, both, 100)
	t.Log(both)
}

// A snapshot whose file rots after it was received whole, and before it is the state, ends the node, which keeps the state it has; started
// again it sets the file aside and gets another (D1, D4, F18).
func TestAReceivedSnapshotRots(t *testing.T) {
	m, away := behind(t, 2)
	m.back(away, 50)
	node, s := m.hub.nodes[away], m.steps[away]
	for !node.snaps.Exists(snapfile.Complete) {
		m.run(1)
	}
	before := m.vaults[away].bytes()
	file, err := m.disks[away].OpenReadWrite(node.snaps.Path(snapfile.Complete), vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	half := m.chunk + m.chunk/2
	b := make([]byte, 1)
	_, err = file.ReadAt(b, int64(half))
	require.NoError(t, err)
	_, err = file.WriteAt([]byte{b[0] ^ 1}, int64(half))
	require.NoError(t, errors.Join(err, file.Sync(), file.Close()))

	_, err = s.Turn(0)
	for err == nil {
		_, err = s.Apply()
	}
	require.ErrorIs(t, err, snapfile.ErrDamaged)
	require.ErrorContains(t, err, "start the node again")
	require.Equal(t, before, m.vaults[away].bytes())

	m.crash(away)
	m.back(away, 51)
	require.True(t, m.hub.nodes[away].snaps.Exists(snapfile.Suspect))
	m.agree()
}

// A snapshot that was received and for which the disk has no room ends the node, which starts again with the state that it has, and gets another
// once there is room (F21).
func TestAReceivedSnapshotHasNoRoom(t *testing.T) {
	m, away := behind(t, 2)
	m.back(away, 50)
	for !m.hub.nodes[away].snaps.Exists(snapfile.Complete) {
		m.run(1)
	}
	before := m.vaults[away].bytes()
	full, err := m.disks[away].Create(isFull, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	require.NoError(t, errors.Join(full.Sync(), full.Close(), wal.SyncDir(m.disks[away], "")))
	_, err = m.steps[away].Turn(0)
	for err == nil {
		_, err = m.steps[away].Apply()
	}
	require.ErrorIs(t, err, syscall.ENOSPC)

	m.crash(away)
	m.back(away, 51)
	require.Equal(t, before, m.vaults[away].bytes())
	require.False(t, m.hub.nodes[away].snaps.Exists(snapfile.Complete))
	require.NoError(t, m.disks[away].Remove(isFull))
	m.agree()
}

// badLine loses, doubles, holds back and damages chunks.
func (m *manual) badLine() {
	var held []rpc.Message
	m.hub.mangle = func(msg rpc.Message) []rpc.Message {
		chunk, ok := msg.Body.(*rpc.InstallSnapshotCommand)
		if !ok {
			return []rpc.Message{msg}
		}
		switch m.dice.IntN(10) {
		case 0, 1:
			return nil
		case 2:
			return []rpc.Message{msg, msg}
		case 3:
			held = append(held, msg)
			return nil
		case 4:
			damaged := *chunk
			damaged.Data = bytes.Clone(chunk.Data)
			damaged.Data[m.dice.IntN(len(damaged.Data))] ^= 4
			msg.Body = &damaged
			return []rpc.Message{msg}
		case 5:
			late := held
			held = nil
			return append(late, msg)
		}
		return []rpc.Message{msg}
	}
}

// Lost, doubled, late and damaged chunks cost time, nothing else (F1, F4, F29).
func TestSnapshotOverABadLine(t *testing.T) {
	t.Parallel() // it shares nothing
	for seed := range uint64(20) {
		m, away := behind(t, seed)
		m.badLine()
		m.back(away, seed+50)
		m.add(numbers(500, 20)...)
		m.agree()
		require.Contains(t, m.trail.String(), "snapshot installed by a peer")
	}
}

// receiving has time pass until a node has stored a part of a snapshot.
func (m *manual) receiving(id rpc.NodeID) {
	for range 2000 {
		if m.run(1); m.hub.nodes[id].receiver.stored() > 512 {
			return
		}
	}
	m.t.Fatalf("no snapshot comes:\n%s", m.trail.String())
}

// A follower that restarts in the middle goes on with what its disk has; one whose power failed, from what is left of it.
func TestFollowerRestartsWhileReceiving(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		m, away := behind(t, seed)
		m.back(away, seed+50)
		m.receiving(away)
		mode := waltest.Modes[seed%4]
		image := m.disks[away].Crash(mode, m.dice)
		m.crash(away)
		m.disks[away] = image
		m.back(away, seed+60)
		m.agree()
		if mode == waltest.KeepAll {
			require.Equal(t, 1, strings.Count(m.trail.String(), "receiving a snapshot"), "what was there was not used")
		}
	}
}

// A leader that goes in the middle leaves the rest to the next one, which sends its own snapshot; the two are not mixed (K30).
func TestLeaderGoesWhileSending(t *testing.T) {
	for seed := range uint64(10) {
		m, away := behind(t, seed)
		m.back(away, seed+50)
		m.receiving(away)
		old := m.leader().id()
		m.crash(old)
		m.add(numbers(500, 3)...)
		m.back(old, seed+60)
		m.agree()
	}
}

// An order to stream a snapshot may come in the turn that ended the office it was given in: nothing of it outlives that turn (F16).
func TestAStreamBeginsForItsOfficeOnly(t *testing.T) {
	m := newManual(t, 9, "n1", "n2", "n3")
	m.add(numbers(1, 5)...)
	leader := m.leader()
	to, term := m.follower(), leader.core.Status().Term
	order := func(n *Node, peer rpc.NodeID) int {
		n.carrySnapshots(&raft.Effects{Snapshots: []raft.SendSnapshot{{Peer: peer, Term: term}}})
		return len(n.streams.list)
	}
	require.Equal(t, 1, order(leader, to))
	require.Zero(t, order(m.hub.nodes[to], leader.id()), "it does not lead")
}
