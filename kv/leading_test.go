package kv

// What a node may say when it leads, when it does not, and when that changed meanwhile (design section 4; C5).

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// send publishes a request and returns where its answers come.
func (r *rig) send(subject, body string, headers ...string) *nats.Subscription {
	r.Helper()
	sub, err := r.client.SubscribeSync(r.client.NewRespInbox())
	require.NoError(r, err)
	msg := &nats.Msg{Subject: "raftbus." + subject, Reply: sub.Subject, Data: []byte(body), Header: nats.Header{}}
	for i := 0; i < len(headers); i += 2 {
		msg.Header.Add(headers[i], headers[i+1])
	}
	require.NoError(r, r.client.PublishMsg(msg))
	require.NoError(r, r.client.Flush())
	return sub
}

// sendHeld sends a request and waits until the node holds what it asks for.
func (r *rig) sendHeld(subject, body string, headers ...string) *nats.Subscription {
	r.Helper()
	sub := r.send(subject, body, headers...)
	r.awaitHeld()
	return sub
}

func (r *rig) awaitHeld() {
	r.Helper()
	select {
	case <-r.node.heldMax:
	case <-time.After(5 * time.Second):
		require.FailNow(r, "nothing was asked of the node")
	}
}

// overdue has the time be over of all that the service has in hand.
func (r *rig) overdue() { r.service.expire(time.Now().Add(24 * time.Hour)) }

// settled waits until the service has taken all that was sent, has nothing in hand, and all it said has arrived.
func (r *rig) settled() {
	r.Helper()
	require.NoError(r, r.client.Flush())
	require.NoError(r, r.service.conn.Flush())
	require.Eventually(r, func() bool {
		if r.untaken() {
			return false
		}
		r.service.inflight.mu.Lock()
		defer r.service.inflight.mu.Unlock()
		return r.service.inflight.count == 0 && r.service.refusals.waiting.Load() == 0
	}, 5*time.Second, time.Millisecond)
	require.NoError(r, r.service.conn.Flush())
	require.NoError(r, r.client.Flush())
}

// untaken reports whether messages have come that the service is yet to take.
func (r *rig) untaken() bool {
	r.service.listenMu.Lock()
	defer r.service.listenMu.Unlock()
	for _, sub := range r.service.all() {
		if pending, _, err := sub.Pending(); err == nil && pending > 0 {
			return true
		}
	}
	return false
}

// handled waits until the service has taken all messages sent so far: one more, of which it surely tells, is answered.
func (r *rig) handled() {
	r.Helper()
	r.ask("kv.nonsense", "")
}

func (r *rig) silent(sub *nats.Subscription) {
	r.Helper()
	r.settled()
	pending, _, err := sub.Pending()
	require.NoError(r, err)
	if pending > 0 {
		msg, err := sub.NextMsg(time.Second)
		require.NoError(r, err)
		require.FailNow(r, "an answer where none may be", "%s", msg.Data)
	}
}

// silentSoFar shows that nothing was answered before what is answered next.
func (r *rig) silentSoFar(sub *nats.Subscription) {
	r.Helper()
	r.handled()
	pending, _, err := sub.Pending()
	require.NoError(r, err)
	require.Zero(r, pending)
}

// answered takes the one answer, and shows that there is no other.
func (r *rig) answered(sub *nats.Subscription) *nats.Msg {
	r.Helper()
	msg, err := sub.NextMsg(5 * time.Second)
	require.NoError(r, err)
	r.silent(sub)
	return msg
}

func newLeader(t *testing.T, change func(*Options)) *rig {
	r := newRig(t, change)
	r.lead()
	r.ask("bucket.add.app", "")
	r.settled() // what is answered counts until the answer has left
	return r
}

