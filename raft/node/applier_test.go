package node

import (
	"cmp"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

// An entry of a kind that this build does not know stops the node before any of its run is applied: it is never skipped (F28).
func TestUnknownKindStopsTheNode(t *testing.T) {
	machine := &sum{}
	a := &applier{machine: machine, waiters: &waiters{}, spot: newSpot(func() {}), report: func(raft.Event, bool) bool { t.Error("it was applied"); return false }}
	entries := []rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryNoop}, {Index: 2, Term: 1, Kind: 200}}
	a.submit(applyWork{run: raft.Apply{From: 1, To: 2, Entries: entries}}, false)
	_, err := a.step()
	require.ErrorContains(t, err, "kind 200")
	require.ErrorContains(t, err, "run the version that wrote it")
	require.Zero(t, machine.Applied())
}

// countedFS counts the files that are open to be read.
type countedFS struct {
	vfs.FS
	open int
}

type countedFile struct {
	vfs.File
	fs *countedFS
}

func (c *countedFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := c.FS.Open(name, o...)
	if err == nil {
		c.open++
		f = countedFile{f, c}
	}
	return f, err
}

func (f countedFile) Close() error { f.fs.open--; return f.File.Close() }

// anyState is a machine that takes whatever state there is, or fails when it has read it.
type anyState struct {
	sum
	fails error
}

func (m *anyState) Restore(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	m.applied = rpc.EntryID{Term: 3, Index: 9}
	return cmp.Or(m.fails, err)
}

// The file of a snapshot is closed once it is installed, or was not: its room on the disk would be free with the process only.
func TestAnInstalledSnapshotIsClosed(t *testing.T) {
	fs := &countedFS{FS: vfs.NewMem()}
	r, said := newTestReceiver(fs)
	at := rpc.EntryID{Term: 3, Index: 9}
	r.takeAll(t, said, transfer(4, 1, at, content(100, 1), 40)...)
	for _, fails := range []error{io.ErrShortBuffer, nil} {
		a := &applier{machine: &anyState{fails: fails}, waiters: &waiters{}, snaps: r.snapDir, spot: newSpot(func() {}), report: func(raft.Event, bool) bool { return false }}
		before := fs.open
		require.ErrorIs(t, a.install(raft.Install{Snapshot: at, Transfer: 1}), fails)
		require.Equal(t, before, fs.open)
	}
}

// A read from the log that finds no place, since reads of earlier terms wait for the disk, is asked for again: the peer that needs it is not
// waited for, for ever (K62).
func TestK62ALoadThatFindsNoPlaceIsAskedAgain(t *testing.T) {
	m := newManualWith(t, 1, func(o *Options) { o.Tune = func(l *raft.Limits) { l.CacheBytesMax = 1 << 10 } }, "n1", "n2", "n3")
	m.add(numbers(1, 3)...)
	away := m.follower()
	m.crash(away)
	m.add(numbers(4, 100)...)
	leader := m.leader()
	queue := leader.loader.work
	m.back(away, 50)
	for range 3 * leader.ticks().Heartbeat {
		for len(queue) < cap(queue) {
			queue <- raft.Load{Peer: away, Term: 0, From: 1, To: 2, MaxBytes: 1}
		}
		m.run(1)
	}
	require.Less(t, m.machines[away].total, m.machines[leader.id()].total)
	m.agree()
}
