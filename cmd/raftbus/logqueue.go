package main

// Lines of the log wait in a queue for one goroutine that writes them, so that a stderr which nobody reads stops nobody who logs:
// neither a read nor a heartbeat waits for it (K64). What does not fit is dropped, and counted in the next line that does.

import (
	"bytes"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	// logLinesMax bounds the lines that wait.
	logLinesMax = 1024
	// logFlushTime bounds how long the end of a command waits for them.
	logFlushTime = time.Second
)

// logQueue is an io.Writer that never waits. Safe for use by several goroutines, as log/slog uses it.
type logQueue struct {
	out   io.Writer
	lines chan []byte
	done  chan struct{}
	form  logForm

	mu      sync.Mutex
	dropped int
	closed  bool
}

func newLogQueue(out io.Writer, form logForm) *logQueue {
	q := &logQueue{out: out, lines: make(chan []byte, logLinesMax), done: make(chan struct{}), form: form}
	go q.run()
	return q
}

// Write takes one line. It always reports success: there is nobody to tell that the log is lost.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return len(line), nil
	}
	taken := bytes.Clone(line)
	if q.dropped > 0 {
		taken = append(q.lost(), line...)
	}
	select {
	case q.lines <- taken:
		q.dropped = 0
	default:
		q.dropped++
	}
	return len(line), nil
}

// lost is a line of the log that says how many were dropped, whatever the least level is.
func (q *logQueue) lost() []byte {
	var line bytes.Buffer
	slog.New(q.form(&line, nil)).Warn("lines of the log were dropped", "lines", q.dropped, "reason", "nobody reads stderr fast enough")
	return line.Bytes()
}

// run is the goroutine that writes. A stderr that is gone takes nothing: the node goes on without (see outliveReaders).
func (q *logQueue) run() {
	defer close(q.done)
	for line := range q.lines {
		_, _ = q.out.Write(line)
	}
}

// Close writes what waits, as far as stderr takes it in time. The goroutine ends then, or with the process.
func (q *logQueue) Close() {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.lines)
	}
	q.mu.Unlock()
	select {
	case <-q.done:
	case <-time.After(logFlushTime):
	}
}
