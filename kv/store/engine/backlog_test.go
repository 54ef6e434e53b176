package engine_test

// Who commits more than the disk flushes (F22).

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/store/engine"
)

// pour commits so many MiB, in batches of one, until that fails.
func pour(db engine.DB, mebibytes int, poured *atomic.Int32) error {
	b, value := db.NewBatch(), make([]byte, 1<<20)
	defer b.Close()
	for i := range mebibytes {
		b.Set([]byte{byte(i)}, value)
		if err := b.Commit(); err != nil {
			return err
		}
		poured.Add(1)
	}
	return nil
}

// Who commits waits while what the disk is to flush is much, and goes on with it.
func TestWhoWaitsForAFlushGoesOnWithIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		goesOn := make(chan struct{})
		disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst") {
				<-goesOn
			}
			return nil
		}))
		db, _ := openOn(t, disk)
		poured, ended := new(atomic.Int32), make(chan error, 1)
		go func() { ended <- pour(db, 100, poured) }()
		synctest.Wait()
		require.Empty(t, ended, "it takes all memory")
		require.Greater(t, poured.Load(), int32(60), "it waits too soon")
		require.LessOrEqual(t, db.Size().Memory, uint64(96<<20))
		close(goesOn)
		require.NoError(t, <-ended)
		require.NoError(t, db.Flush())
		for i := range 100 {
			value, err := db.Get([]byte{byte(i)})
			require.NoError(t, err)
			require.Len(t, value, 1<<20)
		}
		require.NoError(t, db.Close())
	})
}
