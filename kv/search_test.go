package kv

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
)

// search asks for a search that finds something once it is told to, or ends when it is wanted no more.
func (r *rig) search(writes bool, found <-chan struct{}, began, ended chan<- struct{}) *nats.Subscription {
	r.Helper()
	inbox, err := r.client.SubscribeSync(r.client.NewRespInbox())
	require.NoError(r, err)
	require.NoError(r, r.client.Flush())
	q := r.service.newRequest(&nats.Msg{Subject: "search", Reply: inbox.Subject}, r.service.epoch.Load())
	q.fail = func(f *failure) []reply { return []reply{{data: []byte(f.Description)}} }
	q.work = work{search: true, writes: writes, look: r.service.searching(q, func(_ *store.Store, wanted func() bool) jetstream.Plan {
		began <- struct{}{}
		defer func() { ended <- struct{}{} }()
		for wanted() {
			select {
			case <-found:
				if !wanted() {
					return jetstream.Plan{}
				}
				return jetstream.Plan{Replies: []jetstream.Reply{{Data: []byte("found")}}}
			case <-time.After(time.Millisecond):
			}
		}
		return jetstream.Plan{}
	})}
	r.service.take(q)
	return inbox
}

// endless asks for so many searches that find nothing for as long as they are wanted, and returns when as many as may be are under way.
func (r *rig) endless(n int, writes bool) (ended <-chan struct{}) {
	began, end := make(chan struct{}, n), make(chan struct{}, n)
	for range n {
		r.search(writes, nil, began, end)
	}
	for range searchesMax {
		<-began
	}
	return end
}

// begun asks for a search that is under way.
func (r *rig) begun(writes bool, found <-chan struct{}) *nats.Subscription {
	began := make(chan struct{}, 1)
	inbox := r.search(writes, found, began, make(chan struct{}, 1))
	<-began
	return inbox
}

func (r *rig) awaitEnd(ended <-chan struct{}) {
	for range searchesMax {
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			require.Fail(r, "a search goes on")
		}
	}
}

// Searches do not keep the readers from gets, nor from what tells of streams, nor from writes that look first (Q12). They end when their clients
// have been told that they are overdue.
func TestSearchesHoldNobodyUp(t *testing.T) {
	r := newLeader(t, func(o *Options) { o.Timeout = time.Hour })
	ended := r.endless(2*readersCount, false)
	r.ask("kv.put.app.k", "v")
	require.Contains(t, string(r.ask("kv.get.app.k", "").Data), `"value":"v"`)
	require.Equal(t, "v", string(r.js(api+"DIRECT.GET.KV_app.$KV.app.k", "").Data))
	require.Contains(t, string(r.js(api+"STREAM.INFO.KV_app", "").Data), `"messages":1`)
	r.overdue()
	r.awaitEnd(ended)
	r.settled()
}

// Nor do they keep the service from ending, nor go on for a write where this node leads no more.
func TestSearchesEndWithTheService(t *testing.T) {
	r := newLeader(t, func(o *Options) { o.Timeout = time.Hour })
	ended := r.endless(searchesMax, true)
	r.stepDown()
	r.awaitEnd(ended)
	r.settled()

	s := &Service{stop: make(chan struct{}), inflight: newInflight(1, 1, 100)}
	s.epoch.Store(1)
	q := &request{msg: &nats.Msg{}}
	require.Equal(t, fits, s.inflight.add(q))
	require.True(t, s.wanted(q))
	close(s.stop)
	require.False(t, s.wanted(q))
}

// L2: nobody is served while a planned move waits, so it does not wait for searches, which take seconds: what one finds is told when it is found. All
// else is waited for.
func TestAPlannedMoveWaitsForNoSearch(t *testing.T) {
	r := newLeader(t, func(o *Options) { o.Timeout = time.Hour })
	found := make(chan struct{})
	inbox := r.begun(false, found)
	waits := func() {
		r.node.set(func(n *solo) { n.hold = true })
		put := r.sendHeld("kv.put.app.k", "v")
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, r.service.Drain(short), context.DeadlineExceeded)
		r.node.release()
		require.NoError(t, r.service.Drain(t.Context()))
		_, err := put.NextMsg(5 * time.Second)
		require.NoError(t, err)
	}
	waits()
	r.stepDown()
	close(found)
	require.Equal(t, "found", string(r.answered(inbox).Data))

	r.service.Resume()
	r.lead()
	waits() // also where a search was
	r.service.Resume()
	r.awaitListening(true)
}

// Nor for one that a write waits for: nothing is done yet, and its client asks the next leader, once it has heard so.
func TestAPlannedMoveEndsSearchesForWrites(t *testing.T) {
	for name, before := range map[string]int{"begun": 0, "waits": searchesMax} {
		t.Run(name, func(t *testing.T) {
			r := newLeader(t, func(o *Options) { o.Timeout = time.Hour })
			found := make(chan struct{})
			for range before {
				r.begun(false, found)
			}
			began := make(chan struct{}, 1)
			inbox := r.search(true, nil, began, make(chan struct{}, 1))
			if before == 0 {
				<-began
				require.NotNil(t, r.service.inflight.remains(false), "what it leads to is waited for")
			}
			require.NoError(t, r.service.Drain(t.Context()))
			late := r.search(true, nil, began, make(chan struct{}, 1))
			for _, inbox := range []*nats.Subscription{inbox, late} {
				told, err := inbox.NextMsg(5 * time.Second)
				require.NoError(t, err)
				require.Equal(t, errLeaving().Description, string(told.Data))
			}
			close(found)
			r.settled()
		})
	}
}

