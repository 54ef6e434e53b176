package sim

// One seed, from the first boot to the end.

import (
	"bytes"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft/rpc"
)

// options say how a seed is run.
type options struct {
	log io.Writer // where the trace is written for reading; nil: nowhere
	variant
}

// result is what became of a seed.
type result struct {
	seed  uint64
	wrong *violation    // nil: nothing is
	at    time.Duration // when it went wrong
	stats
	hash  uint64
	fired []int // the numbers of the faults that happened
}

// stats count what happened.
type stats struct {
	simulated                    time.Duration
	events, messages, operations uint64
	shared                       uint64 // of the messages, those to several
	unknown, entries, leaders    uint64
	starts                       uint64
	retries, expired, watched    uint64 // retries that were recognised, entries that expired, events that watchers got
	faults                       [kinds]int
	reach                        reach
}

// runSeed runs a seed.
func runSeed(seed uint64, o options) (r result) {
	p := drawPlan(seed)
	o.apply(p)
	w := newWorld(seed, p)
	w.trace.log = o.log
	w.faults.only = o.set()
	r.seed = seed
	defer func() {
		r.stats, r.hash, r.fired = w.stats(), w.trace.hash, w.faults.fired
		switch broken := recover().(type) {
		case nil:
		case *violation:
			r.wrong, r.at = broken, w.now
		default: // a panic of the production code: no seed may have one
			r.wrong, r.at = &violation{"panic", fmt.Sprintf("%v\n%s", broken, debug.Stack())}, w.now
		}
	}()
	w.live()
	return r
}

func (w *world) stats() (s stats) {
	s.simulated, s.events, s.messages = w.now, w.trace.events, w.bus.carried
	s.shared = w.bus.shared
	s.operations, s.unknown = uint64(len(w.trade.ops)), uint64(w.trade.unknown)
	s.retries, s.expired = w.trade.ledger.retries, w.trade.ledger.ended
	s.watched, s.reach = w.watchers.events, w.reach
	s.entries, s.leaders, s.faults = uint64(w.watch.last()), uint64(len(w.watch.leaders)), w.faults.done
	for _, n := range w.list {
		s.starts += uint64(n.starts)
	}
	return s
}

// live is the life of a world: chaos, then a quorum that is well, then all.
func (w *world) live() {
	for _, n := range w.list {
		w.at(between(n.r, 0, w.plan.startMax), n.restart)
	}
	w.trade.begin()
	w.watchers.begin()
	w.faults.begin()
	w.attend()
	w.run(w.plan.chaos, nil)
	w.healQuorum()
	w.healAll()
}

// healQuorum: with a quorum well and the rest as it is, something asked now is committed within ten election timeouts (L8).
func (w *world) healQuorum() {
	well := w.quorum()
	w.faults.over = true
	w.bus.quiet()
	if well == nil {
		return // so many disks are damaged that not every quorum is left; more than that is not promised
	}
	w.faults.heal(well)
	for _, n := range w.list {
		delete(w.trade.cut, n.id)
		if w.plan.small {
			n.slow = w.plan.diskMean // a leader outside reads what others miss of its log, a few entries at a time, and only here so few
		}
	}
	if w.trace.reads() {
		w.trace.line(w.now, "", "==== %v are well", idsOf(well))
	}
	limit, since, from := 10*w.plan.timing.ElectionMax, len(w.trade.ops), w.now
	ok := w.run(w.now+limit, func() bool { return w.trade.doneSince(since) })
	if !ok {
		w.fail("L8", "nothing was committed within %v of %v, when %v were well again: %s", limit, from, idsOf(well), w.describe())
	}
}

// healAll: with all well, and the members replaced whose disks are not, all come to the same state (L8).
func (w *world) healAll() {
	w.faults.heal(w.list)
	if w.trace.reads() {
		w.trace.line(w.now, "", "==== all are well")
	}
	w.trade.stopped = true
	w.mendAll()
	w.replaceAll()
	from := w.now
	ok := w.run(w.now+convergeMax, w.converged)
	if !ok {
		w.fail("L8", "not all members have the same state %v after %v, when all were well again: %s", convergeMax, from, w.describe())
	}
	w.finish()
}

// mendAll starts those anew whose logs have lost an entry: it may be in a place where nobody looks but at a start. They are not
// replaced, the others give them what they lost (F18).
func (w *world) mendAll() {
	for _, n := range w.list {
		if n.ruined == lossy {
			n.crash(loseNone, 0)
			n.restart()
		}
	}
}

// convergeMax is how long all may take to come to the same state.
const convergeMax = time.Minute

// converged reports whether all members are voters and have applied all that is committed.
func (w *world) converged() bool {
	c := &w.watch.conf
	if len(c.Voters) == 0 || c.Joint() || len(c.Learners) > 0 {
		return false
	}
	for _, m := range c.Voters {
		p := w.nodes[m.ID].process
		if p == nil || p.member() != m || w.nodes[m.ID].ruined != "" || p.status.Applied != w.watch.last() || p.status.Configuration.Index != c.Index {
			return false
		}
	}
	return !w.overdue() && w.watchers.complete()
}

// finish compares all states, and what clients were told with what is there.
func (w *world) finish() {
	voters := w.watch.conf.Voters
	for _, m := range voters {
		w.watch.hashed(w.nodes[m.ID].process)
	}
	w.trade.finish(w.nodes[voters[0].ID].process.store)
	if w.seed%judgedEvery == 0 {
		w.trade.judge()
	}
}

// doneSince reports whether an operation asked after so many others is done.
func (t *trade) doneSince(n int) bool {
	for _, o := range t.ops[n:] {
		if o.outcome == answered && !o.reads() {
			return true
		}
	}
	return false
}

func idsOf(list []*node) (ids []rpc.NodeID) {
	for _, n := range list {
		ids = append(ids, n.id)
	}
	return ids
}

// describe says how the nodes are.
func (w *world) describe() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "committed %d", w.watch.last())
	for _, n := range w.list {
		if n.process == nil {
			fmt.Fprintf(&b, "; %s down %s", n.id, n.ruined)
			continue
		}
		fmt.Fprintf(&b, "; %s %+v", n.id, n.process.status.Status)
	}
	for _, o := range w.watchers.list {
		if !w.watchers.book.complete(o) {
			fmt.Fprintf(&b, "; %v lacks something: %s", o, w.watchers.book.describe(o))
		}
	}
	if w.overdue() {
		b.WriteString("; something is over and still there")
	}
	return b.String()
}

// describe says what a message on the bus is.
func describe(d busclient.Delivery) string {
	if d.NoResponders {
		return "nobody: " + d.Subject
	}
	h, body, err := rpc.Decode(d.Data, rpc.NewKeys(nil, nil))
	if err != nil {
		return "part: " + d.Subject
	}
	return fmt.Sprintf("%s term %d %T%+v", h.From, h.Term, body, body)
}
