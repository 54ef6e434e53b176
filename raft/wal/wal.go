package wal

// The Log's public face, except for Append, Entries and Compact, which have files of their own.

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/raftbus/raftbus/raft/measure"
	"github.com/raftbus/raftbus/raft/rpc"
)

// GroupID names a Raft group. All groups of a node share one log, and so one sync.
type GroupID uint64

// Base is what a group's log starts after: the configuration table at index 0 on first boot, later what was compacted.
type Base struct {
	ID            rpc.EntryID
	Configuration []byte // the configuration as of ID, opaque here; at most ConfigurationBytesMax. Shared: do not change it
}

// Batch is what Append makes durable for one group: base first, then hard state, then entries. Nil or empty: unchanged.
type Batch struct {
	Group     GroupID
	Base      *Base
	HardState *rpc.HardState
	Entries   []rpc.Entry
}

// State is what the log holds of a group, all of it durable.
type State struct {
	Base      Base
	HasBase   bool // a base was ever appended; Base is zero otherwise
	HardState rpc.HardState
	Last      rpc.EntryID   // the last entry; Base.ID if there is none
	Terms     []rpc.TermRun // one per change of term, from Base.ID.Index+1 on; empty if there are no entries
	// Configurations are the indexes, rising, of the entries of kind configuration. The last of them, or the base if there
	// is none, says who the members are; Entries returns them.
	Configurations []rpc.Index
	// Damaged are the entries, rising, whose payload is known not to be what was written: found by Open, with
	// Options.ReportDamaged, or by Entries. Entries does not return them.
	Damaged []rpc.EntryID
}

// Options are for Open. The zero value works; a node sets KeepFreeBytes, MustExist and ReportDamaged.
type Options struct {
	// SegmentBytes is the size of a segment. The first ones are smaller, so that a new log opens fast. Smaller costs a
	// sync and a checkpoint more often; larger keeps more compacted log on disk, and takes longer to prepare. Default 16 MiB.
	SegmentBytes int64
	// KeepFreeBytes says how many bytes of the log's disk are left to others, above all to the store: when less is free, or another
	// segment would leave less, Room says ErrFull. It is asked at each look at the disk, and must not wait. Default nil: only the log's own
	// needs count.
	KeepFreeBytes func() int64
	// LogID salts the checksums. Default: random, which is what keeps clients from guessing it. Only tests set it.
	LogID uint64
	// MustExist has Open refuse with ErrNoLog, and change nothing, where there is none.
	MustExist bool
	// ReportDamaged has Open succeed although payloads of entries are damaged, as long as nothing else is: State lists those
	// entries, Entries refuses them, Repair takes them from a peer. Until that is done the node must neither vote nor
	// acknowledge anything (D3). Default: Open refuses them too.
	ReportDamaged bool
	// Inline is for simulations: the log has no goroutine and reads no clock, so that with a LogID everything it does to the
	// disk follows from what it is told. The next segment is made by the Append that needs it, or by a Room before; a full
	// disk is tried again by the next one of either, and free space looked at by each Room. All else is the same.
	Inline bool
}

const (
	// SegmentBytesDefault is the default of Options.SegmentBytes.
	SegmentBytesDefault = 16 << 20
	// segmentBytesMin is the least SegmentBytes: header, seal and some space between.
	segmentBytesMin = 8 << 10
	// firstSegmentBytes is the size of a new log's first segment. Each one is twice the one before, up to SegmentBytes.
	firstSegmentBytes = 1 << 20
	// reserveBytesMax bounds the end of each segment that batches with entries leave free, for the hard states and bases that
	// must still be written when the disk has no room for another segment. An eighth of it is for bases only.
	reserveBytesMax = 64 << 10
)

// Stats are figures since Open, but for Segments and SegmentBytes, which tell what is there now.
type Stats struct {
	Appends      uint64 // Append calls that became durable
	Syncs        uint64 // syncs of a segment in Append
	Entries      uint64
	Bytes        uint64 // written by Append, headers and padding included
	Segments     int    // with batches in them
	SegmentBytes int64  // their size
	Damaged      uint64 // payloads found damaged, of entries that were replaced since too
	Repaired     uint64
	SyncLast     time.Duration // how long the last write and sync took; with Options.Inline nobody measures
	SyncMax      time.Duration
	SyncTimes    measure.Durations // how long they all took
	Syncing      time.Duration     // how long the one under way has taken so far; 0: none is
}

