package node

// The inbox is where everything that happens waits for the loop. Each kind of sender has a bound of its own, so that
// clients cannot crowd out peers, nor peers the completions of the node's own work.

import (
	"sync"
	"sync/atomic"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

const (
	messagesMax     = 8192     // from peers
	messageBytesMax = 64 << 20 // their entries
	noticesMax      = 8192     // pings, links, failed calls
	readsMax        = 64 << 10
)

// Bounds of what clients have proposed, in the inbox and logged but not applied: beyond them Propose returns ErrBusy.
const (
	ProposalsMax     = 64 << 10
	ProposalBytesMax = 64 << 20
)

// coreLimits are the core's own bounds. Those on clients' requests are above the node's, which refuses at once: what the core
// turned down as busy would be refused too late for Propose to say so. A proposal that was answered counts in the core until
// its run of entries is reported, so there is room for two runs more.
func coreLimits() raft.Limits {
	l := raft.DefaultLimits()
	l.ReadsMax = readsMax
	l.ProposedBytesMax = ProposalBytesMax + 2*max(l.ApplyBytesMax, commandBytesMax+rpc.EntryOverheadBytes)
	return l
}

// proposal and read are requests of this process, with the way back.
type proposal struct {
	data []byte
	done func(any, rpc.EntryID)
}

// batch is all that waited at one moment.
type batch struct {
	completions []raft.Event // of this node's own disk, applier and loader
	events      []raft.Event
	pings       []busclient.Pinged
	learned     []learned // configurations of which peers told
	proposals   []proposal
	reads       []func(error)
	calls       []func() // to be run on the loop, also when it ends
}

type inbox struct {
	bell                  // for what waits that the loop's goroutine is to take
	prompt    atomic.Bool // who brings messages prompts
	gathering atomic.Bool // who brings requests is about to prompt

	mu       sync.Mutex
	waiting  batch
	messages int
	bytes    int
	notices  int
	dropped  uint64
	closed   bool
}

func newInbox() *inbox { return &inbox{bell: newBell()} }

// put runs add under the lock and wakes the loop, unless the inbox is closed or add refuses.
func (b *inbox) put(add func(*batch) bool) bool {
	ok := b.add(add)
	if ok {
		b.ring()
	}
	return ok
}

// add is put for who takes the turn too.
func (b *inbox) add(add func(*batch) bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.closed && add(&b.waiting)
}

// addOr is add, with or without a ring.
func (b *inbox) addOr(ring bool, add func(*batch) bool) bool {
	if ring {
		return b.put(add)
	}
	return b.add(add)
}

// message takes a message of a peer, or drops it.
func (b *inbox) message(m rpc.Message) {
	size := sizeOf(m.Body)
	b.addOr(!b.prompt.Load(), func(w *batch) bool {
		if b.messages >= messagesMax || b.bytes+size > messageBytesMax && b.messages > 0 {
			b.dropped++
			return false
		}
		b.messages++
		b.bytes += size
		w.events = append(w.events, raft.Received{Message: m})
		return true
	})
}

func sizeOf(body rpc.Body) int {
	cmd, ok := body.(*rpc.AppendLogCommand)
	if !ok {
		return rpc.EntryOverheadBytes
	}
	size := 0
	for i := range cmd.Entries {
		size += cmd.Entries[i].Size()
	}
	return size
}

// news takes what was learnt of peers, or drops it: more will come.
func (b *inbox) news(add func(*batch)) {
	b.put(func(w *batch) bool {
		if b.notices >= noticesMax {
			b.dropped++
			return false
		}
		b.notices++
		add(w)
		return true
	})
}

func (b *inbox) notice(e raft.Event) { b.news(func(w *batch) { w.events = append(w.events, e) }) }

func (b *inbox) ping(p busclient.Pinged) { b.news(func(w *batch) { w.pings = append(w.pings, p) }) }

func (b *inbox) learned(l learned) { b.news(func(w *batch) { w.learned = append(w.learned, l) }) }

// state takes a change that must not be lost: a link's or the bus's. There is one sender, and they are rare.
func (b *inbox) state(e raft.Event) {
	b.put(func(w *batch) bool { w.events = append(w.events, e); return true })
}

// completed takes the completion of work the loop itself handed out: bounded by that.
func (b *inbox) completed(e raft.Event) { b.completedOr(true, e) }

func (b *inbox) completedOr(ring bool, e raft.Event) {
	b.addOr(ring, func(w *batch) bool { w.completions = append(w.completions, e); return true })
}

func (b *inbox) propose(p proposal) bool {
	return b.ask(func(w *batch) bool { w.proposals = append(w.proposals, p); return true })
}

func (b *inbox) read(done func(error)) bool {
	return b.ask(func(w *batch) bool { w.reads = append(w.reads, done); return true })
}

// ask puts a request, and leaves the ring to a prompt that is to come: one that comes after the look at gathering finds the request.
func (b *inbox) ask(add func(*batch) bool) bool {
	ok := b.add(add)
	if ok && !b.gathering.Load() {
		b.ring()
	}
	return ok
}

func (b *inbox) call(f func()) bool {
	return b.put(func(w *batch) bool { w.calls = append(w.calls, f); return true })
}

// take exchanges what waits for an empty batch, but for the requests of clients, which come last.
func (b *inbox) take(empty batch) batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	full := b.waiting
	full.proposals, full.reads = empty.proposals[:0], empty.reads[:0]
	b.waiting = batch{
		completions: empty.completions[:0], events: empty.events[:0], pings: empty.pings[:0], learned: empty.learned[:0],
		proposals: b.waiting.proposals, reads: b.waiting.reads, calls: empty.calls[:0],
	}
	b.messages, b.bytes, b.notices = 0, 0, 0
	return full
}

// proposals is how many proposals wait.
func (b *inbox) proposals() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting.proposals)
}

// takeRequests adds those of clients that are to be taken now to a batch that has none yet.
func (b *inbox) takeRequests(to *batch, but held) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := &b.waiting
	if len(w.proposals) > but.writes {
		to.proposals, w.proposals = w.proposals, to.proposals[:0]
	}
	if !but.reads {
		to.reads, w.reads = w.reads, to.reads[:0]
	}
}

// due reports whether anything waits that is a reason for a turn.
func (b *inbox) due(but held) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := &b.waiting
	return len(w.completions)+len(w.events)+len(w.pings)+len(w.learned)+len(w.calls) > 0 ||
		len(w.proposals) > but.writes || len(w.reads) > 0 && !but.reads
}

// drops is how much was dropped so far.
func (b *inbox) drops() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}

// close makes every later put fail, and returns what still waited.
func (b *inbox) close() batch {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	full := b.take(batch{})
	b.takeRequests(&full, held{})
	return full
}
