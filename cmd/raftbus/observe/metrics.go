package observe

// Stats as Prometheus has them. docs/metrics.md lists the names, and a test holds it to this table; a name that is out stays.

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"
)

// metric is a row of the table.
type metric struct {
	name   string // of a counter: ends with _total
	help   string
	labels []string // beside cluster and node
	read   func(s *Stats, put *sink)
}

var metricsTable = []metric{
	{"raftbus_node_info", "1, with what the node is: its build, and the cluster's id.", []string{"version", "cluster_id"}, func(s *Stats, put *sink) { put.value(1, s.Version, s.Cluster) }},
	{"raftbus_node_start_time_seconds", "When the node was started, in seconds since 1970.", nil, func(s *Stats, put *sink) { put.value(float64(s.Started.UnixMilli()) / 1000) }},
	{"raftbus_node_live", "1 while the node works; 0: start it again.", nil, func(s *Stats, put *sink) { put.is(s.Health.Live) }},
	{"raftbus_node_ready", "1 while the node follows a leader, or leads and serves, clients reach it, and no other cluster leads under its prefix.", nil, func(s *Stats, put *sink) { put.is(s.Health.Ready) }},
	{"raftbus_node_warnings", "What an operator should look at though the node may be ready: how many things; raftbus health and /healthz name them.", nil, func(s *Stats, put *sink) { put.value(float64(len(s.Health.Warnings))) }},

	{"raftbus_raft_role", "1 for the node's part, 0 for the others.", []string{"role"}, func(s *Stats, put *sink) {
		for _, role := range roles {
			put.is(s.Role == role, role)
		}
	}},
	{"raftbus_raft_has_leader", "1 while the node knows a leader.", nil, func(s *Stats, put *sink) { put.is(s.Leader != "") }},
	{"raftbus_raft_term", "The node's term.", nil, func(s *Stats, put *sink) { put.value(float64(s.Term)) }},
	{"raftbus_raft_leader_changes_total", "How often the node followed another leader, or none any more.", nil, func(s *Stats, put *sink) { put.value(float64(s.LeaderChanges)) }},
	{"raftbus_raft_members", "Members of the configuration, learners too.", nil, func(s *Stats, put *sink) { put.value(float64(len(s.Members))) }},

	{"raftbus_log_first_index", "The first entry that the log holds.", nil, func(s *Stats, put *sink) { put.value(float64(s.Log.First)) }},
	{"raftbus_log_last_index", "The last entry of the log.", nil, func(s *Stats, put *sink) { put.value(float64(s.Log.Last)) }},
	{"raftbus_log_synced_index", "Up to which entry the log is durable here.", nil, func(s *Stats, put *sink) { put.value(float64(s.Log.Synced)) }},
	{"raftbus_log_commit_index", "Up to which entry a majority holds the log, as this node knows.", nil, func(s *Stats, put *sink) { put.value(float64(s.Log.Commit)) }},
	{"raftbus_log_applied_index", "Up to which entry the state is.", nil, func(s *Stats, put *sink) { put.value(float64(s.Log.Applied)) }},
	{"raftbus_log_entries_total", "Entries made durable.", nil, func(s *Stats, put *sink) { put.value(float64(s.Disk.Entries)) }},
	{"raftbus_log_written_bytes_total", "Bytes written to the log for them.", nil, func(s *Stats, put *sink) { put.value(float64(s.Disk.Bytes)) }},
	{"raftbus_log_bytes", "Size of the log on the disk.", nil, func(s *Stats, put *sink) { put.value(float64(s.Disk.LogBytes)) }},
	{"raftbus_log_sync_duration_seconds", "How long writes to the log took, each with its fdatasync.", nil, func(s *Stats, put *sink) { put.durations(s.Disk.Syncs) }},
	{"raftbus_log_sync_under_way_seconds", "How long the write and fdatasync under way has taken so far; 0: none is.", nil, func(s *Stats, put *sink) { put.value(s.Disk.SyncUnderWay) }},
	{"raftbus_log_damaged_entries", "Entries that the disk has lost, and that no leader has given again yet: the node has no vote.", nil, func(s *Stats, put *sink) { put.value(float64(s.Disk.Damaged)) }},
	{"raftbus_log_repaired_entries_total", "Entries that the disk had lost, and that a leader has given again.", nil, func(s *Stats, put *sink) { put.value(float64(s.Disk.Repaired)) }},
	{"raftbus_disk_slow", "1 while a write and sync took half a second or more lately, or has not ended for so long.", nil, func(s *Stats, put *sink) { put.is(s.Disk.Slow) }},
	{"raftbus_disk_full", "1 while writes are refused for want of room; reads go on.", nil, func(s *Stats, put *sink) { put.is(s.Disk.Full) }},
	{"raftbus_store_bytes", "Size of the state on the disk.", nil, func(s *Stats, put *sink) { put.value(float64(s.Store.Bytes)) }},
	{"raftbus_store_memory_bytes", "Part of the state in memory that is not flushed yet; the log has it.", nil, func(s *Stats, put *sink) { put.value(float64(s.Store.MemoryBytes)) }},

	{"raftbus_peer_connected", "1 while the link to a peer is connected.", []string{"peer"}, eachPeer(func(p *Peer, put *sink) { put.is(p.Link == "connected", p.ID) })},
	{"raftbus_peer_round_trip_seconds", "Round trip of the last good ping to a peer.", []string{"peer"}, eachPeer(func(p *Peer, put *sink) { put.value(p.RoundTrip, p.ID) })},
	{"raftbus_peer_link_breaks_total", "How often the link to a peer broke.", []string{"peer"}, eachPeer(func(p *Peer, put *sink) { put.value(float64(p.LinkBreaks), p.ID) })},
	{"raftbus_peer_match_index", "A leader: up to which entry a peer is known to hold the log durably.", []string{"peer"}, eachPeer(func(p *Peer, put *sink) { put.known(p.Match, p.ID) })},
	{"raftbus_peer_lag_entries", "A leader: how many entries of its log a peer is not known to hold.", []string{"peer"}, eachPeer(func(p *Peer, put *sink) { put.known(p.Lag, p.ID) })},
	{"raftbus_peer_snapshot_stored_bytes", "A leader: how much a peer has stored of a snapshot that is on its way; absent: there is none.", []string{"peer"}, eachPeer(func(p *Peer, put *sink) {
		if p.Snapshot != nil {
			put.value(float64(p.Snapshot.Stored), p.ID)
		}
	})},

	{"raftbus_nats_connected", "1 while a connection to NATS stands: control, bulk, client, and client@<account> of each further account.", []string{"connection"}, eachConn(func(c *Conn, put *sink) { put.is(c.Up, c.Role) })},
	{"raftbus_nats_disconnects_total", "How often a connection to NATS was lost.", []string{"connection"}, eachConn(func(c *Conn, put *sink) { put.value(float64(c.Disconnects), c.Role) })},
	{"raftbus_nats_reconnects_total", "How often it was made again.", []string{"connection"}, eachConn(func(c *Conn, put *sink) { put.value(float64(c.Reconnects), c.Role) })},
	{"raftbus_nats_slow_consumer_total", "How often a subscription began to drop messages, since the node took them too slowly.", []string{"connection"}, eachConn(func(c *Conn, put *sink) { put.value(float64(c.SlowConsumer), c.Role) })},
	{"raftbus_nats_permission_errors_total", "Publishes and subscriptions that NATS refused.", []string{"connection"}, eachConn(func(c *Conn, put *sink) { put.value(float64(c.PermissionErrors), c.Role) })},

	{"raftbus_request_duration_seconds", "How long clients' requests took in the node, from arrival to answer, by the way in (kv, bucket, jetstream) and what they were (read, write); also those that the state refused.", []string{"door", "operation"}, func(s *Stats, put *sink) {
		for i := range s.Doors {
			put.durations(s.Doors[i].Reads, s.Doors[i].Name, "read")
			put.durations(s.Doors[i].Writes, s.Doors[i].Name, "write")
		}
	}},
	{"raftbus_request_errors_total", "Errors that clients were told, by code (kv/ERRORS.md).", []string{"door", "code", "name"}, func(s *Stats, put *sink) {
		for i := range s.Doors {
			for _, e := range s.Doors[i].Errors {
				put.value(float64(e.Count), s.Doors[i].Name, strconv.Itoa(e.Code), e.Name)
			}
		}
	}},
	{"raftbus_requests_unanswered_total", "Requests given up in silence, since a later leader may carry them out, or since too many at once were to be refused, or since the answer could not be sent.", nil, func(s *Stats, put *sink) { put.value(float64(s.Unanswered)) }},
	{"raftbus_republish_dropped_total", "Entries that were not published again: the bus took them too slowly, they would have been orders to nodes or to NATS, or the subject was too long.", nil, func(s *Stats, put *sink) { put.value(float64(s.Unrepublished)) }},
	{"raftbus_queue_fill_ratio", "How full a queue is, from 0 to 1; when it is full who asks is told 'busy', or what is sent is dropped.", []string{"queue"}, func(s *Stats, put *sink) {
		for _, q := range s.Queues {
			put.value(float64(q.Waiting)/float64(q.Max), q.Name)
		}
	}},
	{"raftbus_watch_leaf_connected", "1 while the leaf connection is up, without which the node serves no watches.", nil, func(s *Stats, put *sink) { put.is(s.Watches.Leaf) }},
	{"raftbus_watch_consumers", "Watches that the node serves.", nil, func(s *Stats, put *sink) { put.value(float64(s.Watches.Consumers)) }},
	{"raftbus_watch_hosts", "Nodes that can serve watches, as this one knows.", nil, func(s *Stats, put *sink) { put.value(float64(s.Watches.Hosts)) }},
	{"raftbus_watch_left_out_total", "Entries that watches were not sent, since they are larger than max_payload of NATS, which was lowered.", nil, func(s *Stats, put *sink) { put.value(float64(s.Watches.LeftOut)) }},
	{"raftbus_account_watch_leaf_connected", "1 while the leaf connection to an account beside the first is up, without which the node serves it no watches.", []string{"account"}, eachAccount(func(a *Account, put *sink) { put.is(a.Watches.Leaf, a.Name) })},
	{"raftbus_account_watch_consumers", "Watches that the node serves in an account beside the first.", []string{"account"}, eachAccount(func(a *Account, put *sink) { put.value(float64(a.Watches.Consumers), a.Name) })},
	{"raftbus_account_watch_hosts", "Nodes that can serve an account beside the first with watches, as this one knows.", []string{"account"}, eachAccount(func(a *Account, put *sink) { put.value(float64(a.Watches.Hosts), a.Name) })},
	{"raftbus_account_watch_left_out_total", "Entries that watches of an account beside the first were not sent, since they are larger than max_payload of NATS, which was lowered.", []string{"account"}, eachAccount(func(a *Account, put *sink) { put.value(float64(a.Watches.LeftOut), a.Name) })},
	{"raftbus_account_requests_total", "Requests of clients of an account beside the first that were answered. raftbus_request_duration_seconds has those of all accounts.", []string{"account"}, eachAccount(func(a *Account, put *sink) { put.value(float64(a.Requests), a.Name) })},
	{"raftbus_account_busy_total", "Requests of clients of an account beside the first that heard 'busy', since too many waited.", []string{"account"}, eachAccount(func(a *Account, put *sink) { put.value(float64(a.Busy), a.Name) })},
	{"raftbus_messages_dropped_total", "Messages between nodes that were dropped, by reason.", []string{"reason"}, func(s *Stats, put *sink) {
		for _, d := range s.Dropped {
			put.value(float64(d.Count), d.Reason)
		}
	}},
	{"raftbus_events_published_total", "Events published on <prefix>.event.<kind>.", nil, func(s *Stats, put *sink) { put.value(float64(s.Events.Published)) }},
	{"raftbus_events_dropped_total", "Events that were not published: too many waited, or NATS did not take them.", nil, func(s *Stats, put *sink) { put.value(float64(s.Events.Dropped)) }},
}