// Log is a durable log of entries and hard states of one or more Raft groups. Its methods may be called by several
// goroutines; Append and Compact wait for each other.
type Log struct {
	folder  folder
	options Options
	logID   uint64
	prep    *preparer

	// The appender's own, guarded by appendMu.
	appendMu sync.Mutex
	active   *segment
	sequence uint64 // of the next batch
	buffer   []byte
	plan     []planned
	touched  []*group

	compactMu sync.Mutex // taken before appendMu
	unneeded  []string   // segments that are to be deleted, oldest first; guarded by compactMu

	syncTimes measure.Histogram
	syncBegan atomic.Pointer[time.Time] // of the write and sync under way; nil: none is

	// What is durable, guarded by mu. Only the appender writes it; it is never held while the disk is waited for.
	mu       sync.RWMutex
	groups   map[GroupID]*group
	order    []GroupID  // of groups, as they appeared
	segments []*segment // rising; the last is the active one
	stats    Stats
	failure  error // ErrFailed or ErrClosed, wrapped with the cause; nil while the log works
}

// State returns what the log holds of a group; of an unknown group, nothing.
func (l *Log) State(id GroupID) State {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if g := l.groups[id]; g != nil {
		s := g.durable.state()
		for _, d := range g.damaged {
			s.Damaged = append(s.Damaged, d.id)
		}
		return s
	}
	return State{}
}

// Room is nil while the next segment is there or on its way; ErrFull while it has no place on the disk, or less than
// Options.KeepFreeBytes are free; ErrFailed or ErrClosed once the log is dead. ErrFull is the moment to refuse new commands,
// before Append must: Append goes on as long as there is room. It recovers by itself.
func (l *Log) Room() error {
	if err := l.alive(); err != nil {
		return err
	}
	err := l.prep.status()
	if err == nil || errors.Is(err, ErrFull) {
		return err
	}
	return l.fail(err)
}

// KeepFree is how many bytes of the disk Options.KeepFreeBytes leaves to others now: whoever writes beside the log does well to leave them too.
func (l *Log) KeepFree() int64 { return l.options.keepFree() }

// Stats returns the log's figures.
func (l *Log) Stats() Stats {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := l.stats
	s.SyncTimes = l.syncTimes.Read()
	if began := l.syncBegan.Load(); began != nil {
		s.Syncing = time.Since(*began)
	}
	s.Segments = len(l.segments)
	for _, segment := range l.segments {
		s.SegmentBytes += segment.size
	}
	return s
}

// Close waits for an Append under way, then releases everything. Nothing is left to be written: what Append returned
// nil for is durable already. Entries that run meanwhile end with ErrClosed or with what they asked for.
func (l *Log) Close() error {
	l.compactMu.Lock()
	defer l.compactMu.Unlock()
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	l.mu.Lock()
	if errors.Is(l.failure, ErrClosed) {
		l.mu.Unlock()
		return nil
	}
	l.failure = errors.Join(ErrClosed, l.failure)
	files := l.retire(len(l.segments))
	l.mu.Unlock()
	return errors.Join(l.prep.close(), closeAll(files))
}

// alive is nil, or why the log takes no more writes.
func (l *Log) alive() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.failure
}

// fail makes the log refuse all writes from now on (fail-stop, D5).
func (l *Log) fail(cause error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure == nil {
		l.failure = fmt.Errorf("%w: %w", ErrFailed, cause)
	}
	return l.failure
}

// group returns a group, made if need be. The caller holds mu for writing.
func (l *Log) group(id GroupID) *group {
	g := l.groups[id]
	if g == nil {
		g = &group{}
		l.groups[id] = g
		l.order = append(l.order, id)
	}
	return g
}

// retire takes the first n segments out of the log and returns the files that nobody reads, to be closed. The last
// reader of the others closes them. The caller holds mu for writing.
func (l *Log) retire(n int) []vfs.File {
	var idle []vfs.File
	for _, s := range l.segments[:n] {
		s.retired = true
		if s.readers == 0 {
			idle = append(idle, s.file)
		}
	}
	l.segments = append([]*segment(nil), l.segments[n:]...)
	return idle
}

func closeAll(files []vfs.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
