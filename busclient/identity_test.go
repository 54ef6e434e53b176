package busclient

// Who is believed (I12, Q3, F13, F14, F23), and what pings carry.

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// lastPing is the newest outcome of a ping of peer.
func (r *recorder) lastPing(peer rpc.NodeID) (last Pinged, ok bool) {
	for _, p := range r.pings() {
		if p.Peer == peer {
			last, ok = p, true
		}
	}
	return last, ok
}

func (p *peer) awaitPing(peer rpc.NodeID, what string, condition func(Pinged) bool) (found Pinged) {
	p.t.Helper()
	eventually(p.t, what, func() bool {
		last, ok := p.lastPing(peer)
		found = last
		return ok && condition(last)
	})
	return found
}

// Before there is a table only pings pass, and they carry what a table is made of (first boot).
func TestFirstBootNeedsNoTable(t *testing.T) {
	t.Parallel() // it mostly waits
	url := startNATS(t).URL()
	n1, n2 := newPeer(t, url, "n1"), newPeer(t, url, "n2")
	startAll(n1, n2)
	awaitEachOther(n1, n2)
	p := n1.awaitPing("n2", "heard", func(p Pinged) bool { return p.Err == nil })
	require.Equal(t, instanceOf("n2"), p.Instance)
	require.Equal(t, epoch(1, 7), p.Boot)
	require.Zero(t, p.Cluster)
	require.Nil(t, p.Configuration)
	require.ErrorIs(t, n1.to("n2").Heartbeat(1, &rpc.HeartbeatCommand{}, nil), ErrNotAdmitted)

	n1.admit()
	p = n1.awaitPing("n2", "n2 has no table", func(p Pinged) bool { return errors.Is(p.Err, ErrNotAdmitted) })
	require.Equal(t, instanceOf("n2"), p.Instance, "what it said is there all the same")
	n1.awaitLink("n2", "broken")
	n2.admit()
	n1.awaitLink("n2", "connected")
}

func TestACommandBeforeTheTableIsDropped(t *testing.T) {
	url := startNATS(t).URL()
	n2 := newPuppet(t, url, "n2")
	n1 := newPeer(t, url, "n1")
	n1.start()
	n1.awaitLink("n2", "connected")
	n2.request("n1", rpc.MethodHeartbeat, &rpc.HeartbeatCommand{}, nil)
	eventually(t, "dropped", func() bool { return n1.Drops()["not admitted"] == 1 })
	n1.admit()
	n2.request("n1", rpc.MethodHeartbeat, &rpc.HeartbeatCommand{}, nil)
	eventually(t, "received", func() bool { return len(n1.messages()) == 1 })
}

// A node without a table is given the one of its peers.
func TestAPingBringsTheTableToWhoHasNone(t *testing.T) {
	t.Parallel()
	url := startNATS(t).URL()
	table := tableOf(members...)
	content := func(o *peerOptions) {
		o.service.PingContent = func() PingContent {
			return PingContent{Leader: "n3", Term: 9, Configuration: &rpc.Configuration{Voters: table}, Lacks: true, NoRoom: true, Commands: 3}
		}
	}
	n1, n2 := newPeer(t, url, "n1"), newPeer(t, url, "n2", content)
	n2.admit()
	startAll(n1, n2)
	p := n1.awaitPing("n2", "heard", func(p Pinged) bool { return p.Err == nil })
	require.Equal(t, table, p.Configuration.Voters)
	require.Equal(t, rpc.NodeID("n3"), p.Leader)
	require.Equal(t, rpc.Term(9), p.Term)
	require.True(t, p.Lacks)
	require.True(t, p.NoRoom)
	require.Equal(t, rpc.ClusterIDOf(table), p.Cluster)
	require.Positive(t, p.RTT)
	require.Less(t, ahead(p).Abs(), time.Second)
	n1.admit()
	n1.awaitPing("n2", "no longer wanted", func(p Pinged) bool { return p.Err == nil && p.Configuration == nil })
	n2.awaitLink("n1", "connected")
	require.Positive(t, n2.link("n1").RTT)
	require.EqualValues(t, 3, n1.link("n2").Commands)
	require.Zero(t, n2.link("n1").Commands, "it does not say, as earlier releases do not")
}

