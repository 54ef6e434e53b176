package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A stderr that nobody reads stops nobody who logs, and costs no more than its bound (K64).
func TestK64BlockedStderrBlocksNobody(t *testing.T) {
	r, w := io.Pipe()
	logger, queue := newLogger(w, slog.LevelInfo)
	for i := range 3 * logLinesMax {
		logger.Info("line", "number", i) // would never return if it waited
	}
	require.Len(t, queue.lines, logLinesMax)
	read := make(chan string)
	go func() {
		all, _ := io.ReadAll(r)
		read <- string(all)
	}()
	require.Eventually(t, func() bool { return len(queue.lines) == 0 }, 10*time.Second, time.Millisecond)
	logger.Info("later")
	queue.Close()
	require.NoError(t, w.Close())
	text := <-read
	require.Contains(t, text, fmt.Sprintf(`"number":%d}`, logLinesMax-1))
	require.Contains(t, text, "later")
	require.Less(t, strings.Count(text, "\n"), 2*logLinesMax)
	dropped := 0
	for line := range strings.Lines(text) {
		var said struct {
			Level string
			Lines int
		}
		require.NoError(t, json.Unmarshal([]byte(line), &said), "who reads lines of JSON can read all: %s", line)
		require.Equal(t, said.Lines > 0, said.Level == "WARN", line)
		dropped += said.Lines
	}
	require.Equal(t, 3*logLinesMax, strings.Count(text, `"number":`)+dropped)
}

// The end of a command loses no line, and nothing is written after it.
func TestLogIsWrittenToItsEnd(t *testing.T) {
	var out bytes.Buffer
	logger, queue := newLogger(&out, slog.LevelInfo)
	for i := range 100 {
		logger.Info("line", "number", i)
	}
	queue.Close()
	queue.Close()
	logger.Info("too late")
	require.Equal(t, 100, strings.Count(out.String(), "\n"))
}

// Who reads the log may go: the nodes stay, and end as they do else.
func TestNodesOutliveWhoReadsTheirLog(t *testing.T) {
	t.Parallel() // it mostly waits
	dev := exec.Command("raftbus", "dev", "--port", "0", "--nodes", "1", "--log-level", "debug", "--dir", t.TempDir())
	withoutReader(t, dev)
	stdout, err := dev.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, dev.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, dev.Process.Signal(syscall.SIGTERM))
	require.NoError(t, dev.Wait(), line)

	conn := onBus(t)
	one := exec.Command("raftbus", "node", "--id", "n1", "--members", "n1", "--insecure", "--log-level", "debug", "--dir", t.TempDir(), "--nats", conn.ConnectedUrl())
	withoutReader(t, one)
	require.NoError(t, one.Start())
	require.Eventually(t, func() bool {
		_, err := conn.Request("raftbus.bucket.add.app", nil, time.Second)
		return err == nil
	}, patience, 10*time.Millisecond)
	require.NoError(t, one.Process.Signal(syscall.SIGTERM))
	require.NoError(t, one.Wait())
}

// withoutReader gives a command a stderr that nobody reads any more.
func withoutReader(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	t.Cleanup(func() { _ = w.Close() })
	cmd.Stderr = w
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
}
