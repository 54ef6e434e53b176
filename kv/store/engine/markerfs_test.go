package engine_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// images are disks as a power loss would leave them before each change, of which it keeps any part of what is not synced.
type images struct {
	mu    sync.Mutex
	disks []*waltest.FS
	names []string
}

func (i *images) of(fs *waltest.FS) func(waltest.Op) error {
	rng := rand.New(rand.NewPCG(1, 2))
	return func(op waltest.Op) error {
		i.mu.Lock()
		defer i.mu.Unlock()
		for range 20 {
			if op.Kind.Changes() {
				i.disks = append(i.disks, fs.Crash(waltest.KeepBlocks, rng))
				i.names = append(i.names, fmt.Sprintf("before %+v", op))
			}
		}
		return nil
	}
}

// Power is lost at any moment of a start: names of files that were made or removed are on the disk or not, each for itself, and the next start finds what was
// durable (F17, D4).
func TestAStartThatLosesPowerLosesNothing(t *testing.T) {
	t.Parallel()
	fs, lost := waltest.New(), &images{}
	db, _ := openOn(t, fs)
	pile(t, db, 2, 10)
	require.NoError(t, db.Close())
	fs.Hook(lost.of(fs))
	db, _ = openOn(t, fs)
	require.NoError(t, db.Close())
	fs.Hook(nil)
	require.NotEmpty(t, lost.disks)
	for i, disk := range lost.disks {
		db, err := engine.NewPebble(disk, "node/store", slog.New(slog.DiscardHandler), func() {}, nil).Open()
		require.NoError(t, err, lost.names[i])
		for _, key := range []string{"k0", "k1"} {
			value, err := db.Get([]byte(key))
			require.NoError(t, err, lost.names[i])
			require.NotNil(t, value, lost.names[i])
		}
		require.NoError(t, db.Close())
	}
}
