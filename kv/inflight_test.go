package kv

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// another has a rig's requests sent by another client, which does not share the place of the rig's by chance.
func (r *rig) another() *rig {
	r.Helper()
	other := *r
	place := func() uint16 { return r.service.inflight.clientOf(other.client.NewRespInbox()) }
	for taken := place(); place() == taken; {
		client, err := nats.Connect(r.bus.ClientURL())
		require.NoError(r, err)
		r.Cleanup(client.Close)
		other.client = client
	}
	return &other
}

// Q12: a client that floods hears 'busy', while others go on.
func TestOneClientMayHaveAPartOfTheRequestsInFlight(t *testing.T) {
	r := newLeader(t, func(o *Options) { o.RequestsMax = 16 })
	other := r.another()
	r.node.set(func(n *solo) { n.hold = true })
	var held, refused []*nats.Subscription
	for range 4 {
		held = append(held, r.sendHeld("kv.put.app.a", "v"))
	}
	for range 20 {
		refused = append(refused, r.sendHeld("kv.put.app.b", "v")) // what the node holds of it is the ReadIndex before 'busy'
	}
	for range 4 {
		held = append(held, other.sendHeld("kv.put.app.a", "v"))
	}
	r.node.release()
	for _, sub := range held {
		require.Contains(t, string(r.answered(sub).Data), `"revision"`)
	}
	for _, sub := range refused {
		m := r.answered(sub)
		requireError(t, Busy, m)
		require.Contains(t, string(m.Data), "one client may have 4 requests")
	}
	r.expectError(KeyNotFound, "kv.get.app.b", "")
}

// One request of each client is taken, however small its part is.
func TestAClientsPartIsOneRequestAtLeast(t *testing.T) {
	f := newInflight(3, 1<<20, 25)
	one := func() *request { return &request{msg: &nats.Msg{Reply: "_INBOX.a.1"}, weight: 100} }
	first := one()
	require.Equal(t, fits, f.add(first))
	require.Equal(t, tooManyOfClient, f.add(one()))
	require.True(t, f.claim(first))
	f.free(first)
	require.Equal(t, fits, f.add(one()))
}

// Each request of a burst is answered: what is beyond the bounds hears 'busy', which it may be sure of. Who goes on asking hears nothing beyond a rate.
func TestABurstIsRefusedOneByOne(t *testing.T) {
	t.Parallel()
	r := newLeader(t, func(o *Options) { o.RequestsMax, o.ClientPercent, o.lookEvery = 16, 100, time.Hour })
	r.node.set(func(n *solo) { n.hold = true })
	for range 16 {
		r.sendHeld("kv.put.app.a", "v")
	}
	inbox := r.client.NewInbox()
	sub, err := r.client.SubscribeSync(inbox)
	require.NoError(t, err)
	require.NoError(t, sub.SetPendingLimits(-1, -1))
	for range refusalsMax {
		require.NoError(t, r.client.PublishRequest("raftbus.kv.put.app.b", inbox, []byte("v")))
	}
	for range refusalsMax {
		<-r.node.heldMax // what the node holds of each is the ReadIndex before 'busy'
	}
	require.EqualValues(t, refusalsMax, r.service.refusals.waiting.Load())
	require.NoError(t, r.client.PublishRequest("raftbus.kv.put.app.b", inbox, []byte("v")))
	require.Eventually(t, func() bool { return r.service.Figures().Unanswered == 1 }, 10*time.Second, time.Millisecond)
	r.node.release()
	for range refusalsMax {
		m, err := sub.NextMsg(10 * time.Second)
		require.NoError(t, err)
		requireError(t, Busy, m)
	}
	r.settled()
	require.False(t, r.service.refusals.begin())
	r.service.refusals.grant()
	require.True(t, r.service.refusals.begin())
	require.EqualValues(t, refusalsGrant-1, r.service.refusals.left.Load())
	r.service.refusals.end()
}

// F26: of a flood most is not even read, or NATS would end the connection that the node reads it from. Others are served.
func TestAFloodIsNotRead(t *testing.T) {
	r := newLeader(t, func(o *Options) { o.RequestsMax, o.lookEvery = 16, time.Hour })
	other := r.another()
	r.node.set(func(n *solo) { n.hold = true })
	for range 4 {
		r.sendHeld("kv.put.app.a", "v")
	}
	read, err := r.send("kv.no.such", "").NextMsg(10 * time.Second) // there are refusals left
	require.NoError(t, err)
	requireError(t, UnknownOp, read)
	r.service.refusals.left.Store(0)
	unread := r.send("kv.no.such", "")
	require.Eventually(t, func() bool { return r.service.Figures().Unanswered == 1 }, 10*time.Second, time.Millisecond)
	put := other.sendHeld("kv.put.app.b", "v")
	r.node.release()
	require.Contains(t, string(r.answered(put).Data), `"revision"`)
	r.silentSoFar(unread)
	requireError(t, UnknownOp, r.answered(r.send("kv.no.such", ""))) // there is room: it is read
}

