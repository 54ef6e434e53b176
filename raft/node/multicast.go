package node

// What leaves in one turn for several peers alike leaves as one message, where the bus has multicast. The core knows nothing of it: it
// hands out a message per peer, and those at the same place in its log get the same entries in the same memory.

import (
	"slices"

	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
)

// turnSender sends the messages of a turn. Owned by the loop.
type turnSender struct {
	sender    *sender
	multicast bool // peers get alike what may be shared; false: each message goes by itself

	sent  []bool       // of the list under way, by place; reused
	group []int        // the places of messages alike; reused
	peers []rpc.NodeID // whom those are for; reused
}

// send sends a list in its order, as far as each peer can see.
func (t *turnSender) send(list []rpc.Message) {
	if len(list) < 2 {
		t.sendAll(list)
		return
	}
	t.sender.bus.Corked(func() { t.sendAll(list) })
}

func (t *turnSender) sendAll(list []rpc.Message) {
	t.sent = append(t.sent[:0], make([]bool, len(list))...)
	for i := range list {
		switch {
		case t.sent[i]:
		case t.multicast && shareable(list[i].Body) && t.gather(list, i) > 1:
			t.sendGroup(list)
		default:
			t.sender.send(list[i])
		}
	}
}

func shareable(b rpc.Body) bool {
	switch b.(type) {
	case *rpc.AppendLogCommand, *rpc.CommitLogCommand:
		return true
	}
	return false
}

// gather finds the messages that are alike to the one at a place: of each peer only what it is to get next, so that nothing
// overtakes. It returns how many they are.
func (t *turnSender) gather(list []rpc.Message, first int) int {
	t.group, t.peers = t.group[:0], t.peers[:0]
	var seen [config.MaxMembers]rpc.NodeID
	others := seen[:0]
	for i := first; i < len(list); i++ {
		m := &list[i]
		if t.sent[i] || slices.Contains(t.peers, m.To) || slices.Contains(others, m.To) {
			continue
		}
		if alike(&list[first], m) {
			t.group, t.peers = append(t.group, i), append(t.peers, m.To)
		} else {
			others = append(others, m.To)
		}
	}
	return len(t.group)
}

// alike reports whether two messages say the same. Entries are the same if they are in the same memory.
func alike(a, b *rpc.Message) bool {
	if a.Term != b.Term {
		return false
	}
	switch x := a.Body.(type) {
	case *rpc.AppendLogCommand:
		y, ok := b.Body.(*rpc.AppendLogCommand)
		return ok && x.Prev == y.Prev && x.Commit == y.Commit && len(x.Entries) == len(y.Entries) && (len(x.Entries) == 0 || &x.Entries[0] == &y.Entries[0])
	case *rpc.CommitLogCommand:
		y, ok := b.Body.(*rpc.CommitLogCommand)
		return ok && *x == *y
	}
	return false
}

// sendGroup sends the messages of the group as one, and by itself to whom that cannot go.
func (t *turnSender) sendGroup(list []rpc.Message) {
	m, left := &list[t.group[0]], []rpc.NodeID(nil)
	switch cmd := m.Body.(type) {
	case *rpc.AppendLogCommand:
		left = t.sender.bus.MulticastAppendLog(t.peers, m.Term, cmd, back[*rpc.AppendLogReturn](t.sender, cmd))
	case *rpc.CommitLogCommand:
		left = t.sender.bus.MulticastCommitLog(t.peers, m.Term, cmd)
	}
	for _, i := range t.group {
		t.sent[i] = true
		if slices.Contains(left, list[i].To) {
			t.sender.send(list[i])
		}
	}
}
