package busclient

// Which start of a peer counts (I12, F13, F23, Q10): the newest that has answered this node, and no other.

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// speak has a message arrive at n1 that says to be of n2 in that start.
func (s *simulation) speak(t *testing.T, method rpc.Method, boot rpc.BootEpoch, body rpc.Body) {
	h := rpc.Header{Cluster: theCluster, From: "n2", To: "n1", Instance: instanceOf("n2"), Boot: boot, Term: 9, Round: 1}
	mouth := &simConn{bus: s.bus, up: true}
	require.NoError(t, mouth.Publish(requestSubject("raftbus", "n1", "n2", method), returnsTo("raftbus", "n2", "n1")+"x.1", rpc.Append(nil, &h, body, nil)))
	s.arriveAll()
}

func (s *simulation) arriveAll() {
	for s.bus.deliver() {
	}
}

// Without a cluster key anybody whom NATS lets speak as n2 may name any start: the process that runs is not shut out by that.
func TestNoForgedOrDelayedMessageShutsOutTheRealProcess(t *testing.T) {
	sim := connectedSimulation(t)
	n1, real := sim.nodes[0], sim.nodes[1].self
	require.Contains(t, n1.proven(), real)
	proven := len(n1.proven())
	for method, body := range map[rpc.Method]rpc.Body{
		rpc.MethodHeartbeat: &rpc.HeartbeatCommand{}, rpc.MethodRequestVote: &rpc.RequestVoteCommand{}, rpc.MethodAppendLog: &rpc.AppendLogCommand{},
		rpc.MethodPing: &rpc.PingCommand{SenderID: "n2"}, rpc.MethodPingBulk: &rpc.PingCommand{SenderID: "n2"},
	} {
		before := n1.Drops()["unproven start"]
		sim.speak(t, method, epoch(1000, 5), body)
		require.Empty(t, n1.messages(), method)
		_, isPing := body.(*rpc.PingCommand)
		require.Equal(t, !isPing, n1.Drops()["unproven start"] == before+1, method)
		sim.run(time.Second, func() {})
		require.True(t, sim.connected(), "%s: nobody is shut out, and no link breaks", method)
		require.Len(t, n1.proven(), proven, method)
		sim.speak(t, rpc.MethodHeartbeat, real.Boot, &rpc.HeartbeatCommand{})
		require.Len(t, n1.messages(), 1, "%s: the real one is heard", method)
		n1.received = nil
	}
}

// An answer nobody asked for proves nothing, nor does one to a question that was answered, or came on the other connection.
func TestOnlyAnAnswerToAQuestionProvesAStart(t *testing.T) {
	sim := connectedSimulation(t)
	n1, n2 := sim.nodes[0], sim.nodes[1]
	proven := len(n1.proven())
	replies := n1.openHeartbeat(t, "n2")
	round := n1.lastRound.Load()
	answer := func(p path, boot rpc.BootEpoch, round uint64, body rpc.Body) {
		h := rpc.Header{Cluster: theCluster, From: "n2", To: "n1", Instance: instanceOf("n2"), Boot: boot, Round: round}
		subject := fmt.Sprint(returnsTo("raftbus", "n1", "n2"), n1.nonces[p], ".", round)
		require.NoError(t, (&simConn{bus: sim.bus, up: true}).Publish(subject, "", rpc.Append(nil, &h, body, nil)))
	}
	sim.bus.flying = nil // n2 never hears of it
	answer(control, epoch(5, 5), round+7, &rpc.HeartbeatReturn{})
	answer(control, epoch(5, 5), round+7, &rpc.PingReturn{SenderID: "n2"})
	answer(bulk, epoch(5, 5), round, &rpc.HeartbeatReturn{})
	answer(control, epoch(5, 5), round, &rpc.AppendLogReturn{})
	sim.arriveAll()
	require.Empty(t, *replies)
	require.Len(t, n1.proven(), proven)
	require.Equal(t, uint64(n2.self.Boot), n1.roster.Load().members["n2"].boot.Load())

	answer(control, epoch(5, 5), round, &rpc.HeartbeatReturn{})
	sim.arriveAll()
	require.Empty(t, *replies, "only a ping asks whether the folder knows the start before")
	require.Len(t, n1.proven(), proven)
	answer(control, n2.self.Boot, round, &rpc.HeartbeatReturn{})
	sim.arriveAll()
	require.Len(t, *replies, 1)
}

