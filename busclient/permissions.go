package busclient

// Templates of what NATS must allow each kind of user, and nothing else: NATS, not this code, then decides who can speak as
// whom (design section 4; Q2, Q5). They are plain subject lists, for a server's configuration file, for a JWT, or for the
// embedded server.

import (
	"cmp"
	"slices"

	"github.com/raftbus/raftbus/raft/rpc"
)

// Permissions are the subjects that a user may publish and subscribe.
type Permissions struct {
	Publish   []string
	Subscribe []string
	// DenyPublish is what of Publish is refused all the same.
	DenyPublish []string
	// Responses allows a user to answer a request on the reply subject it came with, whatever that is.
	Responses bool
}

// And is what is allowed by either. What one denies is denied.
func (p Permissions) And(other Permissions) Permissions {
	return Permissions{
		Publish:     slices.Concat(p.Publish, other.Publish),
		Subscribe:   slices.Concat(p.Subscribe, other.Subscribe),
		DenyPublish: slices.Concat(p.DenyPublish, other.DenyPublish),
		Responses:   p.Responses || other.Responses,
	}
}

// Roles makes the permissions of who has to do with one cluster.
type Roles struct {
	Prefix     string   // first token of the cluster's subjects
	Domain     string   // of $JS.<domain>.API, if it is not the prefix
	DefaultAPI bool     // KV clients may use $JS.API too: where no other JetStream serves the account
	Republish  []string // where nodes may publish what buckets with republish say, and users may listen
}

// Node is for a node's control and bulk connections: it speaks only as itself, and hears only what is for it.
// The answers of its peers come on its own subjects too, so it needs no inbox that others could write to (K77).
func (r Roles) Node(id rpc.NodeID) Permissions {
	return Permissions{
		Publish:   []string{family(r.Prefix) + "*." + string(id) + ".>"},
		Subscribe: []string{family(r.Prefix) + string(id) + ".>", family(r.Prefix) + AllNodes + ".>"},
	}
}

// Service is for a node's connection to its clients. A deployment with one user per node gives it Node as well: see And.
func (r Roles) Service(id rpc.NodeID) Permissions {
	p := r.serving(string(id)).And(Permissions{
		Publish: []string{
			r.Prefix + "." + FamilyEvent + ".>",
			r.Prefix + "." + FamilyBucket + ".ls", // asked before the log says "ready"
			StatusSubject(r.Prefix, AllNodes),     // who else is under the prefix (F14)
			StatusSubject(r.Prefix, string(id)),   // its own health check
			// What its web page shows, by reading only.
			StatsSubject(r.Prefix, AllNodes), r.Prefix + "." + FamilyKV + ".keys.*", r.Prefix + "." + FamilyKV + ".get.*.>",
		},
		Subscribe: []string{
			NodeSubject(r.Prefix, AllNodes, ">"),
			r.Prefix + "." + FamilyAdmin + ".>",
			"$SRV.>", // nats micro shows it
		},
	})
	p.Publish = append(p.Publish, r.Republish...)
	return p
}

// Answering is for who answers the users with these inbox prefixes, besides Service or ServiceIn: there NATS need keep no account of what was asked. What
// may be said only because it was asked, NATS lets be said once for each reply subject, however many requests name it, and remembers until then (L9, F12).
func Answering(inboxPrefixes ...string) (p Permissions) {
	for _, prefix := range inboxPrefixes {
		p.Publish = append(p.Publish, prefix+".>")
	}
	return p
}

// ServiceIn is for a node's connection to the clients of an account that is served beside the first: it answers about keys, and nothing else.
func (r Roles) ServiceIn(account string, id rpc.NodeID) Permissions {
	return r.serving(NodeIn(account, string(id))).And(Permissions{Subscribe: []string{ConsumersSubject(r.Prefix, AllNodes, "*")}})
}

// serving is what serving the clients of an account takes, under the node's name there.
func (r Roles) serving(name string) Permissions {
	return Permissions{
		Publish: []string{
			VoidSubject(r.Prefix),
			ConsumersSubject(r.Prefix, "*", name),   // what nodes tell each other of those that they serve
			NodeSubject(r.Prefix, "*", "listens.*"), // who listens
			// Another JetStream of the account is asked what it has.
			"$JS.API.INFO", "$JS.API.STREAM.INFO.*",
		},
		Subscribe: []string{
			r.Prefix + "." + FamilyBucket + ".>",
			r.Prefix + "." + FamilyKV + ".>",
			NodeSubject(r.Prefix, name, ">"),
			"$JS." + r.domain() + ".API.>",
			"$JS.API.>",
			"$KV.>",
		},
		Responses: true,
	}
}

// Leaf is for a node's leaf connection: it delivers to whatever subject a watcher names, but to none that is an order to somebody, and
// hears how far watchers are.
func (r Roles) Leaf(id rpc.NodeID) Permissions {
	return Permissions{
		Publish:     []string{">"},
		DenyPublish: []string{r.Prefix + ".>", "$JS.>", "$KV.>", "$SYS.>", "$SRV.>"},
		Subscribe:   []string{"$JS.FC.*.*." + string(id) + ".*"},
	}
}

// LeafIn is Leaf in an account that is served beside the first.
func (r Roles) LeafIn(account string, id rpc.NodeID) Permissions {
	return r.Leaf(rpc.NodeID(NodeIn(account, string(id))))
}

