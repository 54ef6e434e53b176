package busclient

// Templates of what NATS must allow each kind of user, and nothing else: NATS, not this code, then decides who can speak as
// whom (design section 4; Q2, Q5). They are plain subject lists, for a server's configuration file, for a JWT, or for the
// embedded server.

import (
	"slices"

	"github.com/raftbus/raftbus/raft/rpc"
)

// Permissions are the subjects that a user may publish and subscribe.
type Permissions struct {
	Publish   []string
	Subscribe []string
	// Responses allows a user to answer a request on the reply subject it came with, whatever that is.
	Responses bool
}

// And is what is allowed by either.
func (p Permissions) And(other Permissions) Permissions {
	return Permissions{
		Publish:   slices.Concat(p.Publish, other.Publish),
		Subscribe: slices.Concat(p.Subscribe, other.Subscribe),
		Responses: p.Responses || other.Responses,
	}
}

// NodePermissions are for a node's control and bulk connections: it speaks only as itself, and hears only what is for it.
// The answers of its peers come on its own subjects too, so it needs no inbox that others could write to (K77).
func NodePermissions(prefix string, id rpc.NodeID) Permissions {
	return Permissions{
		Publish:   []string{family(prefix) + "*." + string(id) + ".>"},
		Subscribe: []string{family(prefix) + string(id) + ".>", family(prefix) + AllNodes + ".>"},
	}
}

// ServicePermissions are for a node's connection to its clients. A deployment with one account gives a node both: see And.
func ServicePermissions(prefix string, id rpc.NodeID) Permissions {
	return Permissions{
		Publish: []string{prefix + "." + FamilyEvent + ".>"},
		Subscribe: []string{
			prefix + "." + FamilyBucket + ".>",
			prefix + "." + FamilyKV + ".>",
			prefix + "." + FamilyNode + "." + string(id) + ".>",
			prefix + "." + FamilyNode + "." + AllNodes + ".>",
			prefix + "." + FamilyAdmin + ".>",
			"$JS." + prefix + ".API.>",
			"$JS.API.>",
			"$KV.>",
		},
		Responses: true,
	}
}

// ClientPermissions are for a user of the store: the native API, the KV protocol, status and events, and an inbox of its
// own (InboxPrefix), so that no user reads the answers to another. Nothing of Raft, and no administration.
func ClientPermissions(prefix, user string) Permissions {
	return Permissions{
		Publish: []string{
			prefix + "." + FamilyBucket + ".>",
			prefix + "." + FamilyKV + ".>",
			prefix + "." + FamilyNode + ".*.status",
			"$JS." + prefix + ".API.>",
			"$JS.API.>",
			"$KV.>",
		},
		Subscribe: []string{InboxPrefix(user) + ".>", prefix + "." + FamilyEvent + ".>"},
	}
}

// InboxPrefix is the inbox prefix of a user, as clients are told with `nats --inbox-prefix` or nats.CustomInboxPrefix.
func InboxPrefix(user string) string { return "_INBOX_" + user }
