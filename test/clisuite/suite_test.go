package clisuite

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Every command of `nats kv` prints the same as against a JetStream: with `raftbus dev`, as a domain beside another JetStream, and
// on a NATS cluster of three servers.
func TestTheCLIPrintsTheSame(t *testing.T) {
	domain, others := besideJetStream(t)
	compare(t, at(t, "", jetStream(t).URL()), map[string]*place{"dev": dev(t), "domain": domain, "servers": threeServers(t)}, kvCommands())
	require.Equal(t, printed{out: "foreign\n"}, others.run(t, "", "kv", "ls", "-n"), "the other JetStream's buckets")
}
