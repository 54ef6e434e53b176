package node

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// change has a leader change the members, and waits until that is through.
func (m *manual) change(c raft.Change) {
	m.t.Helper()
	for range 100 {
		var answer error
		answered := false
		require.NoError(m.t, m.leader().Reconfigure(c, func(_ rpc.EntryID, err error) { answer, answered = err, true }))
		for range 1000 {
			if m.run(1); answered {
				break
			}
		}
		require.True(m.t, answered, "a change was not answered")
		if answer == nil {
			return
		}
		require.True(m.t, errors.Is(answer, raft.ErrChangeUnderWay) || errors.Is(answer, ErrUnknown), "%v", answer)
		m.run(20)
	}
	m.t.Fatal("no change comes through")
}

// member is a node as it may be added.
func (m *manual) member(id rpc.NodeID) rpc.Member {
	return rpc.Member{ID: id, Instance: m.folders[id].Instance}
}

// joinGroup is a group of three, and a fourth that waits to be added.
func joinGroup(t *testing.T, seed uint64, options func(*Options)) *manual {
	m := newManualWith(t, seed, options, "n1", "n2", "n3")
	m.ids = append(m.ids, "n4")
	m.joins["n4"] = true
	m.disks["n4"] = waltest.New()
	m.start("n4", seed+30)
	m.greet()
	return m
}

// standing waits until a node stands so in its cluster.
func (m *manual) standing(id rpc.NodeID, want Standing) {
	m.t.Helper()
	for range 200 {
		if m.hub.nodes[id].Status().Standing == want {
			return
		}
		m.run(10)
		m.greet()
	}
	m.t.Fatalf("%s is no %v:\n%s", id, want, m.trail.String())
}

// A node that waits to be added says so, takes part in nothing, and after it was added gets the state and becomes a voter. It stays
// one over a restart, started as it was.
func TestJoin(t *testing.T) {
	for seed, options := range []func(*Options){nil, noLogKept} {
		m := joinGroup(t, uint64(seed), options)
		m.add(numbers(1, 200)...)
		m.run(200)
		require.True(t, m.hub.nodes["n4"].Status().Joining)
		require.Contains(t, m.trail.String(), "raftbus member add n4")
		m.change(raft.Change{Add: []rpc.Member{m.member("n4")}})
		m.standing("n4", StandingVoter)
		require.False(t, m.hub.nodes["n4"].Status().Joining)
		m.agree()
		m.crash("n4")
		m.add(7)
		m.back("n4", 90)
		m.agree()
		require.Equal(t, []rpc.NodeID{"n1", "n2", "n3", "n4"}, m.hub.nodes["n4"].Status().Members)
		m.change(raft.Change{Remove: []rpc.NodeID{"n1"}})
		m.standing("n1", StandingRemoved)
		m.add(8)
	}
}

// A node that lost its disk comes back as another instance: it is told so, and takes part again once it was replaced (D3, F23).
func TestReplaceALostDisk(t *testing.T) {
	m := newManual(t, 4, "n1", "n2", "n3")
	m.add(numbers(1, 20)...)
	lost := m.follower()
	m.crash(lost)
	m.disks[lost] = waltest.New()
	m.start(lost, 77)
	delete(m.hub.down, lost)
	m.greet()
	m.run(500)
	require.Equal(t, StandingNone, m.hub.nodes[lost].Status().Standing)
	require.Contains(t, rpc.JoinIDs(keys(m.hub.nodes[lost].Status().RefusedBy)), "n")
	m.change(raft.Change{Add: []rpc.Member{m.member(lost)}})
	m.standing(lost, StandingVoter)
	m.agree()
}

// A node that joins after other changes hears of them in the log as it catches up: it does not take itself for removed meanwhile.
func TestAJoinerIsNotTakenForRemoved(t *testing.T) {
	t.Parallel() // it shares nothing
	m := joinGroup(t, 5, nil)
	m.change(raft.Change{Remove: []rpc.NodeID{"n1"}})
	m.change(raft.Change{Add: []rpc.Member{m.member("n1")}})
	m.standing("n1", StandingVoter)
	applied := 0
	for range 40 { // more than one AppendLog holds
		require.NoError(t, m.leader().Propose(make([]byte, 10<<10), func(any, rpc.EntryID) { applied++ }))
		m.run(20)
	}
	require.Equal(t, 40, applied)
	before := strings.Count(m.trail.String(), "no member of the cluster any more")
	m.change(raft.Change{Add: []rpc.Member{m.member("n4")}})
	m.standing("n4", StandingVoter)
	require.Equal(t, before, strings.Count(m.trail.String(), "no member of the cluster any more"), m.trail.String())
}

func keys(m map[rpc.NodeID]string) []rpc.NodeID {
	var list []rpc.NodeID
	for k := range m {
		list = append(list, k)
	}
	return list
}