// What is done soon is waited for: it costs no request of a client.
func TestAPlannedMoveLetsWhatIsQuickFinish(t *testing.T) {
	r := newLeader(t, func(o *Options) { o.hurryAfter = time.Hour })
	found := make(chan struct{})
	inbox := r.begun(true, found)
	drained := make(chan error, 1)
	go func() { drained <- r.service.Drain(context.Background()) }()
	r.awaitWaiting()
	close(found)
	require.NoError(t, <-drained)
	require.Equal(t, "found", string(r.answered(inbox).Data))
}

// awaitWaiting waits until somebody waits for what is in flight.
func (r *rig) awaitWaiting() {
	r.Helper()
	require.Eventually(r, func() bool {
		r.service.inflight.mu.Lock()
		defer r.service.inflight.mu.Unlock()
		return r.service.inflight.ended != nil
	}, 5*time.Second, time.Millisecond)
}

// What is overdue when it is confirmed counts no more: the next planned move would wait for one write less.
func TestWhatIsOverDoesNotLast(t *testing.T) {
	f := newInflight(2, 1<<20, 100)
	over, under := &request{msg: &nats.Msg{}}, &request{msg: &nats.Msg{}}
	require.Equal(t, fits, f.add(over))
	require.True(t, f.claim(over))
	f.free(over)
	f.outlive(over)
	require.Equal(t, fits, f.add(under))
	require.NotNil(t, f.remains(false))
}

// L9: a search that goes on after this node has led, and takes too long, is told so.
func TestASearchThatIsOverdueAfterAMoveIsTold(t *testing.T) {
	r := newLeader(t, func(o *Options) { o.Timeout = time.Hour })
	inbox := r.begun(false, nil)
	r.stepDown()
	r.service.expire(time.Now().Add(2 * time.Hour))
	require.Contains(t, string(r.answered(inbox).Data), Unavailable.Name)
}

// A stop waits for them too, for a while.
func TestAStopLetsSearchesFinish(t *testing.T) {
	r := newLeader(t, nil)
	found := make(chan struct{})
	inbox := r.begun(false, found)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		r.service.Close()
	}()
	r.awaitWaiting()
	close(found)
	require.Equal(t, "found", string(r.answered(inbox).Data))
	<-closed
}

// A search that was not wanted for a moment, while another may have led, tells nothing: what it found is not all (C3).
func TestASearchThatWasNotWantedTellsNothing(t *testing.T) {
	r := newLeader(t, nil)
	q, _, inbox := r.inHand("k")
	search := r.service.searching(q, func(_ *store.Store, wanted func() bool) jetstream.Plan {
		require.True(t, wanted())
		r.node.lead(false)
		require.False(t, wanted())
		r.node.lead(true)
		require.False(t, wanted(), "it leads again")
		return jetstream.Plan{Replies: []jetstream.Reply{{Data: []byte("all")}}}
	})
	replies, next := search()
	require.Empty(t, replies)
	require.Nil(t, next)
	r.silent(inbox)
}

// What looks at a bucket whole is a search, by either way, and what does not is none.
func TestWhatIsASearch(t *testing.T) {
	r := newLeader(t, nil)
	for _, c := range []struct {
		subject, body string
		want          pace
	}{
		{"DIRECT.GET.KV_app", `{"seq":1,"next_by_subj":"$KV.app.*.none"}`, search},
		{"DIRECT.GET.KV_app", `{"last_by_subj":"$KV.app.>"}`, search},
		{"STREAM.MSG.GET.KV_app", `{"seq":1,"next_by_subj":"$KV.*.none"}`, search},
		{"DIRECT.GET.KV_app", `{"seq":1,"batch":1}`, search},
		{"DIRECT.GET.KV_app", `{"multi_last":["$KV.app.k"]}`, search},
		{"DIRECT.GET.KV_app", `{"start_time":"2030-01-01T00:00:00Z"}`, search},
		{"STREAM.INFO.KV_app", `{"subjects_filter":">"}`, search},
		{"STREAM.PURGE.KV_app", `{"filter":"$KV.app.*","keep":3}`, search},
		{"STREAM.PURGE.KV_app", `{"keep":3}`, search},
		{"STREAM.INFO.KV_app", ``, page},
		{"DIRECT.GET.KV_app", `{"seq":1}`, page},
		{"DIRECT.GET.KV_app", `{"last_by_subj":"$KV.app.k"}`, quick},
		{"STREAM.MSG.GET.KV_app", `{"seq":1}`, page},
		{"STREAM.MSG.GET.KV_app", `{"last_by_subj":"$KV.app.k"}`, quick},
	} {
		plan := r.service.protocol.Plan(jetstream.Request{Subject: c.subject, Data: []byte(c.body), PayloadMax: 1 << 20})
		w, _ := r.service.planned(&request{msg: &nats.Msg{Reply: "r"}}, plan)
		require.Equal(t, c.want, w.pace(), "%s %s", c.subject, c.body)
	}
}
