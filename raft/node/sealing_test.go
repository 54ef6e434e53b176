package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// meet has two nodes hear each other.
func (m *manual) meet(a, b rpc.NodeID) {
	for _, pair := range [][2]rpc.NodeID{{a, b}, {b, a}} {
		m.hub.nodes[pair[0]].Bus(true)
		m.hub.nodes[pair[0]].Link(pair[1], true, nil)
		_ = client{port: port{m.hub, pair[0]}, peer: pair[1]}.Ping()
	}
	m.run(5)
}

// cutOnly has nothing pass between these pairs, and all else.
func (m *manual) cutOnly(pairs ...[2]rpc.NodeID) {
	m.hub.cut = func(a, b rpc.NodeID) bool {
		for _, p := range pairs {
			if p == [2]rpc.NodeID{a, b} {
				return true
			}
		}
		return false
	}
}

// wipe takes a node's disk away, and starts it anew.
func (m *manual) wipe(id rpc.NodeID, seed uint64) {
	m.crash(id)
	m.disks[id] = waltest.New()
	m.start(id, seed)
	delete(m.hub.down, id)
}

// boots are how far the first boots of all nodes are, in order of id.
func (m *manual) boots() (list []string) {
	for _, id := range m.ids {
		list = append(list, m.hub.nodes[id].Status().FirstBoot)
	}
	return list
}

// nobodyServes holds that no node is in a term, by its disk, and that none has a log.
func (m *manual) nobodyServes() {
	m.t.Helper()
	for _, id := range m.ids {
		st := m.logs[id].State(0)
		require.Zero(m.t, st.HardState, id)
		require.Zero(m.t, st.Last, id)
		require.Equal(m.t, StandingNone, m.hub.nodes[id].Status().Standing, id)
	}
}

// founding is three nodes of which n1 and n3 hold a table, and n2, which has heard n1 once, waits for n3.
func founding(t *testing.T) *manual {
	m := newStrangers(t, 11, nil, "n1", "n2", "n3")
	m.meet("n1", "n2")
	m.cutOnly([2]rpc.NodeID{"n1", "n2"}, [2]rpc.NodeID{"n2", "n3"})
	m.meet("n1", "n3")
	require.Equal(t, []string{FirstBootSealing, FirstBootGathering, FirstBootSealing}, m.boots())
	return m
}

// While n2 does not hold the table of n1 and n3, those two are a majority and yet commit nothing. So nothing is lost when n3's disk is
// wiped, and n2 makes another table with the new n3: that one is never sealed, since n1 has its own (the simulator's S8; F23, F27, D3).
func TestS8NobodyServesBeforeAllHoldTheTable(t *testing.T) {
	m := founding(t)
	m.run(1000)
	m.nobodyServes()
	require.Equal(t, []rpc.NodeID{"n2"}, m.hub.nodes["n1"].Status().WaitingFor)
	require.Contains(t, m.trail.String(), "waiting for members to hold it too")

	m.wipe("n3", 50)
	m.cutOnly([2]rpc.NodeID{"n1", "n2"}, [2]rpc.NodeID{"n1", "n3"})
	m.meet("n2", "n3")
	require.Equal(t, []string{FirstBootSealing, FirstBootSealing, FirstBootSealing}, m.boots())
	require.NotEqual(t, m.hub.nodes["n1"].Status().Cluster, m.hub.nodes["n2"].Status().Cluster, "two tables")
	m.run(1000)
	m.cutOnly()
	m.greet()
	m.run(1000)
	m.nobodyServes()

	for i, id := range m.ids { // the remedy
		m.wipe(id, uint64(60+i))
	}
	m.greet()
	m.add(1, 2, 3)
}

// The list of members that a node was told of is held against the table at once, not only once that is sealed.
func TestTableOfOtherMembers(t *testing.T) {
	m := founding(t)
	m.crash("n1")
	m.ids = []rpc.NodeID{"n1", "n3"}
	require.ErrorIs(t, m.tryStart("n1", 50), ErrOtherMembers)
}