// Leadership goes to whom it is to go to, and whoever asked is told; requests that cannot be fulfilled are answered too (L9).
func TestTransferLeadership(t *testing.T) {
	m := newManual(t, 6, "n1", "n2", "n3")
	m.add(numbers(1, 20)...)
	old := m.leader()
	to := m.follower()
	require.ErrorIs(t, m.hub.nodes[to].TransferLeadership("", func(error) {}), ErrNotLeader)
	var answers []error
	require.NoError(t, old.TransferLeadership(to, func(err error) { answers = append(answers, err) }))
	require.NoError(t, old.TransferLeadership(to, func(err error) { answers = append(answers, err) }))
	m.run(50)
	require.Equal(t, []error{ErrBusy, nil}, answers)
	require.Equal(t, to, m.leader().id())
	m.crash(old.id())
	answers = nil
	require.NoError(t, m.leader().TransferLeadership(old.id(), func(err error) { answers = append(answers, err) }))
	m.run(50)
	require.Len(t, answers, 1)
	require.ErrorIs(t, answers[0], ErrNotTransferred)
	require.Zero(t, old.requests.Load()+m.hub.nodes[to].requests.Load(), "what was taken keeps no place")
}

// A node that was deposed, and does not learn who leads, does not have who asked wait for ever (L9).
func TestAHandOverWithoutANewLeaderIsGivenUp(t *testing.T) {
	var answers []error
	a := administration{transfer: func(err error) { answers = append(answers, err) }, left: 3}
	a.tick(2)
	require.Empty(t, answers)
	a.tick(2)
	a.tick(2)
	require.Len(t, answers, 1)
	require.ErrorIs(t, answers[0], ErrNotTransferred)
}

// Who is told that another leads finds it in the status: that is what the answer to an administrator names.
func TestWhoeverIsToldOfAHandOverSeesWhoLeads(t *testing.T) {
	m := newManual(t, 9, "n1", "n2", "n3")
	m.add(numbers(1, 20)...)
	old, to := m.leader(), m.follower()
	var leader rpc.NodeID
	require.NoError(t, old.TransferLeadership(to, func(error) { leader = old.Status().Leader }))
	m.run(50)
	require.Equal(t, to, leader)
}

// Who was deposed for a successor that fails, and is elected again, says so at once: until then its services do not listen (L2).
func TestAHandOverEndsOnceItsLeaderIsElectedAgain(t *testing.T) {
	m := newManual(t, 6, "n1", "n2", "n3")
	m.add(numbers(1, 20)...)
	old, to := m.leader(), m.follower()
	m.hub.mangle = func(msg rpc.Message) []rpc.Message {
		if vote, is := msg.Body.(*rpc.RequestVoteCommand); is && msg.From != old.id() {
			if !vote.Transfer {
				return nil // the third does not win instead
			}
			m.hub.down[to] = true // all that is heard of it any more
		}
		return []rpc.Message{msg}
	}
	var answers []error
	require.NoError(t, old.TransferLeadership(to, func(err error) { answers = append(answers, err) }))
	until := func(role raft.Role) {
		for range 2 * old.ticks().ElectionMax {
			if m.run(1); old.Status().Role == role {
				return
			}
		}
		t.Fatalf("it is no %v:\n%s", role, m.trail.String())
	}
	until(raft.Follower)
	require.Empty(t, answers, "the successor may yet win")
	until(raft.Leader)
	require.Len(t, answers, 1)
	require.ErrorIs(t, answers[0], ErrNotTransferred)
	require.ErrorContains(t, answers[0], "elected again")
}

// What is proposed while leadership is handed over, by a leader that still takes proposals, is known not to be logged: whoever asked is told at
// once, and does not wait in vain.
func TestAProposalDuringAHandOverIsAnswered(t *testing.T) {
	m := newManual(t, 7, "n1", "n2", "n3")
	m.add(numbers(1, 20)...)
	old, to := m.leader(), m.follower()
	var answers []any
	require.NoError(t, old.TransferLeadership(to, func(error) {}))
	turn := func() {
		_, err := m.steps[old.id()].Turn(0)
		require.NoError(t, err)
	}
	turn()
	for range 2 {
		require.NoError(t, old.Propose(make([]byte, 8), func(result any, at rpc.EntryID) { answers = append(answers, result, at) }))
		turn()
	}
	require.Equal(t, []any{ErrBusy, rpc.EntryID{}, ErrBusy, rpc.EntryID{}}, answers)
	require.Zero(t, old.waiters.bytes, "what it had reserved is given back")
	m.run(50)
	require.Equal(t, to, m.leader().id())
}

