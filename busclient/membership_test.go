package busclient

// Members come, go and are replaced (I11, I12, K40, F23, F27): who is listened to then, and what is learned from whom.

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
)

// theCluster is the id of the cluster of most tests.
var theCluster = rpc.ClusterIDOf(tableOf(members...))

// confAt is a configuration of it.
func confAt(index rpc.Index, voters ...rpc.Member) *rpc.Configuration {
	return &rpc.Configuration{Cluster: theCluster, Index: index, Voters: voters}
}

// again is a member's id with another data folder.
func again(id rpc.NodeID) rpc.Member {
	m := rpc.Member{ID: id, Instance: instanceOf(id)}
	m.Instance[15] = 1
	return m
}

// connectedSimulation is three members that are connected.
func connectedSimulation(t *testing.T) *simulation {
	sim := simulate(t, t, 1)
	sim.setAll(true)
	sim.settle(t)
	return sim
}

func (s *simulation) settle(t *testing.T) {
	t.Helper()
	s.kick()
	s.run(time.Second, func() {})
	require.True(t, s.connected())
}

func (s *simulation) joiner(t *testing.T, id rpc.NodeID) *simNode {
	cfg, err := config.Validate(config.Config{NodeID: id, Join: true})
	require.NoError(t, err)
	n := s.add(t, cfg, Identity{id, instanceOf(id), epoch(1, 44)})
	for p := range paths {
		n.conns[p].set(true)
	}
	return n
}

// follow has a node do what its owner does with news: it admits the members of the configuration, and knows it from then on.
func (n *simNode) follow() {
	n.onLearn = func(cluster rpc.ClusterID, conf rpc.Configuration) {
		n.conf = &conf
		n.Admit(cluster, conf.Members())
	}
}

// openHeartbeat calls, and returns where the outcome goes.
func (n *simNode) openHeartbeat(t *testing.T, to rpc.NodeID) *[]rpc.Reply[*rpc.HeartbeatReturn] {
	replies := &[]rpc.Reply[*rpc.HeartbeatReturn]{}
	require.NoError(t, n.Using(to, func(c IRaftClient) {
		require.NoError(t, c.Heartbeat(1, &rpc.HeartbeatCommand{}, func(r rpc.Reply[*rpc.HeartbeatReturn]) { *replies = append(*replies, r) }))
	}))
	return replies
}

// A member that is another instance now is a new peer: what was open to the old one ends, and the link begins broken.
func TestAMemberThatIsAnotherInstanceIsANewPeer(t *testing.T) {
	sim := connectedSimulation(t)
	n := sim.nodes[0]
	replies := n.openHeartbeat(t, "n2")
	require.Equal(t, instanceOf("n2"), sim.nodes[0].roster.Load().members["n2"].instance)
	changes := len(n.changes())

	told := toldKey{"n2", otherInstance} // of another, when it was not this one yet
	n.drops.told[told] = true

	n.Admit(theCluster, []rpc.Member{{ID: "n1", Instance: instanceOf("n1")}, again("n2"), {ID: "n3", Instance: instanceOf("n3")}})
	require.False(t, n.drops.told[told], "what is wrong with it is news again")
	require.Len(t, *replies, 1)
	require.ErrorIs(t, (*replies)[0].Err, ErrReplaced)
	require.Equal(t, "broken", n.Links()[0].State)
	require.Equal(t, "connected", n.Links()[1].State, "the others are not touched")
	n.Turn(sim.bus.now)
	require.Equal(t, []linkChange{{"n2", false, ErrReplaced}}, n.changes()[changes:])

	sim.run(time.Second, func() {})
	require.Len(t, *replies, 1, "the old one's answer came too late")
	require.Equal(t, "broken", n.Links()[0].State, "the old one is not taken for the new")
	require.Contains(t, n.Links()[0].Refusal, "`raftbus member replace n2`")
	require.NotZero(t, n.Drops()["other instance"])
	require.Len(t, n.changes(), changes+1)
}