func TestListensOnlyWhileLeading(t *testing.T) {
	r := newRig(t, nil)
	_, err := r.request("bucket.ls", "")
	require.ErrorIs(t, err, nats.ErrNoResponders)
	for range 3 {
		r.lead()
		r.expect(`{"buckets":[]}`, "bucket.ls", "")
		r.stepDown()
		_, err := r.request("bucket.ls", "")
		require.ErrorIs(t, err, nats.ErrNoResponders)
	}
}

func TestAnotherSubscriberAlsoGetsACopy(t *testing.T) {
	r := newLeader(t, nil)
	other, err := r.client.SubscribeSync("raftbus.kv.>")
	require.NoError(t, err)
	r.ask("kv.put.app.k", "v")
	_, err = other.NextMsg(5 * time.Second)
	require.NoError(t, err)
	for _, sub := range r.service.subs {
		require.Empty(t, sub.Queue, "an old and a new leader must both get a copy, so neither is in a group")
	}
}

func TestLeadershipToldTwiceIsLeadership(t *testing.T) {
	r := newLeader(t, nil)
	r.node.lead(true)
	r.service.listen()
	r.expect(`{"buckets":["app"]}`, "bucket.ls", "")
}

func TestNotLeaderIsSilent(t *testing.T) {
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.leading = false }) // the node knows before the service does
	put, get := r.send("kv.put.app.k", "v"), r.send("kv.get.app.k", "")
	r.handled()
	r.silent(put)
	r.silent(get)
}

func TestDeposedSaysDoneButNeverRefused(t *testing.T) {
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.hold = true })
	done := r.sendHeld("kv.create.app.k", "v")
	refused := r.sendHeld("kv.create.app.k", "v")
	r.node.lead(false)
	r.node.release()
	require.JSONEq(t, `{"bucket":"app","key":"k","revision":1,"cluster_revision":2}`, string(r.answered(done).Data))
	r.silent(refused)
}

func TestLeaderAgainStillDoesNotRefuseWhatCameBefore(t *testing.T) {
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.hold = true })
	refused := r.sendHeld("kv.update.app.k", "v", headerExpected, "9")
	r.node.lead(false)
	r.node.lead(true)
	r.node.release()
	r.silent(refused)
}

func TestBusyAndFullOnlyWhenLeadershipIsShown(t *testing.T) {
	for cause, want := range map[error]ErrorKind{node.ErrBusy: Busy, node.ErrFull: Full} {
		r := newLeader(t, nil)
		r.node.set(func(n *solo) { n.refusal = cause })
		requireError(t, want, r.answered(r.send("kv.put.app.k", "v")))

		r.node.set(func(n *solo) { n.readBusy = node.ErrBusy })
		put := r.send("kv.put.app.k", "v")
		r.handled()
		r.silent(put)

		r.node.set(func(n *solo) { n.readBusy, n.hold = nil, true })
		put = r.sendHeld("kv.put.app.k", "v")
		require.EqualValues(t, 1, r.service.refusals.waiting.Load(), "it waits for ReadIndex")
		r.node.release()
		requireError(t, want, r.answered(put))
	}
}

// Of many that wait to be refused nothing is kept but where the answer goes (Q12).
func TestWhatWaitsToBeRefusedTakesLittle(t *testing.T) {
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.hold = true })
	q, w, inbox := r.inHand("k")
	q.msg.Data, q.work = make([]byte, 1<<20), w
	r.service.giveUp(q, Busy.says("as a test wants"))
	r.awaitHeld()
	require.Empty(t, q.msg.Data)
	require.True(t, q.work.none())
	r.node.release()
	requireError(t, Busy, r.answered(inbox))
}

// L9: the node took a proposal, and did not log it all the same.
func TestWhatIsRefusedLateIsTold(t *testing.T) {
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.late = node.ErrBusy })
	requireError(t, Busy, r.answered(r.send("kv.put.app.k", "v")))
	r.settled()
	r.node.set(func(n *solo) { n.late = nil })
	r.expectError(KeyNotFound, "kv.get.app.k", "")
}

