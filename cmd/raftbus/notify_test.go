package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
	notify("READY=1\nSTATUS=waits for a leader")
	require.NoError(t, manager.SetReadDeadline(time.Now().Add(5*time.Second)))
	b := make([]byte, 100)
	n, err := manager.Read(b)
	require.NoError(t, err)
	require.Equal(t, "READY=1\nSTATUS=waits for a leader", string(b[:n]))

	t.Setenv("NOTIFY_SOCKET", name+"-gone")
	notify("STOPPING=1") // it fails nobody
}
