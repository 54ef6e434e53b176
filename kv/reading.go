package kv

import (
	"sync"
	"time"
)

// Reads that were confirmed come together, as many as one round has confirmed, and are done together: one reader is woken for them, and sends
// their answers in one piece. Others help where there are more than one had better do, where a read took long, and where one may take long.

const (
	readersCount = 4
	// readsTogether is how many reads one reader does before it sends the answers, if so many wait, and readsTime for how long.
	readsTogether = 32
	readsTime     = 500 * time.Microsecond
	// readsSlow is how long a reader's reads have taken when others are called to what still waits.
	readsSlow = 200 * time.Microsecond
)

// readQueue holds confirmed reads, up to a bound, for the readers.
type readQueue struct {
	max   int
	calls chan struct{} // one for each reader that is called; it never fills

	mu      sync.Mutex
	list    []todo
	taken   int // of the list
	readers int // that are called or at work
	slow    int // of them, at a read that may take long
}

func newReadQueue(max int) *readQueue {
	return &readQueue{max: max, calls: make(chan struct{}, readersCount)}
}

// put adds a read, and calls a reader if there are too few. It reports whether there was room.
func (q *readQueue) put(t todo) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := len(q.list) - q.taken
	if waiting >= q.max {
		return false
	}
	if q.taken > 0 && (waiting == 0 || len(q.list) == cap(q.list) && q.taken >= waiting) {
		clear(q.list[copy(q.list, q.list[q.taken:]):])
		q.list, q.taken = q.list[:waiting], 0
	}
	q.list = append(q.list, t)
	if waiting+1 > (q.readers-q.slow)*readsTogether {
		q.call()
	}
	return true
}

// call calls one more reader, if one is left. q.mu is held.
func (q *readQueue) call() {
	if q.readers < readersCount {
		q.readers++
		q.calls <- struct{}{}
	}
}

// take takes the oldest read. Another reader is called if more waits behind one that may take long, or where help is asked for.
func (q *readQueue) take(help bool) (t todo, any bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.taken == len(q.list) {
		return todo{}, false
	}
	t, q.list[q.taken] = q.list[q.taken], todo{}
	q.taken++
	if !t.work.quick {
		q.slow++
	}
	if q.taken < len(q.list) && (help || !t.work.quick) {
		q.call()
	}
	return t, true
}

// done hears that a read which was taken is done.
func (q *readQueue) done(t *todo) {
	if t.work.quick {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.slow--
}

// leave has a reader be at work no more, unless something waits.
func (q *readQueue) leave() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.taken < len(q.list) {
		return false
	}
	q.readers--
	return true
}

// waiting is how many reads wait for a reader.
func (q *readQueue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.list) - q.taken
}

// reader does the reads that were confirmed.
func (s *Service) reader() {
	defer s.wg.Done()
	for {
		select {
		case <-s.stop:
			return
		case <-s.reads.calls:
			for !s.reads.leave() {
				s.readSome()
			}
		}
	}
}

// readSome does some of the reads that wait.
func (s *Service) readSome() {
	if s.lane != nil {
		s.lane.Cork()
		defer s.lane.Uncork()
	}
	began := time.Now()
	for n, took := 0, time.Duration(0); n < readsTogether && took < readsTime; n++ {
		a, any := s.reads.take(took > readsSlow)
		if !any {
			return
		}
		s.read(a)
		s.reads.done(&a)
		took = time.Since(began)
	}
}

func (s *Service) read(a todo) {
	if !s.inflight.waiting(a.request) {
		return // overdue
	}
	replies, next := a.work.look()
	s.finish(a.request, replies, next)
}
