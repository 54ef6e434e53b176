package busclient

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/stalltest"
)

func TestEveryMethodIsCarriedThereAndBack(t *testing.T) {
	n1, n2 := pair(t, startNATS(t).URL())
	n2.echo()
	c := n1.to("n2")

	h := await(t, heartbeat(t, c, 17))
	require.NoError(t, h.Err)
	require.Equal(t, rpc.Reply[*rpc.HeartbeatReturn]{From: "n2", Instance: instanceOf("n2"), Term: 3, Return: &rpc.HeartbeatReturn{Read: 17}}, h)

	appended := make(chan rpc.Reply[*rpc.AppendLogReturn], 1)
	entries := []rpc.Entry{{Index: 6, Term: 2, Kind: rpc.EntryCommand, Data: []byte("blue")}}
	require.NoError(t, c.AppendLog(3, &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 2, Index: 5}, Entries: entries},
		func(r rpc.Reply[*rpc.AppendLogReturn]) { appended <- r }))
	require.Equal(t, rpc.Index(6), await(t, appended).Return.Match)

	committed := make(chan rpc.Reply[*rpc.CommitLogReturn], 1)
	require.NoError(t, c.CommitLog(3, &rpc.CommitLogCommand{Commit: 6}, func(r rpc.Reply[*rpc.CommitLogReturn]) { committed <- r }))
	require.Equal(t, rpc.Index(6), await(t, committed).Return.Commit)

	voted := make(chan rpc.Reply[*rpc.RequestVoteReturn], 1)
	require.NoError(t, c.RequestVote(4, &rpc.RequestVoteCommand{PreVote: true}, func(r rpc.Reply[*rpc.RequestVoteReturn]) { voted <- r }))
	require.True(t, await(t, voted).Return.Granted)

	got := n2.messages()
	require.Len(t, got, 4)
	require.Equal(t, rpc.NodeID("n1"), got[1].From)
	require.Equal(t, rpc.NodeID("n2"), got[1].To)
	require.Equal(t, rpc.Term(3), got[1].Term)
	require.Equal(t, entries, got[1].Body.(*rpc.AppendLogCommand).Entries)
}

// 'No responders' ends a call at once, and breaks the link.
func TestNoRespondersEndsACallAtOnce(t *testing.T) {
	t.Parallel()
	n1, n2 := puppetPair(t)
	changes := len(n1.changes())
	n2.nc.Close()
	watch := stalltest.During(t)
	replies := make(chan error, 1)
	err := n1.to("n2").Heartbeat(1, &rpc.HeartbeatCommand{}, func(r rpc.Reply[*rpc.HeartbeatReturn]) { replies <- r.Err })
	if err == nil {
		err = await(t, replies)
	} // else a ping was quicker
	require.True(t, errors.Is(err, ErrNoResponders) || errors.Is(err, ErrConnectionBroken), err)
	require.Less(t, watch.Took(), callTimeout/2)
	eventually(t, "the link breaks", func() bool { return len(n1.changes()) > changes })
	require.ErrorIs(t, n1.changes()[changes].reason, ErrNoResponders)
	require.ErrorIs(t, n1.to("n2").Heartbeat(1, &rpc.HeartbeatCommand{}, nil), ErrConnectionBroken)

	require.NoError(t, n1.to("n2").Ping())
	eventually(t, "the owner hears of it", func() bool {
		p := n1.pings()
		return errors.Is(p[len(p)-1].Err, ErrNoResponders)
	})
}

