package replica

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/store"
)

// A node whose store cannot be read, or written, when an entry is applied says what to do (D1).
func TestWhoCannotApplySaysWhatToDo(t *testing.T) {
	t.Parallel() // it mostly waits
	var failing atomic.Bool
	o := alone(t, faulty(&failing, readsTable, ioError))
	nc, err := nats.Connect(o.NATS.URLs[0])
	require.NoError(t, err)
	defer nc.Close()
	r := ready(t, o)
	_, err = nc.Request("raftbus.bucket.add.app", nil, patience)
	require.NoError(t, err)
	for i := range 100 { // more than is read at the start
		_, err := nc.Request(fmt.Sprintf("raftbus.kv.put.app.k%d", i), make([]byte, 2<<10), patience)
		require.NoError(t, err)
	}
	stop(t, r)
	r = ready(t, o)
	failing.Store(true)
	for i := range 100 {
		require.NoError(t, nc.PublishRequest(fmt.Sprintf("raftbus.kv.put.app.k%d", i), nc.NewInbox(), nil))
	}
	<-r.Done()
	require.ErrorContains(t, r.Err(), "raftbus member replace n1")
	require.Error(t, r.Stop(t.Context()))
}

// So does who cannot take a snapshot's state, unless it is the snapshot that cannot be read: another one comes then.
func TestWhoCannotTakeASnapshotSaysWhatToDo(t *testing.T) {
	t.Parallel() // it mostly waits
	var failing atomic.Bool
	r, err := Start(t.Context(), alone(t, faulty(&failing, func(op errorfs.Op) bool {
		return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.Contains(op.Path, "kv/state-2")
	}, ioError)))
	require.NoError(t, err)
	defer stop(t, r)
	_, err = r.WaitReady(t.Context())
	require.NoError(t, err)
	var snapshot bytes.Buffer
	taken, err := r.store.Snapshot()
	require.NoError(t, err)
	_, err = taken.WriteTo(&snapshot)
	require.NoError(t, errors.Join(err, taken.Close()))
	m := machine{r.store, r}
	for _, bad := range []error{
		m.Restore(bytes.NewReader(snapshot.Bytes()[:snapshot.Len()-1])),
		m.Restore(iotest.ErrReader(syscall.ENETDOWN)),
	} {
		require.Error(t, bad)
		require.NotContains(t, bad.Error(), "member replace")
	}
	require.ErrorIs(t, m.Restore(bytes.NewReader(snapshot.Bytes()[:snapshot.Len()-1])), store.ErrBadSnapshot)
	failing.Store(true)
	err = m.Restore(bytes.NewReader(snapshot.Bytes()))
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorContains(t, err, "raftbus member replace n1")
}
