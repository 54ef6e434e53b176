package busclient

// Who is left out of messages to several, and is called alone.

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// F28: one that does not say that it listens, of an earlier release or without the option, gets what is for it alone.
func TestWhoDoesNotListenIsCalledAlone(t *testing.T) {
	url := startNATS(t).URL()
	n1, n2 := newPeer(t, url, "n1", withMulticast), newPeer(t, url, "n2", withMulticast)
	n3 := newPeer(t, url, "n3", func(o *peerOptions) { o.members = four })
	startAdmitted(n1, n2, n3)
	awaitEachOther(n1, n2)
	newPuppet(t, url, "n4", puppetOfFour)
	n1.awaitListening("n2")
	n1.awaitListening("n4")
	n1.awaitLink("n3", "connected")
	_, left := n1.append("n2", "n3", "n4")
	require.Equal(t, []rpc.NodeID{"n3"}, left)
	_, left = n1.append("n2", "n3")
	require.Equal(t, []rpc.NodeID{"n2", "n3"}, left, "one alone needs no message to several")
	require.Equal(t, []rpc.NodeID{"n2", "n3"}, n1.MulticastCommitLog([]rpc.NodeID{"n2", "n3"}, 1, &rpc.CommitLogCommand{}))
	eventually(t, "n2 got the first", func() bool { return len(n2.messages()) == 1 })

	n3.awaitListening("n1")
	n3.awaitListening("n2")
	to := []rpc.NodeID{"n1", "n2"}
	_, left = n3.append(to...)
	require.Equal(t, to, left, "without the option nothing goes to several")
}

// Who leaves one unanswered for too long is called alone, until it has answered there.
func TestWhoDoesNotAnswerIsCalledAlone(t *testing.T) {
	t.Parallel()
	n1, puppets, _ := puppetsOfFour(t)
	answer := func(id rpc.NodeID) func(puppetCall) {
		p := puppets[id]
		return func(c puppetCall) { p.send(answerTo(c, id), p.header(c), &rpc.AppendLogReturn{Accepted: true}) }
	}
	puppets["n2"].call(answer("n2"))
	puppets["n4"].call(answer("n4"))
	replies, left := n1.append("n2", "n3", "n4")
	require.Empty(t, left)
	require.Equal(t, []rpc.NodeID{"n2", "n4"}, froms(await(t, replies), await(t, replies)))
	eventually(t, "n3 is out of step", func() bool {
		replies, left := n1.append("n2", "n3", "n4")
		for range 3 - len(left) - 1 {
			await(t, replies)
		}
		return slices.Equal(left, []rpc.NodeID{"n3"})
	})
	puppets["n3"].call(answer("n3"))
	alone := make(chan error, 1)
	require.NoError(t, n1.to("n3").AppendLog(2, &rpc.AppendLogCommand{}, func(r appended) { alone <- r.Err }))
	require.NoError(t, await(t, alone))
	eventually(t, "n3 is back", func() bool { _, left := n1.append("n2", "n3", "n4"); return len(left) == 0 })
}

// What does not fit in one publish, or for which a peer has no room, goes alone.
func TestWhatCannotGoToSeveralIsLeft(t *testing.T) {
	n1, _, _ := puppetsOfFour(t)
	defer stopClocks(n1)() // nobody answers, which is no lapse here
	to := []rpc.NodeID{"n2", "n3", "n4"}
	large := &rpc.AppendLogCommand{Entries: []rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryCommand, Data: make([]byte, n1.bulk.MaxPayload())}}}
	require.Equal(t, to, n1.MulticastAppendLog(to, 1, large, nil))

	c, err := n1.client("n3")
	require.NoError(t, err)
	const full = 1 << 39
	require.NoError(t, c.rounds.begin(round{id: full, path: bulk, bytes: inFlightBytesMax, deadline: time.Now().Add(time.Hour), done: func(outcome) {}}))
	_, left := n1.append(to...)
	require.Equal(t, []rpc.NodeID{"n3"}, left, "what several get counts among the bytes in flight (F9)")
	_, open := c.rounds.end(full, func(round) bool { return true })
	require.True(t, open)
	for id := range uint64(inFlightCallsMax) {
		require.NoError(t, c.rounds.begin(round{id: 1<<40 + id, path: bulk, deadline: time.Now().Add(time.Hour), done: func(outcome) {}}))
	}
	_, left = n1.append(to...)
	require.Equal(t, []rpc.NodeID{"n3"}, left)

	n1.bulk.Close()
	replies, left := n1.append("n2", "n4")
	require.Equal(t, []rpc.NodeID{"n2", "n4"}, left)
	require.Empty(t, replies, "nobody is told twice")
}

// unasked is a connection that would make who asks what may be sent wait.
type unasked struct{ Bus }

func (unasked) MaxPayload() int64 { panic("asked") }

// A leader may lead alone, and have never reached NATS.
func TestWithoutLinksNobodyAsksWhatMayBeSent(t *testing.T) {
	n1 := newPeer(t, "nats://"+unused(t), "n1", withMulticast)
	n1.admit()
	n1.buses[bulk] = unasked{n1.buses[bulk]}
	to := []rpc.NodeID{"n2", "n3"}
	require.NotPanics(t, func() { require.Equal(t, to, n1.MulticastAppendLog(to, 1, &rpc.AppendLogCommand{}, nil)) })
}

