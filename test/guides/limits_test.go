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
		fmt.Sprintf("| description of a bucket | %d KiB |", command.DescriptionBytesMax>>10),
		fmt.Sprintf("| metadata of a bucket | %d KiB,", command.MetadataBytesMax>>10),
		fmt.Sprintf("| subject that a watch delivers to | %d KiB |", jetstream.DeliverBytesMax>>10),
		fmt.Sprintf("| watches | %d,000 in a bucket,", delivery.ConsumersMaxDefault/1000),
		fmt.Sprintf("| members of a cluster | %d;", config.MaxMembers),
	} {
		require.Contains(t, page, row)
	}
}
