package kv

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// A JetStream that says nothing is waited for, for each bucket that is to be made: not for one whose client has been told that it is overdue, or
// those that come after it would all be.
func TestWhoWasToldIsNotProbedFor(t *testing.T) {
	t.Parallel()
	r := newLeader(t, nil)
	asked := make(chan string, probesMax)
	_, err := r.client.Subscribe("$JS.API.STREAM.INFO.>", func(m *nats.Msg) { asked <- m.Subject })
	require.NoError(t, err)
	require.NoError(t, r.client.Flush())
	told, w, _ := r.inHand("k")
	w.made = "given-up"
	r.service.expire(time.Now().Add(time.Hour))
	r.service.probes <- todo{told, w}
	r.expect(`{"bucket":"wanted","cluster_revision":2}`, "bucket.add.wanted", "")
	require.Equal(t, "$JS.API.STREAM.INFO.KV_wanted", <-asked)
	require.Empty(t, asked)
}

// C5: a bucket that waits to be made when it is overdue may have been asked for in vain, or be made by another node: that it was not made is not told.
func TestAnOverdueBucketIsOfUnknownOutcome(t *testing.T) {
	r := newLeader(t, nil)
	r.node.mu.Lock() // the first is in the prober's hands
	unlock := sync.OnceFunc(r.node.mu.Unlock)
	defer unlock()
	asked := make(chan *nats.Msg, 1)
	_, err := r.client.Subscribe("$JS.API.STREAM.INFO.KV_first", func(m *nats.Msg) { asked <- m })
	require.NoError(t, err)
	require.NoError(t, r.client.Flush())
	r.send("bucket.add.first", "")
	require.NoError(t, (<-asked).Respond([]byte(`{}`))) // and what comes now waits for the next turn
	second := r.send("bucket.add.second", "")
	require.Eventually(t, func() bool { return r.service.Figures().InFlight == 2 && len(r.service.probes) == 1 }, 5*time.Second, time.Millisecond)
	r.service.expire(time.Now().Add(time.Hour))
	unlock()
	requireError(t, OutcomeUnknown, r.answered(second))
}

// L2: nor does a planned move wait for what a silent JetStream is asked about one after the other.
func TestAPlannedMoveWaitsForNoProbes(t *testing.T) {
	r := newLeader(t, func(o *Options) { o.probeWait = time.Minute })
	asked := make(chan *nats.Msg, probesMax)
	silent, err := r.client.Subscribe("$JS.API.STREAM.INFO.>", func(m *nats.Msg) { asked <- m })
	require.NoError(t, err)
	require.NoError(t, r.client.Flush())
	first := r.send("bucket.add.first", "")
	probe := <-asked
	second := r.send("bucket.add.second", "")
	drained := make(chan error, 1)
	go func() { drained <- r.service.Drain(t.Context()) }()
	require.Eventually(t, r.service.hurries.Load, 5*time.Second, time.Millisecond)
	require.NoError(t, probe.Respond([]byte(`{}`))) // only now is it the second's turn
	require.NoError(t, <-drained)
	require.Contains(t, string(r.answered(first).Data), "cluster_revision")
	requireError(t, Unavailable, r.answered(second))
	require.Empty(t, asked)
	require.NoError(t, silent.Unsubscribe())
	r.service.Resume()
	r.awaitListening(true)
	require.Contains(t, string(r.ask("bucket.add.third", "").Data), "cluster_revision", "it leads on, and is in no hurry any more")
}

// L9: a JetStream that is silent, as that of other accounts is to one without, is waited for by all buckets together that are to be made: each of many
// would else be answered only after all before it, and the last ones not in time.
func TestBucketsThatWaitAreProbedForTogether(t *testing.T) {
	const more = 20
	r := newLeader(t, func(o *Options) { o.probeWait = time.Minute })
	asked := make(chan *nats.Msg, probesMax)
	_, err := r.client.Subscribe("$JS.API.STREAM.INFO.>", func(m *nats.Msg) { asked <- m })
	require.NoError(t, err)
	require.NoError(t, r.client.Flush())
	made := []*nats.Subscription{r.send("bucket.add.first", "")}
	probes := []*nats.Msg{<-asked}
	for i := range more {
		made = append(made, r.send("bucket.add.b"+strconv.Itoa(i), ""))
	}
	require.Eventually(t, func() bool { return len(r.service.probes) == more }, 5*time.Second, time.Millisecond)
	require.NoError(t, probes[0].Respond([]byte(`{}`)))
	for range more {
		select {
		case probe := <-asked:
			probes = append(probes, probe)
		case <-time.After(5 * time.Second):
			require.FailNow(t, "none is asked for while another has no answer")
		}
	}
	for _, probe := range probes[1:] {
		require.NoError(t, probe.Respond([]byte(`{}`)))
	}
	for i, sub := range made { // in the order in which they came
		require.Contains(t, string(r.answered(sub).Data), fmt.Sprintf(`"cluster_revision":%d`, i+2))
	}
}

