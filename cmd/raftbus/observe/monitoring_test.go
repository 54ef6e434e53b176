package observe

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const monitoring = "../../../deploy/monitoring"

// ruleFile is a file of alerts, as far as it is looked at here; promtool looks at the rest (replica's -prometheus).
type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert       string
			Expr        string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

// What alerts and the dashboard ask for exists, with the labels that they name.
func TestAlertsAskForWhatThereIs(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(monitoring, "alerts.yml"))
	require.NoError(t, err)
	var rules ruleFile
	require.NoError(t, yaml.Unmarshal(content, &rules))
	seen := map[string]bool{}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			require.False(t, seen[r.Alert], "twice: %s", r.Alert)
			seen[r.Alert] = true
			require.Contains(t, []string{"critical", "warning", "info"}, r.Labels["severity"], r.Alert)
			require.NotEmpty(t, r.Annotations["summary"], r.Alert)
			require.NotEmpty(t, r.Annotations["description"], r.Alert)
			checkQuery(t, r.Expr)
			require.Equal(t, r.Labels["severity"] == "critical", critical[r.Alert] != "", r.Alert)
			if want := critical[r.Alert]; want != "" {
				require.Equal(t, want, r.Expr, r.Alert)
			}
		}
	}
	require.Subset(t, slices.Collect(maps.Keys(seen)), slices.Collect(maps.Keys(critical)))
	require.GreaterOrEqual(t, len(seen), 15)
}

// What somebody is woken for, word by word: a query that no longer finds anything looks like a cluster that is well.
var critical = map[string]string{
	"RaftbusAllDown":      `sum(up{job="raftbus"}) == 0`,
	"RaftbusNoLeader":     `sum by (cluster) (raftbus_raft_role{role="leader"}) < 1`,
	"RaftbusQuorumLost":   `sum by (cluster) (raftbus_node_ready) <= max by (cluster) (raftbus_raft_members) / 2`, // two of four are no majority
	"RaftbusNodeFailed":   `raftbus_node_live == 0`,
	"RaftbusNodeRestarts": `changes(raftbus_node_start_time_seconds[15m]) > 2`,
	"RaftbusDiskFull":     `raftbus_disk_full == 1`, // 1: it is
	"RaftbusLogDamaged":   `raftbus_log_damaged_entries > 0`,
}

func TestDashboardAsksForWhatThereIs(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(monitoring, "dashboard.json"))
	require.NoError(t, err)
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Query json.RawMessage }
		}
	}
	require.NoError(t, json.Unmarshal(content, &board))
	ids := map[int]bool{}
	for _, p := range board.Panels {
		require.False(t, ids[p.ID])
		ids[p.ID] = true
		require.True(t, p.Type == "row" || len(p.Targets) > 0, p.Title)
		for _, target := range p.Targets {
			checkQuery(t, target.Expr)
		}
	}
	for _, v := range board.Templating.List {
		checkQuery(t, string(v.Query))
	}
	require.Greater(t, len(ids), 20)
}

var (
	nameInQuery  = regexp.MustCompile(`(raftbus_[a-z_]+|go_[a-z_]+|process_[a-z_]+)(\{[^}]*\})?`)
	labelInQuery = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!=|=)`)
)

// checkQuery holds the names and labels of a query to those of the metrics.
func checkQuery(t *testing.T, query string) {
	t.Helper()
	text, err := NewMetrics(plain{full()}).Text()
	require.NoError(t, err)
	for _, found := range nameInQuery.FindAllStringSubmatch(query, -1) {
		name := found[1]
		require.Regexp(t, `(?m)^`+name+`[ {]`, string(text), "%s asks for what no node has", query)
		if !strings.HasPrefix(name, "raftbus_") {
			continue
		}
		i := slices.IndexFunc(metricsTable, func(m metric) bool {
			return m.name == name || m.kind() == "histogram" && slices.Contains([]string{m.name + "_bucket", m.name + "_count", m.name + "_sum"}, name)
		})
		require.GreaterOrEqual(t, i, 0, name)
		labels := slices.Concat(metricsTable[i].labels, []string{"cluster", "node"})
		for _, l := range labelInQuery.FindAllStringSubmatch(found[2], -1) {
			require.Contains(t, labels, l[1], "%s: %s has no such label", query, name)
		}
	}
}
