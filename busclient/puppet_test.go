package busclient

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// puppet is a peer that a test plays itself, with real messages: it answers pings as a good peer does, and what else
// comes as the test says.
type puppet struct {
	t    testing.TB
	nc   *nats.Conn
	self Identity
	keys *rpc.Keys

	several bool // it listens to messages to several, and says so
	mu      sync.Mutex
	cluster rpc.ClusterID
	muted   bool
	onCall  func(puppetCall)
}

type puppetCall struct {
	h       rpc.Header
	body    rpc.Body
	subject string
	reply   string
}

func newPuppet(t testing.TB, url string, id rpc.NodeID, change ...func(*puppet)) *puppet {
	nc, err := nats.Connect(url)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	p := &puppet{t: t, nc: nc, self: Identity{id, instanceOf(id), epoch(1, 7)}, cluster: rpc.ClusterIDOf(tableOf(members...))}
	for _, c := range change {
		c(p)
	}
	_, err = nc.Subscribe("raftbus.rpc."+string(id)+".>", p.take)
	require.NoError(t, err)
	if p.several {
		_, err = nc.Subscribe("raftbus.rpc._all.>", p.take)
		require.NoError(t, err)
	}
	require.NoError(t, nc.Flush())
	return p
}

func (p *puppet) take(m *nats.Msg) {
	if isPart(m.Data) || strings.Contains(m.Subject, "."+methodReturn+".") {
		return
	}
	h, body, err := rpc.Decode(m.Data, p.keys)
	if err != nil {
		return
	}
	p.mu.Lock()
	c := puppetCall{h, body, m.Subject, m.Reply}
	onCall, muted := p.onCall, p.muted
	p.mu.Unlock()
	if muted {
		return
	}
	if _, isPing := body.(*rpc.PingCommand); isPing {
		p.pong(c)
	} else if onCall != nil {
		onCall(c)
	}
}

func (p *puppet) pong(c puppetCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.send(c.reply, p.header(c), &rpc.PingReturn{SenderID: p.self.ID, Timestamp: time.Now().UnixNano(), Multicast: p.several})
}

func (p *puppet) header(c puppetCall) rpc.Header {
	return rpc.Header{Cluster: p.cluster, From: p.self.ID, To: c.h.From, Instance: p.self.Instance, Boot: p.self.Boot, Term: c.h.Term, Round: c.h.Round}
}

func (p *puppet) send(subject string, h rpc.Header, body rpc.Body) {
	if !p.nc.IsClosed() {
		require.NoError(p.t, p.nc.Publish(subject, rpc.Append(nil, &h, body, p.keys)))
	}
}

// request publishes a command of the puppet to a node.
func (p *puppet) request(to rpc.NodeID, method rpc.Method, body rpc.Body, change func(*rpc.Header)) {
	h := rpc.Header{Cluster: p.cluster, From: p.self.ID, To: to, Instance: p.self.Instance, Boot: p.self.Boot, Term: 5, Round: 1}
	if change != nil {
		change(&h)
	}
	frame := rpc.Append(nil, &h, body, p.keys)
	reply := returnsTo("raftbus", p.self.ID, to) + "x.1"
	require.NoError(p.t, p.nc.PublishRequest(requestSubject("raftbus", to, p.self.ID, method), reply, frame))
}

// mute has it answer nothing any more.
func (p *puppet) mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.muted = true
}

func (p *puppet) call(f func(puppetCall)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onCall = f
}

// puppetPair is n1, connected to a puppet n2.
func puppetPair(t testing.TB) (*peer, *puppet) {
	url := startNATS(t).URL()
	n2 := newPuppet(t, url, "n2")
	n1 := startPeer(t, url, "n1")
	n1.awaitLink("n2", "connected")
	return n1, n2
}
