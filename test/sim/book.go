package sim

// The book is what each bucket was given, revision by revision, and what of it is gone again, as the ledger knows it. Watchers are judged by
// it: what they get is in it and in order (W1), and what they do not get was dropped before, or was not asked for (W2, W4).

import (
	"encoding/json"
	"fmt"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/rpc"
)

type book struct {
	world     *world
	now       map[string]*volume // by bucket: the one that is there
	consumers map[string]*placed
}

// volume is one life of a bucket.
type volume struct {
	incarnation uint64
	entries     []written         // by sequence, from 1 on
	newest      map[string]uint64 // of each key
	gone        bool
}

type written struct {
	key, value string
	dropped    bool
	next       uint64 // the next one of its key; 0: none
}

// placed is a consumer as the log made it.
type placed struct {
	volume *volume
	start  uint64 // the bucket's last revision then
	policy string
	from   uint64
}

func newBook(w *world) *book {
	return &book{world: w, now: map[string]*volume{}, consumers: map[string]*placed{}}
}

// began: a bucket was made or removed.
func (b *book) began(bucket string, there bool, incarnation uint64) {
	if old := b.now[bucket]; old != nil {
		old.gone = true
		delete(b.now, bucket)
	}
	if there {
		b.now[bucket] = &volume{incarnation: incarnation, newest: map[string]uint64{}}
	}
}

// holds: a key has other entries than before.
func (b *book) holds(bucket, key string, before, now []living) {
	v := b.now[bucket]
	if v == nil {
		return
	}
	kept := map[uint64]bool{}
	for _, e := range now {
		if kept[e.sequence] = true; e.sequence > uint64(len(v.entries)) {
			v.entries = append(v.entries, written{key: key, value: e.value})
			if last := v.newest[key]; last > 0 {
				v.entries[last-1].next = e.sequence
			}
			v.newest[key] = e.sequence
		}
	}
	for _, e := range before {
		if !kept[e.sequence] {
			v.entries[e.sequence-1].dropped = true
		}
	}
}

// applied takes in consumers that the log makes.
func (b *book) applied(_ *rpc.Entry, c *command.AddConsumer, r store.Result) {
	v := b.now[c.Bucket]
	b.world.must((r.Code == store.NoBucket) == (v == nil), "C1", "consumer %s of %s: %v", c.Name, c.Bucket, r.Code)
	if r.Code != store.Done || r.Again {
		return
	}
	var config struct {
		Policy string `json:"deliver_policy"`
		From   uint64 `json:"opt_start_seq"`
	}
	err := json.Unmarshal(c.Config, &config)
	b.world.must(err == nil && r.Sequence == uint64(len(v.entries)), "W3", "consumer %s begins at %d of %d (%v)", c.Name, r.Sequence, len(v.entries), err)
	b.consumers[c.Name] = &placed{volume: v, start: r.Sequence, policy: config.Policy, from: config.From}
}

// of is the consumer that a watcher is served by. In another bucket of the name a watcher begins anew.
func (b *book) of(o *subscriber) *placed {
	c := b.consumers[o.consumer]
	if c == nil {
		return nil
	}
	if c.volume.incarnation != o.incarnation {
		o.incarnation, o.last, o.checked = c.volume.incarnation, 0, 0
		switch c.policy {
		case "new":
			o.checked = c.start
		case "by_start_sequence":
			o.checked = max(c.from, 1) - 1
		}
	}
	return c
}

// delivered: a watcher gets an entry (W1), and with it the end of all before (W2).
func (b *book) delivered(o *subscriber, key string, sequence uint64, value string) {
	c := b.of(o)
	b.world.must(c != nil, "W1", "%v is served, and the log has not made its consumer", o)
	b.world.must(sequence > o.last, "W1", "%v gets revision %d after %d", o, sequence, o.last)
	b.world.must(sequence >= c.from, "W3", "%v asked for what is from revision %d on, and gets %d", o, c.from, sequence)
	b.world.must(sequence <= uint64(len(c.volume.entries)), "W1", "%v gets revision %d, the last is %d", o, sequence, len(c.volume.entries))
	e := &c.volume.entries[sequence-1]
	b.world.must(e.key == key && e.value == value && o.wants(key), "W1", "%v gets %.20q as %s at revision %d: it is %.20q of %s", o, value, key, sequence, e.value, e.key)
	b.missing("W2", o, c, sequence-1)
	o.last, o.checked = sequence, max(o.checked, sequence)
}

// marked: a watcher is told that it has all up to a revision (W4).
func (b *book) marked(o *subscriber, upTo uint64) {
	c := b.of(o)
	b.world.must(c != nil && upTo <= uint64(len(c.volume.entries)) || c != nil && upTo < c.from, "W4", "%v is told that it has all up to %d, which is not written", o, upTo)
	upTo = min(upTo, uint64(len(c.volume.entries)))
	b.missing("W4", o, c, upTo)
	o.checked = max(o.checked, upTo)
}

func (b *book) missing(promise string, o *subscriber, c *placed, upTo uint64) {
	lacks := c.lacks(o, upTo)
	b.world.must(lacks == 0, promise, "%v is past revision %d, and did not get it: it has all up to %d", o, lacks, o.checked)
}

// lacks is the first revision that a watcher must have got, up to one, and has not; 0: none.
func (c *placed) lacks(o *subscriber, upTo uint64) uint64 {
	for s := o.checked + 1; s <= upTo && !c.volume.gone; s++ {
		e := &c.volume.entries[s-1]
		shadowed := c.policy == "last_per_subject" && s <= c.start && e.next > 0 && e.next <= c.start
		if o.wants(e.key) && !e.dropped && !shadowed {
			return s
		}
	}
	return 0
}

func (o *subscriber) wants(key string) bool { return o.key == "" || o.key == key }

// complete reports whether a watcher has all there is.
func (b *book) complete(o *subscriber) bool {
	v := b.now[o.bucket]
	if v == nil {
		return true // there is no bucket
	}
	c := b.of(o)
	return c != nil && c.volume == v && c.lacks(o, uint64(len(v.entries))) == 0
}

func (b *book) describe(o *subscriber) string {
	c, v := b.consumers[o.consumer], b.now[o.bucket]
	if c == nil {
		return "the log has not made its consumer"
	}
	return fmt.Sprintf("it has up to %d (%d) of %d, of bucket %d, there is %d; it expects %d", o.last, o.checked, len(c.volume.entries), c.volume.incarnation, v.incarnation, o.expect)
}
