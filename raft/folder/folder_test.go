package folder

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/leaktest"
	"github.com/raftbus/raftbus/raft/rpc"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func openClose(t *testing.T, fs vfs.FS, dir string) *Folder {
	f, err := Open(fs, dir, "n1")
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

// The epochs of the last starts are kept, and no more: with all of them the file would in the end be too large to be read, and the node would not
// start any more (F23).
func TestFolderKeepsItsLastStarts(t *testing.T) {
	fs := vfs.NewMem()
	require.Equal(t, 64, bootsMax, "a member that was away for fewer starts than these knows an old copy of a folder")
	var boots []rpc.BootEpoch
	for range bootsMax + 2 {
		boots = append(boots, openClose(t, fs, "/d").Boot)
	}
	require.Equal(t, boots[2:], openClose(t, fs, "/d").Earlier)
}

// A simulated run finds the folders it had the time before.
func TestFolderFromASeed(t *testing.T) {
	open := func() (rpc.InstanceID, rpc.BootEpoch) {
		f, err := OpenFrom(vfs.NewMem(), "/d", "n1", rand.NewChaCha8([32]byte{1}))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		return f.Instance, f.Boot
	}
	instance, boot := open()
	again, bootAgain := open()
	require.Equal(t, instance, again)
	require.Equal(t, boot, bootAgain)
}

// What only others may read lies above a folder now and then: its name is made durable as far as this user may, and the folder serves. Any other
// error above it counts (K54).
func TestFolderBelowWhatOnlyOthersRead(t *testing.T) {
	for _, refusal := range []error{os.ErrPermission, syscall.EIO} {
		mem := vfs.NewMem()
		require.NoError(t, mem.MkdirAll("/mnt/ours", 0o700))
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpOpenDir && op.Path == "/mnt" {
				return refusal
			}
			return nil
		}))
		f, err := Open(fs, "/mnt/ours/n1", "n1")
		if refusal != os.ErrPermission {
			require.ErrorIs(t, err, refusal)
			continue
		}
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
}

// One process at a time (F13).
func TestFolderInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n1")
	f, err := Open(vfs.Default, dir, "n1")
	require.NoError(t, err)
	_, err = Open(vfs.Default, dir, "n1")
	require.ErrorIs(t, err, ErrInUse)
	require.NoError(t, f.Close())
	openClose(t, vfs.Default, dir)
}

// A folder that nobody holds, but that cannot be written, is not said to be in use.
func TestFolderThatCannotBeLocked(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "LOCK"), 0o700))
	_, err := Open(vfs.Default, dir, "n1")
	require.ErrorContains(t, err, "its LOCK cannot be written: see that the disk is mounted for writing")
	require.NotErrorIs(t, err, ErrInUse)

	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = Open(vfs.Default, file, "n1")
	require.ErrorContains(t, err, "it is a file: choose a folder")
	_, err = Open(vfs.Default, filepath.Join(file, "n1"), "n1")
	require.ErrorContains(t, err, "not a directory: make it for this user, or choose another")
}

// lockless is a disk that gives no lock.
type lockless struct {
	vfs.FS
	why error
}

func (l lockless) Lock(string) (io.Closer, error) { return nil, l.why }

// Nor is one that cannot be locked for another reason than that somebody has the lock: starting again may well cure that.
func TestFolderWithoutLocks(t *testing.T) {
	for why, inUse := range map[syscall.Errno]bool{
		syscall.EAGAIN: true, syscall.EACCES: true, syscall.ENOLCK: false, syscall.EIO: false, syscall.EINTR: false,
	} {
		_, err := Open(lockless{vfs.NewMem(), why}, "/d", "n1")
		require.Equal(t, inUse, errors.Is(err, ErrInUse), why)
		require.ErrorContains(t, err, why.Error())
		if !inUse {
			require.ErrorContains(t, err, "its LOCK cannot be locked: see that the file system has locks")
			require.ErrorIs(t, err, why)
		}
	}
}

func TestFolderOfAnotherNode(t *testing.T) {
	fs := vfs.NewMem()
	openClose(t, fs, "/d")
	_, err := Open(fs, "/d", "n2")
	require.ErrorContains(t, err, "belongs to node n1")
	require.ErrorIs(t, err, ErrOtherNode)
	openClose(t, fs, "/d") // nobody holds it
}

// emptyFolder is what n1 does that has lost what it cannot do without.
const emptyFolder = "give n1 an empty folder, start it with --join, then raftbus member replace n1"

// A folder that has lost its identity must not come back as a new one (D3).
func TestFolderWithoutIdentity(t *testing.T) {
	for _, left := range []string{"/d/wal", "/d/kv"} {
		fs := vfs.NewMem()
		openClose(t, fs, "/d")
		require.NoError(t, fs.MkdirAll(left, 0o700))
		require.NoError(t, fs.Remove("/d/identity"))
		_, err := Open(fs, "/d", "n1")
		require.ErrorContains(t, err, "no identity", left)
		require.ErrorContains(t, err, emptyFolder)
	}
}

// A start that cannot be counted is none: the node would come back with an epoch that its peers have seen, or as another (D3, I12).
func TestFolderThatCannotBeWritten(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpRename} {
		mem := vfs.NewMem()
		for range 2 { // a new folder, and one that was started before
			_, err := Open(failing(mem, "/d/identity.tmp", kind), "/d", "n1")
			require.ErrorIs(t, err, syscall.EIO, kind)
			openClose(t, mem, "/d")
		}
	}
}

// failing is a file system where such an operation on a file fails.
func failing(fs vfs.FS, path string, kind errorfs.OpKind) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Path == path && op.Kind == kind {
			return syscall.EIO
		}
		return nil
	}))
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
		require.ErrorContains(t, err, "raftbus member replace", "bit %d", bit)
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
