package store

// The store itself: how it is opened and closed, and what it says of itself.

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Options say where the store is and who flushes it.
type Options struct {
	FS  vfs.FS // all file access goes through it
	Dir string // made if it is not there; nothing else may be in it
	// Engine takes the place of Pebble in Dir: FS and Dir are not looked at.
	Engine engine.Engine
	// ManualFlush leaves flushes to the caller, by Flush: the store then starts no goroutine, reads no clock, and waits for
	// nothing. How much a crash may lose is the caller's to bound.
	ManualFlush bool
	// Logger hears of background errors and slow clean-up; nil discards them.
	Logger *slog.Logger
	// Fatal is told of a failure after which the engine must not go on for another moment, and ends the process; nil: a panic does.
	Fatal func(error)
}

// Store is the replicated state: buckets, keys and their history, on an ordered engine. It is a node.StateMachine. Apply,
// Restore and Close are called by one goroutine at a time; everything else may be called by any number at any time.
type Store struct {
	engine  engine.Engine // used by Open and Restore
	logger  *slog.Logger
	current atomic.Pointer[state]
	durable atomic.Uint64
	firsts  cursors // of the first entry that is there
	recent  recent  // Apply's

	schedule schedule
	feed     feed

	mu sync.RWMutex
	db *handle // nil once closed. Restore changes it together with current

	flusher  *flusher // nil when flushes are the caller's
	failOnce sync.Once
	failed   chan struct{}
	failure  error // read after failed is closed
}

var _ node.StateMachine = (*Store)(nil)

// ErrClosed is what everything returns after Close.
var ErrClosed = errors.New("store closed")

// gatherBytes is how much is applied before Pebble hears of it: more saves work where keys are written again and again, and takes longer to hand down.
const gatherBytes = 4 << 20

// closeWait bounds how long Close waits for reads and snapshots to end.
const closeWait = 5 * time.Second

// Open opens the store, or makes an empty one. What it then has applied is what was durable.
func Open(o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	f := newFlusher()
	if o.Engine == nil {
		o.Engine = engine.NewGather(engine.NewPebble(o.FS, o.Dir, o.Logger, f.look, o.Fatal), gatherBytes)
	}
	s := &Store{engine: o.Engine, logger: o.Logger, failed: make(chan struct{})}
	if err := s.open(); err != nil {
		return nil, err
	}
	if !o.ManualFlush {
		s.flusher = f
		go f.run(s)
	}
	return s, nil
}

func (s *Store) open() error {
	db, err := s.engine.Open()
	if err != nil {
		return err
	}
	s.db = hold(db, s.logger)
	err = s.load()
	if err == nil {
		err = s.engine.RemoveLeftovers()
	}
	if err != nil {
		s.db.release()
		return fmt.Errorf("open the store: %w", err)
	}
	return nil
}

// load takes the state from a database just opened: all it holds is durable.
func (s *Store) load() error {
	loaded, err := readState(s.db)
	if err != nil {
		return err
	}
	s.current.Store(&loaded)
	s.durable.Store(uint64(loaded.applied.Index))
	return nil
}

// Applied is the last entry that reads see.
func (s *Store) Applied() rpc.EntryID { return s.current.Load().applied }

// Time is the log's time, as of the last applied entry.
func (s *Store) Time() int64 { return s.current.Load().time }

// CommandVersion is the newest version of commands that any store of this build applies.
func (s *Store) CommandVersion() uint64 { return command.Version }

// Open is the version of the newest commands that this store applies now: later ones need a command.Raise.
func (s *Store) Open() uint64 { return s.current.Load().version() }

// Durable is the last index that a power loss now would leave applied.
func (s *Store) Durable() rpc.Index { return rpc.Index(s.durable.Load()) }

// Close makes durable what is applied, and releases everything. It waits a while for reads that are under way.
func (s *Store) Close() error {
	s.mu.Lock()
	db := s.db
	s.db = nil
	s.mu.Unlock()
	if db == nil {
		return ErrClosed
	}
	s.flusher.close()
	err := s.broken(db)
	if err == nil {
		err = db.Flush()
	}
	db.release()
	return errors.Join(err, s.awaitClosed(db))
}

// awaitClosed waits for the last reader, if there may be one on another goroutine.
func (s *Store) awaitClosed(db *handle) error {
	select {
	case <-db.closed:
		return db.closeErr
	default:
	}
	if s.flusher != nil {
		select {
		case <-db.closed:
			return db.closeErr
		case <-time.After(closeWait):
		}
	}
	return errors.New("a read or a snapshot was still open after the store's close: close snapshots first")
}

// use counts the caller in as a user of the database, until it releases it, and tells what was applied to it.
func (s *Store) use() (*handle, rpc.Index, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return nil, 0, ErrClosed
	}
	s.db.acquire() // the store itself lets go only after it has put another in its place
	return s.db, s.Applied().Index, nil
}

// broken is why nothing more may be applied; nil while all is well.
func (s *Store) broken(db *handle) error {
	if err := s.Failure(); err != nil {
		return err
	}
	return db.Err()
}
