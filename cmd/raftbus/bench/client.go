package bench

// One client and its operations.

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// op names what is measured apart.
type op string

const (
	opPut   op = "put"
	opGet   op = "get"
	opCAS   op = "cas"
	opEvent op = "event" // of watch: what a watcher is told
)

// client has one operation under way at a time.
type client struct {
	run   *run
	store Store
	id    int
	rand  *rand.Rand
	key   int       // that cas has a revision of
	due   time.Time // of the operation under way
}

// pauseAfterFailure keeps clients of a store that fails at once from asking in a tight loop.
const pauseAfterFailure = 10 * time.Millisecond

// loop does operations until none begins before the end: when they are due, or else one after the other.
func (c *client) loop(ctx context.Context, s *schedule) {
	alarm := newAlarm()
	defer alarm.stop()
	for time.Now().Before(c.run.end) {
		c.due = time.Now()
		if s != nil {
			c.due = s.take()
		}
		if !c.due.Before(c.run.end) || !alarm.wait(ctx, c.due) {
			return
		}
		if !c.once(ctx, c.run.workload.pick(c), s == nil) {
			alarm.wait(ctx, time.Now().Add(pauseAfterFailure))
		}
	}
}

// once does one operation and records it. In a closed loop it is due when what it needs to know is there.
func (c *client) once(ctx context.Context, o op, closed bool) bool {
	ctxOne, cancel := context.WithTimeout(ctx, c.run.Timeout)
	defer cancel()
	err := c.prepare(ctxOne, o)
	if closed {
		c.due = time.Now()
	}
	if err == nil {
		err = c.operate(ctxOne, o)
	}
	if err != nil && ctx.Err() != nil {
		return false // broken off by us
	}
	c.run.record(o, c.due, time.Now(), err)
	return err == nil
}

func (c *client) operate(ctx context.Context, o op) error {
	switch o {
	case opGet:
		_, err := c.store.Get(ctx, c.run.key(c.rand.IntN(c.run.Keys)))
		return err
	case opCAS:
		return c.swap(ctx)
	default:
		_, err := c.store.Put(ctx, c.run.key(c.rand.IntN(c.run.Keys)), c.value())
		return err
	}
}

func (c *client) getOrPut() op {
	if c.rand.IntN(100) < c.run.ReadPercent {
		return opGet
	}
	return opPut
}

// prepare has cas know the revision of a key. Each client has keys of its own where there are enough, so that nobody conflicts.
func (c *client) prepare(ctx context.Context, o op) (err error) {
	if o != opCAS {
		return nil
	}
	r := c.run
	c.key = c.rand.IntN(r.Keys)
	if own := r.Keys / r.Clients; own > 0 {
		c.key = c.id + r.Clients*c.rand.IntN(own)
	}
	if r.revisions[c.key].Load() == 0 {
		var revision uint64
		revision, err = c.store.Get(ctx, r.key(c.key))
		r.revisions[c.key].Store(revision)
	}
	return err
}

// swap writes the key if it is as it was last seen. After a failure nobody knows what it is.
func (c *client) swap(ctx context.Context) error {
	known := &c.run.revisions[c.key]
	revision, err := c.store.Update(ctx, c.run.key(c.key), c.value(), known.Load())
	if err != nil {
		revision = 0
	}
	known.Store(revision)
	return err
}

// value is bytes that do not compress. Those of watch say when they were due.
func (c *client) value() []byte {
	r := c.run
	from := c.rand.IntN(len(r.noise) - r.Size + 1)
	value := r.noise[from : from+r.Size]
	if r.Workload != "watch" {
		return value
	}
	stamped := append([]byte(nil), value...)
	binary.LittleEndian.PutUint64(stamped, uint64(c.due.Sub(r.base)))
	return stamped
}

func (r *run) key(i int) string { return "k" + strconv.Itoa(i) }

// fillTriesMax bounds how often one key is tried.
const fillTriesMax = 100

// fill writes keys, whichever is next, each until it is acknowledged. It returns why one could not be written.
func (c *client) fill(ctx context.Context) error {
	alarm := newAlarm()
	defer alarm.stop()
	for i := c.run.nextKey(); i < c.run.Keys; i = c.run.nextKey() {
		err := c.fillOne(ctx, i)
		for tries := 1; err != nil; tries++ {
			if tries == fillTriesMax || !alarm.wait(ctx, time.Now().Add(pauseAfterFailure)) {
				return fmt.Errorf("writing key %s: %w", c.run.key(i), err)
			}
			err = c.fillOne(ctx, i)
		}
	}
	return nil
}

func (c *client) fillOne(ctx context.Context, i int) error {
	ctxOne, cancel := context.WithTimeout(ctx, c.run.Timeout)
	defer cancel()
	began := time.Now()
	revision, err := c.store.Put(ctxOne, c.run.key(i), c.value())
	if ctx.Err() == nil {
		c.run.record(opPut, began, time.Now(), err)
	}
	if err == nil && c.run.revisions != nil {
		c.run.revisions[i].Store(revision)
	}
	return err
}
