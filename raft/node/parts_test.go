package node

// Parts of a data folder that are gone, or of another one.

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// emptyFolder is what n1 does that has lost what it cannot do without.
const emptyFolder = "give n1 an empty folder, start it with --join, then raftbus member replace n1"

// folderOf makes a folder of n1, which nobody holds.
func folderOf(t *testing.T, fs vfs.FS, dir string) {
	f, err := folder.Open(fs, dir, "n1")
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func readFile(t *testing.T, fs vfs.FS, path string) []byte {
	f, err := fs.Open(path)
	require.NoError(t, err)
	raw, err := io.ReadAll(f)
	require.NoError(t, errors.Join(err, f.Close()))
	return raw
}

// A node whose log is gone, but not its identity, would be known to its peers and vote again in terms it voted in: it is
// refused (D3, K11). Before it had a part in consensus it has nothing to lose. Nothing takes the place of what is gone: put back it serves, be it compacted
// or not.
func TestFolderThatLostItsLog(t *testing.T) {
	fs := vfs.NewMem()
	folderOf(t, fs, "/d")
	require.NoError(t, serveOnce(t, fs, &sum{}), "a folder without a log, before the first boot")
	last := compacted(t, fs, "/d/wal")
	require.NoError(t, fs.Rename("/d/wal", "/lost"))
	names, err := fs.List("/d")
	require.NoError(t, err)
	for _, dir := range []string{"", "/d/wal"} {
		if dir != "" {
			require.NoError(t, fs.MkdirAll(dir, 0o700))
		}
		require.ErrorContains(t, serveOnce(t, fs, &sum{applied: last}), "put it back, or "+emptyFolder)
		left, err := fs.List("/d/wal")
		require.Equal(t, dir != "", err == nil)
		require.Empty(t, left)
	}
	require.NoError(t, fs.Remove("/d/wal"))
	same, err := fs.List("/d")
	require.NoError(t, err)
	require.ElementsMatch(t, names, same)

	empty, err := wal.Open(fs, "/d/wal", wal.Options{})
	require.NoError(t, err)
	require.NoError(t, empty.Close())
	require.ErrorContains(t, serveOnce(t, fs, &sum{applied: last}), "put it back", "a log that holds nothing")
	require.NoError(t, fs.RemoveAll("/d/wal"))
	require.NoError(t, fs.Rename("/lost", "/d/wal"))
	require.NoError(t, serveOnce(t, fs, &sum{applied: last}), "a whole folder")
}

// compacted makes a log one that begins with a later segment than the first, and returns its base.
func compacted(t *testing.T, fs vfs.FS, dir string) rpc.EntryID {
	log, err := wal.Open(fs, dir, wal.Options{})
	require.NoError(t, err)
	before := log.State(0)
	last := before.Last
	for range 3 {
		last.Index++
		require.NoError(t, log.Append(wal.Batch{Entries: []rpc.Entry{{Index: last.Index, Term: last.Term, Kind: rpc.EntryCommand, Data: make([]byte, 600<<10)}}}))
	}
	names, err := fs.List(dir)
	require.NoError(t, err)
	require.NoError(t, log.Compact(0, wal.Base{ID: last, Configuration: before.Base.Configuration}))
	left, err := fs.List(dir)
	require.NoError(t, err)
	require.NotContains(t, left, slices.Min(names))
	require.NoError(t, log.Close())
	return last
}

// Parts of two folders under one roof are refused, and it is said which: a log and another's state, which has applied what this log does not hold, or
// lacks what it has forgotten; a log and another's identity, by which none of its votes is its own (D3).
func TestFolderOfMixedParts(t *testing.T) {
	fs := vfs.NewMem()
	folderOf(t, fs, "/d")
	require.NoError(t, serveOnce(t, fs, &sum{}))
	log, err := wal.Open(fs, "/d/wal", wal.Options{})
	require.NoError(t, err)
	state := log.State(0)
	refused := func(machine *sum, why string) {
		t.Helper()
		require.ErrorContains(t, serveOnce(t, fs, machine), why)
	}
	require.NoError(t, log.Compact(0, wal.Base{ID: state.Last, Configuration: state.Base.Configuration}))
	require.NoError(t, log.Close())
	const mixed = "its folders do not belong together; put back the ones that do, or " + emptyFolder
	refused(&sum{}, mixed)
	refused(&sum{applied: rpc.EntryID{Term: 9, Index: state.Last.Index + 1}}, mixed)
	refused(&sum{applied: rpc.EntryID{Term: state.Last.Term + 1, Index: state.Last.Index}}, mixed)
	require.NoError(t, serveOnce(t, fs, &sum{applied: state.Last}))

	folderOf(t, fs, "/e")
	require.NoError(t, fs.Rename("/e/identity", "/d/identity"))
	refused(&sum{applied: state.Last}, "parts of two folders were mixed; put back the ones that belong together")
}

// An index alone does not say that a state is of this log's history: that of another cluster, or of a copy that went another way, has applied as much,
// and something else (I5).
func TestAStateOfAnotherHistoryIsRefused(t *testing.T) {
	log, err := wal.Open(vfs.NewMem(), "/wal", wal.Options{Inline: true, SegmentBytes: 8 << 10})
	require.NoError(t, err)
	b := wal.Batch{Base: &wal.Base{Configuration: rpc.AppendConfiguration(nil, &table)}, HardState: &rpc.HardState{Term: 6, Vote: "n2"}}
	for i := rpc.Index(1); i <= 10; i++ {
		b.Entries = append(b.Entries, rpc.Entry{Index: i, Term: 4, Kind: rpc.EntryCommand, Time: int64(i), Data: []byte("x")})
	}
	require.NoError(t, log.Append(b))
	conf, err := config.Validate(config.Config{NodeID: "n1", MemberIDs: []rpc.NodeID{"n1", "n2", "n3"}})
	require.NoError(t, err)
	start := func(applied rpc.EntryID) (*Steps, error) {
		n := New(Options{Config: conf, Folder: folderFor(t, "n1"), Log: log, Machine: &sum{applied: applied}, Logger: quiet()})
		return n.StartSteps(port{newHub(), "n1"})
	}
	_, err = start(rpc.EntryID{Term: 1, Index: 3})
	require.ErrorContains(t, err, "has applied 1/3, which the log, of entries 1 to 10, does not hold: its folders do not belong together")
	s, err := start(rpc.EntryID{Term: 4, Index: 3})
	require.NoError(t, err)
	s.Abandon()
	require.NoError(t, log.Close())
}

// serveOnce runs a node by itself on the folder /d, until it serves. The error is that of the start.
func serveOnce(t *testing.T, fs vfs.FS, machine *sum) error {
	f, err := folder.Open(fs, "/d", "n1")
	require.NoError(t, err)
	defer f.Close()
	log, err := f.OpenLog(wal.Options{})
	if err != nil {
		return err
	}
	defer log.Close()
	conf, err := config.Validate(config.Config{NodeID: "n1", MemberIDs: []rpc.NodeID{"n1"}})
	require.NoError(t, err)
	n := New(Options{Config: conf, Folder: f, Log: log, Machine: machine, Logger: quiet()})
	hub := newHub()
	if err := n.Start(port{hub, "n1"}); err != nil {
		return err
	}
	defer hub.leave("n1")
	n.Bus(true)
	require.Eventually(t, func() bool { return n.Status().Serving }, 5*time.Second, time.Millisecond)
	return n.Stop(t.Context())
}
