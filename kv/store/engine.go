package store

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// The engine is one Pebble database, tuned and counted. It is the only file that opens one. Its write-ahead log is off: the Raft
// log is the log (design section 5). It knows no record and decides nothing about what is stored.

const (
	// blockCacheBytes bounds the memory for blocks read; the state itself may be larger than memory.
	blockCacheBytes = 32 << 20
	// memTableBytes is above flushBytes, so that the flusher, which knows what it made durable, comes before Pebble's own flush.
	memTableBytes = 32 << 20
	// memTablesMax bounds the memory for writes that wait for a flush; beyond it writes wait.
	memTablesMax = 3
	// filesMax bounds open files.
	filesMax = 128
	// filterBitsPerKey makes one look-up in a hundred for a key that is not there read a block in vain.
	filterBitsPerKey = 10
)

// engine counts its users: it is closed when the store and the last reader have let go of it, so that a snapshot may be
// read on while Restore puts another engine in its place.
type engine struct {
	db     *pebble.DB
	fs     vfs.FS
	dir    string
	logger *slog.Logger
	refs   atomic.Int32
	// superseded says that another engine took its place: its folder goes when it is closed.
	superseded atomic.Bool
	closed     chan struct{}
	closeErr   error // read after closed

	failOnce sync.Once
	failedC  chan struct{}
	failErr  error // read after failedC is closed
}

// openEngine opens the database in dir, and makes it if there is none.
func openEngine(fs vfs.FS, dir string, logger *slog.Logger) (*engine, error) {
	e := &engine{fs: fs, dir: dir, logger: logger, closed: make(chan struct{}), failedC: make(chan struct{})}
	cache := pebble.NewCache(blockCacheBytes)
	defer cache.Unref()
	db, err := pebble.Open(dir, e.pebbleOptions(cache))
	if err != nil {
		return nil, fmt.Errorf("open the store in %s: %w", dir, err)
	}
	e.db = db
	e.refs.Store(1)
	return e, nil
}

func (e *engine) pebbleOptions(cache *pebble.Cache) *pebble.Options {
	opts := &pebble.Options{
		FS:                          markerFS{e.fs},
		Cache:                       cache,
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		MaxOpenFiles:                filesMax,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: memTablesMax,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		Logger:                      pebbleLogger{e.logger},
		EventListener: &pebble.EventListener{
			BackgroundError: e.fail,
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				e.fail(fmt.Errorf("damaged store file %s: %w", info.Path, info.Details))
			},
		},
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(filterBitsPerKey)
	}
	return opts
}

// acquire counts a user in. Whoever calls it must know that somebody else has not let go of the engine yet.
func (e *engine) acquire() { e.refs.Add(1) }

// release counts a user out. The last one closes the database, and removes it if it was superseded.
func (e *engine) release() {
	if e.refs.Add(-1) > 0 {
		return
	}
	e.closeErr = e.db.Close()
	if e.superseded.Load() {
		e.remove()
	}
	close(e.closed)
}

func (e *engine) remove() {
	if err := e.fs.RemoveAll(e.dir); err != nil {
		e.logger.Warn("a state that is not used any more could not be removed; the next start does it", "dir", e.dir, "error", err)
	}
}

// flush makes durable what was written before the call. Pebble would try a failed flush again for ever; the engine fails.
func (e *engine) flush() error {
	flushed, err := e.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-flushed:
		return nil
	case <-e.failedC:
		return e.failErr
	}
}

// fail remembers the first error after which nothing more can be made durable. Pebble calls it with its lock held.
func (e *engine) fail(err error) {
	e.failOnce.Do(func() {
		e.failErr = fmt.Errorf("the store's disk failed: %w", err)
		close(e.failedC)
	})
}

func (e *engine) failed() error {
	select {
	case <-e.failedC:
		return e.failErr
	default:
		return nil
	}
}

// pebbleLogger passes Pebble's errors on and drops its chatter.
type pebbleLogger struct{ logger *slog.Logger }

func (pebbleLogger) Infof(string, ...any) {}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.logger.Warn("store engine", "error", fmt.Sprintf(format, args...))
}

// Fatalf must not return: Pebble calls it when its manifest could not be written or synced, and goes on as if it had been.
// Stopping the process is what a failed sync asks for (D5); the log has all that is lost.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("store engine: "+format, args...)
	l.logger.Error("the store cannot go on; restart the node once the disk is well", "error", err)
	panic(err)
}
