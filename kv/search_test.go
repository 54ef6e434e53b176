package kv

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
)

// endless asks for so many searches that find nothing for as long as they are wanted, and returns when as many as may be are under way.
func (r *rig) endless(n int) (ended <-chan struct{}) {
	began, end := make(chan struct{}, n), make(chan struct{}, n)
	for range n {
		q := r.service.newRequest(&nats.Msg{Subject: "search", Reply: r.client.NewRespInbox()})
		q.fail = func(*failure) []reply { return nil }
		q.work = work{search: true, look: r.service.searching(q, func(_ *store.Store, wanted func() bool) jetstream.Plan {
			began <- struct{}{}
			for wanted() {
				time.Sleep(time.Millisecond)
			}
			end <- struct{}{}
			return jetstream.Plan{}
		})}
		r.service.take(q)
	}
	for range searchesMax {
		<-began
	}
	return end
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
	r := newLeader(t, func(o *Options) { o.Timeout = 500 * time.Millisecond })
	ended := r.endless(2 * readersCount)
	r.ask("kv.put.app.k", "v")
	require.Contains(t, string(r.ask("kv.get.app.k", "").Data), `"value":"v"`)
	require.Equal(t, "v", string(r.js(api+"DIRECT.GET.KV_app.$KV.app.k", "").Data))
	require.Contains(t, string(r.js(api+"STREAM.INFO.KV_app", "").Data), `"messages":1`)
	r.awaitEnd(ended)
	r.settled()
}

// Nor do they keep the service from ending, nor go on where this node leads no more.
func TestSearchesEndWithTheService(t *testing.T) {
	r := newLeader(t, func(o *Options) { o.Timeout = time.Hour })
	ended := r.endless(searchesMax)
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
		{"STREAM.INFO.KV_app", `{"subjects_filter":">"}`, search},
		{"STREAM.PURGE.KV_app", `{"filter":"$KV.app.*","keep":3}`, search},
		{"STREAM.PURGE.KV_app", `{"keep":3}`, search},
		{"STREAM.INFO.KV_app", ``, page},
		{"DIRECT.GET.KV_app", `{"seq":1}`, page},
		{"DIRECT.GET.KV_app", `{"last_by_subj":"$KV.app.k"}`, quick},
	} {
		plan := r.service.protocol.Plan(jetstream.Request{Subject: c.subject, Data: []byte(c.body), PayloadMax: 1 << 20})
		w, _ := r.service.planned(&request{msg: &nats.Msg{}}, plan)
		require.Equal(t, c.want, w.pace(), "%s %s", c.subject, c.body)
	}
}
