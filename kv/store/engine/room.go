package engine

// Room on the disk (F21). A flush that finds none ends the database: what it holds in memory can not become durable. A compaction that finds none
// has lost nothing. But Pebble writes all of what it makes before anything of what it replaces goes, tries again at once, and does so right after each
// start: so compactions leave to flushes what those need, and pause once they have failed.

import (
	"errors"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// FlushRoomBytes is what compactions leave free on the disk: as much as may be in memory, to be flushed.
	FlushRoomBytes = 48 << 20
	// CompactionRoomBytes is as much as one compaction takes on the way, for a moment; of a database that is smaller, as much as that has.
	CompactionRoomBytes = 256 << 20

	// compactionPauseMin and compactionPauseMax bound the pause after a compaction that had no room.
	compactionPauseMin = 50 * time.Millisecond
	compactionPauseMax = 10 * time.Second

	// lookEvery is how much a compaction writes between two looks at what the disk has free.
	lookEvery = 1 << 20
	// tellEvery is how often it is said that compactions have no room.
	tellEvery = time.Minute

	// compactionCategory is what Pebble says of files that a compaction makes.
	compactionCategory vfs.DiskWriteCategory = "pebble-compaction"
)

// isFull reports whether err means that the disk, or this user's share of it, has no space left.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// room is what is known of the room that compactions of one database have.
type room struct {
	logger *slog.Logger
	closed chan struct{} // nothing pauses any more

	mu    sync.Mutex
	pause time.Duration // the last one; 0: there was room
	until time.Time     // it ends
	told  time.Time
}

func newRoom(logger *slog.Logger) *room { return &room{logger: logger, closed: make(chan struct{})} }

// ended takes what came of a compaction. Pebble calls it with its lock held.
func (r *room) ended(info pebble.CompactionInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case info.Err == nil:
		r.pause = 0
	case isFull(info.Err):
		r.pause = min(max(2*r.pause, compactionPauseMin), compactionPauseMax)
		r.until = time.Now().Add(r.pause)
		r.tell("the disk has no room for the store's compactions: reads get slower until there is some", "err", info.Err)
	}
}

// tell says so, now and then. Call it with mu held.
func (r *room) tell(what string, args ...any) {
	if now := time.Now(); now.Sub(r.told) >= tellEvery {
		r.told = now
		r.logger.Error(what, args...)
	}
}

// rest waits until a pause is over, or the database is closed.
func (r *room) rest() {
	r.mu.Lock()
	left := time.Until(r.until)
	r.mu.Unlock()
	select {
	case <-r.closed:
	case <-time.After(left):
	}
}

// roomFS is the file system as Pebble gets it.
type roomFS struct {
	vfs.FS
	dir  string
	room *room
}

// Create makes a file, that of a compaction only when it may go on and there is room for it. Pebble calls it for those with no lock held.
func (r roomFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if category != compactionCategory {
		return r.FS.Create(name, category)
	}
	r.room.rest()
	if err := r.look(); err != nil {
		return nil, err
	}
	file, err := r.FS.Create(name, category)
	if err != nil {
		return nil, err
	}
	return &compactionFile{File: file, fs: r}, nil
}

// look fails when no more than flushes need is free. A file system that can not tell is believed to have it.
func (r roomFS) look() error {
	usage, err := r.FS.GetDiskUsage(r.dir)
	if err == nil && usage.AvailBytes < FlushRoomBytes {
		return syscall.ENOSPC
	}
	return nil
}

// GetDiskUsage has Pebble do without what the file system can not tell: it takes any other error for one of the disk.
func (r roomFS) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	usage, err := r.FS.GetDiskUsage(path)
	if err != nil {
		return usage, vfs.ErrUnsupported
	}
	return usage, nil
}

// Unwrap is for Pebble, which looks for the disk behind a file system.
func (r roomFS) Unwrap() vfs.FS { return r.FS }

// compactionFile is a file that takes no room which is not to be had.
type compactionFile struct {
	vfs.File
	fs       roomFS
	unlooked int // bytes since the last look at the disk
}

func (f *compactionFile) Write(p []byte) (int, error) {
	if f.unlooked += len(p); f.unlooked >= lookEvery {
		f.unlooked = 0
		if err := f.fs.look(); err != nil {
			return 0, err
		}
	}
	return f.File.Write(p)
}
