package observe

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the list of metrics in docs/metrics.md")

// A name that is documented exists, and the other way round.
func TestDocumentedMetricsAreTheMetrics(t *testing.T) {
	const file, head = "../../../docs/metrics.md", "| name | type | labels | what |\n|---|---|---|---|\n"
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(page), head)
	require.True(t, found)
	end := strings.Index(rest, "\n\n") + 1
	var rows strings.Builder
	for _, m := range metricsTable {
		labels := ""
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		fmt.Fprintf(&rows, "| `%s` | %s | %s | %s |\n", m.name, m.kind(), labels, m.help)
	}
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(before+head+rows.String()+rest[end:]), 0o644))
		return
	}
	require.Equal(t, rows.String(), rest[:end], "go test ./cmd/raftbus/observe -update writes it")
}

// full are figures with something in each place, so that every metric shows.
func full() Stats {
	n := uint64(7)
	return Stats{
		Node: "n1", Prefix: "raftbus", Role: "leader", Leader: "n1", Members: []string{"n1", "n2"},
		Disk:     Disk{Syncs: FromMeasured(measured())},
		Peers:    []Peer{{ID: "n2", Link: "connected", Match: &n, Lag: &n, Snapshot: &Snapshot{}}},
		Accounts: []Account{{Name: "team-a"}},
		NATS:     []Conn{{Role: "client", Up: true}},
		Doors:    []Door{{Name: "kv", Reads: FromMeasured(measured()), Writes: FromMeasured(measured()), Errors: []Errors{{Code: 30012, Name: "busy", Count: 3}}}},
		Queues:   []Queue{{Name: "requests", Waiting: 1, Max: 4}}, Dropped: []Drop{{Reason: "inbox full"}},
	}
}

func TestEveryMetricIsShownAndWellNamed(t *testing.T) {
	m := NewMetrics(plain{full()})
	text, err := m.Text()
	require.NoError(t, err)
	for _, row := range metricsTable {
		require.Contains(t, string(text), fmt.Sprintf("# TYPE %s %s\n%s", row.name, row.kind(), row.name))
	}
	for _, line := range []string{
		`raftbus_request_errors_total{cluster="raftbus",code="30012",door="kv",name="busy",node="n1"} 3`,
		`raftbus_queue_fill_ratio{cluster="raftbus",node="n1",queue="requests"} 0.25`,
		`raftbus_request_duration_seconds_bucket{cluster="raftbus",door="kv",node="n1",operation="read",le="0.002"} 0`,
		`raftbus_request_duration_seconds_bucket{cluster="raftbus",door="kv",node="n1",operation="read",le="0.005"} 1`,
		`raftbus_request_duration_seconds_bucket{cluster="raftbus",door="kv",node="n1",operation="read",le="+Inf"} 2`,
		`raftbus_raft_role{cluster="raftbus",node="n1",role="leader"} 1`,
		`raftbus_raft_role{cluster="raftbus",node="n1",role="follower"} 0`,
	} {
		require.Contains(t, string(text), line+"\n")
	}
	var names []string
	for _, row := range metricsTable {
		names = append(names, row.name)
	}
	problems, err := testutil.GatherAndLint(m.registry, names...)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// Several nodes of one process are told apart.
func TestNodesOfOneProcess(t *testing.T) {
	second := full()
	second.Node = "n2"
	text, err := NewMetrics(plain{full()}, plain{second}).Text()
	require.NoError(t, err)
	require.Contains(t, string(text), `raftbus_raft_term{cluster="raftbus",node="n1"}`)
	require.Contains(t, string(text), `raftbus_raft_term{cluster="raftbus",node="n2"}`)
}
