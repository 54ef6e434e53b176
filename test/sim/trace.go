package sim

// The trace is what happened, as a hash, by which two runs of a seed are compared, and if somebody wants to read it as lines.

import (
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

type trace struct {
	hash   uint64
	events uint64
	log    io.Writer // nil: nobody reads
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// mix takes a number into the hash.
func (t *trace) mix(v uint64) {
	t.hash = (t.hash ^ v) * 0x9e3779b97f4a7c15
	t.hash ^= t.hash >> 29
}

// mixBytes takes bytes into the hash.
func (t *trace) mixBytes(b []byte) {
	t.mix(uint64(crc32.Update(0, castagnoli, b)) | uint64(len(b))<<32)
}

// reads reports whether somebody reads: lines are made only then.
func (t *trace) reads() bool { return t.log != nil }

// line writes a line about something, mostly a node. The caller has asked reads.
func (t *trace) line(now time.Duration, about any, format string, args ...any) {
	fmt.Fprintf(t.log, "%10.4f  %-4v  %s\n", now.Seconds(), about, fmt.Sprintf(format, args...))
}
