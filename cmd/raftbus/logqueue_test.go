package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
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
	require.Contains(t, text, "lines of the log were dropped")
	require.Contains(t, text, "later")
	require.Less(t, strings.Count(text, "\n"), 2*logLinesMax)
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