// Whoever held on to the one before asks nobody any more, and what was asked of it is nothing that the new one has said.
func TestWhatWasAskedOfTheInstanceBeforeIsNotTheNewOnes(t *testing.T) {
	sim := connectedSimulation(t)
	n := sim.nodes[0]
	old, err := n.client("n2")
	require.NoError(t, err)
	require.NoError(t, old.Ping())
	n.Turn(sim.bus.now)
	pings := len(n.pings())
	n.Admit(theCluster, []rpc.Member{{ID: "n1", Instance: instanceOf("n1")}, again("n2"), {ID: "n3", Instance: instanceOf("n3")}})
	n.Turn(sim.bus.now)
	require.Len(t, n.pings(), pings)
	require.ErrorIs(t, old.Ping(), ErrClosed)
}

// The new one under its id: it is answered, it answers, and each answer says who gave it.
func TestTheNewInstanceIsConnectedAndSaysWhoItIs(t *testing.T) {
	sim := connectedSimulation(t)
	old := sim.nodes[1]
	for p := range paths {
		old.conns[p].set(false)
	}
	table := []rpc.Member{{ID: "n1", Instance: instanceOf("n1")}, again("n2"), {ID: "n3", Instance: instanceOf("n3")}}
	n2 := sim.add(t, configOf(t, "n2", nil), Identity{"n2", again("n2").Instance, epoch(1, 99)})
	for p := range paths {
		n2.conns[p].set(true)
	}
	sim.nodes = []*simNode{sim.nodes[0], sim.nodes[2], n2}
	for _, n := range sim.nodes {
		n.Admit(theCluster, table)
	}
	sim.settle(t)
	replies := sim.nodes[0].openHeartbeat(t, "n2")
	sim.run(2*time.Millisecond, func() {})
	require.Len(t, *replies, 1)
	require.NoError(t, (*replies)[0].Err)
	require.Equal(t, again("n2").Instance, (*replies)[0].Instance)
	require.Equal(t, instanceOf("n1"), n2.messages()[0].Instance)
}

// A reply of the old instance never ends a round of the new, even with the right round in it.
func TestAnOldInstancesReplyEndsNoRoundOfTheNew(t *testing.T) {
	n1, old := puppetPair(t)
	fresh := newPuppet(t, old.nc.ConnectedUrl(), "n2")
	old.mute()
	fresh.mu.Lock()
	fresh.self.Instance = again("n2").Instance
	fresh.mu.Unlock()
	n1.Admit(theCluster, []rpc.Member{{ID: "n1", Instance: instanceOf("n1")}, again("n2")})
	n1.awaitLink("n2", "connected")

	called := make(chan puppetCall, 1)
	fresh.call(func(c puppetCall) { called <- c })
	replies := heartbeat(t, n1.to("n2"), 8)
	c := await(t, called)
	before := n1.Drops()["other instance"]
	old.send(c.reply, old.header(c), &rpc.HeartbeatReturn{Read: 8})
	eventually(t, "dropped", func() bool { return n1.Drops()["other instance"] == before+1 })
	require.Empty(t, replies)
	fresh.send(c.reply, fresh.header(c), &rpc.HeartbeatReturn{Read: 8})
	require.Equal(t, again("n2").Instance, await(t, replies).Instance)
}

