package node

import (
	"sync"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

// The inbox is where everything that happens waits for the loop. Each kind of sender has a bound of its own, so that
// clients cannot crowd out peers, nor peers the completions of the node's own work.

const (
	messagesMax      = 8192     // from peers
	messageBytesMax  = 64 << 20 // their entries
	noticesMax       = 8192     // pings, links, failed calls
	proposalsMax     = 64 << 10 // from clients, in the inbox and logged but not applied
	proposalBytesMax = 64 << 20
	readsMax         = 64 << 10
)

// coreLimits are the core's own bounds. Those on clients' requests are above the node's, which refuses at once: what the core
// turned down as busy would be refused too late for Propose to say so. A proposal that was answered counts in the core until
// its run of entries is reported, so there is room for two runs more.
func coreLimits() raft.Limits {
	l := raft.DefaultLimits()
	l.ReadsMax = readsMax
	l.ProposedBytesMax = proposalBytesMax + 2*max(l.ApplyBytesMax, commandBytesMax+rpc.EntryOverheadBytes)
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
	pings       []ping
	proposals   []proposal
	reads       []func(error)
	calls       []func() // to be run on the loop
}

type inbox struct {
	wake chan struct{} // holds one token while anything waits

	mu       sync.Mutex
	waiting  batch
	messages int
	bytes    int
	notices  int
	dropped  uint64
	closed   bool
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// put runs add under the lock and wakes the loop, unless the inbox is closed or add refuses.
func (b *inbox) put(add func(*batch) bool) bool {
	b.mu.Lock()
	ok := !b.closed && add(&b.waiting)
	b.mu.Unlock()
	if ok {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
	return ok
}

// message takes a message of a peer, or drops it.
func (b *inbox) message(m rpc.Message) {
	size := sizeOf(m.Body)
	b.put(func(w *batch) bool {
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

// notice takes news of liveness, or drops it: more will come.
func (b *inbox) notice(e raft.Event) {
	b.put(func(w *batch) bool {
		if !b.room() {
			return false
		}
		w.events = append(w.events, e)
		return true
	})
}

func (b *inbox) ping(p ping) {
	b.put(func(w *batch) bool {
		if !b.room() {
			return false
		}
		w.pings = append(w.pings, p)
		return true
	})
}

func (b *inbox) room() bool {
	if b.notices >= noticesMax {
		b.dropped++
		return false
	}
	b.notices++
	return true
}

// state takes a change that must not be lost: a link's or the bus's. There is one sender, and they are rare.
func (b *inbox) state(e raft.Event) {
	b.put(func(w *batch) bool { w.events = append(w.events, e); return true })
}

// completed takes the completion of work the loop itself handed out: bounded by that.
func (b *inbox) completed(e raft.Event) {
	b.put(func(w *batch) bool { w.completions = append(w.completions, e); return true })
}

func (b *inbox) propose(p proposal) bool {
	return b.put(func(w *batch) bool { w.proposals = append(w.proposals, p); return true })
}

func (b *inbox) read(done func(error)) bool {
	return b.put(func(w *batch) bool { w.reads = append(w.reads, done); return true })
}

func (b *inbox) call(f func()) bool {
	return b.put(func(w *batch) bool { w.calls = append(w.calls, f); return true })
}

// take exchanges what waits for an empty batch.
func (b *inbox) take(empty batch) batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	full := b.waiting
	b.waiting = batch{
		completions: empty.completions[:0], events: empty.events[:0], pings: empty.pings[:0],
		proposals: empty.proposals[:0], reads: empty.reads[:0], calls: empty.calls[:0],
	}
	b.messages, b.bytes, b.notices = 0, 0, 0
	return full
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
	return b.take(batch{})
}
