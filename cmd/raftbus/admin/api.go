package admin

// What is asked and answered on <prefix>.admin.<op>, as JSON. Each operation has a subject of its own, so that NATS permissions can
// give the right to look apart from the right to change (Q9).

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// The operations.
const (
	OpMembers     = "members"     // body: none. Answered with Members
	OpReconfigure = "reconfigure" // body: Change. Answered with Changed, once the change is committed
	OpTransfer    = "transfer"    // body: Transfer, or none. Answered with Transferred, once another leads
	OpRaise       = "raise"       // body: none. Answered with Raised, once the cluster is open to what all members know
)

// Subject is where the leader is asked for an operation. 'No responders' means that nobody leads now: certainly not done.
func Subject(prefix, op string) string { return prefix + "." + busclient.FamilyAdmin + "." + op }

// Members is who belongs to the cluster, as its leader knows it.
type Members struct {
	Cluster string `json:"cluster"`
	Leader  string `json:"leader"`
	Term    uint64 `json:"term"`
	Index   uint64 `json:"index"` // of the configuration in force; 0: the table of the first boot. For Change.If
	// Committed and Joint tell of a change under way: it is through once the configuration is committed and not joint.
	Committed bool     `json:"committed"`
	Joint     bool     `json:"joint"`
	Transfer  string   `json:"transfer,omitempty"` // to whom the leader is handing over
	Last      uint64   `json:"last"`               // of the leader's log
	Commit    uint64   `json:"commit"`
	Members   []Member `json:"members"` // in order of id
}

// Roles of a member.
const (
	RoleVoter    = "voter"
	RoleLearner  = "learner"  // it gets the log, and becomes a voter by itself once it has caught up
	RoleOutgoing = "outgoing" // a voter that leaves with the change under way
)

// Member is one member, and how far the leader knows it to be.
type Member struct {
	ID       string `json:"id"`
	Instance string `json:"instance"` // of its data folder, in hex
	Role     string `json:"role"`
	// State is "leader"; "replicate": it follows; "probe": the leader looks for where their logs meet; "snapshot": it needs what the
	// log no longer holds; "unreachable": it does not answer the leader.
	State string `json:"state"`
	Match uint64 `json:"match"` // index up to which it holds the log durably, as far as the leader knows
	Lag   uint64 `json:"lag"`   // entries of the leader's log that it is not known to hold
	// Lacks: it says that it had better not lead, since its disk is full, no client reaches it, or its state machine is behind.
	Lacks bool `json:"lacks,omitempty"`
}

// Change is a change of the membership: all of it together, or nothing.
type Change struct {
	// Add are members to come, as learners at first. One that is a member under another instance takes its place: its disk was lost.
	Add    []NewMember `json:"add,omitempty"`
	Remove []string    `json:"remove,omitempty"`
	// If is the index of the configuration that whoever asks has seen: with another in force the change is refused, so that two
	// administrators cannot undo each other's work unawares (Q9). Absent: whichever is in force.
	If *uint64 `json:"if,omitempty"`
}

// NewMember is a node to be added: its id, and the instance of its data folder, which its status shows.
type NewMember struct {
	ID       string `json:"id"`
	Instance string `json:"instance"`
}

// Changed answers a Change that is committed.
type Changed struct {
	Index uint64 `json:"index"` // of the configuration that it began with
	Term  uint64 `json:"term"`
}

// Transfer asks the leader to hand over.
type Transfer struct {
	To string `json:"to,omitempty"` // a voter; empty: the one that holds most of the log
}

// Transferred answers it.
type Transferred struct {
	Leader string `json:"leader"` // who leads now, as far as the one that did knows; empty: it does not know yet
}

// Raised says up to which version of commands the cluster is open: no member can go back to a release that does not know it. To raise
// again what is raised changes nothing, so it may be asked for again whenever its outcome is unknown.
type Raised struct {
	Open uint64 `json:"open"`
}

// Member finds a member.
func (m *Members) Member(id string) (Member, bool) {
	i := slices.IndexFunc(m.Members, func(o Member) bool { return o.ID == id })
	if i < 0 {
		return Member{}, false
	}
	return m.Members[i], true
}

// Settled reports whether no change is under way but learners that catch up.
func (m *Members) Settled() bool { return m.Committed && !m.Joint }

// newMembers reads them from a leader's status.
func newMembers(s *node.Status) Members {
	conf := &s.Configuration
	m := Members{
		Cluster: s.Cluster.String(), Leader: string(s.Leader), Term: uint64(s.Term),
		Index: uint64(conf.Index), Committed: s.Committed, Joint: conf.Joint(), Transfer: string(s.Transfer),
		Last: uint64(s.Last), Commit: uint64(s.Commit), Members: []Member{},
	}
	for _, member := range conf.Members() {
		m.Members = append(m.Members, newMember(s, member))
	}
	slices.SortFunc(m.Members, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return m
}

func newMember(s *node.Status, member rpc.Member) Member {
	m := Member{ID: string(member.ID), Instance: member.Instance.String(), Role: role(&s.Configuration, member), State: "unreachable"}
	match := rpc.Index(0)
	if member.ID == s.ID {
		m.State, match = "leader", s.Synced
	} else if p := peer(s.Peers, member.ID); p != nil {
		match, m.Lacks = p.Match, p.Lacks
		if p.Connected {
			m.State = p.State
		}
	}
	m.Match, m.Lag = uint64(match), uint64(s.Last-min(match, s.Last))
	return m
}

func role(c *rpc.Configuration, m rpc.Member) string {
	switch {
	case slices.Contains(c.Voters, m):
		return RoleVoter
	case slices.Contains(c.Learners, m):
		return RoleLearner
	}
	return RoleOutgoing
}

func peer(list []raft.PeerStatus, id rpc.NodeID) *raft.PeerStatus {
	for i := range list {
		if list[i].ID == id {
			return &list[i]
		}
	}
	return nil
}

// change is what the core is asked for.
func (c *Change) change() (raft.Change, error) {
	var out raft.Change
	for _, m := range c.Add {
		instance, err := ParseInstance(m.Instance)
		if err != nil {
			return out, fmt.Errorf("%s: %w", m.ID, err)
		}
		out.Add = append(out.Add, rpc.Member{ID: rpc.NodeID(m.ID), Instance: instance})
	}
	for _, id := range c.Remove {
		out.Remove = append(out.Remove, rpc.NodeID(id))
	}
	if c.If != nil {
		out.If = new(rpc.Index(*c.If))
	}
	return out, nil
}

// ParseInstance reads an instance id as a status shows it.
func ParseInstance(text string) (rpc.InstanceID, error) {
	instance, err := rpc.ParseInstance(text)
	if err != nil || instance == (rpc.InstanceID{}) {
		return instance, fmt.Errorf("instance %q: use the %d hex digits that the node's status shows", text, 2*len(instance))
	}
	return instance, nil
}
