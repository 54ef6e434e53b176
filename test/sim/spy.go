package sim

// Sees what consensus sends, on its way to the simulated bus. It passes on everything as it is: it looks, and changes nothing.

import (
	"slices"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft/rpc"
)

// spy stands between a node and its bus, and shows the watcher every message of consensus as it leaves: there it is checked
// that what the message attests is durable (I10).
type spy struct {
	process *process
	client  spyClient
	writes  bool // an append is under way
	stops   bool // several appends are, one after the other
	synced  bool // the watcher has looked at the log since it was
	cluster rpc.ClusterID
	members []rpc.Member // as the node admits them
}

func (s *spy) Using(peer rpc.NodeID, action func(busclient.IRaftClient)) error {
	return s.process.bus.Using(peer, func(c busclient.IRaftClient) {
		s.client = spyClient{c, s, peer}
		action(&s.client)
	})
}

func (s *spy) Answer(m rpc.Message) error {
	s.leaves(m.To, m.Term, m.Body)
	return s.process.bus.Answer(m)
}

func (s *spy) MulticastAppendLog(to []rpc.NodeID, t rpc.Term, cmd *rpc.AppendLogCommand, done rpc.Done[*rpc.AppendLogReturn]) []rpc.NodeID {
	s.leave(to, t, cmd)
	return s.process.bus.MulticastAppendLog(to, t, cmd, done)
}

func (s *spy) MulticastCommitLog(to []rpc.NodeID, t rpc.Term, cmd *rpc.CommitLogCommand) []rpc.NodeID {
	s.leave(to, t, cmd)
	return s.process.bus.MulticastCommitLog(to, t, cmd)
}

// leave shows a message to several, for each of them.
func (s *spy) leave(to []rpc.NodeID, t rpc.Term, cmd rpc.Body) {
	for _, peer := range to {
		s.leaves(peer, t, cmd)
	}
}

func (s *spy) Admit(cluster rpc.ClusterID, members []rpc.Member) {
	s.cluster, s.members = cluster, members
	if s.process.node.process == s.process {
		s.process.world.watch.wrote(s.process.node) // the loop itself writes what a log begins with
	}
	s.admit()
}

// admit lets in whom the node says. In some seeds it lets in everybody, by whatever disk they have: safety does not rest on who is
// listened to (K11).
func (s *spy) admit() {
	w, list := s.process.world, s.members
	if w.plan.openDoor {
		list = slices.DeleteFunc(slices.Clone(list), func(m rpc.Member) bool { return w.nodes[m.ID].process != nil })
		for _, n := range w.list {
			if n.process != nil {
				list = append(list, n.process.member())
			}
		}
	}
	s.process.bus.Admit(s.cluster, list)
}

// Links says nothing: nobody here asks, and the status is looked at after every turn.
func (s *spy) Links() []busclient.LinkStatus { return nil }

// OnDelivered tells nobody: whoever steps the node takes its turns.
func (s *spy) OnDelivered(_, _ func(bool)) {}
func (s *spy) Corked(send func())          { send() }

func (s *spy) leaves(to rpc.NodeID, term rpc.Term, body rpc.Body) {
	s.process.world.watch.leaves(s.process, to, term, body)
}

// spyClient is a peer's client, with the calls of consensus seen.
type spyClient struct {
	busclient.IRaftClient
	spy  *spy
	peer rpc.NodeID
}

func (c *spyClient) Ping() error {
	c.spy.process.touched = true
	return c.IRaftClient.Ping()
}

func (c *spyClient) Heartbeat(t rpc.Term, cmd *rpc.HeartbeatCommand, done rpc.Done[*rpc.HeartbeatReturn]) error {
	c.spy.leaves(c.peer, t, cmd)
	return c.IRaftClient.Heartbeat(t, cmd, done)
}

func (c *spyClient) AppendLog(t rpc.Term, cmd *rpc.AppendLogCommand, done rpc.Done[*rpc.AppendLogReturn]) error {
	c.spy.leaves(c.peer, t, cmd)
	return c.IRaftClient.AppendLog(t, cmd, done)
}

func (c *spyClient) CommitLog(t rpc.Term, cmd *rpc.CommitLogCommand, done rpc.Done[*rpc.CommitLogReturn]) error {
	c.spy.leaves(c.peer, t, cmd)
	return c.IRaftClient.CommitLog(t, cmd, done)
}

func (c *spyClient) RequestVote(t rpc.Term, cmd *rpc.RequestVoteCommand, done rpc.Done[*rpc.RequestVoteReturn]) error {
	c.spy.leaves(c.peer, t, cmd)
	return c.IRaftClient.RequestVote(t, cmd, done)
}

func (c *spyClient) InstallSnapshot(t rpc.Term, cmd *rpc.InstallSnapshotCommand, done rpc.Done[*rpc.InstallSnapshotReturn]) error {
	c.spy.leaves(c.peer, t, cmd)
	return c.IRaftClient.InstallSnapshot(t, cmd, done)
}

func (c *spyClient) TimeoutNow(t rpc.Term, cmd *rpc.TimeoutNowCommand, done rpc.Done[*rpc.TimeoutNowReturn]) error {
	c.spy.leaves(c.peer, t, cmd)
	return c.IRaftClient.TimeoutNow(t, cmd, done)
}
