package store

import (
	"log/slog"
	"sync/atomic"

	"github.com/raftbus/raftbus/kv/store/engine"
)

// handle counts the users of a database: it is closed when the store and the last reader have let go of it, so that a
// snapshot may be read on while Restore puts another database in its place.
type handle struct {
	engine.DB
	logger *slog.Logger
	refs   atomic.Int32
	// superseded says that another database took its place, or that it never got one: it goes when it is closed.
	superseded atomic.Bool
	closed     chan struct{}
	closeErr   error // read after closed
}

// hold gives the store its own use of a database.
func hold(db engine.DB, logger *slog.Logger) *handle {
	h := &handle{DB: db, logger: logger, closed: make(chan struct{})}
	h.refs.Store(1)
	return h
}

// acquire counts a user in. Whoever calls it must know that somebody else has not let go of the database yet.
func (h *handle) acquire() { h.refs.Add(1) }

// release counts a user out. The last one closes the database, and removes it if it was superseded.
func (h *handle) release() {
	if h.refs.Add(-1) > 0 {
		return
	}
	if !h.superseded.Load() {
		h.closeErr = h.Close()
	} else if err := h.Discard(); err != nil {
		h.logger.Warn("a state that is not used any more is not gone", "err", err)
	}
	close(h.closed)
}