// Whom a message names counts too: one that does not fit with that would go in parts, which nobody takes.
func TestWhoIsNamedTakesRoom(t *testing.T) {
	n1, _, _ := puppetsOfFour(t)
	to := []rpc.NodeID{"n2", "n3", "n4"}
	room := int(n1.bulk.MaxPayload()) - len(to)*rpc.AddresseeBytes
	cmd := &rpc.AppendLogCommand{Entries: []rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryCommand, Data: make([]byte, room)}}}
	entry := &cmd.Entries[0]
	entry.Data = entry.Data[rpc.Size(cmd)-room:]
	require.Equal(t, room, rpc.Size(cmd))
	require.Empty(t, n1.MulticastAppendLog(to, 2, cmd, func(appended) {}))
	entry.Data = append(entry.Data, 0)
	require.Equal(t, to, n1.MulticastAppendLog(to, 2, cmd, nil))
}

// refusing is a connection on which messages to several do not leave, once it is told so.
type refusing struct {
	Bus
	meanwhile atomic.Pointer[func()] // what happens before the error; nil: they leave
}

func (r *refusing) Publish(subject, reply string, data []byte) error {
	if happens := r.meanwhile.Load(); happens != nil && strings.Contains(subject, "._all.") {
		(*happens)()
		return ErrBusDown
	}
	return r.Bus.Publish(subject, reply, data)
}

// Who is named by a message that does not leave is called alone, and hears nothing more of it: a call has one end. Who was taken from the members
// meanwhile has had it, and is not called again.
func TestAMessageToSeveralThatDoesNotLeaveIsTakenBack(t *testing.T) {
	url := startNATS(t).URL()
	for _, id := range four[1:] {
		newPuppet(t, url, id, puppetOfFour)
	}
	n1 := newPeer(t, url, "n1", withMulticast)
	bus := &refusing{Bus: n1.bulk}
	n1.buses[bulk] = bus
	n1.start()
	n1.admit()
	for _, id := range four[1:] {
		n1.awaitListening(id)
	}
	defer stopClocks(n1)()
	nothing := func() {}
	bus.meanwhile.Store(&nothing)
	to := []rpc.NodeID{"n2", "n3"}
	silent, left := n1.append(to...)
	require.Equal(t, to, left)
	require.Equal(t, to, n1.MulticastCommitLog(to, 2, &rpc.CommitLogCommand{Commit: 8}))

	table := tableOf(four...)
	leaves := func() { n1.Admit(rpc.ClusterIDOf(table), slices.Delete(slices.Clone(table), 1, 2)) }
	bus.meanwhile.Store(&leaves)
	replies, left := n1.append("n2", "n3", "n4")
	require.Equal(t, []rpc.NodeID{"n3", "n4"}, left)
	gone := await(t, replies)
	require.Equal(t, rpc.NodeID("n2"), gone.From)
	require.ErrorIs(t, gone.Err, ErrUnknownPeer)
	n1.Close() // which ends whatever is open
	require.Empty(t, replies)
	require.Empty(t, silent)
}

// An answer to a call of its own brings a peer back for a trial. That messages to several reach it only an answer to one of those shows, and until
// then its lapses count on (K62).
func TestOnlyAnAnswerToSeveralHasLapsesForgotten(t *testing.T) {
	n1, puppets, _ := puppetsOfFour(t)
	defer stopClocks(n1)()
	n3, err := n1.client("n3")
	require.NoError(t, err)
	lapses := func() int {
		n3.step.mu.Lock()
		defer n3.step.mu.Unlock()
		return n3.step.lapses
	}
	p := puppets["n3"]
	p.call(func(c puppetCall) { p.send(answerTo(c, "n3"), p.header(c), &rpc.AppendLogReturn{Accepted: true}) })
	now := n1.now()
	n3.step.unheard(now, patience)
	require.Equal(t, 1, lapses())
	alone := make(chan error, 1)
	require.NoError(t, n1.to("n3").AppendLog(2, &rpc.AppendLogCommand{}, func(r appended) { alone <- r.Err }))
	require.NoError(t, await(t, alone))
	require.False(t, n3.step.in(now, patience))
	require.Equal(t, 1, lapses())

	later := now.Add(patience)
	n1.clock.stopped.Store(&later)
	replies, left := n1.append("n3", "n4")
	require.Empty(t, left)
	require.NoError(t, await(t, replies).Err)
	require.Zero(t, lapses())
}

// Who is far away is not taken for silent: it has four round trips, or as long as a heartbeat where that is longer.
func TestPatienceGrowsWithTheWay(t *testing.T) {
	s, c := &Service{several: several{heartbeat: patience}}, &client{}
	for rtt, want := range map[time.Duration]time.Duration{0: patience, 10 * time.Millisecond: patience, time.Second: 4 * time.Second} {
		c.status.Store(&LinkStatus{RTT: rtt})
		require.Equal(t, want, s.patience(c))
	}
}
