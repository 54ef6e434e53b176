package node

import (
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Notice is something that an operator may want to hear of when it happens. Nothing is decided by it. What does not belong to its kind
// is zero.
type Notice struct {
	Kind    NoticeKind
	State   string     // role: the role; link: connected, broken; members: committed, pending; snapshot: sending, sent, failed, installed
	Term    rpc.Term   // role and leader
	Peer    rpc.NodeID // leader: who, empty for nobody; link, snapshot: with whom, empty for one that this node installed
	Index   rpc.Index  // members: of the configuration; snapshot: the state is as of that entry
	Members string     // members: voters n1,n2,n3; learners n4
	Reason  string
}

// NoticeKind says what a Notice is about.
type NoticeKind string

// The kinds.
const (
	NoticeRole     NoticeKind = "role"
	NoticeLeader   NoticeKind = "leader"
	NoticeLink     NoticeKind = "link"
	NoticeMembers  NoticeKind = "members"
	NoticeSnapshot NoticeKind = "snapshot"
)

func (n *Node) notice(note Notice) {
	if n.o.Notice != nil {
		n.o.Notice(note)
	}
}

// noticeFact tells of a fact, if it is one of those.
func (n *Node) noticeFact(f raft.Fact) {
	switch f := f.(type) {
	case raft.RoleChanged:
		n.notice(Notice{Kind: NoticeRole, State: f.Role.String(), Term: f.Term, Reason: f.Reason})
	case raft.LeaderChanged:
		n.notice(Notice{Kind: NoticeLeader, Peer: f.Leader, Term: f.Term, Reason: f.Reason})
	case raft.ConfigurationChanged:
		n.notice(Notice{Kind: NoticeMembers, State: map[bool]string{true: "committed", false: "pending"}[f.Committed], Index: f.Configuration.Index, Members: describe(&f.Configuration)})
	case raft.SnapshotInstalled:
		n.notice(Notice{Kind: NoticeSnapshot, State: "installed", Index: f.Snapshot.Index})
	}
}