// inHand is a put that somebody has in hand, with where its answer comes.
func (r *rig) inHand(key string) (*request, work, *nats.Subscription) {
	r.Helper()
	inbox, err := r.client.SubscribeSync(r.client.NewRespInbox())
	require.NoError(r, err)
	require.NoError(r, r.client.Flush())
	q := r.service.newRequest(&nats.Msg{Subject: "raftbus.kv.put.app." + key, Reply: inbox.Subject}, r.service.epoch.Load())
	q.fail = func(f *failure) []reply { return r.service.message(nil, &call{kind: "put"}, f) }
	q.work = work{writes: true, command: command.Command{Write: &command.Write{Bucket: "app", Key: key}}.Encode()}
	require.Equal(r, fits, r.service.inflight.add(q))
	return q, q.work, inbox
}

// C5, K25: who was told that a request is overdue need not fear that it begins only now, however long a prober or a reader had it in hand; and what came
// before another may have led is not logged.
func TestWhatIsOverdueIsNotLogged(t *testing.T) {
	r := newLeader(t, nil)
	before := r.store.Applied()
	put, w, inbox := r.inHand("a")
	r.service.expire(time.Now().Add(time.Hour))
	told, err := inbox.NextMsg(5 * time.Second)
	require.NoError(t, err)
	requireError(t, OutcomeUnknown, told)
	r.service.propose(put, w)
	require.Equal(t, before, r.store.Applied(), "nobody waits to hear what comes of it")

	put, w, _ = r.inHand("b")
	r.stepDown()
	r.lead()
	r.service.propose(put, w)
	require.Equal(t, before, r.store.Applied(), "of an earlier term")
	r.settled()
}

// K25: who listened in an earlier term may have what came then at hand still. Another that led meanwhile had it too, and may have done it: the
// client would be told once, and it would be done twice.
func TestWhatAnEarlierTermHeardIsNotOfThisOne(t *testing.T) {
	r := newLeader(t, nil)
	heard := make(chan uint64, 1)
	r.service.listenMu.Lock()
	_, err := r.service.subscribeTo("raftbus.late.>", func(_ *nats.Msg, epoch uint64) { heard <- epoch })
	r.service.listenMu.Unlock()
	require.NoError(t, err)
	before := r.service.epoch.Load()
	r.stepDown()
	r.lead()
	r.send("late.k", "v")
	require.Equal(t, before, <-heard)

	applied := r.store.Applied()
	late := func(take func(m *nats.Msg)) {
		inbox, err := r.client.SubscribeSync(r.client.NewRespInbox())
		require.NoError(t, err)
		require.NoError(t, r.client.Flush())
		take(&nats.Msg{Reply: inbox.Subject, Data: []byte("v")})
		r.silent(inbox)
		require.Equal(t, applied, r.store.Applied())
	}
	late(func(m *nats.Msg) {
		m.Subject = "raftbus.kv.put.app.k"
		r.service.native(m, before)
	})
	late(func(m *nats.Msg) {
		m.Subject = "$KV.app.k"
		r.service.jetStream(r.service.protocol, m, before, m.Subject, true)
	})
	late(func(m *nats.Msg) { // it was there, perhaps, and another purged it
		m.Subject, m.Data = "raftbus.kv.purge.app.none", nil
		r.service.native(m, before)
	})
}

// Nor is it said of what came in an earlier term, or was done in part, that it was not done (C5).
func TestWhatMayBeDoneIsNotWithdrawn(t *testing.T) {
	r := newLeader(t, nil)
	put, _, inbox := r.inHand("a")
	r.stepDown()
	r.lead()
	r.service.withdrawUnconfirmed(put)
	r.silent(inbox)

	put, _, inbox = r.inHand("b")
	put.logged.Store(true)
	r.service.withdrawUnconfirmed(put)
	r.silent(inbox)
}