func TestAPingTellsTheClocksApartAndWhenTheConnectionIsSteady(t *testing.T) {
	t.Parallel() // it mostly waits
	url := startNATS(t).URL()
	later := func(o *peerOptions) {
		o.service.Now = func() time.Time { return time.Now().Add(time.Hour) }
	}
	n1, n2 := startPeer(t, url, "n1"), startPeer(t, url, "n2", later)
	p := n1.awaitPing("n2", "heard", func(p Pinged) bool { return p.Err == nil })
	require.InDelta(t, time.Hour.Seconds(), ahead(p).Seconds(), 1)
	n1.awaitPing("n2", "steady after a second", func(p Pinged) bool { return p.Steady })
	_ = n2
}

// A peer shows its clock at half the round trip, as far as anybody can tell: else a slow way would pass for a clock that is wrong.
func TestAClockIsReadAtHalfTheRoundTrip(t *testing.T) {
	n1 := newPeer(t, startNATS(t).URL(), "n1")
	c, err := n1.client("n2")
	require.NoError(t, err)
	sent := time.Unix(1000, 0)
	back := sent.Add(2 * time.Second)
	n1.clock.stopped.Store(&back)
	c.pinged(control, 0, sent, outcome{header: &rpc.Header{From: "n2"}, body: &rpc.PingReturn{SenderID: "n2"}})
	waiting := n1.events.take()
	require.Len(t, waiting, 1)
	require.Equal(t, 2*time.Second, waiting[0].pinged.RTT)
	require.Equal(t, sent.Add(time.Second), waiting[0].pinged.At)
}

func TestAConnectionIsNotSteadyBeforeASecond(t *testing.T) {
	sim := simulate(t, t, 1)
	sim.setAll(true)
	n := sim.nodes[0]
	up, seen := sim.bus.now, 0
	sim.run(2*time.Second, func() {
		for _, p := range n.pings()[seen:] {
			require.NoError(t, p.Err)
			require.Equal(t, sim.bus.now.Add(-time.Millisecond).Sub(up) >= time.Second, p.Steady, "after %v", sim.bus.now.Sub(up))
			seen++
		}
	})
	require.True(t, n.pings()[seen-1].Steady)
}

// F23, D3: a wiped disk comes back as another instance, and is told so by those who knew the old one.
func TestAWipedDiskIsRefusedAndTold(t *testing.T) {
	t.Parallel()
	url := startNATS(t).URL()
	n1 := startPeer(t, url, "n1")
	wiped := newPeer(t, url, "n2", func(o *peerOptions) {
		o.service.Identity.Instance = rpc.InstanceID{9}
		o.service.PingContent = func() PingContent { return PingContent{Commands: 7} }
	})
	wiped.start() // it has no table: that was on the disk
	p := wiped.awaitPing("n1", "refused", func(p Pinged) bool { return p.Refusal != "" })
	require.ErrorIs(t, p.Err, ErrRefused)
	require.Contains(t, p.Refusal, "its folder was wiped or replaced; put the old folder back, or replace the member")
	require.Equal(t, "broken", wiped.link("n1").State)
	eventually(t, "status says so", func() bool { return wiped.link("n1").Refusal != "" })

	mine := n1.awaitPing("n2", "refused by n1 too", func(p Pinged) bool { return errors.Is(p.Err, ErrRefused) })
	require.ErrorContains(t, mine.Err, "wiped or replaced")
	require.Equal(t, "broken", n1.link("n2").State)
	require.Zero(t, n1.link("n2").Commands, "what another than the member knows is not the member's (F28)")
	eventually(t, "calls say why", func() bool {
		return errors.Is(n1.to("n2").Heartbeat(1, &rpc.HeartbeatCommand{}, nil), ErrRefused)
	})
}