// F28: a member that was started anew may be of an older release, and may be heard before the link to it is lost: what the earlier process
// said of itself counts no more.
func TestWhatAnEarlierProcessKnewIsForgotten(t *testing.T) {
	sim := connectedSimulation(t)
	n1 := sim.nodes[0]
	c, err := n1.client("n2")
	require.NoError(t, err)
	for name, comes := range map[string]func(){
		"a command": func() { sim.speak(t, rpc.MethodHeartbeat, epoch(5, 5), &rpc.HeartbeatCommand{}) },
		"an answer": func() {
			n1.openHeartbeat(t, "n2")
			sim.bus.flying = nil
			h := rpc.Header{Cluster: theCluster, From: "n2", To: "n1", Instance: instanceOf("n2"), Boot: epoch(5, 5), Round: n1.lastRound.Load()}
			subject := fmt.Sprint(returnsTo("raftbus", "n1", "n2"), n1.nonces[control], ".", h.Round)
			require.NoError(t, (&simConn{bus: sim.bus, up: true}).Publish(subject, "", rpc.Append(nil, &h, &rpc.HeartbeatReturn{}, nil)))
			sim.arriveAll()
		},
	} {
		c.commands.Store(3)
		comes()
		require.True(t, sim.connected(), name)
		require.Zero(t, n1.Links()[0].Commands, name)
	}
}

// F23: an old copy of a folder counts its own starts on, but does not know those of the folder it took the place of: it is refused,
// and told, however often it is started. A folder that knows them is let in.
func TestAnOldCopyIsToldHoweverOftenItIsStarted(t *testing.T) {
	for name, c := range map[string]struct {
		earlier []rpc.BootEpoch
		refused bool
	}{
		"the folder itself":         {[]rpc.BootEpoch{epoch(1, 1), epoch(2, 8)}, false},
		"an old copy":               {[]rpc.BootEpoch{epoch(1, 99), epoch(2, 8)}, true},
		"started too often to tell": {[]rpc.BootEpoch{epoch(2, 8)}, false},
	} {
		sim := connectedSimulation(t)
		n1, n2 := sim.nodes[0], sim.nodes[1]
		n2.self.Boot, n2.earlier = epoch(3, 9), c.earlier
		for range 3 {
			sim.speak(t, rpc.MethodHeartbeat, n2.self.Boot, &rpc.HeartbeatCommand{})
			sim.run(time.Second, func() {})
		}
		sim.speak(t, rpc.MethodHeartbeat, n2.self.Boot, &rpc.HeartbeatCommand{})
		require.Equal(t, c.refused, len(n1.messages()) == 0, name)
		require.Equal(t, c.refused, n1.proven()[len(n1.proven())-1] != n2.self, name)
		if c.refused {
			require.Contains(t, n1.Links()[0].Refusal, "old backup", name)
			p, _ := n2.lastPing("n1")
			require.Contains(t, p.Refusal, "old backup", "%s: it is told", name)
			require.True(t, p.Outdated, "%s: and knows it for certain", name)
		}
	}
}

// A folder that is no old copy is not called one: not after starts of its own, not by a peer that knows of a start which it kept, and not
// by another cluster.
func TestWhoRemembersItsStartsIsNotOutdated(t *testing.T) {
	sim := connectedSimulation(t)
	n1, n2 := sim.nodes[0], sim.nodes[1]
	n2.earlier, n2.self.Boot = []rpc.BootEpoch{n2.self.Boot}, epoch(2, 9)
	sim.run(3*time.Second, func() {})
	require.Contains(t, n1.proven(), n2.self)
	for _, n := range sim.nodes {
		for _, p := range n.pings() {
			require.False(t, p.Outdated)
		}
	}
	n2.self.Boot, n2.earlier = epoch(2, 8), nil
	n2.roster.Load().cluster = rpc.ClusterID{9}
	before := len(n2.pings())
	sim.run(3*time.Second, func() {})
	require.Greater(t, len(n2.pings()), before)
	for _, p := range n2.pings()[before:] {
		require.False(t, p.Outdated)
	}
}

