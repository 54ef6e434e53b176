package kv

// The service on a lane, as nodes have one.

import (
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft/stalltest"
)

// laned has a rig's service on the connection that a node has, with its lane.
func laned(t *testing.T, options ...nats.Option) func(*Options) {
	return func(o *Options) {
		conn, err := busclient.Dial(t.Context(), busclient.ConnOptions{URLs: []string{o.Conn.ConnectedUrl()}, Prefix: o.Prefix, Node: o.NodeID, Role: busclient.RoleClient, Options: options})
		require.NoError(t, err)
		t.Cleanup(conn.Close)
		require.Eventually(t, func() bool { up, _ := conn.Up(); return up && conn.Direct() }, 5*time.Second, time.Millisecond)
		o.Conn, o.Lane, o.Node = conn.NATS(), conn, prompted{o.Node.(*solo)}
	}
}

// Direct gets give a header's bytes as they were put, as others do; and however many of them are no letters, the answer fits on the bus (C1, L9).
func TestHeadersAreToldAsTheyWerePut(t *testing.T) {
	for name, change := range map[string]func(*Options){"NATS's client": nil, "a lane": laned(t)} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, change)
			r.lead()
			r.bucketJS("app")
			for value, size := range map[string]int{"a\tb\xe9\x7f\x00": 1, strings.Repeat("\xff", 60_000): 950_000} {
				require.Contains(t, string(r.js("$KV.app.k", strings.Repeat("v", size), "X", value).Data), `"seq":`)
				direct := r.js(api+"DIRECT.GET.KV_app.$KV.app.k", "")
				require.Equal(t, value, direct.Header.Get("X"))
				require.Len(t, direct.Data, size)
				if size > 1 {
					continue // in JSON it is more than the bus carries
				}
				var body struct{ Message struct{ Hdrs []byte } }
				require.NoError(t, json.Unmarshal(r.js(api+"STREAM.MSG.GET.KV_app", `{"last_by_subj":"$KV.app.k"}`).Data, &body))
				require.Equal(t, "NATS/1.0\r\nX: "+value+"\r\n\r\n", string(body.Message.Hdrs))
			}
		})
	}
}

// Q11: who sends more in headers than is read hears so, at each door.
func TestHeadersThatAreTooLongToBeRead(t *testing.T) {
	r := newRig(t, laned(t))
	r.lead()
	r.bucketJS("app")
	many := slices.Repeat([]string{"X", "1"}, 2_000)
	put := r.ask("kv.put.app.k", "v", many...)
	requireError(t, BadRequest, put)
	require.Contains(t, string(put.Data), "64 KiB and 1000 lines")
	require.Contains(t, string(r.js("$KV.app.k", "v", many...).Data), `"err_code":10097,"description":"header size exceeds maximum allowed of 64k: it may have 1000 lines"`)
	require.Equal(t, "Header Size Exceeds 64k Or 1000 Lines", r.js(api+"DIRECT.GET.KV_app.$KV.app.k", "", many...).Header.Get("Description"))
	require.Contains(t, string(r.js("$KV.app.k", "v", many[:2_000]...).Data), `"seq":1`)
}

// corksLane is a lane that counts by how many it is corked.
type corksLane struct {
	directLane
	corks atomic.Int64
}

func (l *corksLane) Cork()   { l.corks.Add(1) }
func (l *corksLane) Uncork() { l.corks.Add(-1) }

// failingLane is a lane whose n-th subscription from now on fails.
type failingLane struct {
	directLane
	n atomic.Int64
}

func (l *failingLane) SubscribeMsgs(subject string, h func(*nats.Msg)) (*nats.Subscription, error) {
	if l.n.Add(-1) == 0 {
		return nil, nats.ErrMaxSubscriptionsExceeded
	}
	return l.directLane.SubscribeMsgs(subject, h)
}