// Who leaves is let go: its rounds end, its link breaks, its commands are dropped; and it is told why. When it is let in
// again, it is connected again.
func TestWhoLeftIsLetGoAndTold(t *testing.T) {
	sim := connectedSimulation(t)
	n1, n2, n3 := sim.nodes[0], sim.nodes[1], sim.nodes[2]
	replies, changes := n1.openHeartbeat(t, "n3"), len(n1.changes())
	two := []rpc.Member{{ID: "n1", Instance: instanceOf("n1")}, {ID: "n2", Instance: instanceOf("n2")}}
	for _, n := range []*simNode{n1, n2} {
		n.conf = confAt(9, two...)
		n.Admit(theCluster, two)
	}
	require.Len(t, *replies, 1)
	require.ErrorIs(t, (*replies)[0].Err, ErrUnknownPeer)
	require.ErrorIs(t, n1.Using("n3", nil), ErrUnknownPeer)
	received := len(n1.messages())
	back := n3.openHeartbeat(t, "n1")
	sim.run(time.Second, func() {})
	require.Equal(t, []linkChange{{"n3", false, ErrUnknownPeer}}, n1.changes()[changes:])
	require.Len(t, n1.Links(), 1)
	require.Len(t, n1.messages(), received, "commands of who left are dropped")
	require.Len(t, *back, 1)
	require.Error(t, (*back)[0].Err)
	p, _ := n3.lastPing("n1")
	require.ErrorIs(t, p.Err, ErrRefused)
	require.Contains(t, p.Refusal, "it was removed; stop it and delete its data folder")
	require.Contains(t, p.Refusal, "`raftbus member add n3`")
	require.Equal(t, confAt(9, two...), p.Configuration, "with the proof")
	require.Equal(t, learnedConf{theCluster, *confAt(9, two...)}, n3.learnt()[0])

	three := append(two, rpc.Member{ID: "n3", Instance: instanceOf("n3")})
	for _, n := range []*simNode{n1, n2} {
		n.conf = confAt(12, three...)
		n.Admit(theCluster, three)
	}
	sim.settle(t)
	require.Equal(t, linkChange{"n3", true, nil}, n1.changes()[len(n1.changes())-1])
}

// Whoever is left, and in whatever number: what ends, ends in order of peer, or a simulated run could not be had again.
func TestTheOrderOfWhatEndsIsThatOfThePeers(t *testing.T) {
	for range 10 {
		sim := connectedSimulation(t)
		n1, order := sim.nodes[0], []rpc.NodeID{}
		for _, peer := range []rpc.NodeID{"n3", "n2"} {
			require.NoError(t, n1.Using(peer, func(c IRaftClient) {
				require.NoError(t, c.Heartbeat(1, &rpc.HeartbeatCommand{}, func(r rpc.Reply[*rpc.HeartbeatReturn]) { order = append(order, r.From) }))
			}))
		}
		n1.Admit(theCluster, tableOf("n1"))
		require.Equal(t, []rpc.NodeID{"n2", "n3"}, order)
	}
}

// A node that is to join knows nobody, and answers whoever asks. The first to show it a configuration with it has it let in.
func TestAJoinerIsLetInByAPing(t *testing.T) {
	sim := connectedSimulation(t)
	n4 := sim.joiner(t, "n4")
	n4.follow()
	sim.run(time.Second, func() {})
	require.Empty(t, n4.Links())
	four := confAt(9, tableOf(members...)...)
	four.Learners = tableOf("n4")
	for _, n := range sim.nodes[:3] {
		n.conf = four
		n.Admit(theCluster, four.Members())
	}
	sim.settle(t)
	require.Len(t, n4.Links(), 3)
	require.Equal(t, learnedConf{theCluster, *four}, n4.learnt()[0])
	require.Zero(t, n4.Drops()["unknown sender"], "a joiner refuses nobody")
	require.Len(t, sim.nodes[0].Links(), 3)
}

// A new member is pinged at once, and not when something else is due.
func TestANewMemberIsPingedAtOnce(t *testing.T) {
	sim := connectedSimulation(t)
	n1 := sim.nodes[0]
	require.False(t, n1.Pending())
	n1.Admit(theCluster, tableOf("n1", "n2", "n3", "n4"))
	require.True(t, n1.Pending(), "a turn is due")
	sent := len(sim.bus.flying)
	n1.Turn(sim.bus.now)
	for _, f := range sim.bus.flying[sent:] {
		require.Contains(t, f.d.Subject, ".n4.")
	}
	require.Greater(t, len(sim.bus.flying), sent)
}

