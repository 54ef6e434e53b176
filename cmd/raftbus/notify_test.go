package main

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

// manager is a service manager, which reads when it is told to.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
	name string
}

func newManager(t *testing.T) *manager {
	dir, err := os.MkdirTemp("", "nfy") // a socket's path may not be long
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	name := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	t.Setenv(managerVariable, name)
	return &manager{t, conn, name}
}

func (m *manager) heard() string {
	b := make([]byte, 100)
	n, err := m.conn.Read(b)
	require.NoError(m.t, err)
	return string(b[:n])
}

// full tells the manager until it takes no more, and returns how often it took it.
func (m *manager) full() (taken int) {
	full := make(chan int, 1)
	go func() {
		n := 0
		for notify(time.Millisecond, "STATUS=nobody reads") { // a socket holds some ten
			n++
		}
		full <- n
	}()
	select {
	case taken = <-full:
	case <-time.After(patience):
		require.FailNow(m.t, "who does not read holds up who tells")
	}
	return taken
}

// teller is what tells a manager: health is how the nodes are, and looks how often that was asked.
type teller struct {
	health atomic.Pointer[[]observe.Health]
	looks  atomic.Int64
}

func (x *teller) is(health ...observe.Health) { x.health.Store(&health) }

func (x *teller) tell(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var told sync.WaitGroup
	told.Go(func() {
		tell(ctx, time.Millisecond, func() []observe.Health {
			x.looks.Add(1)
			return *x.health.Load()
		})
	})
	t.Cleanup(func() {
		cancel()
		told.Wait()
	})
}

func (x *teller) looksAgain(t *testing.T) {
	t.Helper()
	enough := x.looks.Load() + 3
	require.Eventually(t, func() bool { return x.looks.Load() >= enough }, patience, time.Millisecond)
}

func TestNotify(t *testing.T) {
	require.False(t, notify(statusEvery, "READY=1"), "there is no service manager")
	m := newManager(t)
	var x teller
	well := observe.Health{Ready: true}
	x.is(well, observe.Health{Reasons: []string{"n2 knows no leader"}, Warnings: []string{"the disk is slow"}})
	x.tell(t)
	require.Equal(t, "READY=1\nSTATUS=n2 knows no leader; the disk is slow", m.heard())
	x.looksAgain(t)
	x.is(well, well)
	require.Equal(t, "STATUS=ready", m.heard(), "and nothing is said twice")
	x.is(well, observe.Health{Ready: true, Warnings: []string{"the disk is slow"}})
	require.Equal(t, "STATUS=ready; the disk is slow", m.heard())

	t.Setenv(managerVariable, m.name+"-gone")
	require.False(t, notify(statusEvery, "STOPPING=1"), "and it fails nobody")
}

// A service manager that is busy with other things holds up no node, and hears of it later.
func TestABusyServiceManagerIsToldAgain(t *testing.T) {
	require.Less(t, statusEvery, stopTime/2, "a node that ends may wait so long for it")
	m := newManager(t)
	waiting := m.full()
	var x teller
	x.is(observe.Health{Reasons: []string{"n1 knows no leader"}})
	x.tell(t)
	x.looksAgain(t)
	x.is(observe.Health{Ready: true})
	x.looksAgain(t)
	for range waiting {
		require.Equal(t, "STATUS=nobody reads", m.heard())
	}
	require.True(t, strings.HasPrefix(m.heard(), "READY=1\n"), "it would end the node")
}

// received makes a file of a snapshot that a node has received, by the head of raft/snapfile/snapfile.go, of so many chunks. It has no end, for which a start
// sets it aside, once it has read it.
func received(t *testing.T, path string, chunks int) {
	sum := func(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
	file := append([]byte("RBSNAP\x00\x01"), make([]byte, 4*8)...)
	file = append(file, "\x02n2"...)
	file = binary.LittleEndian.AppendUint32(file, sum(file))
	for i := range chunks {
		data := make([]byte, 128<<10)
		at := binary.LittleEndian.AppendUint64(nil, uint64(i*len(data)))
		file = binary.LittleEndian.AppendUint32(file, uint32(len(data)))
		file = binary.LittleEndian.AppendUint32(file, sum(append(at, data...)))
		file = append(file, data...)
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, file, 0o644))
}

// A start that reads what it received, which may take minutes, has longer from the service manager, which would end it, and the next one too. One that
// reads nothing asks for no more: its disk may hang.
func TestAStartThatReadsASnapshotHasLonger(t *testing.T) {
	server := natstest.Run(t, embedded.Options{Host: "127.0.0.1", Port: -1})
	o := replica.Options{
		ID: "n1", Members: []string{"n1"}, Dir: filepath.Join(t.TempDir(), "n1"), Logger: slog.New(slog.DiscardHandler),
		NATS: replica.NATSOptions{URLs: []string{server.URL()}},
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	once := func() {
		running, err := startAll(ctx, []replica.Options{o}, stopTime)
		require.NoError(t, err)
		_, err = running[0].WaitReady(ctx)
		require.NoError(t, errors.Join(err, running.stop()))
	}
	once()
	m := newManager(t)
	once()
	require.True(t, notify(patience, "STATUS=it read nothing"))
	require.Equal(t, "STATUS=it read nothing", m.heard())
	file := filepath.Join(o.Dir, "snapshot", "complete")
	received(t, file, 3)
	reads, said := 0, []string(nil)
	o.FS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Path != file || op.Kind != errorfs.OpFileReadAt {
			return nil
		}
		if reads++; reads > 3 && reads%2 == 0 { // of each chunk there are two
			b := make([]byte, 100)
			n, err := m.conn.Read(b)
			said = append(said, string(b[:n]))
			return err
		}
		return nil
	}))
	once()
	require.NoFileExists(t, file, "it was read, and set aside")
	require.Len(t, said, 3)
	for _, state := range said {
		require.Equal(t, "EXTEND_TIMEOUT_USEC=600000000\nSTATUS=starting: reads a state that was received, or waits for room", state)
	}
}