// A bucket that is there is no other JetStream's: who makes it as it is, as services do that start, waits for nobody.
func TestABucketThatIsThereIsNotProbedFor(t *testing.T) {
	r := newLeader(t, func(o *Options) { o.probeWait = time.Minute })
	r.bucketJS("ours")
	silent, err := r.client.SubscribeSync("$JS.API.STREAM.INFO.>")
	require.NoError(t, err)
	require.NoError(t, r.client.Flush())
	r.bucketJS("ours")
	r.expectError(BucketExists, "bucket.add.ours", "")
	pending, _, err := silent.Pending()
	require.NoError(t, err)
	require.Zero(t, pending)
}

// L9: however many buckets wait to be made, who asks for one more hears 'busy', and nobody else waits for them.
func TestBucketsThatWaitToBeMadeAreBounded(t *testing.T) {
	r := newLeader(t, nil)
	made := make([]*nats.Subscription, probesMax+1)
	r.node.mu.Lock() // the first is in the prober's hands
	unlock := sync.OnceFunc(r.node.mu.Unlock)
	defer unlock()
	waits := func(n int) func() bool {
		return func() bool { return r.service.Figures().InFlight == n+1 && len(r.service.probes) == n }
	}
	for i := range made {
		made[i] = r.send("bucket.add.b"+strconv.Itoa(i), "")
		if i == 0 {
			require.Eventually(t, waits(0), 5*time.Second, time.Millisecond)
		}
	}
	require.Eventually(t, waits(probesMax), 5*time.Second, time.Millisecond)
	more := r.send("bucket.add.more", "")
	require.Eventually(t, func() bool { return r.service.refusals.waiting.Load() == 1 }, 5*time.Second, time.Millisecond, "it waits")
	unlock()
	requireError(t, Busy, r.answered(more))
	for _, sub := range made {
		require.Contains(t, string(r.answered(sub).Data), `"cluster_revision"`)
	}
}

// While NATS is away nobody knows whether a JetStream answers: a node does not begin to serve in its place (W2).
func TestTheDefaultAPIIsNotServedWhileNATSIsAway(t *testing.T) {
	t.Parallel() // it mostly waits
	r := newReturning(t, nil)
	conn := r.service.conn
	require.NoError(t, CheckDefaultAPI(t.Context(), conn, "raftbus"), "nobody is there")
	r.stopNATS()
	ctx, cancel := context.WithTimeout(t.Context(), probeWait+200*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, CheckDefaultAPI(ctx, conn, "raftbus"), context.DeadlineExceeded)
	r.startNATS()
	_, err := r.client.Subscribe("$JS.API.INFO", func(m *nats.Msg) { _ = m.Respond([]byte(`{}`)) })
	require.NoError(t, err)
	require.NoError(t, r.client.Flush())
	require.ErrorIs(t, checkDefaultAPI(t.Context(), conn, "raftbus", time.Minute), ErrJetStream)
}

// A node that refuses names what helps: an account without JetStream does not where the servers answer for all accounts.
func TestWhoAnswersInThePlaceOfTheDefaultAPIIsNamed(t *testing.T) {
	r := newRig(t, nil)
	for reply, remedy := range map[string]string{
		`{"type":"io.nats.jetstream.api.v1.account_info_response","memory":0}`:                                                                              "or use an account without JetStream",
		`{"type":"io.nats.jetstream.api.v1.account_info_response","error":{"code":503,"err_code":10039,"description":"JetStream not enabled for account"}}`: "or use NATS servers without JetStream",
		`{"type":"io.nats.jetstream.api.v1.account_info_response","error":{"code":503,"err_code":10008}}`:                                                   "or use an account without JetStream",
	} {
		sub, err := r.client.Subscribe("$JS.API.INFO", func(m *nats.Msg) { _ = m.Respond([]byte(reply)) })
		require.NoError(t, err)
		require.NoError(t, r.client.Flush())
		err = checkDefaultAPI(t.Context(), r.service.conn, "raftbus", time.Minute)
		require.ErrorIs(t, err, ErrJetStream)
		require.ErrorContains(t, err, remedy)
		require.NoError(t, sub.Unsubscribe())
		require.NoError(t, r.client.Flush())
	}
}