// Of what was done in part it is not said that nothing was (C5).
func TestWhatWasDoneInPartIsNotToldBusy(t *testing.T) {
	for _, refusal := range []error{node.ErrBusy, node.ErrFull, node.ErrTooLarge} {
		r := newLeader(t, nil)
		put, w, inbox := r.inHand("a")
		put.logged.Store(true)
		r.node.set(func(n *solo) { n.refusal = refusal })
		r.service.propose(put, w)
		r.silentSoFar(inbox)
	}
}

// A node that leads again before it has noticed that it did not in between begins anew: another made a bucket meanwhile.
func TestANodeThatLeadsAgainListensAnew(t *testing.T) {
	r := newLeader(t, nil)
	r.service.listenMu.Lock()
	r.node.lead(false)
	at := r.store.Applied()
	add := command.Command{AddBucket: &command.AddBucket{Name: "made-meanwhile", Settings: command.Settings{History: 1}}}
	_, err := r.store.Apply([]rpc.Entry{{Index: at.Index + 1, Term: 1, Kind: rpc.EntryCommand, Data: add.Encode()}})
	require.NoError(t, err)
	r.node.lead(true)
	r.service.listenMu.Unlock()
	require.Eventually(t, func() bool { return r.hears("made-meanwhile") }, 5*time.Second, time.Millisecond)
}

func TestRefusalIsNotToldByADeposedNode(t *testing.T) {
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.refusal, n.leading = node.ErrBusy, true })
	r.node.set(func(n *solo) { n.readBusy = node.ErrNotLeader })
	large := 1<<20 - jetstream.PayloadReserve + 1 // another may have heard that the bus carries more, and have done it
	for _, c := range [][2]string{
		{"kv.put.app.k", "v"},
		{"kv.put.app.k", strings.Repeat("v", large)},
		{"bucket.import_entries.app", importOf("app", 0, command.ImportEntry{Key: "k", Sequence: 1, Value: make([]byte, large)})},
	} {
		request := r.send(c[0], c[1])
		r.handled()
		r.silent(request)
	}
}

// Whoever leads again is confirmed again, but another led in between, and may have carried out a copy (C5).
func TestBusyIsNotToldByANodeThatLeadsAgain(t *testing.T) {
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.refusal, n.hold = node.ErrBusy, true })
	put := r.sendHeld("kv.put.app.k", "v")
	r.node.lead(false)
	r.node.lead(true)
	r.node.release()
	r.silent(put)
}

func TestTooLargeForTheNodeIsSaidAtOnce(t *testing.T) {
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.refusal, n.readBusy = node.ErrTooLarge, node.ErrBusy })
	requireError(t, TooLarge, r.answered(r.send("kv.put.app.k", "v")))
}

func TestStoppedNodeIsSilent(t *testing.T) {
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.refusal = node.ErrStopped })
	put := r.send("kv.put.app.k", "v")
	r.handled()
	r.silent(put)
}

func TestRequestsInFlightAreBounded(t *testing.T) {
	r := newLeader(t, func(o *Options) { o.RequestsMax, o.ClientPercent = 2, 100 })
	r.node.set(func(n *solo) { n.hold = true })
	first, second := r.sendHeld("kv.put.app.a", "v"), r.sendHeld("kv.get.app.a", "")
	third := r.sendHeld("kv.put.app.b", "v") // what the node holds of it is the ReadIndex before 'busy'
	r.node.release()
	require.Contains(t, string(r.answered(first).Data), `"revision":1`)
	require.Contains(t, string(r.answered(second).Data), `"value":"v"`)
	requireError(t, Busy, r.answered(third))
	require.Contains(t, string(r.ask("kv.put.app.b", "v").Data), `"revision":2`)
}

