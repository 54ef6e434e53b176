package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

// What peers send beyond the bound is dropped and counted; what the node itself completes never is.
func TestInboxBounds(t *testing.T) {
	b := newInbox()
	for range messagesMax + 10 {
		b.message(rpc.Message{Body: &rpc.HeartbeatCommand{}})
	}
	b.completed(raft.DiskDone{Seq: 1})
	got := b.take(batch{})
	require.Len(t, got.events, messagesMax)
	require.Len(t, got.completions, 1)
	require.Equal(t, uint64(10), b.dropped)
	b.message(rpc.Message{Body: &rpc.HeartbeatCommand{}})
	got = b.take(got)
	require.Len(t, got.events, 1, "a bound is on what waits, not on what ever came")
	dropped := b.dropped
	for range 2 {
		for range noticesMax - 2 {
			b.notice(raft.LinkChanged{})
		}
		for range 10 {
			b.ping(busclient.Pinged{})
			b.learned(learned{})
		}
		got = b.take(got)
		require.Len(t, got.events, noticesMax-2)
		require.Len(t, got.pings, 1)
		require.Len(t, got.learned, 1)
	}
	require.Equal(t, dropped+2*18, b.dropped)
}

// Entries are bounded by their size; one that exceeds the bound alone still passes.
func TestInboxBytes(t *testing.T) {
	b := newInbox()
	large := &rpc.AppendLogCommand{Entries: []rpc.Entry{{Data: make([]byte, messageBytesMax)}}}
	for range 2 {
		b.message(rpc.Message{Body: large})
		b.message(rpc.Message{Body: large})
		require.Len(t, b.take(batch{}).events, 1)
	}
	b.message(rpc.Message{Body: &rpc.HeartbeatCommand{}})
	b.message(rpc.Message{Body: &rpc.HeartbeatCommand{}})
	require.Len(t, b.take(batch{}).events, 2, "a bound is on what waits, not on what ever came")
}

// A closed inbox takes nothing, and hands out what still waited.
func TestInboxClosed(t *testing.T) {
	b := newInbox()
	require.True(t, b.read(func(error) {}))
	require.Len(t, b.close().reads, 1)
	require.False(t, b.read(func(error) {}))
	require.False(t, b.propose(proposal{}))
}

func waitersOf(ids ...rpc.EntryID) (*waiters, map[rpc.EntryID]any) {
	w, got := &waiters{}, map[rpc.EntryID]any{}
	for _, id := range ids {
		w.reserve(1)
		w.add(id, 1, func(r any, at rpc.EntryID) { got[at] = r })
	}
	return w, got
}

func entries(term rpc.Term, from, to rpc.Index) []rpc.Entry {
	var list []rpc.Entry
	for i := from; i <= to; i++ {
		list = append(list, rpc.Entry{Index: i, Term: term})
	}
	return list
}

// Who proposed an entry hears of that entry only: another one at its index leaves him without an answer (design section 4).
func TestWaitersHearOfTheirEntryOnly(t *testing.T) {
	w, got := waitersOf(rpc.EntryID{Term: 1, Index: 5}, rpc.EntryID{Term: 1, Index: 6}, rpc.EntryID{Term: 1, Index: 7})
	w.settle(entries(1, 5, 5), []any{"five"})
	w.settle(entries(2, 6, 6), []any{"of another leader"})
	require.Equal(t, map[rpc.EntryID]any{{Term: 1, Index: 5}: "five"}, got)
	require.Equal(t, 1, w.count)
	w.settle(entries(1, 7, 7), []any{"seven"})
	require.Equal(t, "seven", got[rpc.EntryID{Term: 1, Index: 7}])
	require.Zero(t, w.count)
	require.Zero(t, w.bytes)
}

