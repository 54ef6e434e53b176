package busclient

// Who is believed (I12, Q3, F13, F14, F23), and what pings carry.

import (
	"errors"
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
	url := startNATS(t).URL()
	n1, n2 := newPeer(t, url, "n1"), newPeer(t, url, "n2")
	n1.start()
	n2.start()
	n1.awaitLink("n2", "connected")
	n2.awaitLink("n1", "connected")
	p := n1.awaitPing("n2", "heard", func(p Pinged) bool { return p.Err == nil })
	require.Equal(t, instanceOf("n2"), p.Instance)
	require.Equal(t, epoch(1, 7), p.Boot)
	require.Zero(t, p.Cluster)
	require.Nil(t, p.Table)
	require.ErrorIs(t, n1.to("n2").Heartbeat(1, &rpc.HeartbeatCommand{}, nil), ErrNotAdmitted)

	n1.admit()
	p = n1.awaitPing("n2", "n2 has no table", func(p Pinged) bool { return p.Err != nil })
	require.ErrorIs(t, p.Err, ErrNotAdmitted)
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
	n2.request("n1", rpc.MethodHeartbeat, &rpc.HeartbeatCommand{}, nil)
	eventually(t, "dropped", func() bool { return n1.Drops()["not admitted"] == 1 })
	n1.admit()
	n2.request("n1", rpc.MethodHeartbeat, &rpc.HeartbeatCommand{}, nil)
	eventually(t, "received", func() bool { return len(n1.messages()) == 1 })
}

// A node without a table is given the one of its peers.
func TestAPingBringsTheTableToWhoHasNone(t *testing.T) {
	url := startNATS(t).URL()
	table := tableOf(members...)
	content := func(o *peerOptions) {
		o.service.PingContent = func() (rpc.NodeID, rpc.Term, []rpc.Member) { return "n3", 9, table }
	}
	n1, n2 := newPeer(t, url, "n1"), startPeer(t, url, "n2", content)
	n1.start()
	p := n1.awaitPing("n2", "heard", func(p Pinged) bool { return p.Err == nil })
	require.Equal(t, table, p.Table)
	require.Equal(t, rpc.NodeID("n3"), p.Leader)
	require.Equal(t, rpc.Term(9), p.Term)
	require.Equal(t, rpc.ClusterIDOf(table), p.Cluster)
	require.Positive(t, p.RTT)
	require.Less(t, p.Offset.Abs(), time.Second)
	n1.admit()
	n1.awaitPing("n2", "no longer wanted", func(p Pinged) bool { return p.Err == nil && p.Table == nil })
	n2.awaitLink("n1", "connected")
	require.Positive(t, n2.link("n1").RTT)
}

func TestAPingTellsTheClocksApartAndWhenTheConnectionIsSteady(t *testing.T) {
	url := startNATS(t).URL()
	ahead := func(o *peerOptions) {
		o.service.Now = func() time.Time { return time.Now().Add(time.Hour) }
	}
	n1, n2 := startPeer(t, url, "n1"), startPeer(t, url, "n2", ahead)
	p := n1.awaitPing("n2", "heard", func(p Pinged) bool { return p.Err == nil })
	require.InDelta(t, time.Hour.Seconds(), p.Offset.Seconds(), 1)
	require.False(t, p.Steady)
	n1.awaitPing("n2", "steady after a second", func(p Pinged) bool { return p.Steady })
	_ = n2
}

// F23, D3: a wiped disk comes back as another instance, and is told so by those who knew the old one.
func TestAWipedDiskIsRefusedAndTold(t *testing.T) {
	url := startNATS(t).URL()
	n1 := startPeer(t, url, "n1")
	wiped := newPeer(t, url, "n2", func(o *peerOptions) { o.service.Identity.Instance = rpc.InstanceID{9} })
	wiped.start() // it has no table: that was on the disk
	p := wiped.awaitPing("n1", "refused", func(p Pinged) bool { return p.Refusal != "" })
	require.ErrorIs(t, p.Err, ErrRefused)
	require.Contains(t, p.Refusal, "its folder was wiped or replaced; put the old folder back, or replace the member")
	require.Equal(t, "broken", wiped.link("n1").State)
	eventually(t, "status says so", func() bool { return wiped.link("n1").Refusal != "" })

	mine := n1.awaitPing("n2", "refused by n1 too", func(p Pinged) bool { return p.Err != nil })
	require.ErrorIs(t, mine.Err, ErrRefused)
	require.ErrorContains(t, mine.Err, "wiped or replaced")
	require.Equal(t, "broken", n1.link("n2").State)
	eventually(t, "calls say why", func() bool {
		return errors.Is(n1.to("n2").Heartbeat(1, &rpc.HeartbeatCommand{}, nil), ErrRefused)
	})
}

