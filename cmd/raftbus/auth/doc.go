// Package auth makes the credentials of a cluster and the configuration of a NATS server that holds everybody to them, and reads what
// a node was given of it. It decides nothing about who may do what: busclient.Roles does.
//
// The folder that Init makes:
//
//	settings.json             what was said, which a later call starts from
//	nats/nats.conf            accounts, users and permissions, for the NATS server; holds no secret; written anew each time
//	nats/server.conf          the operator's own, which includes it; made once
//	nodes/<id>/               what one node is given (--auth-dir): peers, clients and leaf, one credential each, and cluster.key
//	nodes/<id>/tenants/<name>/  clients and leaf of that node in a tenant's account
//	users/<name>.json         a context of the nats CLI for each user, also for raftbus --context; beside it the credential. A guest has that only
//	issuer/                   with JWT: the seeds of operator and accounts, which no server and no node needs
package auth
