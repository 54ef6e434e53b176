package memengine

// A database is a B-tree that is copied on write: a view, and what is durable, are clones of it, which cost nothing until
// the next commit, and then a few nodes. Keys and values in it are never written to.

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"github.com/RaduBerinde/btreemap"

	"github.com/raftbus/raftbus/kv/store/engine"
)

type tree = btreemap.BTreeMap[[]byte, []byte]

// treeDegree makes nodes of up to 15 pairs: small, since after each clone a commit copies those it changes.
const treeDegree = 8

func newTree() *tree { return btreemap.New[[]byte, []byte](treeDegree, bytes.Compare) }

type database struct {
	memory *Memory
	image  *image // its durable tree is under memory.mu

	mu     sync.Mutex
	head   *tree // all that was committed
	frozen *tree // a clone of it for views, or nil: nobody writes to it or clones it
	err    error
}

func (d *database) Get(key []byte) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return get(d.head, key), nil
}

func (d *database) Scan(from, to []byte, visit func(key, value []byte) (bool, error)) error {
	return scan(d.freeze(), from, to, visit) // without the lock: visit may take its time
}

func (d *database) NewView() engine.View { return view{d.freeze()} }

func (d *database) NewBatch() engine.Batch { return &batch{into: d} }

func (d *database) freeze() *tree {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frozen == nil {
		d.frozen = d.head.Clone()
	}
	return d.frozen
}

func (d *database) commit(changes []change) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil || len(changes) == 0 {
		return d.err
	}
	for i, c := range changes {
		if c.added && d.head.Has(c.key) && !slices.ContainsFunc(changes[:i], c.makesRoom) {
			return fmt.Errorf("key %q is added, and is there: a fault of the store, or its snapshot contradicted itself", c.key)
		}
	}
	d.frozen = nil
	for _, c := range changes {
		c.apply(d.head)
	}
	return nil
}

func (d *database) Flush() error {
	if err := d.Err(); err != nil {
		return err
	}
	if err := d.memory.at(BeforeFlush); err != nil {
		return d.fail(err)
	}
	d.mu.Lock()
	durable := d.head.Clone()
	d.mu.Unlock()
	d.memory.mu.Lock()
	d.image.durable = durable
	d.memory.mu.Unlock()
	if err := d.memory.at(AfterFlush); err != nil {
		return d.fail(err)
	}
	return nil
}

// fail ends the database, for the first reason.
func (d *database) fail(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = fmt.Errorf("the store's disk failed: %w", err)
	}
	return d.err
}

func (d *database) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

func (d *database) Close() error {
	d.mu.Lock()
	d.err = errClosed // nothing becomes durable after it
	d.mu.Unlock()
	d.memory.mu.Lock()
	d.image.open = nil
	d.memory.mu.Unlock()
	return nil
}

func (d *database) Size() engine.Size { return engine.Size{} }

func (d *database) Discard() error { return d.Close() }

type view struct{ of *tree }

func (v view) Get(key []byte) ([]byte, error) { return get(v.of, key), nil }

func (v view) Scan(from, to []byte, visit func(key, value []byte) (bool, error)) error {
	return scan(v.of, from, to, visit)
}

func (v view) Close() error { return nil }

func get(t *tree, key []byte) []byte {
	_, value, found := t.Get(key)
	if !found {
		return nil
	}
	return append(make([]byte, 0, len(value)), value...)
}

// scan lends visit the same bytes again and again, so that tests see who keeps what is theirs only until they return.
func scan(t *tree, from, to []byte, visit func(key, value []byte) (bool, error)) error {
	var lent []byte
	for key, value := range t.Ascend(span(from, to)) {
		lent = append(append(lent[:0], key...), value...)
		more, err := visit(lent[:len(key):len(key)], lent[len(key):])
		for i := range lent {
			lent[i] = '?'
		}
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// span is from <= key < to, as the tree has it.
func span(from, to []byte) (btreemap.LowerBound[[]byte], btreemap.UpperBound[[]byte]) {
	if to == nil {
		return btreemap.GE(from), btreemap.Max[[]byte]()
	}
	return btreemap.GE(from), btreemap.LT(to)
}

type batch struct {
	into    *database
	changes []change
	size    int
}

// change sets a key, deletes it, or deletes a range.
type change struct {
	key, value []byte // a nil value deletes
	to         []byte // not nil: deletes from key up to here
	added      bool   // the key is not there
}

func (b *batch) add(c change) {
	b.changes = append(b.changes, c)
	b.size += len(c.key) + len(c.value) + len(c.to)
}

func (b *batch) Set(key, value []byte) {
	own := append(append(make([]byte, 0, len(key)+len(value)), key...), value...)
	b.add(change{key: own[:len(key):len(key)], value: own[len(key):]})
}

func (b *batch) Add(key, value []byte) {
	b.Set(key, value)
	b.changes[len(b.changes)-1].added = true
}

func (b *batch) Delete(key []byte) { b.add(change{key: bytes.Clone(key)}) }
func (b *batch) DeleteRange(from, to []byte) {
	b.add(change{key: bytes.Clone(from), to: bytes.Clone(to)})
}
func (b *batch) Len() int { return b.size }

func (b *batch) Commit() error {
	err := b.into.commit(b.changes)
	b.Close()
	return err
}

func (b *batch) Close() {
	clear(b.changes)
	b.changes, b.size = b.changes[:0], 0
}

// makesRoom reports whether an earlier change of the batch deletes the key.
func (c change) makesRoom(earlier change) bool {
	if earlier.to != nil {
		return bytes.Compare(earlier.key, c.key) <= 0 && bytes.Compare(c.key, earlier.to) < 0
	}
	return earlier.value == nil && bytes.Equal(earlier.key, c.key)
}

func (c change) apply(t *tree) {
	switch {
	case c.to != nil:
		var doomed [][]byte
		for key := range t.Ascend(span(c.key, c.to)) {
			doomed = append(doomed, key)
		}
		for _, key := range doomed {
			t.Delete(key)
		}
	case c.value != nil:
		t.ReplaceOrInsert(c.key, c.value)
	default:
		t.Delete(c.key)
	}
}