// A node comes back after all others were replaced, one under its old id: it knows nobody, and they bring it what it missed.
func TestANodeThatWasAwayLearnsOfThoseWhoReplacedAll(t *testing.T) {
	sim := connectedSimulation(t)
	n1 := sim.nodes[0]
	n1.conf = confAt(1, tableOf(members...)...)
	n1.follow()
	now := confAt(30, tableOf("n1", "n4")...)
	now.Voters = append(now.Voters, again("n2"))
	for _, n := range sim.nodes[1:] {
		for p := range paths {
			n.conns[p].set(false)
		}
	}
	sim.nodes = []*simNode{n1, sim.joiner(t, "n4"), sim.add(t, configOf(t, "n2", nil), Identity{"n2", again("n2").Instance, epoch(1, 5)})}
	for _, n := range sim.nodes[1:] {
		for p := range paths {
			n.conns[p].set(true)
		}
		n.conf = now
		n.Admit(theCluster, now.Members())
	}
	sim.settle(t)
	require.Equal(t, *now, *n1.conf)
}

// asker pings a node with whatever a test wants said, as whomever, and returns the answer; nil if there was none.
type asker struct {
	t   *testing.T
	sim *simulation
	ear *simConn
}

func newAsker(t *testing.T, sim *simulation) *asker {
	a := &asker{t: t, sim: sim, ear: &simConn{bus: sim.bus}}
	sim.bus.conns = append(sim.bus.conns, a.ear)
	a.ear.set(true)
	return a
}

func (a *asker) ask(h rpc.Header, conf *rpc.Configuration, keys *rpc.Keys) (answer *rpc.PingReturn) {
	h.Round = 1
	reply := returnsTo("raftbus", h.From, h.To) + "ask.1"
	a.ear.subs = []simSub{{strings.Split(reply, "."), func(d Delivery) {
		if _, body, err := rpc.Decode(d.Data, nil); err == nil {
			answer = body.(*rpc.PingReturn)
		}
	}}}
	cmd := &rpc.PingCommand{SenderID: h.From, Configuration: conf, WantStarts: true}
	require.NoError(a.t, a.ear.Publish(requestSubject("raftbus", h.To, h.From, rpc.MethodPing), reply, rpc.Append(nil, &h, cmd, keys)))
	for a.sim.bus.deliver() {
	}
	return answer
}

