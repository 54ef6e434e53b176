package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/observe"
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
