package jetstream

// Whom a client may have a node speak to. A node answers wherever a request says, delivers wherever a watcher says, and has rights that
// the client has not: so it says nothing where what it says would be an order to somebody.

import (
	"strings"

	"github.com/raftbus/raftbus/kv/subject"
)

// answerSubjectMax bounds where a node answers, in bytes: NATS ends a connection for a line of more than 4 KiB, and who has a leaf connection may send
// longer ones (F11).
const answerSubjectMax = 3 << 10

// MayAnswer reports whether a node answers a request there: not where that may be an order, nor where it would cost the node its connection.
func MayAnswer(prefix, to string) bool { return len(to) <= answerSubjectMax && !IsOrder(prefix, to) }

// IsOrder reports whether a message on the subject may be an order: to the nodes of the cluster with that prefix, or to NATS. What goes to
// a node's inbox is none: <prefix>.node.<id>._inbox.<what nobody can guess>.
func IsOrder(prefix, to string) bool {
	ours := len(to) > len(prefix) && to[len(prefix)] == '.' && to[:len(prefix)] == prefix
	return strings.HasPrefix(to, "$") || ours && !isInbox(to[len(prefix)+1:])
}

// mayOrder reports whether a bucket's entries would be orders where they are to be published again. Of a destination that begins with a
// placeholder nobody knows before there is an entry.
func mayOrder(prefix, destination string) bool {
	first, _, _ := strings.Cut(destination, ".")
	_, open := placeholder(first)
	return !open && strings.HasPrefix(first, "$") || subject.Overlap(destination, prefix+".>")
}

func isInbox(rest string) bool {
	rest, ofNode := strings.CutPrefix(rest, "node.")
	_, rest, _ = strings.Cut(rest, ".")
	return ofNode && strings.HasPrefix(rest, "_inbox.")
}