// What is learned, and from whom.
func TestOnlyWhoMayKnowIsLearnedFrom(t *testing.T) {
	other := rpc.ClusterID{7}
	all := func(more ...rpc.Member) []rpc.Member { return append(tableOf(members...), more...) }
	n4 := rpc.Member{ID: "n4", Instance: instanceOf("n4")}
	type change struct {
		header func(*rpc.Header)
		conf   func(*rpc.Configuration)
	}
	for _, c := range []struct {
		name    string
		from    rpc.Member
		conf    *rpc.Configuration
		change  change
		learned bool
		refusal string // "-": no answer
	}{
		{"a member", tableOf("n2")[0], confAt(6, all()...), change{}, true, ""},
		{"a member, without this node", tableOf("n2")[0], confAt(6, tableOf("n2")...), change{}, true, ""},
		{"a member, nothing new", tableOf("n2")[0], confAt(5, all()...), change{}, false, ""},
		{"a member, older", tableOf("n2")[0], confAt(4, all()...), change{}, false, ""},
		{"a member, of another cluster", tableOf("n2")[0], confAt(6, all()...), change{conf: func(c *rpc.Configuration) { c.Cluster = other }}, false, ""},
		{"a member without a table", tableOf("n2")[0], confAt(6, all()...), change{header: func(h *rpc.Header) { h.Cluster = rpc.ClusterID{} }}, false, ""},
		{"another cluster's n2", tableOf("n2")[0], confAt(6, all()...), change{func(h *rpc.Header) { h.Cluster = other }, func(c *rpc.Configuration) { c.Cluster = other }}, false, "its own prefix"},
		{"an earlier life", tableOf("n2")[0], confAt(6, all()...), change{header: func(h *rpc.Header) { h.Boot = epoch(0, 1) }}, false, "old backup"},
		{"a copied folder", tableOf("n2")[0], confAt(6, all()...), change{header: func(h *rpc.Header) { h.Boot = epoch(1, 999) }}, false, "stop the copy"},

		{"a stranger", n4, confAt(6, all(n4)...), change{}, true, newsText},
		{"a stranger that left", n4, nil, change{}, false, "it was removed; stop it and delete"},
		{"a stranger, nothing new", n4, confAt(5, all(n4)...), change{}, false, "it was removed"},
		{"a stranger, not in it", n4, confAt(6, all()...), change{}, false, "it was removed"},
		{"a stranger, with this node as another", n4, confAt(6, again("n1"), n4), change{}, false, "it was removed"},
		{"a stranger, without this node", n4, confAt(6, n4), change{}, false, "it was removed"},
		{"a stranger, as another", n4, confAt(6, all(again("n4"))...), change{}, false, "it was removed"},
		{"a stranger that never was one", n4, nil, change{header: func(h *rpc.Header) { h.Cluster = rpc.ClusterID{} }}, false, "start it with --join"},
		{"a stranger of another cluster", n4, confAt(6, all(n4)...), change{func(h *rpc.Header) { h.Cluster = other }, func(c *rpc.Configuration) { c.Cluster = other }}, false, "-"},
		{"a stranger, of another cluster", n4, confAt(6, all(n4)...), change{conf: func(c *rpc.Configuration) { c.Cluster = other }}, false, "it was removed"},

		{"a replaced member", again("n2"), confAt(6, tableOf("n1", "n3")[0], again("n2"), tableOf("n3")[0]), change{}, true, newsText},
		{"a wiped member", again("n2"), confAt(6, all()...), change{}, false, "`raftbus member replace n2`"},
		{"a wiped member without a table", again("n2"), nil, change{header: func(h *rpc.Header) { h.Cluster = rpc.ClusterID{} }}, false, "`raftbus member replace n2`"},
	} {
		sim := connectedSimulation(t)
		n1 := sim.nodes[0]
		n1.conf = confAt(5, all()...)
		before, clients := n1.Drops(), len(n1.clients)
		h := rpc.Header{Cluster: theCluster, From: c.from.ID, To: "n1", Instance: c.from.Instance, Boot: epoch(1, 1)}
		if c.change.header != nil {
			c.change.header(&h)
		}
		if c.change.conf != nil {
			c.change.conf(c.conf)
		}
		answer := newAsker(t, sim).ask(h, c.conf, nil)
		if c.learned {
			require.Equal(t, []learnedConf{{theCluster, *c.conf}}, n1.learnt(), c.name)
		} else {
			require.Empty(t, n1.learnt(), c.name)
		}
		require.Equal(t, c.refusal == "-", answer == nil, c.name)
		if answer != nil {
			require.Contains(t, answer.Refusal, c.refusal, c.name)
			require.Equal(t, c.refusal == "", answer.Refusal == "", c.name)
			require.Equal(t, c.refusal == "", len(answer.Starts) > 0, "%s: who is refused is told of no starts", c.name)
			require.Equal(t, h.Cluster != other, answer.Configuration != nil, "another cluster is not told who is in this one")
		}
		require.Equal(t, c.refusal == "" || c.learned, equalCounts(before, n1.Drops()), c.name)
		require.Len(t, n1.clients, clients, "no stranger becomes a peer")
	}
}

