package engine

// Room on the disk (F21). A flush that finds none ends the database: what it holds in memory can not become durable. A compaction that finds none
// has lost nothing. But Pebble writes all of what it makes before anything of what it replaces goes, tries again at once, and does so right after each
// start: so compactions leave to flushes what those need, and pause once they have failed. Where too many files are open neither has lost anything:
// both pause, and flushes end the database only if that lasts.

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
	// flushPauseMax is that for flushes, and flushPatience how long all fail since too many files are open, until the database does.
	flushPauseMax = time.Second
	flushPatience = time.Minute

	// lookEvery is how much a compaction writes between two looks at what the disk has free.
	lookEvery = 1 << 20
	// tellEvery is how often it is said that compactions have no room.
	tellEvery = time.Minute

	// compactionCategory and flushCategory are what Pebble says of files that those make.
	compactionCategory vfs.DiskWriteCategory = "pebble-compaction"
	flushCategory      vfs.DiskWriteCategory = "pebble-memtable-flush"
)

// isFull reports whether err means that the disk, or this user's share of it, has no space left.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// TooManyFiles reports whether err means that this process, or all of the machine together, has too many files open. It passes.
func TooManyFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// passes reports whether an error of work in the background ends nothing by itself: background hears of it, and whose work it was tells what follows.
func passes(err error) bool { return isFull(err) || TooManyFiles(err) }

// room is what is known of the room that compactions of one database have, and flushes.
type room struct {
	logger *slog.Logger
	closed chan struct{} // nothing pauses any more

	mu                   sync.Mutex
	compactions, flushes pause
	told                 map[string]time.Time // when each was said last
}

// pause is what work waits for after it has failed.
type pause struct {
	length time.Duration // of the last one; 0: it did not fail
	until  time.Time     // it ends
	since  time.Time     // it has failed each time
}

func (p *pause) failed(most time.Duration) {
	now := time.Now()
	if p.length == 0 {
		p.since = now
	}
	p.length = min(max(2*p.length, compactionPauseMin), most)
	p.until = now.Add(p.length)
}

func newRoom(logger *slog.Logger) *room {
	return &room{logger: logger, closed: make(chan struct{}), told: map[string]time.Time{}}
}

// ended takes what came of a compaction. Pebble calls it with its lock held.
func (r *room) ended(info pebble.CompactionInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case info.Err == nil:
		r.compactions = pause{}
	case passes(info.Err):
		r.compactions.failed(compactionPauseMax)
		r.tell("the disk has no room for the store's compactions, or too many files are open: reads get slower until that is over", "err", info.Err)
	}
}

// flushed takes what came of a flush, and reports whether the database fails by it. Pebble calls it with its lock held.
func (r *room) flushed(err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !TooManyFiles(err) {
		r.flushes = pause{}
		return isFull(err) // any other, background is told too; that a flush was empty is none
	}
	r.flushes.failed(flushPauseMax)
	r.tell("too many files are open: what is written is not flushed until some are closed", "err", err)
	return time.Since(r.flushes.since) >= flushPatience
}

// tell says so, now and then: a failed compaction does not keep a failed flush from being told. Call it with mu held.
func (r *room) tell(what string, args ...any) {
	if now := time.Now(); now.Sub(r.told[what]) >= tellEvery {
		r.told[what] = now
		r.logger.Error(what, args...)
	}
}

// rest waits until a pause is over, or the database is closed.
func (r *room) rest(p *pause) {
	r.mu.Lock()
	left := time.Until(p.until)
	r.mu.Unlock()
	if left <= 0 {
		return
	}
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

// Create makes a file, that of a compaction or a flush only when those may go on, and of a compaction only with room for it. Pebble calls it for those
// with no lock held.
func (r roomFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	switch category {
	case flushCategory:
		r.room.rest(&r.room.flushes)
		return r.FS.Create(name, category)
	case compactionCategory:
		r.room.rest(&r.room.compactions)
	default:
		return r.FS.Create(name, category)
	}
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