// F14: two clusters with one prefix refuse each other, and say so.
func TestAnotherClusterIsRefusedAndTold(t *testing.T) {
	t.Parallel()
	url := startNATS(t).URL()
	n1, n2 := startPeer(t, url, "n1"), newPeer(t, url, "n2")
	other := tableOf(members...)
	other[2].Instance[0]++
	n2.start()
	n2.Admit(rpc.ClusterIDOf(other), other)
	for n, peer := range map[*peer]rpc.NodeID{n1: "n2", n2: "n1"} {
		p := n.awaitPing(peer, "refused", func(p Pinged) bool { return p.Refusal != "" })
		require.ErrorIs(t, p.Err, ErrRefused)
		require.Contains(t, p.Refusal, "give each cluster its own prefix")
	}
}

// F13: of two processes with one data folder and one start, the first that answered counts; the other is told. Both hear each
// ping and answer it, in whatever order; with real time, the one that counts may answer too late on a busy machine, and its link
// breaks: so time is simulated.
func TestACopiedFolderIsRefusedAndTheFirstGoesOn(t *testing.T) {
	sim := connectedSimulation(t)
	n1, n2 := sim.nodes[0], sim.nodes[1]
	changes, pings := len(n1.changes()), len(n1.pings())
	clone := sim.add(t, configOf(t, "n2", nil), Identity{"n2", instanceOf("n2"), epoch(1, 8)})
	clone.Admit(theCluster, tableOf(members...))
	for p := range paths {
		clone.conns[p].set(true)
	}
	sim.run(5*time.Second, func() {
		sim.bus.random.Shuffle(len(sim.bus.conns), func(i, j int) { c := sim.bus.conns; c[i], c[j] = c[j], c[i] })
	})
	require.Len(t, n1.changes(), changes, "the first one is listened to, and nothing breaks")
	require.Greater(t, n1.Drops()["copied folder"], uint64(2*5*time.Second/pingInterval), "each answer of the other is dropped, and its questions")
	require.Greater(t, len(n1.pings()), pings+20)
	for _, p := range n1.pings()[pings:] {
		require.NoError(t, p.Err)
		require.True(t, p.Peer != "n2" || p.Boot == n2.self.Boot)
	}
	p, _ := clone.lastPing("n1")
	require.Contains(t, p.Refusal, "stop the copy")
	require.Equal(t, "broken", clone.Links()[0].State)

	received := len(n1.messages())
	sim.speak(t, rpc.MethodHeartbeat, clone.self.Boot, &rpc.HeartbeatCommand{})
	sim.speak(t, rpc.MethodHeartbeat, epoch(0, 1), &rpc.HeartbeatCommand{})
	require.Len(t, n1.messages(), received)
	h := rpc.Header{Cluster: theCluster, From: "n2", To: "n1", Instance: instanceOf("n2"), Boot: epoch(0, 1)}
	require.Contains(t, newAsker(t, sim).ask(h, nil, nil).Refusal, "old backup")
}

// F14, F23, F27: another process that answers each ping under a member's name as the member does, in whatever order, breaks no link to the member. Once
// the member is gone, it is told who is there.
func TestAnotherUnderAMembersNameBreaksNoLinkToTheMember(t *testing.T) {
	for _, c := range []struct {
		name    string
		another Identity
		cluster rpc.ClusterID
		drop    string
	}{
		{"a replaced member that runs on", Identity{"n2", again("n2").Instance, epoch(1, 8)}, theCluster, "other instance"},
		{"an old copy", Identity{"n2", instanceOf("n2"), epoch(1, 8)}, theCluster, "earlier life"},
		{"of another cluster", Identity{"n2", instanceOf("n2"), epoch(2, 9)}, rpc.ClusterID{7}, "other cluster"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sim := connectedSimulation(t)
			n1, n2 := sim.nodes[0], sim.nodes[1]
			n2.self.Boot = epoch(2, 9)
			sim.run(time.Second, func() {})
			changes, pings, late := len(n1.changes()), len(n1.pings()), n1.Drops()["late return"]
			another := sim.add(t, configOf(t, "n2", nil), c.another)
			another.Admit(c.cluster, tableOf(members...))
			for p := range paths {
				another.conns[p].set(true)
			}
			shuffle := func() {
				sim.bus.random.Shuffle(len(sim.bus.conns), func(i, j int) { c := sim.bus.conns; c[i], c[j] = c[j], c[i] })
			}
			sim.run(5*time.Second, shuffle)
			require.Len(t, n1.changes(), changes, "the member is listened to, and nothing breaks")
			require.Equal(t, late, n1.Drops()["late return"])
			require.Greater(t, n1.Drops()[c.drop], uint64(2*5*time.Second/pingInterval), "each answer of the other is dropped")
			for _, p := range n1.pings()[pings:] {
				require.NoError(t, p.Err)
			}
			p, _ := another.lastPing("n1")
			require.NotEmpty(t, p.Refusal)

			for _, conn := range n2.conns {
				conn.set(false)
			}
			sim.run(pingInterval+pingTimeout+sweepInterval+2*time.Millisecond, shuffle)
			require.Equal(t, "broken", n1.Links()[0].State)
			require.NotEmpty(t, n1.Links()[0].Refusal)
			p, _ = n1.lastPing("n2")
			require.ErrorIs(t, p.Err, ErrRefused)
			require.Equal(t, c.another.Instance, p.Instance, "what it said is there all the same")
		})
	}
}

