package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/observe"
)

func TestNotify(t *testing.T) {
	notify("READY=1") // there is no service manager

	dir, err := os.MkdirTemp("", "nfy") // a socket's path may not be long
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "s")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	require.NoError(t, err)
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	require.NoError(t, manager.SetReadDeadline(time.Now().Add(10*time.Second)))
	heard := func() string {
		b := make([]byte, 100)
		n, err := manager.Read(b)
		require.NoError(t, err)
		return string(b[:n])
	}
	notify("READY=1\nSTATUS=waits for a leader")
	require.Equal(t, "READY=1\nSTATUS=waits for a leader", heard())

	states := make(chan []observe.Health, 4)
	states <- []observe.Health{{Ready: true}, {Ready: true}}
	states <- []observe.Health{{Ready: true}, {Ready: true}}
	states <- []observe.Health{{Ready: true}, {Reasons: []string{"n2 knows no leader"}, Warnings: []string{"the disk is slow"}}}
	states <- []observe.Health{{Ready: true, Warnings: []string{"the disk is slow"}}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var teller sync.WaitGroup
	teller.Go(func() {
		tell(ctx, time.Millisecond, func() []observe.Health { return <-states })
	})
	require.Equal(t, "STATUS=ready", heard())
	require.Equal(t, "STATUS=n2 knows no leader; the disk is slow", heard(), "and nothing is said twice")
	require.Equal(t, "STATUS=ready; the disk is slow", heard())
	cancel()
	close(states)
	teller.Wait()

	told := make(chan struct{})
	go func() {
		for range 100 { // a socket holds some ten
			notifyWithin(time.Millisecond, "STATUS=nobody reads")
		}
		close(told)
	}()
	select {
	case <-told:
	case <-time.After(patience):
		require.FailNow(t, "who does not read holds up who tells")
	}
	require.Equal(t, "STATUS=nobody reads", heard())

	t.Setenv("NOTIFY_SOCKET", name+"-gone")
	notify("STOPPING=1") // it fails nobody
}
