package kv

// The bounds of what is carried out at a time, for an account and for each client of it.

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/internal/names"
)

// inflight holds the requests that are being carried out, oldest first, within bounds. A request is claimed once, by whoever
// answers it or gives it up, so that it gets one answer at most; it counts until it is freed, when that answer has been sent.
//
// The bounds are one account's, since each has a Service (Q12). Within them one client may have a part only, so that who floods hears 'busy' and
// others go on. A client is whose answers go to one inbox. That is a courtesy and no protection: clients choose their inboxes, and who takes many
// gets many parts; what parts principals is the account, which NATS knows.
type inflight struct {
	countMax, bytesMax             int
	clientCountMax, clientBytesMax int // not below the others: no client is looked at

	seed    maphash.Seed
	clients [clientsMax]client // by the hash of their inboxes: a few may share what one may have

	mu          sync.Mutex
	count       int
	lasting     int // of count
	bytes       int
	first, last *request
	ended       chan struct{} // closed when the next request is freed or lasts; nil unless somebody waits
}

// clientsMax is how many clients are told apart.
const clientsMax = 4_096

// client is what one client has in flight.
type client struct{ count, bytes int }

// newInflight makes bounds; of them one client may have the part of so many in a hundred.
func newInflight(countMax, bytesMax, clientPercent int) *inflight {
	f := &inflight{countMax: countMax, bytesMax: bytesMax, clientCountMax: countMax, clientBytesMax: bytesMax, seed: maphash.MakeSeed()}
	if clientPercent < 100 {
		f.clientCountMax, f.clientBytesMax = max(countMax*clientPercent/100, 1), max(bytesMax*clientPercent/100, 1)
	}
	return f
}

// bound is what a request does not fit into.
type bound uint8

const (
	fits bound = iota
	tooMany
	tooManyOfClient
)

// add counts a request in, if the bounds allow it. One request is always allowed, of all and of each client, however large.
func (f *inflight) add(r *request) bound {
	r.client = f.clientOf(r.msg.Reply)
	f.mu.Lock()
	defer f.mu.Unlock()
	c := &f.clients[r.client]
	if found := f.boundOf(c, r.weight); found != fits {
		return found
	}
	f.count++
	f.bytes += r.weight
	c.count++
	c.bytes += r.weight
	r.waits = true
	if r.before = f.last; r.before == nil {
		f.first = r
	} else {
		r.before.after = r
	}
	f.last = r
	return fits
}

// boundOf is what a request of a client does not fit into. f.mu is held.
func (f *inflight) boundOf(c *client, weight int) bound {
	switch {
	case f.count >= f.countMax || f.count > 0 && f.bytes+weight > f.bytesMax:
		return tooMany
	case c.count >= f.clientCountMax || c.count > 0 && c.bytes+weight > f.clientBytesMax:
		return tooManyOfClient
	}
	return fits
}

// full reports whether a message would be over a bound as a request.
func (f *inflight) full(m *nats.Msg) bool {
	client := f.clientOf(m.Reply)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.boundOf(&f.clients[client], weightOf(m)) != fits
}

// clientOf is the place of the client whose answer goes to a subject.
func (f *inflight) clientOf(reply string) uint16 {
	if f.clientCountMax >= f.countMax {
		return 0
	}
	return uint16(maphash.String(f.seed, names.Inbox(reply)) % clientsMax)
}

// none reports whether nothing is in flight.
func (f *inflight) none() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count == 0
}

// claim takes the right to answer a request; false if it was taken before.
func (f *inflight) claim(r *request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.take(r)
}

// log notes that a request is about to be logged. inPart: some of it was before. false: it was claimed; its client has its answer.
func (f *inflight) log(r *request) (inPart, waits bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !r.waits {
		return false, false
	}
	return r.logged.Swap(true), true
}

// waiting reports whether nobody has claimed a request.
func (f *inflight) waiting(r *request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return r.waits
}

func (f *inflight) take(r *request) bool {
	if !r.waits {
		return false
	}
	r.waits = false
	if r.before == nil {
		f.first = r.after
	} else {
		r.before.after = r.after
	}
	if r.after == nil {
		f.last = r.before
	} else {
		r.after.before = r.before
	}
	r.before, r.after = nil, nil
	return true
}

// overdue claims the requests whose deadline has passed.
func (f *inflight) overdue(now time.Time) []*request {
	f.mu.Lock()
	defer f.mu.Unlock()
	var late []*request
	for f.first != nil && !now.Before(f.first.deadline) {
		late = append(late, f.first)
		f.take(f.first)
	}
	return late
}

// free counts a claimed request out.
func (f *inflight) free(r *request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count--
	f.bytes -= r.weight
	c := &f.clients[r.client]
	c.count--
	c.bytes -= r.weight
	if r.lasts {
		f.lasting--
	}
	f.tell()
}

// outlive notes that a request may be answered also by a node that does not lead any more.
func (f *inflight) outlive(r *request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.waits && !r.lasts { // else it was overdue, and may be freed already
		r.lasts = true
		f.lasting++
		f.tell()
	}
}

// tell has who waits look again. f.mu is held.
func (f *inflight) tell() {
	if f.ended != nil {
		close(f.ended)
		f.ended = nil
	}
}

// drain waits until no request is being carried out, or none but those that last.
func (f *inflight) drain(ctx context.Context, all bool) error {
	for {
		wait := f.remains(all)
		if wait == nil {
			return nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// remains is the event after which to look again; nil: nothing is left to wait for.
func (f *inflight) remains(all bool) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == 0 || !all && f.count == f.lasting {
		return nil
	}
	if f.ended == nil {
		f.ended = make(chan struct{})
	}
	return f.ended
}