// roles are all that Stats.Role may be.
var roles = []string{"leader", "follower", "candidate", "learner", "removed", "joining"}

func eachPeer(read func(*Peer, *sink)) func(*Stats, *sink) {
	return func(s *Stats, put *sink) {
		for i := range s.Peers {
			read(&s.Peers[i], put)
		}
	}
}

func eachAccount(read func(*Account, *sink)) func(*Stats, *sink) {
	return func(s *Stats, put *sink) {
		for i := range s.Accounts {
			read(&s.Accounts[i], put)
		}
	}
}

func eachConn(read func(*Conn, *sink)) func(*Stats, *sink) {
	return func(s *Stats, put *sink) {
		for i := range s.NATS {
			read(&s.NATS[i], put)
		}
	}
}

// kind is a metric's type, as its name tells it.
func (m *metric) kind() string {
	switch {
	case strings.HasSuffix(m.name, "_total"):
		return "counter"
	case strings.HasSuffix(m.name, "_duration_seconds"):
		return "histogram"
	}
	return "gauge"
}

// sink takes the values of one metric of one node.
type sink struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	out  chan<- prometheus.Metric
}

func (k *sink) value(v float64, labels ...string) {
	k.out <- prometheus.MustNewConstMetric(k.desc, k.kind, v, labels...)
}

