package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/snapfile"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// received is a group of which one node has received a snapshot whole, and has not installed it. It stopped then.
func received(t *testing.T, seed uint64) (m *manual, away rpc.NodeID) {
	m, away = behind(t, seed)
	m.back(away, seed+50)
	for !m.hub.nodes[away].snaps.Exists(snapfile.Complete) {
		m.run(1)
	}
	m.crash(away)
	return m, away
}

func (m *manual) snapshots(id rpc.NodeID) *snapfile.Dir {
	return &snapfile.Dir{FS: m.disks[id], Root: m.folders[id].Path("snapshot")}
}

// switched has the state of a node that stopped be another one: that of the snapshot which it has received, or another node's.
func (m *manual) switched(id rpc.NodeID, state []byte) {
	v, err := openVault(m.disks[id], 7)
	require.NoError(m.t, err)
	require.NoError(m.t, v.Restore(bytes.NewReader(state)))
}

// A received snapshot that is damaged, or that the disk does not give any more, is set aside, and the leader sends another, as long as log and state go
// on without it. Where the state is the snapshot's already, nothing else tells how the log goes on: the file stays, and the error says what to do (D1, D4).
func TestAReceivedSnapshotCannotBeRead(t *testing.T) {
	failing := func(kind errorfs.OpKind) func(*manual, rpc.NodeID, string) func() {
		return func(m *manual, id rpc.NodeID, file string) func() {
			whole := m.disks[id].FS
			m.disks[id].FS = errorfs.Wrap(whole, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind == kind && op.Path == file {
					return syscall.EIO
				}
				return nil
			}))
			return func() { m.disks[id].FS = whole }
		}
	}
	rots := func(m *manual, id rpc.NodeID, file string) func() {
		raw := readFile(t, m.disks[id], file)
		raw[len(raw)/2] ^= 1
		put := func() {
			f, err := m.disks[id].Create(file, vfs.WriteCategoryUnspecified)
			require.NoError(t, err)
			_, err = f.Write(bytes.Clone(raw))
			require.NoError(t, errors.Join(err, f.Sync(), f.Close()))
		}
		put()
		raw[len(raw)/2] ^= 1
		return put
	}
	for name, fault := range map[string]func(*manual, rpc.NodeID, string) (mend func()){"rots": rots, "open": failing(errorfs.OpOpen), "read": failing(errorfs.OpFileReadAt)} {
		m, away := received(t, 2)
		snaps := m.snapshots(away)
		disk := m.disks[away].FS
		fault(m, away, snaps.Path(snapfile.Complete))
		m.back(away, 60)
		m.disks[away].FS = disk
		require.False(t, snaps.Exists(snapfile.Complete), name)
		require.True(t, snaps.Exists(snapfile.Suspect), name)
		m.agree()

		m, away = received(t, 2)
		snaps = m.snapshots(away)
		r, file, err := snaps.Open()
		require.NoError(t, err)
		var state bytes.Buffer
		_, err = state.ReadFrom(r)
		require.NoError(t, errors.Join(err, file.Close()))
		m.switched(away, state.Bytes())
		mend := fault(m, away, snaps.Path(snapfile.Complete))
		err = m.tryStart(away, 60)
		require.ErrorContains(t, err, snaps.Path(snapfile.Complete), name)
		require.ErrorContains(t, err, "raftbus member replace", name)
		require.True(t, snaps.Exists(snapfile.Complete), name)
		require.NoError(t, errors.Join(m.logs[away].Close(), m.folders[away].Close()))
		mend()
		m.back(away, 70)
		m.agree()
	}
}

// A failing disk does not even say that there is no received snapshot: the node starts, since it finds none to set aside (D4).
func TestADiskDoesNotSayThatThereIsNoReceivedSnapshot(t *testing.T) {
	m, away := received(t, 2)
	snaps := m.snapshots(away)
	require.NoError(t, snaps.Remove(snapfile.Complete))
	whole, asked := m.disks[away].FS, 0
	m.disks[away].FS = errorfs.Wrap(whole, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind != errorfs.OpStat || op.Path != snaps.Path(snapfile.Complete) {
			return nil
		}
		asked++
		return syscall.EIO
	}))
	m.back(away, 60)
	require.Positive(t, asked)
	m.disks[away].FS = whole
	m.agree()
}

// reading has a disk call before each read of a file.
func reading(m *manual, id rpc.NodeID, file string, do func(reads int) error) (undo func()) {
	whole, reads := m.disks[id].FS, 0
	m.disks[id].FS = errorfs.Wrap(whole, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Path != file || op.Kind != errorfs.OpFileReadAt && op.Kind != errorfs.OpOpen {
			return nil
		}
		reads++
		return do(reads)
	}))
	return func() { m.disks[id].FS = whole }
}

// Too many open files say nothing of a received snapshot: it stays, and the next start installs it (F21).
func TestAReceivedSnapshotOutlivesTooManyFiles(t *testing.T) {
	m, away := received(t, 2)
	snaps := m.snapshots(away)
	mend := reading(m, away, snaps.Path(snapfile.Complete), func(int) error { return syscall.EMFILE })
	require.ErrorIs(t, m.tryStart(away, 60), syscall.EMFILE)
	require.True(t, snaps.Exists(snapfile.Complete))
	require.False(t, snaps.Exists(snapfile.Suspect))
	require.NoError(t, errors.Join(m.logs[away].Close(), m.folders[away].Close()))
	before := m.vaults[away].Applied()
	mend()
	m.back(away, 70)
	require.Greater(t, m.vaults[away].Applied().Index, before.Index, "it was installed")
	m.agree()
}

