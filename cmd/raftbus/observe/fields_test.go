package observe

// Which figure each metric shows.

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// leaves are the numbers and truth values of figures, by their path.
func leaves(v reflect.Value, path string, tell func(path string, v reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			leaves(v.Elem(), path, tell)
		}
	case reflect.Slice:
		for i := range v.Len() {
			if v.Index(i).Kind() == reflect.Struct {
				leaves(v.Index(i), path, tell)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() && field.Type != reflect.TypeFor[time.Time]() {
				leaves(v.Field(i), strings.TrimPrefix(path+"."+field.Name, "."), tell)
			}
		}
	default:
		tell(path, v)
	}
}

// numbered are figures of which each number is another.
func numbered() (s Stats, paths map[float64]string) {
	s, paths = full(), map[float64]string{}
	match, lag := uint64(0), uint64(0)
	s.Peers[0].Match, s.Peers[0].Lag = &match, &lag
	s.Started, s.Health.Warnings = time.UnixMilli(12_500), []string{"one", "another"}
	leaves(reflect.ValueOf(&s), "", func(path string, v reflect.Value) {
		n := len(paths) + 1_001
		switch {
		case v.CanUint():
			v.SetUint(uint64(n))
		case v.CanInt():
			v.SetInt(int64(n))
		case v.CanFloat():
			v.SetFloat(float64(n))
		case v.Kind() == reflect.Bool:
			v.SetBool(false)
			return
		default:
			return
		}
		paths[float64(n)] = path
	})
	return s, paths
}

// series are the values of a node's metrics, by name without the prefix; of durations their sum and their number.
func series(t *testing.T, s Stats) map[string]float64 {
	r := prometheus.NewRegistry()
	require.NoError(t, r.Register(newCollector(plain{s})))
	families, err := r.Gather()
	require.NoError(t, err)
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "raftbus_")
			for _, l := range m.GetLabel() {
				if l.GetName() == "operation" {
					name += " " + l.GetValue()
				}
			}
			if h := m.GetHistogram(); h != nil {
				values[name+" sum"], values[name+" count"] = h.GetSampleSum(), float64(h.GetSampleCount())
				continue
			}
			values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue() // one of them
		}
	}
	return values
}

func TestEachMetricShowsItsFigure(t *testing.T) {
	s, paths := numbered()
	values, shown := series(t, s), map[string]string{}
	for name, value := range values {
		if path, known := paths[value]; known {
			shown[name] = path
		}
	}
	leaves(reflect.ValueOf(&s), "", func(path string, v reflect.Value) {
		if v.Kind() != reflect.Bool {
			return
		}
		v.SetBool(true)
		for name, value := range series(t, s) {
			if value != values[name] {
				shown[name] = path
			}
		}
		v.SetBool(false)
	})
	require.Equal(t, map[string]string{
		"account_busy_total":                   "Accounts.Busy",
		"account_requests_total":               "Accounts.Requests",
		"account_watch_consumers":              "Accounts.Watches.Consumers",
		"account_watch_hosts":                  "Accounts.Watches.Hosts",
		"account_watch_leaf_connected":         "Accounts.Watches.Leaf",
		"account_watch_left_out_total":         "Accounts.Watches.LeftOut",
		"disk_full":                            "Disk.Full",
		"disk_slow":                            "Disk.Slow",
		"events_dropped_total":                 "Events.Dropped",
		"events_published_total":               "Events.Published",
		"log_applied_index":                    "Log.Applied",
		"log_bytes":                            "Disk.LogBytes",
		"log_commit_index":                     "Log.Commit",
		"log_damaged_entries":                  "Disk.Damaged",
		"log_entries_total":                    "Disk.Entries",
		"log_first_index":                      "Log.First",
		"log_last_index":                       "Log.Last",
		"log_repaired_entries_total":           "Disk.Repaired",
		"log_sync_duration_seconds count":      "Disk.Syncs.Count",
		"log_sync_duration_seconds sum":        "Disk.Syncs.Sum",
		"log_sync_under_way_seconds":           "Disk.SyncUnderWay",
		"log_synced_index":                     "Log.Synced",
		"log_written_bytes_total":              "Disk.Bytes",
		"messages_dropped_total":               "Dropped.Count",
		"nats_connected":                       "NATS.Up",
		"nats_disconnects_total":               "NATS.Disconnects",
		"nats_permission_errors_total":         "NATS.PermissionErrors",
		"nats_reconnects_total":                "NATS.Reconnects",
		"nats_slow_consumer_total":             "NATS.SlowConsumer",
		"node_live":                            "Health.Live",
		"node_ready":                           "Health.Ready",
		"peer_lag_entries":                     "Peers.Lag",
		"peer_link_breaks_total":               "Peers.LinkBreaks",
		"peer_match_index":                     "Peers.Match",
		"peer_round_trip_seconds":              "Peers.RoundTrip",
		"peer_snapshot_stored_bytes":           "Peers.Snapshot.Stored",
		"raft_leader_changes_total":            "LeaderChanges",
		"raft_term":                            "Term",
		"republish_dropped_total":              "Unrepublished",
		"request_duration_seconds read count":  "Doors.Reads.Count",
		"request_duration_seconds read sum":    "Doors.Reads.Sum",
		"request_duration_seconds write count": "Doors.Writes.Count",
		"request_duration_seconds write sum":   "Doors.Writes.Sum",
		"request_errors_total":                 "Doors.Errors.Count",
		"requests_unanswered_total":            "Unanswered",
		"store_bytes":                          "Store.Bytes",
		"store_memory_bytes":                   "Store.MemoryBytes",
		"watch_consumers":                      "Watches.Consumers",
		"watch_hosts":                          "Watches.Hosts",
		"watch_leaf_connected":                 "Watches.Leaf",
		"watch_left_out_total":                 "Watches.LeftOut",
	}, shown, "the metrics that show one figure as it is")
	for name, want := range map[string]float64{"node_info": 1, "node_warnings": 2, "raft_members": 2, "raft_has_leader": 1, "node_start_time_seconds": 12.5} {
		require.Equal(t, want, values[name], name)
	}
}