// Who has said that it holds the table is not started again without it: the log is to be put back (D3).
func TestWhoHeldTheTableHasALog(t *testing.T) {
	m := founding(t)
	m.crash("n1")
	require.NoError(t, m.disks["n1"].RemoveAll(m.folders["n1"].Path("wal")))
	require.ErrorContains(t, m.tryStart("n1", 50), "put it back")
}

// A member whose disk was lost after it had said that it holds the table keeps nobody: all held it, so nobody can make another.
func TestS8WipedOnceAllHold(t *testing.T) {
	m := founding(t)
	m.cutOnly([2]rpc.NodeID{"n2", "n3"})
	m.meet("n1", "n2") // n1 has heard all, n2 and n3 have not
	m.wipe("n3", 50)
	m.meet("n1", "n3")
	m.meet("n1", "n2")
	m.add(1, 2)
	require.Equal(t, FirstBootGathering, m.hub.nodes["n3"].Status().FirstBoot)
	require.Contains(t, m.hub.nodes["n3"].Status().RefusedBy["n1"], "replace the member")
	m.cutOnly()
	m.change(raft.Change{Add: []rpc.Member{m.member("n3")}})
	m.standing("n3", StandingVoter)
}

// Whoever is in a term proves that all hold the table: by a ping, by a message of consensus, or by a later configuration.
func TestS8OneThatIsSealedIsEnough(t *testing.T) {
	m := founding(t)
	m.cutOnly([2]rpc.NodeID{"n2", "n3"})
	m.meet("n1", "n2")
	m.run(500)
	require.Equal(t, []string{"", "", ""}, m.boots(), m.trail.String())
	require.True(t, m.hub.nodes["n1"].Status().Founded)
	m.crash("n1")
	m.start("n1", 51)
	require.False(t, m.hub.nodes["n1"].Status().Founded, "that was in an earlier run")
	delete(m.hub.down, "n1")

	table := rpc.Configuration{Voters: memberOf("n1", "n2", "n3")}
	answer := busclient.Pinged{Peer: "n2", Instance: instance("n2"), Cluster: table.ClusterID(), Term: 1}
	for what, proof := range map[string]struct {
		proves bool
		by     func(*sealing)
	}{
		"a ping in a term":              {true, func(s *sealing) { s.hear(answer) }},
		"of another cluster":            {false, func(s *sealing) { p := answer; p.Cluster[0]++; s.hear(p) }},
		"from another folder":           {false, func(s *sealing) { p := answer; p.Instance[0]++; s.hear(p) }},
		"that refuses":                  {false, func(s *sealing) { p := answer; p.Refusal = "no"; s.hear(p) }},
		"that holds the table only":     {false, func(s *sealing) { p := answer; p.Term = 0; s.hear(p) }},
		"without a table":               {false, func(s *sealing) { s.hear(busclient.Pinged{Peer: "n2", Instance: instance("n2")}) }},
		"a message":                     {true, func(s *sealing) { s.receive(&rpc.Message{From: "n3", Instance: instance("n3"), Term: 1}) }},
		"a message from another folder": {false, func(s *sealing) { s.receive(&rpc.Message{From: "n3", Instance: instance("x"), Term: 1}) }},
		"a message of who is no member": {false, func(s *sealing) { s.receive(&rpc.Message{From: "n4", Instance: instance("n4"), Term: 1}) }},
		"a configuration":               {true, func(s *sealing) { s.learn(learned{s.cluster, later(7, memberOf("n4", "n1"))}) }},
		"the table itself":              {false, func(s *sealing) { s.learn(learned{s.cluster, table}) }},
		"a configuration of other members": {false, func(s *sealing) {
			s.learn(learned{rpc.ClusterID{9}, rpc.Configuration{Cluster: rpc.ClusterID{9}, Index: 3}})
		}},
	} {
		s := newSealing("n1", table)
		proof.by(s)
		require.Equal(t, proof.proves, len(s.waitingFor()) == 0, what)
	}

	s, refusing := newSealing("n1", table), answer
	refusing.Refusal = "no"
	s.hear(refusing)
	require.Contains(t, s.refused, rpc.NodeID("n2"))
	s.hear(answer)
	require.Empty(t, s.refused, "no longer")
}

