package folder

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

func instance(id rpc.NodeID) (i rpc.InstanceID) { copy(i[:], id); return i }

var errPower = errors.New("the power fails")

// A power loss at any operation leaves what was known before, or after (K33, K54).
func TestF23CrashWhileKeepingStarts(t *testing.T) {
	list := func(count uint64) []Start {
		return []Start{{ID: "n2", Instance: instance("n2"), Boot: rpc.BootEpoch(count << 32)}}
	}
	for _, mode := range waltest.Modes {
		for k := 1; ; k++ {
			fs, dice := waltest.New(), rand.New(rand.NewPCG(uint64(k), 1))
			f, err := Open(fs, "d", "n1")
			require.NoError(t, err)
			require.NoError(t, f.WriteStarts(list(1)))
			require.NoError(t, f.Close())
			left, image := k, (*waltest.FS)(nil)
			fs.Hook(func(op waltest.Op) error {
				if left--; left == 0 {
					image = fs.Crash(mode, dice)
				}
				if left <= 0 {
					return errPower
				}
				return nil
			})
			err = f.WriteStarts(list(2))
			if image == nil {
				require.NoError(t, err)
				image = fs.Crash(waltest.KeepNothing, dice)
			}
			f, openErr := Open(image, "d", "n1")
			require.NoError(t, openErr)
			require.NoError(t, f.Lost)
			require.Contains(t, [][]Start{list(1), list(2)}, f.Starts)
			if err == nil {
				require.Equal(t, list(2), f.Starts)
				break
			}
		}
	}
}

// A file that is damaged anywhere is set aside, and the node starts without it (D1, D4).
func TestF23DamagedStartsAreSetAside(t *testing.T) {
	fs := vfs.NewMem()
	f, err := Open(fs, "d", "n1")
	require.NoError(t, err)
	require.NoError(t, f.WriteStarts([]Start{{ID: "n2", Instance: instance("n2"), Boot: 7 << 32}}))
	whole, err := f.readFile(startsName)
	require.NoError(t, err)
	for i := range 8 * len(whole) {
		bad := bytes.Clone(whole)
		bad[i/8] ^= 1 << (i % 8)
		file, err := fs.Create(f.Path(startsName), vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		_, err = file.Write(bytes.Clone(bad)) // memory may scribble on what it was given
		require.NoError(t, errors.Join(err, file.Close()))
		f.Lost, f.Starts = nil, nil
		require.NoError(t, f.loadStarts())
		require.ErrorContains(t, f.Lost, startsSuspect, "bit %d", i)
		require.Empty(t, f.Starts)
		kept, err := f.readFile(startsSuspect)
		require.NoError(t, err)
		require.Equal(t, bad, kept)
	}
}

// So is one that the disk does not give any more, wherever it fails.
func TestF23UnreadableStartsAreSetAside(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpOpen, errorfs.OpFileRead} {
		mem := vfs.NewMem()
		f, err := Open(mem, "d", "n1")
		require.NoError(t, err)
		require.NoError(t, errors.Join(f.WriteStarts([]Start{{ID: "n2", Instance: instance("n2"), Boot: 7 << 32}}), f.Close()))
		failing := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == kind && op.Path == f.Path(startsName) {
				return syscall.EIO
			}
			return nil
		}))
		for i := range 2 { // a disk may fail to say, too, that there is no such file
			f, err = Open(failing, "d", "n1")
			require.NoError(t, err)
			if i == 0 {
				require.ErrorIs(t, f.Lost, syscall.EIO)
			}
			require.Empty(t, f.Starts)
			_, err = f.readFile(startsSuspect)
			require.NoError(t, errors.Join(err, f.Close()))
		}
	}
}

// Too many open files say nothing of it: it stays, and the next start reads it (F21).
func TestF23StartsOutliveTooManyFiles(t *testing.T) {
	mem := vfs.NewMem()
	f, err := Open(mem, "d", "n1")
	require.NoError(t, err)
	list := []Start{{ID: "n2", Instance: instance("n2"), Boot: 7 << 32}}
	require.NoError(t, errors.Join(f.WriteStarts(list), f.Close()))
	_, err = Open(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpOpen && op.Path == f.Path(startsName) {
			return syscall.EMFILE
		}
		return nil
	})), "d", "n1")
	require.ErrorIs(t, err, syscall.EMFILE)
	f, err = Open(mem, "d", "n1")
	require.NoError(t, err)
	require.NoError(t, f.Lost)
	require.Equal(t, list, f.Starts)
	require.NoError(t, f.Close())
}

// Starts as a later build writes them are set aside, not read as what they are not (F28).
func TestF23StartsOfALaterBuildAreSetAside(t *testing.T) {
	f, err := Open(vfs.NewMem(), "d", "n1")
	require.NoError(t, err)
	require.NoError(t, f.writeLine(startsName, startsFile{Version: startsVersion + 1}))
	require.NoError(t, f.loadStarts())
	require.ErrorContains(t, f.Lost, "version 2, this build reads 1")
	require.NoError(t, f.Close())
}
