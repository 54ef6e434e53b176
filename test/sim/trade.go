package sim

// The trade is all clients and what they have asked. A client has a few operations open at a time. Each goes to whoever listens
// when it is sent; without an answer in time its outcome is unknown for ever, and may still come to be (C5). Clients that try
// again do so with another operation.

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/rpc"
)

type trade struct {
	world                           *world
	r                               *rand.Rand
	ops                             []*op
	byName                          map[string]*op // writes, by what makes their commands differ
	removals                        map[string]*removals
	making                          map[string]bool // buckets that somebody asks for
	named                           []*op           // the last writes with a message id, to be tried again
	ledger                          *ledger
	reached                         rpc.Index           // a point that no operation which begins from now on may come before
	cut                             map[rpc.NodeID]bool // nodes that no client reaches
	stopped                         bool
	done, unknown, refused, nothing int
}

type outcome int

const (
	open     outcome = iota
	answered         // decided by the state machine: done, or refused by a condition
	notDone          // refused before it was logged, or nobody listened: certainly not done
	unknown          // nothing was heard in time
)

// op is one operation of a client.
type op struct {
	number           int
	client           int
	write            *command.Command // nil: it reads
	encoded          []byte
	bucket, key      string
	name             string // of a write: no other has it
	called, returned time.Duration
	low              rpc.Index // it may not take effect at or before this index: what did had been answered before it was sent
	outcome          outcome
	answer           answer
	ended            store.Result // of a write that was not answered, for judge
	denied           bool         // it was said not to be done
	appliedAt        rpc.Index    // where in the log it took effect or was refused; 0: nowhere
}

// removals of one bucket: their commands are all alike, so that which entry is which operation shows when it is answered.
type removals struct {
	asked, nothing int
	entries        []rpc.Index
	answered       map[rpc.Index]*op
}

func (o *op) reads() bool   { return o.write == nil }
func (o *op) removes() bool { return o.write != nil && o.write.RemoveBucket != nil }

// answer is what a client hears.
type answer struct {
	op      *op
	outcome outcome
	result  store.Result
	at      rpc.EntryID // of a write
	found   bool        // of a read
	entry   store.Entry
}

func newTrade(w *world) *trade {
	t := &trade{world: w, r: rand.New(rand.NewPCG(w.seed, streamClients)), byName: map[string]*op{}, cut: map[rpc.NodeID]bool{}}
	t.removals, t.making = map[string]*removals{}, map[string]bool{}
	t.ledger = newLedger(w)
	return t
}

// begin sets the clients going: the buckets are made first.
func (t *trade) begin() {
	for i := range t.world.plan.buckets {
		t.removals[bucketName(i)] = &removals{answered: map[rpc.Index]*op{}}
		t.makeBucket(bucketName(i), i)
	}
	for c := range t.world.plan.clients {
		t.world.after(between(t.r, 0, t.world.plan.thinkMean), func() { t.act(c) })
	}
}

func bucketName(i int) string { return fmt.Sprintf("b%d", i) }

func keyName(i int) string { return fmt.Sprintf("k%d", i) }

// makeBucket asks for a bucket again and again, until somebody has answered.
func (t *trade) makeBucket(name string, keep int) {
	o := t.newOp(-1)
	o.bucket, t.making[name] = name, true
	plan := t.world.plan
	settings := command.Settings{
		History: uint64(1 + keep%3), Description: o.name, DuplicateWindow: plan.window,
		TTL: plan.ttl, MarkerTTL: plan.markerTTL, AllowTTL: plan.expires && keep%4 < 3,
	}
	o.write = &command.Command{AddBucket: &command.AddBucket{Name: o.bucket, Settings: settings}}
	t.send(o)
	t.world.after(t.world.plan.patience, func() {
		if o.outcome != answered && !t.stopped {
			t.makeBucket(name, keep)
		}
	})
}

