package node

// Who belongs to the cluster, as far as the driver is concerned: what the log says at the start, whom the bus listens to, what
// is told to those who ping, and where this node itself stands. Who counts for what is the core's.

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// Standing is what a node is in its cluster.
type Standing uint8

const (
	// StandingNone: it has no part in a cluster yet.
	StandingNone Standing = iota
	// StandingVoter: it counts in elections and commits.
	StandingVoter
	// StandingLearner: it receives entries, and becomes a voter by itself once it has caught up.
	StandingLearner
	// StandingRemoved: the cluster goes on without it, or with another data folder under its id. It keeps its data.
	StandingRemoved
)

func (s Standing) String() string {
	return [...]string{"none", "voter", "learner", "removed"}[s]
}

// standingOf is where a node stands by the latest configuration that is known to be committed, or by a later one in its log that
// has it: what takes a member away counts once it is committed.
func standingOf(self rpc.Member, committed, inForce *rpc.Configuration) Standing {
	s := standingIn(committed, self)
	if s == StandingRemoved && inForce.Index > committed.Index {
		return standingIn(inForce, self)
	}
	return s
}

func standingIn(c *rpc.Configuration, self rpc.Member) Standing {
	found, ok := c.Member(self.ID)
	switch {
	case !ok || found.Instance != self.Instance:
		return StandingRemoved
	case c.Voter(self.ID):
		return StandingVoter
	}
	return StandingLearner
}

// configurations are those that the log holds: the base's, then one for each configuration entry.
func (n *Node) configurations(state wal.State, base rpc.Configuration) ([]rpc.Configuration, error) {
	list := []rpc.Configuration{base}
	for _, i := range state.Configurations {
		c, err := n.configuration(i)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, n.checkTold(&list[len(list)-1])
}

// configuration reads the one in an entry of the log. If that is damaged, nobody here knows who the members are, and so
// whom to take it from: the node must not start (D3).
func (n *Node) configuration(i rpc.Index) (rpc.Configuration, error) {
	entries, err := n.o.Log.Entries(onlyGroup, i, i+1, 1)
	if bad := (*wal.CorruptError)(nil); errors.As(err, &bad) {
		return rpc.Configuration{}, fmt.Errorf("the log's entry %d says who the members are, and cannot be repaired from one of them: %s: %w", i, folder.Anew(n.id()), err)
	}
	if err != nil || len(entries) == 0 {
		return rpc.Configuration{}, fmt.Errorf("read the log's entry %d, a configuration: %w", i, err)
	}
	c, err := rpc.DecodeConfiguration(entries[0].Data)
	if err == nil && c.Index != i {
		err = fmt.Errorf("it says it is of index %d", c.Index)
	}
	if err != nil {
		return c, fmt.Errorf("the configuration in the log's entry %d: %w", i, err)
	}
	return c, nil
}

// ErrOtherMembers: the data folder is of a cluster with other members than the node was told of.
var ErrOtherMembers = errors.New("the data folder belongs to a cluster of")

// checkTold holds the log's last configuration against what the node was told. The list of members is for the first boot: while no
// change was ever made a difference is a mistake, later the log alone says who belongs.
func (n *Node) checkTold(last *rpc.Configuration) error {
	known := rpc.IDs(last.Members())
	self, isMember := last.Member(n.id())
	told := n.told()
	differ := !n.o.Config.Joining() && !slices.Equal(known, told)
	switch {
	case last.Index == 0 && isMember && self.Instance != n.instance():
		return fmt.Errorf("the log knows %s by data folder instance %s, this folder is %s: parts of two folders were mixed; put back the ones that belong together", self.ID, self.Instance, n.instance())
	case last.Index == 0 && differ:
		return fmt.Errorf("%w %s, the configuration says %s: start with --members %s", ErrOtherMembers, rpc.JoinIDs(known), rpc.JoinIDs(told), rpc.JoinIDs(known))
	case differ:
		n.logger.Info("the members have changed since the first boot: the log counts, not the list given", "members", rpc.JoinIDs(known), "given", rpc.JoinIDs(told))
	}
	return nil
}

// told are the members that the node was given for its first boot, in order of id.
func (n *Node) told() []rpc.NodeID {
	var list []rpc.NodeID
	for _, m := range n.o.Config.Members() {
		list = append(list, m.ID())
	}
	return list
}

// self is this node as a member.
func (n *Node) self() rpc.Member { return rpc.Member{ID: n.id(), Instance: n.instance()} }

// admit tells the bus whom to listen to.
func (n *Node) admit(others []rpc.Member) {
	n.bus.Admit(n.cluster, append(slices.Clone(others), n.self()))
}

// noteMembers makes known what the core knows of the members: to those who ask for the status, and to peers that ping. On the
// loop, whenever it may have changed.
func (n *Node) noteMembers() {
	m := n.core.Membership()
	n.clock.of(m.Configuration)
	committed := n.core.Committed()
	if n.learned != nil && n.learned.Index > committed.Index {
		committed = *n.learned // also what is told to those who ping: they may know still less
	}
	standing := standingOf(n.self(), &committed, &m.Configuration)
	n.mu.Lock()
	before := n.status.Standing
	n.conf, n.status.Streams = &committed, n.streams.status()
	n.status.Cluster, n.status.Standing, n.status.Membership = n.cluster, standing, m
	n.status.Members = rpc.IDs(m.Configuration.Members())
	n.mu.Unlock()
	if standing != before {
		n.tellStanding(standing)
	}
}

// viewTicks is how often a leader's view of its peers is made known: it changes with every answer.
const viewTicks = 10

// refreshView makes it known from time to time.
func (n *Node) refreshView(ticks int) {
	if n.viewed += ticks; n.leading && n.viewed >= viewTicks {
		n.viewed = 0
		n.noteMembers()
	}
}

// tellStanding is what the operator reads when a node's place in the cluster changes.
func (n *Node) tellStanding(s Standing) {
	if s == StandingRemoved {
		n.logger.Warn("this node is no member of the cluster any more: its data stays as it is, and nothing waits for it; stop it, or add it again", "instance", n.instance().String())
		return
	}
	n.logger.Info("this node is a member of the cluster", "as", s.String())
}

// hearConfiguration takes a committed configuration that a peer told of.
func (n *Node) hearConfiguration(l learned) error {
	switch {
	case n.sealing != nil:
		n.sealing.learn(l) // it is told again once the core is there
		return nil
	case n.core == nil:
		return n.tryJoin(l)
	case l.conf.ClusterID() != n.cluster || n.learned != nil && l.conf.Index <= n.learned.Index || l.conf.Index <= n.core.Committed().Index:
		return nil
	}
	n.logger.Info("members changed, says a peer", "index", l.conf.Index, "members", describe(&l.conf))
	n.learned = &l.conf
	n.core.Step(raft.Learned{Configuration: l.conf})
	n.noteMembers()
	n.keepStarts()
	return nil
}

// describe is a configuration for a reader of the log.
func describe(c *rpc.Configuration) string {
	parts := []string{"voters " + names(c.Voters)}
	if c.Joint() {
		parts = append(parts, "outgoing "+names(c.Outgoing))
	}
	if len(c.Learners) > 0 {
		parts = append(parts, "learners "+names(c.Learners))
	}
	return strings.Join(parts, "; ")
}

func names(list []rpc.Member) string { return rpc.JoinIDs(rpc.IDs(list)) }