func (k *sink) is(yes bool, labels ...string) {
	v := 0.0
	if yes {
		v = 1
	}
	k.value(v, labels...)
}

// known puts what may not be known.
func (k *sink) known(v *uint64, labels ...string) {
	if v != nil {
		k.value(float64(*v), labels...)
	}
}

func (k *sink) durations(d Durations, labels ...string) {
	upTo, sum := map[float64]uint64{}, uint64(0)
	for i, bound := range d.Bounds {
		sum += d.Counts[i]
		upTo[bound] = sum
	}
	k.out <- prometheus.MustNewConstHistogram(k.desc, d.Count, d.Sum, upTo, labels...)
}

// Node is whose figures are shown.
type Node interface {
	Stats() Stats
	Health() Health
}

// collector gathers a node's metrics whenever it is asked.
type collector struct {
	node  Node
	descs []*prometheus.Desc
}

func newCollector(n Node) *collector {
	s := n.Stats()
	c := &collector{node: n}
	whose := prometheus.Labels{"cluster": s.Prefix, "node": s.Node}
	for _, m := range metricsTable {
		c.descs = append(c.descs, prometheus.NewDesc(m.name, m.help, m.labels, whose))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.node.Stats()
	for i := range metricsTable {
		m := &metricsTable[i]
		put := &sink{desc: c.descs[i], kind: prometheus.GaugeValue, out: out}
		if m.kind() == "counter" {
			put.kind = prometheus.CounterValue
		}
		m.read(&s, put)
	}
}

// Metrics are those of some nodes, and of the process they are in.
type Metrics struct{ registry *prometheus.Registry }

// NewMetrics makes the metrics of nodes, whose names differ.
func NewMetrics(nodes ...Node) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, n := range nodes {
		m.registry.MustRegister(newCollector(n))
	}
	return m
}

// Text is what Prometheus reads.
func (m *Metrics) Text() ([]byte, error) {
	families, err := m.registry.Gather()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}