// act has a client do something, and comes back to it after a while.
func (t *trade) act(client int) {
	if t.stopped {
		return
	}
	for range 1 + t.r.IntN(t.world.plan.burst) {
		t.send(t.draw(client))
	}
	t.world.after(exponential(t.r, t.world.plan.thinkMean), func() { t.act(client) })
}

func (t *trade) newOp(client int) *op {
	o := &op{number: len(t.ops), client: client, name: fmt.Sprintf("op%d", len(t.ops))}
	t.ops = append(t.ops, o)
	t.byName[o.name] = o
	return o
}

// draw makes an operation up. Conditions are mostly such that hold, as far as is known.
func (t *trade) draw(client int) *op {
	o := t.newOp(client)
	o.bucket = bucketName(t.r.IntN(t.world.plan.buckets))
	o.key = keyName(t.r.IntN(t.world.plan.keys))
	if t.r.IntN(1000) < t.world.plan.removals {
		o.write = &command.Command{RemoveBucket: &command.RemoveBucket{Name: o.bucket}}
		t.removals[o.bucket].asked++
		return o
	}
	write := command.Write{Bucket: o.bucket, Key: o.key, Value: []byte(o.name)}
	switch t.r.IntN(10) {
	case 0, 1, 2:
		return o
	case 3, 4, 5:
	case 6:
		write.Condition = command.IfAbsent
	case 7:
		write.Condition = command.IfSequence
		write.Sequence = t.ledger.newest(o.bucket, o.key) // as if it had read it
		if t.r.IntN(4) == 0 {
			write.Sequence = uint64(t.r.IntN(20))
		}
	case 8:
		write.Op, write.Condition = command.Delete, command.IfPresent
	case 9:
		if write.Op, write.Rollup = command.Purge, command.RollupKey; t.r.IntN(4) > 0 {
			write.Op, write.Rollup = command.Put, command.RollupNone
			write.Value = append(append(write.Value, ' '), make([]byte, t.r.IntN(t.world.plan.valueMax))...)
		}
	}
	if t.r.IntN(10) < t.world.plan.lives {
		write.TTL = pick(t.r, 30*time.Millisecond, 300*time.Millisecond, 3*time.Second, command.Never)
	}
	o.write = &command.Command{Write: &write}
	if t.r.IntN(10) < t.world.plan.ids {
		t.identify(o)
	}
	return o
}

// triedAgain is how many writes may be tried again: the oldest of them mostly when their window is over.
const triedAgain = 16

// identify gives a write a message id of its own, or makes it a retry of an earlier one, answered or not. Only its value differs from that
// one's, so that it shows which of the two has taken effect.
func (t *trade) identify(o *op) {
	if n := len(t.named); n > 0 && t.r.IntN(3) == 0 {
		first := t.named[t.r.IntN(n)]
		write := *first.write.Write
		write.Value = []byte(o.name)
		o.bucket, o.key, o.write = first.bucket, first.key, &command.Command{Write: &write}
		return
	}
	o.write.Write.MsgID = o.name
	if t.named = append(t.named, o); len(t.named) > triedAgain {
		t.named = t.named[1:]
	}
}

// send publishes an operation: each node that listens now gets a copy, unless the bus loses it.
func (t *trade) send(o *op) {
	w := t.world
	o.called, o.low = w.now, t.reached
	if o.write != nil {
		o.encoded = o.write.Encode()
	}
	if w.trace.reads() {
		w.trace.line(w.now, o, "asked: %s", o.describe())
	}
	heard := false
	for _, n := range w.list {
		p := n.process
		if p == nil || !p.door.listening() || n.busDown || t.cut[n.id] {
			continue
		}
		heard = true
		for again := true; again; again = o.reads() && chance(t.r, w.bus.plan.repeat) { // who asks twice at once may be answered twice, and not alike
			if !chance(t.r, w.bus.plan.loss) {
				p.after(w.bus.plan.delayMin+exponential(t.r, w.bus.plan.delayMean), func() { p.door.handle(o) })
			}
		}
	}
	if !heard && !chance(t.r, w.bus.plan.loss) {
		w.after(w.bus.plan.delayMin, func() { t.hear(answer{op: o, outcome: notDone}) })
	}
	w.after(w.plan.patience, func() { t.giveUp(o) })
}