// A start that is to stop does not first read a state that may take minutes, to check it or to install it: the next start does that (L7).
func TestAStartThatInstallsASnapshotCanBeStopped(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for stopAt, whole := 1, false; !whole; stopAt++ {
		m, away := received(t, 2)
		snaps, reads := m.snapshots(away), 0
		mend := reading(m, away, snaps.Path(snapfile.Complete), func(n int) error {
			if reads = n; reads == stopAt {
				require.ErrorIs(t, m.hub.nodes[away].Stop(ended), context.Canceled)
			}
			return nil
		})
		err := m.tryStart(away, 60)
		mend()
		if whole = err == nil; !whole {
			require.ErrorIs(t, err, ErrStopped)
			require.True(t, snaps.Exists(snapfile.Complete))
			require.False(t, snaps.Exists(snapfile.Suspect))
			require.LessOrEqual(t, reads, stopAt+3, "it reads a chunk to its end, and no more")
		} else {
			require.Greater(t, stopAt, 20, "it reads so often")
			m.steps[away].Abandon()
		}
		require.NoError(t, errors.Join(m.logs[away].Close(), m.folders[away].Close()))
		m.back(away, 70)
		m.agree()
	}
}

// A log that does not reach to a received snapshot, and a state that has applied more than that, or another entry in its place, are of two folders: log and
// snapshot stay as they are (D3, D4).
func TestAReceivedSnapshotOfMixedFolders(t *testing.T) {
	for name, state := range map[string]func(*manual, rpc.EntryID) []byte{
		"more": func(m *manual, _ rpc.EntryID) []byte {
			m.add(7)
			return m.vaults[m.leader().id()].bytes()
		},
		"another entry": func(_ *manual, id rpc.EntryID) []byte {
			id.Term++
			return (&vault{sum: sum{applied: id}}).bytes()
		},
	} {
		m, away := received(t, 2)
		snaps := m.snapshots(away)
		r, file, err := snaps.Open()
		require.NoError(t, errors.Join(err, file.Close()))
		m.switched(away, state(m, r.Head.Snapshot))
		dir := m.folders[away].Path("wal")
		before := segments(t, m.disks[away], dir)
		require.ErrorContains(t, m.tryStart(away, 60), "parts of two folders were mixed", name)
		require.True(t, snaps.Exists(snapfile.Complete), name)
		require.Equal(t, before, segments(t, m.disks[away], dir), name)
	}
}

// A disk that has room for the state, and then none for the log, keeps the snapshot: the state is that one's now, and nothing else tells how the log goes
// on (F21).
func TestAReceivedSnapshotStaysUntilTheLogHasIt(t *testing.T) {
	m, away := received(t, 2)
	restored := false
	m.disks[away].Hook(func(op waltest.Op) error {
		restored = restored || op.Kind == waltest.Rename && op.Name == "vault.tmp"
		if restored && op.Kind == waltest.Write && strings.HasPrefix(op.Name, m.folders[away].Path("wal")) {
			return syscall.ENOSPC
		}
		return nil
	})
	require.ErrorIs(t, m.tryStart(away, 60), syscall.ENOSPC)
	require.True(t, m.snapshots(away).Exists(snapfile.Complete))
	require.NoError(t, errors.Join(m.logs[away].Close(), m.folders[away].Close()))
	m.disks[away].Hook(nil)
	m.back(away, 70)
	m.agree()
}

// A process that was killed as it gave a received snapshot its name may not have made that durable: the next start does, before it replaces the state. Else a
// power loss could leave the new state and neither the snapshot nor a log that goes on from it (K54, F29).
func TestAReceivedSnapshotHasItsNameBeforeItIsInstalled(t *testing.T) {
	m, away := received(t, 2)
	snaps, restored := m.snapshots(away), false
	require.NoError(t, snaps.Move(snapfile.Complete, snapfile.Incoming))
	require.NoError(t, m.disks[away].Rename(snaps.Path(snapfile.Incoming), snaps.Path(snapfile.Complete)))
	m.disks[away].Hook(func(op waltest.Op) error {
		restored = restored || op.Kind == waltest.Rename && op.Name == "vault.tmp"
		if restored && op.Kind == waltest.Write && strings.HasPrefix(op.Name, m.folders[away].Path("wal")) {
			return errors.New("the power is gone")
		}
		return nil
	})
	require.ErrorContains(t, m.tryStart(away, 60), "the power is gone")
	m.disks[away] = m.disks[away].Crash(waltest.KeepNothing, m.dice)
	require.True(t, m.snapshots(away).Exists(snapfile.Complete))
	m.back(away, 70)
	m.agree()
}

// The term of a snapshot that is installed at a start is the node's: in none before it does it vote again (I7).
func TestAReceivedSnapshotBringsItsTerm(t *testing.T) {
	m, away := received(t, 2)
	at := rpc.EntryID{Term: 9, Index: 900}
	v := &vault{}
	v.applied = at
	stream := append(make([]byte, snapfile.TimeBytes), v.bytes()...)
	stage, err := snapfile.Create(m.disks[away], m.snapshots(away).Path(snapfile.Complete), snapfile.Head{From: "n1", Term: 9, Transfer: 1, Snapshot: at})
	require.NoError(t, err)
	require.NoError(t, stage.Add(stream))
	digest, conf := sha256.Sum256(stream), m.leader().core.Committed()
	require.NoError(t, stage.Finish(digest[:], &conf))
	m.start(away, 60)
	require.Equal(t, at, m.vaults[away].Applied())
	require.Equal(t, rpc.Term(9), m.logs[away].State(0).HardState.Term)
}
