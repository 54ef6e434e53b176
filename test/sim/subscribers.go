package sim

// The watchers are clients as the official ones are: ordered consumers, which notice by the consumer's sequence that something is missing,
// and come back with another consumer that begins after the last revision they have. What each gets is held to the book: W1 to W4.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

type watchers struct {
	world   *world
	r       *rand.Rand
	list    []*subscriber
	subject map[string]*subscriber // who listens there
	answers map[string]*subscriber // who waits for an answer there
	book    *book
	events  uint64
}

// looks says which sequences a client compares with the one that it expects.
type looks int

const (
	atAll      looks = iota // nats.rs, and nats.go lately
	onceItHas               // those in heartbeats once its present consumer has sent it something: nats.py, nats.c
	atMessages              // nats.js, nats.java, nats.net
)

// subscriber is one such client.
type subscriber struct {
	all           *watchers
	number        int
	bucket        string
	key           string // "": all keys
	policy        string // of its first consumer
	heartbeat     time.Duration
	flow          bool
	looks         looks
	lives         int    // consumers that it has asked for
	consumer      string // the present one
	deliver       string
	expect        uint64 // the next consumer sequence
	made          bool   // its consumer was answered for
	asked, heard  time.Duration
	incarnation   uint64 // of the bucket that it has seen last
	last, checked uint64 // the last revision that it has, and up to where nothing was missing
}

func newWatchers(w *world) *watchers {
	return &watchers{
		world: w, r: rand.New(rand.NewPCG(w.seed, streamWatches)), subject: map[string]*subscriber{}, answers: map[string]*subscriber{},
		book: newBook(w),
	}
}

func (a *watchers) begin() {
	for i := range a.world.plan.watchers {
		one := &subscriber{all: a, number: i, bucket: bucketName(a.r.IntN(a.world.plan.buckets)), flow: a.r.IntN(2) == 0, looks: looks(i) % (atMessages + 1)}
		one.policy = pick(a.r, "all", "last_per_subject", "last_per_subject", "new")
		one.heartbeat = pick(a.r, 100*time.Millisecond, 500*time.Millisecond)
		if a.r.IntN(3) == 0 {
			one.key = keyName(a.r.IntN(a.world.plan.keys))
		}
		a.list = append(a.list, one)
		a.world.after(between(a.r, 0, 2*time.Second), func() { one.create(); one.attend() })
	}
}

// forgets reports whether a node forgets what it applied and has not told its hub, as it does when that is too much.
func (a *watchers) forgets() bool { return a.r.IntN(500) == 0 }

func (a *watchers) listens(subject string) bool { return a.subject[subject] != nil }

// listen begins or ends a subscription, of which all leaf connections hear.
func (a *watchers) listen(subject string, one *subscriber) {
	if a.subject[subject] = one; one == nil {
		delete(a.subject, subject)
	}
	for _, n := range a.world.list {
		if p := n.process; p != nil && p.deliverer != nil {
			p.deliverer.interest(subject, one != nil)
		}
	}
}

// announce tells the other nodes, as far as they are reached, and has the node itself hear that it did.
func (a *watchers) announce(from *node, said watch.Announcement) {
	w := a.world
	if from.busDown {
		return
	}
	w.after(w.bus.plan.delayMin+exponential(a.r, w.bus.plan.delayMean), func() {
		for _, n := range w.list {
			p := n.process
			if n == from && p != nil && !n.busDown && p.pausedUntil <= w.now {
				p.deliverer.placer.Echo(p.deliverer.now())
			}
			if p == nil || n == from || n.busDown || p.pausedUntil > w.now || w.bus.link(from.id, n.id, control).cut || chance(a.r, w.bus.plan.loss) {
				continue
			}
			p.deliverer.placer.Hear(p.deliverer.now(), said)
		}
	})
}

// arrive is a message where clients are.
func (a *watchers) arrive(s *watch.Send) {
	lost := chance(a.r, a.world.bus.plan.loss)
	if one := a.subject[s.Subject]; lost && (one == nil || one.looks == atAll) { // no other notices if the last message is lost
		return
	}
	if s.State != nil {
		if one := a.answers[s.Subject]; one != nil {
			one.made = true
		}
		return
	}
	if one := a.subject[s.Subject]; one != nil {
		one.hear(s)
	}
}

// create makes another consumer, as nats.go does at first and when something is missing.
func (o *subscriber) create() {
	a := o.all
	if o.lives > 0 {
		a.listen(o.deliver, nil)
		delete(a.answers, "answer."+o.consumer)
		if a.r.IntN(2) == 0 {
			o.request(func(d *deliverer, of string) {
				c := command.Command{RemoveConsumer: &command.RemoveConsumer{Bucket: o.bucket, Name: of}}
				_ = d.process.raft.Propose(c.Encode(), func(any, rpc.EntryID) {})
			})
		}
	}
	o.lives++
	o.expect, o.made, o.asked, o.heard = 1, false, a.world.now, a.world.now
	o.consumer = fmt.Sprintf("w%d-%d", o.number, o.lives)
	o.deliver = "_INBOX." + o.consumer
	a.answers["answer."+o.consumer] = o
	a.listen(o.deliver, o)
	add := command.AddConsumer{
		Bucket: o.bucket, Name: o.consumer, Deliver: o.deliver, Config: o.config(), Mode: command.AddOnly, Answer: "answer." + o.consumer,
	}
	if a.world.trace.reads() {
		a.world.trace.line(a.world.now, o, "asks for a consumer of what is after %d", o.last)
	}
	o.request(func(d *deliverer, _ string) { d.make(add) })
}

