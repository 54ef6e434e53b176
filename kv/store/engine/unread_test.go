package engine_test

// What a Pebble database says of what the disk does not give it: an error, never that there is nothing.

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/store/engine"
)

// A scan whose file cannot be read any further, from whichever block on, fails: what it has not seen is not taken for nothing (I5).
func TestAScanThatCannotReadOnFails(t *testing.T) {
	const keys = 100
	var left atomic.Int64 // reads of tables that succeed
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, ".sst") && left.Add(-1) < 0 {
			return syscall.EIO
		}
		return nil
	}))
	left.Store(1 << 30)
	db, _ := openOn(t, fs)
	b := db.NewBatch()
	for i := range keys {
		b.Set(fmt.Append(nil, "k", i), make([]byte, 4<<10)) // a block each, about
	}
	require.NoError(t, b.Commit())
	b.Close()
	require.NoError(t, db.Flush())
	require.NoError(t, db.Close())
	some := 0 // scans that failed when they had seen something
	for reads, err := int64(0), error(syscall.EIO); err != nil; reads++ {
		db, _ := openOn(t, fs) // anew: it remembers what it has read
		found := 0
		left.Store(reads)
		err = db.Scan(nil, nil, func(_, _ []byte) (bool, error) { found++; return true, nil })
		left.Store(1 << 30)
		if err == nil {
			require.Equal(t, keys, found, "%d reads", reads)
		} else if found > 0 {
			some++
		}
		require.NoError(t, db.Close())
	}
	require.Positive(t, some)
}

// A disk that does not give what it holds is told of by no work in the background: who reads ends the database, so that its node does not go on without
// some keys (F20). What passes, as too many open files do, ends nothing, nor does an error of who visits.
func TestAReadThatFailsEndsTheDatabase(t *testing.T) {
	reads := map[string]func(engine.Reader) error{
		"get": func(r engine.Reader) error { _, err := r.Get([]byte("k0")); return err },
		"scan": func(r engine.Reader) error {
			return r.Scan(nil, nil, func(_, _ []byte) (bool, error) { return true, nil })
		},
		"get of a view": func(r engine.Reader) error {
			v := r.(engine.DB).NewView()
			_, err := v.Get([]byte("k0"))
			require.NoError(t, v.Close())
			return err
		},
	}
	for name, read := range reads {
		for _, fault := range []error{syscall.EIO, syscall.EMFILE, syscall.ENFILE} {
			synctest.Test(t, func(t *testing.T) {
				var fails atomic.Bool
				fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
					if fails.Load() && op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, ".sst") {
						return fault
					}
					return nil
				}))
				db, _ := openOn(t, fs)
				require.NoError(t, write1(db, 0, 10))
				require.NoError(t, db.Flush())
				require.NoError(t, db.Close())
				told := 0
				db, err := engine.NewPebble(fs, "node/store", slog.New(slog.DiscardHandler), func() { told++ }, nil).Open()
				require.NoError(t, err)
				defer func() { require.NoError(t, db.Close()) }()
				synctest.Wait() // for Pebble, which reads a table's statistics beside us, and would meet the fault too
				fails.Store(true)
				require.ErrorIs(t, read(db), fault, name)
				if fault == syscall.EIO {
					require.ErrorIs(t, db.Err(), fault, name)
					require.ErrorContains(t, db.Err(), "a read failed", name)
					require.Equal(t, 1, told, name)
				} else {
					require.NoError(t, db.Err(), name)
					fails.Store(false)
					err := db.Scan(nil, nil, func(_, _ []byte) (bool, error) { return false, io.ErrNoProgress })
					require.ErrorIs(t, err, io.ErrNoProgress, name)
					require.NoError(t, db.Err(), name)
				}
			})
		}
	}
}

// A mark that cannot be looked at is not taken for one that is not there: an older state, or an empty one, would come up in the place of the
// store's.
func TestAMarkThatCannotBeLookedAtIsNotMissing(t *testing.T) {
	mem := vfs.NewMem()
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpStat && strings.HasSuffix(op.Path, "state-2/complete") {
			return syscall.EIO
		}
		return nil
	}))
	e := pebbleDisk{mem}.engine()
	first, err := e.Open()
	require.NoError(t, err)
	second, err := e.Prepare()
	require.NoError(t, err)
	require.NoError(t, second.Flush())
	require.NoError(t, e.Switch(second))
	require.NoError(t, first.Close())
	require.NoError(t, second.Close())
	_, err = engine.NewPebble(fs, "node/store", slog.New(slog.DiscardHandler), func() {}, nil).Open()
	require.ErrorIs(t, err, syscall.EIO)
}
