package engine

// What keeps batches in memory before the database gets them.

import (
	"bytes"
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// Gather is an engine above another one that keeps what is committed in memory until it is much, or somebody wants a view, a scan or a
// flush; then the database below gets it in one batch, each key once and in order of key. A key that is written again and again costs the
// database little, and one that came and went in between nothing. What a crash leaves is still what the first so many batches made.
type Gather struct {
	below Engine
	max   int
}

var _ Engine = Gather{}

// NewGather puts a Gather above an engine. max bytes is how much it gathers, and about the memory that it takes for each database.
func NewGather(below Engine, max int) Gather { return Gather{below, max} }

// Open opens the database in use.
func (g Gather) Open() (DB, error) { return g.over(g.below.Open()) }

// RemoveLeftovers removes those of the engine below.
func (g Gather) RemoveLeftovers() error { return g.below.RemoveLeftovers() }

// Prepare opens an empty database beside the one in use.
func (g Gather) Prepare() (DB, error) { return g.over(g.below.Prepare()) }

// Switch puts a prepared database, filled and flushed, in the place of the one in use.
func (g Gather) Switch(prepared DB) error { return g.below.Switch(prepared.(*gathered).DB) }

func (g Gather) over(db DB, err error) (DB, error) {
	if err != nil {
		return nil, err
	}
	return &gathered{DB: db, max: g.max, pairs: map[string]*pair{}}, nil
}

// gathered is a database with what it has not got yet. Who gets a key waits for nobody who writes: what is handed down stays readable here meanwhile. Who
// scans, or wants a view, waits for who holds writing.
type gathered struct {
	DB  // the one below
	max int

	writing sync.Mutex // held by who commits or hands down
	ahead   []*pair    // what the database below has not got; some are not in pairs any more
	bytes   int        // about the memory that pairs take
	err     error      // why the database below did not take them: it is broken

	spare atomic.Pointer[space] // of a batch that was closed, for the next

	mu    sync.RWMutex     // taken after writing
	pairs map[string]*pair // committed lately; what the database below has under a key that is here counts for nothing
}

// pair is what was committed last under a key. Who holds writing reads it, and changes its value with mu held too.
type pair struct {
	key   string
	value []byte // nil: the key is deleted
	ahead bool   // the database below has not got it
	added bool   // and has nothing under its key. It says so only while ahead is true
}

// Beside its bytes, about what a pair takes in memory, and a change in a batch below.
const (
	pairBytes   = 150
	changeBytes = 16
)

func (g *gathered) Get(key []byte) ([]byte, error) {
	g.mu.RLock()
	if p, known := g.pairs[string(key)]; known {
		defer g.mu.RUnlock()
		return p.copied(), nil
	}
	g.mu.RUnlock()
	return g.DB.Get(key) // what left pairs meanwhile is there
}

var _ Holder = &gathered{}

// Held implements Holder.
func (g *gathered) Held(key []byte, most int) (value []byte, held bool) {
	if !g.mu.TryRLock() {
		return nil, false
	}
	defer g.mu.RUnlock()
	if p, known := g.pairs[string(key)]; known && len(p.value) <= most {
		return p.copied(), true
	}
	return nil, false
}

// passed reports whether a pair came and went: below, nothing is under its key, nor is to be. Nobody finds it any more.
func (p *pair) passed() bool { return p.value == nil && p.added }

func (p *pair) copied() []byte {
	if p.value == nil {
		return nil
	}
	return append(make([]byte, 0, len(p.value)), p.value...)
}

func (g *gathered) Scan(from, to []byte, visit func(key, value []byte) (bool, error)) error {
	if err := g.handDown(); err != nil {
		return err
	}
	return g.DB.Scan(from, to, visit)
}

func (g *gathered) NewView() View {
	g.writing.Lock()
	defer g.writing.Unlock()
	if err := g.spill(); err != nil {
		return brokenView{err}
	}
	return g.DB.NewView()
}

func (g *gathered) Flush() error {
	if err := g.handDown(); err != nil {
		return err
	}
	return g.DB.Flush()
}

func (g *gathered) NewBatch() Batch {
	b := &gatheredBatch{into: g}
	if spare := g.spare.Swap(nil); spare != nil {
		b.space = *spare
	}
	return b
}

func (g *gathered) handDown() error {
	g.writing.Lock()
	defer g.writing.Unlock()
	return g.spill()
}

// spill gives the database below what it has not got, and forgets all if it is much. Call it with writing held.
func (g *gathered) spill() error {
	if g.err != nil || len(g.ahead) == 0 {
		return g.err
	}
	down := g.DB.NewBatch()
	defer down.Close()
	g.write(down)
	if g.err = down.Commit(); g.err == nil && g.bytes >= g.max {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.forget()
	}
	return g.err
}

// write moves what the database below has not got into a batch for it, in order of key.
func (g *gathered) write(down Batch) {
	g.ahead = slices.DeleteFunc(g.ahead, (*pair).passed) // most of it, where few keys are written again and again
	slices.SortFunc(g.ahead, func(a, b *pair) int { return cmp.Compare(a.key, b.key) })
	for _, p := range g.ahead {
		switch {
		case p.value == nil:
			down.Delete([]byte(p.key))
		case p.added:
			down.Add([]byte(p.key), p.value)
		default:
			down.Set([]byte(p.key), p.value)
		}
		p.ahead = false
	}
	clear(g.ahead)
	g.ahead = g.ahead[:0]
}

func (g *gathered) forget() {
	clear(g.pairs)
	g.bytes = 0
}

// take commits a batch's changes.
func (g *gathered) take(b *gatheredBatch) error {
	g.writing.Lock()
	defer g.writing.Unlock()
	if g.err != nil {
		return g.err
	}
	if b.ranges {
		return g.pass(b)
	}
	g.changeAll(b)
	if g.bytes < g.max {
		return nil
	}
	return g.spill()
}

func (g *gathered) changeAll(b *gatheredBatch) {
	g.mu.Lock()
	defer g.mu.Unlock()
	keys := string(b.keys) // one piece of memory for all: what is kept of it goes together
	var fresh []pair
	for i := range b.changes {
		if len(fresh) == 0 {
			fresh = make([]pair, min(freshPairs, len(b.changes)-i))
		}
		c := &b.changes[i]
		if g.change(c, keys[c.key:c.keyEnd], &fresh[0]) {
			fresh = fresh[1:]
		}
	}
	g.bytes += len(b.keys) + b.values
}

// freshPairs is how many pairs are made at a time, as far as there are changes.
const freshPairs = 16

// change takes one change. Its value is kept, not copied. fresh is room for a key that is not known yet; it is told whether it was used.
func (g *gathered) change(c *change, key string, fresh *pair) (used bool) {
	p, known := g.pairs[key]
	if !known {
		p = fresh
		p.key = key
		g.pairs[key] = p
		g.bytes += pairBytes
	}
	if !p.ahead {
		p.ahead, p.added = true, c.kind == add
		g.ahead = append(g.ahead, p)
	}
	p.value = c.value
	if p.passed() {
		delete(g.pairs, key)
		g.bytes -= pairBytes
	}
	return !known
}

// waiter is a batch whose commit may wait for a flush. It can do so before: the commit that follows, if there is no other in between, does not.
type waiter interface{ await() error }

// pass gives a batch that deletes ranges to the database below, together with all that came before it.
func (g *gathered) pass(b *gatheredBatch) error {
	down := g.DB.NewBatch()
	defer down.Close()
	g.write(down)
	for i := range b.changes {
		b.repeat(&b.changes[i], down)
	}
	if w, waits := down.(waiter); waits {
		g.err = w.await()
	}
	if g.err != nil {
		return g.err
	}
	g.mu.Lock() // nobody sees half of it
	defer g.mu.Unlock()
	if g.err = down.Commit(); g.err == nil {
		g.forget()
	}
	return g.err
}

// kind is what a change does.
type kind uint8

const (
	set kind = iota
	add
	remove
	removeRange
)

// change is one call of a batch: a key, in the batch's keys, and a value or a range's end.
type change struct {
	kind        kind
	key, keyEnd int
	value       []byte // of one that deletes nil, of others never
}

// space is what a batch notes its changes in.
type space struct {
	changes []change
	keys    []byte
	room    []byte // where the next values go. What is in it may be kept by others, after a commit
}

// roomBytes is how much memory is taken at a time for values. A larger one than ownRoomBytes has its own, so that little is left unused.
// changesKept and keysKept bound what is kept for the next batch.
const (
	roomBytes    = 64 << 10
	ownRoomBytes = roomBytes / 8
	changesKept  = 8 << 10
	keysKept     = 512 << 10
)

// gatheredBatch notes changes for gathered.
type gatheredBatch struct {
	into *gathered // nil: it is closed
	space
	values int  // bytes of all values
	ranges bool // some change deletes a range
}

func (b *gatheredBatch) note(k kind, key, value []byte) {
	c := change{kind: k, key: len(b.keys)}
	b.keys = append(b.keys, key...)
	c.keyEnd = len(b.keys)
	if k != remove {
		c.value = b.keep(value)
		b.values += len(value)
	}
	b.changes = append(b.changes, c)
}

// keep copies a value.
func (b *gatheredBatch) keep(value []byte) []byte {
	if len(value) > ownRoomBytes {
		return bytes.Clone(value)
	}
	if b.room == nil || cap(b.room)-len(b.room) < len(value) {
		b.room = make([]byte, 0, roomBytes)
	}
	at := len(b.room)
	b.room = append(b.room, value...)
	return b.room[at:len(b.room):len(b.room)]
}

// repeat makes a change into another batch.
func (b *gatheredBatch) repeat(c *change, down Batch) {
	switch key, value := b.keys[c.key:c.keyEnd], c.value; c.kind {
	case remove:
		down.Delete(key)
	case removeRange:
		down.DeleteRange(key, value)
	default:
		down.Set(key, value)
	}
}

func (b *gatheredBatch) Set(key, value []byte) { b.note(set, key, value) }
func (b *gatheredBatch) Add(key, value []byte) { b.note(add, key, value) }
func (b *gatheredBatch) Delete(key []byte)     { b.note(remove, key, nil) }
func (b *gatheredBatch) DeleteRange(from, to []byte) {
	b.ranges = true
	b.note(removeRange, from, to)
}
func (b *gatheredBatch) Len() int { return len(b.keys) + b.values + len(b.changes)*changeBytes }

func (b *gatheredBatch) Commit() error {
	err := b.into.take(b)
	b.empty()
	return err
}

// empty forgets the changes: their values may be others' now.
func (b *gatheredBatch) empty() {
	clear(b.changes)
	b.changes, b.keys, b.values, b.ranges = b.changes[:0], b.keys[:0], 0, false
}

// Close leaves the space to another batch, unless it has become much.
func (b *gatheredBatch) Close() {
	b.empty()
	if b.into != nil && cap(b.changes) <= changesKept && cap(b.keys) <= keysKept {
		b.into.spare.Store(&space{b.changes, b.keys, b.room})
	}
	b.into, b.space = nil, space{}
}

// brokenView is a view of a database that would not take what belongs into it.
type brokenView struct{ err error }

func (v brokenView) Get([]byte) ([]byte, error) { return nil, v.err }
func (v brokenView) Scan(_, _ []byte, _ func(key, value []byte) (bool, error)) error {
	return v.err
}
func (v brokenView) Close() error { return nil }