// A return answers one open round of one peer, once: every other is dropped and counted, and the round stays open.
func TestOnlyTheRightReturnEndsACall(t *testing.T) {
	n1, n2 := puppetPair(t)
	n3 := newPuppet(t, n2.nc.ConnectedUrl(), "n3")
	n1.awaitLink("n3", "connected")
	stopClocks(n1)
	called := make(chan puppetCall, 1)
	n2.call(func(c puppetCall) { called <- c })
	replies := heartbeat(t, n1.to("n2"), 8)
	c := await(t, called)

	good, answer := n2.header(c), &rpc.HeartbeatReturn{Read: 8}
	other := func(change func(*rpc.Header)) rpc.Header { h := good; change(&h); return h }
	asN3 := strings.Replace(c.reply, ".n2.", ".n3.", 1)
	for _, wrong := range []struct {
		name, subject string
		h             rpc.Header
		body          rpc.Body
		drop          string
	}{
		{"another peer, honestly", asN3, other(func(h *rpc.Header) { h.From, h.Instance = "n3", instanceOf("n3") }), answer, "late return"},
		{"another peer, forged", c.reply, other(func(h *rpc.Header) { h.From = "n3" }), answer, "forged sender"},
		{"not for us", c.reply, other(func(h *rpc.Header) { h.To = "n3" }), answer, "misaddressed"},
		{"another round inside", c.reply, other(func(h *rpc.Header) { h.Round++ }), answer, "misaddressed"},
		{"no such round", c.reply + "9", other(func(h *rpc.Header) { h.Round = h.Round*10 + 9 }), answer, "late return"},
		{"another method", c.reply, good, &rpc.AppendLogReturn{Accepted: true}, "late return"},
		{"a command", c.reply, good, &rpc.HeartbeatCommand{}, "misaddressed"},
		{"another instance", c.reply, other(func(h *rpc.Header) { h.Instance[0]++ }), answer, "other instance"},
		{"another cluster", c.reply, other(func(h *rpc.Header) { h.Cluster[0]++ }), answer, "other cluster"},
		{"an earlier life", c.reply, other(func(h *rpc.Header) { h.Boot = epoch(0, 7) }), answer, "earlier life"},
		{"a copied folder", c.reply, other(func(h *rpc.Header) { h.Boot = epoch(1, 8) }), answer, "copied folder"},
	} {
		before := n1.Drops()[wrong.drop]
		n3.send(wrong.subject, wrong.h, wrong.body)
		eventually(t, wrong.name, func() bool { return n1.Drops()[wrong.drop] == before+1 })
		require.Empty(t, replies, wrong.name)
	}
	n2.send(c.reply, good, answer)
	require.Equal(t, uint64(8), await(t, replies).Return.Read)

	late := n1.Drops()["late return"]
	n2.send(c.reply, good, answer)
	eventually(t, "a second return is dropped", func() bool { return n1.Drops()["late return"] == late+1 })
	require.Empty(t, replies)
}

// A return must come on the connection that the call left on.
func TestAReturnOnTheWrongConnectionIsDropped(t *testing.T) {
	n1, n2 := puppetPair(t)
	stopClocks(n1)
	called := make(chan puppetCall, 1)
	n2.call(func(c puppetCall) { called <- c })
	replies := heartbeat(t, n1.to("n2"), 8)
	c := await(t, called)
	onBulk := strings.Replace(c.reply, n1.nonces[control], n1.nonces[bulk], 1)
	late := n1.Drops()["late return"]
	n2.send(onBulk, n2.header(c), &rpc.HeartbeatReturn{})
	eventually(t, "dropped", func() bool { return n1.Drops()["late return"] == late+1 })
	require.Empty(t, replies)
}

// An answer that comes after the deadline is dropped.
func TestALateReturnIsDropped(t *testing.T) {
	n1, n2 := puppetPair(t)
	stopClocks(n1)
	called := make(chan puppetCall, 1)
	n2.call(func(c puppetCall) { called <- c })
	replies := heartbeat(t, n1.to("n2"), 8)
	c := await(t, called)
	n1.endCalls("n2")
	require.ErrorIs(t, await(t, replies).Err, ErrTimeout)
	late := n1.Drops()["late return"]
	n2.send(c.reply, n2.header(c), &rpc.HeartbeatReturn{Read: 8})
	eventually(t, "dropped", func() bool { return n1.Drops()["late return"] == late+1 })
	require.Empty(t, replies)
	pings := len(n1.pings())
	require.NoError(t, n1.to("n2").Ping())
	eventually(t, "a ping passes", func() bool { return len(n1.pings()) > pings })
	require.True(t, n1.to("n2").Connected(), "pings pass, so the link stays")
}

