package clisuite

import (
	"flag"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var placesFlag = flag.String("places", "servers", "where the CLI's commands are given, of dev, domain and servers, with commas between them: each place takes hundreds of processes")

// Every command of `nats kv` prints the same as against a JetStream: on a NATS cluster of three servers, and, where -places says so, with
// `raftbus dev` and as a domain beside another JetStream.
func TestTheCLIPrintsTheSame(t *testing.T) {
	ours, others := map[string]*place{}, (*place)(nil)
	asked := strings.Split(*placesFlag, ",")
	if slices.Contains(asked, "dev") {
		ours["dev"] = dev(t)
	}
	if slices.Contains(asked, "domain") {
		ours["domain"], others = besideJetStream(t)
	}
	if slices.Contains(asked, "servers") {
		ours["servers"] = threeServers(t)
	}
	require.Len(t, ours, len(asked), "-places knows dev, domain and servers")
	compare(t, at(t, "", jetStream(t).URL()), ours, kvCommands())
	if others != nil {
		require.Equal(t, printed{out: "foreign\n"}, others.run(t, "", "kv", "ls", "-n"), "the other JetStream's buckets")
	}
}