func TestOnlyWhatFitsItsSubjectIsReceived(t *testing.T) {
	n1, n2 := puppetPair(t)
	n3 := newPuppet(t, n2.nc.ConnectedUrl(), "n3")
	reply := returnsTo("raftbus", "n2", "n1") + "x.1"
	good := rpc.Header{Cluster: n2.cluster, From: "n2", To: "n1", Instance: instanceOf("n2"), Boot: epoch(1, 7), Round: 1}
	other := func(change func(*rpc.Header)) rpc.Header { h := good; change(&h); return h }
	for _, c := range []struct {
		name, subject, reply string
		h                    rpc.Header
		body                 rpc.Body
		drop                 string
	}{
		{"forged sender", "raftbus.rpc.n1.n3.Heartbeat", returnsTo("raftbus", "n3", "n1") + "x.1", good, &rpc.HeartbeatCommand{}, "forged sender"},
		{"answer to another", "raftbus.rpc.n1.n2.Heartbeat", returnsTo("raftbus", "n3", "n1") + "x.1", good, &rpc.HeartbeatCommand{}, "misaddressed"},
		{"answer to a command's subject", "raftbus.rpc.n1.n2.Heartbeat", "raftbus.rpc.n2.n1.AppendLog", good, &rpc.HeartbeatCommand{}, "misaddressed"},
		{"for another", "raftbus.rpc.n1.n2.Heartbeat", reply, other(func(h *rpc.Header) { h.To = "n3" }), &rpc.HeartbeatCommand{}, "misaddressed"},
		{"another method", "raftbus.rpc.n1.n2.Heartbeat", reply, good, &rpc.RequestVoteCommand{}, "misaddressed"},
		{"a return", "raftbus.rpc.n1.n2.Heartbeat", reply, good, &rpc.HeartbeatReturn{}, "misaddressed"},
		{"no member", "raftbus.rpc.n1.n9.Heartbeat", reply, good, &rpc.HeartbeatCommand{}, "unknown sender"},
		{"a stranger's answer to another", "raftbus.rpc.n1.n9.Ping", "raftbus.rpc.n2.n1.AppendLog", other(func(h *rpc.Header) { h.From = "n9" }), &rpc.PingCommand{SenderID: "n9"}, "misaddressed"},
		{"its own answer to another", "raftbus.rpc.n1.n1.Ping", "raftbus.rpc.n2.n1.AppendLog", other(func(h *rpc.Header) { h.From = "n1" }), &rpc.PingCommand{SenderID: "n1"}, "misaddressed"},
		{"another instance", "raftbus.rpc.n1.n2.Heartbeat", reply, other(func(h *rpc.Header) { h.Instance[1]++ }), &rpc.HeartbeatCommand{}, "other instance"},
		{"another cluster", "raftbus.rpc.n1.n2.Heartbeat", reply, other(func(h *rpc.Header) { h.Cluster[1]++ }), &rpc.HeartbeatCommand{}, "other cluster"},
	} {
		before := n1.Drops()[c.drop]
		require.NoError(t, n3.nc.PublishRequest(c.subject, c.reply, rpc.Append(nil, &c.h, c.body, nil)))
		eventually(t, c.name, func() bool { return n1.Drops()[c.drop] == before+1 })
	}
	for _, garbage := range []string{"", "x", "\x00", "\x00\x01\x02", strings.Repeat("\xff", 100)} {
		require.NoError(t, n3.nc.PublishRequest("raftbus.rpc.n1.n2.AppendLog", reply, []byte(garbage)))
	}
	whole := rpc.Append(nil, &good, &rpc.HeartbeatCommand{}, nil)
	part := append([]byte{partMark, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1}, whole...) // part 0 of 1
	require.NoError(t, n3.nc.PublishRequest("raftbus.rpc.n1.n2.Heartbeat", reply, part))
	eventually(t, "garbage is dropped", func() bool { return n1.Drops()["malformed"] == 3 && n1.Drops()["broken parts"] == 3 })
	require.Empty(t, n1.messages())
}