func equalCounts(a, b map[string]uint64) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// Whom a node without a table listens to: one that is to join to whoever names it as it is; any other to its own peers only.
func TestWhomANodeWithoutATableLearnsFrom(t *testing.T) {
	n5, n4 := rpc.Member{ID: "n5", Instance: instanceOf("n5")}, rpc.Member{ID: "n4", Instance: instanceOf("n4")}
	sim := &simulation{bus: simulate(t, t, 1).bus}
	joiner := sim.joiner(t, "n4")
	first := sim.add(t, configOf(t, "n1", nil), Identity{"n1", instanceOf("n1"), epoch(1, 1)})
	for p := range paths {
		first.conns[p].set(true)
	}
	ask := func(to, from rpc.NodeID, conf *rpc.Configuration) *rpc.PingReturn {
		h := rpc.Header{Cluster: theCluster, From: from, To: to, Instance: instanceOf(from), Boot: epoch(1, 1)}
		return newAsker(t, sim).ask(h, conf, nil)
	}
	for name, conf := range map[string]*rpc.Configuration{
		"without it": confAt(7, n5), "as another": confAt(7, n5, again("n4")), "without the sender": confAt(7, n4), "none": nil,
	} {
		answer := ask("n4", "n5", conf)
		require.NotNil(t, answer, name)
		require.Empty(t, answer.Refusal, name)
		require.Empty(t, joiner.learnt(), name)
	}
	require.NotNil(t, ask("n4", "n5", confAt(7, n4, n5)))
	require.Equal(t, []learnedConf{{theCluster, *confAt(7, n4, n5)}}, joiner.learnt())
	require.Zero(t, joiner.Drops()["unknown sender"])

	require.Nil(t, ask("n1", "n5", confAt(7, n5, tableOf("n1")[0])))
	require.Empty(t, first.learnt())
	require.Equal(t, uint64(1), first.Drops()["unknown sender"])
	require.NotNil(t, ask("n1", "n2", &rpc.Configuration{Voters: tableOf(members...)}), "the table, which has no cluster but is one")
	require.Equal(t, []learnedConf{{theCluster, rpc.Configuration{Voters: tableOf(members...)}}}, first.learnt())
}

// Q3: a stranger's word counts only if it holds the key.
func TestAStrangerNeedsTheKey(t *testing.T) {
	sim := &simulation{bus: simulate(t, t, 1).bus}
	n1 := sim.add(t, configOf(t, "n1", []byte("key")), Identity{"n1", instanceOf("n1"), epoch(1, 1)})
	for p := range paths {
		n1.conns[p].set(true)
	}
	n1.Admit(theCluster, tableOf(members...))
	h := rpc.Header{Cluster: theCluster, From: "n4", To: "n1", Instance: instanceOf("n4"), Boot: epoch(1, 1)}
	conf := confAt(6, tableOf("n1", "n4")...)
	for _, keys := range []*rpc.Keys{nil, rpc.NewKeys([]byte("another"), nil)} {
		require.Nil(t, newAsker(t, sim).ask(h, conf, keys))
		require.Empty(t, n1.learnt())
	}
	require.NotNil(t, newAsker(t, sim).ask(h, conf, rpc.NewKeys([]byte("key"), nil)))
	require.Len(t, n1.learnt(), 1)
}

