package replica

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/raft/logtest"
	"github.com/raftbus/raftbus/raft/snapfile"
)

// F21: a node that has to start while its disk is full, or too many files are open, says so once, tells who waits for its start that it goes on, and starts
// when that is over.
func TestAStartWaitsForRoom(t *testing.T) {
	for place, where := range map[string]string{"the folder": "identity", "the log": "/wal/", "the state": "/kv/"} {
		for what, lacks := range map[string]error{"no space left": syscall.ENOSPC, "disk quota exceeded": syscall.EDQUOT, "too many open files": syscall.EMFILE} {
			t.Run(place+", "+what, func(t *testing.T) {
				t.Parallel() // it mostly waits
				var now, told atomic.Bool
				said := &logtest.Buffer{}
				o := alone(t, faulty(&now, func(op errorfs.Op) bool {
					return op.Kind == errorfs.OpCreate && strings.Contains(op.Path, where)
				}, func() error { return lacks }))
				if where == "identity" {
					stop(t, ready(t, o))
				}
				now.Store(true)
				o.Logger, o.Reading = slog.New(slog.NewTextHandler(said, nil)), func() { told.Store(true) }
				page, err := observe.Listen("127.0.0.1:0", slog.New(slog.DiscardHandler))
				require.NoError(t, err)
				defer page.Close()
				o.Waiting = page.Waits
				started := make(chan *Replica, 1)
				go func() {
					r, err := Start(t.Context(), o)
					require.NoError(t, err)
					started <- r
				}()
				require.Eventually(t, func() bool { return told.Load() && strings.Contains(said.String(), what) }, patience, time.Millisecond)
				require.Empty(t, started)
				require.Contains(t, readyz(t, page), "n1: starting: waits: "+lack(lacks))
				now.Store(false)
				select {
				case r := <-started:
					stop(t, r)
				case <-time.After(patience):
					require.Fail(t, "it does not start")
				}
				require.Equal(t, 1, strings.Count(said.String(), "the start waits"))
				require.NotContains(t, said.String(), "start the node again", "it goes on by itself")
				require.Equal(t, "starting\n", readyz(t, page), "it is not shown yet, and waits no more")
			})
		}
	}
}

// readyz is what who watches the node by HTTP is told.
func readyz(t *testing.T, page *observe.Server) string {
	t.Helper()
	answer, err := http.Get("http://" + page.Address() + "/readyz")
	require.NoError(t, err)
	defer answer.Body.Close()
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return string(body)
}

