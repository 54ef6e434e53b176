package engine

import (
	"errors"
	"os"
	"syscall"
	"testing"

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