// What was accepted by a leader that steps down before it is logged takes no place any more, and nobody is answered: with that it could not be
// told from what an earlier leader logged (L9).
func TestAProposalOfADeposedLeaderTakesNoPlace(t *testing.T) {
	m := newManual(t, 7, "n1", "n2", "n3")
	leader := m.leader()
	m.run(20)
	require.Zero(t, leader.waiters.waiting())
	require.NoError(t, leader.Propose(make([]byte, 8), func(any, rpc.EntryID) { t.Error("it is answered") }))
	require.True(t, leader.inbox.call(leader.stepDown))
	_, err := m.steps[leader.id()].Turn(0)
	require.NoError(t, err)
	require.NotEqual(t, raft.Leader, leader.Status().Role)
	require.Zero(t, leader.waiters.waiting())
	require.Zero(t, leader.waiters.bytes)
}

// That another leads than who was to is no success.
func TestAHandOverToAnotherIsTold(t *testing.T) {
	for leads, want := range map[rpc.NodeID]error{"n2": nil, "n3": ErrNotTransferred} {
		err := io.EOF
		a := administration{transfer: func(e error) { err = e }, to: "n2", in: 3}
		a.hear([]raft.Fact{raft.LeaderChanged{Leader: "n1", Term: 3}, raft.LeaderChanged{Term: 4}}, "n1") // it may be asked in the turn that elected it
		require.Equal(t, io.EOF, err)
		a.hear([]raft.Fact{raft.LeaderChanged{Leader: leads, Term: 4}}, "n1")
		require.ErrorIs(t, err, want)
	}
}

// Whoever asked for a change is answered also when the leader is cut off before it is through, or stops, of itself or because it has to.
func TestChangeIsAnsweredByADeposedLeader(t *testing.T) {
	for _, end := range []string{"cut off", "stopped", "aborted"} {
		m := joinGroup(t, 8, nil)
		m.add(1)
		m.run(100)
		leader := m.leader()
		for _, id := range m.ids {
			m.hub.down[id] = id != leader.id()
		}
		var answers []error
		ask := func() error {
			return leader.Reconfigure(raft.Change{Add: []rpc.Member{m.member("n4")}}, func(_ rpc.EntryID, err error) { answers = append(answers, err) })
		}
		require.NoError(t, ask())
		m.run(1)
		require.Empty(t, answers)
		require.NoError(t, ask())
		switch end {
		case "stopped":
			require.NoError(t, m.steps[leader.id()].Stop())
		case "aborted":
			leader.Abort(io.EOF)
			leader.Abort(io.ErrClosedPipe) // what comes of the first is not why
			_, err := m.steps[leader.id()].Turn(0)
			require.ErrorIs(t, err, io.EOF)
		default:
			m.run(300)
		}
		require.Len(t, answers, 2)
		require.ErrorIs(t, ask(), ErrNotLeader)
	}
}

// What a leader knows of its peers is seen soon after they answered, also while nothing else changes.
func TestALeadersViewIsFresh(t *testing.T) {
	m := newManual(t, 3, "n1", "n2", "n3")
	m.add(numbers(1, 50)...)
	m.run(200)
	s := m.leader().Status()
	require.Len(t, s.Peers, 2)
	for _, p := range s.Peers {
		require.True(t, p.Connected)
		require.Equal(t, s.Last, p.Match, p.ID)
	}
}

// Who asked for a hand-over hears that the node has ended.
func TestAHandOverEndsWithItsNode(t *testing.T) { // L9
	var told error
	a := administration{transfer: func(err error) { told = err }}
	a.end()
	require.ErrorIs(t, told, ErrStopped)
}

// A change of members is given the cluster's time, as all entries are, and from then on the clocks of those count that are members now (F24).
func TestAChangeOfMembersGoesByTheirClocks(t *testing.T) {
	m := newManual(t, 1, "n1", "n2", "n3", "n4")
	m.add(1)
	leader := m.leader()
	others := m.rest(leader.id())
	for i, id := range others {
		leader.clock.hear(id, m.now.Add(time.Duration(i+1)*time.Hour).UnixNano(), m.now)
	}
	ahead := func(at int64) time.Duration { return time.Unix(0, at).Sub(m.now).Round(time.Hour) }
	var changed rpc.EntryID
	require.NoError(t, leader.Reconfigure(raft.Change{Remove: others[:1]}, func(id rpc.EntryID, err error) {
		require.NoError(t, err)
		changed = id
	}))
	for range 1000 {
		if m.run(1); changed.Index > 0 {
			break
		}
	}
	entry, err := m.logs[leader.id()].Header(0, changed.Index)
	require.NoError(t, err)
	require.Equal(t, time.Hour, ahead(entry.Time), "of four the earlier one of the two in the middle")
	require.Equal(t, 2*time.Hour, ahead(leader.clusterTime(m.now)), "of the three that are left")
}

// Whose request ended the loop hears that too.
func TestWhoAskedInTheLastTurnIsAnswered(t *testing.T) {
	var heard error
	a := administration{asked: map[uint64]func(rpc.EntryID, error){1: func(_ rpc.EntryID, err error) { heard = err }}}
	a.end()
	require.ErrorIs(t, heard, ErrUnknown)
	require.Empty(t, a.asked)
}