// F14: two clusters with one prefix refuse each other, and say so.
func TestAnotherClusterIsRefusedAndTold(t *testing.T) {
	url := startNATS(t).URL()
	n1, n2 := startPeer(t, url, "n1"), newPeer(t, url, "n2")
	other := tableOf(members...)
	other[2].Instance[0]++
	n2.start()
	n2.Admit(rpc.ClusterIDOf(other), other)
	for n, peer := range map[*peer]rpc.NodeID{n1: "n2", n2: "n1"} {
		p := n.awaitPing(peer, "refused", func(p Pinged) bool { return p.Err != nil && p.Refusal != "" })
		require.ErrorIs(t, p.Err, ErrRefused)
		require.Contains(t, p.Refusal, "give each cluster its own prefix")
	}
}

// F13: of two processes with one data folder and one start, the first one heard counts; the other is told.
func TestACopiedFolderIsRefusedAndTheFirstGoesOn(t *testing.T) {
	n1, n2 := puppetPair(t)
	clone := newPuppet(t, n2.nc.ConnectedUrl(), "n2")
	clone.self.Boot = epoch(1, 8) // answers each ping too, some before n2 does
	before := n1.Drops()["copied folder"]
	eventually(t, "its answers are dropped", func() bool { return n1.Drops()["copied folder"] > before+3 })
	require.Equal(t, "connected", n1.link("n2").State, "the first one is listened to")

	answers := make(chan *rpc.PingReturn, 16)
	_, err := clone.nc.Subscribe(returnsTo("raftbus", "n2", "n1")+"x.1", pongs(t, answers))
	require.NoError(t, err)
	clone.flush()
	clone.request("n1", rpc.MethodPing, &rpc.PingCommand{SenderID: "n2"}, nil)
	require.Contains(t, await(t, answers).Refusal, "stop the copy")
	clone.request("n1", rpc.MethodHeartbeat, &rpc.HeartbeatCommand{}, nil)
	clone.request("n1", rpc.MethodPing, &rpc.PingCommand{SenderID: "n2"}, func(h *rpc.Header) { h.Boot = epoch(0, 1) })
	require.Contains(t, await(t, answers).Refusal, "old backup")
	require.Empty(t, n1.messages())
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
	n1 := startPeer(t, url, "n1", withKey("new", "old"))
	n2 := startPeer(t, url, "n2", withKey("new", "old"))
	n1.awaitLink("n2", "connected")
	n2.awaitLink("n1", "connected")

	n3 := newPuppet(t, url, "n3")
	n3.request("n1", rpc.MethodHeartbeat, &rpc.HeartbeatCommand{}, nil)
	eventually(t, "no seal", func() bool { return n1.Drops()["malformed"] > 0 })
	require.Empty(t, n1.messages())
	n3.keys = rpc.NewKeys([]byte("old"), nil)
	n3.request("n1", rpc.MethodHeartbeat, &rpc.HeartbeatCommand{}, nil)
	eventually(t, "the key before", func() bool { return len(n1.messages()) == 1 })
}

// A valid message of a peer whose link is broken probes it at once, and its own links come back when it does.
func TestAMessageMendsALinkAtOnce(t *testing.T) {
	url := startNATS(t).URL()
	n1 := startPeer(t, url, "n1")
	eventually(t, "probes are far apart by now", func() bool { return len(n1.pings()) > 16 })
	n2 := startPeer(t, url, "n2")
	n2.awaitLink("n1", "connected")
	heard := time.Now()
	n1.awaitLink("n2", "connected")
	require.Less(t, time.Since(heard), probeLast)
}
