package store

// The flusher makes durable what was applied, by size and by age, and so bounds what a restart must replay. It knows what
// is durable because it knows what was applied when it asked: a flush keeps a prefix of the batches, and each batch holds the state
// record that names its last entry. A store with Options.ManualFlush has no flusher.

import (
	"time"

	"github.com/raftbus/raftbus/kv/internal/bell"
	"github.com/raftbus/raftbus/raft/rpc"
)

const (
	// flushBytes is how much is applied before a flush. Smaller makes restarts faster and compactions more work.
	flushBytes = 24 << 20
	// flushPeriod is how long an applied entry waits for a flush at most.
	flushPeriod = 10 * time.Second
)

type flusher struct {
	pending int       // bytes applied since a flush was last asked for; owned by Apply
	now     bell.Bell // a flush is asked for
	broken  bell.Bell // a database has failed: maybe not the one in use
	stop    chan struct{}
	done    chan struct{}
}

func newFlusher() *flusher {
	return &flusher{now: bell.New(), broken: bell.New(), stop: make(chan struct{}), done: make(chan struct{})}
}

// look asks whether the database has failed, so that a node that cannot read its state does not lead on until a flush. It does not
// wait.
func (f *flusher) look() { f.broken.Ring() }

// wrote counts bytes applied, and asks for a flush when they are enough.
func (f *flusher) wrote(bytes int) {
	if f == nil {
		return
	}
	if f.pending += bytes; f.pending < flushBytes {
		return
	}
	f.pending = 0
	f.now.Ring()
}

// run is the flusher's goroutine. Close ends it, and so does a failed disk.
func (f *flusher) run(s *Store) {
	defer close(f.done)
	tick := time.NewTicker(flushPeriod)
	defer tick.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-f.broken:
			s.failIfBroken()
			continue
		case <-f.now:
		case <-tick.C:
		}
		if s.Flush() != nil {
			return // it failed, or it is closed and nobody listens any more
		}
	}
}

// Flush makes durable what is applied, and knows that it is. An error fails the store, but for ErrClosed.
func (s *Store) Flush() error {
	db, applied, err := s.use()
	if err != nil {
		return err
	}
	defer db.release()
	err = s.broken(db)
	if err == nil && applied > s.Durable() {
		err = db.Flush()
	}
	if err != nil {
		s.fail(err)
		return err
	}
	s.madeDurable(applied)
	return nil
}

// failIfBroken fails the store when its database has failed.
func (s *Store) failIfBroken() {
	db, _, err := s.use()
	if err != nil {
		return // it is closed
	}
	defer db.release()
	if err := s.broken(db); err != nil {
		s.fail(err)
	}
}

// Failed is closed when the store's disk has failed: nothing more can be made durable, and the node must stop (D5). Failure
// then says why.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Failure is why Failed is closed; nil before.
func (s *Store) Failure() error {
	select {
	case <-s.failed:
		return s.failure
	default:
		return nil
	}
}

// fail ends the store, for the first reason.
func (s *Store) fail(err error) {
	s.failOnce.Do(func() {
		s.failure = err
		close(s.failed)
	})
}

// madeDurable raises the durable index; it never falls (I8).
func (s *Store) madeDurable(index rpc.Index) {
	for {
		was := s.durable.Load()
		if was >= uint64(index) || s.durable.CompareAndSwap(was, uint64(index)) {
			return
		}
	}
}

func (f *flusher) close() {
	if f == nil {
		return
	}
	close(f.stop)
	<-f.done
}
