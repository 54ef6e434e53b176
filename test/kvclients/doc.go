// Package kvclients runs the official NATS KV clients, unmodified, against real clusters, and asks a real JetStream the same as us. It
// has tests only.
package kvclients