// A leader that could not listen at all its doors listens at none, and tries again: at each somebody answers in the end (L1).
func TestALeaderListensAtAllDoorsOrNone(t *testing.T) {
	lane := &failingLane{}
	r := newRig(t, func(o *Options) {
		lane.directLane, o.Lane, o.Node, o.lookEvery = directLane{o.Conn}, lane, prompted{o.Node.(*solo)}, time.Millisecond
	})
	doors := len(r.service.doors())
	for n := range doors {
		lane.n.Store(int64(n + 1))
		r.lead()
		r.service.listenMu.Lock()
		listens := len(r.service.subs)
		r.service.listenMu.Unlock()
		require.Equal(t, doors, listens)
		for _, subject := range []string{"raftbus.bucket.ls", "raftbus.kv.get.app.k", "$JS.raftbus.API.INFO"} {
			_, err := r.client.Request(subject, nil, 5*time.Second)
			require.NoError(t, err, subject)
		}
		r.stepDown()
	}
}

// Reads that come together are answered together, but not when a search comes next: what was answered does not wait for its end (Q12).
func TestAnAnswerDoesNotWaitForTheSearchBehindIt(t *testing.T) {
	lane := &corksLane{}
	r := newRig(t, func(o *Options) { lane.directLane, o.Lane, o.Node = directLane{o.Conn}, lane, prompted{o.Node.(*solo)} })
	r.lead()
	corks := make(chan int64, 2)
	take := func(w work) {
		q := r.service.newRequest(&nats.Msg{Subject: "look"}, r.service.epoch.Load())
		q.work = w
		r.service.take(q)
	}
	take(work{quick: true, look: func() ([]reply, *work) {
		take(work{search: true, look: func() ([]reply, *work) { // the same reader does it next
			corks <- lane.corks.Load()
			return nil, nil
		}})
		corks <- lane.corks.Load()
		return nil, nil
	}})
	require.EqualValues(t, 1, <-corks, "what is answered leaves together")
	require.Zero(t, <-corks, "it waits for the search")
	r.settled()
	require.Eventually(t, func() bool { return lane.corks.Load() == 0 }, 5*time.Second, time.Millisecond)
}

// A read of what is in memory wakes no reader, and is answered with those of its round; all else is for readers, as what is beyond what one turn does.
func TestAReadOfWhatIsInMemoryIsDoneAtOnce(t *testing.T) {
	lane := &corksLane{}
	r := newRig(t, func(o *Options) { lane.directLane, o.Lane, o.Node = directLane{o.Conn}, lane, prompted{o.Node.(*solo)} })
	r.lead()
	r.bucketJS("app")
	r.ask("kv.put.app.k", "v")
	readers := func(subject, body string) uint64 {
		r.service.reads.mu.Lock()
		before := r.service.reads.came
		r.service.reads.mu.Unlock()
		_, err := r.client.Request(subject, []byte(body), 5*time.Second)
		require.NoError(t, err)
		r.service.reads.mu.Lock()
		defer r.service.reads.mu.Unlock()
		return r.service.reads.came - before
	}
	const direct, get = "$JS.raftbus.API.DIRECT.GET.KV_app.$KV.app.", "$JS.raftbus.API.STREAM.MSG.GET.KV_app"
	for range 2 * readsTogether {
		require.Zero(t, readers(direct+"k", ""))
	}
	require.Zero(t, readers("raftbus.kv.get.app.k", ""))
	require.Zero(t, readers(get, `{"last_by_subj":"$KV.app.k"}`))
	require.EqualValues(t, 1, readers(direct+"other", ""), "it is not known to be in memory")
	require.EqualValues(t, 1, readers(get, `{"seq":1}`))
	require.Eventually(t, func() bool { return lane.corks.Load() == 0 }, 5*time.Second, time.Millisecond) // an answer is here before who sent it is done

	r.node.set(func(n *solo) { n.confirmed = func() {} })
	for range readsTogether {
		require.Zero(t, readers(direct+"k", ""))
	}
	require.EqualValues(t, 1, lane.corks.Load(), "they leave together")
	require.EqualValues(t, 1, readers(direct+"k", ""), "a turn is not to last")
}

// A look at a bucket waits until NATS has heard whom the node no longer serves: not for its own cork, which would hold up what asks NATS (L1).
func TestTheFirstLookAfterAnotherLedWaitsForNobody(t *testing.T) {
	r := newRig(t, laned(t))
	r.lead()
	r.bucketJS("app")
	r.stepDown()
	r.lead()
	watch := stalltest.During(t)
	require.Contains(t, string(r.js(api+"STREAM.INFO.KV_app", "").Data), "KV_app")
	require.Less(t, watch.Took(), time.Second)
}
