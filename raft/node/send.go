package node

import (
	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Sending: commands of the core become calls of the peer's IRaftClient, returns go back the way their command came.
// Nothing here waits: a call that cannot be made comes back to the core as Failed.

// Bus is what a node needs of busclient's service.
type Bus interface {
	busclient.IRaftClientService
	// Answer sends a return to where its command came from.
	Answer(m rpc.Message) error
	// Admit tells the bus whom to believe from now on: the cluster, and each member's instance.
	Admit(cluster rpc.ClusterID, members []rpc.Member)
	// Links describes the link to every peer.
	Links() []busclient.LinkStatus
}

// sender sends messages of the core. Safe for use by the loop and the appender at once.
type sender struct {
	self  rpc.NodeID
	bus   Bus
	inbox *inbox
}

func (s *sender) send(m rpc.Message) {
	if m.Body.IsReturn() {
		_ = s.bus.Answer(m) // a lost answer is a lost message: the leader asks again
		return
	}
	var err error
	using := s.bus.Using(m.To, func(c busclient.IRaftClient) { err = s.call(c, m) })
	if using != nil || err != nil {
		s.inbox.notice(raft.Failed{Peer: m.To, Method: m.Body.Method()})
	}
}

func (s *sender) call(c busclient.IRaftClient, m rpc.Message) error {
	switch cmd := m.Body.(type) {
	case *rpc.HeartbeatCommand:
		return c.Heartbeat(m.Term, cmd, func(r rpc.Reply[*rpc.HeartbeatReturn]) { s.back(r.From, r.Term, r.Return, r.Err, rpc.MethodHeartbeat) })
	case *rpc.AppendLogCommand:
		return c.AppendLog(m.Term, cmd, func(r rpc.Reply[*rpc.AppendLogReturn]) { s.back(r.From, r.Term, r.Return, r.Err, rpc.MethodAppendLog) })
	case *rpc.CommitLogCommand:
		return c.CommitLog(m.Term, cmd, func(r rpc.Reply[*rpc.CommitLogReturn]) { s.back(r.From, r.Term, r.Return, r.Err, rpc.MethodCommitLog) })
	case *rpc.RequestVoteCommand:
		return c.RequestVote(m.Term, cmd, func(r rpc.Reply[*rpc.RequestVoteReturn]) {
			s.back(r.From, r.Term, r.Return, r.Err, rpc.MethodRequestVote)
		})
	}
	return nil
}

// back brings what came of a call to the loop.
func (s *sender) back(from rpc.NodeID, term rpc.Term, body rpc.Body, err error, method rpc.Method) {
	if err != nil {
		s.inbox.notice(raft.Failed{Peer: from, Method: method})
		return
	}
	s.inbox.message(rpc.Message{From: from, To: s.self, Term: term, Body: body})
}

// ping asks for a ping now; its outcome comes through Node.Pinged.
func (s *sender) ping(peer rpc.NodeID) {
	_ = s.bus.Using(peer, func(c busclient.IRaftClient) { _ = c.Ping() }) // an unknown peer, a closed bus: no outcome
}
