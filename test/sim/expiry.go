package sim

// Expiry. A door that listens proposes what is over by the cluster's clock, as package kv does; the ledger knows what each key holds and
// until when, and holds what is applied to it: nothing goes early by the log's time (F24), and in the end what is over is gone.

import (
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

// expiry is what a door has proposed to expire.
type expiry struct {
	next  time.Duration // when to look again, by the node's clock
	asked int           // proposals so far; the last is under way if open
	open  bool
}

const (
	expiryPeriod = 50 * time.Millisecond
	expiryWait   = 5 * time.Second
)

// expire proposes what is over, once a period, while the last proposal is not under way, or was for too long.
func (d *door) expire() {
	p, now := d.process, d.process.node.clock.read()
	if !p.world.plan.expires || !d.listening() || now < d.expiry.next {
		return
	}
	d.expiry.open, d.expiry.next = false, now+expiryPeriod
	clock := max(p.raft.Clock(), p.store.Time())
	if next, any, err := p.store.NextDue(); err != nil || !any || next > clock {
		return
	}
	if items, err := p.store.Due(clock, p.world.plan.expireMax); err == nil && len(items) > 0 {
		d.proposeExpiry(items)
	}
}

func (d *door) proposeExpiry(items []command.ExpireItem) {
	d.expiry.asked++
	mine := d.expiry.asked
	done := func(result any, _ rpc.EntryID) {
		if d.expiry.asked != mine || !d.expiry.open {
			return
		}
		d.expiry.open, d.expiry.next = false, d.process.node.clock.read()
		if r, is := result.(store.Result); !is || r.Count == 0 || len(items) < d.process.world.plan.expireMax {
			d.expiry.next += expiryPeriod
		}
	}
	if d.process.raft.Propose(command.Command{Expire: &command.Expire{Items: items}}.Encode(), done) == nil {
		d.expiry.open, d.expiry.next = true, d.process.node.clock.read()+expiryWait
		d.process.wake()
	}
}

// living is an entry of a key that is there.
type living struct {
	sequence, revision uint64
	op                 command.Op
	value              string
	at                 int64 // of the log, when it was written
	ttl                time.Duration
}

// over is when an entry's time is over; false if it never is.
func (e *living) over(bucket *command.Settings) (int64, bool) {
	at, ends := e.at+int64(bucket.TTL), bucket.TTL > 0 && e.ttl != command.Never
	if own := e.at + int64(e.ttl); e.ttl > 0 && (!ends || own < at) {
		return own, true
	}
	return at, ends
}

func (l *ledger) allowsTTL(bucket string) bool {
	s := l.settings[bucket]
	return s.AllowTTL
}

// add adds an entry to what a key holds, in place of what it displaces.
func (l *ledger) add(e *rpc.Entry, w *command.Write, r store.Result) {
	at, s := place(w.Bucket, w.Key), l.settings[w.Bucket]
	list, history := l.live[at], max(1, int(s.History))
	one := living{sequence: r.Sequence, revision: r.Revision, op: w.Op, value: string(w.Value), at: l.time, ttl: w.TTL}
	if one.ttl > 0 && history > 1 { // a marker that is there would hide that a key has expired again
		one.ttl = max(one.ttl, s.MarkerTTL)
	}
	if w.Rollup == command.RollupKey {
		list = nil
	}
	list = append(list[max(0, len(list)+1-history):], one)
	l.holds(e, w.Bucket, w.Key, list)
}

// holds: a key has other entries from an index on.
func (l *ledger) holds(e *rpc.Entry, bucket, key string, list []living) {
	at := place(bucket, key)
	l.world.watchers.book.holds(bucket, key, l.live[at], list)
	l.live[at] = list
	s := state{from: e.Index, bucket: true}
	if n := len(list); n > 0 {
		newest := &list[n-1]
		s.found, s.sequence, s.revision = newest.op == command.Put, newest.sequence, newest.revision
		if s.found {
			s.value = newest.value
		}
	}
	l.keys[at] = append(l.keys[at], s)
}

// expired takes in what an expiry has done: what is over by the log's time, and nothing else.
func (l *ledger) expired(e *rpc.Entry, c *command.Expire, r store.Result) {
	l.time = max(l.time, e.Time)
	var count uint64
	defer func() { l.ended += count }()
	for i := range c.Items {
		if l.expire(e, &c.Items[i]) {
			count++
		}
	}
	l.world.must(r == store.Result{Count: count}, "F24", "entry %v, an expiry of %+v, gives %+v: of these %d are over at %d", e.ID(), c.Items, r, count, l.time)
}

func (l *ledger) expire(e *rpc.Entry, item *command.ExpireItem) bool {
	at, s := place(item.Bucket, item.Key), l.settings[item.Bucket]
	if !l.buckets[item.Bucket] || l.made[item.Bucket] != item.Incarnation {
		return false
	}
	list := l.live[at]
	for i := range list {
		if over, ends := list[i].over(&s); list[i].sequence != item.Sequence || !ends || over > l.time {
			continue
		}
		if s.MarkerTTL > 0 && len(list) == 1 && list[0].op != command.Purge {
			l.mark(e, item, s.MarkerTTL)
			return true
		}
		l.holds(e, item.Bucket, item.Key, append(append([]living(nil), list[:i]...), list[i+1:]...))
		return true
	}
	return false
}

// mark leaves a marker in the place of a key's last entry.
func (l *ledger) mark(e *rpc.Entry, item *command.ExpireItem, ttl time.Duration) {
	l.revision++
	l.last[item.Bucket]++
	marker := living{sequence: l.last[item.Bucket], revision: l.revision, op: command.Purge, at: l.time, ttl: ttl}
	l.holds(e, item.Bucket, item.Key, []living{marker})
}

// expiryLate is how late an expiry may be when all is well.
const expiryLate = time.Second

// overdue reports whether something is there that is long over, by the log's time or by the clock of who leads.
func (w *world) overdue() bool {
	l := w.trade.ledger
	now := l.time
	for _, n := range w.list {
		if p := n.process; p != nil && p.status.Role == raft.Leader {
			now = max(now, p.raft.Clock())
		}
	}
	for b := range w.plan.buckets {
		s := l.settings[bucketName(b)]
		for k := range w.plan.keys {
			for _, e := range l.live[place(bucketName(b), keyName(k))] {
				if over, ends := e.over(&s); w.plan.expires && ends && over <= now-int64(expiryLate) {
					return true
				}
			}
		}
	}
	return false
}
