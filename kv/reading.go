package kv

// Reads that were confirmed come together, as many as one round has confirmed, and are done together: one reader is woken for them, and sends
// their answers in one piece. Others help where there are more than one had better do, where a read took long, and where one may take long.
//
// Nobody has all readers (Q12): whoever may ask for a search can have a bucket read whole, again and again. So searches get some of the readers,
// and all that may take long together not the last one, which is there for quick reads. Of clients that search at once each has its turn.

import (
	"slices"
	"sync"
	"time"

	"github.com/raftbus/raftbus/kv/store"
)

const (
	readersCount = 4
	// slowMax is how many readers may be at reads that are not quick, and searchesMax how many of them at searches.
	slowMax     = readersCount - 1
	searchesMax = slowMax - 1
	// readsTogether is how many reads one reader does before it sends the answers, if so many wait, and readsTime for how long.
	readsTogether = 32
	readsTime     = 500 * time.Microsecond
	// readsSlow is how long a reader's reads have taken when others are called to what still waits.
	readsSlow = 200 * time.Microsecond
)

// pace is how long a read may take.
type pace int

const (
	quick  pace = iota // at one key
	page               // bounded by what a page holds
	search             // of all that a bucket has, or of more names than a page holds
	paces
)

func (w *work) pace() pace {
	switch {
	case w.quick:
		return quick
	case w.search:
		return search
	}
	return page
}

// readQueue holds confirmed reads, of each pace up to a bound, for the readers.
type readQueue struct {
	max   int
	calls chan struct{} // one for each reader that is called; it never fills

	mu      sync.Mutex
	came    uint64 // reads so far
	lines   [paces]line
	readers int        // that are called or at work
	at      [paces]int // of them, at a read of the pace; those at quick ones are not counted

	searching [clientsMax]uint8 // readers at a search of the client
}

// line holds reads of one pace, the oldest first.
type line struct {
	list  []inLine
	taken int // of the list
}

type inLine struct {
	todo
	number uint64 // of all reads
}

func (l *line) waiting() int { return len(l.list) - l.taken }

func (l *line) put(t inLine) {
	waiting := l.waiting()
	if l.taken > 0 && (waiting == 0 || len(l.list) == cap(l.list) && l.taken >= waiting) {
		clear(l.list[copy(l.list, l.list[l.taken:]):])
		l.list, l.taken = l.list[:waiting], 0
	}
	l.list = append(l.list, t)
}

func (l *line) take() (t todo) {
	t, l.list[l.taken] = l.list[l.taken].todo, inLine{}
	l.taken++
	return t
}

// withdraw takes out the searches for writes that wait.
func (q *readQueue) withdraw() (requests []*request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := &q.lines[search]
	kept := slices.DeleteFunc(l.list[l.taken:], func(t inLine) bool {
		if t.work.writes {
			requests = append(requests, t.request)
		}
		return t.work.writes
	})
	l.list = l.list[:l.taken+len(kept)]
	return requests
}

// first moves the first that is wanted to the front, if there is one.
func (l *line) first(wanted func(*todo) bool) {
	for i := l.taken; i < len(l.list); i++ {
		if t := l.list[i]; wanted(&t.todo) {
			copy(l.list[l.taken+1:i+1], l.list[l.taken:i])
			l.list[l.taken] = t
			return
		}
	}
}

func newReadQueue(max int) *readQueue {
	return &readQueue{max: max, calls: make(chan struct{}, readersCount)}
}

// put adds a read, and calls a reader if there are too few. It reports whether there was room.
func (q *readQueue) put(t todo) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := &q.lines[t.work.pace()]
	if l.waiting() >= q.max {
		return false
	}
	q.came++
	l.put(inLine{t, q.came})
	if q.ready() > (q.readers-q.slow())*readsTogether {
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

// slow is how many readers are at a read that may take long. q.mu is held.
func (q *readQueue) slow() int { return q.at[page] + q.at[search] }

// open reports whether one more reader may do a read of a pace. q.mu is held.
func (q *readQueue) open(p pace) bool {
	return p == quick || q.slow() < slowMax && (p != search || q.at[search] < searchesMax)
}

// ready is how many reads wait that a reader may do. What else waits is for those who are at slow reads: they look when they are done.
// q.mu is held.
func (q *readQueue) ready() (n int) {
	for p := range q.lines {
		if q.open(pace(p)) {
			n += q.lines[p].waiting()
		}
	}
	return n
}

// next is the line of the oldest read that a reader may do; nil if there is none. q.mu is held.
func (q *readQueue) next() (next *line) {
	for p := range q.lines {
		l := &q.lines[p]
		if l.waiting() > 0 && q.open(pace(p)) && (next == nil || l.list[l.taken].number < next.list[next.taken].number) {
			next = l
		}
	}
	return next
}

// take takes the oldest read that may be done. Another reader is called if more waits behind one that may take long, or where help is asked for.
func (q *readQueue) take(help bool) (t todo, any bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.next()
	if l == nil {
		return todo{}, false
	}
	if l == &q.lines[search] {
		l.first(func(t *todo) bool { return q.searching[t.request.client] == 0 })
	}
	t = l.take()
	q.count(&t, 1)
	if (help || !t.work.quick) && q.ready() > 0 {
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
	q.count(t, -1)
}

// count counts a reader in, or out, that is at a read. q.mu is held.
func (q *readQueue) count(t *todo, change int) {
	switch p := t.work.pace(); p {
	case quick:
	case search:
		q.searching[t.request.client] += uint8(change)
		fallthrough
	default:
		q.at[p] += change
	}
}

// leave has a reader be at work no more, unless something waits for it.
func (q *readQueue) leave() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ready() > 0 {
		return false
	}
	q.readers--
	return true
}

// waiting is how many reads wait for a reader.
func (q *readQueue) waiting() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for p := range q.lines {
		n += q.lines[p].waiting()
	}
	return n
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
	if a.work.tell != nil {
		last, err := s.store.Last(a.work.newest.Bucket, a.work.newest.Key)
		s.tellLast(a, last, err)
		return
	}
	if !a.work.quick && s.lane != nil { // what was answered before it does not wait for it, nor does what it asks of NATS
		s.lane.Uncork()
		defer s.lane.Cork()
	}
	replies, next := a.work.look()
	if a.work.writes && next == nil && !s.leadsSince(a.request) { // another may have done it since (K25)
		s.drop(a.request)
		return
	}
	s.finish(a.request, replies, next)
}

// tellLast goes on with the last entry of the key that a read asks for.
func (s *Service) tellLast(a todo, last store.Entry, err error) {
	replies, next := a.work.tell(last, err)
	s.finish(a.request, replies, next)
}