// reply takes an answer on its way to the client.
func (t *trade) reply(n *node, a answer) {
	if n.busDown || t.cut[n.id] || chance(t.r, t.world.bus.plan.loss) {
		return
	}
	t.world.after(t.world.bus.plan.delayMin+exponential(t.r, t.world.bus.plan.delayMean), func() { t.hear(a) })
}

func (t *trade) giveUp(o *op) {
	if o.outcome == open {
		o.outcome, o.returned = unknown, t.world.now
		t.unknown++
	}
}

// hear is an answer at the client. The first one counts, while it waits for one.
func (t *trade) hear(a answer) {
	o := a.op
	if o.outcome != open {
		t.hearLate(&a)
		return
	}
	o.outcome, o.returned, o.answer = a.outcome, t.world.now, a
	if t.world.trace.reads() {
		t.world.trace.line(t.world.now, o, "heard: %s", a.describe())
	}
	t.world.trace.mix(uint64(o.number)<<32 | uint64(a.at.Index)<<8 | uint64(a.result.Code)<<4 | uint64(a.outcome))
	switch {
	case a.outcome == notDone:
		t.nothing++
		t.denied(o)
	case o.reads():
		t.done++
		t.reached = max(t.reached, t.ledger.read(o))
	default:
		t.wrote(o)
	}
	if o.answer.result.Code == store.NoBucket && !t.making[o.bucket] && !t.stopped {
		t.makeBucket(o.bucket, o.number)
	}
}

// denied: an operation is said not to be done, so it is not and will not be (C5).
func (t *trade) denied(o *op) {
	t.world.must(o.appliedAt == 0, "C5", "%v was said not to be done, and is entry %d", o, o.appliedAt)
	if o.removes() && !o.denied {
		t.removals[o.bucket].nothing++
		t.countRemovals(o.bucket)
	}
	o.outcome, o.denied = notDone, true
}

// hearLate is an answer to who has one, or has given up. It must be as true, and not contradict the first one (C4, C5).
func (t *trade) hearLate(a *answer) {
	o := a.op
	t.world.reach.note(answerTooLate, o.outcome == unknown)
	t.world.reach.note(secondAnswer, o.outcome == answered)
	late := op{number: o.number, bucket: o.bucket, key: o.key, low: o.low, answer: *a}
	switch {
	case a.outcome == notDone && o.reads():
	case a.outcome == notDone:
		t.denied(o)
	case o.reads():
		t.reached = max(t.reached, t.ledger.read(&late))
	case o.outcome == notDone:
		t.world.fail("C5", "%v was said not to be done, and then: %s", o, a.describe())
	case o.outcome == answered:
		t.world.must(a.at == o.answer.at && a.result == o.answer.result, "C4", "%v was answered %s, and then %s", o, o.answer.describe(), a.describe())
	default:
		t.logged(o, a)
	}
}

// countRemovals: there are no more entries that remove a bucket than operations that may have been logged (C4, C5).
func (t *trade) countRemovals(bucket string) {
	r := t.removals[bucket]
	t.world.must(len(r.entries) <= r.asked-r.nothing, "C5", "the entries %v remove %s: %d were asked for, and of %d it was said that they are not done", r.entries, bucket, r.asked, r.nothing)
}

// removed finds out which entry a removal is that was answered.
func (t *trade) removed(o *op, at rpc.Index) {
	e := &t.world.watch.at(at).entry
	c, err := command.Decode(e.Data)
	r := t.removals[o.bucket]
	t.world.must(err == nil && c.RemoveBucket != nil && c.RemoveBucket.Name == o.bucket && (r.answered[at] == nil || r.answered[at] == o) && (o.appliedAt == 0 || o.appliedAt == at), "C4", "%v was answered for entry %d, which is another's", o, at)
	r.answered[at], o.appliedAt = o, at
}