func TestBytesInFlightAreBounded(t *testing.T) {
	r := newLeader(t, func(o *Options) { o.RequestBytesMax = 10_000 })
	r.node.set(func(n *solo) { n.hold = true })
	first := r.sendHeld("kv.put.app.a", strings.Repeat("v", 20_000)) // one is always allowed
	second := r.sendHeld("kv.put.app.b", "v")
	r.node.release()
	require.Contains(t, string(r.answered(first).Data), `"revision":1`)
	requireError(t, Busy, r.answered(second))

	r.settled()
	r.node.set(func(n *solo) { n.hold = true }) // what was answered weighs nothing any more
	third, fourth := r.sendHeld("kv.put.app.c", "v"), r.sendHeld("kv.put.app.d", "v")
	r.node.release()
	require.Contains(t, string(r.answered(third).Data), `"revision":2`)
	require.Contains(t, string(r.answered(fourth).Data), `"revision":3`)
}

// A request that looks before it writes is no read: another node may lead by now and have carried out a copy of it. So it is not said that nothing
// was done, also not of one that waits to be logged (C5).
func TestOverdueIsUnknownOfWhatMayWrite(t *testing.T) {
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.hold = true })
	for _, subject := range []string{"kv.purge.app.k", "bucket.update.app", "kv.watch.app"} {
		sub := r.sendHeld(subject, map[bool]string{true: `{"deliver":"in.box"}`}[subject == "kv.watch.app"])
		r.overdue()
		requireError(t, OutcomeUnknown, r.answered(sub))
	}
	for _, subject := range []string{"STREAM.UPDATE.KV_app", "STREAM.PURGE.KV_app", "CONSUMER.CREATE.KV_app", "CONSUMER.DELETE.KV_app.c"} {
		sub := r.sendJS(api+subject, map[string]string{
			"STREAM.UPDATE.KV_app": `{"name":"KV_app","subjects":["$KV.app.>"],"max_msgs_per_subject":5,"discard":"new","deny_delete":true,"allow_rollup_hdrs":true,"allow_direct":true}`,
			"STREAM.PURGE.KV_app":  `{"keep":1}`, "CONSUMER.CREATE.KV_app": `{"stream_name":"KV_app","config":{"deliver_subject":"in.box","ack_policy":"none","max_deliver":1}}`,
		}[subject])
		r.awaitHeld()
		r.overdue()
		r.silent(sub)
	}
	for _, subject := range []string{"STREAM.INFO.KV_app", "STREAM.NAMES", "CONSUMER.NAMES.KV_app"} {
		sub := r.sendJS(api+subject, "")
		r.awaitHeld()
		r.overdue()
		require.Contains(t, string(r.answered(sub).Data), `"code":503`, subject)
	}
}

func TestOverdueIsUnknownAndAnsweredOnce(t *testing.T) {
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.hold = true })
	put, get := r.sendHeld("kv.put.app.k", "v"), r.sendHeld("kv.get.app.k", "")
	r.overdue()
	requireError(t, OutcomeUnknown, r.answered(put))
	requireError(t, Unavailable, r.answered(get))
	r.node.release()
	r.handled()
	r.silent(put)
	r.silent(get)
	require.Contains(t, string(r.ask("kv.get.app.k", "").Data), `"value":"v"`, "unknown may well mean done")
}

func TestOverdueAfterLeadershipIsSilent(t *testing.T) {
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.hold = true })
	put := r.sendHeld("kv.put.app.k", "v")
	r.node.lead(false)
	r.overdue()
	r.silent(put)
}

func TestRequestWithoutReplyIsCarriedOut(t *testing.T) {
	r := newLeader(t, nil)
	require.NoError(t, r.client.Publish("raftbus.kv.put.app.k", []byte("v")))
	require.NoError(t, r.client.Publish("raftbus.kv.put.app.bad!", []byte("v")))
	require.Eventually(t, func() bool {
		e, err := r.store.Get("app", "k")
		return err == nil && string(e.Value) == "v"
	}, 5*time.Second, time.Millisecond)
}

