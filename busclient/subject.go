package busclient

// All subjects of raftbus, and nothing else (design section 4). Subjects are built when a peer becomes known, not per
// message; only the round's token of a reply subject differs from message to message.

import (
	"strconv"
	"strings"

	"github.com/raftbus/raftbus/raft/rpc"
)

// The second tokens of the subjects under a cluster's prefix: families that permissions speak of.
const (
	FamilyRPC    = "rpc"    // <prefix>.rpc.<to>.<from>.<method>: Raft, nodes only; <to> may be AllNodes
	FamilyBucket = "bucket" // <prefix>.bucket.<op>[.<bucket>]: the native API for buckets
	FamilyKV     = "kv"     // <prefix>.kv.<op>.<bucket>[.<key...>]: the native API for keys
	FamilyNode   = "node"   // <prefix>.node.<id>.<op>: what a node shows of itself or gives away, and its inbox; see NodeSubject
	FamilyAdmin  = "admin"  // <prefix>.admin.<op>: administration
	FamilyEvent  = "event"  // <prefix>.event.<kind>: what happened, for whoever listens
)

// AllNodes takes the place of a node's id in subjects that every node listens on; no id starts with '_'.
const AllNodes = "_all"

// MethodCheck is no method of Raft: a message with it tries what NATS lets pass, and no node takes it.
const MethodCheck = "_check"

// NodeSubject is where a node, or with AllNodes every node, is asked for what it shows of itself or gives away: status, stats, health,
// metrics, backup.
func NodeSubject(prefix, node, what string) string {
	return prefix + "." + FamilyNode + "." + node + "." + what
}

// StatusSubject is where a node, or with AllNodes every node, is asked for its status.
func StatusSubject(prefix, node string) string { return NodeSubject(prefix, node, "status") }

// StatsSubject is where a node, or with AllNodes every node, is asked for its figures.
func StatsSubject(prefix, node string) string { return NodeSubject(prefix, node, "stats") }

// ListensSubject is where it shows that a node listens to clients, or did on a connection that NATS has not given up: somebody is subscribed.
// Sessions tell apart a node's own times of listening. Nobody answers there.
func ListensSubject(prefix, node string, session int) string {
	return NodeSubject(prefix, node, "listens") + "." + strconv.Itoa(session)
}

// ConsumersSubject is where a node, or with AllNodes every node, hears what another tells of the consumers that it serves.
func ConsumersSubject(prefix, to, from string) string {
	return NodeSubject(prefix, to, "consumers") + "." + from
}

// methodReturn is the method's token in the subject of a return. The asker names it, with the peer as the sender:
//
//	<prefix>.rpc.<asker>.<peer>.Return.<nonce>.<round>
//
// so that the permission which lets a node speak only as itself covers its answers too, and nobody but the peer asked can
// answer (K77); the nonce, random per service and connection, keeps answers to an earlier process of that name away. With a message to
// several AllNodes stands for the peer, and each puts itself in its place.
const methodReturn = "Return"

// path is one of the two connections between nodes.
type path uint8

const (
	control path = iota
	bulk
	paths // how many there are
)

func (p path) String() string { return [...]string{"control", "bulk"}[p] }

// pathOf is the connection a method travels on, at both ends.
func pathOf(m rpc.Method) path {
	if m.Bulk() {
		return bulk
	}
	return control
}

// served are the methods that a node listens for on each connection.
var served = [paths][]rpc.Method{
	control: {rpc.MethodPing, rpc.MethodHeartbeat, rpc.MethodCommitLog, rpc.MethodRequestVote, rpc.MethodTimeoutNow},
	bulk:    {rpc.MethodPingBulk, rpc.MethodAppendLog, rpc.MethodInstallSnapshot},
}

// toSeveral are the methods of messages to several. Both travel on the bulk connection, and come by one subscription: so a CommitLog
// comes after the AppendLogs that it speaks of, and that connection brings nobody back what he sent himself.
var toSeveral = []rpc.Method{rpc.MethodAppendLog, rpc.MethodCommitLog}

