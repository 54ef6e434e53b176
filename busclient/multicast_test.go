package busclient

// Messages to several, on a real NATS: whom they reach, and whose answer counts for whom.

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// four are the members of clusters in which somebody is not named.
var four = []rpc.NodeID{"n1", "n2", "n3", "n4"}

func withMulticast(o *peerOptions) { o.several, o.members = true, four }

func puppetOfFour(p *puppet) { p.several, p.cluster = true, rpc.ClusterIDOf(tableOf(four...)) }

// startFour starts all four, each as the user of its name, connected.
func startFour(t testing.TB, url string, change ...func(*peerOptions)) []*peer {
	var peers []*peer
	for _, id := range four {
		peers = append(peers, newPeer(t, url, id, append([]func(*peerOptions){withMulticast, asUser(string(id))}, change...)...))
	}
	startAdmitted(peers...)
	for _, p := range peers[1:] {
		peers[0].awaitListening(p.self.ID)
		p.awaitLink("n1", "connected")
	}
	return peers
}

// awaitListening waits until a peer is connected, and has said that it listens to messages to several.
func (p *peer) awaitListening(id rpc.NodeID) {
	p.awaitLink(id, "connected")
	c, err := p.client(id)
	require.NoError(p.t, err)
	eventually(p.t, string(id)+" listens", c.listens.Load)
}

type appended = rpc.Reply[*rpc.AppendLogReturn]

// append sends an AppendLog to several, and returns the channel that the replies go to.
func (p *peer) append(to ...rpc.NodeID) (replies chan appended, left []rpc.NodeID) {
	replies = make(chan appended, 8)
	cmd := &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 7}, Entries: []rpc.Entry{{Index: 8, Term: 2, Kind: rpc.EntryNoop}}}
	left = p.MulticastAppendLog(to, 2, cmd, func(r appended) { replies <- r })
	return replies, left
}

