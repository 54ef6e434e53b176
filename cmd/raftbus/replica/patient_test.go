package replica

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

// F21: a node that has to start while its disk is full, or too many files are open, says so once, tells who waits for its start that it goes on, and starts
// when that is over.
func TestAStartWaitsForRoom(t *testing.T) {
	for place, where := range map[string]string{"the folder": "identity", "the log": "/wal/", "the state": "/kv/"} {
		for what, lacks := range map[string]error{"no space left": syscall.ENOSPC, "disk quota exceeded": syscall.EDQUOT, "too many open files": syscall.EMFILE} {
			t.Run(place+", "+what, func(t *testing.T) {
				t.Parallel() // it mostly waits
				var now, told atomic.Bool
				said := &logged{}
				o := alone(t, faulty(&now, func(op errorfs.Op) bool {
					return op.Kind == errorfs.OpCreate && strings.Contains(op.Path, where)
				}, func() error { return lacks }))
				if where == "identity" {
					stop(t, ready(t, o))
				}
				now.Store(true)
				o.Logger, o.Reading = slog.New(slog.NewTextHandler(said, nil)), func() { told.Store(true) }
				started := make(chan *Replica, 1)
				go func() {
					r, err := Start(t.Context(), o)
					require.NoError(t, err)
					started <- r
				}()
				require.Eventually(t, func() bool { return told.Load() && strings.Contains(said.String(), what) }, patience, time.Millisecond)
				require.Empty(t, started)
				now.Store(false)
				select {
				case r := <-started:
					stop(t, r)
				case <-time.After(patience):
					require.Fail(t, "it does not start")
				}
				require.Equal(t, 1, strings.Count(said.String(), "the start waits"))
			})
		}
	}
}

// Who ends a node that waits does not wait for that, and nothing is left behind.
func TestAStartThatWaitsForRoomEnds(t *testing.T) {
	var now atomic.Bool
	o := alone(t, faulty(&now, func(op errorfs.Op) bool { return op.Kind == errorfs.OpCreate }, func() error { return syscall.ENOSPC }))
	now.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	o.Reading = cancel
	_, err := Start(ctx, o)
	require.ErrorIs(t, err, context.Canceled)
	now.Store(false)
	stop(t, ready(t, o))
}

// Whatever else is wrong with a disk is not waited for.
func TestAStartWaitsForNoOtherFault(t *testing.T) {
	for _, err := range []error{nil, syscall.EIO, syscall.EROFS, syscall.EACCES} {
		require.Empty(t, lack(err))
	}
}

// logged is what was logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
