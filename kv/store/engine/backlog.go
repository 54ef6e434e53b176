package engine

// What is committed and not flushed yet. While that is much, who commits waits for a flush, or for the end of the database, and does so here: Pebble would have
// him wait as well, but does not look whether flushes fail meanwhile, and tries those again without end. So it is told to take any amount.

import (
	"slices"
	"sync"
)

const (
	// partBytes is how much is flushed together: less than a memtable, so that Pebble seldom begins one by itself, and not less than the store applies
	// until it flushes.
	partBytes = 24 << 20
	// recordBytes is about what a record takes in a memtable beside its bytes.
	recordBytes = 48
	// rangeBytes is what a deleted range counts for beside: the first who reads after one has Pebble sort all those of its memtable anew, which is quadratic
	// where they come one by one. So a part has no more than 512, but for those of one batch.
	rangeBytes = partBytes / 512
)

// backlog is what a database has not flushed.
type backlog struct {
	mu    sync.Mutex
	open  int               // about the memory of what was committed after the parts
	parts []<-chan struct{} // of which a flush was asked for, oldest first: each is closed once it is flushed
}

// fits reports whether a batch goes with what no flush was asked for yet. One that is larger than a part is one.
func (b *backlog) fits(bytes int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open == 0 || b.open+bytes <= partBytes
}

// add counts a batch that was committed: then, so that a part which is sealed meanwhile leaves too much counted and never too little.
func (b *backlog) add(bytes int) {
	b.mu.Lock()
	b.open += bytes
	b.mu.Unlock()
}

// seal makes what is open a part, by flush, unless so many wait that it would be one too many: then it returns the oldest of those.
func (b *backlog) seal(flush func() (<-chan struct{}, error)) (part, oldest <-chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parts = slices.DeleteFunc(b.parts, flushed)
	if len(b.parts) >= memTablesMax-1 {
		return nil, b.parts[0], nil
	}
	if part, err = flush(); err == nil {
		b.parts, b.open = append(b.parts, part), 0
	}
	return part, nil, err
}

func flushed(part <-chan struct{}) bool {
	select {
	case <-part:
		return true
	default:
		return false
	}
}

// admit waits until there is memory for a batch.
func (d *pebbleDB) admit(bytes int) error {
	if d.backlog.fits(bytes) {
		return nil
	}
	_, err := d.seal()
	return err
}

// seal asks for a flush of all that was committed, when there is memory for what comes next.
func (d *pebbleDB) seal() (<-chan struct{}, error) {
	for {
		part, oldest, err := d.backlog.seal(d.db.AsyncFlush)
		if oldest == nil {
			return part, err
		}
		if err := d.await(oldest); err != nil {
			return nil, err
		}
	}
}

// await waits until a part is flushed. Pebble would try a failed flush again for ever: the database fails.
func (d *pebbleDB) await(part <-chan struct{}) error {
	select {
	case <-part:
		return d.Err() // also if what failed before was done now: nobody goes on with a disk that fails
	case <-d.failed:
		return d.failure
	}
}