// ClientIn is for a user of an account that is served beside the first: buckets and keys, and an inbox of its own. Status, events and what is
// published again are the first account's.
func (r Roles) ClientIn(user string) Permissions {
	return Permissions{Publish: r.keys(), Subscribe: []string{InboxPrefix(user) + ".>"}}
}

// Guest is for a user of an account that nodes do not serve, which imports Requests: those, and an inbox of its own.
func (r Roles) Guest(user string) Permissions {
	return Permissions{Publish: r.Requests(), Subscribe: []string{InboxPrefix(user) + ".>"}}
}

// Requests are the native requests about buckets and keys that another account may import as a service: each takes one answer, and has nobody say
// anything but that. A watch delivers to the subject that it names, in the account that is served, and a bucket that is imported may say that it is
// published again there: neither is for clients of another account (Q2).
func (r Roles) Requests() (list []string) {
	for _, op := range []string{"add.*", "update.*", "rm.*", "info.*", "ls"} {
		list = append(list, r.Prefix+"."+FamilyBucket+"."+op)
	}
	for _, op := range []string{"put.*.>", "create.*.>", "update.*.>", "delete.*.>", "purge.*.>", "get.*.>", "history.*.>", "keys.*"} {
		list = append(list, r.Prefix+"."+FamilyKV+"."+op)
	}
	return list
}

// Anonymous is for who says no name, with the inbox that every client has if it is told nothing: buckets and keys, by the native API
// and by that of NATS KV, and nothing else. All who say no name share that inbox, so each may read the others' answers.
func (r Roles) Anonymous() Permissions {
	return Permissions{Publish: r.keys(), Subscribe: []string{"_INBOX.>"}}
}

// Client is for a user of the store: what anybody may, status and events, and an inbox of its own (InboxPrefix), so that no user
// reads the answers to another. Nothing of Raft, and no administration.
func (r Roles) Client(user string) Permissions {
	return r.Monitor(user).And(Permissions{Publish: r.keys(), Subscribe: r.Republish})
}

// ReadOnly is for a user that reads and watches.
func (r Roles) ReadOnly(user string) Permissions {
	p := Permissions{Subscribe: r.Republish, Publish: []string{
		r.Prefix + ".bucket.ls", r.Prefix + ".bucket.info.*",
		r.Prefix + ".kv.get.*.>", r.Prefix + ".kv.history.*.>", r.Prefix + ".kv.keys.*", r.Prefix + ".kv.watch.*", r.Prefix + ".kv.unwatch.*",
		"$JS.FC.>", // a watcher says how far it is
	}}
	for _, api := range r.apis() {
		for _, op := range readingOps {
			p.Publish = append(p.Publish, api+op)
		}
	}
	return r.Monitor(user).And(p)
}

// readingOps are the operations of the JetStream API that change nothing but what is watched. Consumers are not listed: whoever does
// not know a watch's name, which is random, cannot end it.
var readingOps = []string{
	"INFO", "STREAM.NAMES", "STREAM.LIST", "STREAM.INFO.*", "STREAM.MSG.GET.*", "DIRECT.GET.*", "DIRECT.GET.*.>",
	"CONSUMER.CREATE.*", "CONSUMER.CREATE.*.>", "CONSUMER.DURABLE.CREATE.*.*", "CONSUMER.INFO.*.*", "CONSUMER.MSG.NEXT.*.*", "CONSUMER.DELETE.*.*",
}

// Monitor is for who looks at the nodes: what they say of themselves, and events, and no key.
func (r Roles) Monitor(user string) Permissions {
	p := Permissions{Publish: []string{"$SRV.>"}, Subscribe: []string{InboxPrefix(user) + ".>", r.Prefix + "." + FamilyEvent + ".>"}}
	for _, what := range []string{"status", "stats", "health", "metrics"} {
		p.Publish = append(p.Publish, NodeSubject(r.Prefix, "*", what))
	}
	return p
}

// Admin is for an administrator: what a client may, and administration: looking, changing the members, handing
// leadership over, finishing upgrades, and taking backups. For some of it only, list the operations instead (Q9).
func (r Roles) Admin(user string) Permissions {
	return r.Client(user).And(Permissions{Publish: []string{r.Prefix + "." + FamilyAdmin + ".>", NodeSubject(r.Prefix, "*", "backup")}})
}

// keys are the subjects of requests about buckets and keys.
func (r Roles) keys() []string {
	list := []string{
		r.Prefix + "." + FamilyBucket + ".>", r.Prefix + "." + FamilyKV + ".>",
		"$JS.FC.>",              // a watcher says how far it is
		"$JS.ACK.>",             // and others that they have what they were sent: nobody listens, which they hear, unless the account has a JetStream, for whose consumers they may say it too
		"$KV.>", "$JS.API.INFO", // some clients use them whatever their domain
	}
	for _, api := range r.apis() {
		list = append(list, api+">")
	}
	return list
}

func (r Roles) apis() []string {
	list := []string{"$JS." + r.domain() + ".API."}
	if r.DefaultAPI {
		list = append(list, "$JS.API.")
	}
	return list
}

func (r Roles) domain() string { return cmp.Or(r.Domain, r.Prefix) }

// InboxPrefix is the inbox prefix of a user, as clients are told with `nats --inbox-prefix` or nats.CustomInboxPrefix.
func InboxPrefix(user string) string { return "_INBOX_" + user }

// NodeInbox is the inbox prefix of a node on its connection to clients, for who has that user's credentials.
func NodeInbox(prefix string, id rpc.NodeID) string { return inboxOf(prefix, string(id)) }
