package node

import "github.com/raftbus/raftbus/raft/config"

// Queue is how full one of the node's queues is.
type Queue struct {
	Name    string
	Waiting int
	Max     int // beyond it who sends is refused, or what is sent is dropped
}

// Queues are the node's queues, in the order of a request's way. It takes locks that are held for a moment only: it never waits for a
// turn, nor a turn for it.
func (n *Node) Queues() []Queue {
	n.waiters.mu.Lock()
	proposals, bytes := n.waiters.count, n.waiters.bytes
	n.waiters.mu.Unlock()
	n.inbox.mu.Lock()
	messages, messageBytes, notices := n.inbox.messages, n.inbox.bytes, n.inbox.notices
	n.inbox.mu.Unlock()
	list := []Queue{
		{"proposals", proposals, ProposalsMax},
		{"proposal_bytes", bytes, ProposalBytesMax},
		{"reads", int(n.readers.count.Load()), readsMax},
		{"messages", messages, messagesMax},
		{"message_bytes", messageBytes, messageBytesMax},
		{"notices", notices, noticesMax},
	}
	if a := n.appender; a != nil {
		a.mu.Lock()
		list = append(list, Queue{"appends", len(a.waiting), jobsMax})
		a.mu.Unlock()
	}
	if n.applier != nil {
		list = append(list, Queue{"applies", n.applier.waiting(), applyWorkMax}, Queue{"loads", n.loader.waiting(), config.MaxMembers})
	}
	return list
}
