package busclient

// What leaves on a connection between nodes without a lane waits here, a moment, for the goroutine that writes it. NATS's client writes on the caller's
// goroutine, and a server that stops reading would hold that up for as long as the write timeout, and one that is connected to anew for as long as that
// takes: nothing may hold up the loop of a node (design section 2).

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// outboxBytesMax bounds what waits, beside the batch that is being written: the parts of the largest message, and what
	// else is on its way.
	outboxBytesMax = MessageBytesMax + 2*inFlightBytesMax
	// outboxMessagesMax bounds it for small messages.
	outboxMessagesMax = 32 << 10
	// copyKeptMax bounds the buffers that are kept for the messages to come, in bytes.
	copyKeptMax = 64 << 10
)

// errOutboxFull: the server takes what this node sends too slowly.
var errOutboxFull = fmt.Errorf("%w: the NATS server does not take what is sent", ErrTooManyInFlight)

// outgoing is a message, or a mark among them.
type outgoing struct {
	subject, reply string
	data           *[]byte
	mark           chan struct{} // closed when what was put before is written, or dropped
}

// outbox is a bounded queue to one connection, and the goroutine that empties it.
type outbox struct {
	mu      sync.Mutex
	waiting []outgoing
	bytes   int
	closed  bool
	stale   atomic.Bool // what is being written: the connection that it was for was lost
	bell    sync.Cond
	copies  sync.Pool // of *[]byte
	written sync.WaitGroup
}

func newOutbox() *outbox {
	o := &outbox{}
	o.bell.L = &o.mu
	o.copies.New = func() any { return new([]byte) }
	return o
}

// put takes a copy of a message along. It never waits.
func (o *outbox) put(subject, reply string, data []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return ErrBusDown
	case o.bytes > 0 && o.bytes+len(data) > outboxBytesMax, len(o.waiting) >= outboxMessagesMax:
		return errOutboxFull
	}
	buffer := o.copies.Get().(*[]byte)
	*buffer = append((*buffer)[:0], data...)
	o.waiting = append(o.waiting, outgoing{subject: subject, reply: reply, data: buffer})
	o.bytes += len(data)
	o.bell.Signal()
	return nil
}

// clear drops what waits, and what is left of what is being written: the connection was lost, and when it is back it would be stale (K73).
func (o *outbox) clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop()
	o.stale.Store(true)
}

// drop drops what waits. o.mu is held.
func (o *outbox) drop() {
	for _, m := range o.waiting {
		if m.mark != nil {
			close(m.mark)
		}
	}
	o.waiting, o.bytes = nil, 0
}

// await returns when what was put before is written, or dropped; false when that takes longer.
func (o *outbox) await(timeout time.Duration) bool {
	mark := make(chan struct{})
	o.mu.Lock()
	if o.closed {
		close(mark)
	} else {
		o.waiting = append(o.waiting, outgoing{mark: mark})
		o.bell.Signal()
	}
	o.mu.Unlock()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-mark:
		return true
	case <-timer.C:
		return false
	}
}

// run has what is put written, until close; written is called when all that waited was.
func (o *outbox) run(write func(outgoing), written func()) {
	o.written.Add(1)
	go func() {
		defer o.written.Done()
		for batch, ok := o.take(nil); ok; batch, ok = o.take(batch) {
			for _, m := range batch {
				if m.mark != nil {
					close(m.mark)
					continue
				}
				if !o.stale.Load() {
					write(m)
				}
				o.recycle(m)
			}
			written()
		}
	}()
}

// take waits for messages, and swaps the queue for the batch that was written.
func (o *outbox) take(written []outgoing) ([]outgoing, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.waiting) == 0 && !o.closed {
		o.bell.Wait()
	}
	batch := o.waiting
	clear(written)
	o.waiting, o.bytes = written[:0], 0
	o.stale.Store(false)
	return batch, !o.closed
}

func (o *outbox) recycle(m outgoing) {
	if cap(*m.data) <= copyKeptMax {
		o.copies.Put(m.data)
	}
}

// close ends the goroutine and awaits it.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.drop()
	o.bell.Broadcast()
	o.mu.Unlock()
	o.written.Wait()
}

// isDown reports whether a write failed only because the connection is not there: that is said elsewhere.
func isDown(err error) bool {
	return errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionReconnecting)
}