// A member whose disk is new is told which starts of the others the members know, so that it refuses an old copy which it never met (the
// simulator's S15). Nobody's word counts where it has proof of its own.
func TestANewDiskLearnsOfOldCopies(t *testing.T) {
	for name, c := range map[string]struct {
		known []Identity // to n1
		drop  string     // of n2's word in its start 1
	}{
		"nothing of its own": {nil, "earlier life"},
		"proof of its own":   {[]Identity{{"n2", instanceOf("n2"), epoch(1, 1)}}, ""},
	} {
		sim := simulate(t, t, 1)
		n1 := sim.addWith(t, configOf(t, "n1", nil), Identity{"n1", instanceOf("n1"), epoch(2, 1)}, c.known)
		n3 := sim.addWith(t, configOf(t, "n3", nil), Identity{"n3", instanceOf("n3"), epoch(2, 1)}, []Identity{{"n2", instanceOf("n2"), epoch(7, 7)}})
		sim.nodes, sim.bus.conns = []*simNode{n1, n3}, sim.bus.conns[len(sim.bus.conns)-2*int(paths):]
		for _, n := range sim.nodes {
			n.conf = confAt(9, tableOf(members...)...)
			n.Admit(theCluster, tableOf(members...))
		}
		sim.setAll(true)
		sim.run(time.Second, func() {})
		require.Equal(t, "connected", n1.Links()[1].State, name)
		sim.speak(t, rpc.MethodHeartbeat, epoch(1, 1), &rpc.HeartbeatCommand{})
		require.Equal(t, c.drop == "", len(n1.messages()) == 1, name)
		require.Equal(t, c.drop == "", n1.Drops()["earlier life"] == 0, name)
	}
}

// A peer that was started anew is asked as soon as it speaks, on a link that never broke too, and then its word counts.
func TestAStartIsProvenAtOnce(t *testing.T) {
	sim := connectedSimulation(t)
	n1, n2 := sim.nodes[0], sim.nodes[1]
	n2.self.Boot = epoch(2, 9) // so quick that no ping failed
	sim.speak(t, rpc.MethodHeartbeat, n2.self.Boot, &rpc.HeartbeatCommand{})
	require.Empty(t, n1.messages())
	sim.run(2*time.Millisecond, func() {})
	require.Equal(t, n2.self, n1.proven()[len(n1.proven())-1])
	sim.speak(t, rpc.MethodHeartbeat, n2.self.Boot, &rpc.HeartbeatCommand{})
	require.Len(t, n1.messages(), 1)
	sim.speak(t, rpc.MethodHeartbeat, epoch(1, 1), &rpc.HeartbeatCommand{})
	require.Len(t, n1.messages(), 1, "and that of the life before does not")
	require.Equal(t, uint64(1), n1.Drops()["earlier life"])
	require.True(t, sim.connected())
}

// A peer that comes back, started anew, is connected as soon as it speaks: that its start must be proven delays nothing. The same
// with real time is TestAMessageMendsALinkAtOnce.
func TestProvingAStartDelaysNoLink(t *testing.T) {
	sim := connectedSimulation(t)
	n1, n2 := sim.nodes[0], sim.nodes[1]
	for _, conn := range n2.conns {
		conn.set(false)
	}
	sim.kick()
	sim.run(3*time.Second, func() {})
	require.Equal(t, "broken", n1.Links()[0].State)
	n2.self.Boot = epoch(2, 9)
	for _, conn := range n2.conns {
		conn.set(true)
	}
	sim.kick()
	back := sim.bus.now
	sim.run(heardProbePause+2*time.Millisecond, func() {})
	require.Equal(t, "connected", n1.Links()[0].State)
	require.LessOrEqual(t, n1.Links()[0].Since.Sub(back), heardProbePause+time.Millisecond)
	require.Equal(t, n2.self, n1.proven()[len(n1.proven())-1])
}

// Whoever speaks in a peer's name causes few pings, however much is said.
func TestDoubtsCauseFewPings(t *testing.T) {
	sim := connectedSimulation(t)
	n1 := sim.nodes[0]
	rounds := n1.lastRound.Load()
	for range 1000 {
		sim.speak(t, rpc.MethodHeartbeat, epoch(9, 9), &rpc.HeartbeatCommand{})
		n1.Turn(sim.bus.now)
		sim.bus.now = sim.bus.now.Add(10 * time.Microsecond)
	}
	require.LessOrEqual(t, n1.lastRound.Load()-rounds, uint64(1+2*2), "one, and those of the interval")
}

