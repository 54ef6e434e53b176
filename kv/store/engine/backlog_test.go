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

// pour commits so many batches of so many MiB, until that fails. Those of none delete a range.
func pour(db engine.DB, batches, mebibytes int, poured *atomic.Int32) error {
	b, value := db.NewBatch(), make([]byte, mebibytes<<20)
	defer b.Close()
	for i := range batches {
		if key := []byte{byte(i)}; mebibytes > 0 {
			b.Set(key, value)
		} else {
			b.DeleteRange(key, append(key, 0))
		}
		if err := b.Commit(); err != nil {
			return err
		}
		poured.Add(1)
	}
	return nil
}

// Who commits waits while what the disk is to flush is much, and goes on with it: however large a batch is, three parts wait and no more. Of deleted
// ranges few are much: after each, who reads has Pebble sort all that are not flushed (Q12).
func TestWhoWaitsForAFlushGoesOnWithIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		batches, mebibytes int
		atLeast, atMost    int32
	}{
		"small batches": {100, 1, 61, 96},
		"large batches": {6, 12, 3, 3},
		"ranges":        {2000, 0, 1500, 1536},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { jammed(t, c.batches, c.mebibytes, c.atLeast, c.atMost) })
		})
	}
}

func jammed(t *testing.T, batches, mebibytes int, atLeast, atMost int32) {
	goesOn := make(chan struct{})
	disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst") {
			<-goesOn
		}
		return nil
	}))
	db, _ := openOn(t, disk)
	poured, ended := new(atomic.Int32), make(chan error, 1)
	go func() { ended <- pour(db, batches, mebibytes, poured) }()
	synctest.Wait()
	require.Empty(t, ended, "it takes all memory")
	require.GreaterOrEqual(t, poured.Load(), atLeast, "it waits too soon")
	require.LessOrEqual(t, poured.Load(), atMost)
	require.LessOrEqual(t, db.Size().Memory, uint64(96<<20))
	close(goesOn)
	require.NoError(t, <-ended)
	require.NoError(t, db.Flush())
	for i := range batches {
		value, err := db.Get([]byte{byte(i)})
		require.NoError(t, err)
		require.Len(t, value, mebibytes<<20)
	}
	require.NoError(t, db.Close())
}