// F9: a peer that answers nothing never has more on its way than the bound, and heartbeats go past all that.
func TestASlowPeerNeverHasMoreInFlightThanTheBound(t *testing.T) {
	n1, n2 := puppetPair(t)
	stopClocks(n1)
	n2.call(func(c puppetCall) {
		if _, ok := c.body.(*rpc.HeartbeatCommand); ok {
			n2.send(c.reply, n2.header(c), &rpc.HeartbeatReturn{})
		}
	})
	cmd := &rpc.AppendLogCommand{Entries: []rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryCommand, Data: make([]byte, 512<<10)}}}
	sent, ends := 0, make(chan error, 64)
	for {
		err := n1.to("n2").AppendLog(1, cmd, func(r rpc.Reply[*rpc.AppendLogReturn]) { ends <- r.Err })
		if err != nil {
			require.ErrorIs(t, err, ErrTooManyInFlight)
			break
		}
		sent++
		require.LessOrEqual(t, sent*512<<10, inFlightBytesMax)
	}
	require.Greater(t, (sent+2)*512<<10, inFlightBytesMax)
	require.NoError(t, await(t, heartbeat(t, n1.to("n2"), 1)).Err)
	n1.endCalls("n2")
	for range sent {
		require.ErrorIs(t, await(t, ends), ErrTimeout)
	}
	require.NoError(t, n1.to("n2").AppendLog(1, cmd, func(rpc.Reply[*rpc.AppendLogReturn]) {}), "what ended is no more in flight")
}

// Close while calls are in flight: each ends once, with ErrClosed.
func TestCloseEndsWhatIsInFlight(t *testing.T) {
	n1, n2 := puppetPair(t)
	var mu sync.Mutex
	ends := map[int]error{}
	for i := range 100 {
		require.NoError(t, n1.to("n2").CommitLog(1, &rpc.CommitLogCommand{}, func(r rpc.Reply[*rpc.CommitLogReturn]) {
			mu.Lock()
			defer mu.Unlock()
			if ends[i] == nil {
				ends[i] = r.Err
				return
			}
			ends[i] = errors.New("twice")
		}))
	}
	c := n1.to("n2")
	n1.Close()
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, ends, 100, "all have ended when Close returns")
	for _, err := range ends {
		require.ErrorIs(t, err, ErrClosed)
	}
	require.ErrorIs(t, c.Ping(), ErrClosed)
	require.ErrorIs(t, c.Heartbeat(1, &rpc.HeartbeatCommand{}, nil), ErrClosed)
	_ = n2
}

func TestAnswerGoesOnlyWhereACallCameFrom(t *testing.T) {
	n1, _ := puppetPair(t)
	for name, m := range map[string]rpc.Message{
		"no call":        {To: "n2", Body: &rpc.HeartbeatReturn{}},
		"a command":      {To: "n2", Body: &rpc.HeartbeatCommand{}, Call: rpc.Call{Inbox: "raftbus.rpc.n2.n1.Return.x.1"}},
		"another peer":   {To: "n3", Body: &rpc.HeartbeatReturn{}, Call: rpc.Call{Inbox: "raftbus.rpc.n2.n1.Return.x.1"}},
		"not an inbox":   {To: "n2", Body: &rpc.HeartbeatReturn{}, Call: rpc.Call{Inbox: "raftbus.rpc.n2.n1.Heartbeat"}},
		"nothing to say": {To: "n2"},
	} {
		require.Error(t, n1.Answer(m), name)
	}
}

// Many goroutines, many calls, everything answered: the race detector watches.
func TestManyCallsAtOnce(t *testing.T) {
	n1, n2 := pair(t, startNATS(t).URL())
	stopClocks(n1, n2)
	n1.echo()
	n2.echo()
	var all sync.WaitGroup
	var good atomic.Int64
	for _, ends := range [][2]*peer{{n1, n2}, {n2, n1}, {n1, n2}, {n2, n1}} {
		all.Go(func() {
			var open sync.WaitGroup
			c := ends[0].to(ends[1].self.ID)
			for i := range 200 {
				open.Add(1)
				done := func(err error) {
					if err == nil {
						good.Add(1)
					}
					open.Done()
				}
				var err error
				if i%2 == 0 {
					err = c.AppendLog(1, &rpc.AppendLogCommand{}, func(r rpc.Reply[*rpc.AppendLogReturn]) { done(r.Err) })
				} else {
					err = c.RequestVote(1, &rpc.RequestVoteCommand{}, func(r rpc.Reply[*rpc.RequestVoteReturn]) { done(r.Err) })
				}
				require.NoError(t, err)
			}
			open.Wait()
		})
	}
	all.Wait()
	require.Equal(t, int64(800), good.Load())
}
