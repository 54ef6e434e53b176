package rpc_test

// One message of each type, byte for byte: what a release wrote, later ones must read (F28). The files change only with
// ProtocolVersion; -update writes them.

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

var update = flag.Bool("update", false, "write the golden files under testdata")

var goldenHeader = rpc.Header{
	Cluster:  rpc.ClusterID{0xc1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
	From:     "n1",
	To:       "n2",
	Instance: rpc.InstanceID{0x11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
	Boot:     3<<32 | 0xb007,
	Term:     7,
	Round:    1234,
}

// goldenTime is a moment of 2026, in nanoseconds.
const goldenTime = 1_795_000_000_123_456_789

func goldenBodies() []rpc.Body {
	table := []rpc.Member{{ID: "n1", Instance: goldenHeader.Instance}, {ID: "n2", Instance: rpc.InstanceID{0x22}}}
	conf := &rpc.Configuration{Cluster: goldenHeader.Cluster, Index: 250, Voters: table}
	return []rpc.Body{
		&rpc.HeartbeatCommand{Commit: 300, Read: 5},
		&rpc.HeartbeatReturn{Read: 5, Last: 301},
		&rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 6, Index: 299}, Commit: 299, Entries: []rpc.Entry{
			{Index: 300, Term: 7, Kind: rpc.EntryNoop, Time: goldenTime},
			{Index: 301, Term: 7, Kind: rpc.EntryCommand, Time: goldenTime + 1, Data: []byte("blue")},
		}},
		&rpc.AppendLogReturn{Prev: 299, Match: 301, Accepted: true, Hint: rpc.EntryID{Term: 6, Index: 298}, Damaged: true},
		&rpc.CommitLogCommand{Commit: 301},
		&rpc.CommitLogReturn{Commit: 301},
		&rpc.RequestVoteCommand{Last: rpc.EntryID{Term: 7, Index: 301}, PreVote: true, Early: true, Transfer: true},
		&rpc.RequestVoteReturn{Granted: true, PreVote: true},
		&rpc.InstallSnapshotCommand{
			Snapshot: rpc.EntryID{Term: 7, Index: 300}, Transfer: 0xabcd, Offset: 512, Data: []byte("state"), Sum: 0x1234,
			Final: true, Digest: bytes.Repeat([]byte{0xd1}, rpc.DigestBytes), Configuration: conf,
		},
		&rpc.InstallSnapshotReturn{Snapshot: rpc.EntryID{Term: 7, Index: 300}, Transfer: 0xabcd, Next: 517, Installed: true},
		&rpc.TimeoutNowCommand{Last: rpc.EntryID{Term: 7, Index: 301}},
		&rpc.TimeoutNowReturn{},
		&rpc.PingCommand{SenderID: "n1", Timestamp: goldenTime, WantTable: true, Known: 250, Configuration: conf, Start: 3<<32 | 0xb007},
		&rpc.PingReturn{SenderID: "n1", Timestamp: goldenTime, Leader: "n2", Configuration: conf, Refusal: "another cluster", Forgot: true, Lacks: true},
	}
}

func TestGoldenMessages(t *testing.T) {
	for _, b := range goldenBodies() {
		name := reflect.TypeOf(b).Elem().Name()
		t.Run(name, func(t *testing.T) {
			frame := golden(t, name, rpc.Append(nil, &goldenHeader, b, nil))
			h, got, err := rpc.Decode(frame, nil)
			require.NoError(t, err)
			require.Equal(t, goldenHeader, h)
			require.Equal(t, b, got)
		})
	}
}

func TestGoldenSealedMessage(t *testing.T) {
	keys := rpc.NewKeys([]byte("the cluster's key"), nil)
	frame := golden(t, "Sealed", rpc.Append(nil, &goldenHeader, &rpc.CommitLogCommand{Commit: 301}, keys))
	_, _, err := rpc.Decode(frame, keys)
	require.NoError(t, err)
}

func TestGoldenEntry(t *testing.T) {
	e := rpc.Entry{Index: 301, Term: 7, Kind: rpc.EntryCommand, Time: goldenTime, Data: []byte("blue")}
	got, err := rpc.DecodeEntry(golden(t, "Entry", rpc.AppendEntry(nil, &e)))
	require.NoError(t, err)
	require.Equal(t, e, got)
}

func TestGoldenConfiguration(t *testing.T) {
	c := rpc.Configuration{Cluster: goldenHeader.Cluster, Index: 250, Voters: []rpc.Member{{ID: "n1"}, {ID: "n2"}}, Outgoing: []rpc.Member{{ID: "n1"}}, Learners: []rpc.Member{{ID: "n3"}}}
	got, err := rpc.DecodeConfiguration(golden(t, "Configuration", rpc.AppendConfiguration(nil, &c)))
	require.NoError(t, err)
	require.Equal(t, c, got)
}

// The expected id was computed by hand: printf '\x02n1instance of n1..\x02n2instance of n2..' | sha256sum | cut -c 1-32
const clusterIDByHand = "54a71441b4c78411e23c8ebfb26c5976"

func TestClusterIDIsForEver(t *testing.T) {
	n1 := rpc.Member{ID: "n1", Instance: rpc.InstanceID([]byte("instance of n1.."))}
	n2 := rpc.Member{ID: "n2", Instance: rpc.InstanceID([]byte("instance of n2.."))}
	table := []rpc.Member{n2, n1}
	require.Equal(t, clusterIDByHand, rpc.ClusterIDOf(table).String())
	require.Equal(t, clusterIDByHand, rpc.ClusterIDOf([]rpc.Member{n1, n2}).String())
	require.Equal(t, []rpc.Member{n2, n1}, table, "the table is not touched")

	require.NotEqual(t, clusterIDByHand, rpc.ClusterIDOf([]rpc.Member{n1}).String())
	require.NotEqual(t, clusterIDByHand, rpc.ClusterIDOf([]rpc.Member{n1, {ID: "n2", Instance: n1.Instance}}).String())
}

// golden compares got with the file of that name, or writes it, and returns what is in the file.
func golden(t *testing.T, name string, got []byte) []byte {
	path := filepath.Join("testdata", name+".hex")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(lines(hex.EncodeToString(got))), 0o644))
	}
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(written)), ""))
	require.NoError(t, err)
	require.Equal(t, want, got)
	return want
}

// lines breaks hex digits into lines of 32 bytes.
func lines(digits string) string {
	var b strings.Builder
	for len(digits) > 64 {
		b.WriteString(digits[:64] + "\n")
		digits = digits[64:]
	}
	return b.String() + digits + "\n"
}