// Who had refused a node whose first boot is through is not said to refuse it for ever.
func TestAfterAFirstBootNobodyIsSaidToRefuse(t *testing.T) {
	m := founding(t)
	n := m.hub.nodes["n1"]
	n.Pinged(busclient.Pinged{Peer: "n2", Err: busclient.ErrRefused, Refusal: "no"})
	m.run(1)
	require.Contains(t, n.Status().RefusedBy, rpc.NodeID("n2"))
	calls := 0
	n.inbox.call(func() { calls++ })
	n.Receive(rpc.Message{From: "n3", Instance: m.hub.nodes["n3"].instance(), To: "n1", Term: 1, Body: &rpc.HeartbeatCommand{}})
	m.run(1)
	require.Empty(t, n.Status().FirstBoot)
	require.Empty(t, n.Status().RefusedBy)
	require.Equal(t, 1, calls, "what was asked for in that turn is done once")
}

// Which logs were part of a cluster whose first boot is through, those of earlier builds too, which left no term for it.
func TestS8LogsThatAreSealed(t *testing.T) {
	table, changed := rpc.Configuration{Voters: memberOf("n1", "n2")}, later(4, memberOf("n1"))
	require.False(t, sealed(&wal.State{HasBase: true}, &table))
	require.True(t, sealed(&wal.State{HasBase: true, HardState: rpc.HardState{Term: 1}}, &table))
	require.True(t, sealed(&wal.State{HasBase: true, Last: rpc.EntryID{Index: 1, Term: 1}}, &table))
	require.True(t, sealed(&wal.State{HasBase: true}, &changed), "one that has joined")
}

// A power loss at any operation of n1's disk during a first boot: at no moment is anybody in a term before the disks of all hold the
// table, and once n1 is back the first boot ends (F15, K54).
func TestS8CrashAnywhereInAFirstBoot(t *testing.T) {
	for k := 1; ; k++ {
		m := newStrangers(t, uint64(k), nil, "n1", "n2", "n3")
		left, fired := k, false
		m.disks["n1"].Hook(func(waltest.Op) error {
			if left--; left > 0 {
				return nil
			}
			fired = true
			return errPower
		})
		m.greet()
		for range 200 {
			m.runOthers("n1")
			if _, err := m.steps["n1"].Turn(1); err != nil {
				break
			}
		}
		m.heldByAll()
		if !fired {
			require.Greater(t, k, 5, "the first boot writes")
			return
		}
		m.disks["n1"].Hook(nil)
		m.crash("n1")
		m.back("n1", uint64(100+k))
		m.heldByAll()
		m.add(1)
	}
}

// runOthers has a tick pass for all but one.
func (m *manual) runOthers(not rpc.NodeID) {
	s := m.steps[not]
	m.steps[not] = nil
	m.run(1)
	m.steps[not] = s
}

// heldByAll holds that nobody is in a term unless all logs have the same base.
func (m *manual) heldByAll() {
	m.t.Helper()
	some := false
	for _, id := range m.ids {
		some = some || m.logs[id].State(0).HardState.Term > 0
	}
	for _, id := range m.ids {
		require.True(m.t, !some || m.logs[id].State(0).HasBase, id)
	}
}

// A node that is all of its cluster founds none before the bus stands: whoever starts the bus looks first who is there (F14; the
// simulator's S6).
func TestS6NoFoundingWithoutTheBus(t *testing.T) {
	m := newStrangers(t, 1, nil, "n1")
	m.run(100)
	m.nobodyServes()
	require.False(t, m.logs["n1"].State(0).HasBase, "the folder can still be one that joins")
	m.hub.nodes["n1"].Bus(true)
	m.add(1)
}