// F23: what was proven in an earlier life of this node counts in the next: an old backup is refused at the first word, and who
// was not started anew is heard at once.
func TestStartsOutliveThisNode(t *testing.T) {
	for _, c := range []struct {
		name  string
		known Identity
		drop  string // of n2's word in its start 1; empty: it is heard
	}{
		{"the same start", Identity{"n2", instanceOf("n2"), epoch(1, 1)}, ""},
		{"a later start", Identity{"n2", instanceOf("n2"), epoch(2, 5)}, "earlier life"},
		{"another process", Identity{"n2", instanceOf("n2"), epoch(1, 2)}, "copied folder"},
		{"another instance", Identity{"n2", again("n2").Instance, epoch(2, 5)}, "unproven start"},
		{"another node", Identity{"n3", instanceOf("n2"), epoch(2, 5)}, "unproven start"},
	} {
		sim := simulate(t, t, 1)
		n1 := sim.addWith(t, configOf(t, "n1", nil), Identity{"n1", instanceOf("n1"), epoch(2, 1)}, []Identity{c.known})
		sim.nodes = []*simNode{n1, sim.nodes[1], sim.nodes[2]}
		sim.bus.conns = sim.bus.conns[2:] // the life before
		n1.Admit(theCluster, tableOf(members...))
		for _, conn := range n1.conns {
			conn.set(true)
		}
		sim.speak(t, rpc.MethodHeartbeat, epoch(1, 1), &rpc.HeartbeatCommand{})
		require.Equal(t, c.drop == "", len(n1.messages()) == 1, c.name)
		if c.drop != "" {
			require.Equal(t, uint64(1), n1.Drops()[c.drop], c.name)
		}
		sim.setAll(true)
		sim.run(time.Second, func() {})
		refused := c.drop == "earlier life" || c.drop == "copied folder"
		require.Equal(t, !refused, n1.Links()[0].State == "connected", c.name)
		require.Equal(t, c.drop == "earlier life", n1.Links()[0].Refusal != "", "%s: of two processes with one start, the second is not listened to", c.name)
		if refused {
			p, _ := sim.nodes[1].lastPing("n1")
			require.NotEmpty(t, p.Refusal, "%s: it is told", c.name)
		}
	}
}

// What was proven before there was a table counts when there is one.
func TestAStartProvenBeforeTheTableCounts(t *testing.T) {
	sim := &simulation{bus: simulate(t, t, 1).bus}
	sim.bus.conns = nil
	n1 := sim.add(t, configOf(t, "n1", nil), Identity{"n1", instanceOf("n1"), epoch(1, 1)})
	n2 := sim.add(t, configOf(t, "n2", nil), Identity{"n2", instanceOf("n2"), epoch(4, 4)})
	sim.setAll(true)
	sim.run(time.Second, func() {})
	require.Equal(t, []Identity{n2.self}, n1.proven())
	n1.Admit(theCluster, tableOf(members...))
	sim.speak(t, rpc.MethodHeartbeat, epoch(4, 4), &rpc.HeartbeatCommand{})
	require.Len(t, n1.messages(), 1)
}

func TestWhatIsRememberedOfStartsIsBounded(t *testing.T) {
	s := newStarts(nil)
	for i := range 2 * startsMax {
		require.Equal(t, i < startsMax, s.note(Identity{rpc.NodeID(fmt.Sprint(i)), instanceOf("x"), epoch(1, 1)}))
	}
	require.True(t, s.note(Identity{"0", instanceOf("x"), epoch(2, 1)}), "what is known goes on being kept")
	require.Len(t, s.newest, startsMax)
}

// There is room left as they are forgotten, else what members say until the table changes next is not kept.
func TestF23RoomIsMadeWhileThereIsSome(t *testing.T) {
	s := newStarts(nil)
	stranger := func(i int) Identity { return Identity{rpc.NodeID(fmt.Sprint(i)), instanceOf("x"), epoch(1, 1)} }
	for i := range startsMax/2 - 1 {
		s.note(stranger(i))
	}
	s.makeRoom(tableOf(members...))
	require.Len(t, s.newest, startsMax/2-1)
	s.note(stranger(startsMax))
	s.makeRoom(tableOf(members...))
	require.Empty(t, s.newest)
}

// Once much is remembered of instances that are no members, it makes room for what members say next (F23); until then what was proven outlives the table.
func TestF23ThoseThatAreNoMembersMakeRoom(t *testing.T) {
	sim := &simulation{bus: simulate(t, t, 1).bus}
	sim.bus.conns = nil
	n1 := sim.add(t, configOf(t, "n1", nil), Identity{"n1", instanceOf("n1"), epoch(1, 1)})
	stranger := func(i int) Identity { return Identity{rpc.NodeID(fmt.Sprint(i)), instanceOf("x"), epoch(1, 1)} }
	admitted := func() { n1.Admit(theCluster, tableOf("n1", "n2")) }
	n1.believe(stranger(0))
	admitted()
	require.NotZero(t, n1.starts.of(rpc.Member{ID: "0", Instance: instanceOf("x")}))
	for i := range startsMax {
		n1.believe(stranger(i))
	}
	n2 := Identity{"n2", instanceOf("n2"), epoch(4, 4)}
	n1.believe(n2)
	require.NotContains(t, n1.proven(), n2)
	admitted()
	n1.believe(n2)
	require.Contains(t, n1.proven(), n2)
}