func (o *subscriber) config() []byte {
	c := map[string]any{
		"deliver_policy": o.policy, "ack_policy": "none", "idle_heartbeat": o.heartbeat, "flow_control": o.flow, "inactive_threshold": 2 * time.Second,
	}
	if o.key != "" {
		c["filter_subject"] = "$KV." + o.bucket + "." + o.key
	}
	if o.lives > 1 {
		c["deliver_policy"], c["opt_start_seq"] = "by_start_sequence", o.last+1
	}
	body, err := json.Marshal(c)
	o.all.world.must(err == nil, "W3", "%v", err)
	return body
}

// request asks whoever listens now, as other operations do.
func (o *subscriber) request(do func(d *deliverer, consumer string)) {
	w, r, of := o.all.world, o.all.r, o.consumer
	for _, n := range w.list {
		p := n.process
		if p == nil || !p.door.listening() || n.busDown || w.trade.cut[n.id] || chance(r, w.bus.plan.loss) {
			continue
		}
		p.after(w.bus.plan.delayMin+exponential(r, w.bus.plan.delayMean), func() {
			if p.door.listening() {
				do(p.deliverer, of)
				p.wake()
			}
		})
	}
}

// attend comes back to see whether a watcher still hears something.
func (o *subscriber) attend() {
	w := o.all.world
	silence := 3 * o.heartbeat
	if o.heard == o.asked {
		silence = max(silence, time.Second)
	}
	if w.now-o.heard > silence {
		o.create()
	}
	w.after(o.heartbeat, o.attend)
}

func (o *subscriber) hear(s *watch.Send) {
	o.heard = o.all.world.now
	if t := &o.all.world.trace; t.reads() {
		t.line(o.heard, o, "<- %s %q", s.Reply, s.Header)
	}
	switch {
	case bytes.HasPrefix(s.Header, []byte("NATS/1.0 100 Idle Heartbeat")):
		o.beat(s)
	case bytes.HasPrefix(s.Header, []byte("NATS/1.0 100 FlowControl Request")):
		o.processed(s.Reply)
	default:
		o.message(s)
	}
}

// processed answers a flow-control request; the answer may be lost.
func (o *subscriber) processed(subject string) {
	w, r := o.all.world, o.all.r
	for _, n := range w.list {
		if p := n.process; p != nil && !n.busDown && strings.Contains(subject, "."+string(n.id)+".") && !chance(r, w.bus.plan.loss) {
			p.after(w.bus.plan.delayMin+exponential(r, w.bus.plan.delayMean), func() { p.deliverer.add(watch.Processed{Subject: subject}) })
		}
	}
}

// beat is a heartbeat: it counts the messages sent, and says up to where they go (W4).
func (o *subscriber) beat(s *watch.Send) {
	w := o.all.world
	if last := number(w, field(s, "Nats-Last-Consumer: ")); last+1 != o.expect && (o.looks == atAll || o.looks == onceItHas && o.expect > 1) {
		o.create() // something is missing
		return
	}
	if stalled := field(s, "Nats-Consumer-Stalled: "); stalled != "" {
		o.processed(stalled)
	}
	o.all.book.marked(o, number(w, field(s, "Nats-Last-Stream: ")))
}

// message is an event, if it is the next one of the consumer.
func (o *subscriber) message(s *watch.Send) {
	w := o.all.world
	reply, subject, _ := strings.Cut(s.Reply, "@")
	token := strings.Split(reply, ".")
	w.must(len(token) == 9 && token[2] == "KV_"+o.bucket && token[3] == o.consumer, "W1", "%v gets a message with the reply %s", o, s.Reply)
	if number(w, token[6]) != o.expect {
		o.create() // what came is not taken
		return
	}
	o.expect++
	o.all.events++
	o.all.book.delivered(o, strings.TrimPrefix(subject, "$KV."+o.bucket+"."), number(w, token[5]), string(s.Body))
}

func field(s *watch.Send, name string) string {
	_, after, _ := strings.Cut(string(s.Header), name)
	text, _, _ := strings.Cut(after, "\r\n")
	return text
}

func number(w *world, text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	w.must(err == nil, "W1", "%q is no number", text)
	return n
}

func (o *subscriber) String() string {
	return fmt.Sprintf("watcher %d of %s.%s (%s)", o.number, o.bucket, o.key, o.consumer)
}

// complete reports whether all watchers have all there is (L8).
func (a *watchers) complete() bool {
	for _, o := range a.list {
		if !a.book.complete(o) {
			return false
		}
	}
	return true
}