// overhear counts what passes on a subject.
func overhear(t testing.TB, url, subject string, o ...nats.Option) *nats.Subscription {
	nc, err := nats.Connect(url, o...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	sub, err := nc.SubscribeSync(subject)
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	return sub
}

func waiting(t testing.TB, sub *nats.Subscription) int {
	n, _, err := sub.Pending()
	require.NoError(t, err)
	return n
}

func froms(replies ...appended) (ids []rpc.NodeID) {
	for _, r := range replies {
		ids = append(ids, r.From)
	}
	slices.Sort(ids)
	return ids
}

func TestAMessageToSeveralReachesThoseNamedAndNobodyElse(t *testing.T) {
	url := startNATS(t).URL()
	peers := startFour(t, url)
	n1, n2, n3, n4 := peers[0], peers[1], peers[2], peers[3]
	for _, p := range peers[1:] {
		p.echo()
	}
	together, alone := overhear(t, url, "raftbus.rpc._all.>"), overhear(t, url, "raftbus.rpc.n2.n1.AppendLog")
	replies, left := n1.append("n2", "n3")
	require.Empty(t, left)
	first, second := await(t, replies), await(t, replies)
	require.NoError(t, first.Err)
	require.NoError(t, second.Err)
	require.Equal(t, []rpc.NodeID{"n2", "n3"}, froms(first, second))
	require.Equal(t, rpc.Index(8), first.Return.Match)
	require.Equal(t, instanceOf(first.From), first.Instance)

	returns := overhear(t, url, "raftbus.rpc.n1.*.Return.>")
	require.Empty(t, n1.MulticastCommitLog([]rpc.NodeID{"n3", "n2"}, 2, &rpc.CommitLogCommand{Commit: 8}))
	for _, p := range []*peer{n2, n3} {
		eventually(t, "told of the commit", func() bool { return len(p.messages()) == 2 })
		got := p.messages()
		require.Equal(t, rpc.MethodAppendLog, got[0].Body.Method())
		require.Equal(t, rpc.Message{From: "n1", Instance: instanceOf("n1"), To: p.self.ID, Term: 2, Body: &rpc.CommitLogCommand{Commit: 8}}, got[1])
	}
	eventually(t, "passed over", func() bool { return n4.Drops()["for others"] == 2 })
	require.Empty(t, n4.messages())
	require.Empty(t, n1.messages())
	eventually(t, "one message each", func() bool { return waiting(t, together) == 2 })
	require.Zero(t, waiting(t, alone))
	for waiting(t, returns) > 0 {
		m, err := returns.NextMsg(soon)
		require.NoError(t, err)
		_, body, err := rpc.Decode(m.Data, nil)
		require.NoError(t, err)
		require.IsType(t, &rpc.PingReturn{}, body, "nobody answers a CommitLog to several")
	}
}

// puppetsOfFour is n1, connected to three puppets, and what they get to several.
func puppetsOfFour(t testing.TB, change ...func(*peerOptions)) (n1 *peer, puppets map[rpc.NodeID]*puppet, calls chan puppetCall) {
	url := startNATS(t).URL()
	puppets, calls = map[rpc.NodeID]*puppet{}, make(chan puppetCall, 16)
	for _, id := range four[1:] {
		puppets[id] = newPuppet(t, url, id, puppetOfFour)
	}
	puppets["n2"].call(func(c puppetCall) { calls <- c })
	n1 = startPeer(t, url, "n1", append([]func(*peerOptions){withMulticast}, change...)...)
	for id := range puppets {
		n1.awaitListening(id)
	}
	return n1, puppets, calls
}

// answerTo is where a peer answers a message to several.
func answerTo(c puppetCall, as rpc.NodeID) string {
	return strings.Replace(c.reply, "._all.", "."+string(as)+".", 1)
}

// Nor to who sent it, whom each message would cost a second time, only to be dropped.
func TestAMessageToSeveralDoesNotComeBack(t *testing.T) {
	url := startNATS(t).URL()
	c, other := dialUp(t, url, RoleBulk), dialUp(t, url, RoleControl)
	came, _ := inbox(t, c, "x")
	for _, sender := range []*Conn{c, other} {
		require.NoError(t, sender.Publish("x", "", []byte(sender.role)))
		require.NoError(t, sender.Flush(soon))
	}
	require.Equal(t, string(RoleControl), string(await(t, came).Data))
}

// Rounds are by number and by peer: no answer ends the round of another (K4), however it comes, and none ends one twice.
func TestEachAnswersItsOwnRound(t *testing.T) {
	n1, puppets, calls := puppetsOfFour(t)
	n2, n3, n4 := puppets["n2"], puppets["n3"], puppets["n4"]
	replies, left := n1.append("n2", "n3")
	require.Empty(t, left)
	c := await(t, calls)
	require.Equal(t, rpc.NodeID(AllNodes), c.h.To)
	require.Equal(t, []rpc.NodeID{"n2", "n3"}, c.h.Addressees)
	body := &rpc.AppendLogReturn{Accepted: true, Match: 8}

	dropped := func(what, reason string, by *puppet, subject string, h rpc.Header) {
		before := n1.Drops()[reason]
		by.send(subject, h, body)
		eventually(t, what, func() bool { return n1.Drops()[reason] == before+1 })
		require.Empty(t, replies, what)
	}
	n2.send(answerTo(c, "n2"), n2.header(c), body)
	require.Equal(t, []rpc.NodeID{"n2"}, froms(await(t, replies)))
	dropped("a second answer", "late return", n2, answerTo(c, "n2"), n2.header(c))
	dropped("an answer in another's name", "forged sender", n2, answerTo(c, "n3"), n2.header(c))
	dropped("an answer to all", "misaddressed", n2, c.reply, n2.header(c))
	dropped("an answer of who was not asked", "late return", n4, answerTo(c, "n4"), n4.header(c))
	h := n3.header(c)
	h.Instance[0]++
	dropped("an answer of another disk", "other instance", n3, answerTo(c, "n3"), h)
	n3.send(answerTo(c, "n3"), n3.header(c), body)
	require.Equal(t, []rpc.NodeID{"n3"}, froms(await(t, replies)))
}

// What comes on the subject of all is believed no more than what comes on one's own.
func TestAForgedMessageToSeveralIsDropped(t *testing.T) {
	url := startNATS(t).URL()
	n1 := startPeer(t, url, "n1", withMulticast)
	n2 := newPuppet(t, url, "n2", puppetOfFour)
	n1.awaitListening("n2")
	good := rpc.Header{Cluster: n2.cluster, From: "n2", To: AllNodes, Instance: n2.self.Instance, Boot: n2.self.Boot, Term: 5, Round: 1, Addressees: []rpc.NodeID{"n3", "n1"}}
	other := func(change func(*rpc.Header)) rpc.Header { h := good; change(&h); return h }
	const subject, reply = "raftbus.rpc._all.n2.AppendLog", "raftbus.rpc.n2._all.Return.x.1"
	body := rpc.Body(&rpc.AppendLogCommand{})
	for _, wrong := range []struct {
		name, subject, reply string
		h                    rpc.Header
		body                 rpc.Body
		drop                 string
	}{
		{"for others", subject, reply, other(func(h *rpc.Header) { h.Addressees = []rpc.NodeID{"n3", "n10"} }), body, "for others"},
		{"for nobody", subject, reply, other(func(h *rpc.Header) { h.Addressees = nil }), body, "for others"},
		{"for one, on the subject of all", subject, reply, other(func(h *rpc.Header) { h.To = "n1" }), body, "misaddressed"},
		{"of another", subject, reply, other(func(h *rpc.Header) { h.From = "n3" }), body, "forged sender"},
		{"of a stranger", "raftbus.rpc._all.n9.AppendLog", "raftbus.rpc.n9._all.Return.x.1", other(func(h *rpc.Header) { h.From = "n9" }), body, "unknown sender"},
		{"to be answered elsewhere", subject, "raftbus.rpc.n3._all.Return.x.1", good, body, "misaddressed"},
		{"to be answered as a command", subject, "raftbus.rpc.n2.n1.Return.x.1", good, body, "misaddressed"},
		{"another method", subject, reply, good, &rpc.RequestVoteCommand{}, "misaddressed"},
		{"a method that is never for several", "raftbus.rpc._all.n2.RequestVote", reply, good, &rpc.RequestVoteCommand{}, "misaddressed"},
		{"another instance", subject, reply, other(func(h *rpc.Header) { h.Instance[0]++ }), body, "other instance"},
		{"another cluster", subject, reply, other(func(h *rpc.Header) { h.Cluster[0]++ }), body, "other cluster"},
		{"an earlier life", subject, reply, other(func(h *rpc.Header) { h.Boot = epoch(0, 7) }), body, "earlier life"},
	} {
		before := n1.Drops()[wrong.drop]
		require.NoError(t, n2.nc.PublishRequest(wrong.subject, wrong.reply, rpc.Append(nil, &wrong.h, wrong.body, nil)))
		eventually(t, wrong.name, func() bool { return n1.Drops()[wrong.drop] == before+1 })
		require.Empty(t, n1.messages(), wrong.name)
	}
	before := n1.Drops()["misaddressed"]
	require.NoError(t, n2.nc.Publish("raftbus.rpc._all.n2."+MethodCheck, []byte("passed over")))
	require.NoError(t, n2.nc.PublishRequest(subject, reply, append([]byte{partMark}, make([]byte, 40)...)))
	require.NoError(t, n2.nc.PublishRequest(subject, reply, rpc.Append(nil, &good, body, nil)))
	eventually(t, "the good one is taken", func() bool { return len(n1.messages()) == 1 })
	require.Equal(t, rpc.Call{Round: 1, Inbox: "raftbus.rpc.n2.n1.Return.x.1"}, n1.messages()[0].Call)
	require.Equal(t, before+1, n1.Drops()["misaddressed"])
}

// Q3: whom a message is for cannot be changed without the cluster's key.
func TestTheMACKeepsOthersFromBeingAddressed(t *testing.T) {
	url := startNATS(t).URL()
	sealed := func(o *peerOptions) { o.key = []byte("a key of this cluster, long enough") }
	peers := startFour(t, url, sealed)
	n1, n4 := peers[0], peers[3]
	for _, p := range peers[1:] {
		p.echo()
	}
	overheard := overhear(t, url, "raftbus.rpc._all.>")
	replies, left := n1.append("n2", "n3")
	require.Empty(t, left)
	require.Equal(t, []rpc.NodeID{"n2", "n3"}, froms(await(t, replies), await(t, replies)))
	m, err := overheard.NextMsg(soon)
	require.NoError(t, err)
	forged := bytes.Replace(m.Data, []byte("\x4a\x02n3"), []byte("\x4a\x02n4"), 1)
	require.NotEqual(t, m.Data, forged)
	nc, err := nats.Connect(url)
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.PublishRequest(m.Subject, m.Reply, forged))
	eventually(t, "noticed", func() bool { return n4.Drops()["malformed"] == 1 })
	require.Empty(t, n4.messages())
}