// A leader that is withheld hears nobody, and does once it is not.
func TestALeaderThatIsWithheldHearsNobody(t *testing.T) {
	r := newLeader(t, nil)
	r.service.Withhold(true)
	r.awaitListening(false)
	r.service.listen() // as the keeper does
	_, err := r.request("kv.get.app.k", "")
	require.ErrorIs(t, err, nats.ErrNoResponders)
	r.service.Withhold(false)
	r.awaitListening(true)
	r.expectError(KeyNotFound, "kv.get.app.k", "")
}

// Time wakes the keeper of a node that leads, or has something in flight yet: whoever was deposed gives it up in time.
func TestKeeperSleepsWhereNothingIsAsked(t *testing.T) {
	t.Parallel() // it mostly waits
	r := newLeader(t, func(o *Options) { o.Timeout = 2 * time.Second })
	require.False(t, r.service.sleeps())
	r.node.set(func(n *solo) { n.hold = true })
	r.sendHeld("kv.put.app.k", "v")
	r.stepDown()
	require.False(t, r.service.sleeps())
	require.Eventually(t, r.service.sleeps, 10*time.Second, time.Millisecond, "it was given up")
	r.node.release()
	r.lead()
	require.False(t, r.service.sleeps())
}

func TestDrainFinishesWhatItHas(t *testing.T) {
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.hold = true })
	put := r.sendHeld("kv.put.app.k", "v")

	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, r.service.Drain(short), context.DeadlineExceeded)
	require.NoError(t, r.service.conn.Flush()) // the server may have heard of it after the deadline only
	_, err := r.request("kv.put.app.k", "w")
	require.ErrorIs(t, err, nats.ErrNoResponders)

	drained := make(chan error, 1)
	go func() { drained <- r.service.Drain(context.Background()) }()
	r.node.release()
	require.NoError(t, <-drained)
	require.Contains(t, string(r.answered(put).Data), `"revision":1`)
	r.node.lead(false)
	r.node.lead(true)
	r.service.listen() // as the keeper does
	_, err = r.request("kv.get.app.k", "")
	require.ErrorIs(t, err, nats.ErrNoResponders, "drained is for good")
}

// Nor is anybody left who is about to hear that he is refused (L2, L9).
func TestDrainWaitsForWhoIsRefused(t *testing.T) {
	t.Parallel()
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.refusal, n.hold = node.ErrBusy, true })
	put := r.sendHeld("kv.put.app.k", "v")
	short, cancel := context.WithTimeout(t.Context(), time.Second) // it gets to who is refused in less
	defer cancel()
	require.ErrorIs(t, r.service.Drain(short), context.DeadlineExceeded)
	r.node.release()
	require.NoError(t, r.service.Drain(t.Context()))
	requireError(t, Busy, r.answered(put))
}

func TestDrainTakesWhatTheServerHasSent(t *testing.T) {
	r := newLeader(t, nil)
	const count = 500
	inbox, err := r.client.SubscribeSync(r.client.NewRespInbox())
	require.NoError(t, err)
	for range count {
		require.NoError(t, r.client.PublishRequest("raftbus.kv.put.app.k", inbox.Subject, []byte("v")))
	}
	require.NoError(t, r.client.Flush())
	require.NoError(t, r.service.Drain(t.Context()))
	for range count {
		_, err := inbox.NextMsg(5 * time.Second)
		require.NoError(t, err)
	}
}

func TestCloseIsBoundedAndRepeatable(t *testing.T) {
	t.Parallel() // it mostly waits
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.hold = true })
	put := r.sendHeld("kv.put.app.k", "v")
	closed := make(chan struct{})
	go func() {
		r.service.Close()
		r.service.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(10 * closeWait):
		require.FailNow(t, "it waits for ever")
	}
	r.node.release() // the node may yet call back
	require.NoError(t, r.client.Flush())
	pending, _, err := put.Pending()
	require.NoError(t, err)
	require.Zero(t, pending)
}

func TestNewWantsAllItStandsOn(t *testing.T) {
	_, err := New(Options{})
	require.Error(t, err)
}
