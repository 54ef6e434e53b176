package kv

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/bell"
	"github.com/raftbus/raftbus/raft/node"
)

const purgeOfMany = `{"filter":"$KV.app.k.>"}`

// count is how many wide commands wait for their turn.
func (l *wides) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// wides sends purges of many keys to a node that holds what it is to log, and waits until all but the first are in line.
func (r *rig) wides(n int) []*nats.Subscription {
	r.Helper()
	r.node.set(func(n *solo) { n.hold = true })
	purges := make([]*nats.Subscription, n)
	for i := range purges {
		purges[i] = r.sendJS(api+"STREAM.PURGE.KV_app", purgeOfMany)
	}
	r.awaitHeld()
	r.awaitInLine(n - 1)
	return purges
}

func (r *rig) awaitInLine(n int) {
	r.Helper()
	require.Eventually(r, func() bool { return r.service.wides.count() == n }, 5*time.Second, time.Millisecond)
}

// Q12: what looks at many keys is proposed one after the other, and what others write meanwhile does not wait for all of it.
func TestWideCommandsAreProposedOneAfterTheOther(t *testing.T) {
	r := newLeader(t, nil)
	r.ask("bucket.update.app", `{"history":2}`)
	purges := r.wides(3)
	put := r.send("kv.put.app.k", "v")
	r.awaitHeld()
	update := r.send("bucket.update.app", `{"history":1}`)
	r.awaitHeld() // it looks first
	r.node.step()
	said := func(sub *nats.Subscription) string {
		msg, err := sub.NextMsg(5 * time.Second)
		require.NoError(t, err)
		return string(msg.Data)
	}
	require.Contains(t, said(put), `"revision"`)
	for _, purge := range purges {
		require.Contains(t, said(purge), `"success":true`)
		r.awaitHeld()
		r.silentSoFar(update)
		require.Empty(t, r.node.heldMax, "no other is proposed")
		r.node.step()
	}
	require.Contains(t, string(r.answered(update).Data), `"cluster_revision"`)
}

// L9: however many wait, who asks for one more hears 'busy'.
func TestWideCommandsThatWaitAreBounded(t *testing.T) {
	r := newLeader(t, nil)
	purges := r.wides(widesMax + 1)
	more := r.sendJS(api+"STREAM.PURGE.KV_app", purgeOfMany)
	r.awaitHeld() // it is confirmed first that this node leads
	r.node.release()
	require.Contains(t, string(r.answered(more).Data), `"err_code":10008`)
	for _, purge := range purges {
		require.Contains(t, string(r.answered(purge).Data), `"success":true`)
	}
}

// L2: a planned move waits for what is proposed, and tells those whose turn has not come to ask again.
func TestAPlannedMoveWaitsForNoWideCommandInLine(t *testing.T) {
	r := newLeader(t, func(o *Options) { o.hurryAfter = time.Millisecond })
	purges := r.wides(3)
	drained := make(chan error, 1)
	go func() { drained <- r.service.Drain(t.Context()) }()
	require.Eventually(t, r.service.hurries.Load, 5*time.Second, time.Millisecond)
	r.node.release()
	require.NoError(t, <-drained)
	require.Contains(t, string(r.answered(purges[0]).Data), `"success":true`)
	for _, purge := range purges[1:] {
		require.Contains(t, string(r.answered(purge).Data), `"err_code":10008`)
	}
}

// Those that wait when another leads are told nothing, and do not stand in the way of those that come once this node leads again. Nor does one that was
// proposed, of which a deposed leader never hears.
func TestWideCommandsInLineEndWithTheOffice(t *testing.T) {
	r := newLeader(t, nil)
	purges := r.wides(3)
	r.stepDown()
	r.node.set(func(n *solo) { n.held, n.hold = nil, false })
	require.Zero(t, r.service.wides.count())
	r.service.expire(time.Now().Add(time.Hour)) // the one that was proposed
	for _, purge := range purges {
		r.silent(purge)
	}
	r.lead()
	require.Contains(t, string(r.js(api+"STREAM.PURGE.KV_app", purgeOfMany).Data), `"success":true`)
}

// A turn of a former office that ends late is not that of the one that goes on.
func TestATurnEndsOnce(t *testing.T) {
	l := wides{over: bell.New()}
	old, _ := l.enter(todo{})
	l.clear()
	turn, _ := l.enter(todo{})
	l.enter(todo{})
	l.end(old)
	_, next := l.next()
	require.Zero(t, next)
	l.end(turn)
	_, next = l.next()
	require.NotZero(t, next)
}

// C5: a purge that has parts left goes on, however many wait: it would be done in part for nothing.
func TestAPurgeInPartsGoesBeforeThoseThatHaveNotBegun(t *testing.T) {
	t.Parallel()
	node := &parted{}
	r := newLeader(t, func(o *Options) { node.solo, o.Node = o.Node.(*solo), node })
	r.ask("kv.put.app.k", "v")
	r.wides(widesMax + 1)
	for range 10 {
		r.node.step()
		r.awaitHeld()
		r.awaitInLine(widesMax) // one has its turn, and the next part of the one before is in line
	}
	require.GreaterOrEqual(t, node.rests.Load(), int64(4), "one other comes between two parts at most")
}

// Parts go on in their order: none waits for ever for one that has many.
func TestPartsOfPurgesTakeTurns(t *testing.T) {
	l := wides{over: bell.New()}
	turn, _ := l.enter(todo{})
	first := todo{&request{}, work{rest: true}}
	for _, waits := range []todo{{}, first, {&request{}, work{rest: true}}} {
		_, room := l.enter(waits)
		require.True(t, room)
	}
	l.end(turn)
	next, _ := l.next()
	require.Same(t, first.request, next.request)
}

// A turn ends also where nothing is logged: what the node has no room for, and what is overdue before its turn.
func TestATurnEndsWhereNothingIsLogged(t *testing.T) {
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.refusal = node.ErrBusy })
	require.Contains(t, string(r.js(api+"STREAM.PURGE.KV_app", purgeOfMany).Data), `"err_code":10008`)
	r.node.set(func(n *solo) { n.refusal = nil })
	r.wides(2)
	r.overdue()
	r.node.release()
	require.Contains(t, string(r.js(api+"STREAM.PURGE.KV_app", purgeOfMany).Data), `"success":true`)
}

func TestWhatIsWide(t *testing.T) {
	old := command.Settings{History: 5}
	update := func(history uint64) *command.UpdateBucket {
		return &command.UpdateBucket{Settings: command.Settings{History: history}}
	}
	for _, c := range []command.Command{
		{PurgeBucket: &command.PurgeBucket{Below: 5}},
		{PurgeBucket: &command.PurgeBucket{Through: 5, After: "k"}},
		{PurgeBucket: &command.PurgeBucket{Filter: "a.*"}},
		{PurgeBucket: &command.PurgeBucket{Filter: "a.>"}},
		{UpdateBucket: update(4)},
		{UpdateBucket: update(0)},
	} {
		require.True(t, isWide(&c, &old), "%v", c)
	}
	for _, c := range []command.Command{
		{PurgeBucket: &command.PurgeBucket{}},
		{PurgeBucket: &command.PurgeBucket{Filter: "a.b", Keep: 1}},
		{PurgeBucket: &command.PurgeBucket{Filter: "a.b", Below: 5}},
		{UpdateBucket: update(5)},
		{UpdateBucket: update(6)},
		{RemoveBucket: &command.RemoveBucket{}},
		{AddBucket: &command.AddBucket{}},
	} {
		require.False(t, isWide(&c, &old), "%v", c)
	}
}
