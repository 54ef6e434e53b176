package guides

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv"
	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/delivery"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/raft/config"
)

// The limits that users are told are those of the code.
func TestThePageOfNATSKVNamesTheLimits(t *testing.T) {
	page := read(t, "docs/nats-kv.md")
	for _, row := range []string{
		fmt.Sprintf("| key | %d bytes |", kv.KeyMax),
		fmt.Sprintf("| name of a bucket | %d of ", kv.BucketMax),
		fmt.Sprintf("| history of a key | %d entries |", command.HistoryMax),
		fmt.Sprintf("| description of a bucket, or of a consumer | %d KiB |", command.DescriptionBytesMax>>10),
		fmt.Sprintf("| metadata of a bucket | %d KiB,", command.MetadataBytesMax>>10),
		fmt.Sprintf("| subject that a watch delivers to | %d KiB, %d tokens |", jetstream.DeliverBytesMax>>10, jetstream.DeliverTokensMax),
		"(`inactive_threshold`) | 1 hour |",
		fmt.Sprintf("| watches | %d,000 in a bucket,", delivery.ConsumersMaxDefault/1000),
		fmt.Sprintf("| members of a cluster | %d;", config.MaxMembers),
	} {
		require.Contains(t, page, row)
	}
}

// The page of the native subjects has the bounds that the source has.
func TestThePageOfNativeSubjectsNamesTheBounds(t *testing.T) {
	page := read(t, "docs/native.md")
	for file, bounds := range map[string]map[string]string{
		"kv/reads.go": {
			"pageDefault  = 1_000":                      "1,000 names if no limit is given",
			"pageMax      = 10_000":                     "10,000 at most",
			"historyRequest{Limit: command.HistoryMax}": fmt.Sprintf("%d entries at most, and if nothing is said", command.HistoryMax),
		},
		"kv/watches.go": {
			"watchBytesMax    = 64 << 10":                         "(64 KiB at most, ",
			"watchKeysMax     = 256":                              "256 at most; without it all keys",
			"heartbeatDefault = duration(5 * time.Second)":        "`\"5s\"` if it is not given",
			"heartbeatMin     = duration(100 * time.Millisecond)": "`\"100ms\"` at least",
		},
		"kv/delivery/native.go": {"idleAfter = 5 * time.Second": "nobody has listened for 5 s"},
	} {
		source := read(t, file)
		for bound, said := range bounds {
			require.Contains(t, source, bound)
			require.Contains(t, page, said)
		}
	}
}

// What finds no responders in a domain is said (test/kvclients asks for it).
func TestThePageOfNATSKVSaysWhoNeedsTheDefaultAPI(t *testing.T) {
	for _, client := range []string{"nats-key-value (Python)", "nats.ex"} {
		require.Contains(t, read(t, "docs/nats-kv.md"), "* "+client+" needs `--serve-default-api`: ")
	}
	require.Contains(t, read(t, "docs/nats-kv.md"), "`raftbus auth init --serve-default-api --dir auth`", "NATS refuses $JS.API on a secured cluster otherwise")
}