// wrote checks the answer to a write: it is what the log says, and after all that was answered before it was asked (C1).
func (t *trade) wrote(o *op) {
	if o.write.AddBucket != nil {
		t.making[o.bucket] = false
	}
	if t.done++; o.answer.result.Code != store.Done {
		t.refused++
	}
	t.logged(o, &o.answer)
}

// logged: what a write was answered is in the log, as it says, and after all that was answered before it was asked.
func (t *trade) logged(o *op, a *answer) {
	at, c := a.at, t.world.watch.at(a.at.Index)
	if o.removes() {
		t.removed(o, at.Index)
	}
	t.world.must(c.term == at.Term && o.appliedAt == at.Index && c.result == any(a.result), "C2", "%v was answered %+v for entry %v, which is %+v", o, a.result, at, c.result)
	t.world.must(at.Index > o.low, "C1", "%v is entry %d, and was asked when something at %d had been answered", o, at.Index, o.low)
	t.reached = max(t.reached, at.Index)
}

// applied hears what an entry has done, when the first node has applied it.
func (t *trade) applied(e *rpc.Entry, result any) {
	if e.Kind != rpc.EntryCommand {
		return
	}
	c, err := command.Decode(e.Data)
	t.world.must(err == nil, "C5", "entry %v cannot be read: %v", e.ID(), err)
	if c.AddConsumer != nil {
		t.world.watchers.book.applied(e, c.AddConsumer, result.(store.Result))
	}
	if c.AddConsumer != nil || c.MoveConsumers != nil || c.RemoveConsumer != nil {
		return
	}
	if c.Expire != nil { // a leader's
		t.ledger.expired(e, c.Expire, result.(store.Result))
		return
	}
	if c.RemoveBucket != nil {
		r := t.removals[c.RemoveBucket.Name]
		r.entries = append(r.entries, e.Index)
		t.countRemovals(c.RemoveBucket.Name)
		t.ledger.applied(e, &op{bucket: c.RemoveBucket.Name}, &c, result.(store.Result))
		return
	}
	o := t.byName[nameOf(&c)]
	t.world.must(o != nil, "C5", "entry %v is a command that nobody gave: %+v", e.ID(), c)
	t.world.must(o.appliedAt == 0, "C4", "%v is entry %d and entry %d", o, o.appliedAt, e.Index)
	t.world.must(o.outcome != notDone, "C5", "%v was said not to be done, and is entry %v", o, e.ID())
	o.appliedAt = e.Index
	t.ledger.applied(e, o, &c, result.(store.Result))
}

// nameOf finds an operation's name in its command.
func nameOf(c *command.Command) string {
	switch {
	case c.AddBucket != nil:
		return c.AddBucket.Settings.Description
	case c.Write != nil:
		for i, b := range c.Write.Value {
			if b == ' ' {
				return string(c.Write.Value[:i])
			}
		}
		return string(c.Write.Value)
	}
	return ""
}

func (o *op) String() string { return fmt.Sprintf("op%d", o.number) }

func (o *op) describe() string {
	switch {
	case o.reads():
		return "get " + o.bucket + "." + o.key
	case o.write.AddBucket != nil:
		return "make bucket " + o.bucket
	case o.removes():
		return "remove bucket " + o.bucket
	}
	w := o.write.Write
	return fmt.Sprintf("%s %s.%s condition %d (%d) id %s", [...]string{"put", "delete", "purge"}[w.Op], w.Bucket, w.Key, w.Condition, w.Sequence, w.MsgID)
}

func (a *answer) describe() string {
	switch {
	case a.outcome == notDone:
		return "not done"
	case !a.op.reads():
		return fmt.Sprintf("%v, revision %d, entry %v", a.result.Code, a.result.Sequence, a.at)
	case a.found:
		return fmt.Sprintf("%.20q, revision %d", a.entry.Value, a.entry.Sequence)
	}
	return a.result.Code.String()
}