func TestMulticastWorksWithThePermissionsOfNodesAlone(t *testing.T) {
	url := guardedNATS(t).URL()
	peers := startFour(t, url)
	n1 := peers[0]
	for _, p := range peers[1:] {
		p.echo()
	}
	replies, left := n1.append("n2", "n3", "n4")
	require.Empty(t, left)
	require.Equal(t, []rpc.NodeID{"n2", "n3", "n4"}, froms(await(t, replies), await(t, replies), await(t, replies)))
	for _, p := range peers {
		require.Zero(t, p.control.Stats().PermissionErrors)
		require.Zero(t, p.bulk.Stats().PermissionErrors)
	}
	// NATS lets nobody speak to all, or answer what was asked of all, in another's name (Q2, K77).
	intrude(t, url, "n2").mayNot([]string{"raftbus.rpc._all.n1.AppendLog", "raftbus.rpc._all.n1.CommitLog", "raftbus.rpc.n1.n3.Return.x.1", "raftbus.rpc.n1._all.Return.x.1"}, nil)
	intrude(t, url, "ann").mayNot([]string{"raftbus.rpc._all.n1.AppendLog"}, []string{"raftbus.rpc._all.>", "raftbus.rpc._all.n1.AppendLog"})
}

// F27: who was taken from the members while a round was open is told so, the others are heard as before.
func TestWhoLeavesEndsItsOwnRoundOnly(t *testing.T) {
	n1, puppets, calls := puppetsOfFour(t)
	replies, _ := n1.append("n2", "n3")
	c := await(t, calls)
	table := tableOf(four...)
	n1.Admit(rpc.ClusterIDOf(table), slices.Delete(slices.Clone(table), 2, 3))
	gone := await(t, replies)
	require.Equal(t, rpc.NodeID("n3"), gone.From)
	require.ErrorIs(t, gone.Err, ErrUnknownPeer)
	body := &rpc.AppendLogReturn{Accepted: true, Match: 8}
	n3 := puppets["n3"]
	n3.send(answerTo(c, "n3"), n3.header(c), body)
	n2 := puppets["n2"]
	n2.send(answerTo(c, "n2"), n2.header(c), body)
	require.Equal(t, appended{From: "n2", Instance: instanceOf("n2"), Term: 2, Return: body}, await(t, replies))
	_, left := n1.append("n2", "n3", "n4")
	require.Equal(t, []rpc.NodeID{"n3"}, left)
}

