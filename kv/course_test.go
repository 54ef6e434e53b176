package kv

// Who waits for whom on the way of a request.

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/node"
)

// L9: answers that find no place are not waited for: the node goes on, and their clients hear nothing.
func TestTheNodeDoesNotWaitForAnswers(t *testing.T) {
	r := newLeader(t, func(o *Options) { o.RequestsMax, o.ClientPercent = 4, 100 })
	r.service.listenMu.Lock() // for which the replier waits
	unlock := sync.OnceFunc(r.service.listenMu.Unlock)
	defer unlock()
	r.send("bucket.add.more", "")
	gone := &request{msg: &nats.Msg{}}
	require.Eventually(t, func() bool { _, err := r.store.Bucket("more"); return err == nil }, 5*time.Second, time.Millisecond)
	r.node.set(func(*solo) {}) // the node has given the answer
	require.Eventually(t, func() bool { return len(r.service.answers) == 0 }, 5*time.Second, time.Millisecond)
	for len(r.service.answers) < cap(r.service.answers) {
		r.service.answer(answer{request: gone, replies: []reply{}})
	}
	for _, key := range []string{"a", "b"} {
		r.send("kv.put.app."+key, "v")
		require.Eventually(t, func() bool { _, err := r.store.Get("app", key); return err == nil }, 5*time.Second, time.Millisecond)
	}
	require.Eventually(t, func() bool { return r.service.Figures().Unanswered == 2 }, 5*time.Second, time.Millisecond)
	unlock()
	r.settled()
}

// slow is a host of consumers that tells when it is asked, and then takes its time.
type slow struct {
	asked
	began chan struct{}
}

func (h slow) Ask(c store.Consumer, made bool, answer string) bool {
	close(h.began)
	return h.asked.Ask(c, made, answer)
}

// L9: to ask a consumer's host may take a while. The node goes on meanwhile, also where answers leave at once.
func TestTheNodeDoesNotWaitForTheHostOfAConsumer(t *testing.T) {
	hosts := slow{make(asked), make(chan struct{})}
	r := newRig(t, func(o *Options) { o.Hosts, o.Lane, o.Node = hosts, directLane{o.Conn}, prompted{o.Node.(*solo)} })
	r.lead()
	r.bucketJS("app")
	for range 2 { // the second time it is there, and its host is to say how
		r.sendJS(api+"CONSUMER.CREATE.KV_app.c", `{"stream_name":"KV_app","config":{"ack_policy":"none","deliver_subject":"d"}}`)
	}
	<-hosts.began
	put, err := r.request("kv.put.app.k", "v")
	<-hosts.asked
	require.NoError(t, err, "it waits for the host")
	require.Contains(t, string(put.Data), `"revision":1`)
}

// A read that was confirmed and finds no place ends in silence: it may be asked again. Who asked for one of here and now hears 'busy' (L9).
func TestReadsThatFindNoPlace(t *testing.T) {
	r := newLeader(t, nil)
	r.service.reads.mu.Lock()
	r.service.reads.max = 0
	r.service.reads.mu.Unlock()
	get := r.send("kv.get.app.k", "")
	r.await(func(f Figures) bool { return f.Unanswered == 1 })
	r.silent(get)
	r.expectError(Busy, "kv.get.app.k", "", headerRead, "local")
}

// busyOnce is a node that has no room for the first confirmation.
type busyOnce struct {
	*solo
	asked atomic.Bool
}

func (n *busyOnce) ReadIndex(done func(error)) error {
	if n.asked.Swap(true) {
		return n.solo.ReadIndex(done)
	}
	return node.ErrBusy
}

// A read that the node has no room for was not done, and is told so.
func TestAReadThatTheNodeHasNoRoomForHearsBusy(t *testing.T) {
	r := newLeader(t, func(o *Options) { o.Node = &busyOnce{solo: o.Node.(*solo)} })
	r.expectError(Busy, "kv.get.app.k", "")
	r.expectError(KeyNotFound, "kv.get.app.k", "")
}

// leaving is a lane that sees whether an answer leaves when nothing is in flight any more.
type leavingLane struct {
	directLane
	service *Service
	late    *atomic.Int64
}

func (l *leavingLane) PublishMsg(subject, reply string, header, data []byte) error {
	if l.service.inflight.none() {
		l.late.Add(1)
	}
	return l.directLane.PublishMsg(subject, reply, header, data)
}

// L9: a planned stop waits for what is in flight, so a request counts until its answer has left, whoever gives it.
func TestARequestCountsUntilItsAnswerHasLeft(t *testing.T) {
	lane := &leavingLane{late: &atomic.Int64{}}
	r := newRig(t, func(o *Options) { lane.directLane, o.Lane, o.Node = directLane{o.Conn}, lane, prompted{o.Node.(*solo)} })
	lane.service = r.service
	r.lead()
	r.ask("bucket.add.app", "")
	for name, ask := range map[string]func() *nats.Subscription{
		"applied":  func() *nats.Subscription { return r.send("kv.put.app.k", "v") },
		"read":     func() *nats.Subscription { return r.send("kv.get.app.k", "") },
		"followed": func() *nats.Subscription { return r.send("bucket.add.more", "") },
		"too large": func() *nats.Subscription {
			r.node.set(func(n *solo) { n.refusal = node.ErrTooLarge })
			return r.send("kv.put.app.k", "v")
		},
		"overdue": func() *nats.Subscription {
			r.node.set(func(n *solo) { n.hold = true })
			held := r.sendHeld("kv.put.app.k", "v")
			r.service.expire(time.Now().Add(time.Hour))
			return held
		},
		"forsaken": func() *nats.Subscription {
			r.node.set(func(n *solo) { n.leading = false })
			return r.sendJS(nextOfC, patient)
		},
	} {
		r.settled()
		_, err := ask().NextMsg(5 * time.Second)
		require.NoError(t, err, name)
		r.settled()
		require.Zero(t, lane.late.Load(), name)
		r.node.release()
		r.node.set(func(n *solo) { n.refusal, n.leading = nil, true })
	}
}