// What an answer brings is learned too, from a member and from who took its place, but from an answer to a question only.
func TestAnAnswerBringsNews(t *testing.T) {
	sim := connectedSimulation(t)
	n1, n2 := sim.nodes[0], sim.nodes[1]
	n1.conf, n2.conf = confAt(5, tableOf(members...)...), confAt(6, tableOf(members...)...)
	sim.run(pingInterval+2*time.Millisecond, func() {})
	require.NotEmpty(t, n1.learnt())
	require.Equal(t, *n2.conf, n1.learnt()[0].conf)
	require.Empty(t, n2.learnt(), "the later one has nothing to learn")
	n1.conf = n2.conf
	learned := len(n1.learnt())
	sim.run(time.Second, func() {})
	require.Len(t, n1.learnt(), learned, "and then neither has")

	n1.conf = confAt(5, tableOf(members...)...)
	h := rpc.Header{Cluster: theCluster, From: "n2", To: "n1", Instance: instanceOf("n2"), Boot: n2.self.Boot, Round: 1 << 40}
	subject := returnsTo("raftbus", "n1", "n2") + n1.nonces[control] + ".1099511627776"
	late := n1.Drops()["late return"]
	require.NoError(t, n2.conns[control].Publish(subject, "", rpc.Append(nil, &h, &rpc.PingReturn{SenderID: "n2", Configuration: confAt(9, tableOf(members...)...)}, nil)))
	for sim.bus.deliver() {
	}
	require.Len(t, n1.learnt(), learned, "nobody asked")
	require.Equal(t, late+1, n1.Drops()["late return"])
}

func TestTheAnswerOfWhoTookAMembersPlaceBringsNews(t *testing.T) {
	sim := connectedSimulation(t)
	n1 := sim.nodes[0]
	n1.conf = confAt(5, tableOf(members...)...)
	n1.follow()
	for p := range paths {
		sim.nodes[1].conns[p].set(false)
	}
	n2 := sim.add(t, configOf(t, "n2", nil), Identity{"n2", again("n2").Instance, epoch(1, 5)})
	n2.conf = confAt(8, tableOf("n1")[0], again("n2"), tableOf("n3")[0])
	n2.Admit(theCluster, n2.conf.Members())
	n2.conns[control].set(true) // it hears and answers, but asks nothing as long as the other is down
	sim.run(2*time.Second, func() {})
	require.NotEmpty(t, n1.learnt())
	require.Equal(t, again("n2").Instance, n1.roster.Load().members["n2"].instance)
}

// A ping says how late this node's configuration is, and brings it where the link is broken: whoever is there may not know it.
func TestAPingSaysWhatTheSenderKnows(t *testing.T) {
	sim := simulate(t, t, 1)
	n1 := sim.nodes[0]
	n1.conf = confAt(5, tableOf(members...)...)
	heard := map[bool][]*rpc.PingCommand{}
	ear := &simConn{bus: sim.bus}
	sim.bus.conns = append(sim.bus.conns, ear)
	for _, m := range []rpc.Method{rpc.MethodPing, rpc.MethodPingBulk} {
		_, err := ear.Subscribe(requestSubject("raftbus", "n2", "n1", m), func(d Delivery) {
			_, body, err := rpc.Decode(d.Data, nil)
			require.NoError(t, err)
			connected := n1.Links()[0].State == "connected"
			heard[connected] = append(heard[connected], body.(*rpc.PingCommand))
		})
		require.NoError(t, err)
	}
	sim.setAll(true)
	sim.settle(t)
	require.NotEmpty(t, heard[false])
	require.NotEmpty(t, heard[true])
	for connected, pings := range heard {
		for _, p := range pings {
			require.Equal(t, rpc.Index(5), p.Known)
			require.Equal(t, connected, p.Configuration == nil)
			require.False(t, p.WantTable)
		}
	}
}

// Strangers choose their names: they cost a count each, and nothing that stays.
func TestManyStrangersCostNothing(t *testing.T) {
	sim := connectedSimulation(t)
	n1 := sim.nodes[0]
	a := newAsker(t, sim)
	for i := range 2000 {
		id := rpc.NodeID(fmt.Sprint("stranger", i))
		require.NotNil(t, a.ask(rpc.Header{Cluster: theCluster, From: id, To: "n1", Instance: instanceOf(id), Boot: epoch(1, 1)}, nil, nil))
	}
	require.Equal(t, uint64(2000), n1.Drops()["unknown sender"])
	require.Len(t, n1.clients, 2)
	require.LessOrEqual(t, len(n1.drops.told), toldMax)
}
