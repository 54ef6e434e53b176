package auth

// Who there is, in which account, with which permissions.

import (
	"path"
	"slices"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft/rpc"
)

// The accounts: what nodes say to each other is in one of its own, so that no client of whatever permissions can reach it (Q1).
const (
	peersAccount = "RAFTBUS"
	appAccount   = "APP"
	operatorName = "operator" // of all accounts, with JWTs
)

// Names of the credentials in a node's folder.
const (
	peersName   = "peers"
	clientsName = "clients"
	leafName    = "leaf"
	tenantsName = "tenants"
	keyName     = "cluster.key"
)

// tenantFolder is where a node's folder has the credentials for a tenant.
func tenantFolder(folder, tenant string) string { return path.Join(folder, tenantsName, tenant) }

// user is somebody who connects to NATS.
type user struct {
	file        string // of the credential, under the folder, without its extension
	account     string
	inbox       string // prefix of its inboxes, for its context; empty: a node's, which has none
	permissions busclient.Permissions
}

func (u user) name() string { return path.Base(u.file) }

// plan lists the users in the order of the configuration.
func (o Options) plan() []user {
	roles := o.roles()
	peers := peersAccount
	if o.OneAccount {
		peers = appAccount
	}
	var list []user
	for _, id := range o.Nodes {
		folder, id := "nodes/"+id+"/", rpc.NodeID(id)
		list = append(list,
			user{file: folder + peersName, account: peers, permissions: roles.Node(id)},
			user{file: folder + clientsName, account: appAccount, permissions: roles.Service(id)},
			user{file: folder + leafName, account: appAccount, permissions: roles.Leaf(id)})
	}
	for _, u := range []struct {
		name        string
		permissions func(string) busclient.Permissions
	}{{"admin", roles.Admin}, {"monitor", roles.Monitor}, {"client", roles.Client}, {"read-only", roles.ReadOnly}} {
		list = append(list, user{file: "users/" + u.name, account: appAccount, inbox: busclient.InboxPrefix(u.name), permissions: u.permissions(u.name)})
	}
	for _, tenant := range o.Tenants {
		for _, id := range o.Nodes {
			folder, id := tenantFolder("nodes/"+id, tenant)+"/", rpc.NodeID(id)
			list = append(list,
				user{file: folder + clientsName, account: tenant, permissions: roles.ServiceIn(tenant, id)},
				user{file: folder + leafName, account: tenant, permissions: roles.LeafIn(tenant, id)})
		}
		list = append(list, user{file: "users/" + tenant, account: tenant, inbox: busclient.InboxPrefix(tenant), permissions: roles.ClientIn(tenant)})
	}
	for _, guest := range o.Guests {
		list = append(list, user{file: "users/" + guest, account: guest, inbox: busclient.InboxPrefix(guest), permissions: roles.Guest(guest)})
	}
	if o.Anonymous {
		list = append(list, user{file: "users/" + anonymousName, account: appAccount, inbox: "_INBOX", permissions: roles.Anonymous()})
	}
	return answering(list)
}

// answering lets who answers do so in the inboxes of its account's users.
func answering(users []user) []user {
	inboxes := map[string][]string{}
	for _, u := range users {
		if u.inbox != "" {
			inboxes[u.account] = append(inboxes[u.account], u.inbox)
		}
	}
	for i := range users {
		if u := &users[i]; u.permissions.Responses {
			u.permissions = u.permissions.And(busclient.Answering(inboxes[u.account]...))
		}
	}
	return users
}

func (o Options) roles() busclient.Roles {
	return busclient.Roles{Prefix: o.Prefix, Domain: o.Domain, DefaultAPI: o.DefaultAPI, Republish: o.Republish}
}

const anonymousName = "anonymous"

// accounts are their names, in the order of the configuration.
func (o Options) accounts() []string {
	list := []string{appAccount}
	if !o.OneAccount {
		list = []string{peersAccount, appAccount}
	}
	return slices.Concat(list, o.Tenants, o.Guests)
}
