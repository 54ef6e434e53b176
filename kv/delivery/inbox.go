package delivery

// What waits for the server: entries that were applied, within a bound, and all else that happens.

import (
	"bytes"
	"sync"

	"github.com/raftbus/raftbus/kv/internal/bell"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Bounds of what waits for the server.
const (
	appliedBytesMax = 64 << 20 // of what was applied
	othersMax       = 65_536   // other events; their senders send again
	// eventBytes is about what an event of the store takes beside its bytes.
	eventBytes = 512
)

// inbox is where everything that happens waits for the server, in order.
type inbox struct {
	bell bell.Bell // rings when there is something

	mu    sync.Mutex
	items []item
	bytes int
	// stale says that something applied was forgotten, or that the state was replaced: the consumers are to be taken from the store. All
	// that was applied before is in there.
	stale  bool
	at     rpc.Index // what is applied
	others int
	heard  map[string]*watch.Interest // of items since the connection last came or went, by subject
	hosted map[uint64]bool            // buckets, by incarnation, of which entries are wanted
	all    bool                       // those of all buckets are
	eager  bool                       // the server waits for an index to be applied
}

// item is one of three.
type item struct {
	batch *store.Batch
	event watch.Event
	heard *watch.Interest // may change for as long as it is in the inbox
}

// told is what the hub is told of an item that is no batch.
func (i *item) told() watch.Event {
	if i.heard != nil {
		return *i.heard
	}
	return i.event
}

func newInbox() *inbox {
	return &inbox{bell: bell.New(), stale: true, heard: map[string]*watch.Interest{}, hosted: map[uint64]bool{}}
}

// add adds an event; false if too many wait.
func (b *inbox) add(e watch.Event) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.others >= othersMax {
		return false
	}
	b.others++
	b.items = append(b.items, item{event: e})
	b.bell.Ring()
	return true
}

// surely adds an event of which there are no more than there are pages.
func (b *inbox) surely(e watch.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.items = append(b.items, item{event: e})
	b.bell.Ring()
}

// turned adds that the leaf connection came or went: what is heard from now on comes after that.
func (b *inbox) turned(e watch.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.heard)
	b.items = append(b.items, item{event: e})
	b.bell.Ring()
}

// hear adds who listens. A client may subscribe and unsubscribe faster than the server steps: of each subject one waits (Q12), which still says that somebody was away.
func (b *inbox) hear(e watch.Interest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if waiting := b.heard[e.Subject]; waiting != nil {
		*waiting = waiting.Then(e)
		return
	}
	b.heard[e.Subject] = &e
	b.items = append(b.items, item{heard: &e})
	b.bell.Ring()
}

// applied adds what was applied, as far as it is wanted. mine tells the consumers that this node is to serve.
func (b *inbox) applied(batch store.Batch, mine func(*store.Consumer) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if batch.Reset {
		b.forget()
	}
	b.at = batch.At
	if b.stale {
		b.bell.Ring()
		return
	}
	kept, bytes := b.wanted(&batch, mine)
	if len(kept.Events) > 0 {
		b.items = append(b.items, item{batch: kept})
	}
	if b.bytes += bytes; b.bytes > appliedBytesMax {
		b.forget()
	}
	if len(kept.Events) > 0 || b.eager {
		b.bell.Ring()
	}
}

// wanted is a copy of a batch with what the server wants of it, and about what that takes.
func (b *inbox) wanted(batch *store.Batch, mine func(*store.Consumer) bool) (kept *store.Batch, size int) {
	kept = &store.Batch{At: batch.At, Time: batch.Time}
	for i := range batch.Events {
		e := &batch.Events[i]
		switch e.Kind {
		case store.ConsumerAdded, store.ConsumerMoved:
			if mine(e.Consumer) {
				b.hosted[e.Incarnation] = true
			}
		case store.ConsumerRemoved, store.BucketRemoved:
		case store.Stored, store.Removed, store.BucketPurged:
			if !b.all && !b.hosted[e.Incarnation] {
				continue
			}
		default:
			continue
		}
		own, bytes := owned(e)
		kept.Events, size = append(kept.Events, own), size+bytes
	}
	return kept, size
}

// owned is an event with bytes of its own, and about what it takes. The hub keeps them, and what they come from is a part of a far larger message:
// that would stay for the sake of little that is counted.
func owned(e *store.Event) (own store.Event, size int) {
	own, size = *e, eventBytes+len(e.Entry.Key)+len(e.Entry.Header)+len(e.Entry.Value)
	own.Entry.Header, own.Entry.Value = bytes.Clone(e.Entry.Header), bytes.Clone(e.Entry.Value)
	if e.Consumer != nil {
		c := *e.Consumer
		c.Config = bytes.Clone(c.Config)
		own.Consumer, size = &c, size+len(c.Config)
	}
	return own, size
}

// forget forgets what was applied and waits.
func (b *inbox) forget() {
	b.stale, b.bytes = true, 0
	kept := b.items[:0]
	for _, i := range b.items {
		if i.batch == nil {
			kept = append(kept, i)
		}
	}
	clear(b.items[len(kept):])
	b.items = kept
}

// taken is what waited.
type taken struct {
	items  []item
	stale  bool      // before them the consumers are to be taken from the store
	at     rpc.Index // all up to there was applied, and is in items if it was wanted
	others int       // of items
}

// take takes all that waits. If it is stale, all that is applied from now on is wanted, until want says otherwise.
func (b *inbox) take() taken {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := taken{b.items, b.stale, b.at, b.others}
	b.all = b.all || b.stale
	b.items, b.bytes, b.others, b.stale = nil, 0, 0, false
	clear(b.heard)
	return t
}

// want says of which buckets entries are wanted, and whether the server waits for an index. The first has no effect while something
// waits, which may want more. What was applied since the server last took is as what is applied from now on.
func (b *inbox) want(incarnations map[uint64]bool, eager bool, since rpc.Index) (done bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.eager = eager; eager && b.at > since {
		b.bell.Ring()
	}
	if len(b.items) > 0 || b.stale {
		return false
	}
	b.hosted, b.all = incarnations, false
	return true
}

// again puts back what was taken, and has the consumers taken from the store: what was applied is in there.
func (b *inbox) again(t taken) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.items = append(t.items, b.items...)
	b.others += t.others
	b.forget()
	b.rehear()
}

// rehear leaves of each subject what was heard last, between one turn of the connection and the next.
func (b *inbox) rehear() {
	clear(b.heard)
	kept := b.items[:0]
	for _, i := range b.items {
		switch {
		case i.heard == nil:
			if isTurn(i.event) {
				clear(b.heard)
			}
		case b.heard[i.heard.Subject] != nil:
			earlier := b.heard[i.heard.Subject]
			*earlier = earlier.Then(*i.heard)
			continue
		default:
			b.heard[i.heard.Subject] = i.heard
		}
		kept = append(kept, i)
	}
	clear(b.items[len(kept):])
	b.items = kept
}

func isTurn(e watch.Event) bool {
	switch e.(type) {
	case watch.LeafUp, watch.LeafDown:
		return true
	}
	return false
}

// after leaves out what was applied up to an index.
func after(items []item, at rpc.Index) []item {
	kept := items[:0]
	for _, i := range items {
		if i.batch == nil || i.batch.At > at {
			kept = append(kept, i)
		}
	}
	return kept
}
