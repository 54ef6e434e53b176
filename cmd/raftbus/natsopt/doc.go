// Package natsopt turns what the `nats` CLI is told (flags, environment variables, contexts) into what nats.go takes:
// the addresses of the servers and connection options. Whoever can reach his servers with `nats` reaches them with
// raftbus, without learning other names.
//
// Flags win over the environment, the environment over a configuration file, that over the context. It connects to nothing and never prints a secret.
package natsopt