// pingMethod is the method's token of a ping on a connection.
var pingMethod = [paths]rpc.Method{control: rpc.MethodPing, bulk: rpc.MethodPingBulk}

// family is "<prefix>.rpc.".
func family(prefix string) string { return prefix + "." + FamilyRPC + "." }

// requestSubject is where `to` hears method from `from`; from may be the wildcard "*".
func requestSubject(prefix string, to, from rpc.NodeID, method rpc.Method) string {
	return family(prefix) + string(to) + "." + string(from) + "." + string(method)
}

// inboxSubject is what a connection subscribes to for the returns of all peers.
func inboxSubject(prefix string, self rpc.NodeID, nonce string) string {
	return family(prefix) + string(self) + ".*." + methodReturn + "." + nonce + ".*"
}

// returnsTo is what the reply subjects of asker begin with when it asks peer.
func returnsTo(prefix string, asker, peer rpc.NodeID) string {
	return family(prefix) + string(asker) + "." + string(peer) + "." + methodReturn + "."
}

// routes are the subjects between this node and one peer.
type routes struct {
	requests map[rpc.Method]string // where the peer listens
	returns  [paths]string         // what this node's reply subjects begin with; the round follows
	inbox    string                // what the reply subjects of the peer must begin with
	shared   string                // and those of its messages to several: AllNodes stands for who answers
}

func newRoutes(prefix string, self, peer rpc.NodeID, nonces [paths]string) routes {
	r := routes{requests: map[rpc.Method]string{}, inbox: returnsTo(prefix, peer, self), shared: returnsTo(prefix, peer, AllNodes)}
	for p := range paths {
		for _, m := range served[p] {
			r.requests[m] = requestSubject(prefix, peer, self, m)
		}
		r.returns[p] = returnsTo(prefix, self, peer) + nonces[p] + "."
	}
	return r
}

// ownInbox is where this node answers a message to several that came with that reply subject: there it is the sender, as its
// permissions demand.
func (r *routes) ownInbox(reply string) (inbox string, ok bool) {
	rest, ok := strings.CutPrefix(reply, r.shared)
	return r.inbox + rest, ok
}

// reply is the subject on which the return of a round is awaited.
func (r *routes) reply(p path, round uint64) string {
	return r.returns[p] + strconv.FormatUint(round, 10)
}

// parseRequest takes the sender and the method from a subject that starts with own, "<prefix>.rpc.<self>.".
func parseRequest(own, subject string) (from rpc.NodeID, method rpc.Method, ok bool) {
	rest, ok := strings.CutPrefix(subject, own)
	if !ok {
		return "", "", false
	}
	sender, name, ok := strings.Cut(rest, ".")
	return rpc.NodeID(sender), rpc.Method(name), ok
}

// parseReturn takes the answering peer and the round from a subject that the inbox of a connection received.
func parseReturn(own, subject string) (from rpc.NodeID, round uint64, ok bool) {
	rest, ok := strings.CutPrefix(subject, own)
	if !ok {
		return "", 0, false
	}
	sender, rest, _ := strings.Cut(rest, ".")
	round, err := strconv.ParseUint(rest[strings.LastIndexByte(rest, '.')+1:], 10, 64)
	return rpc.NodeID(sender), round, err == nil
}

// VoidSubject is a subject that nobody listens to.
func VoidSubject(prefix string) string { return prefix + "._" }

// NodeIn is a node's name in an account that it serves beside the first, whose own name is empty: that of its connections there, and as the
// host of consumers. No id has an @.
func NodeIn(account, id string) string {
	if account == "" {
		return id
	}
	return id + "@" + account
}

// inboxOf is where a node hears what it asked clients' subjects: a subject of its own, so that it needs no inbox that others could
// write to (K77).
func inboxOf(prefix, node string) string { return prefix + "." + FamilyNode + "." + node + "._inbox" }
