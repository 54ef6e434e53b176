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
// `raftbus dev` and as a domain beside another JetStream. What a JetStream prints is kept; -theirs asks one.
func TestTheCLIPrintsTheSame(t *testing.T) {
	needCLI(t)
	places, others := map[string]*place{}, (*place)(nil)
	asked := strings.Split(*placesFlag, ",")
	if slices.Contains(asked, "dev") {
		places["dev"] = dev(t)
	}
	if slices.Contains(asked, "domain") {
		places["domain"], others = besideJetStream(t)
	}
	if slices.Contains(asked, "servers") {
		places["servers"] = threeServers(t)
	}
	require.Len(t, places, len(asked), "-places knows dev, domain and servers")
	if *theirsFlag {
		places["theirs"] = at(t, "", jetStream(t).URL())
	}
	steps := kvCommands()
	all := give(t, places, steps)
	theirs := kept(t, steps, all["theirs"])
	delete(all, "theirs")
	for name, ours := range all {
		t.Run(name, func(t *testing.T) { judge(t, steps, theirs, ours) })
	}
	if others != nil {
		require.Equal(t, printed{out: "foreign\n"}, others.run(t, "", "kv", "ls", "-n"), "the other JetStream's buckets")
	}
}
