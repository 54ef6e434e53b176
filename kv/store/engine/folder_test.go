package engine

import (
	"errors"
	"log/slog"
	"os"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

// A process is killed at every step of making the folder, with what it wrote there for the next one, but not all of it on the disk. What that
// one then finds, or makes, outlives a power loss (K54).
func TestAFolderThatAKilledProcessMadeOutlivesAPowerLoss(t *testing.T) {
	const dir = "node/store"
	killed := errors.New("killed")
	for at, err := 1, killed; err != nil; at++ {
		fs, ops := vfs.NewCrashableMem(), 0
		dying := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				ops++
			}
			if ops >= at {
				return killed
			}
			return nil
		}))
		_, err = folder{dying, dir}.open()
		number, second := folder{fs, dir}.open()
		require.NoError(t, second, "killed at step %d", at)
		complete, second := folder{fs.CrashClone(vfs.CrashCloneCfg{}), dir}.complete(number)
		require.NoError(t, second, "killed at step %d", at)
		require.True(t, complete, "killed at step %d", at)
	}
}

// The newest whole state is the store's, whatever its number is, and in whichever order names are listed: a store that was restored often still opens
// what it has, and not what that has replaced.
func TestTheNewestWholeStateIsOpened(t *testing.T) {
	for _, states := range [][]uint64{{300}, {9, 10}, {1, 255, 256}, {99, 1 << 40}} {
		f := folder{vfs.NewMem(), "node/store"} // which lists state-10 before state-9
		for _, number := range states {
			require.NoError(t, f.make(f.path(number)))
			require.NoError(t, f.markComplete(number))
		}
		require.NoError(t, f.make(f.path(states[len(states)-1]+1)), "one that a Restore did not end")
		number, err := f.open()
		require.NoError(t, err, states)
		require.Equal(t, states[len(states)-1], number)
	}
}

// A newer Pebble does not have a state written in a newer format by itself: the release before would not open it (F28).
func TestTheFormatOfAStateIsThatOfAllReleases(t *testing.T) {
	e := NewPebble(vfs.NewMem(), "node/store", slog.New(slog.DiscardHandler), func() {}, nil)
	first, err := e.Open()
	require.NoError(t, err)
	second, err := e.Prepare()
	require.NoError(t, err)
	for _, db := range []DB{first, second} {
		require.Equal(t, pebble.FormatTableFormatV6, db.(*pebbleDB).db.FormatMajorVersion())
		require.NoError(t, db.Close())
	}
}

// What only others may read may lie above the folder; any other error there counts (K54).
func TestAFolderBelowWhatOnlyOthersRead(t *testing.T) {
	for _, refusal := range []error{os.ErrPermission, syscall.EIO} {
		fs := vfs.NewMem()
		require.NoError(t, fs.MkdirAll("/mnt/node", 0o700))
		refusing := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpOpenDir && op.Path == "/mnt" {
				return refusal
			}
			return nil
		}))
		_, err := folder{refusing, "/mnt/node/store"}.open()
		if refusal == os.ErrPermission {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, refusal)
		}
	}
}
