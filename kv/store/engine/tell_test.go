package engine

import (
	"bytes"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"
)

// What is said of compactions does not keep what is to be said of flushes, which is worse, and each is said once in a while.
func TestAFailedCompactionHidesNoFailedFlush(t *testing.T) {
	var said bytes.Buffer
	r := newRoom(slog.New(slog.NewTextHandler(&said, nil)))
	for range 2 {
		r.ended(pebble.CompactionInfo{Err: syscall.EMFILE})
		r.flushed(syscall.EMFILE)
	}
	require.Equal(t, 1, strings.Count(said.String(), "the disk has no room for the store's compactions"))
	require.Equal(t, 1, strings.Count(said.String(), "what is written is not flushed"))
}

// A compaction that is done ends the pauses: the next one that has no room, maybe days later, is tried again as soon as the first was.
func TestPausesOfCompactionsBeginAnew(t *testing.T) {
	r := newRoom(slog.New(slog.DiscardHandler))
	for range 20 {
		r.ended(pebble.CompactionInfo{Err: syscall.ENOSPC})
	}
	require.Equal(t, compactionPauseMax, r.compactions.length)
	r.ended(pebble.CompactionInfo{})
	r.ended(pebble.CompactionInfo{Err: syscall.ENOSPC})
	require.Equal(t, compactionPauseMin, r.compactions.length)
}

// A part that was flushed all the same, after the disk had failed, is not for anybody to go on with (D5).
func TestAFlushAfterAFailureFails(t *testing.T) {
	d := &pebbleDB{failed: make(chan struct{}), broken: func() {}}
	d.fail(syscall.EIO)
	part := make(chan struct{})
	close(part)
	for range 50 { // of two things that have happened it is told one at random
		require.ErrorIs(t, d.await(part), syscall.EIO)
	}
}
