package store

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Options say where the store is. All fields are required but Logger.
type Options struct {
	FS  vfs.FS // all file access goes through it
	Dir string // made if it is not there; nothing else may be in it
	// Logger hears of background errors and slow clean-up; nil discards them.
	Logger *slog.Logger
}

// Store is the replicated state: buckets, keys and their history, on Pebble. It is a node.StateMachine. Apply, Restore and
// Close are called by one goroutine at a time; everything else may be called by any number at any time.
type Store struct {
	folder  folder
	logger  *slog.Logger
	number  uint64 // of the state in use; owned by the caller of Apply, Restore and Close
	current atomic.Pointer[state]
	durable atomic.Uint64

	mu     sync.RWMutex
	engine *engine // nil once closed. Restore changes it together with current

	flusher flusher
	failed  chan struct{}
	failure error // read after failed is closed
}

var _ node.StateMachine = (*Store)(nil)

// ErrClosed is what everything returns after Close.
var ErrClosed = errors.New("store closed")

// closeWait bounds how long Close waits for reads and snapshots to end.
const closeWait = 5 * time.Second

// Open opens the store in o.Dir, or makes an empty one there. What it then has applied is what was durable.
func Open(o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{folder: folder{o.FS, o.Dir}, logger: o.Logger, failed: make(chan struct{})}
	s.flusher.init()
	if err := s.open(); err != nil {
		return nil, err
	}
	go s.flusher.run(s)
	return s, nil
}

func (s *Store) open() (err error) {
	if s.number, err = s.folder.open(); err != nil {
		return fmt.Errorf("open the store's folder %s: %w", s.folder.dir, err)
	}
	if s.engine, err = openEngine(s.folder.fs, s.folder.path(s.number), s.logger); err != nil {
		return err
	}
	err = s.load()
	if err == nil {
		err = s.folder.removeOthers(s.number)
	}
	if err != nil {
		s.engine.release()
		return fmt.Errorf("open the store in %s: %w", s.engine.dir, err)
	}
	return nil
}

// load takes the state from a database just opened. With the write-ahead log off, all it holds is durable.
func (s *Store) load() error {
	loaded, err := readState(s.engine.db)
	if err != nil {
		return err
	}
	s.current.Store(&loaded)
	s.durable.Store(uint64(loaded.applied.Index))
	return nil
}

// Applied is the last entry that reads see.
func (s *Store) Applied() rpc.EntryID { return s.current.Load().applied }

// Durable is the last index that a power loss now would leave applied.
func (s *Store) Durable() rpc.Index { return rpc.Index(s.durable.Load()) }

// Close makes durable what is applied, and releases everything. It waits a while for reads that are under way.
func (s *Store) Close() error {
	s.mu.Lock()
	e := s.engine
	s.engine = nil
	s.mu.Unlock()
	if e == nil {
		return ErrClosed
	}
	s.flusher.close()
	err := e.failed()
	if err == nil {
		err = e.flush()
	}
	e.release()
	select {
	case <-e.closed:
		return errors.Join(err, e.closeErr)
	case <-time.After(closeWait):
		return errors.Join(err, fmt.Errorf("a read or a snapshot was still open %v after the store's close: close snapshots first", closeWait))
	}
}

// use counts the caller in as a user of the engine, until it releases it, and tells what was applied to that engine.
func (s *Store) use() (*engine, rpc.Index, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.engine == nil {
		return nil, 0, ErrClosed
	}
	s.engine.acquire() // the store itself lets go only after it has put another in its place
	return s.engine, s.Applied().Index, nil
}
