package node

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

func openClose(t *testing.T, fs vfs.FS, dir string) *Folder {
	f, err := OpenFolder(fs, dir, "n1")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return f
}

// The instance is for the folder's life, the boot epoch for one start (I12).
func TestFolderKeepsItsInstance(t *testing.T) {
	fs := vfs.NewMem()
	first, second := openClose(t, fs, "/data/n1"), openClose(t, fs, "/data/n1")
	require.Equal(t, first.Instance, second.Instance)
	require.NotZero(t, first.Instance)
	require.Equal(t, uint32(1), first.Boot.Count())
	require.Equal(t, uint32(2), second.Boot.Count())
	require.NotEqual(t, first.Instance, openClose(t, fs, "/data/n2").Instance)
}

// A simulated run finds the folders it had the time before.
func TestFolderFromASeed(t *testing.T) {
	open := func() (rpc.InstanceID, rpc.BootEpoch) {
		f, err := OpenFolderFrom(vfs.NewMem(), "/d", "n1", rand.NewChaCha8([32]byte{1}))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		return f.Instance, f.Boot
	}
	instance, boot := open()
	again, bootAgain := open()
	require.Equal(t, instance, again)
	require.Equal(t, boot, bootAgain)
}

// One process at a time (F13).
func TestFolderInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n1")
	f, err := OpenFolder(vfs.Default, dir, "n1")
	require.NoError(t, err)
	_, err = OpenFolder(vfs.Default, dir, "n1")
	require.ErrorIs(t, err, ErrFolderInUse)
	require.NoError(t, f.Close())
	openClose(t, vfs.Default, dir)
}

// A folder that nobody holds, but that cannot be written, is not said to be in use.
func TestFolderThatCannotBeLocked(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "LOCK"), 0o700))
	_, err := OpenFolder(vfs.Default, dir, "n1")
	require.ErrorContains(t, err, "its LOCK cannot be written: see that the disk is mounted for writing")
	require.NotErrorIs(t, err, ErrFolderInUse)
}

func TestFolderOfAnotherNode(t *testing.T) {
	fs := vfs.NewMem()
	openClose(t, fs, "/d")
	_, err := OpenFolder(fs, "/d", "n2")
	require.ErrorContains(t, err, "belongs to node n1")
	require.ErrorIs(t, err, ErrOtherNode)
}

// A folder that has lost its identity must not come back as a new one (D3).
func TestFolderWithoutIdentity(t *testing.T) {
	fs := vfs.NewMem()
	openClose(t, fs, "/d")
	require.NoError(t, fs.MkdirAll("/d/wal", 0o700))
	require.NoError(t, fs.Remove("/d/identity"))
	_, err := OpenFolder(fs, "/d", "n1")
	require.ErrorContains(t, err, "no identity")
}

// Every flipped bit of the identity is noticed (D1).
func TestFolderIdentityDamage(t *testing.T) {
	fs := vfs.NewMem()
	openClose(t, fs, "/d")
	raw := readFile(t, fs, "/d/identity")
	for bit := range len(raw) * 8 {
		damaged := append([]byte(nil), raw...)
		damaged[bit/8] ^= 1 << (bit % 8)
		_, err := parseIdentity(damaged)
		require.Error(t, err, "bit %d", bit)
	}
	for cut := range raw {
		_, err := parseIdentity(raw[:cut])
		require.Error(t, err, "cut at %d", cut)
	}
}

func readFile(t *testing.T, fs vfs.FS, path string) []byte {
	f, err := fs.Open(path)
	require.NoError(t, err)
	defer f.Close()
	stat, err := f.Stat()
	require.NoError(t, err)
	raw := make([]byte, stat.Size())
	_, err = f.ReadAt(raw, 0)
	require.NoError(t, err)
	return raw
}

// After a power loss the folder is as it was before the start, or after it: never without its identity (F17, K33, K54).
func TestFolderSurvivesPowerLoss(t *testing.T) {
	fs := vfs.NewCrashableMem()
	before := openClose(t, fs, "/d")
	crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	after := openClose(t, crashed, "/d")
	require.Equal(t, before.Instance, after.Instance)
	require.Equal(t, before.Boot.Count()+1, after.Boot.Count(), "a start that was counted is forgotten")
}

// A new folder's name is durable, and so are those of the folders it is in (K54).
func TestFolderAndItsParentsSurvivePowerLoss(t *testing.T) {
	fs := vfs.NewCrashableMem()
	first := openClose(t, fs, "/a/b/n1")
	crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	require.Equal(t, first.Instance, openClose(t, crashed, "/a/b/n1").Instance)
}

// A node whose log is gone, but not its identity, would be known to its peers and vote again in terms it voted in: it is
// refused (D3, K11). Before it had a part in consensus it has nothing to lose.
func TestFolderThatLostItsLog(t *testing.T) {
	fs := vfs.NewCrashableMem()
	openClose(t, fs, "/d")
	require.NoError(t, serveOnce(t, fs), "a folder without a log, before the first boot")
	crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	require.NoError(t, crashed.RemoveAll("/d/wal"))
	require.ErrorContains(t, serveOnce(t, crashed), "put it back")
	require.NoError(t, serveOnce(t, fs), "a whole folder")
}

// serveOnce runs a node by itself on the folder /d, until it serves. The error is Start's.
func serveOnce(t *testing.T, fs vfs.FS) error {
	f, err := OpenFolder(fs, "/d", "n1")
	require.NoError(t, err)
	defer f.Close()
	log, err := wal.Open(fs, f.Path("wal"), wal.Options{})
	require.NoError(t, err)
	defer log.Close()
	conf, err := config.Validate(config.Config{NodeID: "n1", MemberIDs: []rpc.NodeID{"n1"}})
	require.NoError(t, err)
	n := New(Options{Config: conf, Instance: f.Instance, Folder: f, Log: log, Machine: &sum{}, Logger: quiet()})
	hub := newHub()
	if err := n.Start(port{hub, "n1"}); err != nil {
		return err
	}
	defer hub.leave("n1")
	n.Bus(true)
	require.Eventually(t, func() bool { return n.Status().Serving }, 5*time.Second, time.Millisecond)
	return n.Stop(t.Context())
}