// A leader again in a later term displaces its own older entries, and those who waited for them.
func TestWaitersAreDisplaced(t *testing.T) {
	w, got := waitersOf(rpc.EntryID{Term: 1, Index: 5}, rpc.EntryID{Term: 1, Index: 6}, rpc.EntryID{Term: 3, Index: 5})
	require.Equal(t, 1, w.count)
	w.settle(entries(3, 5, 5), []any{"three"})
	require.Equal(t, map[rpc.EntryID]any{{Term: 3, Index: 5}: "three"}, got)
}

// The bound counts proposals until they are settled or displaced.
func TestWaitersAreBounded(t *testing.T) {
	w := &waiters{}
	require.True(t, w.reserve(ProposalBytesMax+1), "one alone may exceed the bound")
	require.False(t, w.reserve(1))
	w.release(ProposalBytesMax + 1)
	require.True(t, w.reserve(1))
	for range ProposalsMax - 1 {
		require.True(t, w.reserve(0))
	}
	require.False(t, w.reserve(0), "nor are there more, however small")
}

// What no message between nodes can carry is not logged: nothing after it would ever be committed.
func TestACommandThatNoMessageCarriesIsRefused(t *testing.T) {
	leader := newManual(t, 1, "n1").leader()
	require.ErrorIs(t, leader.Propose(make([]byte, leader.MaxCommandBytes()+1), nil), ErrTooLarge)
	require.Zero(t, leader.waiters.waiting())
}

// A node that leads again forgets who waited for entries that its new term replaced, even if nothing is proposed: else what
// an earlier office left unfinished would fill the bound for as long as it leads (L9). What may still commit is kept.
func TestWaitersOfALostTailDoNotFillTheBound(t *testing.T) {
	w, got := waitersOf(rpc.EntryID{Term: 1, Index: 5}, rpc.EntryID{Term: 1, Index: 6}, rpc.EntryID{Term: 1, Index: 900})
	w.displace(6)
	require.Equal(t, 1, w.count)
	require.Equal(t, 1, w.bytes)
	w.settle(entries(1, 5, 5), []any{"five"})
	require.Equal(t, map[rpc.EntryID]any{{Term: 1, Index: 5}: "five"}, got)
}

// The node refuses before the core must: a refusal of the core reaches nobody.
func TestTheCoreIsNeverBusyFirst(t *testing.T) {
	l := coreLimits()
	require.GreaterOrEqual(t, l.ReadsMax, readsMax)
	require.Greater(t, l.ProposedBytesMax, ProposalBytesMax+l.ApplyBytesMax+commandBytesMax)
}

// What is refused leaves its place to others.
func TestWhatIsRefusedTakesNoPlace(t *testing.T) {
	n := &Node{}
	n.leads.Store(true)
	n.readers.count.Store(readsMax)
	require.ErrorIs(t, n.ReadIndex(nil), ErrBusy)
	require.EqualValues(t, readsMax, n.readers.count.Load())
	n.requests.Store(requestsMax)
	require.ErrorIs(t, n.TransferLeadership("", nil), ErrBusy)
	require.EqualValues(t, requestsMax, n.requests.Load())
}

// Who waits for an entry that was applied before, in whatever way, hears nothing, and disturbs nobody.
func TestWaitersBelowWhatIsApplied(t *testing.T) {
	w, got := waitersOf(rpc.EntryID{Term: 1, Index: 4}, rpc.EntryID{Term: 1, Index: 5})
	w.settle(entries(1, 5, 5), []any{"five"})
	require.Equal(t, map[rpc.EntryID]any{{Term: 1, Index: 5}: "five"}, got)
	require.Zero(t, w.count)
}

// What a turn took is let go at its end: a node that has nothing to do keeps no messages from being freed.
func TestWhatATurnTookIsLetGo(t *testing.T) {
	m := newManual(t, 1, "n1", "n2", "n3")
	m.add(1, 2, 3)
	for _, id := range m.ids {
		events := m.hub.nodes[id].spent.events
		require.Positive(t, cap(events))
		for _, e := range events[:cap(events)] {
			require.Nil(t, e)
		}
	}
}