// A link that breaks while a round is open ends that one; who is broken is left to be called alone, which fails at once. When it is back, what it
// left unanswered before, however long ago, does not count (K62).
func TestABrokenLinkEndsItsOwnRoundOnly(t *testing.T) {
	t.Parallel()
	n1, puppets, calls := puppetsOfFour(t)
	replies, _ := n1.append("n2", "n3")
	c := await(t, calls)
	n3, err := n1.client("n3")
	require.NoError(t, err)
	n3.step.mu.Lock()
	require.False(t, n3.step.since.IsZero())
	n3.step.since = n3.step.since.Add(-time.Hour)
	n3.step.mu.Unlock()
	puppets["n3"].nc.Close()
	require.NoError(t, n1.to("n3").Ping())
	broken := await(t, replies)
	require.Equal(t, rpc.NodeID("n3"), broken.From)
	require.ErrorIs(t, broken.Err, ErrConnectionBroken)
	n2 := puppets["n2"]
	n2.send(answerTo(c, "n2"), n2.header(c), &rpc.AppendLogReturn{Accepted: true, Match: 8})
	require.NoError(t, await(t, replies).Err)
	_, left := n1.append("n2", "n3", "n4")
	require.Equal(t, []rpc.NodeID{"n3"}, left)
	newPuppet(t, n2.nc.ConnectedUrl(), "n3", puppetOfFour)
	n1.awaitLink("n3", "connected")
	require.True(t, n3.step.in(time.Now(), n1.patience(n3)))
}

// Nobody at all listens: that the bus does say, and it counts for all that were asked. It is no word against their own subjects: their links stand, and they are
// called alone next (K75).
func TestNobodyAtAllListens(t *testing.T) {
	url := startNATS(t).URL()
	n1 := startPeer(t, url, "n1", withMulticast)
	for _, id := range four[1:] {
		deaf := newPuppet(t, url, id, func(p *puppet) { p.cluster = rpc.ClusterIDOf(tableOf(four...)) })
		deaf.mu.Lock()
		deaf.several = true // it says so, and has not subscribed
		deaf.mu.Unlock()
	}
	for _, id := range four[1:] {
		n1.awaitListening(id)
	}
	before := n1.changes()
	replies, left := n1.append("n2", "n4")
	require.Empty(t, left)
	for range 2 {
		require.ErrorIs(t, await(t, replies).Err, ErrNoResponders)
	}
	to := []rpc.NodeID{"n2", "n4"}
	_, left = n1.append(to...)
	require.Equal(t, to, left)
	n2, err := n1.client("n2")
	require.NoError(t, err)
	n1.post(happening{client: n2, event: linkEvent{kind: evWoke}, pinged: &Pinged{Peer: "after all that"}})
	eventually(t, "all that happened is handled", func() bool {
		return slices.ContainsFunc(n1.pings(), func(p Pinged) bool { return p.Peer == "after all that" })
	})
	require.Equal(t, before, n1.changes())
}