func TestOneClientMayHaveAPartOfTheBytesInFlight(t *testing.T) {
	r := newLeader(t, func(o *Options) { o.RequestBytesMax, o.ClientPercent = 100_000, 10 })
	other := r.another()
	r.node.set(func(n *solo) { n.hold = true })
	first := r.sendHeld("kv.put.app.a", strings.Repeat("v", 20_000)) // one is always allowed
	second, others := r.sendHeld("kv.put.app.b", "v"), other.sendHeld("kv.put.app.a", strings.Repeat("v", 20_000))
	r.node.release()
	require.Contains(t, string(r.answered(first).Data), `"revision"`)
	require.Contains(t, string(r.answered(others).Data), `"revision"`)
	requireError(t, Busy, r.answered(second))
	r.settled()
	r.node.set(func(n *solo) { n.hold = true }) // what was answered weighs nothing any more
	third := r.sendHeld("kv.put.app.b", strings.Repeat("v", 20_000))
	r.node.release()
	require.Contains(t, string(r.answered(third).Data), `"revision"`)
}

// What a request takes counts, and not its message's bytes alone: that of a small one is more, and each line of a header takes its place in a map.
func TestRequestsWeighWhatTheyTake(t *testing.T) {
	const weight = requestOverheadBytes + 100 // of one, and somewhat more
	r := newLeader(t, func(o *Options) { o.RequestBytesMax, o.ClientPercent = 10*weight, 100 })
	r.node.set(func(n *solo) { n.hold = true })
	var small []*nats.Subscription
	for range 12 {
		small = append(small, r.sendHeld("kv.put.app.a", "v"))
	}
	r.node.release()
	for _, sub := range small[:10] {
		require.Contains(t, string(r.answered(sub).Data), `"revision"`)
	}
	requireError(t, Busy, r.answered(small[11]))
	r.settled()
	r.node.set(func(n *solo) { n.hold = true })
	lines := &nats.Msg{Subject: "raftbus.kv.put.app.a", Reply: "lines", Header: nats.Header{"a": slices.Repeat([]string{""}, 10*weight/headerLineBytes)}}
	r.service.native(lines, r.service.epoch.Load())
	r.awaitHeld() // or that would be taken for the next one's
	refused := r.sendHeld("kv.put.app.b", "v")
	r.node.release()
	requireError(t, Busy, r.answered(refused))
}

// Many may wait to be told that they were refused: of what they sent nothing is kept.
func TestARefusedRequestKeepsNothing(t *testing.T) {
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.hold = true })
	q := r.service.newRequest(&nats.Msg{Subject: "raftbus.kv.put.app.a", Header: nats.Header{"a": {"b"}}, Data: []byte("v")}, r.service.epoch.Load())
	q.fail, q.work.command = func(*failure) []reply { return nil }, []byte("c")
	r.service.refuse(q, Busy.says("now"))
	require.Equal(t, &nats.Msg{Subject: "raftbus.kv.put.app.a"}, q.msg)
	require.True(t, q.work.none())
	r.node.release()
}

// A client is known by its inbox; who makes one for each request, or asks for no answer, by what there is.
func TestAClientIsKnownByItsInbox(t *testing.T) {
	f := newInflight(16, 1<<20, 25)
	same := func(a, b string) bool { return f.clientOf(a) == f.clientOf(b) }
	require.True(t, same("_INBOX.one.1", "_INBOX.one.2"))
	require.True(t, same("_INBOX_team.one.1", "_INBOX_team.one.2"))
	require.True(t, same("", ""))
	apart := 0
	for range 8 { // two may share a place, by chance
		f = newInflight(16, 1<<20, 25)
		if !same("_INBOX.one.1", "_INBOX.two.1") && !same("_INBOX.one", "_INBOX.two") && !same("one", "two") {
			apart++
		}
	}
	require.Positive(t, apart)
	all := newInflight(16, 1<<20, 100)
	require.Equal(t, all.clientOf("_INBOX.one.1"), all.clientOf("_INBOX.two.1"), "nobody is looked at")
}

func requestOf(reply string) *request { return &request{msg: &nats.Msg{Reply: reply}, weight: 700} }

func TestBoundsAllocateNothing(t *testing.T) {
	f, r := newInflight(RequestsMaxDefault, RequestBytesMaxDefault, ClientPercentDefault), requestOf("_INBOX.Wn4rYq8zFJ2kQ0l7T3xUbc.aB3dE5gH")
	require.Zero(t, testing.AllocsPerRun(100, func() { throughBounds(f, r) }))
}

func throughBounds(f *inflight, r *request) {
	f.add(r)
	f.claim(r)
	f.free(r)
}

func BenchmarkBounds(b *testing.B) {
	for name, percent := range map[string]int{"of-all": 100, "and-of-each-client": ClientPercentDefault} {
		b.Run(name, func(b *testing.B) {
			f, r := newInflight(RequestsMaxDefault, RequestBytesMaxDefault, percent), requestOf("_INBOX.Wn4rYq8zFJ2kQ0l7T3xUbc.aB3dE5gH")
			b.ReportAllocs()
			for b.Loop() {
				throughBounds(f, r)
			}
		})
	}
}

// Who was silent for long has no more than one burst.
func TestRefusalsAreNotSavedUp(t *testing.T) {
	var r refusals
	for range 100 {
		r.grant()
	}
	require.EqualValues(t, refusalsMax, r.left.Load())
}

// What is not begun leaves its place.
func TestARefusalThatIsNotBegunTakesNoPlace(t *testing.T) {
	var r refusals
	r.grant()
	r.waiting.Store(refusalsMax)
	require.False(t, r.begin())
	r.end()
	require.True(t, r.begin())
}