// F21, F15: a node whose state was not flushed, since its disk was full, waits until there is room for that: with a little less it would start, apply all of it
// again, and end some seconds later, over and over. What its log can spare counts as room.
func TestAStartWaitsForRoomToFlush(t *testing.T) {
	t.Parallel() // it mostly waits
	var full atomic.Bool
	var left atomic.Uint64
	left.Store(1 << 40)
	written := make(chan struct{}) // no flush fails before, however slow this machine is
	disk := faulty(&full, func(op errorfs.Op) bool { return op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") }, func() error { <-written; return syscall.ENOSPC })
	o := alone(t, measured{disk, &left})
	nc, err := nats.Connect(o.NATS.URLs[0])
	require.NoError(t, err)
	defer nc.Close()
	r := ready(t, o)
	request(t, nc, "raftbus.bucket.add.app", "")
	require.NoError(t, r.store.Flush())
	full.Store(true)
	for range 5 {
		request(t, nc, "raftbus.kv.put.app.k", strings.Repeat("v", 1000<<10))
	}
	close(written)
	err = r.Stop(t.Context())
	require.ErrorIs(t, err, syscall.ENOSPC)
	full.Store(false)

	left.Store(2 << 20)
	requireRoomOfSnapshots(t, o)
	said, waits := &logtest.Buffer{}, make(chan struct{}, 1)
	o.Logger, o.Reading = slog.New(slog.NewTextHandler(said, nil)), func() {
		select {
		case waits <- struct{}{}:
		default:
		}
	}
	go func() {
		<-waits
		left.Store(1 << 40)
	}()
	r = ready(t, o)
	require.Contains(t, said.String(), "the start waits: the disk has no space left")
	require.Contains(t, said.String(), "2048 KiB are free, and the state is to flush up to 50")
	require.Contains(t, said.String(), "tried after 1m0s all the same")
	require.Contains(t, request(t, nc, "raftbus.kv.get.app.k", ""), "vvv")
	for range 4 {
		request(t, nc, "raftbus.kv.put.app.k", strings.Repeat("v", 1000<<10))
	}
	require.NoError(t, r.store.Flush())
	r.o.FS = measured{disk, new(atomic.Uint64)}
	require.NoError(t, r.roomToFlush(t.Context()), "all is flushed")
	request(t, nc, "raftbus.kv.put.app.k", strings.Repeat("v", 1000<<10))
	require.NoError(t, r.roomToFlush(t.Context()), "the log can spare more than what is not")
	stop(t, r)
}

// F21, L2: how much a state will flush is not known before: what was written over, and what is compressed, takes less than in the log. So no start waits for
// longer for that, and a unit of systemd, which starts a node ten times in 300 s, never gives one up that ends for want of it all the same.
func TestAStartThatMayHaveRoomToFlushIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said, tries, began := &logtest.Buffer{}, 0, time.Now()
		r := newReplica(Options{ID: "n1", Logger: slog.New(slog.NewTextHandler(said, nil))})
		step := r.patient(r.atMost(flushWait, func(context.Context) error { tries++; return syscall.ENOSPC }))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		require.NoError(t, step(ctx))
		require.Greater(t, time.Since(began), 300*time.Second/10)
		require.Less(t, time.Since(began), flushWait+patientMax)
		require.Less(t, tries, 15)
		require.Equal(t, 1, strings.Count(said.String(), "the start waits"))
		require.Contains(t, said.String(), "the start goes on without what it seems to lack")
	})
}

// requireRoomOfSnapshots: what a start itself frees is no room that it waits for, or it would wait for ever. A snapshot that was received before goes where
// there is no room to install it, and so does what came of another.
func requireRoomOfSnapshots(t *testing.T, o Options) {
	t.Helper()
	r := newReplica(o)
	for _, step := range []func(context.Context) error{r.configure, r.openFolder, r.openLog, r.openStore} {
		require.NoError(t, step(t.Context()))
	}
	snaps := r.folder.Snapshots()
	require.NoError(t, os.MkdirAll(snaps.Root, 0o700))
	for _, name := range []string{snapfile.Complete, snapfile.Incoming} {
		require.ErrorIs(t, r.roomToFlush(t.Context()), syscall.ENOSPC)
		require.NoError(t, os.WriteFile(snaps.Path(name), nil, 0o600))
		require.NoError(t, os.Truncate(snaps.Path(name), 4<<20))
		require.NoError(t, r.roomToFlush(t.Context()), name)
		require.NoError(t, snaps.Remove(name))
	}
	require.NoError(t, r.close())
}

// A state that only lacked room is not said to be damaged.
func TestAStateThatLacksRoomIsWhole(t *testing.T) {
	t.Parallel() // it mostly waits
	r, err := Start(t.Context(), alone(t, nil))
	require.NoError(t, err)
	defer stop(t, r)
	for err, remedy := range map[error]string{syscall.ENOSPC: "free some", syscall.EMFILE: "raise the limit"} {
		err := r.storeError(err)
		require.ErrorContains(t, err, remedy)
		require.NotContains(t, err.Error(), "damaged")
	}
	require.ErrorContains(t, r.storeError(syscall.EIO), "raftbus member replace n1")
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

// How long a start waits, and why: neither is changed unawares.
func TestHowLongAStartWaits(t *testing.T) {
	require.Equal(t, 10*time.Second, patientMax, "a start goes on so soon once there is room, and leaves few files of tries that failed")
	require.Equal(t, 15*time.Second, foundingMax, "the first leader hears of all within it, and no member is exchanged for a newer one so soon")
}
