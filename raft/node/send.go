package node

// Sending: commands of the core become calls of the peer's IRaftClient, returns go back the way their command came.
// Nothing here waits: a call that cannot be made comes back to the core as Failed.

import (
	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Bus is what a node needs of busclient's service.
type Bus interface {
	busclient.IRaftClientService
	// Answer sends a return to where its command came from.
	Answer(m rpc.Message) error
	// Admit tells the bus whom to believe from now on: the cluster, and each member's instance.
	Admit(cluster rpc.ClusterID, members []rpc.Member)
	// Links describes the link to every peer.
	Links() []busclient.LinkStatus
	// OnDelivered has one of two called when messages of a connection were handed to the node; whole: on the goroutine that handed them out, and they
	// were all that had arrived.
	OnDelivered(control, bulk func(whole bool))
	// Corked has what is sent meanwhile leave together.
	Corked(send func())
	// MulticastAppendLog and MulticastCommitLog send one message to several peers. They return those that it did not go to.
	MulticastAppendLog(to []rpc.NodeID, term rpc.Term, cmd *rpc.AppendLogCommand, done rpc.Done[*rpc.AppendLogReturn]) (left []rpc.NodeID)
	MulticastCommitLog(to []rpc.NodeID, term rpc.Term, cmd *rpc.CommitLogCommand) (left []rpc.NodeID)
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
		s.inbox.notice(failed(m.To, m.Body))
	}
}

func (s *sender) call(c busclient.IRaftClient, m rpc.Message) error {
	switch cmd := m.Body.(type) {
	case *rpc.HeartbeatCommand:
		return c.Heartbeat(m.Term, cmd, back[*rpc.HeartbeatReturn](s, cmd))
	case *rpc.AppendLogCommand:
		return c.AppendLog(m.Term, cmd, back[*rpc.AppendLogReturn](s, cmd))
	case *rpc.CommitLogCommand:
		return c.CommitLog(m.Term, cmd, back[*rpc.CommitLogReturn](s, cmd))
	case *rpc.RequestVoteCommand:
		return c.RequestVote(m.Term, cmd, back[*rpc.RequestVoteReturn](s, cmd))
	case *rpc.InstallSnapshotCommand:
		return c.InstallSnapshot(m.Term, cmd, back[*rpc.InstallSnapshotReturn](s, cmd))
	case *rpc.TimeoutNowCommand:
		return c.TimeoutNow(m.Term, cmd, back[*rpc.TimeoutNowReturn](s, cmd))
	}
	return nil
}

// back brings what came of a call to the loop.
func back[R rpc.Body](s *sender, cmd rpc.Body) rpc.Done[R] {
	return func(r rpc.Reply[R]) {
		if r.Err != nil {
			s.inbox.notice(failed(r.From, cmd))
			return
		}
		s.inbox.message(rpc.Message{From: r.From, Instance: r.Instance, To: s.self, Term: r.Term, Body: r.Return})
	}
}

func failed(peer rpc.NodeID, cmd rpc.Body) raft.Failed {
	f := raft.Failed{Peer: peer, Method: cmd.Method()}
	if entries, ok := cmd.(*rpc.AppendLogCommand); ok {
		f.Last = entries.Last()
	}
	return f
}

// ping asks for a ping now; its outcome comes through Node.Pinged.
func (s *sender) ping(peer rpc.NodeID) {
	_ = s.bus.Using(peer, func(c busclient.IRaftClient) { _ = c.Ping() }) // an unknown peer, a closed bus: no outcome
}