// Q3: with a cluster key nothing counts that was not sealed with it, and during a rotation either key is good.
func TestMessagesAreSealed(t *testing.T) {
	url := startNATS(t).URL()
	withKey := func(key, previous string) func(*peerOptions) {
		return func(o *peerOptions) { o.key, o.service.PreviousKey = []byte(key), []byte(previous) }
	}
	n1, _ := pair(t, url, withKey("new", "old"))

	n3 := newPuppet(t, url, "n3", func(p *puppet) { p.keys = rpc.NewKeys([]byte("old"), []byte("new")) })
	n1.awaitLink("n3", "connected")
	forger := newPuppet(t, url, "n3", func(p *puppet) { p.muted = true })
	forger.request("n1", rpc.MethodHeartbeat, &rpc.HeartbeatCommand{}, nil)
	eventually(t, "no seal", func() bool { return n1.Drops()["malformed"] > 0 })
	require.Empty(t, n1.messages())
	n3.request("n1", rpc.MethodHeartbeat, &rpc.HeartbeatCommand{}, nil)
	eventually(t, "the key before", func() bool { return len(n1.messages()) == 1 })
}

// Q3: whether messages are sealed does not change while nodes run: whoever sealed no more, or began to, would be heard by nobody.
func TestSealsNeitherBeginNorEnd(t *testing.T) {
	n1, n2 := pair(t, startNATS(t).URL())
	require.ErrorContains(t, n1.Rekey([]byte("new"), nil), "stop all")
	n2.echo()
	require.NoError(t, await(t, heartbeat(t, n1.to("n2"), 1)).Err)
	sealed := newPeer(t, n1.control.NATS().ConnectedUrl(), "n3", func(o *peerOptions) { o.key = []byte("old") })
	require.ErrorContains(t, sealed.Rekey(nil, []byte("old")), "stop all")
	require.NotNil(t, sealed.keys.Load())
}

// A valid message of a peer whose link is broken probes it at once, and its own links come back when it does: long before the next
// probe is due. How long is a matter of the simulated clock: on a busy machine real time says nothing.
func TestAMessageMendsALinkAtOnce(t *testing.T) {
	sim := simulate(t, t, 1)
	n1, n2 := sim.nodes[0], sim.nodes[1]
	present := func(up bool) {
		for _, c := range n2.conns {
			c.set(up)
		}
		sim.kick()
	}
	sim.setAll(true)
	sim.run(time.Second, func() {})
	require.True(t, sim.connected())
	present(false)
	sim.run(3*time.Second, func() {}) // probes are far apart by now
	probes := func() int {
		return len(slices.DeleteFunc(n1.pings(), func(p Pinged) bool { return p.Peer != "n2" }))
	}
	for before := probes(); probes() == before; {
		sim.run(time.Millisecond, func() {})
	}
	sim.run(heardProbePause, func() {}) // the last probe was just now: the next one has more than 100 ms to go
	require.Equal(t, "broken", n1.Links()[0].State)
	present(true)
	sim.run(3*time.Millisecond, func() {})
	require.Equal(t, "connected", n2.Links()[0].State)
	require.Equal(t, "connected", n1.Links()[0].State)
}

// ahead is how far a peer's clock is ahead.
func ahead(p Pinged) time.Duration { return time.Duration(p.Clock - p.At.UnixNano()) }
