package store

import (
	"time"

	"github.com/raftbus/raftbus/raft/rpc"
)

// The flusher makes durable what was applied, by size and by age, and so bounds what a restart must replay. It knows what
// is durable because it knows what was applied when it asked: Pebble flushes memtables whole and in order, so a flush keeps
// a prefix of the batches, and each batch holds the state record that names its last entry.

const (
	// flushBytes is how much is applied before a flush. Smaller makes restarts faster and compactions more work.
	flushBytes = 24 << 20
	// flushPeriod is how long an applied entry waits for a flush at most.
	flushPeriod = 10 * time.Second
)

type flusher struct {
	pending int           // bytes applied since a flush was last asked for; owned by Apply
	now     chan struct{} // a flush is asked for
	stop    chan struct{}
	done    chan struct{}
}

func (f *flusher) init() {
	f.now = make(chan struct{}, 1)
	f.stop = make(chan struct{})
	f.done = make(chan struct{})
}

// wrote counts bytes applied, and asks for a flush when they are enough.
func (f *flusher) wrote(bytes int) {
	if f.pending += bytes; f.pending < flushBytes {
		return
	}
	f.pending = 0
	select {
	case f.now <- struct{}{}:
	default: // one is asked for already
	}
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
		case <-f.now:
		case <-tick.C:
		}
		if err := s.flush(); err != nil {
			s.fail(err) // or it is closed, and nobody listens any more
			return
		}
	}
}

// flush makes durable what is applied, and knows that it is.
func (s *Store) flush() error {
	e, applied, err := s.use()
	if err != nil {
		return err
	}
	defer e.release()
	if err := e.failed(); err != nil || applied <= s.Durable() {
		return err
	}
	if err := e.flush(); err != nil {
		return err
	}
	s.madeDurable(applied)
	return nil
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

// fail is called by the flusher only, which ends with it.
func (s *Store) fail(err error) {
	s.failure = err
	close(s.failed)
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
	close(f.stop)
	<-f.done
}
